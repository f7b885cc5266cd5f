use super::*;
use crate::fixture;
use crate::recording::{Charge, Ledger, Run};

const WIDTHS: [usize; 7] = [1, 19, 40, 60, 83, 100, 200];

fn plain(width: usize) -> Style {
    Style { width, color: false, unicode: true }
}

/// A recording of which it is known who blocked, and who waited.
fn with_places() -> Recording {
    let mut recording = fixture::recording();
    for poll in &mut recording.runs[0].slow_polls {
        poll.kind_mut().blocking_line = Some("src/pipeline/sink.rs:41".into());
    }
    let charge = Charge {
        waiter: "src/b.rs:2".into(),
        culprit: "src/a.rs:1".into(),
        tasks: 3,
        late_tasks: 3,
        wait_ns: 900_000_000,
        wait_most_ns: 1_200_000_000,
    };
    recording.runs[0].ledger = Some(Ledger { charges: vec![charge], unattributed_ns: 2_000 });
    recording
}

/// Numbers far from their names are hard to follow.
#[test]
fn a_wide_page_has_no_gap_in_its_rows() {
    let recording = with_places();
    let text = render(&recording, &plain(200));
    assert!(text.contains(" 0.900 to 1.20 s\n"), "{text}");
    for title in ["Who blocked the loop", "Who waited", "Spawn sites"] {
        let rows: Vec<&str> =
            text.lines().skip_while(|line| !line.starts_with(title)).take_while(|line| !line.is_empty()).collect();
        assert!(rows.len() > 1, "{title} is there: {text}");
        assert!(!rows.iter().any(|row| row.contains(&" ".repeat(60))), "{}", rows.join("\n"));
    }
}

/// A profile that is beyond all bounds, with names that are made to do harm.
fn hostile_profile() -> Recording {
    let mut recording = fixture::profiled_recording();
    let profile = recording.runs[0].profile.as_mut().expect("a profile");
    (profile.period_ns, profile.looks, profile.parked, profile.running) = (u64::MAX, u64::MAX, u64::MAX, 0);
    let mut place = profile.places[0].clone();
    place.future = Some("\u{1b}[31m\u{202e}##[error]".repeat(1_000).as_str().into());
    place.line = Some("::error::\n/x".repeat(1_000).as_str().into());
    place.call = Some("日本語\r".repeat(1_000).as_str().into());
    profile.places.extend((0..20).map(|looks| crate::recording::ProfilePlace { looks, ..place.clone() }));
    recording
}

/// Recordings of every shape that a report must stand.
fn shapes() -> Vec<(&'static str, Recording)> {
    let mut unknown = fixture::run("naive");
    unknown.schedule_latency = None;
    unknown.lag = None;
    unknown.lag_raw = None;
    unknown.response_time = None;
    unknown.write_latency = None;
    unknown.busy_stretches = None;
    unknown.unanswered = None;
    unknown.throughput_bytes_per_s = None;
    unknown.merge = None;
    let mut empty = unknown.clone();
    empty.polls = Some(crate::recording::Dist::empty(3));
    fixture::sites(&mut empty).clear();
    (empty.elapsed_ns, empty.loop_busy_ns) = (0, Some(0));
    fixture::interrupt(&mut empty, "interrupted by SIGINT");
    let mut dropped = fixture::blocked("naive", &[503_123_456]);
    dropped.slow_polls.clear();
    dropped.slow_polls_dropped = 1;
    let modes = ["naive", "block-in-place", "spawn-blocking", "offloaded"];
    let of = fixture::recording_of;
    vec![
        ("two modes", fixture::recording()),
        ("one mode", of(vec![fixture::blocked("naive", &[503_123_456])])),
        ("four modes", of(modes.map(fixture::run).to_vec())),
        (
            "rounds",
            of(vec![fixture::blocked("naive", &[503_123_456]), fixture::run("offloaded"), fixture::run("naive")]),
        ),
        ("all unknown", of(vec![unknown])),
        ("empty", of(vec![empty])),
        ("dropped", of(vec![dropped, fixture::run("offloaded")])),
        ("nothing", of(Vec::new())),
        ("looked at", fixture::profiled_recording()),
        ("looked at among others", of(vec![fixture::run("naive"), fixture::profiled()])),
        ("looked at by whoever means harm", hostile_profile()),
        ("hostile", hostile()),
        ("intervals", of(vec![sliced(&[0, 1_000, 2_000]), fixture::run("offloaded")])),
        ("intervals of any order", of(vec![sliced(&[9_000_000_000, 0, 5, 5]), sliced(&[3_019, 3_020, 3_021])])),
        ("a nanosecond", of(vec![Run { elapsed_ns: 1, ..sliced(&[0]) }])),
        ("a century", of(vec![Run { elapsed_ns: 1 << 61, ..sliced(&[0, 1 << 40]) }])),
    ]
}

/// A run with intervals that start at these milliseconds.
fn sliced(starts_ms: &[u64]) -> Run {
    let mut run = fixture::blocked("naive", &[503_123_456]);
    let slice = |ms: &u64| crate::recording::Interval {
        start_ns: ms * fixture::MS,
        polls: run.polls.clone(),
        lag: run.lag.clone(),
        busy_ns: run.loop_busy_ns,
        pool: None,
        slow: None,
        longest_stretch_ns: None,
        queued: None,
    };
    run.intervals = starts_ms.iter().map(slice).collect();
    run
}

/// A recording whose every name wants to take over the terminal.
fn hostile() -> Recording {
    const EVIL: &str = "\u{1b}]0;owned\u{7}\u{202e}gpj\r\n\t\u{9b}31m日本語\u{fe0f}\u{200d}e\u{301}";
    let mut recording = fixture::recording();
    for run in &mut recording.runs {
        run.group = format!("{}{EVIL}", run.group);
        fixture::subject(run).runtime.flavor.push_str(EVIL);
        run.coverage.sees.push(EVIL.to_owned());
        fixture::interrupt(run, EVIL);
        if let Some(merge) = &mut run.merge {
            merge.verdict = crate::recording::Verdict::Failed;
            merge.reason = Some(EVIL.repeat(9).into());
        }
        for slow in &mut run.slow_polls {
            slow.kind_mut().task_name = Some(EVIL.into());
            slow.kind_mut().spawned_at = Some(format!("{EVIL}:1").into());
        }
        for site in fixture::sites(run) {
            site.task_name = Some(EVIL.to_owned());
            site.spawned_at = format!("{EVIL}{}:1", site.spawned_at);
        }
    }
    fixture::scenario(&mut recording).name = EVIL.to_owned();
    fixture::scenario(&mut recording).why = EVIL.to_owned();
    recording.environment.command = vec![EVIL.to_owned()];
    recording.gates[0].expr = EVIL.to_owned();
    recording.findings = crate::findings::findings(&recording.runs);
    recording
}

#[test]
fn every_shape_fits_every_page() {
    for (name, recording) in shapes() {
        for width in WIDTHS {
            let report = render(&recording, &plain(width));
            for line in report.lines() {
                let columns = crate::report::layout::width(line);
                assert!(columns <= width, "{name} at {width}: {columns} columns: {line}");
                assert_eq!(line, line.trim_end(), "{name} at {width}");
            }
            assert!(width < 40 || !report.contains("\n\n\n"), "{name} at {width}");
        }
    }
}

#[test]
fn without_colour_there_is_no_escape_and_with_it_the_same_text() {
    for (name, recording) in shapes() {
        let report = render(&recording, &plain(100));
        assert!(!report.contains(|c: char| c.is_control() && c != '\n'), "{name}");
        let colored = render(&recording, &Style { color: true, ..plain(100) });
        assert_eq!(strip(&colored), report, "{name}");
    }
}

/// Text without the colours that [`render`] writes.
fn strip(text: &str) -> String {
    let mut pieces = text.split('\u{1b}');
    let first = pieces.next().unwrap_or("").to_owned();
    pieces.fold(first, |out, piece| out + piece.split_once('m').expect("an escape of a colour").1)
}

#[test]
fn ascii_pages_are_ascii_and_as_wide() {
    for (name, recording) in shapes() {
        let report = render(&recording, &Style { unicode: false, ..plain(80) });
        assert!(report.is_ascii(), "{name}");
        assert!(report.lines().all(|line| line.len() <= 80), "{name}");
    }
}

#[test]
fn names_cannot_take_over_the_terminal() {
    let report = render(&hostile(), &Style { color: true, ..plain(200) });
    assert!(!report.contains(['\u{202e}', '\u{7}', '\u{9b}', '\r', '\t', '\u{200d}']));
    assert!(report.contains(r"\u{1b}]0;owned\u{7}\u{202e}gpj\r\n\t\u{9b}31m日本語"), "{report}");
}

/// The lines of the fixture's report from the one that starts with `from`, up to a blank one.
fn part(recording: &Recording, width: usize, from: &str) -> String {
    let report = render(recording, &plain(width));
    let lines = report.lines().skip_while(|line| !line.starts_with(from)).take_while(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn settings_that_are_not_the_scenarios_stand_below_its_question() {
    let mut recording = fixture::recording();
    let settings =
        [("merge.inputs", "3"), ("merge.lines", "10")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    fixture::scenario(&mut recording).settings = settings.into();
    fixture::scenario(&mut recording).changed = vec!["merge.inputs".to_owned()];
    assert!(part(&recording, 100, "pollscope").ends_with("\nchanged: merge.inputs = 3"));
}

#[test]
fn slow_polls_keep_the_shape_of_asyncio() {
    let recording = fixture::recording_of(vec![fixture::blocked("naive", &[503_123_456])]);
    assert_eq!(
        part(&recording, 100, "Slow polls"),
        "Slow polls  longest first\n\
         +0.18 s Executing <Task 7 tail, spawned at src/pipeline/merge.rs:88, worker 0> took 0.503 seconds"
    );
    let mut root = recording.runs[0].slow_polls[0].clone();
    root.task_id = None.into();
    (root.kind_mut().task_name, root.kind_mut().worker) = (None, None);
    assert_eq!(
        crate::report::executing(&root),
        "Executing <block_on future, spawned at src/pipeline/merge.rs:88> took 0.503 seconds"
    );
}

#[test]
fn unknown_is_a_dash_and_never_a_zero() {
    let (_, unknown) = shapes().into_iter().find(|(name, _)| *name == "all unknown").unwrap();
    let durations = part(&unknown, 100, "Durations");
    for name in ["schedule latency", "loop lag", "response time", "write latency"] {
        let line = durations.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(line.split_whitespace().skip(2).collect::<Vec<_>>(), ["—", "not", "measured"], "{line}");
    }
    assert!(!render(&unknown, &plain(100)).contains("merge ok"));
}

#[test]
fn a_merge_says_what_went_wrong_and_where() {
    let mut recording = fixture::recording();
    assert_eq!(
        part(&recording, 200, "✓ naive "),
        "✓ naive      merge ok: 5 inputs, 50 lines, 1.20 kB, each whole, once, in order\n\
         ✓ offloaded  merge ok: 5 inputs, 50 lines, 1.20 kB, each whole, once, in order"
    );
    let merge = recording.runs[0].merge.as_mut().unwrap();
    (merge.verdict, merge.lost, merge.torn) = (crate::recording::Verdict::Failed, 2, 1);
    merge.reason = Some("line 7 of a.log is missing".into());
    assert!(part(&recording, 200, "✗ naive").starts_with(
        "✗ naive      merge failed: 5 inputs, 50 lines, 1.20 kB; 2 lost and 1 torn; line 7 of a.log is missing\n"
    ));
}

#[test]
fn durations_share_an_axis_and_have_factors_over_the_best() {
    assert_eq!(
        part(&fixture::recording(), 100, "Durations").lines().take(4).collect::<Vec<_>>(),
        [
            "Durations                         p50     p90     p99   p99.9  p99.99     max vs best  1µs 100µs  1s",
            "poll time         naive       9.03 µs 19.6 µs 89.2 µs  771 µs  168 ms  503 ms   1.07x    ●━━───────┤",
            "                  offloaded   9.03 µs 19.6 µs 83.5 µs  635 µs  869 µs  900 µs    best    ●━━─┤   ┊",
            "schedule latency  naive       7.58 µs 41.6 µs  246 µs  151 ms  453 ms  503 ms   4.11x   ●━━━━──────┤",
        ]
    );
}

#[test]
fn a_percentile_of_too_few_values_is_unknown_and_has_no_factor() {
    let durations = part(&fixture::recording(), 60, "Durations");
    let lines: Vec<&str> = durations.lines().skip_while(|line| *line != "write latency").take(4).collect();
    let dashes = lines.iter().map(|line| line.matches('—').count());
    assert_eq!(dashes.collect::<Vec<_>>(), [0, 2, 2, 0], "50 writes have no 99th percentile: {lines:?}");
    assert!(lines[1].ends_with("190 ms") && lines[2].ends_with("184 ms"), "{lines:?}");
    let words: Vec<&str> = durations.split_whitespace().collect();
    assert!(words.join(" ").ends_with("—: too few values for that percentile"), "{durations}");
}

#[test]
fn what_did_not_happen_is_none_and_what_was_not_measured_is_unknown() {
    let mut recording = fixture::recording();
    let pool_wait = |recording: &Recording| {
        let durations = part(recording, 100, "Durations");
        let line = durations.lines().find(|line| line.starts_with("pool wait")).unwrap();
        line.split_whitespace().skip(2).take(2).collect::<Vec<_>>().join(" ")
    };
    recording.runs[0].pool_wait = Some(crate::recording::Dist::empty(3));
    assert_eq!(pool_wait(&recording), "naive none");
    recording.runs[1].pool_wait = Some(crate::recording::Dist::empty(3));
    assert_eq!(pool_wait(&recording), "none");
    recording.runs.iter_mut().for_each(|run| run.pool_wait = None);
    assert_eq!(pool_wait(&recording), "— not");
}

#[test]
fn what_a_fix_costs_stands_beside_what_it_changes() {
    let mut recording = fixture::recording();
    recording.runs[1].context_switches_voluntary = Some(18_000);
    recording.runs[0].cpu_system_ns = None;
    assert_eq!(
        part(&recording, 100, "Counts").lines().collect::<Vec<_>>(),
        [
            "Counts                    naive     offloaded   Price of the fix              naive        offloaded",
            "slow polls              6             0         throughput          1.20 kB/s  best  1.20 kB/s  best",
            "loop busy          44.8 % 8.56x   5.2 %  best   elapsed                3.02 s  best     3.02 s  best",
            "busy stretch, max  503 ms  559x  900 µs  best   CPU time                    —           300 ms",
            "polls              11,916        11,910           in kernel, about          —          90.0 ms",
            "unanswered              0             0         context switches        9,040  best     18,040 2.00x",
            "                                                  involuntary              40  best         40  best",
        ]
    );
    assert_eq!(part(&recording, 60, "Price of the fix").lines().count(), 7);
    recording.runs.remove(0);
    assert!(part(&recording, 60, "Price").lines().any(|line| line.split_whitespace().eq(["CPU", "time", "300", "ms"])));
}

#[test]
fn a_page_has_the_percentiles_that_fit() {
    for (width, labels) in [
        (36, "p50 p99 max"),
        (46, "p50 p99 max"),
        (60, "p50 p90 p99 p99.9 max"),
        (84, "p50 p90 p99 p99.9 max"),
        (200, "count p50 p90 p99 p99.9 p99.99 max"),
    ] {
        let durations = part(&fixture::recording(), width, "Durations");
        let header = durations.lines().next().unwrap();
        let words: Vec<&str> = header.split_whitespace().skip(1).take_while(|word| !word.ends_with('s')).collect();
        assert_eq!(words.join(" "), labels, "{width}: {header}");
    }
}

#[test]
fn lag_stands_above_what_it_was_before_the_correction() {
    let mut recording = fixture::recording();
    let after_lag = |recording: &Recording| {
        let durations = part(recording, 100, "Durations");
        durations.lines().skip_while(|line| !line.starts_with("loop lag")).nth(2).map(str::to_owned).unwrap()
    };
    assert!(after_lag(&recording).starts_with("  raw             naive "), "{}", after_lag(&recording));
    recording.runs.remove(0);
    recording.runs.push(fixture::run("other"));
    assert_eq!(after_lag(&recording).trim(), "raw: the same");
}

#[test]
fn poll_times_stand_back_to_back_with_slow_polls_below_the_line() {
    assert_eq!(
        part(&fixture::recording(), 60, "Poll times").lines().collect::<Vec<_>>(),
        [
            "Poll times (log)    naive   from   offloaded: 11,910 polls",
            "        479 ▐████████████   1 µs   ████████████▌ 479",
            " 6,113 ██████████████████   3 µs   ██████████████████ 6,113",
            " 5,120 ▐█████████████████   10 µs  █████████████████▌ 5,120",
            "            93 ▐█████████   30 µs  █████████▌ 93",
            "             69 █████████  100 µs  █████████ 69",
            "              36 ▐███████  300 µs  ███████▌ 36",
            "                              ┊",
            "╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 6 slow ╌╌ 100 ms ╌╌ 0 slow ╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌",
            "                   5 ▐███  100 ms",
            "                     1 ▐█  300 ms",
        ]
    );
}

#[test]
fn the_title_of_the_poll_times_of_one_mode_is_whole() {
    let recording = fixture::recording_of(vec![fixture::run("naive")]);
    assert!(part(&recording, 60, "Poll times").starts_with("Poll times (log) 11,910 polls\n"));
    let modes = ["a", "b", "c"].map(fixture::run).to_vec();
    let header = part(&fixture::recording_of(modes), 100, "Poll times");
    assert!(header.starts_with("Poll times (log) a: 11,910 polls         b: 11,910 polls"), "{header}");
}

#[test]
fn findings_look_like_a_compiler_s() {
    let recording = fixture::recording_of(vec![fixture::run("naive"), fixture::run("offloaded")]);
    assert_eq!(
        part(&recording, 100, "note[PS008]").lines().take(3).collect::<Vec<_>>(),
        [
            "note[PS008]: naive: blocking did no harm here (no slow poll, loop lag p99 1.59 ms against 1.59 ms in",
            "    offloaded mode)",
            "  = help: nothing to fix on this machine today: a write to the page cache seldom blocks; ask again",
        ]
    );
}

#[test]
fn the_question_is_the_first_sentence() {
    assert_eq!(first_sentence("  Is 1.5 ms\nmuch? Perhaps."), "Is 1.5 ms much?");
    assert_eq!(first_sentence("no stop"), "no stop");
    assert_eq!(first_sentence(""), "");
}

#[test]
fn a_narrow_page_names_its_columns_and_keeps_them_apart() {
    let mut recording = fixture::recording();
    recording.runs.truncate(1);
    recording.gates[0].expr = "offloaded.response_time.p99 < 0.5 * naive.response_time.p99".to_owned();
    for width in [60, 80] {
        let report = render(&recording, &plain(width));
        assert!(report.lines().any(|line| line.starts_with("Durations p50 ")), "{width}: {report}");
        let gate = report.lines().find(|line| line.contains("offloaded.response_time.p99 <")).expect("the gate");
        assert!(gate.contains("…  ") || gate.contains("p99  "), "{width}: {gate}");
    }
}

#[test]
fn a_narrow_page_says_of_which_mode_its_places_are() {
    let recording = with_places();
    for (title, width) in [60, 80].into_iter().flat_map(|width| [("Who blocked", width), ("Who waited", width)]) {
        let report = render(&recording, &plain(width));
        let mut lines = report.lines().skip_while(|line| !line.starts_with(title));
        assert_eq!((lines.next().is_some(), lines.next()), (true, Some("naive")), "{title}, {width}: {report}");
    }
}

#[test]
fn a_process_that_was_looked_at_shows_where_its_time_went() {
    let mut recording = fixture::profiled_recording();
    let text = render(&recording, &plain(100));
    for said in [
        "Where the loops' time went\n60.0 % parked, 25.0 % in polls off the CPU, 8.0 % on it,",
        "by the threads' clocks: 4.90 s on a CPU, 310 ms ready for one\n",
        "  25.0 %  off the CPU         src/conf.rs:41    openat  api::answer::{{closure}}\n",
        "   8.0 %  on the CPU          src/hash.rs:7             api::answer::{{closure}}\n",
        "   2.0 %  scheduler           —\n",
    ] {
        assert!(text.contains(said), "{said}\n{text}");
    }
    assert!(!text.contains("more place"), "{text}");
    let profile = recording.runs[0].profile.as_mut().expect("a profile");
    let place = |at: u64| crate::recording::ProfilePlace {
        line: Some(format!("src/{at}.rs:1").as_str().into()),
        looks: 2,
        ..Default::default()
    };
    profile.places.extend((0..9).map(place));
    let text = render(&recording, &plain(60));
    let rows: Vec<&str> =
        text.lines().skip_while(|line| !line.trim_start().starts_with("the thread was")).skip(1).take(11).collect();
    assert!(rows[9].contains("elsewhere") && rows[10].ends_with("0.6 %  at 3 more places"), "{rows:#?}");
    assert!(!render(&fixture::recording(), &plain(100)).contains("loops' time"), "only where somebody looked");
}
