//! A metric over the rounds of a side: what all of them come to, and what they would with rounds drawn again.

use super::Metric;
use super::metric::{DistOf, Of, busy};
use super::slice::Slice;
use crate::recording::{Dist, Run};

const MINUTE_NS: f64 = 60e9;

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
    /// The sum of logarithms that each round had, and of how many: their geometric mean.
    Middle(Vec<(f64, f64)>),
}

impl Sample {
    /// `None` where there is no such round.
    pub(super) fn of(metric: &Metric, runs: &[&Run]) -> Option<Sample> {
        let rounds: Vec<f64> = runs.iter().filter_map(|run| metric.value(run)).collect();
        let known = || runs.iter().copied().filter(|run| metric.value(run).is_some());
        let again = match metric.of {
            Of::Quantile(dist, quantile) if quantile < 1.0 => {
                again_quantile(quantile, &known().filter_map(|run| dist.of(run)).collect::<Vec<_>>())
            }
            Of::Busy => Again::Share(known().filter_map(busy).collect()),
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

    /// Of a service's slices, in place of rounds; `None` where one does not know it, or nothing happened.
    pub(super) fn of_slices(metric: &Metric, slices: &[Slice]) -> Option<Sample> {
        let sample = match metric.of {
            Of::Quantile(dist, quantile) => {
                let dists: Vec<&Dist> = slices.iter().map(|slice| dist.of_slice(slice)).collect::<Option<_>>()?;
                // A second in which nothing was polled has no percentile.
                Sample::of_dists(quantile, &dists.into_iter().filter(|dist| dist.count() > 0).collect::<Vec<_>>())
            }
            Of::Longest => Sample::of_logs(slices.iter().map(|of| (of.longest_ln, of.intervals as f64))),
            Of::SlowRate => Sample::of_shares(slices.iter().map(|of| Some((of.slow?, of.elapsed_ns))), MINUTE_NS)?,
            Of::Busy => Sample::of_shares(slices.iter().map(|of| Some((of.busy_ns, of.available_ns))), 1.0)?,
            Of::Slow | Of::Throughput | Of::Elapsed | Of::Cpu | Of::ContextSwitches => return None,
        };
        sample.value.is_finite().then_some(sample)
    }

    /// The same by the poll, of what comes with polls.
    pub(super) fn by_the_poll(metric: &Metric, slices: &[Slice]) -> Option<Sample> {
        let each = slices.iter();
        let sample = match metric.of {
            Of::SlowRate => Sample::of_shares(each.map(|of| Some((of.slow?, of.polls.count()))), 1.0)?,
            Of::Busy => Sample::of_shares(each.map(|of| Some((of.busy_ns, of.polls.count()))), 1.0)?,
            _ => return None,
        };
        sample.value.is_finite().then_some(sample)
    }

    /// Polls a second.
    pub(super) fn of_load(slices: &[Slice]) -> Option<Sample> {
        let shares = slices.iter().map(|of| Some((of.polls.count(), of.elapsed_ns)));
        Sample::of_shares(shares, 1e9).filter(|load| load.value > 0.0)
    }

    /// Sums of logarithms, and of how many; none of how many are left out.
    fn of_logs(logs: impl Iterator<Item = (f64, f64)>) -> Sample {
        let logs: Vec<(f64, f64)> = logs.filter(|(_, count)| *count > 0.0).collect();
        let rounds: Vec<f64> = logs.iter().map(|(sum, count)| (sum / count).exp()).collect();
        let again = Again::Middle(logs);
        let value = again.value(&rounds, &vec![1; rounds.len()]);
        Sample { rounds, value, again }
    }

    fn of_dists(quantile: f64, dists: &[&Dist]) -> Sample {
        let rounds: Vec<f64> =
            dists.iter().filter_map(|dist| dist.shown_quantile_ns(quantile)).map(|ns| ns as f64).collect();
        let again = again_quantile(quantile, dists);
        let value = again.value(&rounds, &vec![1; rounds.len()]);
        Sample { rounds, value, again }
    }

    /// What each had, times a unit, of what it could have had; those that could have had nothing are left out.
    fn of_shares(shares: impl Iterator<Item = Option<(u64, u64)>>, unit: f64) -> Option<Sample> {
        let shares: Vec<(u64, u64)> = shares.collect::<Option<_>>()?;
        let possible = shares.into_iter().filter(|share| share.1 > 0);
        let shares: Vec<(f64, f64)> = possible.map(|(had, could)| (had as f64 * unit, could as f64)).collect();
        let rounds: Vec<f64> = shares.iter().map(|share| share.0 / share.1).collect();
        let again = Again::Share(shares);
        let value = again.value(&rounds, &vec![1; rounds.len()]);
        Some(Sample { rounds, value, again })
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

fn again_quantile(quantile: f64, dists: &[&Dist]) -> Again {
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
            Again::Share(shares) | Again::Middle(shares) => {
                let sum = |of: fn(&(f64, f64)) -> f64| {
                    shares.iter().zip(drawn()).map(|(share, times)| of(share) * times).sum::<f64>()
                };
                let share = sum(|share| share.0) / sum(|share| share.1);
                if let Again::Middle(_) = self { share.exp() } else { share }
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
