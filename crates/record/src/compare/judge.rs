//! From two sides' rounds to what a metric comes to.

use super::interval::{Estimate, counts_differ_by_chance, of_rounds, of_samples};
use super::metric::Of;
use super::sample::{Sample, pooled};
use super::{Basis, LEAST_ROUNDS, Metric, Open, Rounds, Row, Side, Verdict};

/// Without rounds, what a percentile must differ by beyond both intervals: the noise between runs is not in them.
const UNSEEN_NOISE: f64 = 2.0;
/// A change that lies beyond this factor with its whole 95 % interval counts whatever the family: three rounds could show no other.
const BEYOND_DOUBT: f64 = 4.0;
/// From so many pairs on, what they have in common is worth more than the degrees of freedom that pairing takes.
const LEAST_PAIRS: usize = 5;

/// An end of an interval that is so many times further off than the estimate is none.
const NO_END: f64 = 1_000.0;

/// One metric of both sides, one of `family` shown together; `None` where a side does not know it.
pub(super) fn row(metric: &'static Metric, a: &Side, b: &Side, lie: Rounds, family: usize) -> Option<Row> {
    let sides = Sides::of(metric, a, b, lie)?;
    Some(if metric.of == Of::Slow { counted(metric, &sides, family) } else { timed(metric, a, b, &sides, family) })
}

/// What the rounds of both sides that know a metric say.
struct Sides {
    a: Sample,
    b: Sample,
    /// Whether rounds of the same index belong together.
    is_paired: bool,
}

impl Sides {
    fn of(metric: &Metric, a: &Side, b: &Side, lie: Rounds) -> Option<Sides> {
        let rounds = |side: &Side| -> Vec<u32> {
            let known = (1..).zip(&side.runs).filter(|(_, run)| metric.value(run).is_some());
            known.map(|(nth, run)| run.subject.round().unwrap_or(nth)).collect()
        };
        // A round without its other would be in no pair, and so in no value.
        let are_pairs = rounds(a).len() >= LEAST_PAIRS && rounds(a) == rounds(b);
        let (a, b) = (Sample::of(metric, &a.runs)?, Sample::of(metric, &b.runs)?);
        Some(Sides { a, b, is_paired: lie == Rounds::Interleaved && are_pairs })
    }

    fn are_enough(&self) -> bool {
        self.a.rounds.len().min(self.b.rounds.len()) >= LEAST_ROUNDS
    }

    fn estimate(&self, scale: fn(f64) -> f64, family: usize) -> Estimate {
        of_rounds(&self.a, &self.b, self.is_paired, scale, family)
    }
}

pub(super) fn excludes_none(interval: [f64; 2]) -> bool {
    interval[0] > 0.0 || interval[1] < 0.0
}

/// Which of the two a change in that direction is.
pub(super) fn changed(metric: &Metric, is_more: bool) -> Verdict {
    if is_more == metric.more_is_better { Verdict::Better } else { Verdict::Worse }
}

/// A verdict, and why there is none better than [`Verdict::Inconclusive`].
pub(super) type Judged = (Verdict, Option<Open>);

pub(super) fn open(why: Open) -> Judged {
    (Verdict::Inconclusive, Some(why))
}

/// The interval with ends that say something; `None` where neither does.
pub(super) fn ends(ratio: f64, [low, high]: [f64; 2]) -> Option<[f64; 2]> {
    let low = if low > ratio / NO_END { low } else { 0.0 };
    let high = if high < ratio * NO_END { high } else { f64::INFINITY };
    (low > 0.0 || high.is_finite()).then_some([low, high])
}

/// A metric whose rounds multiply rather than add: latencies, rates, shares.
fn timed(metric: &'static Metric, a: &Side, b: &Side, sides: &Sides, family: usize) -> Row {
    let (value_a, value_b) = (sides.a.value, sides.b.value);
    let ratio = value_b / value_a;
    let (interval, basis, (verdict, open)) = if sides.are_enough() {
        let estimate = sides.estimate(f64::ln, family);
        let moved = ratio.ln().abs() >= metric.least_ratio.ln() && (value_b - value_a).abs() >= metric.least;
        (ends(ratio, estimate.plain.map(f64::exp)), Basis::Rounds, between_rounds(metric, &estimate, moved))
    } else {
        match between_samples(metric, a, b).and_then(|interval| ends(ratio, interval)) {
            Some(interval) => (Some(interval), Basis::Samples, within_samples(metric, interval)),
            None => (None, Basis::Nothing, open(Open::FewRounds)),
        }
    };
    Row { metric, a: value_a, b: value_b, ratio: Some(ratio), interval, basis, verdict, open }
}

/// A change counts when it is large enough to matter and the family's interval excludes none: with three rounds that interval is
/// so wide that [`far_apart`] decides. None counts when the 95 % interval leaves no room for a change of more than twice what
/// matters, in log scale.
pub(super) fn between_rounds(metric: &Metric, estimate: &Estimate, moved: bool) -> Judged {
    if moved && excludes_none(estimate.strict) {
        return (changed(metric, estimate.value > 0.0), None);
    }
    if let (true, Some(verdict)) = (moved, far_apart(metric, estimate.plain.map(f64::exp), BEYOND_DOUBT)) {
        return (verdict, None);
    }
    let room = 2.0 * metric.least_ratio.ln();
    let is_within = estimate.plain[0] >= -room && estimate.plain[1] <= room;
    let excludes = excludes_none(estimate.plain);
    match (moved, excludes) {
        (_, false) | (false, _) if is_within => (Verdict::NoDifference, None),
        (_, false) => open(Open::Spans),
        (true, true) => open(Open::Chance),
        (false, true) => open(Open::Small),
    }
}

/// What the samples of one or two rounds show.
fn within_samples(metric: &Metric, interval: [f64; 2]) -> Judged {
    match far_apart(metric, interval, UNSEEN_NOISE) {
        Some(verdict) => (verdict, None),
        None if interval[0] <= 1.0 && interval[1] >= 1.0 => open(Open::Spans),
        None => open(Open::FewRounds),
    }
}

/// The ends of the ratio of two percentiles, from all samples of each side.
fn between_samples(metric: &Metric, a: &Side, b: &Side) -> Option<[f64; 2]> {
    // A maximum has no samples to tell it from.
    let Of::Quantile(dist, quantile) = metric.of else { return None };
    let interval = |side: &Side| of_samples(&pooled(dist, side.runs.iter().copied())?, quantile);
    let ([low_a, high_a], [low_b, high_b]) = if quantile < 1.0 { (interval(a)?, interval(b)?) } else { return None };
    (low_a > 0.0).then(|| [low_b / high_a, high_b / low_a])
}

/// A change of which the whole interval lies beyond a factor.
fn far_apart(metric: &Metric, interval: [f64; 2], factor: f64) -> Option<Verdict> {
    if interval[0] > factor {
        Some(changed(metric, true))
    } else if interval[1] < 1.0 / factor {
        Some(changed(metric, false))
    } else {
        None
    }
}

/// Events: their sums must differ by more than chance, and their rounds by more than the noise between them. Slow polls come in
/// bursts, so that sums alone show nothing.
fn counted(metric: &'static Metric, sides: &Sides, family: usize) -> Row {
    let (a, b) = (sides.a.value, sides.b.value);
    let sums = [&sides.a, &sides.b].map(|side| side.rounds.iter().sum::<f64>());
    let chance = counts_differ_by_chance(sums, [sides.a.rounds.len(), sides.b.rounds.len()]) * family as f64;
    let are_enough = sides.are_enough();
    // The square root makes a count's noise the same whatever the count.
    let are_apart = || excludes_none(sides.estimate(f64::sqrt, family).strict);
    let moved = (b - a).abs() >= metric.least && (a.max(b) >= metric.least_ratio * a.min(b));
    let (verdict, open) = match (are_enough, moved) {
        (false, _) => open(Open::FewRounds),
        (true, false) => (Verdict::NoDifference, None),
        (true, true) if chance < 0.05 && are_apart() => (changed(metric, b > a), None),
        (true, true) => open(Open::Chance),
    };
    let ratio = (a > 0.0 && b > 0.0).then(|| b / a);
    let basis = if are_enough { Basis::Rounds } else { Basis::Nothing };
    Row { metric, a, b, ratio, interval: None, basis, verdict, open }
}
