//! Every scenario, run by the program: its expectations, and what must hold of every recording.

use base64::Engine;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use pollscope_probe::CAPTURE;
use serde_json::Value;
use std::io::Cursor;
use std::path::Path;

use crate::support::{Folder, alone, pollscope, stderr, stdout};

/// An expectation such as "no slow poll" fails when the machine itself stands still for 100 ms. It may, now and then.
const TRIES: usize = 3;

/// Runs a scenario; its recording, and what it wrote to stderr.
fn run(name: &str, more: &[&str]) -> (Value, String) {
    let _alone = alone();
    let output = pollscope().args(["run", name, "--json", "-"]).args(more).output().unwrap();
    let recording = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", stdout(&output), stderr(&output)));
    (recording, stderr(&output))
}

/// What a terminal of 80 columns shows of a recording, which is to fit its 24 lines with the prompt and the last lines before it.
fn answer(recording: &Value) -> String {
    let folder = Folder::new();
    folder.write("json", recording.to_string());
    let output = folder.command(["report", "json"]).env("COLUMNS", "80").output().unwrap();
    let answer = stdout(&output);
    assert!(answer.starts_with(['✓', '✗', '~']), "{answer}{}", stderr(&output));
    assert!(answer.lines().count() <= 15 && answer.lines().all(|line| line.chars().count() <= 80), "{answer}");
    assert!(answer.contains("\n  more: "), "{answer}");
    answer
}

/// That the answer alone tells what blocks, where, and what to do.
fn tells(recording: &Value, what: &str, place: &str, fix: &str) {
    let answer = answer(recording).split_whitespace().collect::<Vec<_>>().join(" ");
    let (before, after) = answer.split_once(" fix: ").unwrap_or_else(|| panic!("nothing to do: {answer}"));
    assert!(before.contains(what) && before.contains(place) && after.contains(fix), "{what}, {place}, {fix}: {answer}");
}

/// Runs a scenario until its expectations hold; what must hold of every recording does each time.
fn check(name: &str) -> (Value, String) {
    check_and(name, |_| Ok(()))
}

/// The same, and what is `seen` of slow polls: a machine that stands still keeps the watchdog from looking as well.
fn check_and(name: &str, seen: impl Fn(&Value) -> Result<(), String>) -> (Value, String) {
    let mut failed = Vec::new();
    for _ in 0..TRIES {
        let (recording, lines) = run(name, &["--rounds", "1"]);
        for run in array(&recording, "/runs") {
            identities(run);
        }
        assert_eq!(lines_printed(&recording), told(&lines), "{lines}");
        answer(&recording);
        let gates = array(&recording, "/gates");
        assert!(!gates.is_empty(), "{name} expects nothing");
        failed = gates.iter().filter(|gate| gate["verdict"] != "pass").cloned().collect();
        match seen(&recording) {
            Ok(()) if failed.is_empty() => return (recording, lines),
            Ok(()) => {}
            Err(what) => failed.push(what.into()),
        }
        eprintln!("{name}: not as expected: {failed:?}");
    }
    panic!("{name}: {TRIES} times not as expected: {failed:?}");
}

fn array<'a>(value: &'a Value, pointer: &str) -> &'a Vec<Value> {
    value.pointer(pointer).and_then(Value::as_array).unwrap_or_else(|| panic!("no array {pointer}"))
}

fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no number {pointer} in {value}"))
}

fn sum(values: &[Value], pointer: &str) -> u64 {
    values.iter().map(|value| number(value, pointer)).sum()
}

fn lines_printed(recording: &Value) -> u64 {
    sum(array(recording, "/runs"), "/slow_poll_lines/printed")
}

/// Lines of slow polls that are over: one may be told before as well, while it still runs.
fn told(text: &str) -> u64 {
    let is_told = |line: &&str| line.starts_with("WARN slow poll: Executing <Task") && line.contains("> took ");
    text.lines().filter(is_told).count() as u64
}

fn histogram(dist: &Value) -> Histogram<u64> {
    let text = dist["histogram"].as_str().expect("a histogram");
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    Deserializer::new().deserialize(&mut Cursor::new(bytes)).unwrap()
}

/// What recording.rs promises of every run.
fn identities(run: &Value) {
    let missing = run["coverage"]["missing"].to_string();
    assert!(
        !missing.contains("another builder"),
        "the lab's own loops beside the measured one are no runtimes to watch: {missing}"
    );
    let sites = array(run, "/sites");
    let total = number(run, "/slow_polls_total");
    assert_eq!(total, sum(sites, "/slow"), "slow polls by site");
    assert_eq!(
        total,
        array(run, "/slow_polls").len() as u64 + number(run, "/slow_polls_dropped"),
        "slow polls listed and dropped"
    );
    let lines = number(run, "/slow_poll_lines/printed") + number(run, "/slow_poll_lines/suppressed");
    assert_eq!(total, lines, "slow-poll lines printed and suppressed");
    assert_eq!(number(run, "/polls/count"), sum(sites, "/polls/count"), "polls by site");
    assert_eq!(number(run, "/polls/count"), sum(array(run, "/intervals"), "/polls/count"), "polls by interval");

    for poll in array(run, "/slow_polls") {
        // The rest is known where both of the others are.
        let [cpu, run_delay, off_cpu] = ["cpu_ns", "run_delay_ns", "off_cpu_ns"].map(|part| poll[part].as_u64());
        let rest = cpu.zip(run_delay).map(|(cpu, run_delay)| number(poll, "/duration_ns") - cpu - run_delay);
        assert_eq!(off_cpu, rest, "{poll}");
    }
    if !run["ledger"].is_null() {
        let waited = sum(array(run, "/ledger/charges"), "/wait_ns") + number(run, "/ledger/unattributed_ns");
        let (count, mean) = (number(run, "/schedule_latency/count"), number(run, "/schedule_latency/mean_ns"));
        assert!((count * mean..count * (mean + 1)).contains(&waited), "{waited} waited of {count} times {mean}");
    }

    let threshold = number(run, "/slow_poll_threshold_ns");
    let polls = histogram(&run["polls"]);
    let above = polls.count_between(polls.next_non_equivalent(threshold), u64::MAX);
    let from_bucket = polls.count_between(polls.lowest_equivalent(threshold), u64::MAX);
    assert!((above..=from_bucket).contains(&total), "{total} slow polls, {above} to {from_bucket} in the histogram");
    for (at, q) in [("p50_ns", 0.5), ("p90_ns", 0.9), ("p99_ns", 0.99), ("p999_ns", 0.999)] {
        for dist in ["polls", "lag", "response_time"] {
            let dist = &run[dist];
            if dist["count"].as_u64().is_some_and(|count| count > 0) {
                assert_eq!(number(dist, &format!("/{at}")), histogram(dist).value_at_quantile(q), "{at}");
            }
        }
    }
    let longest = array(run, "/slow_polls").iter().map(|poll| number(poll, "/duration_ns")).max();
    if let Some(longest) = longest.filter(|_| number(run, "/slow_polls_dropped") == 0) {
        assert_eq!(number(run, "/polls/max_ns"), longest, "the exact maximum");
    }
}

fn run_of<'a>(recording: &'a Value, mode: &str) -> &'a Value {
    array(recording, "/runs").iter().find(|run| run["group"] == mode).expect("a run of that mode")
}

#[test]
fn merge_loses_nothing_in_either_mode() {
    let (recording, _) = check("merge");
    for mode in ["naive", "offloaded"] {
        let merge = &run_of(&recording, mode)["merge"];
        assert_eq!((merge["verdict"].as_str(), number(merge, "/lines")), (Some("ok"), 50));
        for what in ["lost", "duplicated", "reordered", "torn", "foreign"] {
            assert_eq!(number(merge, &format!("/{what}")), 0, "{what}");
        }
        assert_eq!(run_of(&recording, mode)["write_latency"]["count"], 50);
    }
}

#[test]
fn a_slow_sink_blocks_the_naive_loop_and_not_the_offloaded_one() {
    let file = "crates/lab/src/pipeline/sink/naive.rs:";
    let (recording, _) = check_and("slow-sink", |recording| {
        blocked(recording, "naive", "blocking-call", "write", file)?;
        let polls = array(run_of(recording, "naive"), "/slow_polls");
        let unfelt = polls.iter().find(|poll| number(poll, "/blame/tasks") == 0);
        unfelt.filter(|_| pollscope_probe::TOKIO_UNSTABLE).map_or(Ok(()), |poll| Err(format!("nobody waited: {poll}")))
    });
    let named = array(run_of(&recording, "naive"), "/slow_polls");
    for poll in named {
        let name = poll["task_name"].as_str().unwrap_or_default();
        assert!(name.starts_with("tail "), "{poll}");
        assert!(poll["spawned_at"].as_str().unwrap().starts_with("crates/lab/src/pipeline/merge.rs:"), "{poll}");
        let path = poll["places"][0]["syscall"]["path"].as_str();
        assert!(!CAPTURE || path.is_some_and(|path| path.ends_with("/sink.fifo")), "{poll}");
    }
    if CAPTURE {
        tells(
            &recording,
            "write() on sink.fifo blocked the loop in naive mode",
            file,
            "to a thread that owns the file",
        );
    }
}

#[test]
fn a_slow_coroutine_is_reported_as_asyncio_would() {
    let (recording, lines) = check_and("slow-coroutine", |recording| {
        blocked(recording, "naive", "blocking-call", "clock_nanosleep", "crates/lab/src/blocking_tasks.rs:")
    });
    let line = lines.lines().find(|line| line.contains("Executing <Task ")).expect("a slow-poll line");
    let seconds = line.split(" took ").nth(1).and_then(|rest| rest.strip_suffix(" seconds")).expect("its shape");
    assert!(seconds.starts_with("0.5") && seconds.len() == 5, "{line}");
    let poll = &run_of(&recording, "naive")["slow_polls"][0];
    assert_eq!(poll["task_name"], "blocker 0");
    if CAPTURE {
        let place = "crates/lab/src/blocking_tasks.rs:";
        tells(&recording, "clock_nanosleep() blocked the loop in naive mode", place, "tokio::time::sleep");
    }
}

#[test]
fn many_short_polls_have_a_finding_of_their_own() {
    let (recording, _) = check("many-short-polls");
    let codes: Vec<&str> = array(&recording, "/findings")
        .iter()
        .filter(|finding| finding["group"] == "naive")
        .filter_map(|finding| finding["code"].as_str())
        .collect();
    assert!(codes.contains(&"PS002") && !codes.contains(&"PS001"), "{codes:?}");
    if pollscope_probe::TOKIO_UNSTABLE {
        let place = "crates/lab/src/blocking_tasks.rs:";
        tells(&recording, "the loop kept others waiting", place, "tokio::task::yield_now");
    }
}

#[test]
fn a_sync_is_named_with_its_file() {
    let (recording, _) = check_and("fsync", |recording| {
        let of_tails = |poll: &&Value| poll["task_name"].as_str().is_some_and(|name| name.starts_with("tail "));
        let slow: Vec<&Value> = array(run_of(recording, "naive"), "/slow_polls").iter().filter(of_tails).collect();
        // A shorter one can be over before it is looked at.
        let long = slow.iter().filter(|poll| number(poll, "/duration_ns") >= 4_000_000).count();
        if !CAPTURE || is_in_memory(&std::env::temp_dir()) || long < 2 {
            println!("SKIP: stacks cannot be captured here, or too few syncs took 4 ms: {long}");
            return Ok(());
        }
        let calls: Vec<_> = slow.iter().filter(|poll| poll["cause"] == "blocking-call").collect();
        // A write blocks as well, when too much is waiting for the disk.
        let is_seen = |poll: &Value, calls: &[&str]| {
            let text = |pointer: &str| poll.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            calls.contains(&text("/places/0/syscall/name"))
                && text("/places/0/syscall/path").ends_with("/merged")
                && text("/places/0/line").starts_with("crates/lab/src/pipeline/sink/naive.rs:")
        };
        match calls.iter().find(|poll| !is_seen(poll, &["fdatasync", "fsync", "write"])) {
            Some(poll) => Err(format!("seen otherwise: {poll}")),
            None if calls.iter().any(|poll| is_seen(poll, &["fdatasync", "fsync"])) => Ok(()),
            None => Err(format!("none of {long} long syncs was named")),
        }
    });
    let polls = array(run_of(&recording, "naive"), "/slow_polls");
    let is_sync =
        |poll: &&Value| poll["places"][0]["syscall"]["name"].as_str().is_some_and(|name| name.contains("sync"));
    // A write that blocked may have taken longer, or what a busy machine did, much longer.
    let synced = sum_of(polls.iter().filter(is_sync));
    let others = sum_of(array(run_of(&recording, "offloaded"), "/slow_polls").iter());
    if synced > sum_of(polls.iter()) / 2 && 10 * synced > others {
        tells(
            &recording,
            "sync() on merged",
            "crates/lab/src/pipeline/sink/naive.rs:",
            "sync on a thread that owns the file",
        );
    }
}

fn sum_of<'a>(polls: impl Iterator<Item = &'a Value>) -> u64 {
    polls.map(|poll| number(poll, "/duration_ns")).sum()
}

/// Whether a folder's files are on no disk, so that nothing is synced.
fn is_in_memory(folder: &Path) -> bool {
    const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;
    rustix::fs::statfs(folder).is_ok_and(|of| of.f_type == TMPFS_MAGIC)
}

#[test]
fn a_busy_server_is_as_expected() {
    let (recording, _) = check("busy-server");
    if CAPTURE {
        let place = "crates/lab/src/pipeline/sink/naive.rs:";
        tells(&recording, "write() on sink.fifo blocked the loop", place, "to a thread that owns the file");
    }
}

#[test]
fn a_thousand_inputs_are_merged() {
    check("many-inputs");
}

#[test]
fn four_workers_are_as_expected() {
    check("multi-thread");
}

#[test]
fn rounds_are_interleaved_and_each_is_whole() {
    let (recording, _) = run(
        "slow-coroutine",
        &["--rounds", "2", "--slow", "5ms", "--set", "block.duration=20ms", "--set", "block.run_for=100ms", "--quiet"],
    );
    let runs = array(&recording, "/runs");
    let order: Vec<(&str, u64)> =
        runs.iter().map(|run| (run["group"].as_str().unwrap(), number(run, "/subject/round"))).collect();
    assert_eq!(order, [("naive", 1), ("offloaded", 1), ("naive", 2), ("offloaded", 2)]);
    runs.iter().for_each(identities);
    assert_eq!(lines_printed(&recording), 0, "quiet");
    assert_eq!(recording["scenario"]["settings"]["warmup"], "1", "several rounds imply one that is thrown away");
}

/// Every slow poll of a mode has this cause, call, and a blocking line in this file, and its stack is complete.
fn blocked(recording: &Value, mode: &str, cause: &str, call: &str, file: &str) -> Result<(), String> {
    if !CAPTURE {
        println!("SKIP: this machine's stacks cannot be captured");
        return Ok(());
    }
    let polls = array(run_of(recording, mode), "/slow_polls");
    let is_seen = |poll: &&Value| {
        let seen =
            (poll["cause"].as_str(), poll["places"][0]["syscall"]["name"].as_str(), poll["stack_complete"].as_bool());
        let line = poll["places"][0]["line"].as_str();
        seen == (Some(cause), Some(call), Some(true)) && line.is_some_and(|line| line.starts_with(file))
    };
    match polls.iter().find(|poll| !is_seen(poll)) {
        Some(poll) => Err(format!("seen otherwise: {poll}")),
        None if polls.is_empty() => Err("no slow poll".to_owned()),
        None => Ok(()),
    }
}
