//! What became of an expectation.

use super::Gate;
use super::metric::{Metric, Op, Quantity, Right, Stat};
use crate::recording::{self, Dist, GateVerdict, Run, Verdict};

/// The half-width, in standard errors, of a 95 % interval.
const Z_95: f64 = 1.96;

/// A measured value, and the ends of the interval that it was estimated to lie in.
#[derive(Debug, Clone, Copy)]
struct Measured {
    value: f64,
    low: f64,
    high: f64,
}

/// A verdict, and the left side's value that decided it.
type Outcome = (GateVerdict, Option<f64>);

impl Gate {
    /// Whether the runs are as expected. Pure: the same runs give the same verdict.
    pub fn judge(&self, runs: &[Run]) -> recording::Gate {
        let groups: Vec<&str> = match &self.left.group {
            Some(group) => vec![&group.name],
            None => distinct_groups(runs),
        };
        let outcomes = groups.into_iter().map(|group| self.judge_group(group, runs));
        let (verdict, value) = worst(self.op, outcomes).unwrap_or((GateVerdict::Inconclusive, None));
        recording::Gate { expr: self.text.clone(), verdict, value }
    }

    fn judge_group(&self, group: &str, runs: &[Run]) -> Outcome {
        let Some(rounds) = rounds_of(group, runs) else { return (GateVerdict::Inconclusive, None) };
        match &self.right {
            Right::Verdict(wanted) => self.judge_verdict(&rounds, *wanted),
            Right::Number(limit) => {
                let limit = *limit;
                let limit = Measured { value: limit, low: limit, high: limit };
                let Some(values) = each(self.left.quantity, &rounds) else { return (GateVerdict::Inconclusive, None) };
                let outcomes = values.into_iter().map(|left| compare(self.op, left, limit));
                worst(self.op, outcomes).unwrap_or((GateVerdict::Inconclusive, None))
            }
            Right::Times(factor, other) => self.judge_ratio(&rounds, *factor, other, group, runs),
        }
    }

    fn judge_verdict(&self, rounds: &[&Run], wanted: Verdict) -> Outcome {
        let verdicts: Option<Vec<Verdict>> =
            rounds.iter().map(|run| run.merge.as_ref().map(|merge| merge.verdict)).collect();
        let Some(verdicts) = verdicts else { return (GateVerdict::Inconclusive, None) };
        (pass_if(verdicts.iter().all(|verdict| (*verdict == wanted) == (self.op == Op::Equal))), None)
    }

    fn judge_ratio(&self, rounds: &[&Run], factor: f64, other: &Metric, group: &str, runs: &[Run]) -> Outcome {
        let Some(left) = total(self.left.quantity, rounds) else { return (GateVerdict::Inconclusive, None) };
        let other_group = other.group.as_ref().map_or(group, |group| &group.name);
        let other_rounds = rounds_of(other_group, runs);
        // Sums over unequally many rounds say nothing about each other.
        let other_rounds = other_rounds.filter(|other| other.len() == rounds.len());
        match other_rounds.and_then(|rounds| total(other.quantity, &rounds)) {
            Some(right) => {
                let right =
                    Measured { value: factor * right.value, low: factor * right.low, high: factor * right.high };
                compare(self.op, left, right)
            }
            None => (GateVerdict::Inconclusive, Some(left.value)),
        }
    }
}

fn pass_if(holds: bool) -> GateVerdict {
    if holds { GateVerdict::Pass } else { GateVerdict::Fail }
}

/// Fails only when no values within the intervals would pass.
fn compare(op: Op, left: Measured, right: Measured) -> Outcome {
    let could_hold = match op {
        Op::Less | Op::LessOrEqual => op.holds(left.low, right.high),
        Op::Greater | Op::GreaterOrEqual => op.holds(left.high, right.low),
        Op::Equal => left.low <= right.high && right.low <= left.high,
        Op::NotEqual => op.holds(left.value, right.value),
    };
    let verdict = if op.holds(left.value, right.value) {
        GateVerdict::Pass
    } else if could_hold {
        GateVerdict::Inconclusive
    } else {
        GateVerdict::Fail
    };
    (verdict, Some(left.value))
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
        if !groups.contains(&run.mode.as_str()) {
            groups.push(&run.mode);
        }
    }
    groups
}

/// The rounds of a group; `None` when there is none, or one was cut short.
fn rounds_of<'a>(group: &str, runs: &'a [Run]) -> Option<Vec<&'a Run>> {
    let rounds: Vec<&Run> = runs.iter().filter(|run| run.mode == group).collect();
    (!rounds.is_empty() && rounds.iter().all(|run| run.interrupted.is_none())).then_some(rounds)
}

fn exact(value: f64) -> Measured {
    Measured { value, low: value, high: value }
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
            Some(exact(counts?.iter().map(|count| *count as f64).sum()))
        }
        Quantity::Verdict => None,
        Quantity::Busy => {
            let busy: f64 = rounds.iter().map(|run| run.loop_busy_ns as f64).sum();
            let elapsed: f64 = rounds.iter().map(|run| run.elapsed_ns as f64).sum();
            (elapsed > 0.0).then(|| exact(busy / elapsed))
        }
        Quantity::Throughput => {
            let rates: Option<Vec<u64>> = rounds.iter().map(|run| run.throughput_bytes_per_s).collect();
            let sum: f64 = rates?.iter().map(|rate| *rate as f64).sum();
            Some(exact(sum / rounds.len() as f64))
        }
    }
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
    })
}
