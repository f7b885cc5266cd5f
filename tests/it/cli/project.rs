//! What a project says in `pollscope.toml`, and pages that are shown in a browser.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::support::{Folder, assert_ends, run, stderr, stdout};

/// A folder with inputs in a project that says `config`; commands run in a folder below.
fn project(config: &str) -> Folder {
    let folder = Folder::new();
    folder.write("pollscope.toml", config);
    folder.write("a", "a1\na2\n");
    folder
}

fn threshold(folder: &Folder, name: &str) -> serde_json::Value {
    let recording: serde_json::Value = serde_json::from_slice(&folder.read(name)).expect("JSON");
    recording["runs"][0]["slow_poll_threshold_ns"].clone()
}

#[test]
fn its_gates_and_threshold_count_unless_the_command_line_says_otherwise() {
    let folder = project("slow = \"7ms\"\nfail_on = [\"merge.lines == 1\"]\n");
    let output = folder.run("merge a -o one --json json");
    assert_ends(&output, 99, &["pollscope.toml` counts as well; `--no-config` leaves it out"]);
    assert!(stdout(&output).contains("gate failed: merge.lines == 1"), "{}", stdout(&output));
    assert_eq!(threshold(&folder, "json"), 7_000_000);
    assert_ends(&folder.run("report json --no-config"), 99, &[]);

    let output = folder.run("merge a -o two --json other --no-config");
    assert_ends(&output, 0, &[]);
    assert!(!stderr(&output).contains("counts as well"), "{}", stderr(&output));
    assert_eq!(threshold(&folder, "other"), 100_000_000);
    assert_ends(&folder.run("report other"), 99, &["counts as well"]);
    assert!(!stderr(&folder.run("report other --quiet")).contains("counts"), "what is not asked for is not said");

    assert_ends(&folder.run("merge a -o three --json third --slow 9ms"), 99, &[]);
    assert_eq!(threshold(&folder, "third"), 9_000_000, "the command line comes first");
}

#[test]
fn one_above_the_working_folder_counts() {
    let folder = project("fail_on = [\"merge.lines == 1\"]\n");
    fs::create_dir_all(folder.path("src/deep")).expect("made");
    let mut command = folder.command(["merge", "../../a", "-o", "one"]);
    assert_ends(&run(command.current_dir(folder.path("src/deep"))), 99, &["counts as well"]);
    folder.write("src/pollscope.toml", "");
    let mut command = folder.command(["merge", "../../a", "-o", "two"]);
    let output = run(command.current_dir(folder.path("src/deep")));
    assert_ends(&output, 0, &[]);
    assert!(!stderr(&output).contains("counts"), "the nearest one alone counts, and says nothing");
}

#[test]
fn what_is_wrong_in_it_is_shown_where_it_is_read_and_only_there() {
    let folder = project("fail_on = [\n  \"lag < 10ms\",\n]\n");
    let output = folder.run("merge a -o out");
    assert_ends(
        &output,
        2,
        &["cannot use `", "pollscope.toml:2:3", "2 |   \"lag < 10ms\",", "^^^^^^^^^^^^", "`--no-config`"],
    );
    assert!(!folder.path("out").exists());
    for line in ["explain PS001", "scenarios", "schema", "merge a -o out --no-config"] {
        assert_ends(&folder.run(line), 0, &[]);
    }
}

#[test]
fn an_interval_log_has_no_gates_to_judge() {
    let folder = project("fail_on = [\"lag.p99 < 10s\"]\n");
    assert_ends(&folder.run("merge a -o out --hlog log"), 0, &[]);
    assert_ends(&folder.run("report log"), 0, &[]);
    assert_ends(&folder.run("report log --fail-on lag.p99<10s"), 2, &["cannot give `--fail-on` for interval log"]);
}

/// Two lines of code, and a link to where they are, are more than the place that a redacted report has.
#[test]
fn a_redacted_answer_has_no_code() {
    let folder = Folder::new();
    folder.write("saved.json", include_bytes!("../../../crates/record/tests/fixtures/schema-2/service.json"));
    fs::create_dir(folder.path("src")).expect("made");
    let code = (1..=200).map(|line| format!("let here = {line};\n")).collect::<String>();
    let source = File::create(folder.write("src/audit.rs", "")).expect("made");
    (&source).write_all(code.as_bytes()).expect("written");
    // Of before the run.
    source.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).expect("set");
    let shown = stdout(&folder.run("report saved.json"));
    assert!(shown.contains("31 │ let here = 31;"), "{shown}");
    let redacted = stdout(&folder.run("report saved.json --redact"));
    assert!(redacted.contains("src/audit.rs:31") && !redacted.contains("let here"), "{redacted}");
}

/// One line on stdout, and why it ends so on stderr.
#[test]
fn a_quiet_report_says_which_gate_failed() {
    let folder = Folder::new();
    folder.write("a", "a1\n");
    let output = folder.run("merge a -o out -q --fail-on merge.lines==7 --fail-on merge.lines==1");
    assert_ends(&output, 99, &["error: gate failed: merge.lines==7"]);
    assert_eq!((stdout(&output).lines().count(), stderr(&output).lines().count()), (1, 1), "{output:?}");
}

/// A folder with a program that desktops open files with, which writes down what it is to open.
fn desktop(folder: &Folder) -> String {
    let opened = folder.path("opened");
    let program = folder.write("bin/xdg-open", format!("#!/bin/sh\nprintf %s \"$1\" > '{}'\n", opened.display()));
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).expect("set");
    format!("{}:{}", folder.path("bin").display(), std::env::var("PATH").expect("a path"))
}

#[test]
fn a_page_is_opened() {
    let folder = Folder::new();
    folder.write("a", "a1\n");
    fs::create_dir(folder.path("bin")).expect("made");
    let path = desktop(&folder);
    let opened = |line: &str, says: &[&str]| {
        let mut command = folder.command(line.split(' '));
        let output = run(command.env("PATH", &path).env("XDG_STATE_HOME", folder.path("state")));
        assert_ends(&output, 0, says);
        crate::support::wait_until("the desktop", || {
            fs::read(folder.path("opened")).is_ok_and(|text| !text.is_empty())
        });
        let page = String::from_utf8(folder.read("opened")).expect("text");
        fs::remove_file(folder.path("opened")).expect("removed");
        assert!(
            fs::read_to_string(folder.path(&page)).expect("a page").to_lowercase().starts_with("<!doctype html>"),
            "{page}"
        );
        page
    };
    assert_eq!(opened("merge a -o one --html page.html --open", &["the page is `page.html`"]), "page.html");
    let kept = opened("merge a -o two --open", &["the page is `"]);
    assert_eq!(Path::new(&kept), folder.path("state/pollscope/page.html"));
    assert_eq!(opened("report last --open", &[]), kept, "the last one replaces the one before");
}

#[test]
fn where_there_is_no_browser_the_page_is_there_all_the_same() {
    let folder = Folder::new();
    folder.write("a", "a1\n");
    let mut command = folder.command(["merge", "a", "-o", "out", "--html", "page.html", "--open"]);
    let output = run(command.env("PATH", folder.path("nowhere")));
    assert_ends(&output, 0, &["warning: cannot open a browser: ", "the page is `page.html`, open it with one"]);
    assert!(folder.path("page.html").exists());
    assert_ends(&folder.run("run merge slow-sink --open"), 2, &["a page", "one at a time"]);
}
