use super::rules::check;
use super::waits::Waits;
use super::*;
use crate::fixture::{self, MS, dist};
use crate::recording::{Interval, Syscall, Waiter};

fn recording() -> Recording {
    let mut recording = fixture::recording();
    let run = &mut recording.runs[0];
    let slice = |start_ns, lag| Interval {
        start_ns,
        polls: Some(dist(3, &[(50, 1_000, MS)])),
        lag,
        busy_ns: Some(20 * MS),
        pool: None,
        slow: None,
        longest_stretch_ns: (start_ns > 0).then_some(503 * MS),
        queued: (start_ns > 0).then_some(Queued { global: 3, local: Some(4) }),
    };
    run.intervals = vec![slice(0, Some(dist(3, &[(5, MS, 2 * MS)]))), slice(1_000 * MS, None)];
    run.slow_polls[1].kind_mut().worker = None;
    run.slow_polls[0].kind_mut().task_name = Some("tail\u{1b}[2J".into());
    run.slow_polls[0].kind_mut().cause = Some("blocking-call".into());
    run.slow_polls[0].kind_mut().syscall = Some(
        Syscall { name: "write".into(), fd: None, path: None, peer: None, bytes: None, text: "write(fd 9)".into() }
            .into(),
    );
    recording
}

/// The same, with who waited longest: two that overlap, one for two slow polls, and one that cannot be.
fn with_waits() -> Recording {
    let mut recording = recording();
    let waiter = |task_id, ready_ms: u64, polled_ms: u64| {
        let spawned_at = "src/main.rs:9".to_owned();
        Some(Box::new(Waiter { task_id, spawned_at, ready_ns: ready_ms * MS, polled_ns: polled_ms * MS, span: None }))
    };
    let both = waiter(8, 920, 1_300);
    let waiters = [waiter(8, 200, 684), waiter(99, 400, 883), both.clone(), both, waiter(8, 5_000, 6_000)];
    for (slow, waiter) in recording.runs[0].slow_polls.iter_mut().zip(waiters) {
        slow.detail_mut().worst_waiter = waiter;
    }
    recording
}

fn events(recording: &Recording) -> Vec<Value> {
    let trace: Value = serde_json::from_str(&render(recording)).unwrap();
    trace["traceEvents"].as_array().unwrap().clone()
}

#[test]
fn every_event_is_one_of_the_format() {
    let recording = recording();
    let events = events(&recording);
    check(&events);
    let of = |ph: &str| events.iter().filter(|event| event["ph"] == ph).count();
    assert_eq!(of("X"), recording.runs[0].slow_polls.len());
    assert_eq!(of("C"), 3 * 3 + 1 + 2, "three of two intervals and the end, lag and the queues where they are known");
    let counter = |name: &str| -> Vec<&Value> {
        events.iter().filter(|event| event["ph"] == "C" && event["name"] == name).map(|event| &event["args"]).collect()
    };
    assert_eq!(counter("queued tasks"), [&json!({"global": 3, "local": 4}), &json!({"global": 0, "local": 0})]);
    let stretches = [0.0, 503.0, 0.0].map(|ms| json!({ "value": ms }));
    assert!(
        counter("longest busy stretch (ms)").into_iter().eq(&stretches),
        "none goes on for longer than its interval"
    );
    check(&self::events(&fixture::recording_of(Vec::new())));
}

#[test]
fn every_lane_has_a_name() {
    let events = events(&recording());
    let named: Vec<(u64, u64)> = events
        .iter()
        .filter(|event| event["name"] == "thread_name")
        .map(|event| (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap()))
        .collect();
    assert_eq!(named, [(1, 0), (1, 1), (2, 1)]);
    for event in events.iter().filter(|event| event["ph"] == "X") {
        assert!(named.contains(&(event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap())), "{event}");
    }
}

#[test]
fn a_slow_poll_says_what_is_known_and_no_more() {
    let events = events(&recording());
    let slow: Vec<&Value> = events.iter().filter(|event| event["ph"] == "X").collect();
    assert_eq!((&slow[0]["ts"], &slow[0]["dur"]), (&json!(180_000.0), &json!(503_123.456)));
    assert_eq!(slow[0]["name"], "tail\\u{1b}[2J");
    let args = slow[0]["args"].as_object().unwrap();
    assert_eq!((&args["cause"], &args["syscall"]), (&json!("blocking-call"), &json!("write(fd 9)")));
    assert!(!args.contains_key("cpu_ms") && !slow[1]["args"].as_object().unwrap().contains_key("cause"));
}

#[test]
fn who_waited_longest_is_shown_from_wake_to_poll_and_tied_to_each_slow_poll() {
    let recording = with_waits();
    let events = events(&recording);
    check(&events);
    let of = |ph: &str| -> Vec<&Value> {
        events.iter().filter(|event| event["ph"] == ph && event["cat"] == "wait").collect()
    };
    let shown: Vec<(&str, f64, f64, u64)> = of("X")
        .into_iter()
        .map(|wait| {
            let number = |key: &str| wait[key].as_f64().unwrap();
            (wait["name"].as_str().unwrap(), number("ts"), number("dur"), wait["tid"].as_u64().unwrap())
        })
        .collect();
    let expected = [
        ("tail waits", 200_000.0, 484_000.0, 2),
        ("task waits", 400_000.0, 483_000.0, 3),
        ("tail waits", 920_000.0, 380_000.0, 2),
    ];
    assert_eq!(shown, expected, "what overlaps has a lane of its own");
    let ends = |ph: &str| -> Vec<(f64, u64)> {
        of(ph).into_iter().map(|end| (end["ts"].as_f64().unwrap(), end["tid"].as_u64().unwrap())).collect()
    };
    let slow = &recording.runs[0].slow_polls;
    let start = |index: usize| micros(slow[index].start_ns);
    let end = |index: usize| micros(slow[index].start_ns + slow[index].duration_ns);
    assert_eq!(ends("s"), [(200_000.0, 1), (start(1), 0), (920_000.0, 1), (start(3), 1)]);
    assert_eq!(ends("f"), [(end(0), 2), (end(1), 3), (end(2), 2), (end(3), 2)]);
}

#[test]
fn any_number_of_waits_finds_a_lane() {
    let mut recording = with_waits();
    let run = &mut recording.runs[0];
    let polls: Vec<SlowPoll> = (0..20_000).map(|i| SlowPoll { start_ns: i, ..run.slow_polls[0].clone() }).collect();
    run.slow_polls = polls;
    for (i, slow) in (0u64..).zip(&mut run.slow_polls) {
        let waiter = slow.detail_mut().worst_waiter.as_mut().unwrap();
        (waiter.ready_ns, waiter.polled_ns) = (i, u64::MAX - i % 7);
        slow.kind_mut().worker = Some(u64::MAX - 9);
    }
    assert_eq!(Waits::of(&recording.runs[0]).lanes, 20_000);
    assert!(render(&recording).len() > 20_000);
}
