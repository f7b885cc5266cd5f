//! A process that is looked at from outside: `pollscope record PID`.

use std::fs;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::listen::{ENDLESS, Service};
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
    for poll in polls {
        let line = poll["places"][0]["line"].as_str().unwrap_or_default();
        assert!(line.starts_with("tests/it/recorded.rs:"), "{poll:#}");
        assert_eq!(poll["places"][0]["syscall"]["name"], "clock_nanosleep", "{poll:#}");
        assert_eq!(poll["cause"], "blocking-call");
        assert!(poll["start_is"]["within_ns"].is_u64() && poll["end_is"]["within_ns"].is_u64(), "{poll:#}");
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
        ("record --outside -- true", "cannot be used with"),
        ("record --symbols a -- true", "cannot be used with"),
    ] {
        assert_ends(&folder.run(line), 2, &[says]);
    }
}
