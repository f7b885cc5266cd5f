//! The thread that notices a poll while it still runs, looks at its thread, and keeps what it saw for the report.
//!
//! It looks at the workers' slots, not at the threads themselves, until a poll is late; then it reads the thread's state from
//! /proc, copies its stack and unwinds it: at 1×, 2×, 4×, … the threshold. It never runs on the runtime, and nothing that it
//! does stops a worker, but for the signal to a thread that runs: it copies the stack there, in about a microsecond.

mod shot;
mod stall;

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use pollscope_stacks::thread::{ThreadRef, read_schedule};

use crate::journal::Key;
use crate::reporter::Control;
use crate::shared::Shared;
use shot::Camera;
use stall::{Ended, Reading, Stall};

/// While a stall lasts, how often it looks whether it is over: the error of the clocks read at its end.
const END_TICK_NS: u64 = 2_000_000;
/// The shortest time between two looks when nothing is late.
const SHORTEST_IDLE_NS: u64 = 5_000_000;
/// How often the clocks of threads on which nothing is late are read.
const READ_EVERY_NS: u64 = 50_000_000;

/// A poll that lasts this many times the threshold gets a line while it still runs.
const STILL: u64 = 10;

/// What a watchdog is told about the user's code.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// The folders of the user's workspace, as the compiler saw them.
    pub(crate) source_roots: Vec<std::path::PathBuf>,
}

/// Ends the thread when dropped, without waiting for it.
#[derive(Debug)]
pub(crate) struct Watchdog(Arc<Stop>);

#[derive(Debug, Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        *self.0.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_all();
    }
}

impl Stop {
    /// Whether it is time to end; waits until then, or for so long.
    fn wait(&self, ns: u64) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self.changed.wait_timeout_while(stopped, Duration::from_nanos(ns), |stopped| !*stopped);
        *wait.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Starts the thread.
pub(crate) fn spawn(shared: Arc<Shared>, control: Arc<Control>, options: Options) -> std::io::Result<Watchdog> {
    let stop = Arc::new(Stop::default());
    let watching = Watching {
        shared,
        control,
        camera: Camera::new(options.source_roots),
        threads: HashMap::new(),
        ended: Vec::new(),
        planned_ns: None,
    };
    let until = Arc::clone(&stop);
    thread::Builder::new().name("pollscope-watch".to_owned()).spawn(move || watching.run(&until))?;
    Ok(Watchdog(stop))
}

/// What is known of a slot's thread.
#[derive(Default)]
struct Thread {
    /// The last reading of its clocks while nothing was late, and whose they were.
    before: Option<(u32, Reading)>,
    stall: Option<Stall>,
}

struct Watching {
    shared: Arc<Shared>,
    control: Arc<Control>,
    camera: Camera,
    threads: HashMap<usize, Thread>,
    /// Stalls that ended, and are still to be understood: after all threads were looked at, as it can take a while.
    ended: Vec<(usize, Ended)>,
    /// When it meant to wake up.
    planned_ns: Option<u64>,
}

impl Watching {
    fn run(mut self, stop: &Stop) {
        loop {
            let now_ns = self.shared.clock.now_ns();
            let next_ns = self.look(now_ns);
            self.understand();
            self.planned_ns = Some(next_ns);
            // What it did meanwhile took time of its own.
            if stop.wait(next_ns.saturating_sub(self.shared.clock.now_ns())) {
                return;
            }
        }
    }

    /// Looks at every slot; when to look again.
    fn look(&mut self, now_ns: u64) -> u64 {
        let threshold_ns = self.shared.threshold_ns();
        let overslept_ns = self.planned_ns.map_or(0, |planned| now_ns.saturating_sub(planned));
        let suspended_ns = if overslept_ns >= threshold_ns / 2 { overslept_ns } else { 0 };
        // A poll that begins right after this look is half a threshold old at the next one, or is found by then.
        let mut next_ns = now_ns + (threshold_ns / 2).max(SHORTEST_IDLE_NS);
        for slot in self.shared.slots() {
            let thread = self.threads.entry(slot.number).or_default();
            if let Some(stall) = &mut thread.stall {
                stall.suspended_ns += suspended_ns;
            }
            let polling = slot.polling();
            let since_ns = polling.map(|polling| polling.since_ns);
            if let Some(stall) = thread.stall.take_if(|stall| Some(stall.start_ns) != since_ns)
                && stall.is_slow()
            {
                self.ended.push((slot.number, stall.end(now_ns)));
            }
            let tid = slot.tid.load(Relaxed);
            let age_ns = since_ns.map_or(0, |since| now_ns.saturating_sub(since));
            let Some(since_ns) = since_ns.filter(|_| age_ns >= threshold_ns / 2) else {
                thread.read(tid, now_ns);
                next_ns = since_ns.map_or(next_ns, |since| next_ns.min((since + threshold_ns / 2).max(now_ns)));
                continue;
            };
            let before = thread.before.and_then(|(of, reading)| (of == tid).then_some(reading));
            let stall = thread.stall.get_or_insert_with(|| Stall::new(since_ns, tid, before, now_ns));
            if age_ns >= threshold_ns {
                self.shared.watched(|watched| watched.begin((slot.number, since_ns)));
                stall.look(&mut self.camera, threshold_ns, age_ns, || self.shared.clock.now_ns());
                next_ns = next_ns.min(now_ns + END_TICK_NS);
            }
            next_ns = next_ns.min(stall.next_look_ns(threshold_ns));
            if !stall.is_said {
                next_ns = next_ns.min(since_ns.saturating_add(threshold_ns.saturating_mul(STILL)).max(now_ns));
            }
        }
        next_ns
    }
}

impl Watching {
    fn understand(&mut self) {
        for (slot, ended) in self.ended.drain(..) {
            let key: Key = (slot, ended.start_ns());
            let evidence = ended.evidence(&mut self.camera);
            let now_ns = self.shared.clock.now_ns();
            self.shared.watched(|watched| watched.end(key, evidence, now_ns));
        }
        let threshold_ns = self.shared.threshold_ns();
        for slot in self.shared.slots() {
            let Some(stall) = self.threads.get_mut(&slot.number).and_then(|thread| thread.stall.as_mut()) else {
                continue;
            };
            let Some(polling) = slot.polling().filter(|polling| polling.since_ns == stall.start_ns) else { continue };
            let age_ns = self.shared.clock.now_ns().saturating_sub(stall.start_ns);
            if !stall.is_said && age_ns >= threshold_ns.saturating_mul(STILL) {
                stall.is_said = true;
                let evidence = stall.latest(&mut self.camera);
                self.shared.say_still(&polling, age_ns, &evidence);
                self.control.wake();
            }
        }
    }
}

impl Thread {
    /// Reads the clocks of a thread on which nothing is late, now and then: what a poll began with is between two readings.
    fn read(&mut self, tid: u32, now_ns: u64) {
        let is_due = self.before.is_none_or(|(of, last)| of != tid || now_ns - last.at_ns >= READ_EVERY_NS);
        if tid != 0 && is_due {
            self.before = Reading::take(tid, now_ns).map(|reading| (tid, reading));
        }
    }
}

impl Reading {
    /// `None` where the kernel does not tell.
    fn take(tid: u32, at_ns: u64) -> Option<Reading> {
        let schedule = read_schedule(&ThreadRef::here(tid)).ok()?;
        Some(Reading { at_ns, cpu_ns: schedule.on_cpu_ns, run_delay_ns: schedule.run_delay_ns })
    }
}
