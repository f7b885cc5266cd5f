//! `pollscope compare`: recordings of the same question, of others, and the modes of one.

use std::fs;

use crate::support::{Folder, assert_ends, stdout};

const SHORT: &str = "--set block.duration=20ms --set block.run_for=60ms --slow 10ms --quiet";

fn save(folder: &Folder, name: &str, more: &str) {
    assert_ends(&folder.run(&format!("run slow-coroutine {SHORT} {more} --json {name}")), 0, &[]);
}

#[test]
fn two_recordings_are_compared_mode_by_mode() {
    let folder = Folder::new();
    save(&folder, "a", "--rounds 3 --warmup 0");
    save(&folder, "b", "--rounds 3 --warmup 0");
    let output = folder.run("compare a b");
    assert_ends(&output, 0, &[]);
    let page = stdout(&output);
    for text in ["pollscope compare slow-coroutine", "A: a", "naive 3 rounds, not interleaved", "offloaded 3 rounds"] {
        assert!(page.contains(text), "no `{text}` in:\n{page}");
    }
    let json: serde_json::Value =
        serde_json::from_slice(&folder.run("compare a b --format json").stdout).expect("JSON");
    assert_eq!(
        (&json["schema"], &json["comparisons"][1]["mode"]),
        (&"pollscope.comparison/1".into(), &"offloaded".into())
    );
    assert!(
        stdout(&folder.run("compare a b --mode naive,offloaded --format markdown"))
            .contains("| A naive | B offloaded |")
    );
    // The modes of one recording, whose rounds are interleaved.
    let page = stdout(&folder.run("compare a"));
    assert!(page.contains("3 rounds, interleaved") && page.contains("offloaded"), "{page}");
}

#[test]
fn other_questions_are_refused_with_the_reason() {
    let folder = Folder::new();
    save(&folder, "a", "--mode naive");
    save(&folder, "slower", "--mode naive --set block.duration=30ms");
    save(&folder, "other", "--mode offloaded");
    for (line, says) in [
        ("compare a slower", &["cannot compare `a` with `slower`: ", "`block.duration` is `20ms` and `30ms`"][..]),
        ("compare a other", &["the first has the modes `naive`, the second `offloaded`", "`--mode A,B`"]),
        ("compare a a --mode naive,offloaded", &["`a` has no mode `offloaded`, but `naive`"]),
        ("compare a", &["cannot compare the modes of `a`: it has only the mode `naive`"]),
        ("compare a missing", &["cannot read recording `missing`: No such file"]),
    ] {
        let output = folder.run(line);
        assert_ends(&output, 1, says);
        assert_eq!(stdout(&output), "", "{line}");
    }
    let page = stdout(&folder.run("compare a a"));
    let words = page.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains("run both again with `pollscope run --rounds 10`"),
        "one round is too few, and the remedy is named: {page}"
    );
}

#[test]
fn a_baseline_is_kept_and_compared_with() {
    let folder = Folder::new();
    let run = |more: &str| folder.run(&format!("run slow-coroutine {SHORT} --mode naive --rounds 3 --warmup 0 {more}"));
    assert_ends(&run("--baseline main"), 1, &["cannot find baseline `main`", "`--save-baseline main`"]);
    assert_ends(&run("--save-baseline main"), 0, &[]);
    assert!(folder.path(".pollscope/main.json").is_file());
    // What the machine does meanwhile is nobody's business here: the saved recording is changed to be far better, or worse.
    let edited = |change: fn(u64) -> u64| {
        let mut json: serde_json::Value = serde_json::from_slice(&folder.read(".pollscope/main.json")).expect("JSON");
        for run in json["runs"].as_array_mut().expect("a list") {
            run["elapsed_ns"] = change(run["elapsed_ns"].as_u64().expect("a number")).into();
            for name in ["lag", "lag_raw", "response_time", "schedule_latency", "write_latency"] {
                run[name] = serde_json::Value::Null;
            }
        }
        fs::write(folder.path(".pollscope/edited.json"), json.to_string()).expect("written");
    };
    edited(|ns| ns / 1_000);
    let output = run("--baseline edited");
    assert_ends(&output, 98, &["regression: naive: this run is worse than baseline: ", "elapsed"]);
    assert!(stdout(&output).contains("\npollscope compare slow-coroutine\nbaseline: .pollscope/edited.json\n"));
    edited(|ns| ns * 1_000);
    let output = run("--baseline edited --json -");
    // The share of a longer time is smaller.
    assert!(!stdout(&output).contains("pollscope compare"), "stdout is the recording's");
    let other = folder.run(&format!("run slow-coroutine {SHORT} --set block.tasks=2 --baseline main"));
    assert_ends(&other, 1, &["cannot compare `.pollscope/main.json`", "`block.tasks` is `1` and `2`"]);
    assert_ends(&run("--baseline ../main"), 2, &["write 1 to 64 letters"]);
    assert_ends(&run("--baseline a --save-baseline b"), 2, &["cannot be used with"]);
}
