mod services;

use super::synthetic::Machine;
use super::*;
use crate::fixture;

fn side<'a>(runs: &'a [Run], mode: &str, name: &str) -> Side<'a> {
    Side::new(runs.iter().filter(|run| run.group == mode), name)
}

/// How many of 100 comparisons come to that.
fn how_many(is: impl Fn(&Comparison) -> bool, make: impl Fn(u64) -> Comparison) -> usize {
    (0..100).filter(|&seed| is(&make(seed))).count()
}

/// Two recordings of the same mode, one made after the other on a machine that drifts.
fn same_twice(seed: u64, mode: &str, rounds: u32) -> Comparison {
    let mut machine = Machine::new(seed);
    let (first, second) = (machine.rounds(&[mode], rounds), machine.rounds(&[mode], rounds));
    compare(&side(&first, mode, "A"), &side(&second, mode, "B"), Rounds::Apart, 1)
}

fn naive_and_offloaded(seed: u64, rounds: u32, lie: Rounds) -> Comparison {
    let mut machine = Machine::new(seed);
    let runs = match lie {
        Rounds::Interleaved => machine.rounds(&["naive", "offloaded"], rounds),
        Rounds::Apart => [machine.rounds(&["naive"], rounds), machine.rounds(&["offloaded"], rounds)].concat(),
    };
    compare(&side(&runs, "naive", "naive"), &side(&runs, "offloaded", "offloaded"), lie, 1)
}

#[test]
fn two_recordings_of_the_same_mode_do_not_differ() {
    for (mode, rounds) in [("naive", 5), ("offloaded", 3), ("offloaded", 5), ("offloaded", 10)] {
        let comparisons: Vec<Comparison> = (0..100).map(|seed| same_twice(seed, mode, rounds)).collect();
        let same = comparisons.iter().filter(|c| c.verdict() == Overall::NoDifference).count();
        let differ = comparisons.iter().filter(|c| c.verdict() != Overall::Inconclusive).count() - same;
        let unlike = |c: &&Comparison| c.notes.iter().any(|note| matches!(note, Note::FirstRound(..)));
        let unlike = comparisons.iter().filter(unlike).count();
        let drifts = |c: &&Comparison| c.notes.iter().any(|note| matches!(note, Note::Trend(..)));
        let drifts = comparisons.iter().filter(drifts).count();
        println!("{mode}, {rounds} rounds: a first round unlike the others in {unlike}, a drift in {drifts} of 100");
        // Each comparison has two sides.
        assert!(unlike <= 10, "{mode}, {rounds} rounds: a first round unlike the others in {unlike} of 100");
        println!("{mode}, {rounds} rounds: no difference in {same}, a difference in {differ} of 100");
        assert!(differ <= 5, "{mode}, {rounds} rounds: a difference in {differ} of 100");
        // Three rounds leave much open, and say so.
        assert!(rounds < 5 || same >= 95, "{mode}, {rounds} rounds: no difference in {same} of 100");
    }
}

#[test]
fn naive_and_offloaded_do() {
    for rounds in [3, 5] {
        for lie in [Rounds::Interleaved, Rounds::Apart] {
            let responds = |c: &Comparison| {
                c.verdict() == Overall::Better
                    && ["response_time.p99", "lag.p99", "polls.max"]
                        .iter()
                        .all(|key| c.row(key).is_some_and(|row| row.verdict == Verdict::Better))
            };
            let right = how_many(responds, |seed| naive_and_offloaded(seed, rounds, lie));
            println!("{rounds} rounds {lie:?}: right in {right} of 100");
            assert_eq!(right, 100, "{rounds} rounds, {lie:?}");
        }
    }
}

#[test]
fn an_interval_holds_what_it_is_said_to_hold() {
    // Interleaved, the drift cancels: the true ratio of a mode to itself is 1.
    let held = how_many(
        |c| {
            c.rows.iter().all(|row| {
                row.metric.key != "response_time.p99" || row.interval.is_some_and(|[l, h]| l <= 1.0 && h >= 1.0)
            })
        },
        |seed| {
            let mut machine = Machine::new(seed);
            let runs = machine.rounds(&["a", "b"], 5);
            compare(&side(&runs, "a", "a"), &side(&runs, "b", "b"), Rounds::Interleaved, 1)
        },
    );
    println!("held the true ratio in {held} of 100");
    assert!(held >= 90, "{held} of 100");
}

#[test]
fn one_round_has_the_intervals_of_its_samples_and_says_so() {
    let runs = [fixture::blocked("naive", &[503_123_456; 6]), fixture::run("offloaded")];
    let comparison =
        compare(&side(&runs, "naive", "naive"), &side(&runs, "offloaded", "offloaded"), Rounds::Interleaved, 1);
    assert_eq!(comparison.notes[0], Note::TooFewRounds);
    let row = |key| comparison.row(key).expect("both know it");
    assert_eq!((row("response_time.p99").basis, row("response_time.p99").verdict), (Basis::Samples, Verdict::Better));
    assert_eq!((row("lag.max").basis, row("lag.max").verdict), (Basis::Nothing, Verdict::Inconclusive));
    assert_eq!(row("slow_polls").open, Some(Open::FewRounds));
    let same = compare(&side(&runs, "naive", "a"), &side(&runs, "naive", "b"), Rounds::Interleaved, 1);
    assert!(same.rows.iter().all(|row| row.verdict == Verdict::Inconclusive && row.open.is_some()));
}

#[test]
fn more_cpu_time_and_more_switches_are_worse_and_a_price() {
    let runs = Machine::new(3).rounds(&["naive"], 5);
    let mut dear = runs.clone();
    for run in &mut dear {
        run.cpu_user_ns = run.cpu_user_ns.map(|ns| 3 * ns);
        run.context_switches_voluntary = run.context_switches_voluntary.map(|count| 3 * count);
    }
    let of = |a: &[Run], b: &[Run]| compare(&side(a, "naive", "A"), &side(b, "naive", "B"), Rounds::Apart, 1);
    for key in ["cpu", "context_switches"] {
        let judged = |comparison: Comparison| comparison.row(key).map(|row| (row.verdict, row.metric.is_price));
        assert_eq!(judged(of(&runs, &dear)), Some((Verdict::Worse, true)), "{key}");
        assert_eq!(judged(of(&dear, &runs)), Some((Verdict::Better, true)), "{key}");
        dear.iter_mut().for_each(|run| (run.cpu_system_ns, run.context_switches_involuntary) = (None, None));
        assert_eq!(judged(of(&runs, &dear)), None, "{key}: a part of it is not the whole");
        dear.iter_mut().for_each(|run| (run.cpu_system_ns, run.context_switches_involuntary) = (Some(1), Some(1)));
    }
}

#[test]
fn what_a_side_does_not_know_is_not_compared() {
    let mut runs = Machine::new(1).rounds(&["naive", "offloaded"], 3);
    runs.iter_mut().for_each(|run| run.lag = None);
    fixture::interrupt(&mut runs[0], "asked to stop");
    let naive = side(&runs, "naive", "naive");
    let comparison = compare(&naive, &side(&runs, "offloaded", "offloaded"), Rounds::Interleaved, 1);
    assert!(comparison.row("lag.p99").is_none() && comparison.row("polls.p99").is_some());
    assert_eq!(comparison.rounds, [2, 3]);
    assert!(comparison.notes.contains(&Note::CutShort("naive".to_owned(), 1)));
    assert!(compare(&naive, &side(&runs, "none", "none"), Rounds::Apart, 1).rows.is_empty());
}

#[test]
fn a_drift_and_a_cold_first_round_are_named() {
    let mut runs: Vec<Run> = (1..=9).map(|round| fixture::in_round(fixture::run("naive"), round)).collect();
    for (run, percent) in runs.iter_mut().zip([100, 105, 111, 118, 126, 135, 145, 156, 168]) {
        run.elapsed_ns = 10_000_000 * percent;
    }
    let other = runs.clone();
    let noted = |runs: &[Run]| compare(&side(runs, "naive", "A"), &side(&other, "naive", "B"), Rounds::Apart, 1).notes;
    assert!(
        noted(&runs).iter().any(|note| matches!(note, Note::Trend(side, _, change) if side == "A" && *change > 1.0))
    );
    for (round, run) in (1..).zip(&mut runs) {
        run.elapsed_ns = if round == 1 { 2_000_000_000 } else { 1_000_000_000 + round };
    }
    let first = noted(&runs).into_iter().find(|note| matches!(note, Note::FirstRound(side, _) if side == "A"));
    let sentence = sentence::noted(&first.expect("round 1 is twice the others"));
    assert!(sentence.contains("round 1 of A") && sentence.ends_with("run again with `--warmup 1`"), "{sentence}");
}

#[test]
fn the_same_runs_give_the_same_answer() {
    let make = || naive_and_offloaded(7, 5, Rounds::Interleaved);
    assert_eq!(make(), make());
}

#[test]
fn other_settings_are_another_question() {
    let a = fixture::recording();
    let mut b = a.clone();
    for (key, value) in [("rounds", "5"), ("merge.inputs", "9")] {
        fixture::scenario(&mut b).settings.insert(key.to_owned(), value.to_owned());
    }
    b.environment.kernel = None;
    let found = differences(a.scenario.as_ref(), b.scenario.as_ref());
    assert_eq!(found, [Difference { key: "merge.inputs".to_owned(), a: None, b: Some("9".to_owned()) }]);
    assert_eq!(environments(&a, &b), ["kernel 6.8.0 and unknown"]);
}

/// Pairs of all kinds: of one to five rounds a side, alike and not, by turns and apart.
fn pairs() -> impl Iterator<Item = Comparison> {
    (0..200u64).map(|seed| {
        let mut machine = Machine::new(seed);
        let (rounds_a, rounds_b) = (1 + (seed % 5) as u32, 1 + (seed / 5 % 5) as u32);
        let other = if seed % 3 == 0 { "naive" } else { "offloaded" };
        let (a, b) = (machine.rounds(&["naive"], rounds_a), machine.rounds(&[other], rounds_b));
        let lie = if seed % 2 == 0 { Rounds::Interleaved } else { Rounds::Apart };
        let (a, b) = (side(&a, "naive", "A"), side(&b, other, "B"));
        if seed % 7 < 3 { compare(&b, &a, lie, 1) } else { compare(&a, &b, lie, 1) }
    })
}

#[test]
fn an_estimate_lies_in_its_interval_whose_ends_are_numbers_or_open() {
    for comparison in pairs() {
        for row in &comparison.rows {
            let Some([low, high]) = row.interval else { continue };
            let ratio = row.ratio.expect("an interval is of a ratio");
            assert!(
                low <= ratio && ratio <= high,
                "{} {:?}: {ratio} [{low}, {high}]",
                row.metric.key,
                comparison.rounds
            );
            assert!(low == 0.0 || low > ratio / 1_001.0, "{row:?}");
            assert!(high == f64::INFINITY || high < ratio * 1_001.0, "{row:?}");
            assert!(low > 0.0 || high.is_finite(), "{row:?}");
            let text = change(row);
            assert!(!text.contains("18,446,744") && !text.contains("inf") && !text.contains("1/"), "{text}");
            let (factor, _) = text[row.metric.name.len() + 1..].split_once("x ").expect("a factor");
            assert!(factor.replace(',', "").parse::<f64>().is_ok_and(|factor| factor >= 1.0), "{text}");
        }
    }
}

#[test]
fn what_is_inconclusive_says_why_and_nothing_else_does() {
    for comparison in pairs() {
        for row in &comparison.rows {
            assert_eq!(row.verdict == Verdict::Inconclusive, row.open.is_some(), "{row:?}");
        }
    }
}

#[test]
fn one_program_twice_is_not_better_than_itself_more_often_than_is_claimed() {
    for (mode, rounds) in
        [("offloaded", 1), ("naive", 1), ("offloaded", 2), ("naive", 3), ("offloaded", 3), ("naive", 5)]
    {
        let differ = |seed: &u64| {
            let verdict = same_twice(1_000 + seed, mode, rounds).verdict();
            !matches!(verdict, Overall::NoDifference | Overall::Inconclusive)
        };
        let differ = (0..200).filter(differ).count();
        println!("{mode}, {rounds} rounds: a difference in {differ} of 200");
        assert!(differ <= 10, "{mode}, {rounds} rounds: a difference in {differ} of 200");
    }
}
