//! One slot a thread that polls: what it polls now, and counters that only it writes.
//!
//! A slot belongs to a thread, not to a worker index: `block_in_place` hands a worker's core to another thread in the
//! middle of a poll, and two threads must never write the same counters.

use std::panic::Location;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::histogram::Fine;
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
}

/// A copy of [`Polling`] that was read whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PollingNow {
    pub(crate) since_ns: u64,
    pub(crate) task: u64,
    pub(crate) name: NameId,
    pub(crate) location: &'static Location<'static>,
}

#[derive(Debug)]
pub(crate) struct Slot {
    polling: Polling,
    pub(crate) polls: Fine,
    pub(crate) schedule_latency: Fine,
    pub(crate) busy_stretches: Fine,
    pub(crate) sites: Sites,
    pub(crate) ring: Ring,
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
    pub(crate) fn new() -> Slot {
        Slot {
            polling: Polling::default(),
            polls: Fine::new(),
            schedule_latency: Fine::new(),
            busy_stretches: Fine::new(),
            sites: Sites::new(),
            ring: Ring::new(),
        }
    }

    #[inline]
    pub(crate) fn show(&self, frame: &Frame) {
        // Each a release: a reader that sees one of them sees the 0 before it as well, and takes nothing mixed.
        self.polling.since_ns.store(0, Relaxed);
        self.polling.task.store(frame.task, Release);
        self.polling.name.store(frame.name, Release);
        self.polling.location.store(frame.location);
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
        };
        (since_ns != 0 && self.polling.since_ns.load(Acquire) == since_ns).then_some(now)
    }

    /// Counts a poll that ended at `end_ns`; `ns` is its own time, without the polls within it.
    #[inline]
    pub(crate) fn record(&self, frame: &Frame, end_ns: u64, ns: u64, threshold_ns: u64) {
        self.polls.record(ns);
        let row = self.sites.row(frame.location);
        row.record(ns, frame.name);
        if ns >= threshold_ns {
            row.record_slow();
            self.record_slow(frame, end_ns, ns);
        }
    }

    #[cold]
    fn record_slow(&self, frame: &Frame, end_ns: u64, ns: u64) {
        self.ring.push(RawSlowPoll {
            task: frame.task,
            name: frame.name,
            location: frame.location,
            worker: tokio::runtime::worker_index().and_then(|index| u32::try_from(index).ok()),
            start_ns: frame.start_ns,
            end_ns,
            duration_ns: ns,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every poll shown has one number for all its words: a reader that gets another mix took it from two polls.
    #[test]
    fn a_poll_under_way_is_read_whole_or_not_at_all() {
        let (slot, places) = (Slot::new(), [Location::caller(), &*Box::leak(Box::new(*Location::caller()))]);
        let (place, enough) = (|n: u64| places[n as usize % 2], AtomicU32::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for name in (1..u32::MAX).take_while(|_| enough.load(Relaxed) == 0) {
                    let n = u64::from(name);
                    slot.show(&Frame { start_ns: n, task: n, name, location: place(n), nested_ns: 0 });
                    if name % 3 == 0 {
                        slot.show_idle();
                    }
                }
            });
            let (mut last, mut polls) = (0, 0);
            while polls < 1_000 {
                let Some(now) = slot.polling() else { continue };
                let whole = (now.task, u64::from(now.name)) == (now.since_ns, now.since_ns);
                if !whole || !std::ptr::eq(now.location, place(now.since_ns)) || now.since_ns < last {
                    enough.store(1, Relaxed);
                    panic!("{now:?} after {last}");
                }
                polls += u64::from(now.since_ns > last);
                last = now.since_ns;
            }
            enough.store(1, Relaxed);
        });
    }
}
