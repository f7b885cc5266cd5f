mod drawn;
mod loops;

use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::drawn::MARK as DRAWN;
use super::*;
use crate::fixture;
use crate::recording::{Frame, Interval, Kind, Ledger, Run, SlowPoll, Syscall, Text, wire};
use crate::saved::read;

/// A page without its data, its style and its script.
fn markup(page: &str) -> String {
    let without = [PAGE_MARK, DRAWN].iter().fold(page.to_owned(), |page, mark| {
        let (before, rest) = page.split_once(mark).expect("the data");
        let (_, after) = rest.split_once("</script>").expect("its end");
        format!("{before}{after}")
    });
    STYLES.iter().chain(&SCRIPTS).fold(without, |page, text| page.replace(text, ""))
}

/// What stands behind a mark.
fn data<'p>(page: &'p str, mark: &str) -> &'p str {
    page.split_once(mark).and_then(|(_, rest)| rest.split_once("</script>")).expect("the data").0
}

fn read_back(page: &str) -> Recording {
    let saved = read(Cursor::new(page.as_bytes().to_vec())).expect("a recording");
    assert!(!saved.is_torn);
    saved.recording
}

/// With everything that a recording can hold.
fn rich() -> Recording {
    let mut recording = fixture::recording();
    for run in &mut recording.runs {
        let interval = |start_ns| Interval {
            start_ns,
            polls: run.polls.clone(),
            lag: run.lag.clone(),
            busy_ns: run.loop_busy_ns,
            pool: None,
            slow: None,
            longest_stretch_ns: None,
            queued: None,
        };
        run.intervals = (0..12).map(|i| interval(i * 250 * fixture::MS)).collect();
        let charge = crate::recording::Charge {
            culprit: "src/a.rs:1".into(),
            waiter: "src/b.rs:2".into(),
            tasks: 3,
            wait_ns: 5,
            late_tasks: 1,
            wait_most_ns: 9,
        };
        run.ledger = Some(Ledger { charges: vec![charge], unattributed_ns: 7 });
        for poll in &mut run.slow_polls {
            let frame = |function: &str| Frame {
                function: Some(function.into()),
                file: Some("src/sink.rs".into()),
                line: Some(41),
            };
            poll.kind_mut().stack = vec![frame("write"), frame("app::sink::write_line"), frame("app::main")].into();
            poll.kind_mut().blocking_line = Some("src/sink.rs:41".into());
            poll.kind_mut().cause = Some("blocking-call".into());
            let text = "write(fd 9 \"/var/log/merged\", 64 bytes)".into();
            let call = Syscall { name: "write".into(), fd: Some(9), path: None, peer: None, bytes: Some(64), text };
            poll.kind_mut().syscall = Some(call.into());
        }
    }
    recording
}

/// Three rounds of four modes, with as much in them as those of `slow-sink` have: what a run's distributions hold is spread as widely.
fn of_twelve_runs(intervals: u64) -> Recording {
    let mut random = fastrand::Rng::with_seed(12);
    let mut dist = |digits: u8, buckets: u64, low: u64, high: u64| {
        let mut dist = crate::recording::Dist::empty(digits);
        for _ in 0..buckets {
            let at = (low as f64).ln() + ((high as f64) / (low as f64)).ln() * random.f64() * random.f64();
            (0..=random.u64(..2) * random.u64(..4)).for_each(|_| dist.record(at.exp() as u64));
        }
        dist
    };
    let modes = ["naive", "offloaded", "spawn-blocking", "tokio-fs"];
    let made = |number: u64| {
        let mode = modes[number as usize % modes.len()];
        let slow = [210 * fixture::MS, 205 * fixture::MS, 204_500_000, 207 * fixture::MS, 206_123_456];
        let mut run =
            fixture::in_round(fixture::blocked(mode, if mode == "naive" { &slow } else { &[] }), number as u32 / 4 + 1);
        run.polls = Some(dist(3, 2_600, 400, 2_000_000));
        run.schedule_latency = Some(dist(3, 1_400, 800, 1_300_000));
        run.lag = Some(dist(3, 270, 60_000, 2_000_000));
        run.lag_raw = run.lag.clone();
        run.response_time = Some(dist(3, 420, 80_000, 5_400_000));
        run.write_latency = Some(dist(3, 3_600, 40_000, 300 * fixture::MS));
        run.busy_stretches = Some(dist(3, 900, 5_000, 900_000));
        run.pool_wait = Some(dist(3, 2_300, 8_000, 3_000_000));
        let sites = fixture::sites(&mut run);
        while sites.len() < 5 {
            sites.push(sites[0].clone());
        }
        sites.iter_mut().for_each(|site| site.polls = dist(2, 700, 500, 2_000_000));
        let interval = |at: u64| Interval {
            start_ns: at * 97 * fixture::MS + 12_345 * (at % 7),
            polls: Some(dist(3, 170, 400, 2_000_000)),
            lag: Some(dist(3, 9, 60_000, 2_000_000)),
            busy_ns: Some(3_123_456 + at),
            pool: None,
            slow: Some(0),
            longest_stretch_ns: Some(923_456 + at),
            queued: None,
        };
        run.intervals = (0..intervals).map(interval).collect();
        run.slow_polls_total = run.slow_polls.len() as u64;
        run
    };
    fixture::recording_of((0..12).map(made).collect())
}

/// Every name is one that wants to be more than a name, and is long.
fn hostile(length: usize) -> Recording {
    let evil = format!(
        "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;\u{1b}[31m\u{202e}\u{2028}\u{0}\u{9b}{}",
        "é".repeat(length)
    );
    let mut recording = rich();
    let scenario = fixture::scenario(&mut recording);
    scenario.name = evil.clone();
    scenario.why = evil.clone();
    scenario.changed = vec![evil.clone()];
    scenario.settings.insert(evil.clone(), evil.clone());
    let environment = &mut recording.environment;
    for text in
        [&mut environment.pollscope, environment.tokio.as_mut().unwrap(), &mut environment.os, &mut environment.clock]
    {
        *text = evil.clone();
    }
    environment.command = vec![evil.clone()];
    for run in &mut recording.runs {
        run.slow_polls_dropped = run.slow_polls_total - run.slow_polls.len() as u64;
        run.group += &evil;
        run.started_at = evil.clone();
        fixture::subject(run).runtime.flavor = evil.clone();
        fixture::interrupt(run, &evil);
        run.errors.push(evil.clone().into());
        let coverage = &mut run.coverage;
        coverage.source = evil.clone();
        for list in [&mut coverage.sees, &mut coverage.blind_to, &mut coverage.missing] {
            list.push(evil.clone());
        }
        if let Some(merge) = &mut run.merge {
            merge.verdict = crate::recording::Verdict::Failed;
            merge.reason = Some(evil.clone().into());
        }
        for site in fixture::sites(run) {
            site.task_name = Some(evil.clone());
            site.spawned_at += &evil;
        }
        for charge in run.ledger.iter_mut().flat_map(|ledger| &mut ledger.charges) {
            (charge.culprit, charge.waiter) = (evil.as_str().into(), evil.as_str().into());
        }
        for poll in &mut run.slow_polls {
            let evil = Text::from(evil.as_str());
            poll.kind_mut().task_name = Some(evil.clone());
            poll.kind_mut().spawned_at = Some(evil.clone());
            poll.kind_mut().cause = Some(evil.clone().into());
            poll.kind_mut().blocking_line = Some(evil.clone());
            poll.kind_mut().stack =
                vec![Frame { function: Some(evil.clone()), file: Some(evil.clone()), line: Some(1) }; 3].into();
            let call = Syscall { name: evil.clone(), fd: Some(9), path: None, peer: None, bytes: None, text: evil };
            poll.kind_mut().syscall = Some(call.into());
        }
    }
    recording.findings = crate::findings::findings(&recording.runs);
    for gate in &mut recording.gates {
        gate.expr = evil.clone();
    }
    recording
}

#[test]
fn what_stands_in_a_page_is_what_the_policy_allows() {
    let page = render(&rich()).unwrap();
    for text in STYLES.iter().chain(&SCRIPTS) {
        let found = format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
        assert!(POLICY.contains(&found), "write {found} into the file beside the one that begins: {text:.60}");
        assert!(!text.contains("</") && !text.contains("<!--"), "it would end its element");
        assert!(!text.contains("innerHTML") && !text.contains("eval("));
    }
    assert!(page.contains(LICENSE) && LICENSE.contains("Permission is hereby granted"));
    assert_eq!(LICENSE.matches("--").count(), 2, "its own beginning and end");
    assert!(!markup(&page).contains(" style="), "the policy allows no such attribute");
    assert!(!markup(&page).contains("http:") && !markup(&page).contains("https:"), "nothing to load");
}

#[test]
fn a_page_gives_its_recording_back() {
    for recording in [rich(), hostile(10), fixture::recording_of(Vec::new())] {
        let page = render(&recording).unwrap();
        let (read, written) = (wire::to_json(&read_back(&page)).unwrap(), wire::to_json(&recording).unwrap());
        let differs = read.lines().zip(written.lines()).find(|(a, b)| a != b);
        assert!(read == written, "{:.300?}", differs);
    }
}

#[test]
fn names_cannot_take_over_the_page() {
    let page = render(&hostile(10_000)).unwrap();
    assert!(data(&page, PAGE_MARK).bytes().all(|byte| byte.is_ascii_graphic() && !b"<>&".contains(&byte)));
    let drawn = data(&page, DRAWN);
    assert!(!drawn.contains(['<', '>', '&', '\u{2028}', '\u{9b}', '\u{1b}', '\0']));
    let drawn = serde_json::from_str::<serde_json::Value>(drawn).expect("JSON");
    let places = drawn["places"].as_array().expect("places");
    assert!(!places.is_empty() && places.iter().all(|place| place.as_str().unwrap().chars().count() <= 120));
    let markup = markup(&page);
    assert_eq!(markup.matches("<script").count(), SCRIPTS.len(), "the page's own");
    assert!(!markup.contains("<img"));
    let unseen = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{2028}' | '\u{202e}');
    assert_eq!(markup.find(unseen), None);
    let longest = markup.split('<').map(|piece| piece.chars().count()).max().unwrap();
    assert!(longest < 4_000, "{longest}");
    assert!(markup.len() < 400_000, "{}", markup.len());
}

#[test]
fn every_section_is_there_and_unknown_is_a_dash() {
    let mut recording = rich();
    recording.runs.push(fixture::profiled());
    let page = render(&recording).unwrap();
    for (at, (id, title, _)) in SECTIONS.iter().enumerate() {
        let open = format!("<section id=\"{id}\"><h2>{title}</h2>");
        let folded = format!("<section class=\"folded\" id=\"{id}\"><details><summary><h2>{title}</h2></summary>");
        assert!(page.contains(if at < OPEN { &open } else { &folded }), "{id}");
    }
    let mut unknown = fixture::run("naive");
    (unknown.schedule_latency, unknown.lag, unknown.lag_raw, unknown.response_time) = (None, None, None, None);
    (unknown.write_latency, unknown.throughput_bytes_per_s) = (None, None);
    let page = render(&fixture::recording_of(vec![unknown])).unwrap();
    assert_eq!(page.matches("— not measured</p>").count(), 4, "lag, response, schedule latency, write latency");
    render(&fixture::recording_of(Vec::new())).expect("a recording of nothing");
}

/// Slow polls whose stacks are as long as those of real ones, and of which the later are longer.
fn many(poll: &SlowPoll, count: u64, stacks: u64) -> Vec<SlowPoll> {
    let frame = |number: u64| Frame {
        function: Some(
            format!(
                "tokio::runtime::task::harness::Harness<T,S>::poll<Instrumented<Watch<app::task{number}>>, Arc<Handle>>"
            )
            .into(),
        ),
        file: Some("tokio-1.54.1/src/runtime/task/harness.rs".into()),
        line: Some(155),
    };
    let stack = |i: u64| {
        (0..8).map(|depth| frame(depth + i % stacks)).chain(poll.stack.iter().cloned()).collect::<Vec<_>>().into()
    };
    let one = |i| {
        let kind = Kind { stack: stack(i), ..(*poll.kind).clone() };
        let (start_ns, duration_ns) = (i * 20_000, 100_000_000 + i * 1_000);
        SlowPoll { id: i + 1, start_ns, duration_ns, kind: kind.into(), ..poll.clone() }
    };
    (0..count).map(one).collect()
}

#[test]
fn of_equal_stacks_one_is_enough() {
    let mut recording = rich();
    let run = &mut recording.runs[0];
    run.slow_polls = many(&run.slow_polls[0].clone(), 60, 2);
    (run.slow_polls_total, run.slow_polls_dropped) = (60, 0);
    let page = render(&recording).unwrap();
    assert!(page.len() < 300_000, "{}", page.len());
    assert!(page.contains("the stacks of 58 slow polls are left out"));
    let back = &read_back(&page).runs[0];
    let with_stack: Vec<u64> =
        back.slow_polls.iter().filter(|poll| !poll.stack.is_empty()).map(|poll| poll.id).collect();
    assert_eq!((back.slow_polls.len(), with_stack), (60, vec![59, 60]), "the longest of each");
    assert_eq!((back.slow_polls_total, back.slow_polls_dropped), (60, 0));
    assert!(back.coverage.missing.iter().any(|why| why.contains("58 slow polls")), "{:?}", back.coverage.missing);
}

#[test]
fn the_verdict_needs_no_more_than_totals() {
    for recording in [rich(), fixture::recording(), fixture::recording_of(vec![fixture::blocked("naive", &[300])])] {
        assert_eq!(crate::findings::verdict(&size_limit::totals(&recording)), crate::findings::verdict(&recording));
    }
}

#[test]
fn a_page_of_very_many_slow_polls_takes_at_most_400_kb() {
    let mut recording = rich();
    let run = &mut recording.runs[0];
    let count = 100_000;
    run.slow_polls = many(&run.slow_polls[0].clone(), count, 5_000);
    (run.slow_polls_total, run.slow_polls_dropped) = (count, 0);
    let wide = fixture::dist(3, &[(300, 1_000, 100_000_000)]);
    let interval = |i: u64| Interval {
        start_ns: i * 1_000_000,
        polls: Some(wide.clone()),
        lag: Some(wide.clone()),
        busy_ns: Some(1),
        pool: None,
        slow: None,
        longest_stretch_ns: None,
        queued: None,
    };
    run.intervals = (0..2_000).map(interval).collect();
    let page = render(&recording).unwrap();
    assert!(page.len() <= 400_000, "{}", page.len());
    let back = &read_back(&page).runs[0];
    assert!(back.slow_polls_dropped > 0 && back.slow_polls.len() > 200, "{}", back.slow_polls.len());
    assert!(page.contains("slow polls of it are left out") && page.contains("intervals in a row became one"));
    assert_eq!(
        back.intervals.iter().map(|interval| interval.polls.as_ref().unwrap().count()).sum::<u64>(),
        2_000 * wide.count()
    );
}

#[test]
fn a_page_of_many_slow_polls_is_small_and_says_what_is_left_out() {
    let mut recording = rich();
    let run = &mut recording.runs[0];
    let poll = run.slow_polls[0].clone();
    let many = 5_000;
    run.slow_polls =
        (0..many).map(|i| SlowPoll { id: i + 1, duration_ns: 100_000_000 + i * 1_000, ..poll.clone() }).collect();
    (run.slow_polls_total, run.slow_polls_dropped) = (many + 5, 5);
    run.intervals = (0..2_500).map(|i| Interval { start_ns: i * 1_200_000, ..run.intervals[0].clone() }).collect();
    let intervals = run.intervals.len() as u64;
    let polls = run.intervals[0].polls.as_ref().unwrap().count() * intervals;
    let page = render(&recording).unwrap();
    assert!(page.len() <= 400_000, "{}", page.len());
    let back = read_back(&page);
    let back = &back.runs[0];
    let left_out = back.slow_polls_dropped - 5;
    assert!(
        left_out > 0 && page.contains(&format!("{} of it are left out", crate::units::plural(left_out, "slow poll")))
    );
    assert!(back.slow_polls.iter().any(|poll| poll.id == many), "the longest");
    assert!(back.slow_polls.iter().any(|poll| poll.id < many / 10), "a sample of the others");
    assert!(back.slow_polls.is_sorted_by_key(|poll| poll.id));
    assert_eq!(back.intervals.iter().map(|interval| interval.polls.as_ref().unwrap().count()).sum::<u64>(), polls);
}

#[test]
fn a_page_of_twelve_runs_takes_at_most_400_kb_and_says_what_is_coarser() {
    let recording = of_twelve_runs(31);
    assert!(wire::to_compact_json(&recording).unwrap().len() > 600_000, "as large as a real one");
    let page = render(&recording).unwrap();
    assert!(page.len() <= 400_000, "{}", page.len());
    assert!(page.contains("the histograms of intervals are rough, with two buckets for each doubling in that data."));
    let back = read_back(&page);
    for (run, back) in recording.runs.iter().zip(&back.runs) {
        let alone =
            |run: &Run| wire::to_json(&fixture::recording_of(vec![Run { intervals: Vec::new(), ..run.clone() }]));
        assert!(alone(run).unwrap() == alone(back).unwrap(), "all but the intervals");
        let total =
            |run: &Run| run.intervals.iter().map(|interval| interval.polls.as_ref().unwrap().count()).sum::<u64>();
        let worst = |run: &Run| run.intervals.iter().filter_map(Interval::worst_lag).max();
        assert_eq!((total(run), worst(run)), (total(back), worst(back)));
        assert!(back.intervals.len() > 1);
    }
}

/// Two runs as scenarios have them have room for all.
#[test]
fn a_page_of_two_runs_has_all_of_its_recording() {
    let mut recording = of_twelve_runs(31);
    recording.runs.truncate(2);
    let page = render(&recording).unwrap();
    assert!(page.len() <= 270_000, "{}", page.len());
    assert_eq!(wire::to_json(&read_back(&page)).unwrap(), wire::to_json(&recording).unwrap());
}

/// A service that recorded itself was not started by a command of pollscope's.
#[test]
fn only_what_has_a_command_can_be_repeated() {
    let mut recording = fixture::recording();
    assert!(render(&recording).unwrap().contains("Repeat it"));
    recording.environment.command.clear();
    assert!(!render(&recording).unwrap().contains("Repeat it"));
}
