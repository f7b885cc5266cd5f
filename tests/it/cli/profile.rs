//! Where the loops' time went: which recordings say it, in which outputs, and what is said of the others.

use std::io::Read;
use std::process::Command;

use flate2::read::GzDecoder;

use crate::support::{Folder, assert_ends, root, stderr, stdout};

/// A saved recording, as it is called in the folder.
fn folder_with(name: &str) -> Folder {
    let folder = Folder::new();
    let saved = root().join("crates/record/tests/fixtures/schema-2").join(name).with_extension("json");
    folder.write("rec", std::fs::read(saved).expect("it is there"));
    folder
}

fn sum(folded: &str) -> u64 {
    let weight = |line: &str| line.rsplit_once(' ').expect("a weight").1.parse::<u64>().expect("a number");
    folded.lines().map(weight).sum()
}

#[test]
fn a_process_that_was_looked_at_has_it_in_every_output() {
    let folder = folder_with("profiled");
    let output = folder.run("report rec --profile loops --pprof pprof --firefox firefox --html page.html --json json");
    assert_ends(&output, 0, &[]);
    assert!(stdout(&output).contains("  loops' time: 59.8 % parked, "), "{}", stdout(&output));
    assert_eq!(stdout(&output).lines().filter(|line| line.contains("loops' time")).count(), 1);
    assert!(stdout(&output).lines().count() <= 15, "{}", stdout(&output));
    let folded = String::from_utf8(folder.read("loops")).expect("text");
    let recording: serde_json::Value = serde_json::from_slice(&folder.read("json")).expect("JSON");
    let profile = &recording["runs"][0]["profile"];
    let number = |key: &str| profile[key].as_u64().expect("a number");
    let all_ms = number("looks") * number("period_ns") / 1_000_000;
    // Each line is rounded up.
    let lines = folded.lines().count() as u64;
    assert!((all_ms..=all_ms + lines).contains(&sum(&folded)), "{} of {all_ms}", sum(&folded));
    assert_eq!(stdout(&folder.run("report rec --format profile")), folded);
    assert_eq!(stdout(&folder.run("report page.html --format profile")), folded);
    assert!(String::from_utf8(folder.read("firefox")).expect("text").contains("wall-clock profile (no times)"));
    let full = stdout(&folder.run("report rec --full"));
    assert!(full.contains("Where the loops' time went\n"), "{full}");
}

/// By pprof's own reader, where there is one.
#[test]
fn go_reads_the_time_of_loops() {
    let folder = folder_with("profiled");
    assert_ends(&folder.run("report rec --pprof pprof"), 0, &[]);
    let go = Command::new("go")
        .args(["tool", "pprof", "-sample_index=wall", "-unit=ms", "-top", "pprof"])
        .current_dir(folder.path(""))
        .output();
    let Ok(go) = go else { return };
    let top = stdout(&go);
    assert!(go.status.success() && top.contains("Type: wall"), "{top}{}", stderr(&go));
    // It has no name for a stack's part but its function.
    assert!(top.contains(" parked") && top.contains("openat"), "{top}");
}

#[test]
fn a_recording_without_it_is_told_what_has_one() {
    let folder = folder_with("process");
    let says = ["cannot write a `profile` of the loops' time: what was recorded has none; `pollscope record PID`"];
    let output = folder.run("report rec --profile loops --folded folded");
    assert_ends(&output, 2, &says);
    assert!(!folder.path("loops").exists() && folder.path("folded").exists(), "the others are written");
    let output = folder.run("report rec --format profile");
    assert_ends(&output, 2, &says);
    assert_eq!(stdout(&output), "");
    for command in ["run slow-sink", "merge rec -o out"] {
        let output = folder.run(&format!("{command} --profile loops"));
        assert_ends(&output, 2, &["has none; `pollscope record PID`"]);
    }
    assert!(!folder.path("out").exists(), "it is refused before anything is merged");
}

#[test]
fn a_hidden_path_is_in_none_of_them() {
    let folder = folder_with("profiled");
    let output = folder
        .run("report rec --redact --full --profile loops --pprof pprof --firefox firefox --html page.html --json json");
    assert_ends(&output, 0, &[]);
    let mut pprof = Vec::new();
    GzDecoder::new(&*folder.read("pprof")).read_to_end(&mut pprof).expect("gzip");
    let files = ["loops", "firefox", "page.html", "json"].map(|name| folder.read(name));
    for (index, bytes) in files.iter().chain([&pprof, &output.stdout]).enumerate() {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains("/etc/inventory") && !text.contains("/var/lib"), "{index}: {text}");
    }
    assert!(String::from_utf8_lossy(&files[3]).contains(r#"openat(\"<path>\")"#));
}
