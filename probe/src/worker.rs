//! One slot a thread that polls: what it polls now, and counters that only it writes.
//!
//! A slot belongs to a thread, not to a worker index: `block_in_place` hands a worker's core to another thread in the
//! middle of a poll, and two threads must never write the same counters.

use std::panic::Location;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use crate::blame::Blames;
use crate::histogram::Fine;
use crate::ledger::Ledger;
use crate::location::LocationCell;
use crate::names::NameId;
use crate::ring::{RawSlowPoll, Ring};
use crate::site::Sites;

/// The poll that a thread is in.
#[derive(Debug, Default)]
struct Polling {
    /// 0: none.
    since_ns: AtomicU64,
    task: AtomicU64,
    name: AtomicU32,
    location: LocationCell,
    /// How much of it so far were polls within it.
    nested_ns: AtomicU64,
}

/// A copy of [`Polling`] that was read whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PollingNow {
    pub(crate) since_ns: u64,
    pub(crate) task: u64,
    pub(crate) name: NameId,
    pub(crate) location: &'static Location<'static>,
    /// Time spent in polls within it; it is theirs.
    #[cfg_attr(not(feature = "capture"), expect(dead_code, reason = "for the watchdog"))]
    pub(crate) nested_ns: u64,
}

#[derive(Debug)]
pub(crate) struct Slot {
    /// Its place among the probe's slots.
    pub(crate) number: usize,
    /// Whether wake-to-poll times come with its polls.
    pub(crate) tracks_waits: bool,
    /// The operating system's id of the thread; 0 where nobody needs it, and when the thread ended.
    pub(crate) tid: AtomicU32,
    /// Whether the thread may begin a poll without saying so before; while it waits for events, it may not.
    pub(crate) is_awake: AtomicBool,
    polling: Polling,
    pub(crate) polls: Fine,
    pub(crate) schedule_latency: Fine,
    pub(crate) busy_stretches: Fine,
    pub(crate) sites: Sites,
    pub(crate) ring: Ring,
    pub(crate) blames: Blames,
    pub(crate) ledger: Ledger,
}

/// An open poll, kept by its thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) start_ns: u64,
    /// 0 where there is no task.
    pub(crate) task: u64,
    pub(crate) name: NameId,
    pub(crate) location: &'static Location<'static>,
    /// Time spent in polls within this one; it is theirs.
    pub(crate) nested_ns: u64,
}

impl Slot {
    pub(crate) fn new(number: usize, tracks_waits: bool) -> Slot {
        Slot {
            number,
            tracks_waits,
            tid: AtomicU32::new(0),
            is_awake: AtomicBool::new(false),
            polling: Polling::default(),
            polls: Fine::new(),
            schedule_latency: Fine::new(),
            busy_stretches: Fine::new(),
            sites: Sites::new(),
            ring: Ring::new(),
            blames: Blames::new(),
            ledger: Ledger::new(),
        }
    }

    #[inline]
    pub(crate) fn show(&self, frame: &Frame) {
        // Each a release: a reader that sees one of them sees the 0 before it as well, and takes nothing mixed.
        self.polling.since_ns.store(0, Relaxed);
        self.polling.task.store(frame.task, Release);
        self.polling.name.store(frame.name, Release);
        self.polling.location.store(frame.location);
        self.polling.nested_ns.store(frame.nested_ns, Release);
        self.polling.since_ns.store(frame.start_ns, Release);
    }

    #[inline]
    pub(crate) fn show_name(&self, name: NameId) {
        self.polling.name.store(name, Relaxed);
    }

    #[inline]
    pub(crate) fn show_idle(&self) {
        self.polling.since_ns.store(0, Release);
    }

    /// What the thread polls now; `None` when nothing, or when that changed while it was read.
    pub(crate) fn polling(&self) -> Option<PollingNow> {
        let since_ns = self.polling.since_ns.load(Acquire);
        let now = PollingNow {
            since_ns,
            task: self.polling.task.load(Acquire),
            name: self.polling.name.load(Acquire),
            location: self.polling.location.load()?,
            nested_ns: self.polling.nested_ns.load(Acquire),
        };
        (since_ns != 0 && self.polling.since_ns.load(Acquire) == since_ns).then_some(now)
    }

    /// Whether the thread is still in the poll that began then.
    #[cfg_attr(not(feature = "capture"), expect(dead_code, reason = "for the watchdog"))]
    pub(crate) fn is_polling(&self, since_ns: u64) -> bool {
        self.polling.since_ns.load(Acquire) == since_ns
    }

    /// A number that stays as it is while the thread does nothing that is measured.
    #[cfg_attr(not(feature = "capture"), expect(dead_code, reason = "for the watchdog"))]
    pub(crate) fn work(&self) -> u64 {
        self.polls.sum_ns().wrapping_add(self.busy_stretches.sum_ns())
    }

    /// Counts a poll; `ns` is its own time, without the polls within it.
    #[inline]
    pub(crate) fn record(&self, frame: &Frame, ns: u64) {
        self.polls.record(ns);
        self.sites.row(frame.location).record(ns, frame.name);
    }

    /// Counts as slow, and reports, a poll that was recorded and ended at `end_ns`.
    #[cold]
    pub(crate) fn record_slow(&self, frame: &Frame, end_ns: u64, ns: u64, handed_over: bool) {
        self.sites.row(frame.location).record_slow();
        self.ring.push(RawSlowPoll {
            task: frame.task,
            name: frame.name,
            location: frame.location,
            worker: tokio::runtime::worker_index().and_then(|index| u32::try_from(index).ok()),
            handed_over,
            start_ns: frame.start_ns,
            end_ns,
            duration_ns: ns,
        });
    }
}
