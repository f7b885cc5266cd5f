//! A stderr that nobody reads: the run goes on, its report is written, and signals are still obeyed.

use std::io::{PipeReader, Write, pipe};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Folder, alone, finish, send, stdout, wait_until};

/// Starts a command whose stderr is a full pipe. Keep the reader: without one, writing is an error.
fn start(command: &mut Command) -> (Child, PipeReader) {
    let (reader, mut writer) = pipe().expect("a pipe");
    let flags = rustix::fs::fcntl_getfl(&writer).expect("flags");
    rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).expect("set");
    for piece in [4_096, 1] {
        while writer.write(&vec![b'x'; piece]).is_ok() {}
    }
    rustix::fs::fcntl_setfl(&writer, flags).expect("set");
    (command.stdout(Stdio::piped()).stderr(writer).spawn().expect("it starts"), reader)
}

#[test]
fn a_run_is_reported_all_the_same() {
    let _alone = alone();
    let folder = Folder::new();
    // A note at the start, slow polls, and one that still goes on at ten times the threshold.
    let line = "run slow-coroutine --mode naive --slow 10ms --json json";
    let (child, _reader) = start(&mut folder.command(line.split_whitespace()));
    let output = finish(child);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("  more: "), "{}", stdout(&output));
    let recording: Value = serde_json::from_slice(&folder.read("json")).expect("JSON");
    let run = &recording["runs"][0];
    // What waits for a line is in the list at once.
    let polls = run["slow_polls"].as_array().expect("a list");
    assert_eq!(run["slow_polls_total"].as_u64(), Some(polls.len() as u64));
    assert!(polls.iter().any(|poll| poll["duration_ns"].as_u64() >= Some(500_000_000)), "{run:#}");
    assert!(polls.iter().any(|poll| poll["cause"] == "blocking-call"), "the watchdog went on: {run:#}");
    assert_eq!(run["slow_poll_lines"]["printed"], 0);
}

#[test]
fn an_error_is_reported_and_the_program_ends() {
    let folder = Folder::new();
    folder.write("a", "a1\n");
    let (child, _reader) = start(&mut folder.command("merge a -o /dev/full --append".split_whitespace()));
    let output = finish(child);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("cannot write to output `/dev/full`"), "{}", stdout(&output));
}

#[test]
fn a_signal_is_obeyed() {
    let folder = Folder::new();
    folder.write("a", "a1\n");
    let (child, _reader) = start(&mut folder.command("merge a -o out --follow".split_whitespace()));
    wait_until("the output", || folder.path("out").exists() && folder.read("out") == b"a1\n");
    send(&child, Signal::INT);
    let output = finish(child);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("merge ok"), "{}", stdout(&output));
}
