//! What `clocks.rs` of the benchmark promises.

use crate::clocks::*;

const MS: u64 = 1_000_000;

#[test]
fn the_difference_that_most_ends_speak_for_is_taken() {
    let ahead = 7_000 * MS + 1_234_567;
    let truth: Vec<u64> = (1..30).map(|index| ahead + index * index * 9 * MS).collect();
    // Some of them were not seen, and each was seen up to 40 µs late.
    let late = |index: usize| (index as u64 % 5) * 10_000;
    let seen: Vec<u64> = truth
        .iter()
        .enumerate()
        .filter(|(index, _)| index % 3 > 0)
        .map(|(index, ns)| ns - ahead + late(index))
        .collect();
    let found = offset(&(ahead - 2 * MS..=ahead + 5 * MS), ahead - MS, &seen, &truth);
    assert!(found.ns.abs_diff(ahead) <= 40_000, "{found:?}");
    assert!(found.speak_for_it.is_some_and(|count| count >= seen.len()), "{found:?}");
}

#[test]
fn few_ends_and_those_beyond_the_bounds_say_nothing() {
    let truth: Vec<u64> = (1..20).map(|index| 100 * MS * index).collect();
    let seen: Vec<u64> = truth.iter().map(|ns| ns - 50 * MS).collect();
    assert_eq!(offset(&(0..=9 * MS), 3, &seen, &truth), Offset { ns: 3, speak_for_it: None });
    assert_eq!(offset(&(0..=60 * MS), 3, &seen[..4], &truth), Offset { ns: 3, speak_for_it: None });
    assert_eq!(offset(&(0..=60 * MS), 3, &seen, &truth), Offset { ns: 50 * MS, speak_for_it: Some(19) });
    assert_eq!(offset(&(0..=60 * MS), 3, &[], &[]), Offset { ns: 3, speak_for_it: None });
    // What is off by something else each time speaks for nothing, though some agree by chance.
    let wild: Vec<u64> = (1..20).chain([1; 9]).map(|index| 100 * MS * index - index * MS).collect();
    assert_eq!(offset(&(0..=60 * MS), 3, &wild[..19], &truth), Offset { ns: 3, speak_for_it: None });
}
