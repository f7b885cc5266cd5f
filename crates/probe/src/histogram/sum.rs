//! The reading side of histograms: several threads' counters as one distribution.

use pollscope_base::{Bucket, Distribution};

use super::{Buckets, FINE, HIGHEST_NS, Overflow, index, lowest};
use crate::sync::atomic::Ordering::Relaxed;

/// What threads counted of the same, together: each thread's buckets with their overflow, which several threads may share.
pub(crate) fn distribution<'a, const BITS: u32, const OWN: usize>(
    parts: impl IntoIterator<Item = (&'a Buckets<BITS, OWN>, &'a Overflow<BITS>)>,
) -> Distribution {
    let digits = if BITS == FINE { 3 } else { 2 };
    // First: who finds that there is a value finds its count as well.
    let (parts, mut overflows): (Vec<_>, Vec<_>) = parts.into_iter().filter(|(buckets, _)| !buckets.is_empty()).unzip();
    overflows.sort_by_key(|overflow| std::ptr::from_ref(*overflow));
    overflows.dedup_by_key(|overflow| std::ptr::from_ref(*overflow));
    let mut counts = Overflow::while_nothing_is_carried(&overflows, || counts(&parts, &overflows));
    // 0 is below the range.
    let zeros = std::mem::take(&mut counts[0]);
    counts[1] += zeros;
    let bucket = |index, count| Bucket { low_ns: lowest(BITS, index), high_ns: lowest(BITS, index + 1) - 1, count };
    let counted = counts.into_iter().enumerate().filter(|(_, count)| *count > 0);
    let buckets = counted.map(|(index, count)| bucket(index, count)).collect();
    let sum_ns = parts.iter().fold(0_u64, |sum, buckets| sum.saturating_add(buckets.sum.load(Relaxed)));
    let min_ns = parts.iter().map(|buckets| buckets.min.load(Relaxed)).min();
    let max_ns = parts.iter().map(|buckets| buckets.max.load(Relaxed)).max();
    let clamped = overflows.iter().map(|overflow| overflow.clamped.load(Relaxed)).sum::<u64>() + zeros;
    Distribution::new(digits, buckets, sum_ns, min_ns.zip(max_ns), clamped)
}

/// By bucket.
fn counts<const BITS: u32, const OWN: usize>(parts: &[&Buckets<BITS, OWN>], overflows: &[&Overflow<BITS>]) -> Vec<u64> {
    let mut counts = vec![0; index(BITS, HIGHEST_NS) + 1];
    for buckets in parts {
        for (total, count) in counts.iter_mut().zip(&*buckets.cells) {
            *total += u64::from(count.load(Relaxed));
        }
    }
    overflows.iter().for_each(|overflow| overflow.add_to(&mut counts));
    counts
}
