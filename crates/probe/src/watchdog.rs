//! The thread that notices a poll while it still runs, looks at its thread, and keeps what it saw for the report.
//!
//! It looks at the workers' slots, not at the threads themselves, until a poll is late; then it reads the thread's state from
//! /proc, copies its stack and unwinds it: at 1×, 2×, 4×, … the threshold. It never runs on the runtime, and nothing that it
//! does stops a worker, but for the signal to a thread that runs: it copies the stack there, in about a microsecond.

mod naming;
mod options;
mod stall;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use pollscope_base::CaptureNote;
use pollscope_stacks::SUPPORTED;
use pollscope_stacks::handler_stack::HandlerStack;
use pollscope_stacks::look::{ClockReading, Looker};
use pollscope_stacks::process::Process;
use pollscope_stacks::schedule::ask_for_short_slices;
use pollscope_stacks::seccomp;
use pollscope_stacks::thread::{Scheduled, ThreadRef, current_tid};

use crate::clock::Moment;
use crate::journal::Watched;
use crate::reporter::Control;
use crate::shared::Shared;
use crate::worker::Slot;
use naming::{Job, Naming};
pub(crate) use options::Options;
use stall::Stall;

/// While a stall lasts, how often it looks whether it is over: the error of the clocks read at its end.
const END_TICK_NS: u64 = 2_000_000;
/// A poll that begins right after a look when nothing is late is found so long before it is slow, for shorter thresholds a tenth
/// of them: time to prepare. A wake costs more than the look itself, so that there are no more of them than it takes.
const FOUND_AHEAD_NS: u64 = 1_000_000;
/// The shortest time between two looks when nothing is late.
const SHORTEST_IDLE_NS: u64 = 1_000_000;
/// And the longest: a threshold can be any number.
const LONGEST_IDLE_NS: u64 = 3_600_000_000_000;
/// How often the clocks of threads on which nothing is late are read.
const READ_EVERY_NS: u64 = 50_000_000;
/// How often it reads for how long it waited for a CPU itself.
const DELAY_EVERY_NS: u64 = 1_000_000_000;
/// After so long without a poll it sleeps until there is one: a look now and then is most of what it costs to watch nothing.
const ASLEEP_AFTER_NS: u64 = 1_000_000_000;
/// Oversleeping by less is no suspension of the process.
const SHORTEST_SUSPENSION_NS: u64 = 10_000_000;

/// Whether this build can look at the thread of a late poll, for the cause, the system call and the line: with the feature
/// `capture`, on Linux on x86-64. Durations, spawn sites and who waited are exact without.
pub const CAPTURE: bool = SUPPORTED;

/// Leaves in its slot what the watchdog finds the calling thread by, and where its signal handlers run.
pub(crate) fn show_this_thread(slot: &Slot) {
    slot.handler_stack.store(HandlerStack::of_current_thread().map_or(0, HandlerStack::to_word), Relaxed);
    slot.tid.store(current_tid(), Relaxed);
}

/// The thread of a slot.
fn thread_of(slot: &Slot, process: Process) -> ThreadRef {
    let handler_stack = HandlerStack::from_word(slot.handler_stack.load(Relaxed));
    ThreadRef { handler_stack, ..process.thread(slot.tid.load(Relaxed)) }
}

/// Ends the thread when dropped, without waiting for it.
#[derive(Debug)]
pub(crate) struct Watchdog(Arc<Shared>);

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.alarm.stop();
    }
}

/// Starts the thread.
pub(crate) fn spawn(shared: Arc<Shared>, control: Arc<Control>, options: Options) -> std::io::Result<Watchdog> {
    let watchdog = Watchdog(Arc::clone(&shared));
    if options.is_permitted {
        seccomp::permit();
    }
    let process = Process::current();
    let watching = Watching {
        process,
        naming: Naming::new(Arc::clone(&shared), process, options.source_roots),
        looker: Looker::new(process),
        shared,
        control,
        threads: HashMap::new(),
        suspended_ns: 0,
        without_cpu_ns: None,
        worked: (0, 0),
    };
    let reporter = Arc::clone(&watching.control);
    let run = move || {
        let (shared, control) = (Arc::clone(&watching.shared), Arc::clone(&watching.control));
        // The host goes on without evidence, and nobody waits for it any longer.
        if catch_unwind(AssertUnwindSafe(|| watching.run())).is_err() {
            shared.capture_limits.add(CaptureNote::WatchdogPanicked);
            shared.watched(Watched::abandon);
        }
        control.watch(false);
    };
    if SUPPORTED {
        watchdog.0.watched(Watched::start);
    }
    thread::Builder::new().name("pollscope-watch".to_owned()).spawn(run)?;
    reporter.watch(true);
    Ok(watchdog)
}

/// What is known of a slot's thread.
#[derive(Default)]
struct Thread {
    /// The last reading of its clocks while nothing was late, and whose they were.
    before: Option<(u32, ClockReading)>,
    /// What the slot had done by then.
    work: u64,
    /// The clocks, kept open, and whose they are.
    clocks: Option<(u32, Scheduled)>,
    stall: Option<Stall>,
}

struct Watching {
    /// This one.
    process: Process,
    shared: Arc<Shared>,
    control: Arc<Control>,
    looker: Looker,
    threads: HashMap<usize, Thread>,
    naming: Naming,
    /// How long the process did not run, up to this look.
    suspended_ns: u64,
    /// For how long this thread had no CPU before this look; `None` when that was not asked.
    without_cpu_ns: Option<u64>,
    /// What all slots had done, and when that last changed.
    worked: (u64, u64),
}

impl Watching {
    fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        shared.alarm.is_mine();
        // On a busy machine it is late by a slice of somebody else's without; where it is refused, it is.
        let _ = ask_for_short_slices();
        let me = Scheduled::open(&self.process.thread(current_tid())).ok();
        let delay_ns = || Some(me.as_ref()?.read().ok()?.run_delay_ns);
        let (mut before_ns, mut read_ns) = (delay_ns(), 0);
        loop {
            let next_ns = self.look();
            self.say_still();
            // After all threads were looked at: starting the thread that names, or naming without one, takes a while.
            let has_more = self.naming.hand_over();
            let ready_ns = self.shared.clock.now_ns();
            // What it did meanwhile took time of its own.
            let planned_ns = if has_more { ready_ns } else { next_ns.max(ready_ns) };
            // Now and then is enough: what it waits for a CPU meanwhile is little.
            if ready_ns.saturating_sub(read_ns) >= DELAY_EVERY_NS {
                (before_ns, read_ns) = (delay_ns(), ready_ns);
            }
            let slept = !has_more && self.is_idle(ready_ns) && shared.alarm.sleep(|| self.is_all_quiet());
            // What woke it began just now.
            let wait_ns = if slept { self.idle_ns() } else { planned_ns - ready_ns };
            let planned_ns = self.shared.clock.now_ns() + wait_ns;
            if shared.alarm.wait(wait_ns) {
                drop(self.naming);
                return self.looker.close();
            }
            let overslept_ns = self.shared.clock.now_ns().saturating_sub(planned_ns);
            (self.suspended_ns, self.without_cpu_ns) = if overslept_ns < SHORTEST_SUSPENSION_NS {
                (0, None)
            } else {
                let after_ns = delay_ns();
                let waited_ns = after_ns.zip(before_ns).map(|(after, before)| after.saturating_sub(before));
                before_ns = after_ns;
                (suspended_ns(overslept_ns, waited_ns), waited_ns)
            };
        }
    }

    /// Looks at every slot; when to look again.
    fn look(&mut self) -> u64 {
        let threshold_ns = self.shared.threshold_ns();
        let began_ns = self.shared.clock.now_ns();
        let idle_ns = began_ns + self.idle_ns();
        let slots = self.shared.slots();
        let next_ns = slots.iter().map(|slot| self.look_at(slot, threshold_ns)).fold(idle_ns, u64::min);
        if slots.iter().any(|slot| !slot.ring.is_empty()) || !self.shared.is_quiet() {
            self.shared.looked(began_ns, self.without_cpu_ns);
            self.control.wake_if_resting();
        }
        next_ns
    }

    /// How long to wait when nothing is late.
    fn idle_ns(&self) -> u64 {
        let threshold_ns = self.shared.threshold_ns();
        (threshold_ns - FOUND_AHEAD_NS.min(threshold_ns / 10)).clamp(SHORTEST_IDLE_NS, LONGEST_IDLE_NS)
    }

    /// Whether no thread did anything that is measured for a while.
    fn is_idle(&mut self, now_ns: u64) -> bool {
        let work = self.shared.slots().iter().map(|slot| slot.work()).fold(0, u64::wrapping_add);
        if work != self.worked.0 {
            self.worked = (work, now_ns);
        }
        now_ns.saturating_sub(self.worked.1) >= ASLEEP_AFTER_NS
    }

    /// Whether every thread waits for events, with nothing left to find out or to tell.
    fn is_all_quiet(&self) -> bool {
        let is_quiet =
            |slot: &Arc<Slot>| !slot.awake.is_awake() && slot.polling.is_in(Moment::NONE) && slot.ring.is_empty();
        self.threads.values().all(|thread| thread.stall.is_none())
            && self.shared.slots().iter().all(is_quiet)
            && self.shared.is_quiet()
    }

    /// Looks at one slot; when to look at it again, if before long.
    fn look_at(&mut self, slot: &Slot, threshold_ns: u64) -> u64 {
        // Looking at the slot before this one may have taken milliseconds.
        let now_ns = self.shared.clock.now_ns();
        let thread = self.threads.entry(slot.number).or_default();
        let polling = slot.polling.now();
        let start = polling.map(|polling| polling.start);
        if let Some(stall) = thread.stall.take_if(|stall| Some(stall.start) != start)
            && stall.is_begun
        {
            self.naming.add(Job::Ended(slot.number, Box::new(stall.end(now_ns))));
        }
        let looked_at = thread_of(slot, self.process);
        let Some(polling) = polling.filter(|polling| slot.polling.is_in(polling.start)) else {
            thread.read(slot, looked_at, now_ns);
            return u64::MAX;
        };
        // The slot's thread is in that poll before and after its id was read: it is its id.
        let start_ns = self.shared.clock.ns_at(polling.start);
        let from_ns = start_ns.saturating_add(polling.nested_ns);
        let age_ns = now_ns.saturating_sub(from_ns);
        if age_ns < threshold_ns / 2 {
            thread.read(slot, looked_at, now_ns);
            return (from_ns + threshold_ns / 2).max(now_ns);
        }
        let before = thread.before.and_then(|(of, reading)| (of == looked_at.tid).then_some(reading));
        let begin = || Stall::new(polling.start, start_ns, polling.nested_ns, looked_at, before, now_ns);
        let stall = thread.stall.get_or_insert_with(begin);
        stall.from_ns = from_ns;
        stall.suspended_ns += self.suspended_ns.min(age_ns);
        self.looker.prepare();
        let mut next_ns = u64::MAX;
        if age_ns >= threshold_ns {
            if !std::mem::replace(&mut stall.is_begun, true) {
                self.shared.watched(|watched| watched.begin((slot.number, polling.start)));
            }
            let goes_on = || slot.polling.is_in(polling.start);
            let look = stall.look(&mut self.looker, threshold_ns, || self.shared.clock.now_ns(), goes_on);
            self.looker.take_limits().into_iter().for_each(|limit| self.shared.capture_limits.add(limit));
            look.into_iter().for_each(|look| self.naming.add(Job::Look(look)));
            next_ns = now_ns + END_TICK_NS;
        }
        next_ns.min(stall.next_look_ns(threshold_ns)).min(stall.say_at_ns(threshold_ns).max(now_ns))
    }

    /// Says which stalls go on for long.
    fn say_still(&mut self) {
        let threshold_ns = self.shared.threshold_ns();
        for slot in self.shared.slots() {
            let Some(stall) = self.threads.get_mut(&slot.number).and_then(|thread| thread.stall.as_mut()) else {
                continue;
            };
            if stall.say_at_ns(threshold_ns) > self.shared.clock.now_ns() {
                continue;
            }
            let evidence = stall.latest();
            // It may be over by now.
            if let Some(polling) = slot.polling.now().filter(|polling| polling.start == stall.start) {
                stall.is_said = true;
                let age_ns = self.shared.clock.now_ns().saturating_sub(stall.from_ns);
                self.shared.say_still(&polling, age_ns, &evidence);
                self.control.wake();
            }
        }
    }
}

/// How much of the time that this thread slept too long the process did not run: not what it waited for a CPU. 0 where the
/// kernel does not tell, as nothing is known then.
fn suspended_ns(overslept_ns: u64, waited_ns: Option<u64>) -> u64 {
    waited_ns.map_or(0, |waited| overslept_ns.saturating_sub(waited))
}

impl Thread {
    /// Reads the clocks of a thread on which nothing is late, now and then: what a poll began with is between two readings.
    fn read(&mut self, slot: &Slot, thread: ThreadRef, now_ns: u64) {
        let tid = thread.tid;
        // A thread that did nothing since is as it was: on an idle runtime, reading its clocks is most of what a look costs.
        let work = slot.work();
        let is_due = self.before.is_none_or(|(of, last)| {
            of != tid || work != self.work && now_ns.saturating_sub(last.at_ns) >= READ_EVERY_NS
        });
        if tid == 0 {
            self.clocks = None;
        } else if is_due {
            if self.clocks.as_ref().is_none_or(|(of, _)| *of != tid) {
                self.clocks = Scheduled::open(&thread).ok().map(|clocks| (tid, clocks));
            }
            let read = self.clocks.as_ref().and_then(|(_, clocks)| clocks.read().ok());
            if read.is_none() {
                // Its thread ended; one of the same number may begin.
                self.clocks = None;
            }
            self.before = read.map(|schedule| (tid, ClockReading::new(schedule, now_ns)));
            self.work = work;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::runtime::Builder;
    use tokio::sync::oneshot;

    use super::*;
    use crate::clock::Clock;
    use crate::hooks::{self, Chained};
    use crate::watch::Watch;
    use pollscope_base::Evidence;

    /// Has a runtime with nothing to do until its watchdog sleeps, and then block: what was seen of that.
    fn block_after_sleep(mut builder: Builder, in_task: bool) -> Evidence {
        let shared = Arc::new(Shared::new(Clock::monotonic(), 20_000_000, 100));
        let watchdog = spawn(Arc::clone(&shared), Arc::default(), Options::default()).unwrap();
        hooks::install(&mut builder, &shared, Chained::default());
        let runtime = builder.worker_threads(2).build().unwrap();
        let (tell, told) = oneshot::channel();
        let looks_at = Arc::clone(&shared);
        let teller = thread::spawn(move || {
            let start = Instant::now();
            while !looks_at.alarm.is_asleep() && start.elapsed() < Duration::from_secs(60) {
                thread::sleep(Duration::from_millis(20));
            }
            tell.send(looks_at.alarm.is_asleep()).unwrap();
        });
        let block = async {
            assert!(told.await.unwrap(), "it never slept");
            thread::sleep(Duration::from_millis(300));
        };
        let block = Watch::new(block, Some(Arc::clone(&shared)), std::panic::Location::caller());
        match in_task {
            true => runtime.block_on(async { tokio::spawn(block).await.unwrap() }),
            false => runtime.block_on(block),
        }
        teller.join().unwrap();
        let is_whole = |seen: &Evidence| seen.captures > 0 || !pollscope_stacks::SUPPORTED;
        let seen = || shared.snapshot().slow_polls.into_iter().map(|poll| poll.evidence).find(is_whole);
        let evidence = (0..500).find_map(|_| {
            seen().or_else(|| {
                thread::sleep(Duration::from_millis(10));
                None
            })
        });
        drop(watchdog);
        evidence.unwrap_or_default()
    }

    #[test]
    fn it_sleeps_while_nothing_is_polled_and_sees_what_is_polled_then() {
        for in_task in [false, true] {
            for builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
                let evidence = block_after_sleep(builder, in_task);
                if pollscope_stacks::SUPPORTED {
                    assert!(evidence.captures > 0, "in a task: {in_task}: {evidence:?}");
                }
            }
        }
    }

    #[test]
    fn waiting_for_a_cpu_is_no_suspension() {
        assert_eq!(suspended_ns(300, Some(10)), 290);
        assert_eq!(suspended_ns(300, Some(390)), 0, "a busy machine");
        assert_eq!(suspended_ns(300, None), 0, "unknown");
    }
}
