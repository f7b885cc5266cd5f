//! The longest of what may be a million.

use std::cmp::Reverse;

/// The longest of items, each with its nanoseconds: the longest first, and of equal ones those that come first. `most` is not 0.
pub(super) fn longest<T>(items: impl Iterator<Item = (u64, T)>, most: usize) -> Vec<T> {
    let mut kept: Vec<(Reverse<u64>, usize, T)> = Vec::new();
    let mut too_short = None;
    for (order, (ns, item)) in items.enumerate() {
        if Some(ns) <= too_short {
            continue;
        }
        kept.push((Reverse(ns), order, item));
        // Seldom, so that what is too short costs a comparison and no more.
        if kept.len() == 2 * most {
            kept.select_nth_unstable_by_key(most - 1, |(ns, order, _)| (*ns, *order));
            kept.truncate(most);
            too_short = kept.last().map(|(ns, ..)| ns.0);
        }
    }
    kept.sort_unstable_by_key(|(ns, order, _)| (*ns, *order));
    kept.truncate(most);
    kept.into_iter().map(|(.., item)| item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_that_sorting_gives() {
        let mut random = fastrand::Rng::with_seed(3);
        for (count, most) in [(0, 4), (3, 4), (8, 4), (9, 4), (500, 4), (500, 1), (500, 400)] {
            let items: Vec<(u64, usize)> = (0..count).map(|at| (random.u64(0..40), at)).collect();
            let mut sorted = items.clone();
            sorted.sort_by_key(|(ns, _)| Reverse(*ns));
            let expected: Vec<usize> = sorted.into_iter().map(|(_, at)| at).take(most).collect();
            assert_eq!(longest(items.into_iter(), most), expected, "{most} of {count}");
        }
    }
}
