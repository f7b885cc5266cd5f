//! One run of the program, looked at.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use pollscope_attach::{Attached, Settings, Target};
use pollscope_record::feed::{Update, run_of};
use pollscope_record::recording::Run;

use crate::clocks::{Offset, offset};
use crate::matching::{Matched, matched};
use crate::program::Program;
use crate::seen::{self, Seen};
use crate::truth::{Counted, Stall};

/// Before the program goes, whoever looks may find out what there is.
const BEFORE: Duration = Duration::from_millis(500);
/// By so much the thread that looks may begin after it was started, on a busy machine.
const THREAD_START_NS: u64 = 100_000_000;

/// What was, and what was seen of it, by the program's clock.
pub(crate) struct Looked {
    pub(crate) stalls: Vec<Stall>,
    pub(crate) counted: Counted,
    pub(crate) seen: Vec<Seen>,
    pub(crate) matched: Matched,
    pub(crate) offset: Offset,
    /// When looking was asked for.
    pub(crate) attached_ns: u64,
    /// Of those who look and who name, while the program ran: CPU time by its own time.
    pub(crate) shares: [Option<f64>; 2],
    pub(crate) run: Run,
}

/// Starts it, looks at it, and waits until it is over.
///
/// # Errors
/// A sentence.
pub(crate) fn look(program: &Path, arguments: &[String], settings: Settings) -> Result<Looked, String> {
    let said = |error: std::io::Error| format!("cannot run `{}`: {error}", program.display());
    let mut running = Program::start(program, arguments).map_err(said)?;
    let target = Target::open(running.pid(), &[]).map_err(|obstacle| obstacle.to_string())?;
    let before_ns = now_ns();
    let attached = Attached::to(target, settings, "2026-11-30T01:52:35.000Z").map_err(said)?;
    let after_ns = now_ns();
    let (start, stop) = (attached.start().clone(), attached.stop());
    let listening = thread::spawn(move || attached.collect::<Vec<Update>>());
    thread::sleep(BEFORE);
    let cpu_before = THREADS.map(cpu_ns);
    running.go().map_err(said)?;
    let (stalls, counted) = running.told()?;
    let cpu_after = THREADS.map(cpu_ns);
    // The last look at the last stall.
    thread::sleep(BEFORE / 5);
    stop.stop();
    let updates = listening.join().map_err(|_| "whoever listened panicked".to_owned())?;
    running.end().map_err(said)?;
    let run = run_of(start, updates);
    let seen = seen::all_of(&run);
    let exact: Vec<u64> =
        seen.iter().filter(|seen| seen.end_is.is_none() && !seen.is_open).map(|seen| seen.end_ns).collect();
    let ends: Vec<u64> = stalls.iter().map(|stall| stall.end_ns).collect();
    let offset = offset(&(before_ns..=after_ns + THREAD_START_NS), after_ns, &exact, &ends);
    let seen: Vec<Seen> = seen.into_iter().map(|seen| seen.by_clock(offset.ns)).collect();
    let elapsed_ns = counted.end_ns.saturating_sub(counted.begin_ns).max(1);
    let share = |thread: usize| Some(cpu_after[thread]?.checked_sub(cpu_before[thread]?)? as f64 / elapsed_ns as f64);
    Ok(Looked {
        matched: matched(&stalls, &seen),
        stalls,
        counted,
        seen,
        offset,
        attached_ns: before_ns,
        shares: [share(0), share(1)],
        run,
    })
}

/// Who looks, and who names.
const THREADS: [&str; 2] = ["pollscope-look", "pollscope-name"];

/// How long the thread of this process that is called so has had a CPU; `None` where there is none.
fn cpu_ns(name: &str) -> Option<u64> {
    let mut tasks = fs::read_dir("/proc/self/task").ok()?.flatten().map(|task| task.path());
    let task = tasks.find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name))?;
    fs::read_to_string(task.join("schedstat")).ok()?.split_whitespace().next()?.parse().ok()
}

/// `CLOCK_MONOTONIC`, by which the program tells its time.
fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time may be written to.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}
