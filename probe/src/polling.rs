//! What a thread polls now: written by it alone, without a lock, and read whole by any other or not at all.

use std::panic::Location;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::location::LocationCell;
use crate::names::NameId;

/// An open poll, as its thread knows it.
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

/// The poll that a thread is in.
#[derive(Debug, Default)]
pub(crate) struct Polling {
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

impl Polling {
    /// Shows a poll where none is shown.
    #[inline]
    pub(crate) fn begin(&self, frame: &Frame) {
        // Each a release: a reader that sees one of them sees the 0 before it as well, and takes nothing mixed.
        self.task.store(frame.task, Release);
        self.name.store(frame.name, Release);
        self.location.store(frame.location);
        self.nested_ns.store(frame.nested_ns, Release);
        self.since_ns.store(frame.start_ns, Release);
    }

    /// What is shown. For the thread itself: no other can rely on its being whole.
    #[inline]
    pub(crate) fn frame(&self) -> Option<Frame> {
        let start_ns = self.since_ns.load(Relaxed);
        if start_ns == 0 {
            return None;
        }
        Some(Frame {
            start_ns,
            task: self.task.load(Relaxed),
            name: self.name.load(Relaxed),
            location: self.location.load()?,
            nested_ns: self.nested_ns.load(Relaxed),
        })
    }

    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.since_ns.load(Relaxed) == 0
    }

    #[inline]
    pub(crate) fn show_name(&self, name: NameId) {
        self.name.store(name, Relaxed);
    }

    #[inline]
    pub(crate) fn show_idle(&self) {
        self.since_ns.store(0, Release);
    }

    /// What the thread polls now; `None` when nothing, or when that changed while it was read.
    pub(crate) fn now(&self) -> Option<PollingNow> {
        let since_ns = self.since_ns.load(Acquire);
        let now = PollingNow {
            since_ns,
            task: self.task.load(Acquire),
            name: self.name.load(Acquire),
            location: self.location.load()?,
            nested_ns: self.nested_ns.load(Acquire),
        };
        (since_ns != 0 && self.since_ns.load(Acquire) == since_ns).then_some(now)
    }

    /// Whether the thread is still in the poll that began then.
    #[cfg_attr(not(feature = "capture"), expect(dead_code, reason = "for the watchdog"))]
    pub(crate) fn is_in(&self, since_ns: u64) -> bool {
        self.since_ns.load(Acquire) == since_ns
    }
}
