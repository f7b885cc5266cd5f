//! What the report says of Tokio's io_uring is so: where there is one, where the kernel refuses it, and where the build has none.

use std::process::Command;

use pollscope::ring::IS_BUILT;
use serde_json::Value;

use super::skip;
use crate::support::{Folder, assert_ends, pollscope, run, stderr};

const MERGE: &str = "merge a -o out --force --batch 1 --json json --mode";

fn input() -> Folder {
    let folder = Folder::new();
    folder.write("a", "a1\na2\na3\n");
    folder
}

/// What the recording says of a ring: under `blind_to`, and under `missing`.
fn said(folder: &Folder) -> (Option<String>, Option<String>) {
    let recording: Value = serde_json::from_slice(&folder.read("json")).expect("JSON");
    let run = &recording["runs"][0];
    assert_eq!(run["merge"]["verdict"], "ok", "{run:#}");
    let of = |list: &str| {
        let phrases = run["coverage"][list].as_array().expect("a list").iter();
        phrases.filter_map(Value::as_str).find(|phrase| phrase.contains("io_uring")).map(str::to_owned)
    };
    (of("blind_to"), of("missing"))
}

/// The program under `strace`, if there is one that works here.
fn traced(folder: &Folder, trace: &[&str], mode: &str) -> Option<Command> {
    let is_there =
        Command::new("strace").args(["-o", "/dev/null", "true"]).output().is_ok_and(|it| it.status.success());
    let mut command = Command::new("strace");
    let program = pollscope();
    command.args(["-f", "-o", "trace"]).args(trace).arg(program.get_program());
    command.args(MERGE.split(' ')).arg(mode).current_dir(folder.path("."));
    is_there.then_some(command)
}

#[test]
fn it_opens_the_output_and_no_more() {
    let folder = input();
    let output = folder.run(&format!("{MERGE} io-uring"));
    if !IS_BUILT {
        return assert_ends(&output, 2, &["io-uring", "needs Linux and a build with `--cfg tokio_unstable`"]);
    }
    assert_ends(&output, 0, &[]);
    let words = match said(&folder) {
        (Some(used), None) => used,
        (None, Some(refused)) if refused.contains("io_uring_setup: ") => return skip("a ring", &refused),
        other => panic!("it says {other:?}"),
    };
    // Three lines were written, each by itself. More calls mean that Tokio has learned to write by the ring: then say so.
    assert!(words.contains("1 call, which opened the output"), "{words}");
}

#[test]
fn where_the_kernel_refuses_it_that_is_said_and_the_pool_does_it_all() {
    if !IS_BUILT {
        return skip("a ring that is refused", "this build has none");
    }
    for (error, says) in [("ENOSYS", "Function not implemented"), ("EPERM", "Operation not permitted")] {
        let folder = input();
        let inject = format!("inject=io_uring_setup:error={error}");
        let Some(mut command) = traced(&folder, &["-e", &inject], "io-uring") else {
            return skip("a ring that is refused", "there is no `strace`");
        };
        assert_ends(&run(&mut command), 0, &[]);
        let (used, missing) = said(&folder);
        let missing = missing.expect("it is said");
        assert!(used.is_none() && missing.contains(&format!("io_uring_setup: {says}")), "{error}: {missing}");
        assert_eq!(folder.read("out"), b"a1\na2\na3\n");
    }
}

#[test]
fn no_other_mode_has_one() {
    for mode in ["naive", "offloaded", "spawn-blocking", "tokio-fs"] {
        let folder = input();
        let Some(mut command) = traced(&folder, &["-e", "trace=io_uring_setup"], mode) else {
            return skip("whether other modes have a ring", "there is no `strace`");
        };
        let output = run(&mut command);
        assert_ends(&output, 0, &[]);
        let trace = String::from_utf8_lossy(&folder.read("trace")).into_owned();
        assert!(!trace.contains("io_uring_setup"), "{mode}: {trace}{}", stderr(&output));
        assert_eq!(said(&folder), (None, None), "{mode}");
    }
}
