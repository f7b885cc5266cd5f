//! One slot a thread that polls: what it polls now, and counters that only it writes.
//!
//! A slot belongs to a thread, not to a worker index: `block_in_place` hands a worker's core to another thread in the
//! middle of a poll, and two threads must never write the same counters.

use std::panic::Location;
use std::sync::Arc;

use crate::blame::Blames;
use crate::blocking_pool::Pools;
use crate::histogram::{Coarse, Latencies, Polls};
use crate::ledger::Ledger;
use crate::names::NameId;
use crate::overflows::Overflows;
use crate::polling::{Frame, Polling};
use crate::ring::{RawSlowPoll, Ring};
use crate::site::Sites;
use crate::spans;
use crate::sync::MODELLED;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

/// Whether a thread may begin a poll without saying so before; while it waits for events, it may not.
#[derive(Debug, Default)]
pub(crate) struct Awake(AtomicBool);

impl Awake {
    /// It may from now on. The watchdog, which may be asleep, is to be told after this.
    #[inline]
    pub(crate) fn wake(&self) {
        self.0.store(true, SeqCst);
    }

    #[inline]
    pub(crate) fn rest(&self) {
        self.0.store(false, Release);
    }

    pub(crate) fn is_awake(&self) -> bool {
        self.0.load(SeqCst)
    }
}

/// Which runtime a thread is of, and whether it waits for events there: told when it parks.
#[derive(Debug, Default)]
pub(crate) struct Home {
    /// 0 where nobody asked, and once the thread left it.
    pub(crate) runtime: AtomicU64,
    pub(crate) is_parked: AtomicBool,
    /// The runtime in which it polled without having been unparked there by the probe's hook; 0 once it was.
    pub(crate) entered: AtomicU64,
}

/// The busy stretch that a worker is in.
#[derive(Debug)]
pub(crate) struct Stretch {
    /// When it began; 0: none.
    since_ns: AtomicU64,
    worker: AtomicU32,
}

impl Default for Stretch {
    fn default() -> Stretch {
        Stretch { since_ns: AtomicU64::new(0), worker: AtomicU32::new(u32::MAX) }
    }
}

impl Stretch {
    /// Shows one where none is shown.
    pub(crate) fn begin(&self, since_ns: u64, worker: usize) {
        self.worker.store(u32::try_from(worker).unwrap_or(u32::MAX), Relaxed);
        self.since_ns.store(since_ns, Release);
    }

    pub(crate) fn end(&self) {
        self.since_ns.store(0, Relaxed);
    }

    /// When it began, and the worker.
    pub(crate) fn now(&self) -> Option<(u64, u32)> {
        let since_ns = self.since_ns.load(Acquire);
        (since_ns != 0).then(|| (since_ns, self.worker.load(Relaxed)))
    }

    /// The worker of the last stretch, also when that is over.
    #[cfg(feature = "record")]
    pub(crate) fn last_worker(&self) -> Option<u32> {
        Some(self.worker.load(Relaxed)).filter(|worker| *worker != u32::MAX)
    }
}

/// Which thread a slow poll was on: a worker of a runtime that has the probe, or the name of another one; and in which span.
#[derive(Debug, Clone, Copy)]
pub(crate) struct On {
    pub(crate) worker: Option<u32>,
    pub(crate) thread: NameId,
    /// The span that was seen on it alone; 0 where there was none, or several were.
    pub(crate) span: u64,
}

/// What every poll touches is in its first two cache lines, and no other thread's are.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Slot {
    /// What it polls now.
    pub(crate) polling: Polling,
    pub(crate) sites: Sites,
    /// The operating system's id of the thread; 0 where nobody needs it, and when the thread ended.
    pub(crate) tid: AtomicU32,
    pub(crate) awake: Awake,
    /// Whether wake-to-poll times come with its polls.
    pub(crate) tracks_waits: bool,
    pub(crate) polls: Polls,
    pub(crate) schedule_latency: Latencies,
    pub(crate) busy_stretches: Coarse,
    pub(crate) overflows: Arc<Overflows>,
    /// Its place among the probe's slots.
    pub(crate) number: usize,
    /// Where the thread's signal handlers run, as a word; 0 where nobody needs it, or it is not known.
    pub(crate) handler_stack: std::sync::atomic::AtomicUsize,
    pub(crate) home: Home,
    /// Whether its thread is one of a multi-thread runtime's own, and not one that may leave the loop without a word.
    pub(crate) is_runtimes_own: std::sync::atomic::AtomicBool,
    pub(crate) stretch: Stretch,
    pub(crate) spans: spans::Shown,
    pub(crate) ring: Ring,
    pub(crate) blames: Blames,
    /// Which of its cells is the next, for the next thread.
    pub(crate) next_blame: std::sync::atomic::AtomicUsize,
    pub(crate) ledger: Ledger,
}

const _: () =
    assert!(MODELLED || (std::mem::offset_of!(Slot, polls) == 64 && std::mem::offset_of!(Slot, busy_stretches) == 128));

impl Slot {
    pub(crate) fn new(number: usize, tracks_waits: bool, overflows: Arc<Overflows>) -> Slot {
        Slot {
            number,
            tracks_waits,
            tid: AtomicU32::new(0),
            handler_stack: Default::default(),
            awake: Awake::default(),
            polling: Polling::default(),
            polls: Polls::new(),
            schedule_latency: Latencies::new(),
            busy_stretches: Coarse::new(),
            overflows,
            sites: Sites::new(),
            home: Home::default(),
            is_runtimes_own: Default::default(),
            stretch: Stretch::default(),
            spans: spans::Shown::default(),
            ring: Ring::new(),
            blames: Blames::new(),
            next_blame: Default::default(),
            ledger: Ledger::new(),
        }
    }

    /// Whether its thread is seen in that runtime: it waits for events there, or polls.
    pub(crate) fn is_in_runtime(&self, runtime: u64) -> bool {
        let Home { runtime: of, is_parked, .. } = &self.home;
        of.load(Relaxed) == runtime && (is_parked.load(Relaxed) || !self.polling.is_idle())
    }

    /// Which worker of a runtime with the probe its thread is, for others to know while it polls.
    pub(crate) fn worker(&self, pools: &Pools) -> Option<u32> {
        let (_, worker) = self.stretch.now()?;
        let entered = self.home.entered.load(Relaxed);
        (entered == 0 || pools.may_be_one(Some(entered))).then_some(worker)
    }

    /// A number that stays as it is while the thread does nothing that is measured.
    pub(crate) fn work(&self) -> u64 {
        self.polls.sum_ns().wrapping_add(self.busy_stretches.sum_ns())
    }

    pub(crate) fn record_stretch(&self, ns: u64) {
        self.busy_stretches.record(ns, &self.overflows.busy_stretches);
    }

    /// Counts a poll; `ns` is its own time, without the polls within it.
    #[inline]
    pub(crate) fn record(&self, location: &'static Location<'static>, name: NameId, ns: u64) {
        self.polls.count(ns, || &self.overflows.polls);
        // No extreme of its site's is none of all.
        if self.sites.record(location, ns, name, || &self.overflows.sites) {
            self.polls.widen(ns);
        }
    }

    /// Counts as slow, and reports, a poll that was recorded; `ns` is its own time.
    #[cold]
    pub(crate) fn record_slow(&self, frame: &Frame, on: On, start_ns: u64, end_ns: u64, ns: u64, handed_over: bool) {
        self.sites.record_slow(frame.location);
        self.ring.push(RawSlowPoll {
            task: frame.task,
            name: frame.name,
            location: frame.location,
            worker: on.worker,
            thread: on.thread,
            span: on.span,
            handed_over,
            start: frame.start,
            start_ns,
            end_ns,
            duration_ns: ns,
        });
    }
}
