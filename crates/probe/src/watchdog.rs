//! The thread that notices a poll while it still runs, looks at its thread, and keeps what it saw for the report.
//!
//! It looks at the workers' slots, not at the threads themselves, until a poll has lasted for half the threshold; then it reads the
//! thread's state and clocks from /proc, and, whenever these say that it is elsewhere, copies its stack and unwinds it. It never
//! runs on the runtime, and nothing that it does stops a worker, but for the signal to a thread that runs: it copies the stack
//! there, in about a microsecond.

mod busy;
mod holders;
mod naming;
mod options;
mod past;
mod stall;
mod stops;
mod throttling;
mod unseen;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
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
use crate::journal::{Key, Watched};
use crate::reporter::Control;
use crate::shared::Shared;
use crate::worker::Slot;
use busy::Stretch;
use holders::Waiter;
use naming::{Job, Naming};
pub(crate) use options::Options;
use past::{Past, Settled};
use stall::Stall;
use stops::Stops;
use throttling::Throttling;
use unseen::Unseen;

/// While a stall lasts, how often it looks whether it is over: the error of the clocks read at its end.
const END_TICK_NS: u64 = 2_000_000;
/// The shortest time between two looks when nothing is late.
const SHORTEST_IDLE_NS: u64 = 1_000_000;
/// And the longest: a threshold can be any number.
const LONGEST_IDLE_NS: u64 = 3_600_000_000_000;
/// How often the clocks of threads on which nothing is late are read.
const READ_EVERY_NS: u64 = 10_000_000;
/// After so long without a poll it sleeps until there is one: a look now and then is most of what it costs to watch nothing.
const ASLEEP_AFTER_NS: u64 = 1_000_000_000;
/// For how long a look may wait for the thread's answer.
const LOOK_NS: u64 = 15_000_000;

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

/// Whether late polls are looked at with these options; if not, why.
pub(crate) fn looks(options: Option<&Options>) -> Result<(), &'static str> {
    match options {
        None => Err("as `capture(false)` says"),
        Some(_) if !SUPPORTED => Err("as they need Linux on x86-64"),
        Some(_) => Ok(()),
    }
}

/// The user's folders.
pub(crate) fn source_roots(options: &Options) -> Vec<PathBuf> {
    options.source_roots.clone()
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
        installer: Past::of_this_thread(shared.clock.now_ns()),
        throttling: Throttling::new(Arc::clone(&shared)),
        shared,
        control,
        threads: HashMap::new(),
        worked: (0, 0),
    };
    let reporter = Arc::clone(&watching.control);
    let run = move || {
        let (shared, control) = (Arc::clone(&watching.shared), Arc::clone(&watching.control));
        // The host goes on without evidence, and nobody waits for it any longer.
        if catch_unwind(AssertUnwindSafe(|| watching.run())).is_err() {
            shared.capture_limits.add(CaptureNote::WatchdogPanicked);
            shared.watched(Watched::abandon);
            shared.late_stretches.abandon();
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
    /// The last readings of its clocks while nothing was late.
    past: Past,
    /// What the slot had done by then.
    work: u64,
    /// The clocks, kept open, and whose they are.
    clocks: Option<(u32, Scheduled)>,
    stall: Option<Stall>,
    /// What its polls had taken at the last look.
    polled_ns: u64,
    stretch: Option<Stretch>,
}

struct Watching {
    /// This one.
    process: Process,
    shared: Arc<Shared>,
    control: Arc<Control>,
    looker: Looker,
    threads: HashMap<usize, Thread>,
    naming: Naming,
    throttling: Throttling,
    /// What the thread had done that started this one: often it is the first to block.
    installer: Past,
    /// What all slots had done, and when that last changed.
    worked: (u64, u64),
}

impl Watching {
    fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        shared.alarm.is_mine();
        // On a busy machine it is late by a slice of somebody else's without; where it is refused, it is.
        let _ = ask_for_short_slices();
        let mut stops = self.stops();
        loop {
            stops.beat(shared.clock.now_ns(), self.is_anything_polled(), || self.throttling.total_ns());
            let next_ns = self.look(&mut stops);
            self.say_still(&stops);
            // After all threads were looked at: starting the thread that names, or naming without one, takes a while.
            let has_more = self.naming.hand_over();
            let ready_ns = shared.clock.now_ns();
            // What it did meanwhile took time of its own.
            let planned_ns = if has_more { ready_ns } else { next_ns.max(ready_ns) };
            let may_sleep = self.naming.rest() && !has_more && self.is_idle(ready_ns);
            let slept = may_sleep && shared.alarm.sleep(|| self.is_all_quiet());
            // What woke it began just now.
            let wait_ns = if slept { self.idle_ns() } else { planned_ns - ready_ns };
            if slept {
                stops = self.stops();
            }
            stops.sleep(wait_ns);
            if shared.alarm.wait(wait_ns) {
                drop(self.naming);
                return self.looker.close();
            }
        }
    }

    /// From now on.
    fn stops(&mut self) -> Stops {
        Stops::new(self.shared.clock.now_ns(), self.throttling.total_ns())
    }

    /// Whether a poll is under way, or was late at the last look. What this thread misses from then on may be of a lock of the kernel
    /// that the poll has, as one that gives back much memory.
    fn is_anything_polled(&self) -> bool {
        self.threads.values().any(Thread::is_late)
            || self.shared.slots().iter().any(|slot| !slot.polling.is_in(Moment::NONE))
    }

    /// Looks at every slot; when to look again.
    fn look(&mut self, stops: &mut Stops) -> u64 {
        let threshold_ns = self.shared.threshold_ns();
        let began_ns = self.shared.clock.now_ns();
        // Before it is known whether a poll is late: then the quota may have been used up and be over already.
        self.throttling.look(began_ns);
        let idle_ns = began_ns + self.idle_ns();
        let slots = self.shared.slots();
        // Of the time before this look: a stall that ends in it is a beat of its own.
        let without_cpu_ns = stops.without_cpu_ns;
        let mut look_at = |slot| {
            let poll_ns = self.look_at(slot, threshold_ns, stops);
            poll_ns.min(self.look_at_stretch(slot, threshold_ns, stops))
        };
        let next_ns = slots.iter().map(|slot| look_at(slot)).fold(idle_ns, u64::min);
        if slots.iter().any(|slot| !slot.ring.is_empty()) || !self.shared.is_quiet() {
            let mut unseen = Unseen {
                process: self.process,
                threads: &self.threads,
                stops,
                throttling: &mut self.throttling,
                clock: &self.shared.clock,
                known: HashMap::new(),
            };
            let ns_at = |start| self.shared.clock.ns_at(start);
            let mut of = |(slot, start): Key, measured| unseen.evidence((slot, ns_at(start)), measured);
            self.shared.looked(began_ns, without_cpu_ns, &mut of);
            self.control.wake_if_resting();
        }
        // The reporter looks as well, but seldom while there is nothing to tell.
        if self.shared.look_at_pools() | self.shared.has_long_stretch() {
            self.control.wake_if_resting();
        }
        next_ns
    }

    /// How long to wait when nothing is late: a poll that begins right after a look is found when it is to be looked at first. A
    /// wake costs more than the look itself, so that there are no more of them than it takes.
    fn idle_ns(&self) -> u64 {
        (self.shared.threshold_ns() / 2).clamp(SHORTEST_IDLE_NS, LONGEST_IDLE_NS)
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
        !self.threads.values().any(Thread::is_late)
            && self.shared.slots().iter().all(is_quiet)
            && self.shared.is_quiet()
    }

    /// Looks at one slot; when to look at it again, if before long.
    fn look_at(&mut self, slot: &Slot, threshold_ns: u64, stops: &mut Stops) -> u64 {
        // Looking at the slot before this one may have taken milliseconds.
        let now_ns = self.shared.clock.now_ns();
        let thread = self.threads.entry(slot.number).or_default();
        let polling = slot.polling.now();
        let start = polling.map(|polling| polling.start);
        if let Some(mut stall) = thread.stall.take_if(|stall| Some(stall.start) != start) {
            stops.beat(now_ns, true, || self.throttling.total_ns());
            stall.take_late(&mut self.looker, now_ns, threshold_ns);
            self.looker.forget(stall.thread());
            end(stall, slot, (stops, &mut self.throttling), &self.shared, &mut self.naming);
        }
        let looked_at = thread_of(slot, self.process);
        thread.past.become_of(looked_at.tid, &self.installer);
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
        let past = thread.past;
        let begin = || {
            let quota_from = self.throttling.before(now_ns);
            Stall::new(polling.start, start_ns, polling.nested_ns, looked_at, past, now_ns).under(quota_from)
        };
        let stall = thread.stall.get_or_insert_with(begin);
        stall.from_ns = from_ns;
        self.looker.prepare();
        let key = (slot.number, polling.start);
        if age_ns >= threshold_ns && !std::mem::replace(&mut stall.is_begun, true) {
            self.shared.watched(|watched| watched.begin(key));
        }
        let goes_on = || slot.polling.is_in(polling.start);
        if let Some(inside) = slot.spans.now().filter(|_| goes_on()) {
            stall.spans.look(now_ns, inside, &slot.spans);
            let is_refused = stall.spans.has_unknown() && slot.spans.refused();
            self.shared.capture_limits.add(is_refused.then_some(CaptureNote::SpansRefused));
        }
        let asked_ns = self.shared.clock.now_ns();
        if stall.look(&mut self.looker, threshold_ns, || self.shared.clock.now_ns(), goes_on) {
            stops.sleep(self.shared.clock.now_ns().saturating_sub(asked_ns).min(LOOK_NS));
        }
        self.looker.take_limits().into_iter().for_each(|limit| self.shared.capture_limits.add(limit));
        if stall.is_begun {
            for look in stall.take_unnamed() {
                let waits = stall.asks_for_holder(&look).then_some(Waiter { key, thread: looked_at });
                self.naming.add(Job::Look(look, waits));
            }
            if stall.told.evidence(age_ns, stall.is_named()) {
                self.shared.open(key, stall.so_far(now_ns, stops, &mut self.throttling));
            }
        }
        (now_ns + END_TICK_NS).min(stall.next_look_ns(threshold_ns)).max(now_ns)
    }

    /// Says which stalls go on for long.
    fn say_still(&mut self, stops: &Stops) {
        let threshold_ns = self.shared.threshold_ns();
        for slot in self.shared.slots() {
            let Some(stall) = self.threads.get_mut(&slot.number).and_then(|thread| thread.stall.as_mut()) else {
                continue;
            };
            let now_ns = self.shared.clock.now_ns();
            let age_ns = now_ns.saturating_sub(stall.from_ns);
            let is_named = stall.is_named();
            if !stall.is_begun || age_ns < stall.told.line_at_ns(threshold_ns, is_named) {
                continue;
            }
            let evidence = stall.so_far(now_ns, stops, &mut self.throttling);
            // It may be over by now.
            if let Some(polling) = slot.polling.now().filter(|polling| polling.start == stall.start) {
                let is_first = stall.told.line(is_named);
                self.shared.say_still(self.shared.still(&slot, &polling, age_ns, evidence, is_first));
                self.control.wake();
            }
        }
    }
}

/// A stall is over; what was seen of it is told if it was a slow poll, or may still be one.
fn end(
    mut stall: Stall,
    slot: &Slot,
    (stops, throttling): (&Stops, &mut Throttling),
    shared: &Shared,
    naming: &mut Naming,
) {
    let key = (slot.number, stall.start);
    let measured = shared.measured(key);
    if !stall.is_begun {
        if measured.is_none() {
            return;
        }
        // It became one after the last look.
        shared.watched(|watched| watched.begin(key));
    }
    stall.take_unnamed().into_iter().for_each(|look| naming.add(Job::Look(look, None)));
    naming.add(Job::Ended(slot.number, Box::new(stall.end_under(throttling, measured, stops))));
}

impl Thread {
    /// Whether it is looked at.
    fn is_late(&self) -> bool {
        self.stall.is_some() || self.stretch.as_ref().is_some_and(Stretch::is_late)
    }

    /// Reads the clocks of a thread on which nothing is late, now and then: what a poll began with is between two readings.
    fn read(&mut self, slot: &Slot, thread: ThreadRef, now_ns: u64) {
        let tid = thread.tid;
        // A thread that did nothing since is as it was: on an idle runtime, reading its clocks is most of what a look costs.
        let work = slot.work();
        let is_due =
            self.past.last().is_none_or(|last| work != self.work && now_ns.saturating_sub(last.at_ns) >= READ_EVERY_NS);
        if tid == 0 {
            self.clocks = None;
        } else if is_due {
            if self.clocks.as_ref().is_none_or(|(of, _)| *of != tid) {
                self.clocks = Scheduled::open(&thread).ok().map(|clocks| (tid, clocks));
            }
            let read = self.clocks.as_ref().and_then(|(_, clocks)| {
                // First: a wait for a CPU that begins now is of later than `now_ns` all the same.
                let is_sure = clocks.is_not_waiting(&thread).ok()?;
                Some(Settled { is_sure, clocks: ClockReading::new(clocks.read().ok()?, now_ns) })
            });
            match read {
                Some(read) => self.past.add(tid, read),
                // Its thread ended; one of the same number may begin.
                None => (self.clocks, self.past) = (None, Past::default()),
            }
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
}
