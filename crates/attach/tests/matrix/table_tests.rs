//! What `table.rs` of the benchmark promises.

use std::collections::BTreeMap;

use crate::score::Score;
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
