//! What `score.rs` of the benchmark promises.

use crate::matching::matched;
use std::collections::BTreeMap;

use crate::score::*;
use crate::seen::Seen;
use crate::truth::AsyncFn;
use crate::truth::Stall;

const MS: u64 = 1_000_000;

fn stall(way: &str, begin_ms: u64, end_ms: u64) -> Stall {
    Stall {
        way: way.to_owned(),
        functions: ["sleeps", "Sleep"].map(str::to_owned),
        lines: vec![7],
        chain: vec![AsyncFn("leaf".to_owned(), 1, 9)],
        root: "root".to_owned(),
        task: 1,
        task_id: Some(3),
        tid: 1,
        begin_ns: begin_ms * MS,
        end_ns: end_ms * MS,
        switches: [1, 2],
    }
}

fn seen(start_ms: u64, end_ms: u64, end_is: Option<u64>) -> Seen {
    Seen { start_ns: start_ms * MS, end_ns: end_ms * MS, end_is, ..Seen::default() }
}

fn score(stalls: &[Stall], seen: &[Seen]) -> BTreeMap<String, Score> {
    scores(stalls, seen, &matched(stalls, seen), 10 * MS, |stall| stall.way.clone())
}

#[test]
fn what_is_right_is_counted_of_what_is_found_and_of_nothing_else() {
    let right = Seen {
        line: Some("ways.rs:7".to_owned()),
        function: Some("attached::ways::sleeps".to_owned()),
        future: Some("root".to_owned()),
        task_id: Some(3),
        ..seen(104, 180, None)
    };
    let stalls = [stall("a", 100, 181), stall("a", 300, 340), stall("a", 400, 425), stall("b", 500, 600)];
    let found = score(&stalls, &[right, seen(308, 340, Some(5 * MS))]);
    let (a, b) = (&found["a"], &found["b"]);
    assert_eq!((a.stalls, a.found, b.stalls, b.found), (2, 2, 1, 0), "a stall of 25 ms need not be found");
    assert_eq!((a.line, a.function, a.chain, a.root, a.with_id, a.id), (1, 1, 0, 1, 2, 1));
    assert_eq!((a.exact.as_slice(), a.starts.as_slice(), a.within), (&[MS][..], &[4 * MS, 8 * MS][..], 1));
    assert_eq!(a.switches, [2, 4]);
    let mut all = a.clone();
    all.add(b);
    assert_eq!((all.stalls, all.found, all.starts.len()), (3, 2, 2));
}

#[test]
fn an_end_that_is_not_where_it_is_said_to_be_is_told() {
    let stalls = [stall("a", 100, 180), stall("a", 300, 400)];
    let a = &score(&stalls, &[seen(104, 170, Some(12 * MS)), seen(304, 370, Some(12 * MS))])["a"];
    assert_eq!((a.within, a.beyond), (1, 1));
    let open = Seen { is_open: true, ..seen(104, 170, None) };
    assert!(score(&stalls, &[open])["a"].exact.is_empty(), "what is open has no end");
}

#[test]
fn merged_and_extra_ones_count_where_they_are() {
    let stalls = [stall("a", 100, 180), stall("a", 182, 240), stall("b", 500, 600)];
    let found = score(&stalls, &[seen(104, 238, None), seen(510, 540, None), seen(541, 600, None)]);
    assert_eq!((found["a"].merged, found["a"].merged_apart, found["a"].extra), (1, 1, 0));
    assert_eq!((found["b"].merged, found["b"].extra, found["b"].found), (0, 1, 1));
}

#[test]
fn quantiles_are_values_that_were_there() {
    let values: Vec<u64> = (0..=100).rev().collect();
    assert_eq!((quantile(&values, 0.5), quantile(&values, 0.95), quantile(&[], 0.5)), (Some(50), Some(95), None));
    assert_eq!(quantile(&[4], 0.99), Some(4));
}
