//! The recording side of a histogram: atomic log-linear buckets that one thread writes and any thread reads.
//!
//! The buckets are HdrHistogram's, for 1 ns to 1 h: a value's bucket holds only values that agree with it in the
//! stated number of significant digits, so the counts can be handed to any HdrHistogram without loss.
//! A value outside the range is counted at the bound that it passed, and counted as clamped; the exact minimum,
//! maximum and sum are kept beside the buckets.

use std::sync::Arc;

use pollscope_base::{Bucket, Distribution};

use crate::sync::MODELLED;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};

#[cfg(all(test, pollscope_loom))]
mod model;

#[cfg(not(all(test, pollscope_loom)))]
pub(crate) use pollscope_base::HIGHEST_NS;
/// The highest value that has a bucket in models, which look at each of them.
#[cfg(all(test, pollscope_loom))]
pub(crate) const HIGHEST_NS: u64 = 3;

/// Cells of both kinds of buckets: one more than there are buckets.
const CELLS: [usize; 2] = if MODELLED { [5, 5] } else { [33_422, 4_563] };

/// Buckets that agree to three significant digits. 33,421 of them, 8 bytes each.
pub(crate) type Fine = Buckets<11, { CELLS[0] }>;
/// Buckets that agree to two significant digits. 4,562 of them, 8 bytes each.
pub(crate) type Coarse = Buckets<8, { CELLS[1] }>;

/// `2^BITS` is the first power of two that is at least `2 · 10^digits`, as in HdrHistogram. There are `CELLS - 1` buckets, as a
/// test proves. What is here, but for its cells, is half a cache line.
#[derive(Debug)]
pub(crate) struct Buckets<const BITS: u32, const CELLS: usize> {
    /// The last one counts what was clamped.
    cells: Box<[AtomicU64; CELLS]>,
    sum: AtomicU64,
    /// `u64::MAX` while empty.
    min: AtomicU64,
    max: AtomicU64,
}

/// Adds to a counter that only this thread writes: a plain load and store, no locked instruction.
#[inline]
pub(crate) fn add_single_writer(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
}

impl<const BITS: u32, const CELLS: usize> Buckets<BITS, CELLS> {
    const HALF: usize = 1 << (BITS - 1);
    const LEN: usize = CELLS - 1;
    const DIGITS: u8 = if BITS == 11 { 3 } else { 2 };

    pub(crate) fn new() -> Self {
        // By way of a slice, as an array would be on the stack first.
        let cells: Box<[AtomicU64]> = (0..CELLS).map(|_| AtomicU64::new(0)).collect();
        Buckets {
            cells: cells.try_into().expect("there are as many"),
            sum: AtomicU64::new(0),
            min: AtomicU64::new(u64::MAX),
            max: AtomicU64::new(0),
        }
    }

    const fn index(value: u64) -> usize {
        let mask = (1 << BITS) - 1;
        let bucket = 64 - BITS - (value | mask).leading_zeros();
        ((bucket as usize + 1) << (BITS - 1)) + (value >> bucket) as usize - Self::HALF
    }

    const fn lowest(index: usize) -> u64 {
        let bucket = index >> (BITS - 1);
        let sub = index & (Self::HALF - 1);
        if bucket == 0 { sub as u64 } else { ((sub + Self::HALF) as u64) << (bucket - 1) }
    }

    /// Counts one value. Only one thread at a time may call it: concurrent calls lose counts.
    #[inline]
    pub(crate) fn record(&self, ns: u64) {
        self.count(ns);
        if self.is_extreme(ns) {
            self.widen(ns);
        }
    }

    /// Counts one value, which is no new extreme.
    #[inline]
    pub(crate) fn count(&self, ns: u64) {
        let is_within = ns.wrapping_sub(1) < HIGHEST_NS;
        let index = if is_within { Self::index(ns) } else { self.clamp(ns) };
        add_single_writer(&self.cells[index], 1);
        add_single_writer(&self.sum, ns);
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

    /// The bucket of a value outside of the range, which is counted as such.
    #[cold]
    fn clamp(&self, ns: u64) -> usize {
        add_single_writer(self.clamped(), 1);
        Self::index(ns.clamp(1, HIGHEST_NS))
    }

    fn clamped(&self) -> &AtomicU64 {
        &self.cells[Self::LEN]
    }

    /// All values, added up: it changes with every one but 0.
    pub(crate) fn sum_ns(&self) -> u64 {
        self.sum.load(Relaxed)
    }

    fn is_empty(&self) -> bool {
        self.min.load(Acquire) == u64::MAX
    }
}

/// The sum of several [`Coarse`].
pub(crate) type CoarseSum = Sum<8, { CELLS[1] }>;

/// The sum of several [`Buckets`], on its way to a [`Distribution`].
pub(crate) struct Sum<const BITS: u32, const CELLS: usize> {
    counts: Vec<u64>,
    sum_ns: u64,
    min_ns: Option<u64>,
    max_ns: Option<u64>,
    clamped: u64,
}

impl<const BITS: u32, const CELLS: usize> Sum<BITS, CELLS> {
    pub(crate) fn new() -> Self {
        let counts = vec![0; Buckets::<BITS, CELLS>::LEN];
        Sum { counts, sum_ns: 0, min_ns: None, max_ns: None, clamped: 0 }
    }

    pub(crate) fn add(&mut self, buckets: &Buckets<BITS, CELLS>) {
        if buckets.is_empty() {
            return;
        }
        for (total, count) in self.counts.iter_mut().zip(&*buckets.cells) {
            *total += count.load(Relaxed);
        }
        self.sum_ns = self.sum_ns.saturating_add(buckets.sum.load(Relaxed));
        let min = buckets.min.load(Relaxed);
        self.min_ns = Some(self.min_ns.map_or(min, |m| m.min(min)));
        self.max_ns = self.max_ns.max(Some(buckets.max.load(Relaxed)));
        self.clamped += buckets.clamped().load(Relaxed);
    }

    pub(crate) fn distribution(&self) -> Distribution {
        let lowest = Buckets::<BITS, CELLS>::lowest;
        let buckets: Vec<Bucket> = (0..self.counts.len())
            .filter(|&index| self.counts[index] > 0)
            .map(|index| Bucket { low_ns: lowest(index), high_ns: lowest(index + 1) - 1, count: self.counts[index] })
            .collect();
        let extremes_ns = self.min_ns.zip(self.max_ns);
        Distribution::new(Buckets::<BITS, CELLS>::DIGITS, buckets, self.sum_ns, extremes_ns, self.clamped)
    }
}

/// The writing end of a histogram of its own, to three significant digits.
#[derive(Debug)]
pub struct Writer(Arc<Fine>);

/// The reading end; any number of threads may hold one.
#[derive(Debug, Clone)]
pub struct Reader(Arc<Fine>);

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
    let buckets = Arc::new(Fine::new());
    (Writer(Arc::clone(&buckets)), Reader(buckets))
}

impl Writer {
    /// Counts one value, in nanoseconds.
    pub fn record(&mut self, ns: u64) {
        self.0.record(ns);
    }
}

impl Reader {
    /// What was recorded so far. A value that is being recorded meanwhile may be in some of the buckets, the sum, the minimum and
    /// the maximum, and not yet in the others; but the first is in all of them, or nothing is there.
    pub fn read(&self) -> Distribution {
        let mut sum = Sum::new();
        sum.add(&self.0);
        sum.distribution()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_tile_the_range() {
        fn check<const BITS: u32, const CELLS: usize>() {
            assert_eq!(Buckets::<BITS, CELLS>::index(HIGHEST_NS) + 1, Buckets::<BITS, CELLS>::LEN);
            for index in 0..Buckets::<BITS, CELLS>::LEN {
                let (low, next) = (Buckets::<BITS, CELLS>::lowest(index), Buckets::<BITS, CELLS>::lowest(index + 1));
                assert_eq!(Buckets::<BITS, CELLS>::index(low), index);
                assert_eq!(Buckets::<BITS, CELLS>::index(next - 1), index);
                let digits = i32::from(Buckets::<BITS, CELLS>::DIGITS);
                assert!((next - low - 1) as f64 <= low as f64 / 10f64.powi(digits), "bucket {index} is too wide");
            }
        }
        check::<11, 33_422>();
        check::<8, 4_563>();
        assert_eq!(std::mem::size_of::<Fine>(), 32);
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
