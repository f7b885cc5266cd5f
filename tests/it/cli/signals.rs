//! Ctrl-C, twice, once more; SIGTERM and SIGHUP.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::{Call, Folder, Running, assert_ends, finish, is_ignored, read_until, send, stderr, stdout};

/// With a random wait before each of so many lines it takes more than half an hour: it is not over before the signal comes.
const ENDLESS: &str = "--set merge.lines=1_000_000";

fn spawn(folder: &Folder, line: &str) -> Running {
    let mut command = folder.command(line.split(' '));
    // So that a test sees what is left of temporary folders.
    Running::spawn(command.env("TMPDIR", folder.path(".")))
}

#[test]
fn once_drains_confirms_and_reports() {
    for (signal, code) in [(Signal::HUP, 129), (Signal::INT, 130), (Signal::TERM, 143)] {
        let folder = Folder::new();
        let running = spawn(&folder, &format!("run slow-sink {ENDLESS} --json json"));
        running.wait_for_thread("writers");
        running.send(signal);
        let output = running.finish();
        assert_ends(&output, code, &["stopping: finishing and checking", "again to skip the check"]);
        assert!(stdout(&output).contains("ended early: asked to stop"), "{}", stdout(&output));
        let json: serde_json::Value = serde_json::from_slice(&folder.read("json")).expect("it is JSON");
        let runs = json["runs"].as_array().expect("a list");
        assert_eq!(runs.len(), 1, "no other mode was begun");
        assert_eq!(runs[0]["merge"]["verdict"], "ok");
        assert_eq!(folder.names(), ["json"], "the temporary folder is gone");
    }
}

#[test]
fn no_line_of_progress_stays_on_the_terminal() {
    const CLEAR: &str = "\r\u{1b}[K";
    let folder = Folder::new();
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("it can be used");
    let path = ptsname(&terminal, Vec::new()).expect("its name").into_string().expect("UTF-8");
    let mut command = folder.command(["run", "slow-coroutine"]);
    command.stdout(Stdio::null()).stderr(File::options().write(true).open(path).expect("it opens"));
    let child = command.spawn().expect("it starts");
    // The last handle here: reading ends once the program has ended.
    drop(command);
    let mut terminal = File::from(terminal);
    let mut shown = String::new();
    read_until(&mut terminal, &mut shown, "slow-coroutine: naive, ");
    send(&child, Signal::INT);
    // Linux ends it with an error.
    read_until(&mut terminal, &mut shown, "");
    assert_eq!(finish(child).status.code(), Some(130), "{shown:?}");
    assert!(shown.contains(&format!("{CLEAR}stopping: finishing and checking")), "{shown:?}");
    let (_, after) = shown.rsplit_once("slow-coroutine: naive, ").expect("it was shown");
    assert!(after.contains(CLEAR), "{shown:?}");
}

#[test]
fn at_any_moment_it_ends_with_a_report() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        if is_ignored(signal) {
            println!("SKIP: {signal:?} is ignored here until it is caught");
            continue;
        }
        for wait in [0, 5, 20, 60] {
            let folder = Folder::new();
            let running = spawn(&folder, &format!("run merge {ENDLESS} --json json"));
            thread::sleep(Duration::from_millis(wait));
            running.send(signal);
            let output = running.finish();
            match output.status.code() {
                // Before it caught signals.
                None => assert!(output.stdout.is_empty()),
                _ => {
                    assert_ends(&output, code, &["stopping"]);
                    assert_eq!(folder.names(), ["json"]);
                }
            }
        }
    }
}

#[test]
fn twice_reports_although_the_loop_is_blocked() {
    for mode in ["naive", "offloaded"] {
        let folder = Folder::new();
        folder.write("a", "1\n");
        folder.fifo("nobody-reads");
        let running = spawn(&folder, &format!("merge a -o nobody-reads --append --mode {mode} --json json"));
        running.wait_until_blocked_in(Call::OpenAt);
        running.send(Signal::INT);
        running.wait_until_said("stopping");
        running.send(Signal::INT);
        let output = running.finish();
        assert_ends(&output, 130, &["stopping", "reporting at once"]);
        assert!(stdout(&output).contains("the workload was abandoned"), "{}", stdout(&output));
        assert!(stdout(&output).contains("unverifiable"), "{}", stdout(&output));
        let json: serde_json::Value = serde_json::from_slice(&folder.read("json")).expect("it is JSON");
        let run = &json["runs"][0];
        let polls = |of: &serde_json::Value| of["polls"]["count"].as_u64().expect("a count");
        let intervals = run["intervals"].as_array().expect("a list").iter();
        assert_eq!(intervals.map(polls).sum::<u64>(), polls(run), "the intervals add up, though the loop went on");
    }
}

#[test]
fn once_is_enough_when_the_time_of_grace_is_over() {
    for (mode, grace) in [("naive", "300ms"), ("offloaded", "0s")] {
        let folder = Folder::new();
        folder.write("a", "1\n");
        folder.fifo("nobody-reads");
        let running =
            spawn(&folder, &format!("merge a -o nobody-reads --append --mode {mode} --grace {grace} --json json"));
        running.wait_until_blocked_in(Call::OpenAt);
        running.send(Signal::TERM);
        let output = running.finish();
        let said = format!("not finished within {grace}: reporting at once");
        assert_ends(&output, 143, &["stopping", &said]);
        assert!(stdout(&output).contains("the workload was abandoned"), "{}", stdout(&output));
        assert_eq!(folder.names(), ["a", "json", "nobody-reads"]);
    }
}

#[test]
fn twice_does_not_wait_for_the_confirmation() {
    let folder = Folder::new();
    let fifo = "--set merge.sink.kind=fifo --set merge.sink.every=1h --set merge.sink.pause=3599999ms";
    let running = spawn(&folder, &format!("run merge --rounds 1 --mode naive {fifo}"));
    // All 50 lines fit into the pipe; the reader sleeps for an hour.
    running.wait_for_thread("confirm");
    running.send(Signal::TERM);
    running.wait_until_said("stopping");
    running.send(Signal::TERM);
    let output = running.finish();
    assert_ends(&output, 143, &["reporting at once"]);
    assert!(stdout(&output).contains("the confirmation was abandoned"), "{}", stdout(&output));
    assert!(folder.names().is_empty(), "the temporary folder is gone");
}

#[test]
fn a_report_that_nobody_takes_can_be_ended() {
    let folder = Folder::new();
    folder.write("a", "1\n");
    // A pipe that is full: its reader is there, and does not read.
    let fifo = folder.fifo("fifo");
    let reader = std::fs::File::options().read(true).write(true).open(&fifo).expect("both ends");
    rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::NONBLOCK).expect("set");
    while rustix::io::write(&reader, &[0; 4096]).is_ok() {}
    let running = spawn(&folder, "merge a -o out --json fifo");
    running.wait_until_blocked_in(Call::Write);
    running.send(Signal::INT);
    running.wait_until_said("ending after this report");
    running.send(Signal::INT);
    let output = running.finish();
    assert_eq!(output.status.signal(), Some(Signal::INT.as_raw()), "as if the signal had not been caught");
    assert!(stderr(&output).contains("ending after this report") && stderr(&output).contains("ending at once"));
    assert_eq!(folder.read("out"), b"1\n");
}
