//! What must not get out: the content of arguments, of the environment, of lines and of buffers never does; paths do not with
//! `--redact`.

use std::fs::File;
use std::io::Read as _;
use std::process::Output;
use std::thread;
use std::time::Duration;

use flate2::read::GzDecoder;
use serde_json::Value;

use crate::support::{Folder, alone, assert_ends, root, run, stderr, stdout, wait_until};

/// In the environment, in a line, in a buffer.
const SECRET: &str = "hunter2-correct-horse";
/// In paths.
const FOLDER: &str = "planted-folder";

/// What goes into files, as they are named in a folder.
const FILES: &str = "--json json --folded folded --firefox firefox --pprof pprof";

/// All that a run shows: both outputs and the files, as they are named in `folder`.
fn shown(folder: &Folder, output: &Output) -> Vec<(&'static str, String)> {
    let file = |name| String::from_utf8(folder.read(name)).expect("text");
    let mut pprof = Vec::new();
    GzDecoder::new(&*folder.read("pprof")).read_to_end(&mut pprof).expect("gzip");
    vec![
        ("stdout", stdout(output)),
        ("stderr", stderr(output)),
        ("json", file("json")),
        ("folded", file("folded")),
        ("firefox", file("firefox")),
        ("pprof", String::from_utf8_lossy(&pprof).into_owned()),
    ]
}

#[track_caller]
fn assert_in_none(word: &str, shown: &[(&'static str, String)]) {
    for (what, text) in shown {
        assert!(!text.contains(word), "`{word}` is in {what}:\n{text}");
    }
}

/// Merges two files of secrets into a FIFO that is read late, so that writing blocks with a secret in the buffer.
fn merge_into_a_slow_fifo(folder: &Folder, more: &[&str]) -> Output {
    std::fs::create_dir(folder.path(FOLDER)).expect("a folder");
    let line = format!("password={SECRET} {}\n", "x".repeat(4_000));
    for name in ["a.log", "b.log"] {
        folder.write(format!("{FOLDER}/{name}"), line.repeat(30));
    }
    let fifo = folder.fifo(&format!("{FOLDER}/out.fifo"));
    let reader = thread::spawn(move || {
        let mut fifo = File::open(fifo).expect("it opens");
        // Until there is room for no more than a line.
        wait_until("a full pipe", || rustix::io::ioctl_fionread(&fifo).expect("a count") >= 60_000);
        thread::sleep(Duration::from_millis(400));
        let _ = fifo.read_to_end(&mut Vec::new());
    });
    let inputs = ["a.log", "b.log"].map(|name| format!("{FOLDER}/{name}"));
    let output = format!("{FOLDER}/out.fifo");
    let args = ["merge", &inputs[0], &inputs[1], "--append", "-o", &output, "--mode", "naive", "--slow", "50ms"];
    let reports: Vec<&str> = FILES.split(' ').collect();
    let mut command = folder.command(args.iter().chain(&reports).chain(more));
    let output = run(command.env("API_TOKEN", SECRET));
    reader.join().expect("it reads");
    output
}

fn slow_polls(folder: &Folder) -> Vec<Value> {
    let recording: Value = serde_json::from_slice(&folder.read("json")).expect("JSON");
    recording["runs"][0]["slow_polls"].as_array().expect("a list").clone()
}

/// Outputs have the command line, with its paths, but nothing from the files or the environment.
#[test]
fn no_content_is_in_any_output() {
    let _alone = alone();
    let folder = Folder::new();
    let output = merge_into_a_slow_fifo(&folder, &[]);
    let shown = shown(&folder, &output);
    assert_in_none(SECRET, &shown);
    assert!(!slow_polls(&folder).is_empty(), "the buffer was in a blocked call:\n{}", shown[1].1);
    assert!(shown[2].1.contains(FOLDER), "without `--redact` paths are shown");
}

/// Messages name torn and foreign lines by their places.
#[test]
fn no_line_is_in_any_output() {
    let folder = Folder::new();
    folder.write("a", format!("{SECRET} one\n{SECRET} two\n"));
    folder.write("out", SECRET);
    let output = folder.run(&format!("merge a -o out --append {FILES}"));
    assert_ends(&output, 3, &[]);
    assert_in_none(SECRET, &shown(&folder, &output));
}

#[test]
fn redacted_outputs_have_no_paths() {
    let _alone = alone();
    let folder = Folder::new();
    let output = merge_into_a_slow_fifo(&folder, &["--redact"]);
    let shown = shown(&folder, &output);
    assert_in_none(FOLDER, &shown);
    assert_in_none(SECRET, &shown);
    assert_in_none("out.fifo", &shown);
    assert_in_none("a.log", &shown);
    // Neither that of the program nor that of its sources.
    assert_in_none(root().to_str().expect("UTF-8"), &shown);
    let polls = slow_polls(&folder);
    assert!(!polls.is_empty());
    for poll in &polls {
        let path = &poll["places"][0]["syscall"]["path"];
        assert!(path.is_null() || path == "<path>", "{poll:#}");
    }
    let recording: Value = serde_json::from_slice(&folder.read("json")).expect("JSON");
    assert_eq!(recording["scenario"]["settings"]["files.output"], "<path>");
    let command = recording["environment"]["command"].as_array().expect("a list");
    assert_eq!((&command[0], &command[1], &command[2]), (&"pollscope".into(), &"merge".into(), &"<value>".into()));
    assert!(command.contains(&"--redact".into()), "{command:?}");
}

/// The errors of a merge name its files between backticks.
#[test]
fn redacted_errors_keep_their_cause() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path(FOLDER)).expect("a folder");
    folder.write(format!("{FOLDER}/a"), "a1\n");
    let output = folder.run(&format!("merge {FOLDER}/a -o /dev/full --append --redact {FILES}"));
    assert_ends(&output, 1, &["cannot write to output `<path>`: No space left", "free some space"]);
    let shown = shown(&folder, &output);
    assert_in_none(FOLDER, &shown);
    assert_in_none("/dev/full", &shown);
    // Nor where there is nothing to report.
    let output = folder.run(&format!("merge {FOLDER}/a {FOLDER}/none -o {FOLDER}/out --redact"));
    assert_ends(&output, 1, &["cannot open input `<path>`: No such file", "name a file that exists"]);
    assert!(!stderr(&output).contains(FOLDER), "{}", stderr(&output));
}

/// A scenario's file may lie anywhere, and what it writes to is in a temporary folder.
#[test]
fn a_redacted_run_keeps_lines_and_calls() {
    let _alone = alone();
    let folder = Folder::new();
    std::fs::create_dir(folder.path(FOLDER)).expect("a folder");
    let text = std::fs::read_to_string(root().join("scenarios/slow-sink.toml")).expect("a scenario");
    folder.write(format!("{FOLDER}/mine.toml"), text);
    let output = folder.run(&format!("run {FOLDER}/mine.toml --mode naive --redact {FILES}"));
    let shown = shown(&folder, &output);
    assert_in_none(FOLDER, &shown);
    assert_in_none("sink.fifo", &shown);
    assert_in_none("/tmp/", &shown);
    let polls = slow_polls(&folder);
    assert!(!polls.is_empty());
    let lines: Vec<&str> = polls.iter().filter_map(|poll| poll["places"][0]["line"].as_str()).collect();
    assert!(lines.iter().all(|line| line.starts_with("crates/lab/src/")), "{lines:?}");
}
