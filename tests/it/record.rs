//! `pollscope record`: a service that has the probe, from its start to its end.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

use crate::recorded::{AS_SERVICE, BLOCKS, THEN};
use crate::support::{Call, Folder, Running, assert_ends, finish, is_ignored, read_until, run, send, stderr, stdout};

/// More blocks than there is time for.
const ENDLESS: u64 = 1_000_000;
/// Whether lines and calls are seen.
const SEES: bool = pollscope_probe::TOKIO_UNSTABLE && cfg!(all(target_os = "linux", target_arch = "x86_64"));

/// `pollscope record OPTIONS -- SERVICE`, which blocks so many times, and then does what that says.
fn record(folder: &Folder, options: &str, blocks: u64, then: &str) -> Command {
    let service = std::env::current_exe().expect("this program");
    let mut command = folder.command(["record", "--slow", "10ms"].into_iter().chain(options.split_whitespace()));
    command.arg("--").arg(service).args(AS_SERVICE);
    command.env(BLOCKS, blocks.to_string()).env(THEN, then);
    command.env("XDG_STATE_HOME", folder.path("state")).env("TMPDIR", folder.path("."));
    command
}

fn json(folder: &Folder) -> Value {
    serde_json::from_slice(&folder.read("json")).expect("JSON")
}

#[test]
fn a_program_is_recorded_judged_and_reported() {
    let folder = Folder::new();
    let options = "--label v1.2 --fail-on slow_polls==0 --fail-on v1.2.polls.count>0 --html page --json json";
    let output = run(&mut record(&folder, options, 9, ""));
    assert_ends(&output, 99, &["WARN slow poll: "]);
    let said = stdout(&output);
    let (of_program, report) = said.split_once("test result: ok").expect("the program's own text");
    assert!(of_program.contains("blocked 9"), "{said}");
    if SEES {
        let answer = report.lines().find(|line| line.starts_with('✗')).expect("an answer");
        assert!(answer.contains("tests/it/recorded.rs:") && answer.contains("  clock_nanosleep() "), "{said}");
        assert!(String::from_utf8(folder.read("page")).expect("a page").contains("recorded.rs"));
    }
    assert!(report.contains("✗ gate failed: slow_polls==0"), "{said}");
    let recording = json(&folder);
    let run_of_it = &recording["runs"][0];
    assert_eq!((&run_of_it["group"], &run_of_it["ended"]), (&"v1.2".into(), &"done".into()));
    assert_eq!(run_of_it["slow_poll_threshold_ns"], 10_000_000);
    assert_eq!(recording["environment"]["command"][1], "record");
    let verdicts: Vec<&Value> = recording["gates"].as_array().expect("gates").iter().map(|of| &of["verdict"]).collect();
    assert_eq!(verdicts, ["fail", "pass"]);
    assert_eq!(folder.names(), ["json", "page", "state"], "nothing temporary is left");
    let mut last = folder.command(["report", "last", "--format", "json"]);
    let last = run(last.env("XDG_STATE_HOME", folder.path("state")));
    let last: Value = serde_json::from_slice(&last.stdout).expect("JSON");
    assert_eq!(last["runs"][0]["started_at"], run_of_it["started_at"]);
}

#[test]
fn a_file_on_stdout_is_alone_there() {
    for (options, begins) in [("--json -", "{"), ("--format markdown", "#"), ("--html /dev/stdout", "<!DOCTYPE html>")]
    {
        let folder = Folder::new();
        let output = run(&mut record(&folder, options, 2, ""));
        assert_ends(&output, 0, &["blocked 2", "test result: ok"]);
        let said = stdout(&output);
        assert!(said.starts_with(begins) && !said.contains("test result: ok"), "{options}: {said:.300}");
    }
}

#[test]
fn it_ends_as_the_program_does() {
    let cases = [
        ("", 2, "7", 7, "done", &[][..]),
        ("", 2, "killed", 137, "gone", &["note: the program was killed by SIGKILL: what was written by then is shown"]),
        ("-q --fail-on slow_polls==0", 2, "7", 99, "done", &["error: gate failed: slow_polls==0"]),
    ];
    for (options, blocks, then, code, ended, says) in cases {
        let folder = Folder::new();
        let output = run(&mut record(&folder, &format!("{options} --json json"), blocks, then));
        assert_ends(&output, code, says);
        let run = &json(&folder)["runs"][0];
        assert_eq!(run["ended"], ended, "{options} {then}");
        assert!(run["slow_polls_total"].as_u64() >= Some(2), "{options} {then}: {run}");
        let why = (ended == "gone").then_some("killed by SIGKILL");
        assert_eq!(run["ended_why"].as_str(), why);
        assert_eq!(stdout(&output).contains("ended early: killed by SIGKILL"), why.is_some(), "{}", stdout(&output));
    }
}

/// It is long enough for a program to begin on a busy machine.
#[test]
fn its_time_is_over() {
    let cases = [
        ("--for 8s", ENDLESS, "", 0, "stopping: the time of `"),
        (
            "--for 8s --grace 10ms",
            2,
            "stubborn",
            137,
            "it did not end within 10ms of SIGTERM (`--grace` gives it longer)",
        ),
    ];
    let started = cases.map(|(options, blocks, then, code, says)| {
        let folder = Folder::new();
        let running = Running::spawn(&mut record(&folder, &format!("{options} --json json"), blocks, then));
        (folder, running, code, says)
    });
    for (folder, running, code, says) in started {
        assert_ends(&running.finish(), code, &[says]);
        let run = &json(&folder)["runs"][0];
        assert_eq!((run["ended"].as_str(), run["ended_why"].as_str()), (Some("done"), None));
    }
}

#[test]
fn signals_are_passed_on_and_the_third_that_ends_kills() {
    let (hup, int, quit, term) = (Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM);
    let cases = [
        (vec![Signal::USR1, Signal::USR2, hup, term], 0, false),
        (vec![int, term], 0, false),
        (vec![quit, term], 0, false),
        (vec![hup, hup, hup], 137, true),
    ];
    for (signals, code, kills) in cases {
        if signals.iter().any(|signal| is_ignored(*signal)) {
            println!("SKIP: {signals:?} has one that is ignored here, and stays so");
            continue;
        }
        let folder = Folder::new();
        let running = Running::spawn(&mut record(&folder, "--json json", 2, "signals"));
        running.wait_until_said("ready");
        let mut said = Vec::new();
        for (nth, signal) in signals.iter().enumerate() {
            running.send(*signal);
            if !(kills && nth == 2) {
                said.push(format!("took {}.\n", signal.as_raw()));
                running.wait_until_told(&said.concat());
            }
        }
        // Its stdout ends when the program's does: that is not left behind.
        let output = running.finish();
        assert_ends(&output, code, &["stopping: waiting until `"]);
        assert_eq!(stderr(&output).contains("it did not end after 2 signals"), kills);
        assert_eq!(json(&folder)["runs"][0]["ended"], "done");
    }
}

#[test]
fn what_the_terminal_sends_to_both_is_not_passed_on() {
    let has_setsid = Command::new("setsid").args(["-c", "true"]).stdin(Stdio::null()).stderr(Stdio::null()).status();
    if has_setsid.is_err() || is_ignored(Signal::INT) {
        println!("SKIP: no setsid, or interrupts are ignored here");
        return;
    }
    // Of two that come at once, one may be taken for both: a program that the terminal does not reach tells what was passed on.
    for (is_reached, interrupts) in [(true, 1), (false, 0)] {
        let shown = interrupted_by_its_terminal(is_reached);
        assert_eq!(shown.matches("took 2.").count(), interrupts, "{shown}");
        assert_eq!(shown.matches("took 15.").count(), 1, "{shown}");
    }
}

/// What a terminal shows on which a Ctrl-C is typed while a program is recorded; then that is ended.
fn interrupted_by_its_terminal(is_reached: bool) -> String {
    let folder = Folder::new();
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("it can be used");
    let path = ptsname(&terminal, Vec::new()).expect("its name").into_string().expect("UTF-8");
    let inner = record(&folder, "", 2, "signals");
    let mut words: Vec<&OsStr> = inner.get_args().collect();
    if !is_reached {
        let program = 1 + words.iter().position(|word| *word == "--").expect("a program");
        words.insert(program, OsStr::new("setsid"));
    }
    let mut command = Command::new("setsid");
    command.arg("-c").arg(inner.get_program()).args(words).current_dir(folder.path("."));
    inner.get_envs().for_each(|(name, value)| match value {
        Some(value) => _ = command.env(name, value),
        None => _ = command.env_remove(name),
    });
    let open = || File::options().read(true).write(true).open(&path).expect("it opens");
    let child = command.stdin(open()).stdout(open()).stderr(open()).spawn().expect("it starts");
    drop(command);
    let mut terminal = File::from(terminal);
    let mut shown = String::new();
    read_until(&mut terminal, &mut shown, "ready");
    terminal.write_all(b"\x03").expect("it takes a key");
    if is_reached {
        read_until(&mut terminal, &mut shown, "took 2.");
    }
    read_until(&mut terminal, &mut shown, "stopping: waiting until");
    // `setsid` has no reason to fork: it is pollscope by now.
    send(&child, Signal::TERM);
    read_until(&mut terminal, &mut shown, "");
    assert_eq!(finish(child).status.code(), Some(0), "{shown}");
    shown
}

#[test]
fn a_signal_to_hurry_the_report_does_not_lose_it_and_the_next_ends_at_once() {
    let folder = Folder::new();
    let fifo = folder.fifo("fifo");
    let mut reader = File::options();
    let _reader =
        reader.read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32).open(fifo).expect("it opens");
    let running = Running::spawn(&mut record(&folder, "--html fifo", 9, ""));
    running.wait_until_blocked_in(Call::Write);
    running.send(Signal::TERM);
    running.wait_until_said("ending after this report (Ctrl-C again to end at once)");
    running.send(Signal::TERM);
    let output = running.finish();
    assert_eq!(output.status.signal(), Some(Signal::TERM.as_raw()), "{}", stderr(&output));
    assert!(stderr(&output).contains("what is not written yet is lost"), "{}", stderr(&output));
    assert_eq!(folder.names(), ["fifo"], "nothing temporary is left");
}

/// Every line is refused with the code and the words, before a program is started, and leaves nothing behind.
#[test]
fn bad_input() {
    let folder = Folder::new();
    folder.write("text", "");
    let script = folder.write("script", "#!/nowhere/sh\n");
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).expect("it may");
    fs::create_dir(folder.path("folder")).expect("a folder");
    fs::create_dir(folder.path("full")).expect("a folder");
    folder.write("full/a.pollscope", "");
    folder.write("old.pollscope", "");
    let before = folder.names();
    let started = folder.path("started");
    let started = started.display();
    let cases: &[(&str, i32, &[&str])] = &[
        ("record", 2, &["<COMMAND>", "name the program behind `--`: `pollscope record -- ./service --port 8080`"]),
        ("./script --port 1", 2, &["`pollscope record -- ./script --port 1` records a program"]),
        ("record --", 2, &["<COMMAND>", "name the program behind `--`"]),
        ("record ./app", 2, &["invalid value './app' for '[PID]'", "the program stands behind `--`"]),
        ("record -- ./nowhere", 127, &["cannot start `./nowhere`: No such file or directory; name one that is there"]),
        ("record -- nowhere-at-all", 127, &["cannot start `nowhere-at-all`: No such file", "a folder of `PATH`"]),
        ("record -- text", 127, &["cannot start `text`: it is in no folder of `PATH`; write `./` before the name"]),
        ("record -- ./script", 127, &["cannot start `./script`: its interpreter is not there; its first line"]),
        ("record -- ./folder", 126, &["cannot start `./folder`: it is a folder; name a program in it"]),
        ("record -- ./text", 126, &["cannot start `./text`: Permission denied; make it executable with `chmod +x`"]),
        ("record --for 0 -- TOUCH", 2, &["invalid value '0' for '--for <DURATION>': it must be from 1ms to 168h"]),
        ("record --for 5 -- TOUCH", 2, &["cannot read `5` as a duration"]),
        ("record --slow 0 -- TOUCH", 2, &["the threshold must be from 1us to 1h"]),
        ("record --label a\tb -- TOUCH", 2, &["write 1 to 64 letters, digits, blanks or any of"]),
        ("record --fail-on lag.p99<1s -- TOUCH", 2, &["`lag.p99` cannot be known here: no timer of pollscope's"]),
        ("record --fail-on merge.lost==0 -- TOUCH", 2, &["`merge.lost` cannot be known here: nothing is merged"]),
        ("record --label a --fail-on b.slow_polls==0 -- TOUCH", 2, &["there is no group `b`"]),
        ("record -o r.json -- TOUCH", 2, &["cannot record to `r.json`: the probe writes a folder", "`--json r.json`"]),
        ("record -o - -- TOUCH", 2, &["cannot record to stdout, where the program writes"]),
        ("record --redact -o kept -- TOUCH", 2, &["`--output` keeps what the probe writes, with paths"]),
        ("record -o no/r.pollscope -- TOUCH", 110, &["cannot record to `no/r.pollscope`: No such", "make its folder"]),
        ("record -o text/r -- TOUCH", 110, &["cannot record to `text/r`: Not a directory; name a file in a folder"]),
        ("record -o text -- TOUCH", 110, &["cannot record to `text`: File exists"]),
        (
            "record -o full -- TOUCH",
            110,
            &["cannot record to `full`: there is a recording already; name another place"],
        ),
        ("record -o old.pollscope -- TOUCH", 110, &["cannot record to `old.pollscope`: there is a recording already"]),
        ("record --html no/page -- TOUCH", 110, &["cannot write report `no/page`: No such file", "make its folder"]),
        ("record --html r.pollscope -o r.pollscope -- TOUCH", 2, &["`html` and `recording` to `r.pollscope` both"]),
        ("record --html ./text -- ./text", 1, &["cannot write report `./text`: it would replace `./text`"]),
        ("record --baseline none -- TOUCH", 1, &["cannot find baseline `none`"]),
        // These run, and record nothing.
        (
            "record -- true",
            1,
            &["cannot report on `true`: it ended with exit code 0 without a sound from a probe", "; build it with"],
        ),
        (
            "record -o kept -- false",
            1,
            &[
                "`false`: it ended with exit code 1 without a sound",
                "`record`",
                "from_env()",
                "`pollscope record PID` looks",
            ],
        ),
    ];
    for (line, code, says) in cases {
        let words = line.replace("TOUCH", &format!("touch {started}"));
        let output = run(folder.command(words.split(' ')).env("TMPDIR", folder.path(".")));
        assert_ends(&output, *code, says);
        assert!(output.stdout.is_empty(), "{line}: {}", stdout(&output));
        assert_eq!(folder.names(), before, "{line}: it left something behind, or started the program");
    }
    let killed = run(folder.command(["record", "--", "sh", "-c", "kill -9 $$"]).env("TMPDIR", folder.path(".")));
    assert_ends(&killed, 1, &["cannot report on `sh`: it was killed by SIGKILL without a sound from a probe"]);
}

#[test]
fn what_is_kept_is_what_was_reported() {
    let folder = Folder::new();
    for (to, options) in [("kept", ""), ("one.pollscope", ""), ("deep/er", "--fail-on other.slow_polls==0")] {
        let output = run(&mut record(&folder, &format!("{options} --json json -o {to}"), 3, ""));
        if options.is_empty() {
            assert_ends(&output, 0, &[]);
        } else {
            // What a program is called is known when it has begun: what it recorded is reported all the same.
            assert_ends(&output, 2, &["there is no group `other`"]);
        }
        let said = folder.run(&format!("report {to} --format json"));
        let said: Value = serde_json::from_slice(&said.stdout).expect("JSON");
        assert_eq!(said["runs"], json(&folder)["runs"]);
        assert_ends(&run(&mut record(&folder, &format!("-o {to}"), 3, "")), 110, &["there is a recording already"]);
    }
}

#[test]
fn a_project_and_a_baseline_count() {
    let folder = Folder::new();
    folder.write(
        "pollscope.toml",
        "slow = \"11ms\"\nlabel = \"api v1\"\nfail_on = [\"slow_polls == 0\", \"lag.p99 < 1ms\", \"naive.slow_polls >= 3\"]\n",
    );
    let project = |options: &str| {
        let typed = record(&folder, options, 3, "");
        let mut command = Command::new(typed.get_program());
        let words = typed.get_args().filter(|word| !["--slow", "10ms"].iter().any(|typed| word == typed));
        command.args(words).current_dir(folder.path("."));
        typed.get_envs().for_each(|(name, value)| match value {
            Some(value) => _ = command.env(name, value),
            None => _ = command.env_remove(name),
        });
        run(&mut command)
    };
    let saved = project("--save-baseline main --json json");
    assert_ends(
        &saved,
        99,
        &[
            "pollscope.toml` counts as well",
            "saved the baseline `.pollscope/main.json`",
            "the project's gate `naive.slow_polls >= 3` is not judged",
        ],
    );
    let run = &json(&folder)["runs"][0];
    assert_eq!((&run["slow_poll_threshold_ns"], &run["group"]), (&11_000_000.into(), &"api v1".into()));
    // A label is another version's.
    let compared = project("--baseline main --label next --no-config");
    assert_ends(&compared, 0, &[]);
    assert!(stdout(&compared).contains("baseline: .pollscope/main.json"), "{}", stdout(&compared));
    let other = folder.run("run slow-sink --baseline main");
    assert_ends(&other, 1, &["one is of the scenario `slow-sink`, the other of no scenario"]);
}

#[test]
fn what_is_kept_has_the_label_itself_and_one_that_is_none_is_refused() {
    let folder = Folder::new();
    let group = |recording: &str| {
        let text = String::from_utf8(folder.read(recording)).expect("text");
        let head: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
        head["recording"]["group"].as_str().expect("a name").to_owned()
    };
    assert_ends(&run(&mut record(&folder, "--label v1.2 -o kept.pollscope", 1, "")), 0, &[]);
    assert_eq!(group("kept.pollscope"), "v1.2");
    let output = run(record(&folder, "-o other.pollscope", 1, "").env("POLLSCOPE_LABEL", "a*b"));
    assert_ends(&output, 0, &["WARN pollscope: ignored `POLLSCOPE_LABEL=a*b`: write 1 to 64 letters"]);
    assert!(group("other.pollscope").starts_with("it-"), "the program's name");
}
