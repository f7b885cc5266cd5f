//! How often a comparison of services is right, on made-up recordings; and what it says of what it cannot tell.

use super::super::synthetic::{Build, Machine};
use super::super::*;
use crate::recording::Ended;

fn compared(a: &[Run], b: &[Run]) -> Comparison {
    compare(&Side::new(a.iter(), "A"), &Side::new(b.iter(), "B"), Rounds::Apart, 1)
}

/// Of so many pairs, each of a machine of its own.
fn pairs(seeds: std::ops::Range<u64>, a: Build, b: Build, seconds: u64) -> Vec<Comparison> {
    let pair = |seed| {
        let mut machine = Machine::new(seed);
        compared(&[machine.service(a, seconds)], &[machine.service(b, seconds)])
    };
    seeds.map(pair).collect()
}

fn how_many(comparisons: &[Comparison], verdict: Overall) -> usize {
    comparisons.iter().filter(|comparison| comparison.verdict() == verdict).count()
}

fn has(comparison: &Comparison, is: fn(&Note) -> bool) -> bool {
    comparison.notes.iter().any(is)
}

/// How often each metric came to what, for whoever reads the output.
fn tell(comparisons: &[Comparison]) {
    for key in SERVICE_METRICS.iter().map(|metric| metric.key) {
        let mut told = std::collections::BTreeMap::new();
        for row in comparisons.iter().filter_map(|comparison| comparison.row(key)) {
            let why = row.open.map_or(String::new(), |open| format!(": {}", open.as_str()));
            *told.entry(format!("{}{why}", row.verdict.as_str())).or_insert(0) += 1;
        }
        println!("   {key} {told:?}");
    }
}

#[test]
fn two_recordings_of_one_build_are_not_told_apart() {
    let mut wrong = 0;
    for (build, name, seconds, seeds) in [
        (Build::SOUND, "sound", 30, 0..100),
        (Build::BLOCKS, "blocks", 30, 100..200),
        (Build::SOUND, "sound", 60, 200..300),
        (Build::BLOCKS, "blocks", 60, 300..400),
    ] {
        let all = pairs(seeds, build, build, seconds);
        let [same, open] = [Overall::NoDifference, Overall::Inconclusive].map(|verdict| how_many(&all, verdict));
        let load = all.iter().filter(|comparison| has(comparison, |note| matches!(note, Note::Load(_)))).count();
        let differ = all.len() - same - open;
        println!(
            "{name}, {seconds} s: no difference in {same}, a difference in {differ} of 100; another load in {load}"
        );
        tell(&all);
        wrong += differ;
    }
    assert!(wrong <= 20, "a difference in {wrong} of 400");
}

#[test]
fn a_blocker_that_is_gone_is_found_and_so_is_one_that_came() {
    for (seconds, seeds) in [(30, 400..500), (60, 500..600)] {
        let better = pairs(seeds.clone(), Build::BLOCKS, Build::SOUND, seconds);
        let worse = pairs(seeds, Build::SOUND, Build::BLOCKS, seconds);
        let right = (how_many(&better, Overall::Better), how_many(&worse, Overall::Worse));
        println!("{seconds} s: better in {}, worse in {} of 100", right.0, right.1);
        tell(&better);
        assert!(right.0 >= 95 && right.1 >= 95, "{seconds} s: {right:?} of 100");
    }
}

#[test]
fn what_is_too_short_says_how_long_would_do() {
    let mut machine = Machine::new(1);
    let runs = [(); 2].map(|()| machine.service(Build::BLOCKS, 12));
    let comparison = compared(&runs[..1], &runs[1..]);
    let by_time = comparison.rows.iter().filter(|row| row.metric.key != "schedule_latency.p99");
    assert!(by_time.clone().count() >= 4 && by_time.clone().all(|row| row.open == Some(Open::Short)), "{comparison:?}");
    let note = comparison.notes.iter().map(noted).find(|note| note.starts_with("too short to tell: ")).expect("a note");
    assert!(note.ends_with("record each for 20 s"), "{note}");
    let [compared_a, _] = comparison.served.expect("a service").compared_ns;
    // The first and the last second have no load, and the two after the first are the warm-up.
    assert_eq!(compared_a, 8_000_000_000);
}

#[test]
fn another_load_is_said_and_a_change_counts_against_it_only() {
    let busier = |build: Build| Build { polls_per_s: 3.0 * build.polls_per_s, ..build };
    let of = |a: Build, b: Build| pairs(0..1, a, b, 120).pop().expect("one");
    let differs = |comparison: &Comparison| comparison.served.is_some_and(|served| served.load_differs);
    let more = of(Build::SOUND, busier(Build::SOUND));
    let said = more.notes.iter().map(noted).find(|note| note.starts_with("the load differed: ")).expect("a note");
    assert!(said.contains(" polls/s; "), "{said}");
    let open = |key: &str| more.row(key).and_then(|row| row.open);
    assert_eq!((open("busy"), open("polls.p99")), (Some(Open::Load), Some(Open::Load)), "{more:?}");
    // Thrice the polls and no blocker: less although there was more to do.
    let gone = of(Build::BLOCKS, busier(Build::SOUND));
    assert!(differs(&gone));
    assert_eq!(gone.row("slow_polls_per_min").map(|row| row.verdict), Some(Verdict::Better), "{gone:?}");
    // A third of the polls, and so a third of the blocks: nobody can tell.
    let thrice = Build { blocks_per_s: 3.0, ..busier(Build::BLOCKS) };
    let less = of(thrice, Build::BLOCKS);
    assert!(differs(&less));
    assert_eq!(less.row("slow_polls_per_min").map(|row| row.open), Some(Some(Open::Load)), "{less:?}");
    assert!(!differs(&of(Build::SOUND, Build::SOUND)));
}

#[test]
fn three_recordings_of_a_side_are_its_rounds_whatever_their_lengths() {
    let mut machine = Machine::new(4);
    let [a, mut b] = [Build::BLOCKS, Build::SOUND].map(|build| {
        let mut hour = 0;
        [20, 30, 40, 30].map(|seconds| {
            hour += 1;
            Run { started_at: format!("2026-11-30T0{hour}:00:00Z"), ..machine.service(build, seconds) }
        })
    });
    let comparison = compared(&a, &b);
    assert!(comparison.served.is_some_and(|served| served.blocks_ns.is_none()), "{comparison:?}");
    assert_eq!((comparison.rounds, comparison.verdict()), ([4, 4], Overall::Better));
    assert!(!has(&comparison, |note| matches!(note, Note::OneStart)));
    let by_minute = comparison.row("slow_polls_per_min").expect("a row");
    assert!(by_minute.basis == Basis::Rounds && (30.0..150.0).contains(&by_minute.a), "{by_minute:?}");
    // Neither are processes side by side: they are put together.
    b[1].started_at = b[0].started_at.clone();
    assert!(compared(&a, &b).served.is_some_and(|served| served.blocks_ns.is_some()));
    // Nor are two.
    let two = compared(&a[..2], &b[..2]).served.expect("a service");
    assert!(two.blocks_ns.is_some() && two.compared_ns[0] > 30_000_000_000, "{two:?}");
}

#[test]
fn a_recording_that_breaks_off_is_compared_as_far_as_it_is_known() {
    let mut machine = Machine::new(2);
    let mut runs = [Build::BLOCKS, Build::SOUND].map(|build| machine.service(build, 60));
    runs[0].ended = Ended::Torn;
    let comparison = compared(&runs[..1], &runs[1..]);
    assert_eq!((comparison.rounds, comparison.verdict()), ([1, 1], Overall::Better));
    assert!(!has(&comparison, |note| matches!(note, Note::CutShort(..))));
    // Without intervals there is nothing to cut.
    runs.iter_mut().for_each(|run| run.intervals.clear());
    let comparison = compared(&runs[..1], &runs[1..]);
    assert!(comparison.served.is_none() && has(&comparison, |note| matches!(note, Note::CutShort(..))));
}

#[test]
fn a_long_recording_is_compared_in_longer_slices() {
    let mut machine = Machine::new(3);
    let build = Build { polls_per_s: 30.0, ..Build::BLOCKS };
    let runs = [2_000, 1_500].map(|seconds| machine.service(build, seconds));
    let served = compared(&runs[..1], &runs[1..]).served.expect("a service");
    let [least, _] = served.blocks_ns.expect("blocks");
    // 1,968 s in slices of four: the cube root of 492 is eight.
    assert!(least >= 8 * 4_000_000_000, "{served:?}");
    assert_eq!(served.compared_ns[0], 1_968_000_000_000, "a warm-up of 30 s at most");
}
