//! By how much the program's clock is ahead of the one of those who look, which begins when they do.

use std::ops::RangeInclusive;

/// What ends may be off by and still speak for the same difference.
const NEAR_NS: u64 = 100_000;
/// So many ends must speak for it, and this part of all.
const ENOUGH: usize = 5;
const PART: usize = 4;

/// The difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offset {
    pub(crate) ns: u64,
    /// How many ends speak for it; `None` where too few did, and it is only known to be within bounds.
    pub(crate) speak_for_it: Option<usize>,
}

/// Of all differences within the bounds the one that most ends speak for: of those that are near it, the median.
///
/// `seen` are ends that are exact, by the clock of those who look, `truth` the true ones by the other. Without enough of them it is
/// `otherwise`.
pub(crate) fn offset(bounds: &RangeInclusive<u64>, otherwise: u64, seen: &[u64], truth: &[u64]) -> Offset {
    let mut differences: Vec<u64> = Vec::new();
    for seen in seen {
        differences.extend(truth.iter().filter_map(|truth| truth.checked_sub(*seen)).filter(|ns| bounds.contains(ns)));
    }
    differences.sort_unstable();
    let near = |index: usize| {
        let first = differences[index];
        &differences[index..][..differences[index..].partition_point(|ns| ns - first <= NEAR_NS)]
    };
    let most = (0..differences.len()).map(near).max_by_key(|near| near.len()).unwrap_or_default();
    if most.len() < ENOUGH.max(seen.len() / PART) {
        return Offset { ns: otherwise, speak_for_it: None };
    }
    Offset { ns: most[most.len() / 2], speak_for_it: Some(most.len()) }
}
