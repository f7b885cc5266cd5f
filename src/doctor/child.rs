//! Stalls that concern a whole process, which is therefore not the doctor's own: this program once more, as its child.
//!
//! The doctor writes a line to the child's stdin when it may begin. The child writes to stdout [`NOW`] in the middle of its stall,
//! when the doctor is to do its part, and at last what was injected and seen, as JSON.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{self, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_base::Cause;
use pollscope_base::reason;
use pollscope_stacks::quota::limited::{LimitedGroup, PERIOD};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, set_parent_process_death_signal, waitid};

use super::inject;
use super::spent::{Clocks, Spent};
use super::stalls::{Blocker, LENGTH, measured};
use super::{Injection, Sighting, Stall};
use crate::scenario::Flavor;

/// The variable that tells the child what to inject. No option, which completions would offer to people.
const ASKED: &str = "POLLSCOPE_DOCTOR_INJECTS";
/// What the child writes when it is the doctor's turn.
const NOW: &str = "now";
/// What the child may use of a CPU in each [`PERIOD`]: as much as a poll takes to become slow.
const ALLOWED: Duration = Duration::from_millis(20);
/// How long the child is stopped: longer than its poll takes otherwise, with all that the watchdog sleeps.
const STOP: Duration = LENGTH.saturating_mul(2);
/// How long to wait for the child's next word: longer than what it sees may take to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the child says at last.
type Said = Result<(Injection, Option<Sighting>), String>;

/// In a child of the doctor: injects the stall that it is to, when the doctor says so; gives what it says at last. `None` elsewhere.
pub(crate) fn in_child() -> Option<String> {
    let asked = std::env::var(ASKED).ok()?;
    // A child that is stopped would outlive a doctor that is killed.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let flavors = [Flavor::CurrentThread, Flavor::MultiThread];
    let mut all = Stall::ALL.into_iter().flat_map(|stall| flavors.map(|flavor| (stall, flavor)));
    let said: Said = match all.find(|(stall, flavor)| asked == what(*stall, *flavor)).zip(read_line()) {
        Some(((stall, flavor), _)) => inject::inject(stall, flavor),
        None => Err(format!("cannot inject `{asked}`: only `pollscope doctor` sets {ASKED}")),
    };
    Some(serde_json::to_string(&said).unwrap_or_default() + "\n")
}

/// What a child is asked for.
fn what(stall: Stall, flavor: Flavor) -> String {
    format!("{}, {}", stall.name(), flavor.as_str())
}

/// A line of stdin; `None` at its end.
fn read_line() -> Option<String> {
    let mut line = String::new();
    let length = io::stdin().read_line(&mut line).ok()?;
    (length > 0).then_some(line)
}

fn say_now() {
    let mut stdout = io::stdout();
    // When nobody hears it, nobody waits for it.
    let _ = writeln!(stdout, "{NOW}").and_then(|()| stdout.flush());
}

/// In the child: computes under a quota until it was used up twice, and then asks the doctor to lift it: what is found out afterwards
/// takes more CPU time.
pub(super) fn throttled() -> Blocker {
    // Two periods in which little runs, so that the quota is whole and the watchdog has its part of it.
    thread::sleep(PERIOD * 2);
    Box::new(|| {
        let start = Instant::now();
        let mut injected = measured!(Cause::BlockingCall, while start.elapsed() < PERIOD + PERIOD / 2 {});
        say_now();
        // While the quota is used up the watchdog has no CPU either: it may know neither cause nor line.
        injected.is_line_due = false;
        if !injected.causes.contains(&None) {
            injected.causes.push(None);
        }
        injected
    })
}

/// In the child: asks to be stopped, and waits until the doctor says for how long it was.
pub(super) fn suspended() -> Blocker {
    Box::new(|| {
        let mut told = String::new();
        say_now();
        let clocks = Clocks::start();
        let _ = io::stdin().read_line(&mut told);
        let line = format!("{}:{}", file!(), line!() - 1);
        let stopped = Duration::from_nanos(told.trim().parse().unwrap_or_default());
        Spent { stopped, ..clocks.spent() }.injection(Cause::BlockingCall, line)
    })
}

/// Injects a stall in a child.
///
/// # Errors
/// When it cannot be made: the reason.
pub(super) fn inject(stall: Stall, flavor: Flavor) -> Said {
    let no_group = |error: String| format!("no cgroup can be made: {error}");
    let group = (stall == Stall::Throttled).then(|| LimitedGroup::make(ALLOWED)).transpose().map_err(no_group)?;
    let mut child = Child::start(stall, flavor)?;
    group.as_ref().map_or(Ok(()), |group| group.add(child.process.id())).map_err(no_group)?;
    child.tell("go")?;
    let first = child.hear()?;
    match &group {
        _ if first != NOW => {}
        // Before more is read: without CPU time it says nothing.
        Some(group) => group.lift()?,
        None => {
            let stopped = child.stop()?;
            child.tell(&stopped.as_nanos().to_string())?;
        }
    }
    child.last(first)
}

/// The child process; killed when dropped.
struct Child {
    process: process::Child,
    lines: Receiver<String>,
}

impl Child {
    fn start(stall: Stall, flavor: Flavor) -> Result<Child, String> {
        let cannot = |error: io::Error| format!("cannot start a process for it: {}", reason(error));
        // By this name it is found also when its file was replaced meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command.arg("doctor").env(ASKED, what(stall, flavor));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().map_err(cannot)?;
        let (tell, lines) = channel();
        let stdout = process.stdout.take();
        let child = Child { process, lines };
        let reads = move || {
            let lines = stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
            lines.map_while(Result::ok).take_while(|line| tell.send(line.clone()).is_ok()).for_each(drop);
        };
        // It ends with the child.
        thread::Builder::new().name("doctor-child".to_owned()).spawn(reads).map_err(cannot)?;
        Ok(child)
    }

    fn tell(&mut self, line: &str) -> Result<(), String> {
        let stdin = self.process.stdin.as_mut().ok_or("the process for it does not listen")?;
        writeln!(stdin, "{line}").map_err(|error| format!("the process for it does not listen: {}", reason(error)))
    }

    fn hear(&mut self) -> Result<String, String> {
        self.lines.recv_timeout(PATIENCE).map_err(|error| match error {
            RecvTimeoutError::Timeout => format!("the process for it said nothing for {} s", PATIENCE.as_secs()),
            RecvTimeoutError::Disconnected => match self.process.wait() {
                Ok(status) => format!("the process for it ended early: {status}"),
                Err(error) => format!("the process for it ended early: {}", reason(error)),
            },
        })
    }

    /// What it says at last, which may be what it said first: that the stall cannot be made.
    fn last(&mut self, first: String) -> Said {
        let last = if first == NOW { self.hear()? } else { first };
        serde_json::from_str(&last)
            .unwrap_or_else(|error| Err(format!("cannot read what the process for it says: {}", reason(error))))
    }

    /// Stops it, after it was looked at and long before its stall is over; gives for how long.
    fn stop(&self) -> Result<Duration, String> {
        let cannot = |error: rustix::io::Errno| format!("cannot stop a process: {}", reason(error));
        let pid = Pid::from_child(&self.process);
        thread::sleep(LENGTH / 4);
        kill_process(pid, Signal::STOP).map_err(cannot)?;
        let asked = Instant::now();
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        while waitid(WaitId::Pid(pid), options).map_err(cannot)?.is_none_or(|status| !status.stopped()) {
            if asked.elapsed() >= PATIENCE {
                return Err("cannot stop a process: it does not stop".to_owned());
            }
            thread::sleep(Duration::from_millis(1));
        }
        let start = Instant::now();
        thread::sleep(STOP);
        let stopped = start.elapsed();
        kill_process(pid, Signal::CONT).map_err(cannot)?;
        Ok(stopped)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
