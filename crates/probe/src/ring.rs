//! Slow polls on their way from the thread that was slow to the reporter: one writer, one reader, no lock.

use std::panic::Location;

use crate::clock::Moment;
use crate::histogram::add_single_writer;
use crate::location::LocationCell;
use crate::names::{NameId, UNNAMED};
use crate::sync::MODELLED;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicU32, AtomicU64};

#[cfg(all(test, pollscope_loom))]
mod model;

/// Slow polls that wait for the reporter, at most; further ones are counted as dropped.
pub(crate) const CAPACITY: usize = if MODELLED { 2 } else { 256 };
/// No worker index: the rest is the name of the thread.
const NO_WORKER: u32 = 1 << 31;

/// What the thread knows of its own slow poll.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawSlowPoll {
    /// 0 where there is no task.
    pub(crate) task: u64,
    pub(crate) name: NameId,
    pub(crate) location: &'static Location<'static>,
    pub(crate) worker: Option<u32>,
    /// The name of a thread that is no worker.
    pub(crate) thread: NameId,
    /// The outermost span that it entered, if it was one alone; else 0.
    pub(crate) span: u64,
    /// Whether the worker was given to another thread in it.
    pub(crate) handed_over: bool,
    /// Which of the thread's polls it was.
    pub(crate) start: Moment,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    /// Its own time: less than from start to end when other polls ran within it.
    pub(crate) duration_ns: u64,
}

#[derive(Debug, Default)]
struct Cell {
    task: AtomicU64,
    name: AtomicU32,
    location: LocationCell,
    worker: AtomicU32,
    span: AtomicU64,
    handed_over: AtomicU32,
    start: AtomicU64,
    start_ns: AtomicU64,
    end_ns: AtomicU64,
    duration_ns: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Ring {
    cells: Box<[Cell]>,
    written: AtomicU64,
    read: AtomicU64,
    dropped: AtomicU64,
}

impl Ring {
    pub(crate) fn new() -> Ring {
        Ring {
            cells: (0..CAPACITY).map(|_| Cell::default()).collect(),
            written: AtomicU64::new(0),
            read: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Only the thread that owns the slot calls it.
    pub(crate) fn push(&self, poll: RawSlowPoll) {
        let written = self.written.load(Relaxed);
        if written - self.read.load(Acquire) == CAPACITY as u64 {
            add_single_writer(&self.dropped, 1);
            return;
        }
        let cell = &self.cells[written as usize % CAPACITY];
        cell.task.store(poll.task, Relaxed);
        cell.name.store(poll.name, Relaxed);
        cell.location.store(poll.location);
        cell.worker.store(poll.worker.unwrap_or(NO_WORKER | poll.thread), Relaxed);
        cell.span.store(poll.span, Relaxed);
        cell.handed_over.store(u32::from(poll.handed_over), Relaxed);
        cell.start.store(poll.start.0, Relaxed);
        cell.start_ns.store(poll.start_ns, Relaxed);
        cell.end_ns.store(poll.end_ns, Relaxed);
        cell.duration_ns.store(poll.duration_ns, Relaxed);
        self.written.store(written + 1, Release);
    }

    /// Only one thread at a time calls it (the journal's lock sees to that).
    pub(crate) fn drain(&self, mut take: impl FnMut(RawSlowPoll)) {
        let written = self.written.load(Acquire);
        for index in self.read.load(Relaxed)..written {
            let cell = &self.cells[index as usize % CAPACITY];
            let worker = cell.worker.load(Relaxed);
            if let Some(location) = cell.location.load() {
                take(RawSlowPoll {
                    task: cell.task.load(Relaxed),
                    name: cell.name.load(Relaxed),
                    location,
                    worker: (worker < NO_WORKER).then_some(worker),
                    thread: if worker < NO_WORKER { UNNAMED } else { worker & !NO_WORKER },
                    span: cell.span.load(Relaxed),
                    handed_over: cell.handed_over.load(Relaxed) == 1,
                    start: Moment(cell.start.load(Relaxed)),
                    start_ns: cell.start_ns.load(Relaxed),
                    end_ns: cell.end_ns.load(Relaxed),
                    duration_ns: cell.duration_ns.load(Relaxed),
                });
            }
        }
        self.read.store(written, Release);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.read.load(Relaxed) == self.written.load(Acquire)
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(n: u64) -> RawSlowPoll {
        RawSlowPoll {
            task: n,
            name: 0,
            location: Location::caller(),
            worker: None,
            thread: 7,
            span: 0,
            handed_over: false,
            start: Moment(n + 1),
            start_ns: n,
            end_ns: n * 4,
            duration_ns: n * 3,
        }
    }

    #[test]
    fn a_full_ring_drops_and_counts() {
        let ring = Ring::new();
        (0..CAPACITY as u64 + 5).for_each(|n| ring.push(poll(n)));
        let mut taken = Vec::new();
        ring.drain(|poll| taken.push(poll.task));
        assert_eq!(taken, (0..CAPACITY as u64).collect::<Vec<_>>());
        assert_eq!(ring.dropped(), 5);
    }

    #[test]
    fn nothing_is_lost_or_torn_between_two_threads() {
        let ring = Ring::new();
        let (mut seen, total) = (0, 100_000);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (1..=total).for_each(|n| ring.push(poll(n))));
            let mut last = 0;
            loop {
                let finished = writer.is_finished();
                ring.drain(|poll| {
                    assert_eq!(
                        (poll.start.0, poll.start_ns, poll.duration_ns),
                        (poll.task + 1, poll.task, poll.task * 3)
                    );
                    assert!(poll.task > last);
                    last = poll.task;
                    seen += 1;
                });
                if finished {
                    break;
                }
            }
        });
        assert_eq!(seen + ring.dropped(), total);
    }
}
