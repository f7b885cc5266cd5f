//! What does not fit a thread's own counters, of all threads that count the same together.

use super::{HIGHEST_NS, ONE_CARRY, index, zeros};
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicU32, AtomicU64, fence};
use crate::sync::thread;

/// Values whose bucket no thread has a counter for, and how often a counter of a thread was full. Any thread writes.
#[derive(Debug)]
pub(crate) struct Overflow<const BITS: u32> {
    /// By bucket, for those that threads have.
    carries: Box<[AtomicU32]>,
    /// The buckets after these.
    beyond: Box<[AtomicU64]>,
    /// Values outside of all buckets; but for 0, which has a counter like any other.
    pub(super) clamped: AtomicU64,
    /// How many carries were begun, and how many are done: while one is under way, what it moves is in two places, or in none.
    begun: AtomicU64,
    done: AtomicU64,
}

impl<const BITS: u32> Overflow<BITS> {
    /// Of threads that have counters of so many buckets.
    pub(super) fn new(own: usize) -> Self {
        let buckets = index(BITS, HIGHEST_NS) + 1;
        Overflow {
            carries: zeros(own),
            beyond: zeros(buckets - own),
            clamped: AtomicU64::default(),
            begun: AtomicU64::default(),
            done: AtomicU64::default(),
        }
    }

    /// Counts a value that is too long for a thread's own counters; one that is beyond the range as clamped as well.
    pub(super) fn count(&self, ns: u64) {
        if ns > HIGHEST_NS {
            self.clamped.fetch_add(1, Relaxed);
        }
        let index = index(BITS, ns.min(HIGHEST_NS)) - self.carries.len();
        self.beyond[index].fetch_add(1, Relaxed);
    }

    /// Counts one more in the thread's counter of that bucket, which is full by that.
    pub(super) fn carry(&self, cell: &AtomicU32, index: usize) {
        self.begun.fetch_add(1, Relaxed);
        // Who sees what follows sees that it was begun.
        fence(Release);
        cell.store(0, Relaxed);
        self.carries[index].fetch_add(1, Relaxed);
        self.done.fetch_add(1, Release);
    }

    /// What `read` finds while nothing is carried. It is called again if something was.
    pub(super) fn while_nothing_is_carried(overflows: &[&Self], read: impl Fn() -> Vec<u64>) -> Vec<u64> {
        loop {
            if let Some(read) = Self::unless_carried(overflows, &read) {
                return read;
            }
            // It takes some instructions, once in thousands of millions of values.
            thread::yield_now();
        }
    }

    /// `None` if something was carried meanwhile.
    pub(super) fn unless_carried<T>(overflows: &[&Self], read: impl Fn() -> T) -> Option<T> {
        let done: Vec<u64> = overflows.iter().map(|overflow| overflow.done.load(Acquire)).collect();
        let read = read();
        fence(Acquire);
        let is_same = overflows.iter().zip(done).all(|(overflow, done)| overflow.begun.load(Relaxed) == done);
        is_same.then_some(read)
    }

    /// Adds what is counted here.
    pub(super) fn add_to(&self, counts: &mut [u64]) {
        let (own, beyond) = counts.split_at_mut(self.carries.len());
        for (total, carries) in own.iter_mut().zip(&self.carries) {
            *total += u64::from(carries.load(Relaxed)) * ONE_CARRY;
        }
        for (total, count) in beyond.iter_mut().zip(&self.beyond) {
            *total += count.load(Relaxed);
        }
    }
}
