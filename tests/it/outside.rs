//! A process that is looked at from outside: `pollscope record PID`, or `pollscope record -- COMMAND` of one without a probe that tells.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::listen::{ENDLESS, Service};
use crate::recorded::{AS_SERVICE, BLOCKS, THEN};
use crate::support::{Folder, Running, assert_ends, run, stderr, stdout, wait_until};

/// Blocks of the service are hardly longer than what its probe takes for slow.
const OFTEN: &str = "--outside --hz 1000 --slow 5ms --json json";

fn run_of(recording: &Value) -> &Value {
    assert_eq!(recording["runs"].as_array().map(Vec::len), Some(1));
    &recording["runs"][0]
}

#[test]
fn stalls_are_seen_with_line_and_call_and_what_is_not_seen_is_not_told() {
    let service = Service::start(ENDLESS);
    let gates = "--fail-on slow_polls==0 --fail-on polls.p99<1ms";
    let running =
        Running::spawn(&mut service.command("record", &format!("{OFTEN} {gates} --html page -o kept.pollscope")));
    let kept = service.folder.path("kept.pollscope");
    wait_until("slow polls", || {
        fs::read_to_string(&kept).is_ok_and(|text| text.matches("{\"slow_poll\":").count() >= 3)
    });
    running.send(Signal::TERM);
    let output = running.finish();
    assert_ends(&output, 99, &["looking at process `", "Ctrl-C ends it"]);
    let recording = service.json();
    let run = run_of(&recording);
    let subject = &run["subject"];
    assert_eq!((&subject["kind"], &subject["pid"]), (&"process".into(), &service.pid().into()));
    assert!(subject["tokio"].as_str().is_some_and(|version| version.starts_with("1.")), "{subject}");
    assert_eq!((&run["ended"], &run["slow_polls_are"]), (&"done".into(), &"at_least".into()));
    assert!(
        run["started_at"].as_str().is_some_and(|at| at.ends_with('Z') && at.starts_with("2")),
        "{}",
        run["started_at"]
    );
    let polls = run["slow_polls"].as_array().expect("a list");
    assert!(!polls.is_empty(), "{}", run["coverage"]);
    assert!(polls.iter().any(|poll| poll["cause"] == "blocking-call"), "{polls:#?}");
    for poll in polls {
        let line = poll["places"][0]["line"].as_str().unwrap_or_default();
        assert!(line.starts_with("tests/it/recorded.rs:"), "{poll:#}");
        // On a busy machine most of it may have been something else: one that waits for a CPU is in no call.
        let calls: Vec<&Value> =
            poll["places"].as_array().expect("a list").iter().map(|place| &place["syscall"]["name"]).collect();
        assert!(calls.iter().all(|call| call.is_null() || *call == "clock_nanosleep"), "{poll:#}");
        match poll["cause"].as_str() {
            Some("blocking-call") => assert!(calls.iter().any(|call| call.is_string()), "{poll:#}"),
            cause => assert!(matches!(cause, Some("preempted") | None), "{poll:#}"),
        }
        assert!(poll["start_is"]["within_ns"].is_u64(), "{poll:#}");
        assert!(poll["end_is"] == "exact" || poll["end_is"]["within_ns"].is_u64(), "{poll:#}");
    }
    for unknown in ["polls", "schedule_latency", "busy_stretches", "loop_busy_ns", "sites", "ledger"] {
        assert!(run[unknown].is_null(), "{unknown}: {}", run[unknown]);
    }
    let verdicts: Vec<&str> =
        recording["gates"].as_array().expect("a list").iter().filter_map(|gate| gate["verdict"].as_str()).collect();
    assert_eq!(verdicts, ["fail", "inconclusive"], "{}", recording["gates"]);
    assert!(stdout(&output).contains("tests/it/recorded.rs:"), "{}", stdout(&output));
    assert!(String::from_utf8(service.folder.read("page")).expect("a page").contains("recorded.rs"));
}

#[test]
fn ctrl_c_ends_the_looking_and_the_end_of_the_process_does() {
    let mut service = Service::start(ENDLESS);
    let running = Running::spawn(&mut service.command("record", OFTEN));
    running.wait_until_said("looking at process");
    running.send(Signal::TERM);
    assert_ends(&running.finish(), 0, &["Ctrl-C ends it"]);
    assert_eq!(run_of(&service.json())["ended"], "done");
    assert_eq!(service.sockets(), 1, "it goes on");
    let running = Running::spawn(&mut service.command("record", OFTEN));
    running.wait_until_said("looking at process");
    service.kill();
    assert_ends(&running.finish(), 0, &["and its own end"]);
    assert_eq!(run_of(&service.json())["ended"], "gone");
}

/// `record OPTIONS -- PROGRAM` of this program, which blocks so many times and then does what that says.
fn record(folder: &Folder, options: &str, program: &[&str], blocks: u64, then: &str) -> Command {
    let words = format!("record --hz 1000 --slow 5ms --json json {options} --");
    let mut command = folder.command(words.split_whitespace());
    command.args(program).arg(std::env::current_exe().expect("this program"));
    command.args(if blocks == 0 { LATE } else { AS_SERVICE }).env(BLOCKS, blocks.to_string()).env(THEN, then);
    command.env("XDG_STATE_HOME", folder.path("state")).env("TMPDIR", folder.path("."));
    command
}

fn json(folder: &Folder) -> Value {
    serde_json::from_slice(&folder.read("json")).expect("JSON")
}

/// Takes what would have its probe tell away, and then becomes it.
const SILENT: [&str; 5] = ["env", "-u", "POLLSCOPE", "-u", "POLLSCOPE_RECORD"];

#[test]
fn a_program_whose_probe_does_not_tell_is_looked_at_once_it_is_there() {
    for (options, program, says) in [
        ("", &SILENT[..], "looking at `env` from outside, as no probe tells of it\n"),
        ("--outside", &["env"], "looking at `env` from outside\n"),
    ] {
        let folder = Folder::new();
        let output = run(&mut record(&folder, options, program, 400, "7"));
        assert_ends(&output, 7, &[says]);
        let (program, report) =
            stdout(&output).split_once("✗ ").map(|(a, b)| (a.to_owned(), b.to_owned())).expect("both");
        assert!(program.contains("blocked 400") && report.contains("tests/it/recorded.rs:"), "{program}{report}");
        let recording = json(&folder);
        let run = run_of(&recording);
        assert_eq!((&run["subject"]["kind"], &run["ended"]), (&"process".into(), &"done".into()), "{options}");
        assert_eq!((&run["coverage"]["source"], &run["slow_polls_are"]), (&"attached".into(), &"at_least".into()));
        assert!(run["slow_polls"].as_array().is_some_and(|all| !all.is_empty()), "{}", run["coverage"]);
        assert_eq!(folder.names(), ["json", "state"], "nothing temporary is left");
    }
}

#[test]
fn its_end_and_its_label_are_those_of_any_program() {
    let folder = Folder::new();
    let options = "--for 6s --outside --label v2 --fail-on v2.slow_polls==0 -o kept.pollscope";
    let output = run(&mut record(&folder, options, &["env"], ENDLESS, ""));
    assert_ends(&output, 99, &["stopping: the time of `env` is over", "looking at `env` from outside"]);
    let recording = json(&folder);
    let run_of_it = run_of(&recording);
    assert_eq!((&run_of_it["group"], &run_of_it["ended"]), (&"v2".into(), &"done".into()));
    let kept = folder.run("report kept.pollscope --format json");
    assert_ends(&kept, 0, &[]);
    let kept: Value = serde_json::from_slice(&kept.stdout).expect("JSON");
    assert_eq!(run_of(&kept)["group"], "v2");
    assert!(run_of(&kept)["slow_polls"] == run_of_it["slow_polls"], "what is kept is what was reported");
}

/// The arguments of this program that make its probe begin late.
const LATE: [&str; 3] = ["--exact", "outside::late", "--nocapture"];

/// A service whose first runtime has no probe, and the second one has. As a test it does nothing.
#[test]
fn late() {
    if std::env::var(BLOCKS).as_deref() != Ok("0") {
        return;
    }
    let block = || async {
        for _ in 0..400 {
            tokio::spawn(async { std::thread::sleep(Duration::from_millis(12)) }).await.expect("no panic");
        }
    };
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all();
        builder
    };
    runtime().build().expect("it builds").block_on(block());
    pollscope_probe::ProbeBuilder::from_env().run(&mut runtime(), block()).expect("it runs");
}

#[test]
fn a_probe_that_tells_after_all_is_listened_to() {
    for options in ["", "-o kept.pollscope"] {
        let folder = Folder::new();
        let output = run(&mut record(&folder, options, &[], 0, ""));
        assert_ends(&output, 0, &["from outside, as no probe tells of it\n", "tells by now: that is recorded\n"]);
        let recording = json(&folder);
        let run = run_of(&recording);
        assert_eq!((&run["subject"]["kind"], &run["ended"]), (&"service".into(), &"done".into()), "{options}");
        assert!(run["polls"]["count"].as_u64() >= Some(400), "what it tells is exact");
        let kept = folder.names().iter().filter(|name| name.ends_with(".pollscope")).cloned().collect::<Vec<_>>();
        assert_eq!(kept, if options.is_empty() { vec![] } else { vec!["kept.pollscope"] });
    }
}

#[test]
fn a_program_without_tokio_is_told_as_such() {
    let folder = Folder::new();
    let output = folder.run("record -- sleep 2");
    assert_ends(
        &output,
        1,
        &[
            "cannot report on `sleep`: it ended with exit code 0 without a sound from a probe, and there was no Tokio in it",
        ],
    );
    assert!(output.stdout.is_empty() && folder.names().is_empty(), "{:?}", folder.names());
}

/// `sleep`, for as long as the test.
struct Sleep(Child);

impl Drop for Sleep {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_is_in_the_way_is_said() {
    let service = Service::start(ENDLESS);
    let own = run(&mut service.command("record", "--slow 10ms --for 1s"));
    assert_ends(&own, 1, &["its probe has a threshold already; leave it out, or look at it with `--outside`"]);
    let sleep = Sleep(Command::new("sleep").arg("600").stdout(Stdio::null()).spawn().expect("`sleep` runs"));
    let folder = Folder::new();
    let none = folder.run(&format!("record {} --for 1s --json json", sleep.0.id()));
    assert_ends(&none, 1, &["there is no Tokio in `", "look at the process that has the runtime"]);
    assert!(stdout(&none).is_empty() && folder.names().is_empty(), "{:?}: {}", folder.names(), stderr(&none));
    for (line, says) in [
        ("record 1 --hz 0", "write how often a second, from 1 to 1000"),
        ("record 1 --hz 1001", "write how often a second, from 1 to 1000"),
    ] {
        assert_ends(&folder.run(line), 2, &[says]);
    }
}
