//! A service that has the probe records itself, and `pollscope report` and `compare` read that: while it runs, when it ended, and when it
//! was killed.
//!
//! `POLLSCOPE_ALL_KILLS` has 200 moments tried, not only some.

mod disks;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use pollscope_probe::ProbeBuilder;
use rustix::process::{Signal, getpid, kill_process};
use serde_json::Value;
use tokio::runtime::Builder;

use crate::support::{Folder, assert_ends, finish, send, stderr, stdout, wait_until};

/// How many times the service is to block; a test's own program is told so.
pub(crate) const BLOCKS: &str = "POLLSCOPE_TEST_BLOCKS";
/// What it does then: it ends with a code, is `killed` when
/// a slow poll is in its recording, or tells of `signals` until it takes SIGTERM, or, `stubborn`, for ever.
pub(crate) const THEN: &str = "POLLSCOPE_TEST_THEN";
/// The arguments of this program that make it the service.
pub(crate) const AS_SERVICE: [&str; 3] = ["--exact", "recorded::service", "--nocapture"];
const BLOCK: Duration = Duration::from_millis(12);

/// A service: it blocks, and tells of each time. As a test it does nothing.
#[test]
fn service() {
    let Ok(blocks) = std::env::var(BLOCKS) else { return };
    let blocks: u64 = blocks.parse().expect("a number");
    let then = std::env::var(THEN).unwrap_or_default();
    let code = then.parse();
    let served = async move {
        for block in 1..=blocks {
            tokio::spawn(async { thread::sleep(BLOCK) }).await.expect("no panic");
            println!("blocked {block}");
        }
        match then.as_str() {
            "killed" => tokio::task::spawn_blocking(be_killed).await.expect("no panic"),
            "signals" | "stubborn" => {
                tokio::task::spawn_blocking(move || tell_of_signals(&then)).await.expect("no panic")
            }
            _ => {}
        }
    };
    let builder = ProbeBuilder::from_env().source_root(env!("CARGO_MANIFEST_DIR"));
    builder.run(Builder::new_multi_thread().worker_threads(1), served).expect("it runs");
    if let Ok(code) = code {
        std::process::exit(code);
    }
}

fn be_killed() {
    let folder = std::env::var_os("POLLSCOPE_RECORD").expect("a folder");
    let has_slow_polls = |file: fs::DirEntry| {
        fs::read_to_string(file.path()).is_ok_and(|said| said.matches("{\"slow_poll\":").count() >= 2)
    };
    // The folder may not be there yet.
    wait_until("slow polls", || {
        fs::read_dir(&folder).is_ok_and(|mut files| files.any(|file| file.is_ok_and(has_slow_polls)))
    });
    kill_process(getpid(), Signal::KILL).expect("it may");
}

fn tell_of_signals(then: &str) {
    let all = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2];
    let mut signals = signal_hook::iterator::Signals::new(all.map(Signal::as_raw)).expect("it catches them");
    eprintln!("ready");
    for signal in signals.forever() {
        eprintln!("took {signal}.");
        if signal == Signal::TERM.as_raw() && then == "signals" {
            break;
        }
    }
}

/// Starts the service, which records to `to` in a folder.
fn start(folder: &Folder, to: &str, blocks: u64) -> Child {
    let mut service = Command::new(std::env::current_exe().expect("this program"));
    service.args(AS_SERVICE).current_dir(folder.path("."));
    service.env(BLOCKS, blocks.to_string()).env("POLLSCOPE", "1").env("POLLSCOPE_SLOW_POLL", "10ms");
    service.env("POLLSCOPE_RECORD", to).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

fn json(folder: &Folder, recording: &str) -> (Value, String) {
    let output = folder.run(&format!("report {recording} --format json"));
    assert_ends(&output, 0, &[]);
    (serde_json::from_slice(&output.stdout).expect("JSON"), stderr(&output))
}

#[test]
fn a_service_that_records_itself_is_reported_and_compared() {
    let folder = Folder::new();
    for (to, blocks) in [("folder", 9), ("one.pollscope", 9)] {
        let output = finish(start(&folder, to, blocks));
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stderr(&output).contains("WARN slow poll: "), "{}", stderr(&output));
    }
    let answer = stdout(&folder.run("report folder"));
    let first = answer.lines().next().expect("an answer");
    if pollscope_probe::TOKIO_UNSTABLE && cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        assert!(first.contains("tests/it/recorded.rs:") && first.contains("  clock_nanosleep() "), "{answer}");
        assert!(answer.contains("fix: sleep with `tokio::time::sleep(…).await`"), "{answer}");
    }
    let (recording, said) = json(&folder, "one.pollscope");
    assert_eq!(said, "");
    let run = &recording["runs"][0];
    assert_eq!((&run["ended"], &run["slow_polls_dropped"]), (&"done".into(), &0.into()));
    let total = run["slow_polls_total"].as_u64().expect("a count");
    assert!(total >= 9, "{total}");
    assert_eq!(run["slow_polls"].as_array().map(Vec::len), Some(total as usize));
    assert_eq!(run["subject"]["kind"], "service");
    let sites =
        run["sites"].as_array().expect("sites").iter().map(|site| site["polls"]["count"].as_u64().expect("a count"));
    assert_eq!(run["polls"]["count"].as_u64(), Some(sites.sum()));
    let compared = folder.run("compare folder one.pollscope");
    assert_ends(&compared, 0, &[]);
    assert_ends(&folder.run("report one.pollscope --fail-on slow_polls==0"), 99, &[]);
    let page = folder.run("report folder --html page.html");
    assert_ends(&page, 0, &[]);
    assert!(fs::read_to_string(folder.path("page.html")).expect("a page").contains("recorded.rs"));
    fs::create_dir(folder.path("empty")).expect("a folder");
    assert_ends(&folder.run("report empty"), 1, &["it is a folder without a `.pollscope` file; name one that"]);
}

#[test]
fn whenever_a_service_is_killed_its_recording_reads() {
    let moments = if std::env::var_os("POLLSCOPE_ALL_KILLS").is_some() { 200 } else { 12 };
    let mut random = fastrand::Rng::with_seed(11);
    let (mut with_slow_polls, mut torn) = (0, 0);
    for moment in 0..moments {
        let folder = Folder::new();
        let mut service = start(&folder, "folder", 1_000_000);
        let mut told = BufReader::new(service.stdout.take().expect("piped"));
        let mut line = String::new();
        while !line.starts_with("blocked ") {
            line.clear();
            assert!(told.read_line(&mut line).expect("text") > 0, "it ends by itself");
        }
        thread::sleep(Duration::from_micros(random.u64(0..1_500_000)));
        // What comes between the reading and the kill is more.
        send(&service, Signal::KILL);
        let told: u64 =
            1 + told.lines().map_while(Result::ok).filter(|line| line.starts_with("blocked ")).count() as u64;
        let _ = finish(service);
        if !folder.path("folder").is_dir() {
            continue;
        }
        let (recording, said) = json(&folder, "folder");
        let run = &recording["runs"][0];
        assert_eq!(run["ended"], "torn", "at {moment}");
        assert!(said.contains("ends early: what was written by then is shown"), "{said}");
        torn += 1;
        let listed = run["slow_polls"].as_array().expect("a list");
        let (total, dropped) = (run["slow_polls_total"].as_u64(), run["slow_polls_dropped"].as_u64());
        assert_eq!(total, dropped.map(|dropped| dropped + listed.len() as u64));
        let blocks: Vec<&Value> =
            listed.iter().filter(|poll| poll["duration_ns"].as_u64() >= Some(12_000_000)).collect();
        // The one that goes on when it is killed may have been told by neither, and the root future is slow where the machine is.
        assert!(
            blocks.len() as u64 <= told + 1 + listed.iter().filter(|poll| poll["task_id"].is_null()).count() as u64
        );
        with_slow_polls += usize::from(!listed.is_empty());
        let counts =
            |runs: &Value| runs.as_array().map(|all| all.iter().filter_map(|one| one["polls"]["count"].as_u64()).sum());
        let (of_intervals, of_sites): (Option<u64>, Option<u64>) = (counts(&run["intervals"]), counts(&run["sites"]));
        if of_intervals > Some(0) {
            assert_eq!(run["polls"]["count"].as_u64(), of_intervals, "at {moment}");
        }
        // Sites are read after all polls together, while polls go on: a few that end meanwhile are in them alone.
        if of_sites.is_some() {
            assert!(run["polls"]["count"].as_u64() <= of_sites, "at {moment}");
        }
    }
    println!("{torn} of {moments} had begun a recording, {with_slow_polls} had slow polls in it");
    assert!(with_slow_polls > moments / 4, "{with_slow_polls} of {moments}");
}
