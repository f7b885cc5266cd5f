//! Intervals: of what rounds come to, by resampling; of a percentile, by the ranks of its samples; of two counts, exactly.

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

use super::blocks;
use super::sample::Sample;
use crate::recording::Dist;

/// How often rounds are drawn again.
const RESAMPLES: usize = 2_000;
/// Of the generator that draws them: the same rounds give the same interval.
const SEED: u64 = 0x706f_6c6c;
/// The half-width, in standard errors, of a 95 % interval.
const Z_95: f64 = 1.959_964;
/// How often an interval may miss.
const ALPHA: f64 = 0.05;

/// A difference and where it may lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    pub(super) value: f64,
    /// A 95 % interval.
    pub(super) plain: [f64; 2],
    /// One that all of a family hold together in 95 of 100 cases (Bonferroni).
    pub(super) strict: [f64; 2],
}

/// How many times each round is drawn, in one draw of as many as there are.
fn draw(times: &mut [u64], random: &mut fastrand::Rng) {
    times.fill(0);
    (0..times.len()).for_each(|_| times[random.usize(..times.len())] += 1);
}

/// A difference between what rounds of two sides come to, and where it may lie: rounds are drawn again, each with the one of the
/// other side that it was made beside where they are paired. Each side has at least 2, and `scale` makes differences of ratios.
/// One of `family` estimates.
pub(super) fn of_rounds(a: &Sample, b: &Sample, is_paired: bool, scale: fn(f64) -> f64, family: usize) -> Estimate {
    let mut random = fastrand::Rng::with_seed(SEED);
    let resamples = resampled([a, b], scale, |times_a, times_b| {
        draw(times_a, &mut random);
        if is_paired {
            times_b.copy_from_slice(times_a);
        } else {
            draw(times_b, &mut random);
        }
    });
    let scaled = |sample: &Sample| sample.rounds.iter().copied().map(scale).collect::<Vec<f64>>();
    let freedom = if is_paired { a.rounds.len() - 1 } else { freedom(&scaled(a), &scaled(b)) };
    estimate(scale(b.value) - scale(a.value), resamples, freedom, a.rounds.len().min(b.rounds.len()), family)
}

/// The same of slices of two services' time, drawn in blocks of so many; each side has at least 2 blocks. Blocks are nearly
/// independent, so it is their number that the interval is stretched for: that of the side that has fewer.
pub(super) fn of_blocks(a: &Sample, b: &Sample, length: usize, scale: fn(f64) -> f64, family: usize) -> Estimate {
    let mut random = fastrand::Rng::with_seed(SEED);
    let resamples = resampled([a, b], scale, |times_a, times_b| {
        blocks::draw(times_a, length, &mut random);
        blocks::draw(times_b, length, &mut random);
    });
    let blocks = a.rounds.len().min(b.rounds.len()) / length;
    estimate(scale(b.value) - scale(a.value), resamples, blocks - 1, blocks, family)
}

/// The difference of both sides, drawn again and again.
fn resampled([a, b]: [&Sample; 2], scale: fn(f64) -> f64, mut draw: impl FnMut(&mut [u64], &mut [u64])) -> Vec<f64> {
    let (mut times_a, mut times_b) = (vec![0; a.rounds.len()], vec![0; b.rounds.len()]);
    let resamples = (0..RESAMPLES).map(|_| {
        draw(&mut times_a, &mut times_b);
        scale(b.drawn(&times_b)) - scale(a.drawn(&times_a))
    });
    resamples.collect()
}

/// The percentile interval of the resamples, each end stretched to what Student's t asks for: with few rounds the resamples
/// spread by √((n − 1)/n) too little, and their tails end at the outermost round (Hesterberg 2015, "What Teachers Should Know
/// About the Bootstrap", section 3.3).
fn estimate(value: f64, mut resamples: Vec<f64>, freedom: usize, n: usize, family: usize) -> Estimate {
    resamples.sort_by(f64::total_cmp);
    let at = |q: f64| resamples[((RESAMPLES - 1) as f64 * q).round() as usize];
    let (below, above) = ((value - at(ALPHA / 2.0)).max(0.0), (at(1.0 - ALPHA / 2.0) - value).max(0.0));
    let widen = (n as f64 / (n - 1) as f64).sqrt() / Z_95;
    let interval = |alpha: f64| {
        let stretch = widen * student(freedom, alpha);
        [value - stretch * below, value + stretch * above]
    };
    Estimate { value, plain: interval(ALPHA), strict: interval(ALPHA / family as f64) }
}

pub(super) fn mean(sample: &[f64]) -> f64 {
    sample.iter().sum::<f64>() / sample.len() as f64
}

/// Where one more value of a sample (of at least 2) would lie, unless chance strikes: the prediction interval of Student's t at 5 %
/// divided by `family`.
pub(super) fn of_another(sample: &[f64], family: usize) -> [f64; 2] {
    let (mean, n) = (mean(sample), sample.len() as f64);
    let variance = sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let reach = student(sample.len() - 1, ALPHA / family as f64) * (variance * (1.0 + 1.0 / n)).sqrt();
    [mean - reach, mean + reach]
}

/// Degrees of freedom of a difference of means with unequal variances (Welch and Satterthwaite), rounded down.
fn freedom(a: &[f64], b: &[f64]) -> usize {
    let squared_error = |sample: &[f64]| {
        let mean = mean(sample);
        let n = sample.len() as f64;
        sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0) / n
    };
    let (ea, eb) = (squared_error(a), squared_error(b));
    let least = a.len().min(b.len()) - 1;
    let parts = ea.powi(2) / (a.len() - 1) as f64 + eb.powi(2) / (b.len() - 1) as f64;
    if parts > 0.0 { (((ea + eb).powi(2) / parts).floor() as usize).max(least) } else { least }
}

/// The t that a Student-distributed value of `freedom` (at least 1) degrees exceeds, in either direction, with probability
/// `alpha`; found by halving on the closed form for whole degrees (Abramowitz and Stegun, 26.7.3 and 26.7.4).
fn student(freedom: usize, alpha: f64) -> f64 {
    // In the angle, whose range has ends.
    let (mut low, mut high) = (0.0, FRAC_PI_2);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if 1.0 - within(freedom, middle) > alpha { low = middle } else { high = middle }
    }
    low.tan() * (freedom as f64).sqrt()
}

/// The probability that |t| is at most tan(angle)·√freedom.
fn within(freedom: usize, angle: f64) -> f64 {
    let (sin, cos) = angle.sin_cos();
    let is_odd = freedom % 2 == 1;
    let (mut term, mut sum) = if is_odd { (cos, 0.0) } else { (1.0, 0.0) };
    let first = if is_odd { 3 } else { 2 };
    for step in (first..=freedom).step_by(2) {
        sum += term;
        term *= cos * cos * (step - 1) as f64 / step as f64;
    }
    if is_odd { FRAC_2_PI * (angle + sin * sum) } else { sin * sum }
}

/// A percentile and the 95 % interval that its own samples give it, as for gates: the ranks n·q ± 1.96·√(n·q·(1−q)) enclose it
/// whatever the distribution. A rank beyond the last sample has no upper end.
pub(super) fn of_samples(dist: &Dist, q: f64) -> Option<[f64; 2]> {
    let n = dist.count() as f64;
    let half_width = Z_95 * (n * q * (1.0 - q)).sqrt();
    let (low, high) = ((n * q - half_width) / n, (n * q + half_width) / n);
    let at = |q: f64| Some(dist.shown_quantile_ns(q)? as f64);
    Some([at(low.max(0.0))?, if high > 1.0 { f64::INFINITY } else { at(high)? }])
}

/// How likely two counts differ at least this much if events came equally often in both, over `rounds` each: the first is
/// then binomial, given their sum (Przyborowski and Wilenski 1940). Two-sided.
pub(super) fn counts_differ_by_chance(counts: [f64; 2], rounds: [usize; 2]) -> f64 {
    let sum = counts[0] + counts[1];
    let share = rounds[0] as f64 / (rounds[0] + rounds[1]) as f64;
    if sum > 10_000.0 {
        let z = (counts[0] - sum * share).abs() / (sum * share * (1.0 - share)).sqrt();
        // Far beyond any level that is asked for, and below it never: an upper bound of the normal's tails.
        return (2.0 * (-0.5 * z * z).exp()).min(1.0);
    }
    let (mut below, mut above) = (0.0, 0.0);
    let mut log = sum * (1.0 - share).ln();
    for k in 0..=sum as u64 {
        let (k, probability) = (k as f64, log.exp());
        below += if k <= counts[0] { probability } else { 0.0 };
        above += if k >= counts[0] { probability } else { 0.0 };
        log += ((sum - k) / (k + 1.0) * share / (1.0 - share)).ln();
    }
    (2.0 * f64::min(below, above)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::super::METRICS;
    use super::*;
    use crate::fixture;
    use crate::recording::Run;

    #[track_caller]
    fn close(a: f64, b: f64) {
        assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0), "{a} {b}");
    }

    #[test]
    fn students_t_is_that_of_the_tables() {
        for (freedom, alpha, t) in
            [(1, 0.05, 12.7062), (2, 0.05, 4.30265), (4, 0.05, 2.77645), (9, 0.01, 3.24984), (30, 0.05, 2.04227)]
        {
            close(student(freedom, alpha), t);
        }
    }

    fn sample(values: [f64; 5]) -> Sample {
        let runs = values.map(|ns| Run { elapsed_ns: ns as u64, ..fixture::run("naive") });
        let metric = METRICS.iter().find(|metric| metric.key == "elapsed").expect("a metric");
        Sample::of(metric, &runs.iter().collect::<Vec<_>>()).expect("known")
    }

    #[test]
    fn an_interval_of_few_rounds_is_about_students() {
        let (a, b) = (sample([1e6; 5]), sample([1.1e6, 0.8e6, 1.15e6, 1.3e6, 0.95e6]));
        let made = || of_rounds(&a, &b, true, |value| value / 1e6, 12);
        let estimate = made();
        close(estimate.value, 0.06);
        // Student: 0.06 ± 2.776 · 0.0874.
        assert!((estimate.plain[0] + 0.18).abs() < 0.05 && (estimate.plain[1] - 0.30).abs() < 0.05, "{estimate:?}");
        assert!(estimate.strict[0] < estimate.plain[0] && estimate.strict[1] > estimate.plain[1]);
        assert_eq!(estimate, made(), "the same rounds give the same interval");
    }

    #[test]
    fn counts_are_judged_exactly() {
        close(counts_differ_by_chance([0.0, 6.0], [1, 1]), 2.0 / 64.0);
        close(counts_differ_by_chance([3.0, 3.0], [1, 1]), 1.0);
        close(counts_differ_by_chance([0.0, 0.0], [3, 3]), 1.0);
        assert!(counts_differ_by_chance([0.0, 1e15], [3, 3]) < 1e-9);
    }

    #[test]
    fn a_percentile_of_few_samples_has_no_upper_end() {
        let interval = of_samples(&fixture::dist(3, &[(50, 1_000, 9_000)]), 0.99).expect("it has samples");
        assert_eq!(interval[1], f64::INFINITY);
    }
}
