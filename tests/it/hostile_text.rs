//! Text from outside that is made to do harm where it is shown: whatever says it, by a report or by an error, no byte that moves a
//! cursor reaches stdout or stderr, no text in reverse, no line of its own, and no command to the CI whose log they may be.

use std::fs;
use std::process::Output;

use pollscope::escape::is_unsafe;
use serde_json::Value;

use crate::support::{Folder, root, run, stderr, stdout};

/// What each part of is obeyed by something: a line of its own, a command to GitHub's runner there and within a line, colours, a
/// clearing of the screen by C1, text in reverse, what cannot be seen, a title for the terminal.
const HOSTILE: &str =
    "x\n::error::own\r##[error]own ##vso[own]\u{1b}[31m\u{9b}2J\u{202e}\u{200b}\u{2028}\u{1b}]0;own\u{7}y";

/// That of a line a CI makes nothing, and a terminal nothing but its characters. What this program says itself to GitHub begins at
/// the line's start, and `own` stands behind its second `::`.
#[track_caller]
fn assert_harmless(what: &str, text: &str) {
    for line in text.split('\n') {
        assert!(!line.contains(is_unsafe), "{what}: {line:?}");
        assert!(!["##[", "##vso["].iter().any(|command| line.contains(command)), "{what}: {line:?}");
        assert!(!line.trim_start().starts_with("::error::own"), "{what}: {line:?}");
    }
}

#[track_caller]
fn check(what: &str, output: &Output) -> String {
    let (said, shown) = (stderr(output), stdout(output));
    assert!(!said.contains("panicked"), "{what}: {said}");
    assert_harmless(what, &said);
    assert_harmless(what, &shown);
    said
}

/// How the program refuses: it is asked for this, says something, and ends with that code.
#[track_caller]
fn refused(folder: &Folder, args: &[&str], code: i32) {
    let output = run(&mut folder.command(args));
    let said = check(&args.join(" "), &output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert!(said.starts_with("error: "), "{args:?}: {said}");
}

fn recording() -> Value {
    let text = fs::read_to_string(root().join("fuzz/seeds/recording/schema-2")).expect("it is there");
    serde_json::from_str(&text).expect("JSON")
}

/// The places of all values that are neither lists nor objects, as JSON pointers.
fn leaves(of: &Value, at: &str, into: &mut Vec<String>) {
    match of {
        Value::Object(map) => map.iter().for_each(|(key, value)| leaves(value, &format!("{at}/{key}"), into)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, value)| leaves(value, &format!("{at}/{index}"), into))
        }
        _ => into.push(at.to_owned()),
    }
}

#[test]
fn a_recording_with_it_in_the_place_of_any_value() {
    let folder = Folder::new();
    let mut all = Vec::new();
    leaves(&recording(), "", &mut all);
    assert!(all.len() > 80, "{all:?}");
    let (mut refused, mut shown) = (0, 0);
    for at in &all {
        let mut changed = recording();
        *changed.pointer_mut(at).expect("it is there") = HOSTILE.into();
        folder.write("file", changed.to_string());
        let output = folder.run("report file");
        let said = check(at, &output);
        match output.status.code() {
            Some(0) => shown += 1,
            Some(1) => {
                refused += 1;
                assert!(said.starts_with("error: cannot read recording `file`: "), "{at}: {said}");
                assert_eq!(said.lines().count(), 1, "{at}: {said}");
            }
            code => panic!("{at}: {code:?}: {said}"),
        }
    }
    assert!(refused > 40 && shown > 20, "{refused} refused, {shown} shown");
}

#[test]
fn a_recording_with_it_in_the_place_of_a_key() {
    let folder = Folder::new();
    let text = recording().to_string();
    let odd = Value::from(HOSTILE).to_string();
    for key in
        ["schema", "environment", "runs", "group", "subject", "kind", "polls", "places", "syscall", "code", "expr"]
    {
        folder.write("file", text.replacen(&format!("\"{key}\":"), &format!("{odd}:"), 1));
        check(key, &folder.run("report file"));
    }
    // One key twice, and one that the format does not have; neither is a recording.
    for file in [format!("{{{odd}:1,{odd}:1}}"), format!("{{\"schema\":{odd},\"schema\":1}}"), HOSTILE.to_owned()] {
        folder.write("file", file);
        refused(&folder, &["report", "file"], 1);
    }
}

/// In all texts at once that a recording can have, in every format, to stdout; and what is said of a comparison of two.
#[test]
fn a_recording_full_of_it_in_every_format() {
    let folder = Folder::new();
    let mut full = recording();
    for at in [
        "/environment/pollscope",
        "/environment/kernel",
        "/environment/command/0",
        "/scenario/name",
        "/scenario/why",
        "/scenario/settings/runtime.workers",
        "/runs/0/group",
        "/runs/0/subject/mode",
        "/runs/0/coverage/sees/0",
        "/runs/0/slow_polls/0/task_name",
        "/runs/0/slow_polls/0/spawned_at",
        "/runs/0/slow_polls/0/cause",
        "/runs/0/slow_polls/0/places/0/line",
        "/runs/0/slow_polls/0/places/0/function",
        "/runs/0/slow_polls/0/places/0/syscall/text",
        "/runs/0/slow_polls/0/places/0/syscall/path",
        "/runs/0/stacks/1/0/function",
        "/runs/0/sites/0/spawned_at",
        "/runs/0/sites/0/task_name",
        "/findings/0/code",
        "/findings/0/group",
        "/findings/0/sentence",
        "/findings/0/advice",
        "/findings/0/at",
        "/gates/0/expr",
    ] {
        *full.pointer_mut(at).unwrap_or_else(|| panic!("{at}")) = HOSTILE.into();
    }
    full["runs"][0]["errors"] = serde_json::json!([HOSTILE]);
    // At the very start of a name, where a line may begin with it.
    let starts = full.to_string().replace("\"x\\n::error", "\"::error");
    for (name, text) in [("full", full.to_string()), ("starts", starts)] {
        folder.write(name, text);
        for format in [
            "text", "json", "html", "folded", "hlog", "hgrm", "trace", "firefox", "github", "junit", "markdown",
            "agent",
        ] {
            let output = folder.run(&format!("report {name} --format {format}"));
            assert!(!output.stdout.is_empty(), "{format}: {}", stderr(&output));
            check(format, &output);
        }
        for format in ["text", "json", "markdown"] {
            check("compare", &folder.run(&format!("compare {name} {name} --format {format}")));
        }
        check("compare", &folder.run(&format!("compare {name}")));
        check("gate", &folder.run(&format!("report {name} --fail-on naiv.slow_polls==0")));
    }
    // JSON says what it said before.
    let back: Value = serde_json::from_str(&stdout(&folder.run("report full --format json"))).expect("JSON");
    assert_eq!(back["runs"][0]["group"], HOSTILE);
}

/// In all texts of where the loops' time went.
#[test]
fn a_wall_clock_profile_full_of_it() {
    let folder = Folder::new();
    let saved = root().join("crates/record/tests/fixtures/schema-2/profiled.json");
    let mut full: Value = serde_json::from_str(&fs::read_to_string(saved).expect("it is there")).expect("JSON");
    let mut all = Vec::new();
    leaves(&full["runs"][0]["profile"], "/runs/0/profile", &mut all);
    all.retain(|at| !at.ends_with("/state") && full.pointer(at).is_some_and(Value::is_string));
    assert!(all.len() > 40, "{all:?}");
    all.iter().for_each(|at| *full.pointer_mut(at).expect("it is there") = HOSTILE.into());
    let starts = full.to_string().replace("\"x\\n::error", "\"::error");
    for (name, text) in [("full", full.to_string()), ("starts", starts)] {
        folder.write(name, text);
        for format in ["text --full", "json", "html", "profile", "firefox", "markdown", "agent"] {
            let output = folder.run(&format!("report {name} --format {format}"));
            assert_eq!(output.status.code(), Some(0), "{format}: {}", stderr(&output));
            check(format, &output);
        }
    }
}

#[test]
fn interval_logs() {
    let folder = Folder::new();
    let tag = HOSTILE.replace(['\n', ','], " ");
    let log = stdout(&run(&mut folder.command([
        "report".into(),
        root().join("fuzz/seeds/recording/schema-2"),
        "--format=hlog".into(),
    ])));
    let blob = log.trim_end().rsplit(',').next().expect("a histogram").to_owned();
    folder.write("log", format!("#[{tag}]\nTag={tag},0.1,1.0,2.0,{blob}\nTag=::error::own,0.1,1.0,2.0,{blob}\n"));
    for format in ["text", "json", "hgrm"] {
        let output = folder.run(&format!("report log --format {format}"));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        check(format, &output);
    }
    for line in [
        format!("{tag},1,1,{blob}"),
        format!("1,1,1,{tag}"),
        format!("Tag={tag}"),
        format!("Tag={tag},{tag},1,1,{blob}"),
    ] {
        folder.write("log", format!("#\n{line}\n#\n"));
        refused(&folder, &["report", "log"], 1);
    }
}

/// Whatever was typed, and wherever.
#[test]
fn arguments() {
    let folder = Folder::new();
    folder.write("a", "a1\n");
    let set = format!("{HOSTILE}=1");
    let value = format!("merge.inputs={HOSTILE}");
    let gate = format!("\"{HOSTILE}\".slow_polls == 0");
    let option = format!("--{HOSTILE}");
    let given = format!("--quiet={HOSTILE}");
    let dashed = format!("-{HOSTILE}");
    for args in [
        &[HOSTILE][..],
        &[&option],
        &["run", &option],
        &["run", &dashed],
        &["run", &given],
        &["explain", HOSTILE],
        &["explain", "lock", HOSTILE],
        &["man", HOSTILE],
        &["completions", HOSTILE],
        &["run", HOSTILE],
        &["run", "--color", HOSTILE],
        &["run", "--mode", HOSTILE],
        &["run", "--rounds", HOSTILE],
        &["run", "--slow", HOSTILE],
        &["run", "--format", HOSTILE],
        &["run", "--grace", HOSTILE],
        &["run", "--prometheus", HOSTILE],
        &["run", "--baseline", HOSTILE],
        &["run", "--set", HOSTILE],
        &["run", "--set", &set],
        &["run", "--set", &value],
        &["run", "--fail-on", HOSTILE],
        &["run", "--fail-on", &gate],
        &["merge", "a", "-o", "out", "--batch", HOSTILE],
        &["merge", "a", "-o", "out", "--max-line", HOSTILE],
        &["merge", "a", "-o", "out", "--watch", HOSTILE],
        &["compare", "a", "b", "c", HOSTILE],
    ] {
        refused(&folder, args, 2);
        // With colours, which are the program's own.
        let output = run(folder.command(args).env("CLICOLOR_FORCE", "1"));
        let uncoloured = uncoloured(&stderr(&output));
        assert_harmless(&args.join(" "), &uncoloured);
    }
    assert!(folder.names() == ["a"], "{:?}", folder.names());
}

/// Without the colours of usage errors.
fn uncoloured(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| {
        let end = part.find(|c: char| !(c.is_ascii_digit() || c == ';')).expect("an end");
        assert!(part[end..].starts_with('m'), "no colour: {part:?}");
        out + &part[end + 1..]
    })
}

/// Names of files that there are, and of some that there are not.
#[test]
fn paths() {
    let folder = Folder::new();
    folder.write("a", "a1\n");
    let file = HOSTILE.replace('/', "_");
    let toml = format!("./{file}.toml");
    let missing = format!("none/{file}");
    folder.write(&file, "not JSON");
    folder.write(format!("{file}.toml"), "modes = 3\n");
    for (args, code) in [
        (&["report", &file][..], 1),
        (&["report", &missing], 1),
        (&["compare", &file, "a"], 1),
        (&["compare", "a", &file], 1),
        (&["run", &toml], 2),
        (&["run", &format!("./none/{file}.toml")], 2),
        (&["merge", &missing, "-o", "out"], 1),
        (&["merge", "a", "-o", &missing], 1),
        (&["merge", &file, &file, "-o", "out"], 1),
        (&["merge", "a", "-o", "out", "--json", &missing], 110),
        (&["merge", &file, "-o", "out", "--json", &file], 1),
        (&["confirm", &missing, "-o", "a"], 1),
        (&["confirm", "a", "-o", &missing], 1),
        (&["run", "--json", &missing], 110),
    ] {
        refused(&folder, args, code);
    }
    let merged = run(&mut folder.command(["merge", &file, "-o", "out", "--json", "json"]));
    assert_eq!(merged.status.code(), Some(0), "{}", check("merge", &merged));
    check("its report", &folder.run("report json"));
    folder.write("out", "foreign\n");
    check("confirm", &run(&mut folder.command(["confirm", &file, "-o", "out"])));
}

#[test]
fn scenarios() {
    let folder = Folder::new();
    let good = fs::read_to_string(root().join("scenarios/slow-sink.toml")).expect("a scenario");
    let odd = Value::from(HOSTILE).to_string().replace("\u{9b}", "\\u009b").replace('\u{7f}', "\\u007f");
    // As TOML has it raw, without what it does not allow.
    let raw = HOSTILE.replace(['\n', '\r', '\u{1b}', '\u{7}'], "");
    for text in [
        format!("{odd} = 1\n{good}"),
        format!("{good}\n{odd} = 1\n"),
        format!("why = {odd}\nmodes = {odd}\n"),
        format!("modes = [{odd}]\n"),
        format!("rounds = {odd}\n"),
        format!("slow_poll = {odd}\n"),
        format!("why = \"x\"\n[expect]\ngates = [{odd}]\n"),
        format!("why = \"x\"\n[expect]\ngates = [\"a.slow_polls == {raw}\"]\n"),
        format!("{raw}\n"),
        format!("rounds = {raw} # {raw}\n"),
        format!("[{odd}]\n"),
        HOSTILE.to_owned(),
    ] {
        folder.write("mine.toml", &text);
        let output = folder.run("run mine.toml");
        let said = check(&text, &output);
        assert_eq!(output.status.code(), Some(2), "{text}: {said}");
        // What is the program's own in it: where, the line, its carets, and what to do.
        assert!(said.starts_with("error: cannot read scenario `mine.toml`") && said.lines().count() <= 9, "{said}");
    }
}

#[test]
fn the_environment() {
    let folder = Folder::new();
    folder.write("a", "a1\n");
    fs::copy(root().join("fuzz/seeds/recording/schema-2"), folder.path("json")).expect("copied");
    let names =
        ["POLLSCOPE", "POLLSCOPE_SLOW_POLL", "COLUMNS", "TERM", "LANG", "LC_ALL", "RUST_LOG", "NO_COLOR", "HOME"];
    for name in names {
        for args in [&["merge", "a", "-o", "out", "--force"][..], &["report", "json"], &["run", "--no-such"]] {
            check(name, &run(folder.command(args).env(name, HOSTILE)));
        }
    }
    let summary = format!("none/{HOSTILE}");
    let output = run(folder.command(["report", "json", "--format", "github"]).env("GITHUB_STEP_SUMMARY", &summary));
    assert_eq!(output.status.code(), Some(110));
    assert!(check("summary", &output).starts_with("error: cannot write report `none/x"));
    let temporary =
        run(folder.command(["run", "slow-sink", "--mode", "naive"]).env("TMPDIR", format!("/none/{HOSTILE}")));
    check("TMPDIR", &temporary);
}
