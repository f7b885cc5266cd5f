//! What CI systems read: annotations, a step's summary, JUnit's XML, Markdown.

use std::process::Output;

use pollscope_probe::CAPTURE;

use crate::support::{Folder, assert_ends, run, stdout};

/// A run that blocked at a line, saved. On a busy machine a poll of 20 ms can be over before anything looks at it.
fn saved() -> Folder {
    let set = "--set block.duration=20ms --set block.run_for=60ms --slow 10ms";
    for _ in 0..20 {
        let folder = Folder::new();
        assert_ends(&folder.run(&format!("run slow-coroutine --quiet {set} --json json")), 0, &[]);
        let json = String::from_utf8(folder.read("json")).unwrap();
        if !CAPTURE || json.contains("\"line\": \"crates/lab/") {
            return folder;
        }
    }
    panic!("in twenty runs no line was seen");
}

/// `pollscope report` with these arguments, in a step whose summary is the file `summary`.
fn in_a_step(folder: &Folder, line: &str) -> Output {
    let mut command = folder.command(line.split_whitespace());
    run(command.env("GITHUB_STEP_SUMMARY", folder.path("summary")))
}

#[test]
fn annotations_name_the_failed_gate_and_what_blocks() {
    let folder = saved();
    let output = folder.run("report json --format github --fail-on slow_polls==0");
    assert_ends(&output, 99, &[]);
    let text = stdout(&output);
    assert!(text.starts_with("::error title=pollscope%3A a gate failed::slow_polls==0 does not hold"), "{text}");
    assert!(text.contains("\n::warning "), "{text}");
    assert!(text.lines().all(|line| line.starts_with("::")), "{text}");
}

#[test]
fn a_step_s_summary_is_added_to_with_annotations_and_only_then() {
    let folder = saved();
    folder.write("summary", "before");
    in_a_step(&folder, "report json");
    assert_eq!(folder.read("summary"), b"before");
    for times in 1..=2 {
        assert_ends(&in_a_step(&folder, "report json --format github"), 0, &[]);
        let text = String::from_utf8(folder.read("summary")).unwrap();
        assert!(text.starts_with("before\n## pollscope slow-coroutine\n"), "{text}");
        assert_eq!(text.matches("\n## pollscope").count(), times, "{text}");
    }
}

#[test]
fn a_summary_that_cannot_be_written_is_an_error_after_the_annotations() {
    let folder = saved();
    let mut command = folder.command(["report", "json", "--format", "github"]);
    let output = run(command.env("GITHUB_STEP_SUMMARY", folder.path("none/summary")));
    assert_ends(&output, 110, &["error: cannot write report `", "make its folder first"]);
    assert!(stdout(&output).starts_with("::warning "));
}

#[test]
fn files_beside_the_report_are_what_the_formats_print() {
    let folder = saved();
    let report = stdout(&folder.run("report json"));
    let gate = "--fail-on slow_polls==0";
    let output = folder.run(&format!("report json --junit xml --markdown md {gate}"));
    assert_ends(&output, 99, &[]);
    assert!(stdout(&output).starts_with(&report[..100]));
    for (file, format) in [("xml", "junit"), ("md", "markdown")] {
        let printed = folder.run(&format!("report json --format {format} {gate}"));
        assert_eq!(printed.stdout, folder.read(file), "{format}");
    }
    let xml = String::from_utf8(folder.read("xml")).unwrap();
    let document = roxmltree::Document::parse(&xml).expect("valid XML");
    assert_eq!(document.root_element().attribute("failures"), Some("1"));
}

#[test]
fn no_path_gets_into_them_when_they_are_to_be_hidden() {
    let folder = saved();
    let json = String::from_utf8(folder.read("json")).unwrap();
    folder.write("json", json.replace("crates/lab/src/blocking_tasks.rs", "/secret/place/blocks.rs"));
    assert!(stdout(&folder.run("report json --format markdown")).contains("/secret/place/blocks.rs"));
    for format in ["github", "junit", "markdown"] {
        let text = stdout(&folder.run(&format!("report json --redact --format {format}")));
        assert!(!text.is_empty() && !text.contains("/secret"), "{format}: {text}");
    }
}
