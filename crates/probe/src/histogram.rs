//! The recording side of a histogram: atomic log-linear buckets that one thread writes and any thread reads.
//!
//! The buckets are HdrHistogram's, for 1 ns to 1 h: a value's bucket holds only values that agree with it in the
//! stated number of significant digits, so the counts can be handed to any HdrHistogram without loss.
//! A value outside the range is counted at the bound that it passed, and counted as clamped; the exact minimum,
//! maximum and sum are kept beside the buckets.
//!
//! A thread has counters of its own, of 32 bits, for the short values, which come often. What does not fit there, a long value or
//! a full counter, is counted in an [`Overflow`] that many threads share: it comes so seldom that its locked instructions cost nothing.

use std::sync::Arc;

use pollscope_base::Distribution;

use crate::sync::MODELLED;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicU32, AtomicU64};

#[cfg(all(test, pollscope_loom))]
mod model;
mod overflow;
mod sum;

pub(crate) use overflow::Overflow;
pub(crate) use sum::distribution;

#[cfg(not(all(test, pollscope_loom)))]
pub(crate) use pollscope_base::HIGHEST_NS;
/// The highest value that has a bucket in models, which look at each of them.
#[cfg(all(test, pollscope_loom))]
pub(crate) const HIGHEST_NS: u64 = 3;

/// Buckets that agree to three significant digits, and to two, by the bits that tell them apart: `2^BITS` is the first power of two
/// that is at least `2 · 10^digits`, as in HdrHistogram.
pub(crate) const FINE: u32 = 11;
pub(crate) const COARSE: u32 = 8;

/// Polls, to three significant digits: a thread's own are those below 33 µs.
pub(crate) type Polls = Buckets<FINE, { below(FINE, 1 << 15) }>;
/// Polls of one site, and busy stretches, to two.
pub(crate) type Coarse = Buckets<COARSE, { below(COARSE, 1 << 15) }>;
/// Wake-to-poll times, to two: where there is too much to do all of them are long, so a thread's own are those below a second.
pub(crate) type Latencies = Buckets<COARSE, { below(COARSE, 1 << 30) }>;

/// A counter that gets here begins again at 0, and that is counted elsewhere: at 2^32.
const FULL: u32 = if MODELLED { 2 } else { 0 };
/// How often it was counted up until then.
const ONE_CARRY: u64 = if MODELLED { 2 } else { 1 << 32 };

/// A thread's own counters, of the first `OWN` buckets. What is here, but for these, is half a cache line.
#[derive(Debug)]
pub(crate) struct Buckets<const BITS: u32, const OWN: usize> {
    cells: Box<[AtomicU32; OWN]>,
    sum: AtomicU64,
    /// `u64::MAX` while empty.
    min: AtomicU64,
    max: AtomicU64,
}

/// The buckets below that of a value.
const fn below(bits: u32, ns: u64) -> usize {
    if MODELLED { 2 } else { index(bits, ns) }
}

const fn index(bits: u32, ns: u64) -> usize {
    let mask = (1 << bits) - 1;
    let bucket = 64 - bits - (ns | mask).leading_zeros();
    ((bucket as usize) << (bits - 1)) + (ns >> bucket) as usize
}

/// The lowest value of a bucket.
const fn lowest(bits: u32, index: usize) -> u64 {
    let half = 1 << (bits - 1);
    let (bucket, sub) = (index >> (bits - 1), index & (half - 1));
    if bucket == 0 { sub as u64 } else { ((sub + half) as u64) << (bucket - 1) }
}

/// So many counters that are 0.
fn zeros<T: Default>(count: usize) -> Box<[T]> {
    // By way of a slice, as an array would be on the stack first.
    (0..count).map(|_| T::default()).collect()
}

/// Adds to a counter that only this thread writes: a plain load and store, no locked instruction.
#[inline]
pub(crate) fn add_single_writer(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
}

impl<const BITS: u32, const OWN: usize> Buckets<BITS, OWN> {
    pub(crate) fn new() -> Self {
        let Ok(cells) = zeros(OWN).try_into() else { unreachable!("there are as many") };
        Buckets { cells, sum: AtomicU64::new(0), min: AtomicU64::new(u64::MAX), max: AtomicU64::new(0) }
    }

    /// What does not fit the counters of any number of these.
    pub(crate) fn overflow() -> Overflow<BITS> {
        Overflow::new(OWN)
    }

    /// Counts one value. Only one thread at a time may call it, always with the same overflow: concurrent calls lose counts.
    #[inline]
    pub(crate) fn record(&self, ns: u64, overflow: &Overflow<BITS>) {
        self.count(ns, || overflow);
        if self.is_extreme(ns) {
            self.widen(ns);
        }
    }

    /// Counts one value, which is no new extreme.
    #[inline]
    pub(crate) fn count<'a>(&self, ns: u64, overflow: impl FnOnce() -> &'a Overflow<BITS>) {
        // One comparison for both ends: 0 has a counter that no other value has.
        match self.cells.get(index(BITS, ns)).map(|cell| (cell, cell.load(Relaxed).wrapping_add(1))) {
            Some((cell, count)) if count != FULL => cell.store(count, Relaxed),
            _ => self.count_elsewhere(ns, overflow()),
        }
        add_single_writer(&self.sum, ns);
    }

    #[cold]
    #[inline(never)]
    fn count_elsewhere(&self, ns: u64, overflow: &Overflow<BITS>) {
        let index = index(BITS, ns);
        match self.cells.get(index) {
            Some(cell) => overflow.carry(cell, index),
            None => overflow.count(ns),
        }
    }

    /// Whether no value so far was as low, or none as high.
    #[inline]
    pub(crate) fn is_extreme(&self, ns: u64) -> bool {
        ns < self.min.load(Relaxed) || ns > self.max.load(Relaxed)
    }

    #[cold]
    pub(crate) fn widen(&self, ns: u64) {
        self.max.store(self.max.load(Relaxed).max(ns), Relaxed);
        // Last, and a release: who finds that there is a value finds it in everything above.
        self.min.store(self.min.load(Relaxed).min(ns), Release);
    }

    /// All values, added up: it changes with every one but 0.
    pub(crate) fn sum_ns(&self) -> u64 {
        self.sum.load(Relaxed)
    }

    fn is_empty(&self) -> bool {
        self.min.load(Acquire) == u64::MAX
    }
}

/// A histogram that is nobody else's.
#[derive(Debug)]
struct Whole {
    buckets: Polls,
    overflow: Overflow<FINE>,
}

/// The writing end of a histogram of its own, to three significant digits.
#[derive(Debug)]
pub struct Writer(Arc<Whole>);

/// The reading end; any number of threads may hold one.
#[derive(Debug, Clone)]
pub struct Reader(Arc<Whole>);

/// A histogram that one thread writes, without lock, allocation or system call, while others read it.
///
/// ```
/// let (mut writer, reader) = pollscope_probe::internal::pair();
/// writer.record(1_500);
/// writer.record(0); // below 1 ns: clamped, and counted as such
/// let distribution = reader.read();
/// assert_eq!((distribution.count(), distribution.max_ns, distribution.clamped), (2, Some(1_500), 1));
/// ```
pub fn pair() -> (Writer, Reader) {
    let whole = Arc::new(Whole { buckets: Polls::new(), overflow: Polls::overflow() });
    (Writer(Arc::clone(&whole)), Reader(whole))
}

impl Writer {
    /// Counts one value, in nanoseconds.
    pub fn record(&mut self, ns: u64) {
        self.0.buckets.record(ns, &self.0.overflow);
    }
}

impl Reader {
    /// What was recorded so far. A value that is being recorded meanwhile may be in some of the buckets, the sum, the minimum and
    /// the maximum, and not yet in the others; but the first is in all of them, or nothing is there.
    pub fn read(&self) -> Distribution {
        distribution([(&self.0.buckets, &self.0.overflow)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pollscope_base::Bucket;

    #[test]
    fn buckets_tile_the_range() {
        for (bits, digits, buckets) in [(FINE, 3, 33_421), (COARSE, 2, 4_562)] {
            assert_eq!(index(bits, HIGHEST_NS) + 1, buckets);
            for bucket in 0..buckets {
                let (low, next) = (lowest(bits, bucket), lowest(bits, bucket + 1));
                assert_eq!((index(bits, low), index(bits, next - 1)), (bucket, bucket));
                assert!((next - low - 1) as f64 <= low as f64 / 10f64.powi(digits), "bucket {bucket} is too wide");
            }
        }
        assert_eq!((size_of::<Polls>(), size_of::<Coarse>()), (32, 32));
    }

    /// Of two threads, one of which goes on with a counter that is almost full.
    #[test]
    fn a_full_counter_goes_on() {
        let overflow = Polls::overflow();
        let (first, second) = (Polls::new(), Polls::new());
        let read = || distribution([(&first, &overflow), (&second, &overflow)]);
        first.record(1_000, &overflow);
        second.record(1_000, &overflow);
        let cell = &first.cells[index(FINE, 1_000)];
        cell.store(u32::MAX - 1, Relaxed);
        let mut counted = u64::from(u32::MAX);
        for _ in 0..2 {
            for _ in 0..3 {
                assert_eq!(read().buckets, [Bucket { low_ns: 1_000, high_ns: 1_000, count: counted }]);
                first.record(1_000, &overflow);
                counted += 1;
            }
            let left = u32::MAX - 1 - cell.load(Relaxed);
            cell.store(u32::MAX - 1, Relaxed);
            counted += u64::from(left);
        }
    }

    #[test]
    fn what_is_outside_is_clamped_and_counted() {
        let (mut writer, reader) = pair();
        for ns in [0, 1, HIGHEST_NS, HIGHEST_NS + 1, 1 << 60] {
            writer.record(ns);
        }
        let read = reader.read();
        assert_eq!((read.count(), read.clamped), (5, 3));
        assert_eq!((read.min_ns, read.max_ns), (Some(0), Some(1 << 60)));
    }

    #[test]
    fn an_extreme_that_was_read_late_belongs_to_no_later_interval() {
        let (mut writer, reader) = pair();
        writer.record(500);
        let mut torn = reader.read();
        (torn.min_ns, torn.max_ns) = (Some(2_000), Some(400));
        let nothing = reader.read().since(&torn);
        assert_eq!((nothing.count(), nothing.min_ns, nothing.max_ns), (0, None, None));
        writer.record(1_000);
        torn.max_ns = None;
        let since = reader.read().since(&torn);
        assert_eq!((since.count(), since.min_ns, since.max_ns), (1, Some(1_000), Some(1_000)));
    }

    #[test]
    fn extremes_beyond_the_buckets_are_exact_in_between() {
        let (mut writer, reader) = pair();
        writer.record(5);
        let earlier = reader.read();
        writer.record(0);
        writer.record(HIGHEST_NS * 2);
        let since = reader.read().since(&earlier);
        assert_eq!((since.count(), since.clamped), (2, 2));
        assert_eq!((since.min_ns, since.max_ns), (Some(0), Some(HIGHEST_NS * 2)));
    }
}
