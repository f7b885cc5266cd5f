//! A trace in the JSON that Perfetto and Chrome's `about:tracing` open.
//!
//! One process a run, named by mode and round, at its place on one clock that starts with the first run; one thread a worker, and
//! one for the slow polls of threads that are no worker. Times are microseconds, with fractions.
//!
//! | event | what |
//! |---|---|
//! | `X` | a slow poll; `args` has what is known of it: cause, system call, blocking line, task, who waited |
//! | `C` `polls per second`, `busy %`, `worst lag (ms)` | of each interval, at its beginning |
//! | `M` | names of processes and threads, and their order |
//!
//! A poll counts where it ended, so an interval in which a long one ended can be busy for more than 100 %.
//!
//! There are no flow events (`s`, `f`): a recording has durations from wake to poll, not single wakes, and none are made up. Of
//! polls that were not slow there are only the counters. What is not known is left out of `args`.

use serde_json::{Map, Value, json};

use super::timeline::Timeline;
use crate::escape::escape;
use crate::recording::{Recording, Run, SlowPoll, Text};

/// The trace of all runs, on one line an event.
///
/// ```
/// # use pollscope::recording::wire;
/// # let head = include_str!("../recording/wire/example.json").split("\"runs\"").next().unwrap();
/// # let json = format!("{head}\"runs\":[],\"findings\":[],\"gates\":[]}}");
/// # let recording = wire::from_json(json.as_bytes()).unwrap();
/// // Of a recording without runs:
/// let trace: serde_json::Value = serde_json::from_str(&pollscope::report::trace::render(&recording)).unwrap();
/// assert_eq!((&trace["displayTimeUnit"], &trace["traceEvents"]), (&"ms".into(), &serde_json::json!([])));
/// ```
pub fn render(recording: &Recording) -> String {
    let timeline = Timeline::of(&recording.runs);
    let runs = || recording.runs.iter().zip(1u64..);
    let mut events: Vec<(u64, Value)> = Vec::new();
    for ((run, pid), start_ns) in runs().zip(&timeline.starts_ns) {
        events.extend(run.slow_polls.iter().map(|slow| slow_poll(slow, pid, *start_ns)));
        counters(run, pid, *start_ns, &mut events);
    }
    // Stable: of one moment, what was pushed first.
    events.sort_by_key(|(ns, _)| *ns);
    let names = runs().flat_map(|(run, pid)| names(run, pid));
    let lines: Vec<String> =
        names.chain(events.into_iter().map(|(_, event)| event)).map(|event| event.to_string()).collect();
    let about = json!({
        "made by": format!("pollscope {}", escape(&recording.environment.pollscope)),
        "scenario": escape(&recording.scenario.name),
    });
    format!("{{\"displayTimeUnit\":\"ms\",\"otherData\":{about},\"traceEvents\":[\n{}\n]}}\n", lines.join(",\n"))
}

/// A thread that is no worker has the lane of number 0.
fn lane(worker: Option<u64>) -> u64 {
    worker.map_or(0, |worker| worker.saturating_add(1))
}

fn micros(ns: u64) -> f64 {
    ns as f64 / 1e3
}

fn names(run: &Run, pid: u64) -> Vec<Value> {
    let mut lanes: Vec<u64> = (1..=run.runtime.workers.min(1_024)).collect();
    lanes.extend(run.slow_polls.iter().map(|slow| lane(slow.worker)));
    lanes.sort_unstable();
    lanes.dedup();
    let meta =
        |name: &str, tid: u64, args: Value| json!({"ph": "M", "name": name, "pid": pid, "tid": tid, "args": args});
    let process = format!("{} round {}", escape(&run.mode), run.round);
    let mut events = vec![
        meta("process_name", 0, json!({ "name": process })),
        meta("process_sort_index", 0, json!({ "sort_index": pid })),
    ];
    for tid in lanes {
        let name = tid.checked_sub(1).map_or("not a worker".to_owned(), |worker| format!("worker {worker}"));
        events.push(meta("thread_name", tid, json!({ "name": name })));
        events.push(meta("thread_sort_index", tid, json!({ "sort_index": tid })));
    }
    events
}

fn slow_poll(slow: &SlowPoll, pid: u64, run_start_ns: u64) -> (u64, Value) {
    let ns = run_start_ns.saturating_add(slow.start_ns);
    let name = slow.task_name.as_deref().unwrap_or(&slow.spawned_at);
    let event = json!({
        "ph": "X", "cat": "slow-poll", "name": escape(name), "pid": pid, "tid": lane(slow.worker),
        "ts": micros(ns), "dur": micros(slow.duration_ns), "args": args(slow),
    });
    (ns, event)
}

fn args(slow: &SlowPoll) -> Map<String, Value> {
    let text = |text: &Option<Text>| text.as_deref().map(|text| Value::from(escape(text)));
    let ms = |ns: Option<u64>| ns.map(|ns| Value::from(ns as f64 / 1e6));
    let known = [
        ("cause", text(&slow.cause)),
        ("syscall", slow.syscall.as_ref().map(|call| Value::from(escape(&call.text)))),
        ("blocking_line", text(&slow.blocking_line)),
        ("function", text(&slow.function)),
        ("spawned_at", Some(Value::from(escape(&slow.spawned_at)))),
        ("task_id", slow.task_id.map(Value::from)),
        ("cpu_ms", ms(slow.cpu_ns)),
        ("run_delay_ms", ms(slow.run_delay_ns)),
        ("off_cpu_ms", ms(slow.off_cpu_ns)),
        ("tasks_that_waited", slow.blame.map(|blame| Value::from(blame.tasks))),
        ("waited_ms_at_least", ms(slow.blame.map(|blame| blame.wait_ns))),
        ("waited_ms_at_most", ms(slow.blame.map(|blame| blame.wait_most_ns))),
    ];
    known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

fn counters(run: &Run, pid: u64, run_start_ns: u64, events: &mut Vec<(u64, Value)>) {
    let mut push = |ns: u64, name: &str, value: f64| {
        let ns = run_start_ns.saturating_add(ns);
        let event =
            json!({"ph": "C", "name": name, "pid": pid, "tid": 0, "ts": micros(ns), "args": { "value": value }});
        events.push((ns, event));
    };
    for (index, interval) in run.intervals.iter().enumerate() {
        let next = run.intervals.get(index + 1).map_or(run.elapsed_ns, |next| next.start_ns);
        let length_ns = next.saturating_sub(interval.start_ns) as f64;
        if length_ns > 0.0 {
            push(interval.start_ns, "polls per second", interval.polls.count() as f64 * 1e9 / length_ns);
            let workers = run.runtime.workers.max(1) as f64;
            push(interval.start_ns, "busy %", 100.0 * interval.busy_ns as f64 / length_ns / workers);
        }
        if let Some(worst) = interval.lag.as_ref().and_then(|lag| lag.max_ns) {
            push(interval.start_ns, "worst lag (ms)", worst as f64 / 1e6);
        }
    }
    // A counter keeps its value until its next event: after the run there are no polls.
    if !run.intervals.is_empty() {
        push(run.elapsed_ns, "polls per second", 0.0);
        push(run.elapsed_ns, "busy %", 0.0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::fixture::{self, MS, dist};
    use crate::recording::{Interval, Syscall};

    fn recording() -> Recording {
        let mut recording = fixture::recording();
        let run = &mut recording.runs[0];
        let slice = |start_ns, lag| Interval { start_ns, polls: dist(3, &[(50, 1_000, MS)]), lag, busy_ns: 20 * MS };
        run.intervals = vec![slice(0, Some(dist(3, &[(5, MS, 2 * MS)]))), slice(1_000 * MS, None)];
        run.slow_polls[1].worker = None;
        run.slow_polls[0].task_name = Some("tail\u{1b}[2J".into());
        run.slow_polls[0].cause = Some("blocking-call".into());
        run.slow_polls[0].syscall = Some(
            Syscall { name: "write".into(), fd: None, path: None, bytes: None, text: "write(fd 9)".into() }.into(),
        );
        recording
    }

    fn events(recording: &Recording) -> Vec<Value> {
        let trace: Value = serde_json::from_str(&render(recording)).unwrap();
        trace["traceEvents"].as_array().unwrap().clone()
    }

    /// What the format asks of each event.
    fn check(events: &[Value]) {
        let mut flows: BTreeMap<String, i64> = BTreeMap::new();
        let mut last = 0.0;
        for event in events {
            let ph = event["ph"].as_str().unwrap();
            assert!(event["name"].is_string() && event["pid"].is_u64() && event["tid"].is_u64(), "{event}");
            if ph != "M" {
                let ts = event["ts"].as_f64().unwrap();
                assert!(ts >= last, "sorted and never negative: {event}");
                last = ts;
            }
            match ph {
                "X" => assert!(event["dur"].as_f64().unwrap() >= 0.0 && event["cat"].is_string(), "{event}"),
                "C" => assert!(event["args"].as_object().unwrap().values().all(Value::is_number), "{event}"),
                "M" => assert!(event["args"].is_object() && event.get("ts").is_none(), "{event}"),
                "s" => *flows.entry(event["id"].to_string()).or_default() += 1,
                "f" => *flows.entry(event["id"].to_string()).or_default() -= 1,
                _ => panic!("no such phase is written: {event}"),
            }
        }
        assert!(flows.values().all(|open| *open == 0), "every flow that starts ends");
    }

    #[test]
    fn every_event_is_one_of_the_format() {
        let recording = recording();
        let events = events(&recording);
        check(&events);
        let of = |ph: &str| events.iter().filter(|event| event["ph"] == ph).count();
        assert_eq!(of("X"), recording.runs[0].slow_polls.len());
        assert_eq!(of("C"), 2 * 3 + 1, "polls and busy of two intervals and the end, lag where it is known");
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
}
