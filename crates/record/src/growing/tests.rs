use std::collections::BTreeMap;
use std::io::Cursor;
use std::ops::ControlFlow;

use super::*;
use crate::fixture::{self, MS};
use crate::live::{Live, State, Waits, Worker};
use crate::message::Message;
use crate::recording::{
    Blame, Detail, Fine, Frame, Holder, Kind, Place, Precision, Queued, Quota, Span, Subject, Syscall, Target, Waiter,
};
use crate::saved;

/// A service's run of 2 s: three slow polls of two stacks, four intervals.
fn run() -> Run {
    let mut run = fixture::blocked("api", &[200 * MS, 300 * MS, 150 * MS]);
    run.subject = Subject::Service(Target { name: "api".to_owned(), pid: Some(7), ..Target::default() });
    run.merge = None;
    run.elapsed_ns = 2_000 * MS;
    let frame = |line| Frame { function: Some("stock".into()), file: Some("src/stock.rs".into()), line: Some(line) };
    for (at, poll) in run.slow_polls.iter_mut().enumerate() {
        poll.kind_mut().stack = [frame(7), frame(1 + at as u64 % 2)].into_iter().collect();
        poll.kind_mut().blocking_line = Some("src/stock.rs:7".into());
    }
    let slice = |at: u64| Interval {
        start_ns: at * 500 * MS,
        polls: Some(fixture::dist(2, &[(10 + at, MS, 2 * MS)])),
        lag: None,
        busy_ns: Some(15 * MS),
        longest_stretch_ns: None,
        queued: None,
        pool: None,
        slow: None,
    };
    run.intervals = (0..4).map(slice).collect();
    run
}

fn head(run: &Run, segment: u64) -> Head {
    Head {
        environment: fixture::recording().environment,
        group: run.group.clone(),
        subject: run.subject.clone(),
        started_at: run.started_at.clone(),
        coverage: run.coverage.clone(),
        slow_poll_threshold_ns: run.slow_poll_threshold_ns,
        slow_polls_are: run.slow_polls_are,
        segment,
    }
}

/// What becomes known of a run: of each slow poll first that it goes on; after the second interval what is known as a whole by then.
fn updates(run: &Run) -> Vec<(Update, u64)> {
    let mut updates = Vec::new();
    for (at, interval) in run.intervals.iter().enumerate() {
        let end_ns = interval.start_ns + 500 * MS;
        if let Some(poll) = run.slow_polls.get(at) {
            updates.push((Update::Stall(Box::new(poll.clone())), 0));
            updates.push((Update::SlowPoll(Box::new(poll.clone())), 0));
        }
        updates.push((Update::Interval(Box::new(interval.clone())), end_ns));
        if at == 1 {
            let known = Run {
                elapsed_ns: end_ns,
                slow_polls_total: 2,
                polls: Some(fixture::dist(3, &[(21, MS, 2 * MS)])),
                ..run.clone()
            };
            updates.push((Update::Known(Box::new(known)), 0));
        }
    }
    updates
}

fn lines(writer: &mut LineWriter, updates: &[(Update, u64)]) -> String {
    updates.iter().map(|(update, now_ns)| writer.lines(update, *now_ns).expect("it can be written")).collect()
}

/// All of the run, to its end.
fn whole(run: &Run) -> String {
    let mut writer = LineWriter::default();
    let mut text = writer.head(&head(run, 1)).expect("it can be written");
    text += &lines(&mut writer, &updates(run));
    text + &lines(&mut writer, &[(Update::Known(Box::new(run.clone())), 0), (Update::End(Ended::Done, None), 0)])
}

fn saved_of(text: &str) -> Result<Saved, ReadError> {
    saved::read(Cursor::new(text.as_bytes().to_vec()))
}

fn json(run: &Run) -> String {
    serde_json::to_string(run).expect("JSON")
}

#[test]
fn what_was_written_is_read_back() {
    let run = run();
    let text = whole(&run);
    assert_eq!(text.matches("{\"stack\":").count(), 2, "each once");
    let saved = saved_of(&text).expect("it is whole");
    assert!(!saved.is_torn);
    let [read] = &saved.recording.runs[..] else { panic!("one run") };
    assert_eq!(json(read), json(&run));
    assert!(saved.recording.findings.iter().any(|finding| finding.code == "PS001"), "{:?}", saved.recording.findings);
}

/// Two at a time of each of two kinds: with all that a slow poll can have, and with as little.
#[test]
fn an_interval_has_two_digits_and_the_bytes_that_it_needs() {
    for (low, high) in [(MS, 2 * MS), (1, 100 * MS)] {
        let mut run = run();
        let exact = fixture::dist(3, &[(5_000, low, high)]);
        run.intervals[0].polls = Some(exact.clone());
        let text = whole(&run);
        let longest = text.lines().filter(|line| line.starts_with("{\"interval\":")).map(str::len).max();
        assert!(longest < Some(1_200), "{longest:?}");
        let saved = saved_of(&text).expect("it is whole").recording.runs.remove(0);
        let read = saved.intervals[0].polls.as_ref().expect("it was written");
        assert_eq!((read.digits(), read.count()), (2, exact.count()));
        assert_eq!(
            (read.min_ns, read.max_ns, read.sum_ns, read.mean_ns()),
            (exact.min_ns, exact.max_ns, exact.sum_ns, exact.mean_ns())
        );
        for q in [0.5, 0.9, 0.99] {
            let (read, exact) = (read.quantile_ns(q).expect("values"), exact.quantile_ns(q).expect("values"));
            assert!(read.abs_diff(exact) * 100 <= exact, "{q}: {read} of {exact}");
        }
    }
}

#[test]
fn what_slow_polls_have_in_common_is_written_once() {
    let full = fixture::blocked("api", &[200 * MS]).slow_polls.remove(0);
    let call = Syscall { name: "write".into(), fd: Some(9), path: None, peer: None, bytes: None, text: "write".into() };
    let kind = Kind { syscall: Some(call.into()), caller: Some("src/a.rs:7".into()), ..(*full.kind).clone() };
    let place = Place { line: Some("src/b.rs:1".into()), looks: Some(2), ..Place::default() };
    let detail = Detail {
        blame: Some(Blame { tasks: 1, wait_ns: 5, ..Blame::default() }),
        worst_waiter: Some(Box::new(Waiter {
            task_id: 4,
            spawned_at: "a".to_owned(),
            ready_ns: 1,
            polled_ns: 2,
            span: None,
        })),
        span: Some(Box::new(Span {
            name: "GET /".into(),
            fields: BTreeMap::new(),
            trace_id: Some("4bf9".into()),
            span_id: None,
        })),
        end_is: Precision::WithinNs(7),
        more_places: vec![place],
        holder: Some(Box::new(Holder { thread: None, task_id: Some(1), line: None, doing: None, sure: false })),
        quota: Some(Box::new(Quota { quota_ns: 1, period_ns: 2, periods: 3, throttled_periods: 4, throttled_ns: 5 })),
        ..Detail::default()
    };
    let mut run = run();
    let known =
        SlowPoll { cpu_ns: 12_345.into(), run_delay_ns: 0.into(), looks: Some(12), share_ns: 190.into(), ..full };
    let known = SlowPoll { kind: kind.into(), detail: detail.boxed(), ..known };
    let nobody = Kind { nobody_waited: true, ..Kind::default() };
    let least = SlowPoll { duration_ns: MS, cpu_ns: 5.into(), ..SlowPoll::of(nobody) };
    let polls = [(1, &known), (2, &known), (9, &least), (10, &least)];
    run.slow_polls = polls.iter().map(|(id, poll)| SlowPoll { id: *id, ..(*poll).clone() }).collect();
    run.slow_polls_total = 4;
    run.sites = None;
    let text = whole(&run);
    let of = |key: &str| text.lines().filter(|line| line.starts_with(&format!("{{\"{key}\":"))).collect::<Vec<_>>();
    assert_eq!((of("kind").len(), of("slow_poll").len()), (2, 4));
    assert_eq!(
        of("slow_poll")[3],
        r#"{"slow_poll":{"kind":2,"start_ns":0,"duration_ns":1000000,"clocks_ns":[5,null]}}"#
    );
    let saved = saved_of(&text).expect("it is whole");
    assert_eq!(saved.recording.runs[0].slow_polls, run.slow_polls);
    assert_eq!(json(&saved.recording.runs[0]), json(&run));
    let unequal = text.replacen("\"blame\":{\"tasks\":0", "\"blame\":{\"tasks\":1", 1);
    let error = saved_of(&unequal).expect_err("they differ").to_string();
    assert!(error.contains("who waited is not the same for all slow polls of a kind"), "{error}");
}

#[test]
fn what_is_torn_anywhere_has_what_was_whole_and_no_wrong_number() {
    let run = run();
    let text = whole(&run);
    let first = text.find('\n').expect("lines") + 1;
    for end in (0..text.len()).step_by(13) {
        let torn = &text[..end];
        let saved = match saved_of(torn) {
            Err(ReadError::Torn | ReadError::Format(_)) if end < first => continue,
            other => other.unwrap_or_else(|error| panic!("at {end}: {error}")),
        };
        assert!(saved.is_torn, "at {end}");
        let read = &saved.recording.runs[0];
        let whole_lines = |key: &str| torn[..torn.rfind('\n').map_or(0, |at| at + 1)].matches(key).count();
        assert_eq!(read.slow_polls.len(), whole_lines("{\"slow_poll\":"));
        assert_eq!(read.slow_polls[..], run.slow_polls[..read.slow_polls.len()]);
        assert_eq!(read.stalls_open.len(), whole_lines("{\"stall\":") - read.slow_polls.len());
        assert_eq!(read.slow_polls_total, read.slow_polls.len() as u64 + read.slow_polls_dropped);
        let intervals = whole_lines("{\"interval\":") as u64;
        let is_known_to_its_end = whole_lines("{\"known\":") == 2;
        if intervals > 0 && !is_known_to_its_end {
            let count: u64 = (0..intervals).map(|at| 10 + at).sum();
            assert_eq!(read.polls.as_ref().map(crate::dist::Dist::count), Some(count), "at {end}");
            assert!(read.elapsed_ns >= intervals * 500 * MS);
            // Of the whole run they are known only where nothing came after them.
            assert_eq!(read.sites.is_some(), intervals == 2 && whole_lines("{\"known\":") == 1, "at {end}");
        }
    }
}

#[test]
fn a_recording_of_several_files_is_one_run_and_says_what_is_gone() {
    let run = run();
    let updates = updates(&run);
    let mut writer = LineWriter::default();
    let mut file = |segment, updates: &[(Update, u64)]| {
        let head = writer.head(&head(&run, segment)).expect("it can be written");
        head + &lines(&mut writer, updates)
    };
    let [first, second] = [file(1, &updates[..5]), file(2, &updates[5..])];
    let end = file(3, &[(Update::Known(Box::new(run.clone())), 0), (Update::End(Ended::Done, None), 0)]);
    assert!(first.contains("{\"stack\":") && second.contains("{\"stack\":"), "each can be read alone");
    let of = |files: &[&String]| {
        let length = files.iter().map(|file| file.len() as u64).sum();
        let mut recording = read(files.iter().map(|file| file.as_bytes()), length).expect("it is whole").recording;
        assert_eq!(recording.runs.len(), 1);
        recording.runs.remove(0)
    };
    assert_eq!(json(&of(&[&first, &second, &end])), json(&run));
    let rest = of(&[&second, &end]);
    assert_eq!((rest.slow_polls.len(), rest.slow_polls_dropped, rest.slow_polls_total), (1, 2, 3));
    assert!(rest.coverage.missing.iter().any(|why| why.contains("the oldest 1 file of the recording is gone")));
}

#[test]
fn runs_in_one_file_are_told_apart() {
    let run = run();
    let later = Run { started_at: "2026-05-04T11:00:00Z".to_owned(), ..run.clone() };
    let saved = saved_of(&(whole(&run) + &whole(&later))).expect("it is whole");
    let started: Vec<&str> = saved.recording.runs.iter().map(|run| run.started_at.as_str()).collect();
    assert_eq!(started, [&run.started_at, &later.started_at]);
}

#[test]
fn how_it_ended_is_known() {
    let run = run();
    let mut writer = LineWriter::default();
    let why = Some(Message::from("SIGTERM"));
    let end = [(Update::End(Ended::Interrupted, why), 0)];
    let text = writer.head(&head(&run, 1)).expect("it can be written") + &lines(&mut writer, &end);
    let saved = saved_of(&text).expect("it is whole");
    assert!(!saved.is_torn);
    assert_eq!(saved.recording.runs[0].early_end(), Some("SIGTERM"));
}

#[test]
fn what_is_of_a_later_version_is_counted() {
    let text = whole(&run());
    let (head, rest) = text.split_once('\n').expect("lines");
    let text = format!("{head}\n{{\"weather\":{{\"rain\":[1]}}}}\n{{}}\n{rest}");
    let read = &saved_of(&text).expect("it can be read").recording.runs[0];
    assert_eq!(
        read.coverage.missing.last().map(String::as_str),
        Some("2 lines of a later version of pollscope were passed over")
    );
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let run = run();
    let text = whole(&run);
    let (head, rest) = text.split_once('\n').expect("lines");
    let (stack, rest_without) = rest.split_once('\n').expect("lines");
    assert!(stack.starts_with("{\"stack\":"));
    let end = "{\"end\":{\"ended\":\"done\",\"why\":null}}";
    for (text, why) in [
        (format!("{head}\nnonsense\n"), "line 2: expected ident"),
        (format!("{head}\n{{\"note\":1}}\n"), "line 2: invalid type: integer `1`"),
        (format!("{head}\n{{\"note\":\"a\",\"end\":1}}\n"), "line 2: there is more than `note` in it"),
        (format!("{head}\n{rest_without}"), "refers to a stack that is not there"),
        (
            text.replacen("\n{\"kind\":", "\n{\"kin\":", 1),
            "line 4: it refers to a kind of slow polls that is not there",
        ),
        (format!("{head}\n{end}\n{end}\n"), "line 3: something comes after the end of the run"),
        (format!("{}\n", head.replace("recording/2", "recording/3")), "its schema is `pollscope.recording/3`"),
        (format!("{{\"recording\":{{}}}}\n{head}\n"), "line 1: missing field `schema`"),
    ] {
        let error = saved_of(&text).expect_err(why).to_string();
        assert!(error.contains(why) && error.len() < 400, "{why}: {error}");
    }
    let no_head = read([rest.as_bytes()], 10_000).expect_err("no head").to_string();
    assert!(no_head.contains("line 3: it does not begin with a `recording`"), "{no_head}");
}

#[test]
fn what_is_known_again_and_again_takes_no_more_room() {
    let run = run();
    let mut writer = LineWriter::default();
    let known = lines(&mut writer, &[(Update::Known(Box::new(run.clone())), 0)]);
    let head = writer.head(&head(&run, 1)).expect("it can be written");
    let text = head + &known.repeat(3_000);
    assert!(saved_of(&text).is_ok());
}

#[test]
fn whatever_it_says_there_is_an_answer() {
    let text = whole(&run());
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..500 {
        let mut changed = text.as_bytes().to_vec();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..changed.len());
            changed[at] = random.u8(..);
        }
        let _ = saved::read(Cursor::new(changed));
    }
}

/// An interval a second for a week, and a slow poll in each: nobody adds up when they were.
#[test]
fn a_long_recording_of_much_can_be() {
    let mut run = run();
    let (poll, slice) = (run.slow_polls[0].clone(), run.intervals[0].clone());
    let late = |at: u64| 604_800_000 * MS + at * 1_000 * MS;
    run.slow_polls = (0..10_000).map(|at| SlowPoll { id: at + 1, start_ns: late(at), ..poll.clone() }).collect();
    run.intervals = (0..10_000).map(|at| Interval { start_ns: late(at), polls: None, ..slice.clone() }).collect();
    run.slow_polls_total = 10_000;
    run.elapsed_ns = late(10_000);
    let read = saved_of(&whole(&run)).expect("it can be").recording.runs.remove(0);
    assert_eq!((read.slow_polls.len(), read.intervals.len()), (10_000, 10_000));
}

/// Each can be, and all of them together cannot.
#[test]
fn what_cannot_be_added_up_is_refused() {
    let mut run = run();
    for interval in &mut run.intervals {
        interval.polls.as_mut().expect("made above").clamped = u64::MAX;
    }
    let mut writer = LineWriter::default();
    let head_line = writer.head(&head(&run, 1)).expect("it can be written");
    let torn = head_line + &lines(&mut writer, &updates(&run));
    assert!(matches!(saved_of(&torn), Err(ReadError::Impossible(_))));
    let late = Interval { start_ns: u64::MAX, ..run.intervals[0].clone() };
    let late = LineWriter::default().lines(&Update::Interval(Box::new(late)), u64::MAX).expect("it can be written");
    let head_line = writer.head(&head(&run, 1)).expect("it can be written");
    assert!(matches!(saved_of(&(head_line + &late)), Err(ReadError::Impossible(_))));
    run.polls.as_mut().expect("made above").clamped = u64::MAX;
    run.intervals.clear();
    let twice = whole(&run) + &whole(&Run { started_at: "2026-05-04T11:00:00Z".to_owned(), ..run.clone() });
    assert!(matches!(saved_of(&twice), Err(ReadError::Impossible(_))));
}

/// What is so at one moment: two stalls, one with a stack that a slow poll has as well.
fn live(run: &Run) -> Live {
    let worker = |state, for_ns| Worker { worker: Some(1), state, for_ns, ..Worker::default() };
    Live {
        at_ns: 900 * MS,
        workers: vec![worker(State::Polling, Some(5)), worker(State::Parked, None)],
        schedule_latency: Some(Waits { count: 3, p50_ns: 1, p99_ns: 2, max_ns: 2 }),
        stalls: vec![run.slow_polls[0].clone(), SlowPoll { id: 9, ..run.slow_polls[1].clone() }],
        ..Live::default()
    }
}

#[test]
fn what_is_so_at_the_moment_is_no_part_of_a_recording() {
    let run = run();
    let mut writer = LineWriter::default();
    let mut text = writer.head(&head(&run, 1)).expect("it can be written");
    text += &writer.live(&live(&run)).expect("it can be written");
    assert_eq!(text.matches("{\"stack\":").count(), 2, "its stacks have lines of their own");
    let before = text.len();
    text += &lines(&mut writer, &updates(&run));
    assert!(!text[before..].contains("{\"stack\":"), "later lines refer to them");
    text += &lines(&mut writer, &[(Update::Known(Box::new(run.clone())), 0), (Update::End(Ended::Done, None), 0)]);
    assert_eq!(json(&saved_of(&text).expect("it is whole").recording.runs[0]), json(&run));
    // A thousand moments take no more room than one.
    let moments = text[..before].to_owned() + &writer.live(&live(&run)).expect("JSON").repeat(20_000) + &text[before..];
    assert!(saved_of(&moments).is_ok());
}

#[test]
fn a_feed_is_followed_line_by_line() {
    let run = run();
    let mut writer = LineWriter::default();
    let mut text = writer.head(&head(&run, 1)).expect("it can be written");
    text += &writer.live(&live(&run)).expect("it can be written");
    text += &lines(&mut writer, &updates(&run));
    text += "{\"weather\":1}\n{\"note\":\"it is cut";
    let (mut moments, mut polls, mut count) = (Vec::new(), Vec::new(), 0);
    let of_feed = |fed| {
        count += 1;
        match fed {
            Fed::Live(live) => moments.push(*live),
            Fed::Update(Update::SlowPoll(poll), _) => polls.push(*poll),
            _ => {}
        }
        ControlFlow::Continue(())
    };
    follow(text.as_bytes(), of_feed).expect("it can be read");
    assert_eq!((&moments[..], &polls[..]), (&[live(&run)][..], &run.slow_polls[..]));
    assert_eq!(count, 2 + updates(&run).len(), "neither stacks, nor what is not known, nor what is cut short");
    let stack = "{\"live\":{\"at_ns\":1,\"up_ns\":1,\"workers\":[],\"pool\":null,\"queued\":null,\"schedule_latency\":null,\"stalls\":[]}}\n";
    assert!(follow(stack.as_bytes(), |_| ControlFlow::Break(())).is_ok());
    for wrong in ["nonsense\n", "{\"live\":{}}\n", "{\"note\":1}\n"] {
        assert!(
            matches!(follow(wrong.as_bytes(), |_| ControlFlow::Continue(())), Err(ReadError::Format(_))),
            "{wrong}"
        );
    }
}

#[test]
fn what_was_around_a_long_poll_is_read_back_and_adds_to_nothing() {
    let fine = |start_ns| Fine {
        start_ns,
        end_ns: start_ns + 100 * MS,
        busy_ns: 70 * MS,
        late: 1,
        queued: Some(Queued { global: 3, local: None }),
        pool_queued: None,
    };
    let mut writer = LineWriter::default();
    let mut text = writer.head(&head(&run(), 1)).unwrap();
    for update in [Update::Fine(vec![fine(0), fine(100 * MS)]), Update::Fine(vec![fine(200 * MS)])] {
        text += &writer.lines(&update, 0).unwrap();
    }
    let saved = read([text.as_bytes()], text.len() as u64).unwrap();
    let run = &saved.recording.runs[0];
    assert_eq!(run.fine, [fine(0), fine(100 * MS), fine(200 * MS)]);
    assert!(run.polls.is_none() && run.loop_busy_ns.is_none() && run.elapsed_ns == 0);
    let json = crate::recording::wire::to_json(&saved.recording).unwrap();
    let again = crate::recording::wire::from_json(json.as_bytes()).unwrap();
    assert_eq!(again.runs[0].fine, run.fine);
}

#[path = "tests/beside.rs"]
mod beside;
