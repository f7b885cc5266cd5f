use super::*;
use crate::fixture::{self, MS, dist};
use crate::recording::{Queued, Waiter, wire};

const S: u64 = 1_000 * MS;

fn interval(start_ns: u64, polls: u64) -> Interval {
    Interval {
        start_ns,
        polls: Some(dist(3, &[(polls, 1_000, 1_000)])),
        lag: None,
        busy_ns: Some(polls * 1_000),
        longest_stretch_ns: None,
        queued: Some(Queued { global: 1, local: None }),
        pool: None,
        slow: Some(0),
    }
}

/// Ten seconds from 10:11:12 on, an interval a second, with a slow poll from 2.5 s to 3.2 s, and one from 6.0 s to 6.1 s.
fn run() -> Run {
    let mut run = fixture::blocked("naive", &[700 * MS, 100 * MS]);
    run.elapsed_ns = 10 * S;
    (run.slow_polls[0].start_ns, run.slow_polls[1].start_ns) = (2_500 * MS, 6 * S);
    run.intervals = (0..10).map(|at| interval(at * S, at + 1)).collect();
    (run.intervals[3].slow, run.intervals[6].slow) = (Some(1), Some(1));
    run
}

fn recording() -> Recording {
    fixture::recording_of(vec![run()])
}

fn moment(text: &str) -> Option<Moment> {
    Some(Moment::parse(text).expect("a moment"))
}

fn between(recording: Recording, from: &str, to: &str) -> Result<Recording, CutError> {
    let window = Window { from: moment(from), to: moment(to), ..Window::default() };
    let span = window.span(&recording)?;
    cut(recording, span)
}

#[test]
fn a_part_has_whole_slow_polls_and_whole_intervals_and_says_so() {
    let part = between(recording(), "10:11:15", "10:11:16.5").expect("a part");
    let run = &part.runs[0];
    // From the interval in which the slow poll began, to the end of the one that the part ends in.
    assert_eq!((run.started_at.as_str(), run.elapsed_ns), ("2026-05-04T10:11:14Z", 3 * S));
    let polls: Vec<_> = run.slow_polls.iter().map(|poll| (poll.id, poll.start_ns, poll.duration_ns)).collect();
    assert_eq!(polls, [(1, 500 * MS, 700 * MS)]);
    assert_eq!((run.slow_polls_total, run.slow_polls_dropped), (1, 0));
    let intervals: Vec<_> = run.intervals.iter().map(|interval| (interval.start_ns, interval.slow)).collect();
    assert_eq!(intervals, [(0, Some(0)), (S, Some(1)), (2 * S, Some(0))]);
    assert_eq!(run.polls.as_ref().map(Dist::count), Some(3 + 4 + 5));
    assert_eq!(run.loop_busy_ns, Some(12_000));
    assert_eq!((run.ended, part.gates.len()), (Ended::Done, 0));
    let missing = run.coverage.missing.join("\n");
    assert!(
        missing.contains(
            "this is the part from 2026-05-04T10:11:14Z to 2026-05-04T10:11:17Z: slow polls and intervals that overlap \
         2026-05-04T10:11:15Z to 2026-05-04T10:11:16.500Z are in it whole"
        ),
        "{missing}"
    );
    assert!(missing.contains("are known of whole runs only"), "{missing}");
    assert_eq!(part.findings.iter().map(|finding| finding.code.as_str()).collect::<Vec<_>>(), ["PS001"]);
}

#[test]
fn what_is_known_of_the_whole_run_is_not_told_of_a_part() {
    let mut whole = recording();
    whole.runs[0].profile = fixture::profiled().profile;
    let part = between(whole, "10:11:15", "10:11:16").expect("a part");
    assert_eq!(part.runs[0].profile, None, "it is of all of the run");
    let json = wire::to_json(&part).expect("JSON");
    for key in ["schedule_latency", "lag_raw", "response_time", "sites", "ledger", "merge", "cpu_user_ns", "unanswered"]
    {
        assert!(json.contains(&format!("\"{key}\": null")), "{key}");
    }
    // It is a recording, and a part of the part is one.
    let again = wire::from_json(json.as_bytes()).expect("a recording");
    let less = between(again, "10:11:15.5", "10:11:15.6").expect("a part");
    assert_eq!((less.runs[0].started_at.as_str(), less.runs[0].elapsed_ns), ("2026-05-04T10:11:15Z", S));
    assert!(less.runs[0].slow_polls.is_empty());
}

#[test]
fn all_of_it_is_all_of_it() {
    let whole = wire::to_json(&Recording { gates: Vec::new(), ..recording() }).expect("JSON");
    for (from, to) in [("10:11:12", "10:11:22"), ("10:00", "11:00"), ("-1h", "-0")] {
        let part = between(recording(), from, to).expect("a part");
        assert_eq!(wire::to_json(&part).expect("JSON"), whole, "{from} {to}");
    }
}

#[test]
fn whoever_waited_longest_did_so_for_as_long() {
    let mut recording = recording();
    let waiter =
        Waiter { task_id: 9, spawned_at: "a.rs:1".into(), ready_ns: 1_500 * MS, polled_ns: 3_300 * MS, span: None };
    recording.runs[0].slow_polls[0].detail_mut().worst_waiter = Some(Box::new(waiter));
    let part = between(recording, "10:11:15", "10:11:15.1").expect("a part");
    assert_eq!(part.runs[0].started_at, "2026-05-04T10:11:13Z");
    let waiter = part.runs[0].slow_polls[0].worst_waiter().expect("who waited");
    assert_eq!((waiter.ready_ns, waiter.polled_ns), (500 * MS, 2_300 * MS));
}

#[test]
fn a_poll_that_goes_on_and_the_end_stay_with_the_last_part() {
    let mut recording = recording();
    let run = &mut recording.runs[0];
    let mut open = run.slow_polls[0].clone();
    (open.id, open.start_ns, open.duration_ns) = (3, 9 * S, S);
    run.stalls_open.push(open);
    fixture::interrupt(run, "Ctrl-C");
    let early = between(recording.clone(), "10:11:12", "10:11:13").expect("a part");
    assert_eq!((early.runs[0].ended, early.runs[0].stalls_open.len()), (Ended::Done, 0));
    let late = between(recording, "10:11:21.5", "10:11:30").expect("a part");
    assert_eq!((late.runs[0].ended, late.runs[0].stalls_open[0].start_ns), (Ended::Interrupted, 0));
}

#[test]
fn sums_are_known_where_all_intervals_are() {
    let mut recording = recording();
    recording.runs[0].intervals[4].polls = None;
    recording.runs[0].slow_polls_dropped = 2;
    recording.runs[0].slow_polls_total = 4;
    let part = between(recording.clone(), "10:11:16", "10:11:18").expect("a part");
    let run = &part.runs[0];
    assert_eq!((run.polls.is_none(), run.loop_busy_ns), (true, Some(11_000)));
    assert_eq!((run.slow_polls_total, run.slow_polls_dropped, run.slow_polls_are), (0, 0, Completeness::AtLeast));
    recording.runs[0].intervals.clear();
    let part = between(recording, "10:11:15", "10:11:16").expect("a part");
    let run = &part.runs[0];
    assert_eq!((run.started_at.as_str(), run.elapsed_ns), ("2026-05-04T10:11:14.500Z", 1_500 * MS));
    assert!(run.polls.is_none() && run.loop_busy_ns.is_none());
}

#[test]
fn runs_that_lie_outside_are_left_out_and_what_has_none_is_an_error() {
    let later = Run { started_at: "2026-05-05T10:11:12Z".into(), ..run() };
    let both = fixture::recording_of(vec![run(), later]);
    let part = between(both.clone(), "2026-05-04T10:11:15", "10:11:16").expect("a part");
    assert_eq!(part.runs.len(), 1);
    assert!(
        part.runs[0]
            .coverage
            .missing
            .iter()
            .any(|why| why.starts_with("1 run lies outside of 2026-05-04T10:11:15Z to"))
    );
    // Without a date it is the last day that has it.
    let last = between(both.clone(), "10:11:15", "10:11:16").expect("a part");
    assert_eq!(last.runs[0].started_at, "2026-05-05T10:11:14Z");

    let error = between(both.clone(), "2026-05-04T11:00", "12:00").expect_err("nothing");
    assert_eq!(
        error.to_string(),
        "nothing was recorded from 2026-05-04T11:00:00Z to 2026-05-04T12:00:00Z; it has 2026-05-04T10:11:12Z to \
         2026-05-04T10:11:22Z, and 2026-05-05T10:11:12Z to 2026-05-05T10:11:22Z"
    );
    let backwards = between(both.clone(), "2026-05-04T12:00", "2026-05-04T11:00").expect_err("backwards");
    assert!(backwards.to_string().contains("before it begins"), "{backwards}");
    let mut timeless = both;
    timeless.runs.iter_mut().for_each(|run| run.started_at = "yesterday".into());
    assert_eq!(between(timeless, "10:00", "11:00").expect_err("no times"), CutError::NoTimes);
}

#[test]
fn a_part_is_around_a_moment_or_as_long_as_is_said() {
    let span = |window: Window| {
        let span = window.span(&recording()).expect("a span");
        words(span).replace("2026-05-04T", "")
    };
    let around = Window { around: moment("10:11:15"), ..Window::default() };
    assert_eq!(span(around), "10:10:15Z to 10:12:15Z");
    let length = Some(Duration::from_secs(4));
    assert_eq!(span(Window { length, ..around }), "10:11:13Z to 10:11:17Z");
    assert_eq!(span(Window { from: moment("10:11:15"), length, ..Window::default() }), "10:11:15Z to 10:11:19Z");
    assert_eq!(span(Window { from: moment("-3s"), ..Window::default() }), "10:11:19Z to 10:11:22Z");
    assert_eq!(span(Window { to: moment("10:11:15"), ..Window::default() }), "10:11:12Z to 10:11:15Z");
    assert_eq!(span(Window { to: moment("11:00"), ..Window::default() }), "10:11:12Z to 11:00:00Z");
    assert_eq!(span(Window::default()), "10:11:12Z to 10:11:22Z");
}

#[test]
fn hostile_numbers_are_cut_like_others() {
    let mut hostile = recording();
    let run = &mut hostile.runs[0];
    (run.slow_polls[0].start_ns, run.slow_polls[0].duration_ns) = (u64::MAX, u64::MAX);
    run.intervals[3].start_ns = u64::MAX;
    run.elapsed_ns = u64::MAX;
    run.started_at = "9999-12-31T23:59:59Z".into();
    let span = Span { from: run.started().expect("a time") + Duration::from_secs(5), to: Duration::MAX };
    let part = cut(hostile, span).expect("a part");
    assert!(part.runs[0].elapsed_ns > 0);
}
