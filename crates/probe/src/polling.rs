//! What a thread polls now: written by it alone, without a lock, and read whole by any other or not at all.

use std::panic::Location;

use crate::clock::Moment;
use crate::location::LocationCell;
use crate::names::NameId;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};

#[cfg(all(test, pollscope_loom))]
mod model;

/// An open poll.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) start: Moment,
    /// 0 where there is no task.
    pub(crate) task: u64,
    pub(crate) name: NameId,
    pub(crate) location: &'static Location<'static>,
    /// Time spent in polls within this one; it is theirs.
    pub(crate) nested_ns: u64,
}

/// The half of `count_and_name` that is the name.
const NAME: u64 = u32::MAX as u64;

/// The poll that a thread is in.
#[derive(Debug, Default)]
pub(crate) struct Polling {
    /// 0: none.
    since: AtomicU64,
    task: AtomicU64,
    location: LocationCell,
    /// How much of it so far were polls within it.
    nested_ns: AtomicU64,
    /// The name, and in the upper half how often something was shown: a poll that is shown again, after one within it, begins
    /// when it began before.
    count_and_name: AtomicU64,
}

impl Polling {
    /// Shows a poll where none is shown.
    #[inline]
    pub(crate) fn begin(&self, frame: &Frame) {
        let counted = (self.count_and_name.load(Relaxed) | NAME).wrapping_add(1);
        // Each a release: a reader that sees one of them sees the 0 before it as well, and the time after that only with the
        // next count, which is stored when everything else is.
        self.task.store(frame.task, Release);
        self.location.store(frame.location);
        self.nested_ns.store(frame.nested_ns, Release);
        self.count_and_name.store(counted | u64::from(frame.name), Release);
        self.since.store(frame.start.0, Release);
    }

    /// What is shown. For the thread itself: no other can rely on its being whole.
    #[inline]
    pub(crate) fn frame(&self) -> Option<Frame> {
        let start = Moment(self.since.load(Relaxed));
        if start == Moment::NONE {
            return None;
        }
        Some(Frame {
            start,
            task: self.task.load(Relaxed),
            name: (self.count_and_name.load(Relaxed) & NAME) as NameId,
            location: self.location.load()?,
            nested_ns: self.nested_ns.load(Relaxed),
        })
    }

    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.since.load(Relaxed) == Moment::NONE.0
    }

    #[inline]
    pub(crate) fn show_name(&self, name: NameId) {
        let count = self.count_and_name.load(Relaxed) & !NAME;
        self.count_and_name.store(count | u64::from(name), Release);
    }

    #[inline]
    pub(crate) fn show_idle(&self) {
        self.since.store(Moment::NONE.0, Release);
    }

    /// What the thread polls now; `None` when nothing, or when that changed while it was read.
    pub(crate) fn now(&self) -> Option<Frame> {
        let count_and_name = self.count_and_name.load(Acquire);
        let now = Frame {
            task: self.task.load(Acquire),
            name: (count_and_name & NAME) as NameId,
            location: self.location.load()?,
            nested_ns: self.nested_ns.load(Acquire),
            // After the others: 0 while they change.
            start: Moment(self.since.load(Acquire)),
        };
        let is_same = self.count_and_name.load(Relaxed) & !NAME == count_and_name & !NAME;
        (now.start != Moment::NONE && is_same).then_some(now)
    }

    /// Whether the thread is still in the poll that began then; [`Moment::NONE`]: in none.
    pub(crate) fn is_in(&self, start: Moment) -> bool {
        self.since.load(Acquire) == start.0
    }
}
