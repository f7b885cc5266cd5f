//! Starts programs, gives their recordings to the report, and compares what it says of them.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use pollscope_base::Cause;
use pollscope_stacks::quota::limited::{LimitedGroup, PERIOD};
use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};
use serde_json::Value;
use tempfile::TempDir;

use super::program::{BLOCK, is_told, lacks_in, recording_in, tell, work_in};
use super::{Around, Case, LOG, disk, resolver, streams};
use crate::faults::disk::{Call, Disk, Fault, Plan};
use crate::faults::private_mounts;
use crate::support::{alone, finish, pid, pollscope, run, send, stderr, stdout, wait_until};

/// Which program to be, as `case/form`: 0 is the one that blocks.
pub(super) const ASKED: &str = "POLLSCOPE_FIXES";
/// Its folder.
pub(super) const FOLDER: &str = "POLLSCOPE_FIXES_FOLDER";
/// A program is started again when the machine did to it what is not of its row.
const TRIES: u32 = 3;
/// The CPU time in each [`PERIOD`] of a group that is throttled.
const SMALL: Duration = Duration::from_millis(15);
/// For how long a process is stopped: longer than all that its poll takes besides.
const STOP: Duration = Duration::from_millis(400);

/// A program that ran to its end.
struct Ran {
    work: u64,
    /// What `pollscope report` says of it, and with `--full`.
    answer: String,
    report: String,
    slow_polls: Vec<Value>,
}

/// Runs the program that blocks and each that follows the advice.
pub(super) fn check(name: &str, case: &Case) {
    let _alone = case.computes().then(alone);
    let Some(before) = tried(name, case, 0, |ran| case.is_found(ran)) else { return };
    assert!(before.work > 0, "{name}: no work was done");
    for (index, (words, _)) in case.afters.iter().enumerate() {
        if let Some(after) = tried(name, case, index + 1, |ran| case.is_gone(ran)) {
            assert_eq!(after.work, before.work, "{name}: not the same work with `{words}`");
        }
    }
}

/// That nothing is told as a stop of a process that is not stopped, however its watchdog fares.
pub(super) fn is_never_stopped(name: &str, case: &Case) {
    let _alone = alone();
    let ran = ran(name, case, 0).expect("it lacks nothing");
    assert!(!ran.slow_polls.is_empty(), "{name} is slow");
    assert_not_stopped(name, &ran);
}

/// Null before wrong, however busy the machine is.
fn assert_not_stopped(name: &str, ran: &Ran) {
    let is_stop = |poll: &Value| poll["cause"] == "suspended";
    assert!(!ran.slow_polls.iter().any(is_stop), "{name} was never stopped: {:#?}", ran.slow_polls);
}

/// Whether more threads than there are CPUs were ready for the last minute.
fn is_busy() -> bool {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let ready: Option<f64> = load.split(' ').next().and_then(|minute| minute.parse().ok());
    let cpus = thread::available_parallelism().map_or(1, |cpus| cpus.get());
    ready.is_some_and(|ready| ready > cpus as f64)
}

/// A run that is as it should be; `None` where the machine cannot show it.
fn tried(name: &str, case: &Case, form: usize, judge: impl Fn(&Ran) -> Result<(), String>) -> Option<Ran> {
    let (mut wrong, mut is_held_up) = (Vec::new(), true);
    for _ in 0..TRIES {
        let ran = match ran(name, case, form) {
            Ok(ran) => ran,
            Err(why) => {
                println!("SKIP: {name}, form {form}: {why}");
                return None;
            }
        };
        if case.cause != Cause::Suspended {
            assert_not_stopped(name, &ran);
        }
        match judge(&ran) {
            Ok(()) => return Some(ran),
            Err(why) => wrong.push(why),
        }
        // On a busy machine what is seen may not suffice for a cause, and where CPU time is what counts others have it.
        let is_unclear = |poll: &Value| (poll["cause"].is_null() || case.computes()) && is_busy();
        is_held_up &= ran.slow_polls.iter().any(|poll| case.is_held_up(poll) || is_unclear(poll));
    }
    let wrong = wrong.join("\n\n");
    assert!(is_held_up, "{name}, form {form}:\n{wrong}");
    println!("SKIP: {name}, form {form}: the machine left the program too little of its CPUs, {TRIES} times:\n{wrong}");
    None
}

impl Case {
    /// Whether a slow poll is what the row is about.
    fn is_seen_in(&self, poll: &Value) -> bool {
        let call = poll["places"][0]["syscall"]["name"].as_str();
        poll["cause"] == self.cause.as_str()
            && (self.calls.is_empty() || call.is_some_and(|call| self.calls.contains(&call)))
    }

    /// That it is in the recording, at a line of the program unless the machine did it, and that the reports say what its row says.
    fn is_found(&self, ran: &Ran) -> Result<(), String> {
        let is_here = |poll: &Value| match poll["places"][0]["line"].as_str() {
            Some(line) => line.starts_with("tests/it/fixes/"),
            None => self.is_the_machines(),
        };
        let (fix, help) = (format!("fix: {}", self.fix()), format!("= help: {}", self.fix()));
        if !ran.slow_polls.iter().any(|poll| self.is_seen_in(poll) && is_here(poll)) {
            return Err(format!("not found: {:#?}", ran.slow_polls));
        }
        match ran.answer.contains(&fix) && ran.report.contains(&help) {
            true => Ok(()),
            false => Err(format!("other advice than `{}`:\n{}\n{}", self.fix(), ran.answer, ran.report)),
        }
    }

    /// That there is no slow poll any more, but for what the machine does to any program.
    fn is_gone(&self, ran: &Ran) -> Result<(), String> {
        let own = ran.slow_polls.iter().find(|poll| self.is_seen_in(poll) || !self.is_held_up(poll));
        if let Some(poll) = own {
            return Err(format!("still there: {poll:#?}"));
        }
        match ran.answer.contains(self.fix()) || ran.report.contains(self.fix()) {
            true => Err(format!("the same advice once more:\n{}\n{}", ran.answer, ran.report)),
            false => Ok(()),
        }
    }

    /// Whether a poll waited for a CPU for most of its time, or would not have been slow without that.
    fn is_held_up(&self, poll: &Value) -> bool {
        let waited = poll["duration_ns"].as_u64().zip(poll["run_delay_ns"].as_u64());
        let is_short = |(took, delay): (u64, u64)| u128::from(took.saturating_sub(delay)) < self.threshold.as_nanos();
        poll["cause"] == "preempted" || waited.is_some_and(is_short)
    }

    fn computes(&self) -> bool {
        matches!(self.cause, Cause::Cpu | Cause::Kernel | Cause::Preempted | Cause::Throttled)
    }

    fn is_the_machines(&self) -> bool {
        matches!(self.cause, Cause::Preempted | Cause::Suspended | Cause::Throttled)
    }
}

/// Runs one program; an error says what the machine lacks for it. Its mounts are those of a thread, and go with it.
fn ran(name: &str, case: &Case, form: usize) -> Result<Ran, String> {
    let ran = thread::scope(|scope| scope.spawn(|| ran_here(name, case, form)).join());
    ran.unwrap_or_else(|why| std::panic::resume_unwind(why))
}

fn ran_here(name: &str, case: &Case, form: usize) -> Result<Ran, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = command(name, form, folder.path());
    let _disk = match &case.around {
        Around::SlowDisk(call) => Some(slow_disk(folder.path(), *call)?),
        _ => None,
    };
    match &case.around {
        Around::Variable(name, value) => _ = command.env(name, value),
        Around::Resolver => resolver::start(folder.path())?,
        _ => {}
    }
    let mut child = command.spawn().expect("it starts");
    let mut work = None;
    let mut group = None;
    match &case.around {
        Around::SlowReader => {
            let written = streams::read_slowly(child.stdout.take().expect("it is a pipe"));
            let written = String::from_utf8_lossy(&written);
            work = Some(written.lines().filter(|line| line.contains(LOG)).count() as u64);
        }
        Around::Quota => group = Some(limit(&child, folder.path(), form == 0)),
        Around::Stop => stop(&child, folder.path(), form == 0),
        _ => {}
    }
    let output = finish(child);
    drop(group.transpose()?);
    assert!(output.status.success(), "{name}, form {form}: {}\n{}{}", output.status, stdout(&output), stderr(&output));
    if let Ok(lacking) = fs::read_to_string(lacks_in(folder.path())) {
        return Err(format!("the machine lacks {lacking}"));
    }
    let own: u64 = fs::read_to_string(work_in(folder.path())).expect("it says").parse().expect("a number");
    Ok(Ran { work: work.unwrap_or(own), ..report(&folder) })
}

fn command(name: &str, form: usize, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(["--exact", "fixes::program_of_a_case", "--nocapture", "--test-threads=1"]);
    command.env(ASKED, format!("{name}/{form}")).env(FOLDER, folder).env("RUST_BACKTRACE", "0");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What the reports say, in one line each, and the slow polls that the recording has.
fn report(folder: &TempDir) -> Ran {
    let file = recording_in(folder.path());
    let said = |option: Option<&str>| {
        let said = run(pollscope().arg("report").arg(&file).args(option));
        assert_eq!(said.status.code(), Some(0), "{}", stderr(&said));
        stdout(&said).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let json = fs::read_to_string(&file).expect("it is there");
    let json: Value = serde_json::from_str(&json).expect("it is JSON");
    let slow_polls = json["runs"][0]["slow_polls"].as_array().expect("a list").clone();
    Ran { work: 0, answer: said(None), report: said(Some("--full")), slow_polls }
}

/// A disk on which calls of one kind take long.
fn slow_disk(folder: &Path, call: Call) -> Result<Disk, String> {
    private_mounts()?;
    let at = disk::folder(folder);
    fs::create_dir(&at).expect("a folder can be made");
    let disk = Disk::mount(&at, disk::FILE).map_err(|error| format!("no FUSE: {error}"))?;
    // Of reads the first one: a file is read until nothing more comes.
    let more = if call == Call::Read { 0 } else { u64::MAX };
    disk.reset(Plan { call, fault: Fault::Late(BLOCK), at: 1, more });
    if call == Call::Read {
        fs::write(at.join(disk::FILE), disk::CONTENT).expect("the disk works");
    }
    Ok(disk)
}

/// Puts a program into a group with a quota, small or large, before it computes; lifts it afterwards, as what is found out then takes
/// CPU time as well.
fn limit(child: &Child, folder: &Path, is_small: bool) -> Result<LimitedGroup, String> {
    let made = LimitedGroup::make(if is_small { SMALL } else { PERIOD * 10 }).and_then(|group| {
        wait_until("a program that is ready", || is_told(folder, "ready"));
        group.add(child.id()).map(|()| group)
    });
    // Two periods in which little runs, so that the quota is whole and the watchdog has its part of it.
    thread::sleep(PERIOD * 2);
    tell(folder, "go");
    let group = made.map_err(|why| format!("no control group with a quota: {why}"))?;
    wait_until("the end of its poll", || is_told(folder, "over"));
    group.lift()?;
    Ok(group)
}

/// Lets a program go on, after it was stopped for a while or at once.
fn stop(child: &Child, folder: &Path, is_stopped: bool) {
    wait_until("a program in its poll", || is_told(folder, "ready"));
    if is_stopped {
        send(child, Signal::STOP);
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        wait_until("a program that is stopped", || {
            waitid(WaitId::Pid(pid(child)), options).is_ok_and(|it| it.is_some())
        });
        thread::sleep(STOP);
        send(child, Signal::CONT);
    }
    tell(folder, "go");
}
