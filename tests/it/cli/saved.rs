//! `pollscope report`: recordings and interval logs that were saved, whole, torn and foreign.

use crate::support::{Folder, assert_ends, run, stdout};

/// A short run, saved; its report.
fn saved(folder: &Folder) -> String {
    let set = "--set block.duration=20ms --set block.run_for=60ms --slow 10ms";
    let output = folder.run(&format!("run slow-coroutine --full --quiet {set} --json json"));
    assert_ends(&output, 0, &[]);
    stdout(&output)
}

#[test]
fn a_saved_recording_gives_the_same_report() {
    let folder = Folder::new();
    let report = saved(&folder);
    assert_eq!(stdout(&folder.run("report --full json")), report);
    assert_eq!(folder.run("report json --format json").stdout, folder.read("json"));
    assert_eq!(stdout(&folder.run("report json -o text")), "");
    assert_eq!(folder.read("text"), report.as_bytes());
    assert_eq!(stdout(&folder.shell("\"$POLLSCOPE_BIN\" report --full - < json")), report);
}

#[test]
fn a_recording_of_a_mode_that_is_no_more_gives_its_report() {
    let folder = Folder::new();
    saved(&folder);
    let json = String::from_utf8(folder.read("json")).expect("text");
    folder.write("old", json.replace("offloaded", "io-uring"));
    for format in ["text", "markdown", "junit", "html"] {
        // The answer alone need not tell of each mode: on a busy machine both may have been late.
        let output = folder.run(&format!("report old --full --format {format}"));
        assert_ends(&output, 0, &[]);
        assert!(stdout(&output).contains("io-uring"), "{format}: {}", stdout(&output));
    }
}

#[test]
fn what_threads_used_and_how_long_the_pool_was_waited_for_is_kept() {
    let folder = Folder::new();
    let set = "--set block.duration=1ms --set block.run_for=20ms --set block.tasks=3";
    for flavor in ["current_thread", "multi_thread"] {
        let output =
            folder.run(&format!("run slow-coroutine --quiet {set} --set runtime.flavor={flavor} --json {flavor}"));
        assert_ends(&output, 0, &[]);
        let json: serde_json::Value = serde_json::from_slice(&folder.read(flavor)).expect("JSON");
        let waits = |mode: usize| json["runs"][mode]["pool_wait"]["count"].as_u64();
        assert_eq!((waits(0), waits(1)), (Some(0), Some(3)), "naive tasks do not use the pool");
        for run in json["runs"].as_array().expect("runs") {
            let known = |key: &str| run[key].as_u64();
            let cpu_ns = known("cpu_user_ns").zip(known("cpu_system_ns")).map(|(user, system)| user + system);
            let is_known = [cpu_ns, known("context_switches_voluntary")].map(|value| value.is_some_and(|n| n > 0));
            assert_eq!(is_known, [pollscope_stacks::SUPPORTED; 2], "{flavor}: {run}");
            assert_eq!(known("context_switches_involuntary").is_some(), pollscope_stacks::SUPPORTED);
        }
    }
}

#[test]
fn gates_decide_how_it_ends() {
    let folder = Folder::new();
    saved(&folder);
    for (gate, code) in [
        ("naive.slow_polls>=1", 0),
        ("naive.slow_polls==0", 99),
        // Nothing was merged.
        ("merge.lines==1", 0),
        ("merge.lines==1 --strict", 97),
    ] {
        let output = folder.run(&format!("report json --full --fail-on {gate}"));
        assert_eq!(output.status.code(), Some(code), "{gate}");
        let gate = gate.trim_end_matches(" --strict");
        assert!(stdout(&output).contains(gate), "{gate}");
    }
    assert_ends(&folder.run("report json --fail-on lag.p99<"), 2, &["\n  lag.p99<\n          ^"]);
}

#[test]
fn what_is_no_recording_says_why() {
    let folder = Folder::new();
    saved(&folder);
    let json = folder.read("json");
    folder.write("torn", &json[..json.len() / 3]);
    folder.write("foreign", b"{\"schema\":\"pollscope.recording/9\"}");
    folder.write("empty", b"");
    for (name, why) in [
        ("torn", "it ends before its first run does"),
        ("foreign", "its schema is `pollscope.recording/9`"),
        ("empty", "it ends before its first run does"),
        ("missing", "No such file"),
    ] {
        let output = folder.run(&format!("report {name}"));
        assert_ends(&output, 1, &[&format!("error: cannot read recording `{name}`: "), why]);
        assert_eq!(stdout(&output), "", "{name}");
    }
    // A little before its end the runs are whole.
    folder.write("late", &json[..json.len() - 200]);
    assert_ends(&folder.run("report late"), 0, &["note: `late` ends early"]);
}

#[test]
fn what_other_tools_read_is_written() {
    let folder = Folder::new();
    saved(&folder);
    assert_ends(&folder.run("report json --quiet --hlog log --hgrm polls.hgrm --trace trace --folded -"), 0, &[]);
    assert_eq!(folder.names(), ["json", "log", "polls.naive.hgrm", "polls.offloaded.hgrm", "trace"]);
    assert_eq!(folder.run("report json --format hlog").stdout, folder.read("log"));
    let naive = String::from_utf8(folder.read("polls.naive.hgrm")).unwrap();
    assert!(stdout(&folder.run("report json --hgrm -")).starts_with(&format!("#[naive]\n{naive}\n#[offloaded]\n")));
    let trace: serde_json::Value = serde_json::from_slice(&folder.read("trace")).unwrap();
    let slow = trace["traceEvents"].as_array().unwrap().iter().filter(|event| event["cat"] == "slow-poll").count();
    let recording: serde_json::Value = serde_json::from_slice(&folder.read("json")).unwrap();
    // On a busy machine the offloaded mode has some too.
    let runs = recording["runs"].as_array().unwrap().iter();
    assert_eq!(slow, runs.map(|run| run["slow_polls"].as_array().unwrap().len()).sum::<usize>());
}

#[test]
fn an_interval_log_is_reported_by_tag() {
    let folder = Folder::new();
    saved(&folder);
    folder.run("report json --quiet --hlog log --hgrm polls.hgrm");
    let report = stdout(&folder.run("report log"));
    for row in ["interval log · ", "\nTag ", "\nuntagged ", "\nnaive.polls ", "\noffloaded.lag "] {
        assert!(report.contains(row), "no `{row}` in:\n{report}");
    }
    assert_eq!(stdout(&folder.shell("\"$POLLSCOPE_BIN\" report - < log")), report);
    assert!(!stdout(&folder.run("report log --redact")).contains(".rs:"), "places have paths in them");

    let [recording, log] = ["json", "log"].map(|file| {
        let json = folder.run(&format!("report {file} --format json")).stdout;
        serde_json::from_slice::<serde_json::Value>(&json).unwrap()
    });
    let polls = log["tags"].as_array().unwrap().iter().find(|tag| tag["tag"] == "naive.polls").unwrap();
    for key in ["count", "p50_ns", "p99_ns", "p999_ns"] {
        assert_eq!(polls["values"][key], recording["runs"][0]["polls"][key], "{key}");
    }
    assert_ends(&folder.run("report log --hgrm tags.hgrm"), 0, &[]);
    assert_eq!(folder.read("tags.naive.polls.hgrm"), folder.read("polls.naive.hgrm"));

    for asked in ["--format trace", "--folded out", "--hlog out", "--fail-on lag.p99<1s"] {
        let output = folder.run(&format!("report log {asked}"));
        assert_ends(&output, 2, &["for interval log `log`: it holds only distributions", "`text`, `json`, `hgrm`"]);
    }
}

#[test]
fn an_interval_log_may_end_in_the_middle_of_a_line() {
    let folder = Folder::new();
    saved(&folder);
    folder.run("report json --quiet --hlog log");
    let log = folder.read("log");
    folder.write("torn", &log[..log.len() - 30]);
    assert_ends(&folder.run("report torn"), 0, &["note: `torn` ends early: its complete intervals are shown"]);
    // Some forty bytes that ask for four gigabytes.
    let blob = "HISTFAAAACB42pNpmSz8HwgYIIAZSjMCmW4GOxYw2H+ACAAA168IRw==";
    folder.write("hostile", format!("#[StartTime: 1 (seconds since epoch)]\n0,1,1,{blob}\n"));
    assert_ends(
        &folder.run("report hostile"),
        1,
        &["error: cannot read interval log `hostile`: line 2: the histogram's header"],
    );
    folder.write("bare", "# nothing\n");
    assert_ends(&folder.run("report bare"), 1, &["it has no whole interval"]);
}

#[test]
fn the_last_runs_are_kept_and_have_names() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let pollscope = |line: &str| {
        let mut command = folder.command(line.split_whitespace());
        run(command.env("XDG_STATE_HOME", folder.path("state")))
    };
    assert_ends(
        &pollscope("report last"),
        1,
        &["cannot find run `last`: none is kept", "`pollscope run`, `record` and `merge`"],
    );
    for nth in 0..12 {
        let set = format!("--set block.duration=20ms --set block.run_for=60ms --slow 10ms --set seed={nth}");
        assert_ends(&pollscope(&format!("run slow-coroutine --mode naive --rounds 1 {set} --json json")), 0, &[]);
        assert_eq!(pollscope("report last --format json").stdout, folder.read("json"), "the last one, whole");
    }
    let kept = folder.path("state/pollscope/runs");
    assert_eq!(std::fs::read_dir(&kept).expect("a folder").count(), 10);
    assert_eq!(std::fs::metadata(&kept).expect("a folder").permissions().mode() & 0o777, 0o700, "for the user alone");
    let seed = |name: &str| {
        let json: serde_json::Value =
            serde_json::from_slice(&pollscope(&format!("report {name} --format json")).stdout).expect("JSON");
        json["scenario"]["seed"].as_u64()
    };
    assert_eq!((seed("last"), seed("last~1"), seed("last~9")), (Some(11), Some(10), Some(2)));
    assert_ends(&pollscope("report last~10"), 1, &["cannot find run `last~10`: `last` to `last~9` are kept"]);
    assert_ends(&pollscope("compare last~1 last"), 0, &[]);
    // A file of that name is what is meant.
    folder.write("last", "no recording");
    assert_ends(&pollscope("report last"), 1, &["cannot read recording `last`"]);
}

#[test]
fn a_run_that_cannot_be_kept_is_reported_all_the_same() {
    let folder = Folder::new();
    folder.write("state", "a file, and no folder");
    let set = "--set block.duration=20ms --set block.run_for=60ms --slow 10ms";
    let line = format!("run slow-coroutine --mode naive --rounds 1 {set}");
    let output = run(folder.command(line.split_whitespace()).env("XDG_STATE_HOME", folder.path("state")));
    assert_ends(&output, 0, &["note: cannot keep the run for `pollscope report last`: "]);
    assert!(stdout(&output).contains("\n  more: "), "{}", stdout(&output));
    let homeless = run(folder.command(line.split_whitespace()).env_remove("XDG_STATE_HOME").env_remove("HOME"));
    assert_ends(&homeless, 0, &[]);
    assert!(stdout(&homeless).contains("`--full` for all tables"), "{}", stdout(&homeless));
}
