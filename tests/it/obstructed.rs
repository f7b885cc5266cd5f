//! What stands in the way of seeing is said once, however many probes a run has, and is in the report and in the recording.

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{Folder, alone, assert_ends, run, stderr, stdout};

/// What a busy machine keeps from being seen besides.
const LATE: &str = ": the watchdog came up to ";

/// Runs three rounds, each with a probe of its own and a slow poll, and checks that it was said once; the first slow poll.
#[track_caller]
fn said_once(folder: &Folder, output: &Output, says: &str) -> Value {
    assert_ends(output, 0, &[]);
    let said = stderr(output);
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("WARN pollscope: ")).collect();
    assert!(lines.len() == 1 && lines[0].contains(says), "{said}");
    let reason = lines[0].trim_start_matches("WARN pollscope: ");
    let report = stdout(output);
    let told = report.lines().filter(|line| line.starts_with("~ ") && !line.contains(LATE));
    assert_eq!(told.count(), 1, "{report}");
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    assert!(words(&report).contains(&words(reason)), "{report}");
    let recording: Value = serde_json::from_slice(&folder.read("json")).expect("JSON");
    let runs = recording["runs"].as_array().expect("a list");
    assert_eq!(runs.len(), 3);
    for run in runs {
        let missing = run["coverage"]["missing"].as_array().expect("a list").iter().filter_map(Value::as_str);
        assert_eq!(missing.filter(|missing| !missing.contains(LATE)).collect::<Vec<_>>(), [reason], "{run:#}");
        assert_eq!((&run["slow_polls_total"], run["slow_polls"].as_array().expect("a list").len()), (&1.into(), 1));
        assert!(run["slow_polls"][0]["duration_ns"].as_u64() >= Some(300_000_000), "{run:#}");
        assert!(
            run["slow_polls"][0]["places"]
                .as_array()
                .is_some_and(|places| places.iter().all(|of| of["line"].is_null()))
        );
    }
    runs[0]["slow_polls"][0].clone()
}

const ARGS: [&str; 11] = [
    "run",
    "slow-coroutine",
    "--mode",
    "naive",
    "--rounds",
    "3",
    "--set",
    "block.run_for=1s",
    "--set",
    "block.duration=300ms",
    "--json=json",
];

#[test]
fn a_stripped_program() {
    let _alone = alone();
    let folder = Folder::new();
    let stripped = folder.path("pollscope");
    let strip = Command::new("strip").arg("-o").arg(&stripped).arg(env!("CARGO_BIN_EXE_pollscope")).output();
    if !strip.is_ok_and(|output| output.status.success()) {
        println!("SKIP: there is no `strip`");
        return;
    }
    let output = run(Command::new(stripped).args(ARGS).current_dir(folder.path(".")));
    let poll = said_once(&folder, &output, "the program is stripped");
    assert_eq!((&poll["cause"], &poll["stack_complete"]), (&"blocking-call".into(), &true.into()), "{poll:#}");
}

#[test]
fn no_proc() {
    let _alone = alone();
    let private = |program: &str| {
        let mut command = Command::new("unshare");
        let user = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
        command.args([user, "sh", "-c", r#"mount -t tmpfs none /proc && exec "$0" "$@""#, program]);
        command
    };
    if !private("true").output().is_ok_and(|output| output.status.success()) {
        println!("SKIP: `/proc` cannot be covered here, which takes `unshare` and the right to mount");
        return;
    }
    let folder = Folder::new();
    let output = run(private(env!("CARGO_BIN_EXE_pollscope")).args(ARGS).current_dir(folder.path(".")));
    let poll = said_once(&folder, &output, "mount `/proc`");
    for unknown in ["cause", "cpu_ns", "stack_complete"] {
        assert!(poll[unknown].is_null(), "{unknown}: {poll:#}");
    }
    assert_eq!(poll["places"], serde_json::json!([]));
}
