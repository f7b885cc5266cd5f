//! From two sides' rounds to what a metric comes to.

use super::interval::{Estimate, apart, counts_differ_by_chance, mean, of_samples, paired};
use super::metric::Of;
use super::{Basis, LEAST_ROUNDS, Metric, Rounds, Row, Side, Verdict};
use crate::recording::Dist;

/// Without rounds, what a percentile must differ by beyond both intervals: the noise between runs is not in them.
const UNSEEN_NOISE: f64 = 2.0;
/// A change that lies beyond this factor with its whole 95 % interval counts whatever the family: three rounds could show no other.
const BEYOND_DOUBT: f64 = 4.0;
/// From so many pairs on, what they have in common is worth more than the degrees of freedom that pairing takes.
const LEAST_PAIRS: usize = 5;

/// One metric of both sides, one of `family` shown together; `None` where a side does not know it.
pub(super) fn row(metric: &'static Metric, a: &Side, b: &Side, lie: Rounds, family: usize) -> Option<Row> {
    let values = Values::of(metric, a, b, lie)?;
    Some(if metric.of == Of::Slow { counted(metric, &values, family) } else { timed(metric, a, b, &values, family) })
}

/// What each round that knows it says.
struct Values {
    a: Vec<f64>,
    b: Vec<f64>,
    /// Whether values of the same index belong together.
    is_paired: bool,
}

impl Values {
    fn of(metric: &Metric, a: &Side, b: &Side, lie: Rounds) -> Option<Values> {
        let known = |side: &Side| -> Vec<(u32, f64)> {
            (1..)
                .zip(&side.runs)
                .filter_map(|(nth, run)| Some((run.subject.round().unwrap_or(nth), metric.value(run)?)))
                .collect()
        };
        let (all_a, all_b) = (known(a), known(b));
        let values = |all: &[(u32, f64)]| all.iter().map(|(_, value)| *value).collect::<Vec<f64>>();
        let pairs: Vec<(f64, f64)> = all_a
            .iter()
            .filter_map(|(round, a)| Some((*a, all_b.iter().find(|(other, _)| other == round)?.1)))
            .collect();
        if lie == Rounds::Interleaved && pairs.len() >= LEAST_PAIRS {
            let (a, b) = pairs.into_iter().unzip();
            return Some(Values { a, b, is_paired: true });
        }
        let (a, b) = (values(&all_a), values(&all_b));
        (!a.is_empty() && !b.is_empty()).then_some(Values { a, b, is_paired: false })
    }

    fn are_enough(&self) -> bool {
        self.a.len().min(self.b.len()) >= LEAST_ROUNDS
    }

    /// The difference b − a of what `scale` makes of the values.
    fn estimate(&self, scale: fn(f64) -> f64, family: usize) -> Estimate {
        let scaled = |values: &[f64]| values.iter().copied().map(scale).collect::<Vec<f64>>();
        let (a, b) = (scaled(&self.a), scaled(&self.b));
        if self.is_paired {
            let differences: Vec<f64> = a.iter().zip(&b).map(|(a, b)| b - a).collect();
            paired(&differences, family)
        } else {
            apart(&a, &b, family)
        }
    }
}

fn excludes_none(interval: [f64; 2]) -> bool {
    interval[0] > 0.0 || interval[1] < 0.0
}

/// Which of the two a change in that direction is.
fn changed(metric: &Metric, is_more: bool) -> Verdict {
    if is_more == metric.more_is_better { Verdict::Better } else { Verdict::Worse }
}

/// A metric whose rounds multiply rather than add: latencies, rates, shares.
fn timed(metric: &'static Metric, a: &Side, b: &Side, values: &Values, family: usize) -> Row {
    let geometric = |values: &[f64]| mean(&values.iter().map(|value| value.ln()).collect::<Vec<_>>()).exp();
    let (value_a, value_b) = (geometric(&values.a), geometric(&values.b));
    let ratio = value_b / value_a;
    let (interval, basis, verdict) = if values.are_enough() {
        let estimate = values.estimate(f64::ln, family);
        let moved = ratio.ln().abs() >= metric.least_ratio.ln() && (value_b - value_a).abs() >= metric.least;
        let verdict = between_rounds(metric, &estimate, moved);
        (Some(estimate.plain.map(f64::exp)), Basis::Rounds, verdict)
    } else {
        match between_samples(metric, a, b) {
            Some(interval) => (Some(interval), Basis::Samples, far_apart(metric, interval, UNSEEN_NOISE)),
            None => (None, Basis::Nothing, Verdict::Inconclusive),
        }
    };
    Row { metric, a: value_a, b: value_b, ratio: Some(ratio), interval, basis, verdict }
}

/// A change counts when it is large enough to matter and the family's interval excludes none: with three rounds that interval is
/// so wide that [`far_apart`] decides. None counts when the 95 %
/// interval leaves no room for a change of more than twice what matters, in log scale.
fn between_rounds(metric: &Metric, estimate: &Estimate, moved: bool) -> Verdict {
    if moved && excludes_none(estimate.strict) {
        return changed(metric, estimate.value > 0.0);
    }
    let far = far_apart(metric, estimate.plain.map(f64::exp), BEYOND_DOUBT);
    if moved && far != Verdict::Inconclusive {
        return far;
    }
    let room = 2.0 * metric.least_ratio.ln();
    let is_within = estimate.plain[0] >= -room && estimate.plain[1] <= room;
    if is_within && (!moved || !excludes_none(estimate.plain)) { Verdict::NoDifference } else { Verdict::Inconclusive }
}

/// The ends of the ratio of two percentiles, from all samples of each side.
fn between_samples(metric: &Metric, a: &Side, b: &Side) -> Option<[f64; 2]> {
    let Of::Quantile(dist, quantile) = metric.of else { return None };
    let interval = |side: &Side| {
        let mut dists = side.runs.iter().filter_map(|run| dist.of(run));
        let mut all: Dist = dists.next()?.clone();
        dists.for_each(|dist| all.add(dist));
        of_samples(&all, quantile)
    };
    // A maximum has no samples to tell it from.
    let ([low_a, high_a], [low_b, high_b]) = if quantile < 1.0 { (interval(a)?, interval(b)?) } else { return None };
    (low_a > 0.0).then(|| [low_b / high_a, high_b / low_a])
}

/// A change of which the whole interval lies beyond a factor.
fn far_apart(metric: &Metric, interval: [f64; 2], factor: f64) -> Verdict {
    if interval[0] > factor {
        changed(metric, true)
    } else if interval[1] < 1.0 / factor {
        changed(metric, false)
    } else {
        Verdict::Inconclusive
    }
}

/// Events: their sums must differ by more than chance, and their rounds by more than the noise between them.
fn counted(metric: &'static Metric, values: &Values, family: usize) -> Row {
    let sums = [&values.a, &values.b].map(|values| values.iter().sum::<f64>());
    let rounds = [values.a.len(), values.b.len()];
    let (a, b) = (sums[0] / rounds[0] as f64, sums[1] / rounds[1] as f64);
    let chance = counts_differ_by_chance(sums, rounds) * family as f64;
    let are_enough = values.are_enough();
    // The square root makes a count's noise the same whatever the count.
    let are_apart = !are_enough || excludes_none(values.estimate(f64::sqrt, family).strict);
    let moved = (b - a).abs() >= metric.least && (a.max(b) >= metric.least_ratio * a.min(b));
    let verdict = if moved && chance < 0.05 && are_apart {
        changed(metric, b > a)
    } else if are_enough && !moved {
        Verdict::NoDifference
    } else {
        Verdict::Inconclusive
    };
    let ratio = (a > 0.0 && b > 0.0).then(|| b / a);
    let basis = if are_enough { Basis::Rounds } else { Basis::Nothing };
    Row { metric, a, b, ratio, interval: None, basis, verdict }
}
