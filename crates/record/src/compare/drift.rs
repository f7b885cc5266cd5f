//! What rounds should not have: a trend, or a first round that is unlike the others.

use super::metric::METRICS;
use super::{Metric, Note, Side, interval};

/// How rarely rounds without a trend may be said to have one: 14 metrics are tested on both sides.
const Z_TREND: f64 = 2.807;
/// With fewer, no order of rounds is rare enough.
const LEAST_TO_TELL: usize = 4;

/// The trends of a side, strongest first and at most one, and its first round if that is unlike the others.
pub(super) fn notes(side: &Side) -> Vec<Note> {
    let mut notes = Vec::new();
    let trends = METRICS.iter().filter_map(|metric| Some((metric, trend(metric, &logs(metric, side))?)));
    if let Some((metric, change)) = trends.max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())) {
        notes.push(Note::Trend(side.name.clone(), metric.name, change.exp()));
    }
    let unlike = METRICS.iter().filter(|metric| first_is_unlike(metric, &logs(metric, side)));
    let unlike: Vec<&str> = unlike.map(|metric| metric.name).collect();
    if !unlike.is_empty() {
        notes.push(Note::FirstRound(side.name.clone(), unlike));
    }
    notes
}

/// The logarithms of a metric's rounds; none where one is not known or 0, or the first is missing.
fn logs(metric: &Metric, side: &Side) -> Vec<f64> {
    let is_whole = side.runs.first().is_some_and(|run| run.subject.round().is_none_or(|round| round == 1));
    let values: Option<Vec<f64>> = side.runs.iter().map(|run| metric.value(run)).collect();
    let values = values.filter(|values| is_whole && values.iter().all(|value| *value > 0.0)).unwrap_or_default();
    values.into_iter().map(f64::ln).collect()
}

/// How much the last third is above the first, as a logarithm, if the rounds rise or fall (Mann 1945, Kendall 1975).
fn trend(metric: &Metric, rounds: &[f64]) -> Option<f64> {
    if rounds.len() < LEAST_TO_TELL {
        return None;
    }
    let n = rounds.len() as f64;
    let rises = |(i, a): (usize, &f64)| {
        rounds[i + 1..]
            .iter()
            .map(|b| {
                if b > a {
                    1.0
                } else if b < a {
                    -1.0
                } else {
                    0.0
                }
            })
            .sum::<f64>()
    };
    let s: f64 = rounds.iter().enumerate().map(rises).sum();
    let spread = (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    let third = (rounds.len() / 3).max(1);
    let mean = interval::mean;
    // The continuity correction is also what keeps few rounds from having a trend.
    ((s.abs() - 1.0) / spread > Z_TREND)
        .then(|| mean(&rounds[rounds.len() - third..]) - mean(&rounds[..third]))
        .filter(|change| change.abs() >= metric.least_ratio.ln())
}

/// Whether round 1 lies outside of where the others say that another round would, and by what matters. All metrics together may
/// say so wrongly in 5 of 100 cases.
fn first_is_unlike(metric: &Metric, rounds: &[f64]) -> bool {
    let Some((first, others)) = rounds.split_first().filter(|_| rounds.len() >= LEAST_TO_TELL) else {
        return false;
    };
    let [low, high] = interval::of_another(others, METRICS.len());
    let apart = (first - interval::mean(others)).abs();
    !(low..=high).contains(first) && apart >= metric.least_ratio.ln()
}
