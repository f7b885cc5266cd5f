//! What `matching.rs` of the benchmark promises.

use crate::matching::*;
use crate::seen::Seen;
use crate::truth::Stall;

pub(crate) const MS: u64 = 1_000_000;

pub(crate) fn stall(tid: u32, line: u32, begin_ms: u64, end_ms: u64) -> Stall {
    Stall {
        way: "sleep".to_owned(),
        functions: ["sleeps", "Sleep"].map(str::to_owned),
        lines: vec![line],
        chain: Vec::new(),
        root: "root".to_owned(),
        task: 1,
        task_id: None,
        tid,
        begin_ns: begin_ms * MS,
        end_ns: end_ms * MS,
        switches: [1, 0],
    }
}

pub(crate) fn seen(line: u32, start_ms: u64, end_ms: u64) -> Seen {
    let (line, future) = (Some(format!("ways.rs:{line}")), Some("root".to_owned()));
    Seen { start_ns: start_ms * MS, end_ns: end_ms * MS, line, future, ..Seen::default() }
}

#[test]
fn each_is_the_one_that_agrees_best_in_time() {
    let stalls = [stall(1, 7, 100, 150), stall(1, 7, 152, 240), stall(1, 7, 300, 340)];
    let matched = matched(&stalls, &[seen(7, 160, 238), seen(7, 108, 149)]);
    assert_eq!(matched, Matched { seen_of: vec![Some(1), Some(0), None], ..Matched::default() });
}

#[test]
fn what_time_does_not_tell_apart_is_told_by_line_and_what_it_does_is_not() {
    let stalls = [stall(1, 7, 100, 150), stall(2, 9, 101, 151)];
    let at_once = matched(&stalls, &[seen(9, 108, 149), seen(7, 109, 150)]);
    assert_eq!(at_once.seen_of, [Some(1), Some(0)]);
    // A wrong line does not make it another stall.
    let apart = [stall(1, 7, 100, 150), stall(2, 9, 140, 250)];
    assert_eq!(matched(&apart, &[seen(9, 108, 150)]).seen_of, [Some(0), None]);
}

#[test]
fn two_in_one_are_merged_unless_they_are_of_two_threads() {
    let stalls = [stall(1, 7, 100, 180), stall(1, 7, 182, 240)];
    let found = matched(&stalls, &[seen(7, 108, 239)]);
    assert_eq!(found.merged, [Merged { seen: 0, is: 0, covers: 1, gap_ns: 2 * MS }]);
    assert_eq!(found.seen_of, [Some(0), None]);
    let threads = [stall(1, 7, 100, 180), stall(2, 7, 182, 240)];
    assert!(matched(&threads, &[seen(7, 108, 239)]).merged.is_empty());
    assert!(matched(&stalls, &[seen(7, 108, 185)]).merged.is_empty(), "a look may be that late");
}

#[test]
fn one_of_nothing_is_false_and_half_of_one_is_extra() {
    let stalls = [stall(1, 7, 100, 180), stall(1, 7, 400, 415)];
    let found = matched(&stalls, &[seen(7, 101, 138), seen(7, 139, 180), seen(7, 300, 340), seen(7, 401, 415)]);
    assert_eq!((found.extra.as_slice(), found.false_ones.as_slice()), (&[0][..], &[2, 3][..]), "{found:?}");
    assert_eq!(found.seen_of, [Some(1), Some(3)]);
    assert_eq!(matched(&[], &[seen(7, 1, 2)]).false_ones, [0]);
}

#[test]
fn one_whose_end_was_seen_comes_before_one_whose_end_was_not() {
    let stalls = [stall(1, 7, 100, 180)];
    let open = Seen { is_open: true, ..seen(7, 101, 180) };
    let found = matched(&stalls, &[open.clone(), seen(7, 120, 180)]);
    assert_eq!((found.seen_of.as_slice(), found.extra.as_slice()), (&[Some(1)][..], &[0][..]));
    assert_eq!(matched(&stalls, &[open]).seen_of, [Some(0)]);
}

#[test]
fn half_of_one_is_not_another_one_of_another_thread() {
    let stalls = [stall(1, 7, 100, 180), stall(2, 9, 150, 182)];
    let found = matched(&stalls, &[seen(7, 101, 148), seen(7, 149, 180)]);
    assert_eq!(found.seen_of, [Some(0), None], "the second was not found");
    assert_eq!(found.extra, [1]);
}
