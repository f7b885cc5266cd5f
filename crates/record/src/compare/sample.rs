//! A metric over the rounds of a side: what all of them come to, and what they would with rounds drawn again.

use super::Metric;
use super::metric::{DistOf, Of};
use crate::recording::{Dist, Run};

/// The rounds of a side that know a metric.
pub(super) struct Sample {
    /// What each says by itself.
    pub(super) rounds: Vec<f64>,
    /// What all of them come to, as reports show it.
    pub(super) value: f64,
    again: Again,
}

/// What is needed to make the value again of other rounds.
enum Again {
    /// Every value with its round and how often it was counted, the highest first; how many values each round has; the quantile.
    Quantile(Vec<(u64, usize, u64)>, Vec<u64>, f64),
    Mean,
    /// What each round had of what it could have had.
    Share(Vec<(f64, f64)>),
}

impl Sample {
    /// `None` where there is no such round.
    pub(super) fn of(metric: &Metric, runs: &[&Run]) -> Option<Sample> {
        let rounds: Vec<f64> = runs.iter().filter_map(|run| metric.value(run)).collect();
        let known = || runs.iter().copied().filter(|run| metric.value(run).is_some());
        let again = match metric.of {
            Of::Quantile(dist, quantile) if quantile < 1.0 => again_quantile(dist, quantile, known()),
            Of::Busy => {
                Again::Share(known().filter_map(|run| Some((run.loop_busy_ns? as f64, run.available_ns()?))).collect())
            }
            _ => Again::Mean,
        };
        let value = match metric.of {
            Of::Quantile(dist, quantile) if quantile < 1.0 => {
                pooled(dist, known())?.shown_quantile_ns(quantile)? as f64
            }
            _ => again.value(&rounds, &vec![1; rounds.len()]),
        };
        (!rounds.is_empty()).then_some(Sample { rounds, value, again })
    }

    /// What it would be with each round so many times.
    pub(super) fn drawn(&self, times: &[u64]) -> f64 {
        self.again.value(&self.rounds, times)
    }
}

/// All that was counted in some runs.
pub(super) fn pooled<'r>(of: DistOf, runs: impl Iterator<Item = &'r Run>) -> Option<Dist> {
    let mut dists = runs.filter_map(|run| of.of(run));
    let mut all = dists.next()?.clone();
    dists.for_each(|dist| all.add(dist));
    Some(all)
}

fn again_quantile<'r>(of: DistOf, quantile: f64, runs: impl Iterator<Item = &'r Run>) -> Again {
    let dists: Vec<&Dist> = runs.filter_map(|run| of.of(run)).collect();
    let mut values: Vec<(u64, usize, u64)> = Vec::new();
    for (round, dist) in dists.iter().enumerate() {
        let most = dist.max_ns.unwrap_or(u64::MAX);
        values.extend(dist.buckets().map(|bucket| (bucket.high_ns.min(most), round, bucket.count)));
    }
    values.sort_unstable_by(|a, b| b.cmp(a));
    Again::Quantile(values, dists.iter().map(|dist| dist.count()).collect(), quantile)
}

impl Again {
    fn value(&self, rounds: &[f64], times: &[u64]) -> f64 {
        let drawn = || times.iter().map(|&times| times as f64);
        match self {
            Again::Mean => {
                rounds.iter().zip(drawn()).map(|(value, times)| value * times).sum::<f64>() / drawn().sum::<f64>()
            }
            Again::Share(shares) => {
                let sum = |of: fn(&(f64, f64)) -> f64| {
                    shares.iter().zip(drawn()).map(|(share, times)| of(share) * times).sum::<f64>()
                };
                sum(|share| share.0) / sum(|share| share.1)
            }
            Again::Quantile(values, counts, quantile) => {
                let count: u64 = counts.iter().zip(times).map(|(count, times)| count * times).sum();
                let rank = ((quantile * count as f64).ceil() as u64).max(1);
                // So many values lie above, which are far fewer than below.
                let (above, mut passed) = (count.saturating_sub(rank), 0);
                let reaches = |&&(_, round, count): &&(u64, usize, u64)| {
                    passed += count * times[round];
                    passed > above
                };
                values.iter().find(reaches).map_or(f64::NAN, |(ns, ..)| *ns as f64)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::METRICS;
    use super::super::synthetic::Machine;
    use super::*;

    #[test]
    fn rounds_that_are_drawn_once_each_come_to_what_reports_show() {
        let runs = Machine::new(5).rounds(&["naive"], 4);
        let runs: Vec<&Run> = runs.iter().collect();
        for metric in &METRICS {
            let sample = Sample::of(metric, &runs).expect("known");
            let again = sample.drawn(&[1; 4]);
            assert!((again / sample.value - 1.0).abs() < 2e-3, "{}: {again} {}", metric.key, sample.value);
            assert_eq!(sample.drawn(&[0, 3, 0, 0]), sample.rounds[1], "{}", metric.key);
        }
    }
}
