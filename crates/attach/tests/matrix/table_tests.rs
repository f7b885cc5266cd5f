//! What `table.rs` of the benchmark promises.

use std::collections::BTreeMap;

use crate::matching::matched;
use crate::matching_tests::{MS, seen, stall};
use crate::score::Score;
use crate::seen::Seen;
use crate::table::*;

#[test]
fn columns_are_as_wide_as_what_is_in_them() {
    let rows = [["", "found", "é"], ["sleep", "7", "12"]].map(|row| row.map(str::to_owned));
    assert_eq!(aligned(&rows), "       found   é\nsleep      7  12\n");
}

#[test]
fn all_is_the_last_line_and_has_the_sum() {
    let score = |found| Score { stalls: 9, found, ..Score::default() };
    let scores = BTreeMap::from([("a".to_owned(), score(3)), ("b".to_owned(), score(4))]);
    let text = table(&scores, 10);
    let last: Vec<&str> = text.lines().last().unwrap().split_whitespace().take(3).collect();
    assert_eq!((text.lines().count(), last), (4, vec!["all", "18", "7"]));
}

#[test]
fn an_end_is_wrong_that_is_said_to_be_exact_and_is_off() {
    let stalls = [stall(1, 7, 100, 150)];
    let told = |seen: &[Seen]| {
        let wrong = wrong(&stalls, seen, &matched(&stalls, seen), 10 * MS, 9);
        wrong.iter().any(|wrong| wrong.starts_with("end off by -1.000 ms: sleep"))
    };
    assert!(told(&[seen(7, 100, 149)]));
    assert!(!told(&[seen(7, 100, 150)]), "it is right");
    assert!(!told(&[Seen { end_is: Some(2 * MS), ..seen(7, 100, 149) }]), "it is not said to be exact");
    assert!(!told(&[Seen { is_open: true, ..seen(7, 100, 149) }]), "it had not ended");
}
