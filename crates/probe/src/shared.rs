//! What a probe's handles, hooks and threads share. The poll path touches only its own slot, the clock and the threshold.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pollscope_base::escape::cut_name;
use pollscope_base::redact::{redacted_evidence, redacted_span};
use pollscope_base::{Blame, Cause, Charge, Distribution, Evidence, Ledger, Lines};

use crate::alarm::Alarm;
use crate::blocking_pool::Pools;
use crate::capture_limits::CaptureLimits;
use crate::clock::Clock;
use crate::coverage::coverage;
use crate::histogram::distribution;
use crate::journal::{Journal, Key, Measured, Still, Watched};
use crate::late_stretches::LateStretches;
use crate::names::Names;
use crate::overflows::Overflows;
use crate::polling::Frame;
use crate::ring::RawSlowPoll;
use crate::site::{NAME_MIXED, Polled};
use crate::snapshot::{Polling, Site, SlowPoll, Snapshot, unlisted};
use crate::sources::Sources;
use crate::tokio_api::TOKIO_UNSTABLE;
use crate::worker::Slot;

const SEVERAL: u64 = u64::MAX;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// What every poll reads is first, in that order, and not beside the counts of its handles.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Shared {
    pub(crate) id: u64,
    threshold_ns: AtomicU64,
    pub(crate) clock: Clock,
    /// The slot of the only thread so far that was a worker, and 1; 0: none was; `SEVERAL` were.
    only_worker: AtomicU64,
    pub(crate) names: Names,
    /// Why something is missing from evidence.
    pub(crate) capture_limits: CaptureLimits,
    /// Whether paths are hidden.
    pub(crate) redacted: bool,
    /// What a recording is called; `None` for the program's name.
    #[cfg(feature = "record")]
    pub(crate) label: Option<String>,
    pub(crate) sources: Arc<Sources>,
    /// Whether wake-to-poll times are recorded.
    pub(crate) tracks_waits: bool,
    pub(crate) alarm: Alarm,
    pub(crate) pools: Pools,
    pub(crate) late_stretches: LateStretches,
    overflows: Arc<Overflows>,
    slots: Mutex<Slots>,
    journal: Mutex<Journal>,
    /// Slow polls that found no room in their ring; written under the journal's lock.
    ring_dropped: AtomicU64,
    pub(crate) lines_printed: AtomicU64,
    pub(crate) lines_suppressed: AtomicU64,
    pub(crate) callback_panics: AtomicU64,
}

#[derive(Debug, Default)]
struct Slots {
    all: Vec<Arc<Slot>>,
    /// The names of their threads.
    thread_names: Vec<Option<Arc<str>>>,
    free: Vec<Arc<Slot>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere must not stop the measurement; every critical section leaves its data whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who waited for a poll, by its thread's slot.
fn blame_in(slots: &[Arc<Slot>], now_ns: u64) -> impl Fn(Key) -> Option<(Blame, bool)> {
    move |(slot, start)| slots.get(slot)?.blames.read(start, now_ns)
}

/// All threads' rows, by line, the longest waits first.
fn charges(slots: &[Arc<Slot>]) -> Vec<Charge> {
    let mut totals: BTreeMap<Option<[(&str, u32); 2]>, Charge> = BTreeMap::new();
    for row in slots.iter().flat_map(|slot| slot.ledger.rows()) {
        let line = |location: &'static std::panic::Location<'static>| (location.file(), location.line());
        let places = row.places().map(|(culprit, waiter)| [line(culprit), line(waiter)]);
        let [culprit, waiter] =
            [0, 1].map(|which| places.map(|places| places[which]).map(|(file, line)| format!("{file}:{line}")));
        let charge = totals.entry(places).or_insert_with(|| Charge::new(culprit, waiter));
        let (wait_ns, late) = (row.wait_ns.load(Acquire), row.late_tasks.load(Relaxed));
        charge.tasks += row.tasks.load(Relaxed) + late;
        charge.wait += Duration::from_nanos(wait_ns);
        charge.late_tasks += late;
        charge.wait_most += Duration::from_nanos(wait_ns + row.late_ns.load(Relaxed));
    }
    let mut charges: Vec<Charge> = totals.into_values().collect();
    charges.sort_by_key(|charge| std::cmp::Reverse(charge.wait_most));
    charges
}

/// The charges, and what of all waiting is in none of them.
fn ledger(charges: Vec<Charge>, latency: &Distribution) -> Ledger {
    let charged = charges.iter().map(|charge| charge.wait).sum();
    let mut ledger = Ledger::default();
    (ledger.charges, ledger.unattributed) = (charges, latency.sum().saturating_sub(charged));
    ledger
}

impl Shared {
    pub(crate) fn new(clock: Clock, threshold_ns: u64, keep_slow_polls: usize) -> Shared {
        Shared {
            id: NEXT_ID.fetch_add(1, Relaxed),
            threshold_ns: AtomicU64::new(threshold_ns),
            clock,
            only_worker: AtomicU64::new(0),
            names: Names::default(),
            capture_limits: CaptureLimits::default(),
            redacted: false,
            #[cfg(feature = "record")]
            label: None,
            sources: Arc::default(),
            tracks_waits: TOKIO_UNSTABLE,
            alarm: Alarm::default(),
            pools: Pools::new(),
            late_stretches: LateStretches::default(),
            overflows: Arc::new(Overflows::new()),
            slots: Mutex::default(),
            journal: Mutex::new(Journal::new(keep_slow_polls)),
            ring_dropped: AtomicU64::new(0),
            lines_printed: AtomicU64::new(0),
            lines_suppressed: AtomicU64::new(0),
            callback_panics: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(crate) fn threshold_ns(&self) -> u64 {
        self.threshold_ns.load(Relaxed)
    }

    pub(crate) fn set_threshold_ns(&self, threshold_ns: u64) {
        self.threshold_ns.store(threshold_ns, Relaxed);
        self.alarm.interrupt();
    }

    /// Whether no thread but this slot's, which is a worker now, was one so far.
    #[inline]
    pub(crate) fn is_only_worker(&self, slot: usize) -> bool {
        let this = slot as u64 + 1;
        match self.only_worker.load(Relaxed) {
            SEVERAL => false,
            only if only == this => true,
            0 if self.only_worker.compare_exchange(0, this, Relaxed, Relaxed).is_ok() => true,
            _ => {
                self.only_worker.store(SEVERAL, Relaxed);
                false
            }
        }
    }

    /// A slot for the calling thread, which polls for the first time.
    pub(crate) fn take_slot(&self) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        let free = slots.free.pop();
        let slot = free.unwrap_or_else(|| {
            let slot = Arc::new(Slot::new(slots.all.len(), self.tracks_waits, Arc::clone(&self.overflows)));
            slots.all.push(Arc::clone(&slot));
            slots.thread_names.push(None);
            slot
        });
        slots.thread_names[slot.number] = std::thread::current().name().map(|name| Arc::from(&*cut_name(name)));
        slot
    }

    /// The name of the thread that has a slot, or had it last.
    pub(crate) fn thread_name(&self, slot: usize) -> Option<Arc<str>> {
        lock(&self.slots).thread_names.get(slot)?.clone()
    }

    /// The slot of a thread that ended; its counts stay, and the next thread goes on with them.
    pub(crate) fn return_slot(&self, slot: &Arc<Slot>) {
        lock(&self.slots).free.push(Arc::clone(slot));
    }

    #[cfg(test)]
    pub(crate) fn slot_count(&self) -> usize {
        lock(&self.slots).all.len()
    }

    pub(crate) fn slots(&self) -> Vec<Arc<Slot>> {
        lock(&self.slots).all.clone()
    }

    /// A thread left that runtime, if it is one.
    pub(crate) fn leave_runtime(&self, runtime: u64) {
        self.pools.leave(runtime, |runtime| self.slots().iter().any(|slot| slot.is_in_runtime(runtime)));
    }

    /// Looks at the blocking pools; whether one is full.
    pub(crate) fn look_at_pools(&self) -> bool {
        self.pools.look(self.clock.now_ns(), self.threshold_ns())
    }

    /// Asks threads which runtime they are of, now and then.
    pub(crate) fn ask_for_runtimes(&self) {
        self.pools.ask(self.clock.now_ns(), |runtime| self.slots().iter().any(|slot| slot.is_in_runtime(runtime)));
    }

    /// Tells the journal what the watchdog is at work on, or what it found.
    pub(crate) fn watched(&self, tell: impl FnOnce(&mut Watched)) {
        tell(&mut lock(&self.journal).watched);
    }

    /// Tells the journal what the watchdog saw of a poll that is over.
    pub(crate) fn seen(&self, key: Key, evidence: Evidence) {
        let evidence = self.shown(evidence);
        let mut journal = lock(&self.journal);
        // The poll left its thread before the watchdog could know of its end: it finds it here, if it was slow.
        self.drain(&mut journal);
        journal.seen(key, evidence, self.clock.now_ns());
    }

    /// How long a poll lasted that the watchdog found over; `None` if it was not slow, or is part of one that goes on.
    pub(crate) fn measured(&self, key: Key) -> Option<Measured> {
        let mut journal = lock(&self.journal);
        // The poll left its thread before the watchdog could know of its end.
        self.drain(&mut journal);
        journal.measured(key)
    }

    /// Tells the journal what is known by now of a poll that still goes on.
    pub(crate) fn open(&self, key: Key, evidence: Evidence) {
        let evidence = self.shown(evidence);
        lock(&self.journal).watched.open(key, evidence);
    }

    /// Tells the journal what is known of a poll that is over, while its names are still to come.
    pub(crate) fn unnamed(&self, key: Key, evidence: Evidence) {
        let evidence = self.shown(evidence);
        lock(&self.journal).watched.unnamed(key, evidence);
    }

    /// Tells the journal that the watchdog looked at all threads, from that time on, and for how long it had had no CPU before.
    /// `unseen`: see [`Journal::looked`].
    pub(crate) fn looked(
        &self,
        at_ns: u64,
        without_cpu_ns: Option<u64>,
        unseen: &mut dyn FnMut(Key, Measured) -> Evidence,
    ) {
        let mut journal = lock(&self.journal);
        self.drain(&mut journal);
        journal.looked(at_ns, self.threshold_ns(), without_cpu_ns, unseen);
    }

    /// Evidence as it may be shown.
    pub(crate) fn shown(&self, evidence: Evidence) -> Evidence {
        if self.redacted { redacted_evidence(evidence) } else { evidence }
    }

    /// A poll that still goes on, to be told. `age_ns`: see [`Shared::own_ns`].
    pub(crate) fn still(&self, slot: &Slot, now: &Frame, age_ns: u64, evidence: Evidence, is_first: bool) -> Still {
        Still { stall: self.polling_in(slot, now, age_ns, self.shown(evidence)), is_first }
    }

    /// Has the reporter tell that a poll still goes on.
    pub(crate) fn say_still(&self, still: Still) {
        lock(&self.journal).say(still);
    }

    /// Moves slow polls from the rings into the journal, in the order in which they ended; the slots that they are of.
    fn drain(&self, journal: &mut Journal) -> Vec<Arc<Slot>> {
        // Listed under the journal's lock: an older list would take back what a newer one's rings had dropped.
        let slots = self.slots();
        let mut raw: Vec<(usize, RawSlowPoll)> = Vec::new();
        for slot in &slots {
            slot.ring.drain(|poll| raw.push((slot.number, poll)));
        }
        self.ring_dropped.store(slots.iter().map(|slot| slot.ring.dropped()).sum(), Relaxed);
        raw.sort_by_key(|(_, poll)| poll.end_ns);
        for (slot, poll) in raw {
            let id = journal.next_id();
            journal.add((slot, poll.start), poll.end_ns, self.slow_poll(id, &poll, &slots[slot]));
        }
        // Each time: a thread that is slow often forgets soon who waited.
        let now_ns = self.clock.now_ns();
        journal.charge(now_ns, &blame_in(&slots, now_ns));
        journal.tell_waiters(|(slot, start), waited| {
            let slot = slots.get(slot)?;
            let span = slot.spans.span(slot.blames.span_of_worst(start, waited))?;
            Some(if self.redacted { Arc::new(redacted_span(&span)) } else { span })
        });
        slots
    }

    fn slow_poll(&self, id: u64, raw: &RawSlowPoll, slot: &Slot) -> SlowPoll {
        let mut evidence = Evidence::default();
        evidence.cause = raw.handed_over.then_some(Cause::BlockInPlace);
        evidence.span = slot.spans.span(raw.span);
        let evidence = self.shown(evidence);
        SlowPoll {
            id,
            task_id: (raw.task != 0).then_some(raw.task),
            task_name: self.names.get(raw.name),
            spawned_at: raw.location,
            worker: raw.worker.map(|worker| worker as usize),
            thread_name: self.names.get(raw.thread),
            // The clock starts at 1.
            start: Duration::from_nanos(raw.start_ns - 1),
            duration: Duration::from_nanos(raw.duration_ns),
            evidence,
            blame: None,
            waiter_span: None,
        }
    }

    /// Calls what is not the probe's; a panic of it is caught, and counted.
    pub(crate) fn guard(&self, call: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(call)).is_err() {
            self.callback_panics.fetch_add(1, Relaxed);
        }
    }

    /// What the reporter has not seen yet: polls that still went on, to be told first, and how many more there were; the slow polls
    /// that need not wait, or, if forced, all; and whether none is left.
    pub(crate) fn take_queue(&self, force: bool) -> ((Vec<Still>, u64), Vec<SlowPoll>, bool) {
        let mut journal = lock(&self.journal);
        let slots = self.drain(&mut journal);
        let now_ns = self.clock.now_ns();
        let delivered = journal.deliver(now_ns, force, &blame_in(&slots, now_ns));
        if journal.awaits_look() {
            self.alarm.ring();
            self.alarm.interrupt();
        }
        // Of one moment with the polls: none of these is over yet, or only just.
        (journal.take_said(), delivered, journal.is_delivered())
    }

    /// Whether no slow poll is known that goes on, or is to be delivered, and no late stretch is to be told.
    pub(crate) fn is_quiet(&self) -> bool {
        self.late_stretches.is_quiet() && lock(&self.journal).is_quiet()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.read(true)
    }

    /// A snapshot without its slow polls: those can be thousands, with a stack each.
    #[cfg(feature = "record")]
    pub(crate) fn totals(&self) -> Snapshot {
        self.read(false)
    }

    fn read(&self, with_slow_polls: bool) -> Snapshot {
        let now_ns = self.clock.now_ns();
        // Before slow polls are collected: of a poll that ends meanwhile it is known that it did.
        let mut journal = lock(&self.journal);
        let open = self.open_polls();
        let slots = self.drain(&mut journal);
        let slow_polls = if with_slow_polls { journal.list() } else { Vec::new() };
        // A wait is counted among the latencies first, then in the ledger, then with its slow poll, and read the other way round: what
        // is in one of them is in all that are read after it.
        let charges = charges(&slots);
        let overflows = &self.overflows;
        let (polls, schedule_latency) = self.polls_and_latency(&slots);
        let busy = distribution(slots.iter().map(|slot| (&slot.busy_stretches, &overflows.busy_stretches)));
        let slow_poll_threshold = Duration::from_nanos(self.threshold_ns());
        let polling = self.polling(open, &journal, now_ns);
        let ring_dropped = self.ring_dropped.load(Relaxed);
        let total = journal.taken() + ring_dropped;
        let suppressed = self.lines_suppressed.load(Relaxed) + ring_dropped + journal.queue_dropped();
        let mut coverage = coverage(self.tracks_waits, journal.watched.looks());
        coverage.missing = journal.shortfalls.all();
        let (blocking_pool, pool_saturations) = self.pools.now();
        let (late_stretches, late_stretches_total) = self.late_stretches.listed();
        let ledger = schedule_latency.as_ref().map(|latency| ledger(charges, latency));
        Snapshot {
            at: Duration::from_nanos(now_ns - 1),
            clock: self.clock.source(),
            slow_poll_threshold,
            polls,
            schedule_latency,
            busy_stretches: busy,
            late_stretches_total,
            late_stretches_dropped: late_stretches_total - late_stretches.len() as u64,
            late_stretches,
            slow_polls_total: total,
            slow_polls_dropped: total - slow_polls.len() as u64,
            charged_unlisted: ledger.as_ref().map(|ledger| unlisted(ledger, &slow_polls)),
            slow_polls,
            lines: Lines { printed: self.lines_printed.load(Relaxed), suppressed },
            sites: self.sites(&slots),
            ledger,
            runtimes: self.pools.runtimes(),
            stalls_open: polling.iter().filter(|open| open.elapsed >= slow_poll_threshold).count() as u64,
            stalls_untold: journal.untold(),
            polling,
            blocking_pool,
            pool_saturations,
            names_refused: self.names.refused(),
            callback_panics: self.callback_panics.load(Relaxed),
            capture_notes: self.capture_limits.all(),
            coverage,
        }
    }

    /// All threads' polls, and wake-to-poll times where those are known.
    pub(crate) fn polls_and_latency(&self, slots: &[Arc<Slot>]) -> (Distribution, Option<Distribution>) {
        let overflows = &self.overflows;
        let polls = distribution(slots.iter().map(|slot| (&slot.polls, &overflows.polls)));
        let latency = || distribution(slots.iter().map(|slot| (&slot.schedule_latency, &overflows.schedule_latency)));
        (polls, self.tracks_waits.then(latency))
    }

    /// The polls that go on, as their threads show them.
    fn open_polls(&self) -> Vec<(Arc<Slot>, Frame)> {
        let slots = self.slots().into_iter();
        slots.filter_map(|slot| slot.polling.now().map(|now| (slot, now))).collect()
    }

    /// The same, without those that ended since, and so are slow polls by now: each is one or the other.
    fn polling(&self, mut open: Vec<(Arc<Slot>, Frame)>, journal: &Journal, now_ns: u64) -> Vec<Polling> {
        open.retain(|(slot, now)| journal.measured((slot.number, now.start)).is_none());
        let known_of = |slot: &Slot, now: &Frame| journal.watched.known_of(&(slot.number, now.start)).cloned();
        let told = open.iter().map(|(slot, now)| {
            self.polling_in(slot, now, self.own_ns(now, now_ns), known_of(slot, now).unwrap_or_default())
        });
        told.collect()
    }

    /// The poll that a thread is in.
    fn polling_in(&self, slot: &Slot, now: &Frame, own_ns: u64, evidence: Evidence) -> Polling {
        let worker = slot.worker(&self.pools);
        Polling {
            task_id: (now.task != 0).then_some(now.task),
            task_name: self.names.get(now.name),
            spawned_at: now.location,
            worker: worker.map(|worker| worker as usize),
            thread_name: if worker.is_none() { self.thread_name(slot.number) } else { None },
            elapsed: Duration::from_nanos(own_ns),
            evidence,
        }
    }

    /// For how long a poll goes on already, without the polls within it.
    pub(crate) fn own_ns(&self, now: &Frame, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.clock.ns_at(now.start)).saturating_sub(now.nested_ns)
    }

    /// All threads' rows, by line: one place can have several `Location`s in a binary, and one line several places. A line at a time:
    /// the buckets of all at once could take more than the threads themselves.
    fn sites(&self, slots: &[Arc<Slot>]) -> Vec<Site> {
        let mut rows: Vec<Polled<'_>> = slots.iter().flat_map(|slot| slot.sites.polled()).collect();
        rows.sort_by_key(Polled::place);
        let by_line = rows.chunk_by(|site, next| site.place() == next.place());
        let mut sites: Vec<Site> = by_line.map(|rows| self.site(rows)).collect();
        sites.sort_by_key(|site| std::cmp::Reverse(site.polls.sum_ns));
        sites
    }

    /// The rows of one line.
    fn site(&self, rows: &[Polled<'_>]) -> Site {
        let shared_name = rows.iter().map(|site| site.name).reduce(|a, b| if a == b { a } else { NAME_MIXED });
        let place = rows.first().and_then(|site| site.location);
        Site {
            spawned_at: place.map(|place| format!("{}:{}", place.file(), place.line())),
            task_name: shared_name.and_then(|name| self.names.get(name)),
            polls: distribution(rows.iter().map(|site| (site.polls, site.overflow))),
            slow: rows.iter().map(|site| site.slow).sum(),
        }
    }
}
