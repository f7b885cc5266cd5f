//! What `floors.rs` of the benchmark promises.

use std::collections::BTreeMap;

use crate::floors::*;
use crate::score::Score;

fn tally(change: impl Fn(&mut Score)) -> Tally {
    let mut score = Score { stalls: 100, found: 95, line: 94, chain: 95, root: 93, ..Score::default() };
    change(&mut score);
    Tally { by_run: BTreeMap::from([("a".to_owned(), score)]), ..Tally::default() }
}

#[test]
fn each_floor_holds_or_is_told() {
    assert_eq!(check(&tally(|_| ())), Ok(()));
    let below = |change: fn(&mut Score)| check(&tally(change)).unwrap_err();
    assert!(below(|score| score.found = 69).starts_with("stalls found: 69 of 100, and not 70 % of them"));
    assert_eq!(below(|score| score.line = 85), "lines right: 85 of 95, and not 90 % of them");
    assert!(below(|score| (score.chain, score.root) = (0, 0)).contains("; types of futures right: 0 of 95"));
    assert!(below(|score| score.merged_apart = 1).ends_with("seen as one: 1, and not at most 0"));
    let many = |score: &mut Score| {
        (score.stalls, score.found, score.line, score.chain, score.root) = (200, 200, 200, 200, 200)
    };
    assert!(check(&tally(|score| (many(score), score.merged_apart = 2).1)).is_ok());
    assert!(check(&tally(|score| (many(score), score.merged_apart = 3).1)).is_err());
    assert!(check(&Tally::default()).is_err(), "of nothing, nothing is right");
    assert!(check(&Tally { of_nothing: [9, 4], ..tally(|_| ()) }).is_ok(), "a busy machine makes stalls of its own");
    assert!(check(&Tally { of_nothing: [0, 5], ..tally(|_| ()) }).is_err());
    assert!(check(&Tally { interrupted: 1, ..tally(|_| ()) }).is_err());
}
