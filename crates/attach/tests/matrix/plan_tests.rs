//! What `plan.rs` of the benchmark promises.

use crate::options::Options;
use crate::plan::*;

#[test]
fn there_is_every_runtime_with_what_is_calm_and_a_way_alone_has_nothing_calm() {
    let whole = runs(&Options::default());
    assert_eq!(whole.iter().map(|run| run.calm).collect::<Vec<_>>()[..3], [None, Some("idle"), Some("gaps")]);
    assert_eq!(whole.iter().filter(|run| run.runtime == "current").count(), 5);
    let small = runs(&Options { is_small: true, ..Options::default() });
    let seconds = |run: &Planned| run.arguments[7].parse::<u64>().unwrap();
    assert!(small.iter().map(seconds).sum::<u64>() <= 34, "what the gate has time for");
    let only = Options { only: Some("spin".to_owned()), runtime: Some("multi".to_owned()), ..Options::default() };
    let [run] = &runs(&only)[..] else { panic!("one") };
    assert_eq!(run.arguments[run.arguments.len() - 2..], ["--way", "spin"]);
}
