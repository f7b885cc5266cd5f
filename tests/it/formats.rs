//! One run, five files: the page, the interval log, the percentile files and the recording say the same, and the trace is one.

use std::collections::BTreeMap;
use std::io::Cursor;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use serde_json::Value;

use crate::support::{Folder, alone, stderr};
use crate::trace_rules;

const MEASURES: [&str; 7] =
    ["polls", "schedule_latency", "lag", "lag_raw", "response_time", "write_latency", "busy_stretches"];

/// What a format says of a mode's measure.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Figures {
    count: u64,
    p99_ns: u64,
    max_ns: u64,
}

/// All rounds of a mode's measures together, by `mode.measure`. The maximum is the exact one.
fn of_recording(recording: &Value) -> BTreeMap<String, Figures> {
    let mut pooled: BTreeMap<String, (Histogram<u64>, u64)> = BTreeMap::new();
    for run in recording["runs"].as_array().expect("a list") {
        for (measure, dist) in MEASURES.iter().map(|name| (name, &run[*name])).filter(|(_, dist)| !dist.is_null()) {
            let bytes = BASE64_STANDARD.decode(dist["histogram"].as_str().expect("a histogram")).expect("base64");
            let read: Histogram<u64> = Deserializer::new().deserialize(&mut Cursor::new(bytes)).expect("a histogram");
            let p99_ns = (!read.is_empty()).then(|| read.value_at_quantile(0.99));
            assert_eq!(dist["p99_ns"].as_u64(), p99_ns, "{measure}: what is written beside the histogram");
            let name = format!("{}.{measure}", run["group"].as_str().expect("a mode"));
            let new = || (Histogram::new_from(&read), 0);
            let (histogram, max_ns) = pooled.entry(name).or_insert_with(new);
            histogram.add(read).expect("the same range");
            *max_ns = (*max_ns).max(dist["max_ns"].as_u64().unwrap_or_default());
        }
    }
    let figures = |(all, max_ns): (Histogram<u64>, u64)| Figures {
        count: all.len(),
        p99_ns: all.value_at_quantile(0.99),
        max_ns,
    };
    pooled.into_iter().map(|(name, all)| (name, figures(all))).collect()
}

/// Likewise, of an interval log that the program read back; its maxima are the upper ends of their buckets.
fn of_log(log: &Value) -> BTreeMap<String, Figures> {
    let tags = log["tags"].as_array().expect("a list").iter().filter_map(|tag| Some((tag["tag"].as_str()?, tag)));
    let number = |tag: &Value, key: &str| tag["values"][key].as_u64().unwrap_or_default();
    tags.map(|(name, tag)| {
        let (count, p99_ns, max_ns) = (number(tag, "count"), number(tag, "p99_ns"), number(tag, "max_ns"));
        (name.to_owned(), Figures { count, p99_ns, max_ns })
    })
    .collect()
}

/// The rows of a percentile file: value in nanoseconds, and how many values are at most that.
fn rows(hgrm: &str) -> Vec<(f64, u64)> {
    let rows = hgrm.lines().skip(1).filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|row| {
        let mut cells = row.split_whitespace();
        let value: f64 = cells.next().expect("a value").parse().expect("a number");
        (value * 1e6, cells.nth(1).expect("a count").parse().expect("a number"))
    })
    .collect()
}

/// Whether a bucket of so many significant digits that ends at `end_ns` can hold the value; half a microsecond is rounded away.
fn holds(end_ns: f64, exact_ns: u64, digits: i32) -> bool {
    let exact = exact_ns as f64;
    (exact - 500.0..=exact * (1.0 + 0.1_f64.powi(digits)) + 500.0).contains(&end_ns)
}

/// The significant digits of a histogram.
fn digits(name: &str) -> i32 {
    if name.ends_with(".schedule_latency") || name.ends_with(".busy_stretches") { 2 } else { 3 }
}

/// The trace is of the format, and has every slow poll and every task that waited longest for one.
fn is_a_trace(trace: &[u8], recording: &Value) {
    let trace: Value = serde_json::from_slice(trace).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("a list");
    trace_rules::check(events);
    let count = |ph: &str, key: &str, value: &str| {
        events.iter().filter(|event| event["ph"] == ph && event[key] == value).count()
    };
    let runs = recording["runs"].as_array().expect("a list");
    let slow: Vec<&Value> = runs.iter().flat_map(|run| run["slow_polls"].as_array().expect("a list")).collect();
    let waits = slow.iter().filter(|poll| !poll["worst_waiter"].is_null()).count();
    assert_eq!(count("X", "cat", "slow-poll"), slow.len());
    assert_eq!((count("s", "cat", "wait"), count("f", "cat", "wait")), (waits, waits));
    let intervals = || runs.iter().flat_map(|run| run["intervals"].as_array().expect("a list"));
    let looked = intervals().filter(|interval| !interval["queued"].is_null()).count();
    // And the end of each run of more than one interval.
    let ends = runs.iter().filter(|run| run["intervals"].as_array().is_some_and(|list| list.len() > 1)).count();
    assert_eq!(count("C", "name", "queued tasks"), looked + ends);
    assert!(count("C", "name", "longest busy stretch (ms)") > 0);
    for poll in slow.iter().filter(|poll| !poll["worst_waiter"].is_null()) {
        let (start, duration) = (poll["start_ns"].as_u64(), poll["duration_ns"].as_u64());
        let end = start.zip(duration).map(|(start, duration)| start + duration);
        let waiter = &poll["worst_waiter"];
        assert!(waiter["ready_ns"].as_u64() < end && waiter["polled_ns"].as_u64() >= end, "{poll}");
        assert!(poll["blame"]["wait_ns"].as_u64() > Some(0) && waiter["task_id"] != poll["task_id"], "{poll}");
    }
}

/// A page has each stack once: a slow poll of the same stack as another can be there without, and the page says how many are.
fn is_but_for_equal_stacks(mut page: Value, recording: &Value) {
    for (run, whole_run) in
        page["runs"].as_array_mut().expect("a list").iter_mut().zip(recording["runs"].as_array().expect("a list"))
    {
        let of = |run: &Value, poll: &Value| {
            let id = poll["places"][0]["stack"].as_u64();
            id.map_or(Value::Null, |id| run["stacks"][id.to_string()].clone())
        };
        let all = run.clone();
        let polls = all["slow_polls"].as_array().expect("a list");
        let stacks: Vec<Value> = polls.iter().map(|poll| of(&all, poll)).collect();
        let mut left_out = 0;
        for (poll, whole) in run["slow_polls"]
            .as_array_mut()
            .expect("a list")
            .iter_mut()
            .zip(whole_run["slow_polls"].as_array().expect("a list"))
        {
            let (has, had) = (of(&all, poll), of(whole_run, whole));
            if has != had {
                assert!(has.is_null() && stacks.contains(&had), "{poll}");
                left_out += 1;
                poll["stack_complete"] = whole["stack_complete"].clone();
            }
            // The number of a stack is that of its place among those that are there.
            if let Some(place) = poll["places"].get_mut(0) {
                place["stack"] = whole["places"][0]["stack"].clone();
            }
        }
        run["stacks"] = whole_run["stacks"].clone();
        if left_out > 0 {
            let missing = run["coverage"]["missing"].as_array_mut().expect("a list");
            let said = missing.pop().expect("it is said");
            assert!(said.as_str().is_some_and(|said| said.contains(&format!("{left_out} slow poll"))), "{said}");
        }
    }
    assert!(page == *recording, "the page's recording is another");
}

fn check(line: &str) {
    let folder = Folder::new();
    let output = {
        let _alone = alone();
        folder
            .run(&format!("run {line} --quiet --html r.html --hlog r.hlog --hgrm r.hgrm --json r.json --trace r.trace"))
    };
    // Whether its expectations hold is another test's business.
    assert!(matches!(output.status.code(), Some(0 | 99)), "{}", stderr(&output));

    let from_page = folder.run("report r.html --format json").stdout;
    let recording: Value = serde_json::from_slice(&folder.read("r.json")).expect("JSON");
    is_but_for_equal_stacks(serde_json::from_slice(&from_page).expect("JSON"), &recording);
    let log: Value = serde_json::from_slice(&folder.run("report r.hlog --format json").stdout).expect("JSON");

    is_a_trace(&folder.read("r.trace"), &recording);

    let (expected, logged) = (of_recording(&recording), of_log(&log));
    for mode in ["naive", "offloaded"] {
        assert!(expected[&format!("{mode}.polls")].count > 0, "{mode}: nothing was measured");
    }
    for (name, of) in &expected {
        let found = logged.get(name).unwrap_or_else(|| panic!("`{name}` is not in the log"));
        assert_eq!((found.count, found.p99_ns), (of.count, of.p99_ns), "{name}");
        assert!(holds(found.max_ns as f64, of.max_ns, digits(name)), "{name}: {found:?} and {of:?}");
    }
    let more: Vec<&String> = logged.keys().filter(|name| !expected.contains_key(*name)).collect();
    assert!(more.iter().all(|name| name.contains(".site.")), "the log has what the recording has not: {more:?}");

    for mode in ["naive", "offloaded"] {
        let polls = expected[&format!("{mode}.polls")];
        let text = String::from_utf8(folder.read(format!("r.{mode}.hgrm"))).expect("text");
        let rows = rows(&text);
        let &(last_ns, count) = rows.last().expect("rows");
        assert_eq!(count, polls.count, "{mode}");
        assert!(holds(last_ns, polls.max_ns, 3), "{mode}: {last_ns} and {polls:?}");
        assert!(text.contains(&format!("Total count    = {:>12}]", polls.count)), "{mode}:\n{text}");
        // A row is where a percentile's bucket ends: those of fewer values lie below the 99th percentile, the others do not.
        let rank = (0.99 * polls.count as f64).ceil() as u64;
        for (value_ns, below) in rows {
            let p99 = polls.p99_ns as f64;
            let is_alike = if below < rank { value_ns <= p99 + 500.0 } else { value_ns >= p99 - 500.0 };
            assert!(is_alike, "{mode}: {below} of {count} are at most {value_ns} ns, and p99 is {p99}");
        }
    }
}

#[test]
fn the_files_of_a_run_say_the_same() {
    check("slow-sink");
}

#[test]
fn and_of_four_workers() {
    check("multi-thread");
}

#[test]
fn and_of_several_rounds() {
    check("slow-coroutine --rounds 2 --warmup 0 --set block.duration=20ms --set block.run_for=60ms --slow 10ms");
}
