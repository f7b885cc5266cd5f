//! A process that is stopped in the midst of a poll, by another one.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::cases::{BLOCK, Case, Load, at};
use super::truth::Did;
use pollscope_probe::Cause;

/// Much longer than what the polls do without it.
const STOP: &str = "0.4";

pub(crate) const CASES: [Case; 3] = [
    Case { name: "stopped while it sleeps", off_cpu: &[Cause::BlockingCall], prepare: |_| stopped(sleep) },
    Case { name: "stopped while it waits", off_cpu: &[Cause::Lock], prepare: |_| stopped(condition) },
    Case { name: "stopped while it computes", off_cpu: &[Cause::PageFault], prepare: |_| stopped(compute) },
];

/// The stops begin after another time each, from before the first look to after the last.
static STOPS: AtomicU64 = AtomicU64::new(0);

fn stopped(run: fn() -> Did) -> Load {
    let after = 1 + STOPS.fetch_add(7, Relaxed) % 55;
    let script = format!("echo; read go; sleep 0.{after:03}; kill -STOP $PPID; sleep {STOP}; kill -CONT $PPID");
    let mut child =
        Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut go, mut told) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    told.read_line(&mut String::new()).unwrap();
    Box::new(move || {
        go.write_all(b"\n").unwrap();
        let did = run();
        // Whoever waits for its end may be stopped: not in this poll.
        thread::spawn(move || (told.read_to_end(&mut Vec::new()), child.wait()));
        did
    })
}

fn sleep() -> Did {
    let did = at((thread::sleep(BLOCK), line!()).1);
    Did { waits: Some(BLOCK), ..did }
}

fn condition() -> Did {
    let (mutex, condition) = (Mutex::new(()), Condvar::new());
    let did = at((drop(condition.wait_timeout(mutex.lock().unwrap(), BLOCK)), line!()).1);
    Did { waits: Some(BLOCK), ..did }
}

fn compute() -> Did {
    let used = || {
        let used = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(used.tv_sec.unsigned_abs(), u32::try_from(used.tv_nsec).expect("less than a second"))
    };
    let first = line!();
    let end = used() + BLOCK;
    while used() < end {}
    Did { waits: Some(Duration::ZERO), ..Did::at((first - 5, line!())) }
}
