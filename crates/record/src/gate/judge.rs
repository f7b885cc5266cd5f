//! What became of an expectation.

use super::Gate;
use super::metric::{CountName, Metric, Op, Quantity, Right, Stat};
use crate::recording::{self, BusyBy, Completeness, Dist, GateVerdict, Run, Verdict};

/// The half-width, in standard errors, of a 95 % interval.
const Z_95: f64 = 1.96;

/// A measured value, and the ends of the interval that it was estimated to lie in.
#[derive(Debug, Clone, Copy)]
struct Measured {
    value: f64,
    low: f64,
    high: f64,
    /// Whether it is a count of what was seen, of which there may have been more.
    is_at_least: bool,
}

/// A verdict, the left side's value that decided it, and, of one that is inconclusive, why.
type Outcome = (GateVerdict, Option<f64>, Option<Doubt>);

/// Why a gate is inconclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// The group that it speaks of is not in the recording.
    NotRun,
    /// A run of the group ended early.
    CutShort,
    /// What it speaks of was not measured, or cannot be known of this subject.
    NotKnown,
    /// The groups on its two sides ran different numbers of rounds.
    UnequalRounds,
    /// The values that the interval holds are on both sides of the limit.
    TooFewSamples,
    /// Only a lower bound of the count is known.
    AtLeast,
}

impl Doubt {
    fn as_str(self) -> &'static str {
        match self {
            Doubt::NotRun => "the recording has no such group",
            Doubt::CutShort => "a run ended early",
            Doubt::NotKnown => "not measured",
            Doubt::UnequalRounds => "the two groups ran different numbers of rounds",
            Doubt::TooFewSamples => "too few samples to tell",
            Doubt::AtLeast => "there may have been more than were seen",
        }
    }
}

fn doubt(value: Option<f64>, doubt: Doubt) -> Outcome {
    (GateVerdict::Inconclusive, value, Some(doubt))
}

impl Gate {
    /// Whether the runs are as expected. Pure: the same runs give the same verdict.
    pub fn judge(&self, runs: &[Run]) -> recording::Gate {
        let groups: Vec<&str> = match &self.left.group {
            Some(group) => vec![&group.name],
            None => distinct_groups(runs),
        };
        let outcomes = groups.into_iter().map(|group| self.judge_group(group, runs));
        let (verdict, value, why) = worst(self.op, outcomes).unwrap_or(doubt(None, Doubt::NotRun));
        let why = why.map(|why| why.as_str().to_owned());
        recording::Gate { expr: self.text.clone(), verdict, value, why }
    }

    fn judge_group(&self, group: &str, runs: &[Run]) -> Outcome {
        let rounds = match rounds_of(group, runs) {
            Ok(rounds) => rounds,
            Err(why) => return doubt(None, why),
        };
        match &self.right {
            Right::Verdict(wanted) => self.judge_verdict(&rounds, *wanted),
            Right::Number(limit) => {
                let limit = *limit;
                let limit = exact(limit);
                let Some(values) = each(self.left.quantity, &rounds) else { return doubt(None, Doubt::NotKnown) };
                let outcomes = values.into_iter().map(|left| compare(self.op, left, limit));
                worst(self.op, outcomes).unwrap_or(doubt(None, Doubt::NotKnown))
            }
            Right::Times(factor, other) => self.judge_ratio(&rounds, *factor, other, group, runs),
        }
    }

    fn judge_verdict(&self, rounds: &[&Run], wanted: Verdict) -> Outcome {
        let verdicts: Option<Vec<Verdict>> =
            rounds.iter().map(|run| run.merge.as_ref().map(|merge| merge.verdict)).collect();
        let Some(verdicts) = verdicts else { return doubt(None, Doubt::NotKnown) };
        (pass_if(verdicts.iter().all(|verdict| (*verdict == wanted) == (self.op == Op::Equal))), None, None)
    }

    fn judge_ratio(&self, rounds: &[&Run], factor: f64, other: &Metric, group: &str, runs: &[Run]) -> Outcome {
        let Some(left) = total(self.left.quantity, rounds) else { return doubt(None, Doubt::NotKnown) };
        let other_group = other.group.as_ref().map_or(group, |group| &group.name);
        let other_rounds = match rounds_of(other_group, runs) {
            // Sums over unequally many rounds say nothing about each other.
            Ok(other) if other.len() != rounds.len() => return doubt(Some(left.value), Doubt::UnequalRounds),
            Ok(other) => other,
            Err(why) => return doubt(Some(left.value), why),
        };
        match total(other.quantity, &other_rounds) {
            Some(right) => {
                let (value, low, high) = (factor * right.value, factor * right.low, factor * right.high);
                let right = Measured { value, low, high, is_at_least: right.is_at_least };
                compare(self.op, left, right)
            }
            None => doubt(Some(left.value), Doubt::NotKnown),
        }
    }
}

fn pass_if(holds: bool) -> GateVerdict {
    if holds { GateVerdict::Pass } else { GateVerdict::Fail }
}

/// Fails only when no values within the intervals would pass. A count of what was seen passes only when more would pass as well.
fn compare(op: Op, left: Measured, right: Measured) -> Outcome {
    let could_hold = match op {
        Op::Less | Op::LessOrEqual => op.holds(left.low, right.high),
        Op::Greater | Op::GreaterOrEqual => op.holds(left.high, right.low),
        Op::Equal => left.low <= right.high && right.low <= left.high,
        Op::NotEqual => op.holds(left.value, right.value),
    };
    let may_be_more = left.is_at_least || right.is_at_least;
    let holds = op.holds(left.value, right.value);
    let holds_with_more = match op {
        Op::Greater | Op::GreaterOrEqual => !right.is_at_least,
        Op::Less | Op::LessOrEqual => !left.is_at_least,
        Op::Equal | Op::NotEqual => false,
    };
    let value = Some(left.value);
    // That at least none was seen says nothing.
    let seen = value.filter(|seen| *seen > 0.0);
    match (holds, could_hold) {
        (true, _) if may_be_more && !holds_with_more => doubt(seen, Doubt::AtLeast),
        (true, _) => (GateVerdict::Pass, value, None),
        (false, true) if may_be_more => doubt(seen, Doubt::AtLeast),
        (false, true) => doubt(value, Doubt::TooFewSamples),
        (false, false) => (GateVerdict::Fail, value, None),
    }
}

/// The outcome that decides: a failed one before an inconclusive one, and the value furthest on the wrong side.
fn worst(op: Op, outcomes: impl Iterator<Item = Outcome>) -> Option<Outcome> {
    let rank = |verdict| match verdict {
        GateVerdict::Fail => 2,
        GateVerdict::Inconclusive => 1,
        GateVerdict::Pass => 0,
    };
    let worse = |a: Outcome, b: Outcome| match rank(a.0).cmp(&rank(b.0)) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Greater => false,
        std::cmp::Ordering::Equal => match (a.1, b.1, op) {
            (Some(a), Some(b), Op::Less | Op::LessOrEqual) => b > a,
            (Some(a), Some(b), Op::Greater | Op::GreaterOrEqual) => b < a,
            _ => false,
        },
    };
    outcomes.reduce(|a, b| if worse(a, b) { b } else { a })
}

fn distinct_groups(runs: &[Run]) -> Vec<&str> {
    let mut groups: Vec<&str> = Vec::new();
    for run in runs {
        if !groups.contains(&run.group.as_str()) {
            groups.push(&run.group);
        }
    }
    groups
}

/// The rounds of a group, if there is one, and none was cut short.
fn rounds_of<'a>(group: &str, runs: &'a [Run]) -> Result<Vec<&'a Run>, Doubt> {
    let rounds: Vec<&Run> = runs.iter().filter(|run| run.group == group).collect();
    match rounds.as_slice() {
        [] => Err(Doubt::NotRun),
        some if some.iter().any(|run| run.early_end().is_some()) => Err(Doubt::CutShort),
        _ => Ok(rounds),
    }
}

fn exact(value: f64) -> Measured {
    Measured { value, low: value, high: value, is_at_least: false }
}

/// A count in every round; anything else over all rounds.
fn each(quantity: Quantity, rounds: &[&Run]) -> Option<Vec<Measured>> {
    match quantity {
        Quantity::Count(_) | Quantity::Dist(_, Stat::Count) => {
            rounds.iter().map(|run| total(quantity, &[run])).collect()
        }
        _ => total(quantity, rounds).map(|value| vec![value]),
    }
}

/// One value for all rounds together.
fn total(quantity: Quantity, rounds: &[&Run]) -> Option<Measured> {
    match quantity {
        Quantity::Dist(name, stat) => {
            let dists: Option<Vec<&Dist>> = rounds.iter().map(|run| name.of(run)).collect();
            statistic(&merged(&dists?)?, stat)
        }
        Quantity::Count(name) => {
            let counts: Option<Vec<u64>> = rounds.iter().map(|run| name.of(run)).collect();
            let count = exact(counts?.iter().map(|count| *count as f64).sum());
            let is_at_least =
                name == CountName::SlowPolls && rounds.iter().any(|run| run.slow_polls_are == Completeness::AtLeast);
            Some(if is_at_least { Measured { high: f64::INFINITY, is_at_least, ..count } } else { count })
        }
        Quantity::Verdict => None,
        Quantity::Busy => busy(rounds),
        Quantity::Throughput => {
            let rates: Option<Vec<u64>> = rounds.iter().map(|run| run.throughput_bytes_per_s).collect();
            let sum: f64 = rates?.iter().map(|rate| *rate as f64).sum();
            Some(exact(sum / rounds.len() as f64))
        }
    }
}

/// The sum of all polls over the elapsed time, or what looks say of it.
fn busy(rounds: &[&Run]) -> Option<Measured> {
    let sum = |of: &dyn Fn(&Run) -> Option<f64>| rounds.iter().map(|run| of(run)).sum::<Option<f64>>();
    let elapsed = sum(&|run| Some(run.elapsed_ns as f64)).filter(|elapsed| *elapsed > 0.0)?;
    if let Some(busy) = sum(&|run| Some(run.loop_busy_ns? as f64)) {
        return Some(exact(busy / elapsed));
    }
    let available = sum(&|run| run.available_ns())?;
    // A poll that blocks is on no CPU.
    let known = |run: &Run| run.busy_share.filter(|share| share.how != BusyBy::Cpu);
    let share = sum(&|run| Some(known(run)?.value * run.available_ns()?))? / available;
    let looks = sum(&|run| looks(run));
    let is_exact = rounds.iter().all(|run| known(run).is_some_and(|share| share.how == BusyBy::Polls));
    let (low, high) = if is_exact { (share, share) } else { of_looks(share, looks) };
    let workers = available / elapsed;
    Some(Measured { value: share * workers, low: low * workers, high: high * workers, is_at_least: false })
}

/// How many looks a run's share is of; `None` where that is not known.
fn looks(run: &Run) -> Option<f64> {
    let of_profile = run.profile.as_ref().map(|profile| profile.looks as f64);
    of_profile.or_else(|| Some(run.coverage.looks_per_s? * run.available_ns()? / 1e9))
}

/// The interval of a share that so many looks found: how many find a poll is binomial. Wilson's, which needs no share away from 0 and 1.
fn of_looks(share: f64, looks: Option<f64>) -> (f64, f64) {
    let Some(n) = looks.filter(|n| *n >= 1.0) else { return (0.0, 1.0) };
    let z = Z_95 * Z_95 / n;
    let (middle, half) = (share + z / 2.0, Z_95 * (share * (1.0 - share) / n + z / (4.0 * n)).max(0.0).sqrt());
    (((middle - half) / (1.0 + z)).max(0.0), ((middle + half) / (1.0 + z)).min(1.0))
}

fn merged(dists: &[&Dist]) -> Option<Dist> {
    let (first, rest) = dists.split_first()?;
    let mut all = (*first).clone();
    for dist in rest {
        all.add(dist);
    }
    Some(all)
}

fn statistic(dist: &Dist, stat: Stat) -> Option<Measured> {
    let exactly = |ns: Option<u64>| ns.map(|ns| exact(ns as f64));
    match stat {
        Stat::Count => Some(exact(dist.count() as f64)),
        Stat::Min => exactly(dist.min_ns),
        Stat::Max => exactly(dist.max_ns),
        Stat::Mean => exactly(dist.mean_ns()),
        Stat::Quantile(q) => quantile(dist, q),
    }
}

/// A percentile and its interval: the number of samples below the true percentile is binomial, so the ranks
/// `n·q ± 1.96·√(n·q·(1−q))` enclose it in 95 % of all runs, whatever the distribution. A rank beyond the last sample
/// has no upper end.
fn quantile(dist: &Dist, q: f64) -> Option<Measured> {
    let n = dist.count() as f64;
    let half_width = Z_95 * (n * q * (1.0 - q)).sqrt();
    let (low_rank, high_rank) = (n * q - half_width, n * q + half_width);
    // A bucket's highest value may pass the exact maximum; a percentile cannot.
    let at = |q: f64| Some(dist.quantile_ns(q)?.min(dist.max_ns?) as f64);
    Some(Measured {
        value: at(q)?,
        low: at((low_rank / n).max(0.0))?,
        high: if high_rank > n { f64::INFINITY } else { at(high_rank / n)? },
        is_at_least: false,
    })
}
