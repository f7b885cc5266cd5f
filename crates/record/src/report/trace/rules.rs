//! What the trace format asks of events, and what Perfetto would drop, or draw elsewhere, without a word.

use std::collections::BTreeMap;

use serde_json::Value;

/// Events are rounded to what a float holds of a microsecond.
const ROUNDED: f64 = 0.01;

type Lane = (u64, u64);

fn number(event: &Value, key: &str) -> f64 {
    event[key].as_f64().unwrap_or_else(|| panic!("no number `{key}`: {event}"))
}

fn lane(event: &Value) -> Lane {
    (event["pid"].as_u64().expect("a process"), event["tid"].as_u64().expect("a thread"))
}

/// Checks all events of a trace.
pub(crate) fn check(events: &[Value]) {
    let mut slices: BTreeMap<Lane, Vec<(f64, f64)>> = BTreeMap::new();
    let mut flows: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    let mut named: Vec<Lane> = Vec::new();
    let mut last = 0.0;
    for event in events {
        let ph = event["ph"].as_str().expect("a phase");
        assert!(event["name"].is_string(), "{event}");
        let lane = lane(event);
        if ph != "M" {
            let ts = number(event, "ts");
            assert!(ts >= last, "sorted and never negative: {event}");
            last = ts;
        }
        match ph {
            "X" => {
                assert!(event["cat"].is_string() && number(event, "dur") >= 0.0, "{event}");
                let ts = number(event, "ts");
                slices.entry(lane).or_default().push((ts, ts + number(event, "dur")));
            }
            "C" => {
                let values = event["args"].as_object().expect("values");
                assert!(!values.is_empty() && values.values().all(Value::is_number), "{event}");
            }
            "M" => {
                assert!(event["args"].is_object() && event.get("ts").is_none(), "{event}");
                named.extend((event["name"] == "thread_name").then_some(lane));
            }
            "s" | "f" => flows.entry(event["id"].to_string()).or_default().push(event),
            _ => panic!("no such phase is written: {event}"),
        }
    }
    for (lane, slices) in &slices {
        assert!(named.contains(lane), "thread {lane:?} has no name");
        assert_nested(*lane, slices);
    }
    let within = |event: &Value, flow: &[&Value]| {
        let ts = number(event, "ts");
        let is_around = |(start, end): &(f64, f64)| (start - ROUNDED..=end + ROUNDED).contains(&ts);
        assert!(slices.get(&lane(event)).is_some_and(|slices| slices.iter().any(is_around)), "in no slice: {flow:?}");
    };
    for flow in flows.values() {
        let [from, to] = flow[..] else { panic!("not two ends: {flow:?}") };
        assert_eq!((&from["ph"], &to["ph"], &to["bp"]), (&"s".into(), &"f".into(), &"e".into()), "{flow:?}");
        assert_eq!((&from["name"], &from["cat"]), (&to["name"], &to["cat"]), "{flow:?}");
        within(from, flow);
        within(to, flow);
    }
}

/// Slices of a thread lie within each other, or apart: of others the viewer drops one. They are sorted by their beginnings.
fn assert_nested(lane: Lane, slices: &[(f64, f64)]) {
    let mut open: Vec<f64> = Vec::new();
    for &(start, end) in slices {
        while open.last().is_some_and(|&outer| outer <= start + ROUNDED) {
            open.pop();
        }
        assert!(open.last().is_none_or(|&outer| end <= outer + ROUNDED), "{lane:?}: {start} to {end} overlaps another");
        open.push(end);
    }
}
