//! The JSON against its contract, and the module's example against the code.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use serde_json::Value;

use super::{to_json, write_json};
use crate::fixture;
use crate::recording::*;

fn dist(values: &[u64]) -> Dist {
    let mut dist = Dist::empty(3);
    values.iter().for_each(|ns| dist.record(*ns));
    dist
}

fn blocked_kind() -> Kind {
    let call = Syscall {
        name: "write".into(),
        fd: Some(9),
        path: Some("/var/log/merged".into()),
        peer: None,
        bytes: Some(64),
        text: "write(fd 9 \"/var/log/merged\", 64 bytes)".into(),
    };
    let frame = Frame { function: Some("sink::write".into()), file: Some("src/sink.rs".into()), line: Some(41) };
    Kind {
        spawned_at: Some("src/main.rs:29".into()),
        worker: Some(0),
        cause: Some("blocking-call".into()),
        syscall: Some(call.into()),
        blocking_line: Some("src/sink.rs:41".into()),
        function: Some("sink::write".into()),
        stack: vec![frame].into(),
        stack_complete: Some(true),
        ..Kind::default()
    }
}

/// A run of which as much as possible is unknown.
fn bare_run() -> Run {
    let blame = Blame { tasks: 5, wait_ns: 7, late_tasks: 1, wait_most_ns: 8, lifo_tasks: 0 };
    Run {
        elapsed_ns: 1_004_000_000,
        coverage: Coverage {
            source: "wrappers".into(),
            sees: vec!["spawned tasks".into()],
            blind_to: vec!["the future given to block_on".into()],
            missing: Vec::new(),
            looks_per_s: None,
        },
        ended: Ended::Done,
        input_events: InputEvents {
            events: vec![InputEvent {
                at_ns: 5,
                event: "cut".into(),
                text: "input `a` was cut".into(),
                may_lose: true,
                may_repeat: true,
            }],
            dropped: 0,
            possible_losses: 1,
            possible_repeats: 1,
            repeated_bytes_at_most: Some(10),
        },
        polls: Some(dist(&[503_123_456])),
        loop_busy_ns: Some(503_123_456),
        slow_poll_threshold_ns: 100_000_000,
        slow_polls_total: 1,
        slow_polls_are: Completeness::All,
        slow_poll_lines: Some(Lines { printed: 1, suppressed: 0 }),
        slow_polls: vec![SlowPoll {
            id: 1,
            task_id: 7.into(),
            start_ns: 500_000_000,
            duration_ns: 503_123_456,
            cpu_ns: 1.into(),
            run_delay_ns: 2.into(),
            detail: Detail { blame: Some(blame), ..Detail::default() }.boxed(),
            ..SlowPoll::of(blocked_kind())
        }],
        sites: Some(vec![Site {
            spawned_at: "src/main.rs:29".into(),
            task_name: None,
            polls: dist(&[503_123_456]),
            slow: 1,
        }]),
        ..Run::unknown("naive", fixture::scenario_run("naive"), "2025-01-31T12:00:00Z")
    }
}

fn bare() -> Recording {
    Recording {
        environment: Environment {
            pollscope: "0.1.0".into(),
            tokio: Some("1.54.0".into()),
            os: "linux x86_64".into(),
            kernel: Some("6.12.0".into()),
            cpus: Some(4),
            clock: "CLOCK_MONOTONIC".into(),
            tokio_unstable: Some(false),
            console_compiled: Some(true),
            console_on: Some(false),
            command: vec!["pollscope".into(), "run".into(), "sleep".into()],
        },
        scenario: Some(ScenarioInfo {
            name: "sleep".into(),
            why: "Does a blocking sleep show?".into(),
            seed: 1,
            settings: BTreeMap::from([("runtime.workers".into(), "1".into())]),
            changed: Vec::new(),
        }),
        runs: vec![bare_run()],
        findings: vec![Finding {
            code: "PS001".into(),
            group: "naive".into(),
            sentence: "one poll held the loop for 503 ms".into(),
            advice: "move what blocks off the loop".into(),
            at: Some("src/main.rs:29".into()),
        }],
        gates: vec![Gate {
            expr: "naive.slow_polls >= 1".into(),
            verdict: GateVerdict::Pass,
            value: Some(1.0),
            why: None,
        }],
    }
}

/// The same with everything that can be known, and merged.
fn full() -> Recording {
    let mut recording = bare();
    let run = &mut recording.runs[0];
    run.merge = Some(Merge {
        verdict: Verdict::Failed,
        reason: Some("line 2 (byte 8) of `a.log` is not in the output".into()),
        inputs: 2,
        lines: 100,
        long_lines: 6,
        bytes: 2600,
        lost: 1,
        duplicated: 2,
        reordered: 3,
        torn: 4,
        foreign: 5,
        unterminated: 1,
        written: Some(Box::new(Written { lines: 99, bytes: 2574, long_lines: 6 })),
    });
    fixture::interrupt(run, "SIGINT");
    let (culprit, waiter) = ("src/main.rs:29".into(), "src/main.rs:30".into());
    let charge = Charge { culprit, waiter, tasks: 5, wait_ns: 7, late_tasks: 1, wait_most_ns: 8 };
    run.ledger = Some(Ledger { charges: vec![charge], unattributed_ns: 9 });
    for (index, slot) in [
        &mut run.schedule_latency,
        &mut run.lag,
        &mut run.lag_raw,
        &mut run.response_time,
        &mut run.write_latency,
        &mut run.busy_stretches,
        &mut run.pool_wait,
    ]
    .into_iter()
    .enumerate()
    {
        *slot = Some(dist(&[1000 + index as u64, 2_000_000]));
    }
    (run.unanswered, run.throughput_bytes_per_s) = (Some(3), Some(2600));
    (run.cpu_user_ns, run.cpu_system_ns) = (Some(11), Some(12));
    (run.context_switches_voluntary, run.context_switches_involuntary) = (Some(13), Some(14));
    run.slow_polls[0].kind_mut().task_name = Some("writer".into());
    let (spawned_at, ready_ns, polled_ns) = ("src/main.rs:31".into(), 600_000_000, 1_003_200_000);
    let waiter = Waiter { task_id: 9, spawned_at, ready_ns, polled_ns, span: None };
    run.slow_polls[0].detail_mut().worst_waiter = Some(Box::new(waiter));
    fixture::sites(run)[0].task_name = Some("writer".into());
    run.intervals = vec![Interval {
        start_ns: 0,
        polls: Some(dist(&[5])),
        lag: Some(dist(&[6])),
        busy_ns: Some(5),
        pool: None,
        slow: Some(0),
        longest_stretch_ns: Some(7),
        queued: Some(Queued { global: 2, local: None }),
    }];
    let metrics = [("workers_count", 1.0), ("busy_ratio", f64::NAN), ("mean_polls_per_park", f64::INFINITY)];
    run.runtime_metrics = Some(metrics.map(|(name, value)| (name.to_owned(), value)).into());
    recording
}

fn value(recording: &Recording) -> Value {
    serde_json::from_str(&to_json(recording).unwrap()).unwrap()
}

/// The type at a pointer, in the words of the tables below.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_u64() => "whole",
        Value::Number(_) => "float",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}

#[track_caller]
fn has(json: &Value, at: &str, keys: &str) {
    let parent = json.pointer(at).unwrap_or_else(|| panic!("{at} is missing"));
    let mut found: Vec<String> = parent.as_object().unwrap().iter().map(|(k, v)| format!("{k}:{}", kind(v))).collect();
    let mut expected: Vec<String> = keys.split_whitespace().map(str::to_owned).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{at}");
}

const DIST: &str = "count:whole min_ns:whole p50_ns:whole p90_ns:whole p99_ns:whole p999_ns:whole max_ns:whole \
                    mean_ns:whole sum_ns:whole clamped:whole histogram:text";

#[test]
fn every_key_of_the_contract_is_there() {
    let json = value(&full());
    let table = [
        ("", "schema:text environment:map scenario:map runs:list findings:list gates:list"),
        (
            "/environment",
            "pollscope:text tokio:text os:text kernel:text cpus:whole clock:text tokio_unstable:bool \
             console_compiled:bool console_on:bool command:list",
        ),
        ("/scenario", "name:text why:text seed:whole settings:map changed:list"),
        ("/scenario/settings", "runtime.workers:text"),
        (
            "/runs/0",
            "group:text subject:map started_at:text elapsed_ns:whole ended:text ended_why:text errors:list input_events:map coverage:map \
             merge:map polls:map schedule_latency:map lag:map lag_raw:map response_time:map unanswered:whole \
             write_latency:map busy_stretches:map loop_busy_ns:whole busy_share:null throughput_bytes_per_s:whole \
             cpu_user_ns:whole cpu_system_ns:whole context_switches_voluntary:whole context_switches_involuntary:whole pool_wait:map \
             slow_poll_threshold_ns:whole slow_polls_total:whole slow_polls_are:text slow_polls_dropped:whole slow_poll_lines:map \
             stacks:map slow_polls:list stalls_open:list sites:list ledger:map pool:null intervals:list runtime_metrics:map",
        ),
        ("/runs/0/subject", "kind:text mode:text round:whole flavor:text workers:whole"),
        ("/runs/0/coverage", "source:text sees:list blind_to:list missing:list looks_per_s:null"),
        (
            "/runs/0/merge",
            "verdict:text reason:text inputs:whole lines:whole long_lines:whole bytes:whole lost:whole duplicated:whole \
             reordered:whole torn:whole foreign:whole unterminated:whole written_lines:whole written_bytes:whole",
        ),
        (
            "/runs/0/input_events",
            "events:list dropped:whole possible_losses:whole possible_repeats:whole repeated_bytes_at_most:whole",
        ),
        ("/runs/0/input_events/events/0", "at_ns:whole event:text text:text may_lose:bool may_repeat:bool"),
        ("/runs/0/slow_poll_lines", "printed:whole suppressed:whole"),
        (
            "/runs/0/slow_polls/0",
            "id:whole task_id:whole task_name:text spawned_at:text future:null span:null runtime:null worker:whole \
             start_ns:whole duration_ns:whole start_is:text end_is:text cpu_ns:whole run_delay_ns:whole off_cpu_ns:whole \
             cause:text places:list holder:null stack_complete:bool blame:map worst_waiter:map",
        ),
        (
            "/runs/0/slow_polls/0/places/0",
            "line:text caller:null function:text syscall:map looks:null share_ns:null stack:whole",
        ),
        ("/runs/0/slow_polls/0/places/0/syscall", "name:text fd:whole path:text peer:null bytes:whole text:text"),
        ("/runs/0/stacks/1/0", "function:text file:text line:whole"),
        (
            "/runs/0/slow_polls/0/blame",
            "tasks:whole waits:whole wait_ns:whole late_tasks:whole wait_most_ns:whole lifo_tasks:whole",
        ),
        ("/runs/0/ledger", "charges:list unattributed_ns:whole"),
        (
            "/runs/0/ledger/charges/0",
            "culprit:text waiter:text tasks:whole wait_ns:whole late_tasks:whole wait_most_ns:whole",
        ),
        ("/runs/0/sites/0", "spawned_at:text task_name:text polls:map slow:whole"),
        (
            "/runs/0/intervals/0",
            "start_ns:whole polls:map lag:map busy_ns:whole longest_stretch_ns:whole queued:map pool:null slow:whole",
        ),
        ("/runs/0/intervals/0/queued", "global:whole local:null"),
        ("/runs/0/slow_polls/0/worst_waiter", "task_id:whole spawned_at:text ready_ns:whole polled_ns:whole"),
        ("/runs/0/runtime_metrics", "workers_count:float busy_ratio:null mean_polls_per_park:null"),
        ("/findings/0", "code:text group:text sentence:text advice:text at:text"),
        ("/gates/0", "expr:text verdict:text value:float why:null"),
    ];
    for (at, keys) in table {
        has(&json, at, keys);
    }
    let distributions = "polls schedule_latency lag lag_raw response_time write_latency busy_stretches pool_wait sites/0/polls \
                         intervals/0/polls intervals/0/lag";
    for at in distributions.split_whitespace() {
        has(&json, &format!("/runs/0/{at}"), DIST);
    }
    assert_eq!(json["schema"], "pollscope.recording/2");
}

#[test]
fn each_value_is_under_its_own_key() {
    let json = value(&full());
    let merge = &json["runs"][0]["merge"];
    let counts = ["lost", "duplicated", "reordered", "torn", "foreign"].map(|key| merge[key].as_u64().unwrap());
    assert_eq!(counts, [1, 2, 3, 4, 5]);
    let latencies =
        ["schedule_latency", "lag", "lag_raw", "response_time", "write_latency", "busy_stretches", "pool_wait"];
    assert_eq!(
        latencies.map(|key| json["runs"][0][key]["min_ns"].as_u64().unwrap()),
        [1000, 1001, 1002, 1003, 1004, 1005, 1006]
    );
    let used = ["cpu_user_ns", "cpu_system_ns", "context_switches_voluntary", "context_switches_involuntary"];
    assert_eq!(used.map(|key| json["runs"][0][key].as_u64().unwrap()), [11, 12, 13, 14]);
}

#[test]
fn what_is_unknown_is_null() {
    let mut recording = bare();
    recording.environment.kernel = None;
    recording.environment.cpus = None;
    recording.gates[0].value = Some(f64::NAN);
    recording.findings[0].at = None;
    let poll = &mut recording.runs[0].slow_polls[0];
    poll.task_id = None.into();
    poll.kind_mut().worker = None;
    let json = value(&recording);
    let run = "ended_why merge schedule_latency lag lag_raw response_time unanswered write_latency busy_stretches \
               throughput_bytes_per_s cpu_user_ns cpu_system_ns context_switches_voluntary context_switches_involuntary \
               pool_wait runtime_metrics slow_polls/0/task_id slow_polls/0/task_name slow_polls/0/worker \
               sites/0/task_name";
    let run = run.split_whitespace().map(|key| format!("/runs/0/{key}"));
    let rest = ["/environment/kernel", "/environment/cpus", "/gates/0/value", "/findings/0/at"];
    for at in run.chain(rest.map(str::to_owned)) {
        assert_eq!(json.pointer(&at), Some(&Value::Null), "{at}");
    }
}

#[test]
fn a_recording_of_before_they_were_measured_is_read() {
    let mut json = value(&full());
    let run = json["runs"][0].as_object_mut().unwrap();
    for key in
        ["cpu_user_ns", "cpu_system_ns", "context_switches_voluntary", "context_switches_involuntary", "pool_wait"]
    {
        assert!(run.remove(key).is_some(), "{key}");
    }
    let run = &super::from_json(json.to_string().as_bytes()).unwrap().runs[0];
    assert_eq!((run.cpu_ns(), run.context_switches(), &run.pool_wait), (None, None, &None));
}

#[test]
fn an_unverifiable_merge_has_no_counts() {
    let mut recording = full();
    let merge = recording.runs[0].merge.as_mut().unwrap();
    (merge.verdict, merge.written) = (Verdict::Unverifiable, None);
    has(
        &value(&recording),
        "/runs/0/merge",
        "verdict:text reason:text inputs:whole lines:null long_lines:null bytes:whole lost:null duplicated:null reordered:null \
         torn:null foreign:null unterminated:whole",
    );
}

#[test]
fn an_unverifiable_merge_says_what_was_written() {
    let mut recording = full();
    recording.runs[0].merge.as_mut().unwrap().verdict = Verdict::Unverifiable;
    let json = value(&recording);
    has(
        &json,
        "/runs/0/merge",
        "verdict:text reason:text inputs:whole lines:null long_lines:whole bytes:whole lost:null duplicated:null reordered:null \
         torn:null foreign:null unterminated:whole written_lines:whole written_bytes:whole",
    );
    let read = super::from_json(json.to_string().as_bytes()).unwrap();
    let written = Written { lines: 99, bytes: 2574, long_lines: 6 };
    assert_eq!(read.runs[0].merge.as_ref().unwrap().written.as_deref(), Some(&written));
}

#[test]
fn verdicts_have_their_words() {
    let mut recording = full();
    for (verdict, word) in
        [(GateVerdict::Pass, "pass"), (GateVerdict::Fail, "fail"), (GateVerdict::Inconclusive, "inconclusive")]
    {
        recording.gates[0].verdict = verdict;
        assert_eq!(value(&recording)["gates"][0]["verdict"], word);
    }
    for verdict in [Verdict::Ok, Verdict::Failed, Verdict::Unverifiable] {
        recording.runs[0].merge.as_mut().unwrap().verdict = verdict;
        assert_eq!(value(&recording)["runs"][0]["merge"]["verdict"], verdict.as_str());
    }
}

fn decode(dist: &Value) -> Histogram<u64> {
    let bytes = BASE64_STANDARD.decode(dist["histogram"].as_str().unwrap()).unwrap();
    Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap()
}

#[test]
fn the_histogram_comes_back_with_the_same_percentiles() {
    let mut rng = fastrand::Rng::with_seed(7);
    let values: Vec<u64> = (0..10_000).map(|_| rng.u64(1..5_000_000_000)).collect();
    let mut recording = bare();
    let mut polls = dist(&values);
    polls.record(0);
    polls.record(2 * MAX_NS);
    recording.runs[0].polls = Some(polls);
    let json = value(&recording);
    let polls = &json["runs"][0]["polls"];
    let histogram = decode(polls);
    assert_eq!(histogram.len(), fixture::polls(&mut recording.runs[0]).count());
    assert_eq!(polls["count"], histogram.len());
    for (key, quantile) in [("p50_ns", 0.5), ("p90_ns", 0.9), ("p99_ns", 0.99), ("p999_ns", 0.999)] {
        assert_eq!(polls[key], histogram.value_at_quantile(quantile), "{key}");
    }
    assert_eq!((&polls["min_ns"], &polls["max_ns"], &polls["clamped"]), (&0.into(), &(2 * MAX_NS).into(), &2.into()));
    assert_eq!(polls["mean_ns"], (values.iter().sum::<u64>() + 2 * MAX_NS) / 10_002);
}

#[test]
fn an_empty_distribution_has_no_percentiles() {
    let mut recording = bare();
    recording.runs[0].polls = Some(Dist::empty(3));
    let json = value(&recording);
    has(
        &json,
        "/runs/0/polls",
        "count:whole min_ns:null p50_ns:null p90_ns:null p99_ns:null p999_ns:null max_ns:null mean_ns:null sum_ns:whole \
         clamped:whole histogram:text",
    );
    assert_eq!(json["runs"][0]["polls"]["count"], 0);
    assert!(decode(&json["runs"][0]["polls"]).is_empty());
}

#[test]
fn what_is_written_ends_with_one_newline() {
    let mut bytes = Vec::new();
    write_json(&bare(), &mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text, to_json(&bare()).unwrap());
    assert!(text.ends_with("}\n"));
}

#[test]
fn a_writer_that_fails_is_reported() {
    let error = write_json(&bare(), &mut [0; 10][..]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WriteZero);
}

#[test]
fn the_example_is_what_is_written() {
    let shorten = |line: &str| match line.split_once("\"histogram\": \"") {
        Some((before, _)) => format!("{before}\"histogram\": \"…\"\n"),
        None => format!("{line}\n"),
    };
    let written: String = to_json(&bare()).unwrap().lines().map(shorten).collect();
    assert_eq!(include_str!("example.json"), written);
}

/// Few services have one: what has none is written as ever.
#[test]
fn a_quota_is_written_where_it_is_known_and_read_again() {
    let mut recording = full();
    assert!(value(&recording).pointer("/runs/0/slow_polls/0/quota").is_none());
    let quota = Quota { quota_ns: 20, period_ns: 100, periods: 5, throttled_periods: 4, throttled_ns: 410 };
    recording.runs[0].slow_polls[0].detail_mut().quota = Some(Box::new(quota));
    let json = value(&recording);
    let expected = r#"{"quota_ns":20,"period_ns":100,"periods":5,"throttled_periods":4,"throttled_ns":410}"#;
    let expected: Value = serde_json::from_str(expected).unwrap();
    assert_eq!(json["runs"][0]["slow_polls"][0]["quota"], expected);
    let read = super::from_json(json.to_string().as_bytes()).unwrap();
    assert_eq!(read.runs[0].slow_polls[0].detail.as_ref().and_then(|detail| detail.quota.as_deref()), Some(&quota));
}
