//! Threads of other processes whose files stay open.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pollscope_stacks::process::Process;
use pollscope_stacks::thread::{KERNEL_TICK_NS, State, StateError, ThreadRef, Watched, read_schedule, read_state};

use crate::support::PATIENCE;

fn cat() -> (Child, ThreadRef) {
    let child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let thread = Process::open(child.id()).unwrap().thread(child.id());
    (child, thread)
}

#[test]
fn what_open_files_tell_is_what_the_thread_does() {
    let (mut child, thread) = cat();
    let watched = Watched::open(&thread).unwrap();
    let begin = Instant::now();
    // 0 is `read`.
    while !matches!(watched.state().unwrap(), State::InSyscall { number: 0, args: [0, ..], .. }) {
        assert!(begin.elapsed() < PATIENCE, "{:?}", watched.state());
        std::thread::sleep(Duration::from_millis(1));
    }
    for _ in 0..3 {
        assert_eq!(watched.state(), read_state(&thread));
        assert_eq!(watched.schedule().unwrap(), read_schedule(&thread).ok());
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

/// Runs programs until one has this number; only some may choose the next one.
fn take_number(pid: u32) -> Option<Child> {
    for _ in 0..200 {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).ok()?;
        let (mut child, _) = cat();
        if child.id() == pid {
            return Some(child);
        }
        drop(child.stdin.take());
        child.wait().unwrap();
    }
    None
}

#[test]
fn a_thread_that_ended_is_nobody_also_when_another_has_its_number() {
    let (mut child, thread) = cat();
    let watched = Watched::open(&thread).unwrap();
    assert!(watched.state().is_ok() && watched.schedule().is_ok());
    drop(child.stdin.take());
    child.wait().unwrap();
    let is_gone = || {
        let is_gone = |why| why == StateError::NotFound;
        let (state, schedule) = (watched.state().unwrap_err(), watched.schedule().unwrap_err());
        assert!(is_gone(state.why) && is_gone(schedule.why), "{state} {schedule}");
        assert!(Watched::open(&thread).is_err_and(|error| is_gone(error.why)), "its process ended");
    };
    is_gone();
    // Processes of one number are told apart by when they began, which the kernel counts in ticks.
    std::thread::sleep(Duration::from_nanos(2 * KERNEL_TICK_NS));
    match take_number(thread.tid) {
        Some(mut other) => {
            let now = Process::open(thread.tid).unwrap().thread(thread.tid);
            assert!(Watched::open(&now).unwrap().state().is_ok(), "another has the number");
            is_gone();
            drop(other.stdin.take());
            other.wait().unwrap();
        }
        None => eprintln!("SKIP: no other process could be given the number {}", thread.tid),
    }
}
