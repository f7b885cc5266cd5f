//! Who waited for a slow poll: tasks that were ready before it ended, and were polled on its thread after it.
//!
//! Known from Tokio's schedule latency alone. On a current-thread runtime nobody else could have polled them, so it is
//! exact; on a multi-thread runtime it counts those that ran next on the same worker, and not those that another one took.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::evidence::Blame;
use crate::histogram::add_single_writer;

/// The latest slow polls of a thread that are still told apart.
const CAPACITY: usize = 64;
/// After so many polls that did not wait for it, a slow poll is taken to have no further victims, even if the thread never
/// parks: Tokio's queues are first in, first out, but for the global one, looked at every 31 or 61 polls.
const VICTIMLESS: u32 = 256;

/// The victims of one slow poll.
#[derive(Debug, Default)]
struct Cell {
    /// Its start; 0 for none.
    start_ns: AtomicU64,
    tasks: AtomicU64,
    wait_ns: AtomicU64,
    /// 1 once nobody can be added any more.
    closed: AtomicU64,
}

/// Written by the thread alone, read by any.
#[derive(Debug)]
pub(crate) struct Blames(Box<[Cell]>);

/// The thread's own side: the slow poll whose victims are being polled.
#[derive(Debug, Default)]
pub(crate) struct Culprit {
    start_ns: u64,
    /// 0: there is none, and no poll can have waited for it.
    pub(crate) end_ns: u64,
    cell: usize,
    next_cell: usize,
    victimless: u32,
}

impl Blames {
    pub(crate) fn new() -> Blames {
        Blames((0..CAPACITY).map(|_| Cell::default()).collect())
    }

    /// What is known of the slow poll that began at `start_ns`, and whether more can come.
    pub(crate) fn read(&self, start_ns: u64) -> Option<(Blame, bool)> {
        let cell = self.0.iter().find(|cell| cell.start_ns.load(Acquire) == start_ns)?;
        let blame = Blame { tasks: cell.tasks.load(Acquire), wait_ns: cell.wait_ns.load(Acquire) };
        let closed = cell.closed.load(Acquire) == 1;
        // It may have been given to a later slow poll meanwhile.
        (cell.start_ns.load(Relaxed) == start_ns).then_some((blame, closed))
    }
}

impl Culprit {
    /// A slow poll ended.
    #[cold]
    pub(crate) fn begin(&mut self, blames: &Blames, start_ns: u64, end_ns: u64) {
        self.close(blames);
        let cell = &blames.0[self.next_cell];
        cell.start_ns.store(0, Relaxed);
        cell.tasks.store(0, Release);
        cell.wait_ns.store(0, Release);
        cell.closed.store(0, Release);
        cell.start_ns.store(start_ns, Release);
        let next_cell = (self.next_cell + 1) % CAPACITY;
        *self = Culprit { start_ns, end_ns, cell: self.next_cell, next_cell, victimless: 0 };
    }

    /// A poll begins while there is a culprit; its task was ready since `ready_ns`.
    #[cold]
    pub(crate) fn poll(&mut self, blames: &Blames, ready_ns: u64) {
        let wait_ns = self.end_ns.saturating_sub(ready_ns.max(self.start_ns));
        if wait_ns > 0 {
            let cell = &blames.0[self.cell];
            add_single_writer(&cell.tasks, 1);
            add_single_writer(&cell.wait_ns, wait_ns);
        } else {
            self.victimless += 1;
            if self.victimless == VICTIMLESS {
                self.close(blames);
            }
        }
    }

    /// Nobody is left who could have waited: the thread parks, or was slow again.
    pub(crate) fn close(&mut self, blames: &Blames) {
        if self.end_ns != 0 {
            blames.0[self.cell].closed.store(1, Release);
            self.end_ns = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_charged_for_the_time_that_the_slow_poll_lasted() {
        let (blames, mut culprit) = (Blames::new(), Culprit::default());
        culprit.begin(&blames, 100, 300);
        for ready_ns in [50, 250, 300, 310] {
            culprit.poll(&blames, ready_ns);
        }
        assert_eq!(blames.read(100), Some((Blame { tasks: 2, wait_ns: 250 }, false)));
        culprit.close(&blames);
        assert_eq!(blames.read(100).map(|(_, closed)| closed), Some(true));
        assert_eq!((culprit.end_ns, blames.read(7)), (0, None));
    }

    #[test]
    fn the_oldest_are_forgotten_and_a_busy_thread_closes_them() {
        let (blames, mut culprit) = (Blames::new(), Culprit::default());
        for start_ns in 1..=CAPACITY as u64 + 1 {
            culprit.begin(&blames, start_ns * 10, start_ns * 10 + 5);
        }
        assert_eq!(blames.read(10), None);
        assert_eq!(blames.read(20).map(|(_, closed)| closed), Some(true));
        for _ in 0..VICTIMLESS {
            culprit.poll(&blames, u64::MAX);
        }
        assert_eq!(culprit.end_ns, 0);
    }
}
