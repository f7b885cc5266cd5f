//! `--fail-on` and `--strict`: the same gates end `run`, `report` and `compare` alike.

use crate::support::{Folder, assert_ends, stdout};

const SHORT: &str =
    "run slow-coroutine --set block.duration=20ms --set block.run_for=60ms --slow 10ms --rounds 1 --quiet";

/// The recordings `a` and `b`, in whose naive mode one poll was slow.
fn saved() -> Folder {
    let folder = Folder::new();
    for name in ["a", "b"] {
        assert_ends(&folder.run(&format!("{SHORT} --json {name}")), 0, &[]);
    }
    folder
}

#[test]
fn a_gate_passes_fails_or_is_inconclusive_wherever_it_is_judged() {
    let folder = saved();
    for command in [SHORT, "report a", "compare a", "compare a b", "compare a b --mode naive,offloaded"] {
        for (gates, code, sign) in [
            ("--fail-on naive.slow_polls>=1", 0, "✓"),
            ("--fail-on naive.slow_polls>=1 --strict", 0, "✓"),
            ("--fail-on naive.slow_polls==0", 99, "✗"),
            // Nothing was merged; and the slowest hundredth of a handful of values may be anything.
            ("--fail-on merge.lines==1", 0, "~"),
            ("--fail-on merge.lines==1 --strict", 97, "~"),
            ("--fail-on lag.p99>1h --strict", 97, "~"),
        ] {
            if command == SHORT && gates.contains("merge.lines") {
                // That shows before anything runs.
                assert_ends(&folder.run(&format!("{command} {gates}")), 2, &["`merge.lines` cannot be known here"]);
                continue;
            }
            // A comparison lists all gates; the answer, those that do not hold.
            let full = if command.starts_with("compare") { "" } else { " --full" };
            let output = folder.run(&format!("{command}{full} {gates}"));
            assert_ends(&output, code, &[]);
            let gate = gates.split(' ').nth(1).expect("a gate");
            assert!(stdout(&output).contains(&format!("\n{sign} {gate} ")), "{command} {gates}:\n{}", stdout(&output));
        }
        // A failed one decides, whatever else there is.
        let both = folder.run(&format!("{command} --strict --fail-on lag.p99>1h --fail-on naive.slow_polls==0"));
        assert_ends(&both, 99, &[]);
    }
}

#[test]
fn what_is_no_gate_is_shown_with_its_place() {
    let folder = saved();
    for command in [SHORT, "report a", "compare a b"] {
        let output = folder.run(&format!("{command} --fail-on lag.p98<1s"));
        assert_ends(&output, 2, &["`p98` is no statistic of `lag`", "\n  lag.p98<1s\n      ^^^"]);
        assert_eq!(stdout(&output), "", "{command}");
    }
}

/// Neither can ever fail, whatever happens.
#[test]
fn a_gate_on_what_is_not_run_or_cannot_be_known_is_refused_before_anything_runs() {
    let folder = Folder::new();
    folder.write("a", "a1\n");
    let no_witness = "run slow-sink --set witness.lag=off --set witness.response=off";
    for (command, gate, says) in [
        ("run slow-sink --mode naive", "offloaded.lag.p99<1h", "there is no group `offloaded`; write one of `naive`"),
        ("run slow-sink --mode naive", "naive.lag.p99<2*offloaded.lag.p99", "there is no group `offloaded`"),
        ("run slow-coroutine slow-sink --mode naive", "tokio-fs.slow_polls==0", "there is no group `tokio-fs`"),
        ("merge a -o out", "naive.slow_polls==0", "there is no group `naive`; write one of `offloaded`"),
        (SHORT, "merge.verdict==ok", "`merge.verdict` cannot be known here: nothing is merged"),
        (SHORT, "throughput>0", "`throughput` cannot be known here: nothing is merged"),
        (SHORT, "naive.write_latency.p99<1h", "`write_latency.p99` cannot be known here"),
        ("merge a -o out", "write_latency.max<1h", "`write_latency.max` cannot be known here"),
        (no_witness, "lag.p99<1h", "`lag.p99` cannot be known here: no timer is on the loop"),
        (no_witness, "polls.max<2*lag_raw.max", "`lag_raw.max` cannot be known here"),
        (no_witness, "response_time.max<1h", "`response_time.max` cannot be known here: no server"),
    ] {
        let output = folder.run(&format!("{command} --fail-on {gate}"));
        assert_ends(&output, 2, &["error: cannot read the gate `", says, "^"]);
        assert_eq!((stdout(&output).as_str(), folder.names().join(" ").as_str()), ("", "a"), "{command} {gate}");
    }
}

#[test]
fn a_gate_on_a_group_that_a_recording_lacks_is_refused() {
    let folder = Folder::new();
    assert_ends(&folder.run(&format!("{SHORT} --mode naive --json a")), 0, &[]);
    for command in ["report a", "report a --strict", "compare a a"] {
        // Another mode of the lab, and a word that is none.
        for group in ["offloaded", "naiv"] {
            let output = folder.run(&format!("{command} --fail-on {group}.slow_polls==0"));
            assert_ends(&output, 2, &["error: cannot read the gate `", &format!("there is no group `{group}`; ")]);
            assert_eq!(stdout(&output), "", "{command}");
        }
    }
}

#[test]
fn of_two_recordings_the_second_is_judged() {
    let folder = saved();
    // What a machine does at the same time is nobody's business here: the second has no slow polls, says its file.
    let mut json: serde_json::Value = serde_json::from_slice(&folder.read("b")).expect("JSON");
    for run in json["runs"].as_array_mut().expect("a list") {
        (run["slow_polls_total"], run["slow_polls"]) = (0.into(), serde_json::json!([]));
        run["sites"].as_array_mut().expect("a list").iter_mut().for_each(|site| site["slow"] = 0.into());
    }
    folder.write("none", json.to_string());
    let gate = "--fail-on slow_polls==0";
    assert_ends(&folder.run(&format!("compare a none {gate}")), 0, &[]);
    assert_ends(&folder.run(&format!("compare none a {gate}")), 99, &[]);
    assert_ends(&folder.run(&format!("compare a {gate}")), 99, &[]);
}

#[test]
fn they_come_first_in_every_format_of_a_comparison() {
    let folder = saved();
    let run =
        |format: &str| stdout(&folder.run(&format!("compare a b --format {format} --fail-on naive.slow_polls==0")));
    let comes_first = |page: &str, gate: &str, table: &str| {
        page.find(gate).zip(page.find(table)).is_some_and(|(gate, table)| gate < table)
    };
    let text = run("text");
    assert!(comes_first(&text, "\n✗ naive.slow_polls==0 ", "\nmetric "), "{text}");
    let markdown = run("markdown");
    assert!(comes_first(&markdown, "\n- ✗ naive.slow\\_polls==0: **", "\n| metric "), "{markdown}");
    let json: serde_json::Value = serde_json::from_str(&run("json")).expect("JSON");
    let gate = &json["gates"][0];
    assert_eq!((&gate["expr"], &gate["verdict"]), (&"naive.slow_polls==0".into(), &"fail".into()));
    assert!(gate["value"].as_f64() >= Some(1.0), "{gate}");
}

#[test]
fn a_comparison_to_be_shown_to_others_has_no_paths() {
    let folder = saved();
    std::fs::create_dir(folder.path("secret")).expect("a folder");
    let json = folder.read("a");
    folder.write("secret/a", &json);
    folder.write("secret/torn", &json[..json.len() - 200]);
    for format in ["text", "json", "markdown"] {
        let line = format!("compare secret/a secret/torn --format {format}");
        for (line, is_hidden) in [(line.clone(), false), (format!("{line} --redact"), true)] {
            let output = folder.run(&line);
            assert_ends(&output, 0, &["ends early"]);
            let shown = stdout(&output) + &crate::support::stderr(&output);
            assert_eq!(shown.matches("secret").count(), if is_hidden { 0 } else { 3 }, "{shown}");
            assert!(!is_hidden || shown.contains("path"), "{shown}");
        }
    }
    let output = folder.run("compare secret/a secret/missing --redact");
    assert_ends(&output, 1, &["cannot read recording `<path>`: No such file"]);
}
