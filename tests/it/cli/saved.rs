//! `pollscope report`: recordings that were saved, whole, torn and foreign.

use crate::support::{Folder, assert_ends, stdout};

/// A short run, saved; its report.
fn saved(folder: &Folder) -> String {
    let set = "--set block.duration=20ms --set block.run_for=60ms --slow 10ms";
    let output = folder.run(&format!("run slow-coroutine --quiet {set} --json json"));
    assert_ends(&output, 0, &[]);
    stdout(&output)
}

#[test]
fn a_saved_recording_gives_the_same_report() {
    let folder = Folder::new();
    let report = saved(&folder);
    assert_eq!(stdout(&folder.run("report json")), report);
    assert_eq!(folder.run("report json --format json").stdout, folder.read("json"));
    assert_eq!(stdout(&folder.run("report json -o text")), "");
    assert_eq!(folder.read("text"), report.as_bytes());
    assert_eq!(stdout(&folder.shell("\"$POLLSCOPE_BIN\" report - < json")), report);
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
        let output = folder.run(&format!("report json --fail-on {gate}"));
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
