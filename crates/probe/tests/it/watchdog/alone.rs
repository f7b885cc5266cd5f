//! What concerns a whole process: signal handlers, being stopped, panics with a backtrace. Each runs in a process of its own: this
//! test program again, with the one test and a variable that tells it so.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_probe::{Cause, Probe};

use super::{BLOCK, computes, must, run, slow_polls, watching};
use crate::support::{LONG, current_thread, eventually, spawn};

pub(super) const ALONE: &str = "POLLSCOPE_TEST_ALONE";

pub(super) fn is_alone() -> bool {
    std::env::var_os(ALONE).is_some()
}

pub(super) fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(ALONE, "1").env("RUST_BACKTRACE", "1");
    command
}

fn succeeds(test: &str) -> Result<(), String> {
    let output = again(test).output().unwrap();
    must(output.status.success(), test, String::from_utf8_lossy(&output.stderr))
}

/// That a test of one of the modules beside this one ended well in a process of its own, and by no signal.
pub(super) fn survives(test: &str) {
    eventually(|| {
        // A backtrace would be printed with calls that the process may not be allowed.
        let output = again(&format!("watchdog::{test}")).env_remove("RUST_BACKTRACE").output().unwrap();
        // Not to be tried again: it may happen in some runs only.
        assert_eq!(output.status.signal(), None, "{output:?}");
        // A name that no test has would succeed as well.
        let has_run = String::from_utf8_lossy(&output.stdout).contains("1 passed");
        must(output.status.success() && has_run, test, String::from_utf8_lossy(&output.stderr))
    });
}

/// The signals that have a handler.
fn handled() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find(|line| line.starts_with("SigCgt")).unwrap().to_owned()
}

#[test]
fn a_handler_is_there_only_from_a_late_poll_that_computes_to_the_end_of_the_probe() {
    if !is_alone() {
        return eventually(|| {
            succeeds("watchdog::alone::a_handler_is_there_only_from_a_late_poll_that_computes_to_the_end_of_the_probe")
        });
    }
    let before = handled();
    for runs in [false, true] {
        let (runtime, probe) = current_thread(watching());
        let task = async move {
            if runs {
                computes();
            } else {
                thread::sleep(BLOCK);
            }
        };
        run(&runtime, &probe, task).unwrap();
        assert_eq!(handled() != before, runs);
    }
    // The watchdog is told to end, and not waited for.
    let start = Instant::now();
    while handled() != before {
        assert!(start.elapsed() < LONG, "it is gone with the last probe");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Its frames are many and large, and of crates that are in the standard library.
#[test]
fn a_panic_that_prints_its_backtrace() {
    if !is_alone() {
        return eventually(|| succeeds("watchdog::alone::a_panic_that_prints_its_backtrace"));
    }
    let (runtime, probe) = current_thread(Probe::builder().slow_poll_threshold(Duration::from_millis(5)));
    let line = line!() + 1;
    let ended = runtime.block_on(async { spawn(&probe, async { panic!("on purpose") }).await });
    assert!(ended.is_err());
    let polls = slow_polls(&probe);
    let evidence = &polls[0].evidence;
    assert_eq!(evidence.cause, Some(Cause::Panic), "{evidence:#?}");
    assert!(evidence.blocking_line.as_ref().unwrap().ends_with(&format!("watchdog/alone.rs:{line}")), "{evidence:#?}");
    assert_eq!(evidence.stack_complete, Some(true));
}

#[test]
fn a_stopped_process() {
    if is_alone() {
        let (runtime, probe) = current_thread(watching());
        // The watchdog has begun, and the poll outlasts the stop: it can be looked at.
        thread::sleep(BLOCK);
        let task = async {
            eprintln!("stop me");
            thread::sleep(BLOCK);
            thread::sleep(BLOCK);
        };
        let (_, poll) = run(&runtime, &probe, task).unwrap();
        assert_eq!(poll.evidence.cause, Some(Cause::Suspended), "{poll:#?}");
        return;
    }
    eventually(|| {
        let mut child =
            again("watchdog::alone::a_stopped_process").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let asked = lines.any(|line| line.contains("stop me"));
        let signal = |signal| {
            // SAFETY: the child was not waited for yet, so that its number is still its own.
            assert_eq!(unsafe { libc::kill(child.id().cast_signed(), signal) }, 0);
        };
        signal(libc::SIGSTOP);
        thread::sleep(BLOCK * 5);
        signal(libc::SIGCONT);
        let rest: Vec<String> = lines.collect();
        let succeeded = child.wait().unwrap().success();
        must(asked && succeeded, "suspended", rest)
    });
}
