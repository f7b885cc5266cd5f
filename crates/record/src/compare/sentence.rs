//! A comparison in words.

use super::{ADVISED_ROUNDS, Comparison, LEAST_ROUNDS, Note, Overall, Row, Unit, Verdict};
use crate::units::{format_ratio, join_and};

/// Metrics that a sentence names.
const NAMED: usize = 3;

/// What a comparison comes to, in one sentence without a full stop: what is better or worse, and at what price.
pub fn conclusion(comparison: &Comparison) -> String {
    let Comparison { a, b, .. } = comparison;
    match comparison.verdict() {
        Overall::NoDifference => {
            let open = rows(comparison, Verdict::Inconclusive, |_| true).map(|row| row.metric.name).collect::<Vec<_>>();
            let open = if open.is_empty() { String::new() } else { format!("; left open: {}", join_and(&open)) };
            format!("no difference between {a} and {b} beyond noise{open}")
        }
        Overall::Inconclusive => format!("too little is known to tell {a} from {b}"),
        Overall::Better => {
            format!("{b} is better than {a}: {}{}", named(comparison, Verdict::Better), price(comparison))
        }
        Overall::Worse => format!("{b} is worse than {a}: {}", named(comparison, Verdict::Worse)),
        Overall::Mixed => format!(
            "{b} is better than {a} in some and worse in others: better {}; worse {}",
            named(comparison, Verdict::Better),
            named(comparison, Verdict::Worse)
        ),
    }
}

/// What is worse on the second side, as a sentence without a full stop; `None` where nothing is.
pub fn regression(comparison: &Comparison) -> Option<String> {
    rows(comparison, Verdict::Worse, |_| true).next()?;
    Some(format!("{} is worse than {}: {}", comparison.b, comparison.a, named(comparison, Verdict::Worse)))
}

fn rows(comparison: &Comparison, verdict: Verdict, which: fn(&Row) -> bool) -> impl Iterator<Item = &Row> {
    comparison.rows.iter().filter(move |row| row.verdict == verdict && which(row))
}

fn named(comparison: &Comparison, verdict: Verdict) -> String {
    let all: Vec<String> = rows(comparison, verdict, |_| true).map(higher_or_lower).collect();
    let more = match all.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    all.into_iter().take(NAMED).collect::<Vec<_>>().join(", ") + &more
}

/// What the improvement costs, of what was measured.
fn price(comparison: &Comparison) -> String {
    let of = |verdict| rows(comparison, verdict, |row| row.metric.is_price);
    let worse: Vec<String> = of(Verdict::Worse).map(higher_or_lower).collect();
    let open: Vec<&str> = of(Verdict::Inconclusive).map(|row| row.metric.name).collect();
    let open = if open.is_empty() { String::new() } else { format!("; price left open: {}", join_and(&open)) };
    match (comparison.rows.iter().any(|row| row.metric.is_price), worse.is_empty()) {
        (false, _) => String::new(),
        (_, false) => format!("; the price: {}{open}", worse.join(", ")),
        (_, true) if open.is_empty() => "; at no price that shows".to_owned(),
        (_, true) => open,
    }
}

/// A row's change: `response p99 165x lower [141 to 188]`; below a factor of 2 in percent: `throughput 12 % lower [9 to 15]`.
pub(crate) fn higher_or_lower(row: &Row) -> String {
    let name = row.metric.name;
    let Some(ratio) = row.ratio else {
        let per_round = if row.metric.unit == Unit::Count { " a round" } else { "" };
        return format!("{name} {} instead of {}{per_round}", row.metric.unit.show(row.b), row.metric.unit.show(row.a));
    };
    let is_lower = ratio < 1.0;
    let word = if is_lower { "lower" } else { "higher" };
    let factor = if is_lower { 1.0 / ratio } else { ratio };
    if factor < 2.0 {
        let percent = |ratio: f64| 100.0 * if is_lower { 1.0 - ratio } else { ratio - 1.0 };
        let ends = row.interval.map(|ends| ends.map(percent));
        let ends = ends.map_or(String::new(), |[a, b]| format!(" [{:.0} to {:.0}]", a.min(b), a.max(b)));
        return format!("{name} {:.0} % {word}{ends}", percent(ratio));
    }
    let turned = |[low, high]: [f64; 2]| if is_lower { [1.0 / high, 1.0 / low] } else { [low, high] };
    let ends = row.interval.map(turned).map_or(String::new(), |ends| format!(" {}", interval_text(ends)));
    format!("{name} {} {word}{ends}", format_ratio(factor))
}

/// The ends of a ratio's interval: `[141 to 188]`, `[2.10 or more]`; ends far below 1 as fractions.
pub(crate) fn interval_text([low, high]: [f64; 2]) -> String {
    let plain = |ratio: f64| match ratio {
        0.1..9.95 => format!("{ratio:.2}"),
        9.95.. => format_ratio(ratio).trim_end_matches('x').to_owned(),
        _ => format!("1/{}", format_ratio(1.0 / ratio).trim_end_matches('x')),
    };
    if high.is_finite() { format!("[{} to {}]", plain(low), plain(high)) } else { format!("[{} or more]", plain(low)) }
}

/// A note as a sentence without a full stop, with its remedy.
pub fn noted(note: &Note) -> String {
    match note {
        Note::Apart => "the two were made at different times: whatever else the machine did in one of them counts as a difference; \
             make both again, by turns, before believing a small one"
            .to_owned(),
        Note::TooFewRounds => format!(
            "the noise between rounds is unknown with fewer than {LEAST_ROUNDS}: intervals are of the samples within runs, and \
             only a factor of 2 beyond them counts; pass `--rounds {ADVISED_ROUNDS}`"
        ),
        Note::Open(metrics) => {
            format!(
                "too noisy to tell: {}; pass `--rounds {ADVISED_ROUNDS}`, or free the machine of other work",
                join_and(metrics)
            )
        }
        Note::Trend(side, metric, change) => format!(
            "{metric} of {side} drifts over the rounds, to {} of where it began: the rounds are not alike; see what else runs \
             on the machine, and measure again",
            format_ratio(*change)
        ),
        Note::FirstRound(side, metrics) => format!(
            "round 1 of {side} is unlike the others in {}: caches may have been cold; pass `--warmup 1`",
            join_and(metrics)
        ),
        Note::CutShort(side, 1) => format!("1 run of {side} was cut short and is left out"),
        Note::CutShort(side, runs) => format!("{runs} runs of {side} were cut short and are left out"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Basis, METRICS};

    fn row(ratio: f64, interval: [f64; 2]) -> Row {
        let interval = Some(interval);
        let (metric, basis, verdict) = (&METRICS[0], Basis::Rounds, Verdict::Better);
        Row { metric, a: 1e6, b: 1e6 * ratio, ratio: Some(ratio), interval, basis, verdict }
    }

    #[test]
    fn changes_are_factors_from_two_on_and_percents_below() {
        for (ratio, interval, text) in [
            (1.0 / 165.0, [1.0 / 188.0, 1.0 / 141.0], "response p99 165x lower [141 to 188]"),
            (3.0, [2.04, f64::INFINITY], "response p99 3.0x higher [2.04 or more]"),
            (0.88, [0.85, 0.91], "response p99 12 % lower [9 to 15]"),
            (1.3, [1.2, 1.4], "response p99 30 % higher [20 to 40]"),
        ] {
            assert_eq!(higher_or_lower(&row(ratio, interval)), text);
        }
    }

    #[test]
    fn the_ends_of_an_interval_are_numbers_or_fractions() {
        assert_eq!(interval_text([141.2, 188.0]), "[141 to 188]");
        assert_eq!(interval_text([1.0 / 188.0, 0.5]), "[1/188 to 0.50]");
        assert_eq!(interval_text([2.1, f64::INFINITY]), "[2.10 or more]");
    }
}
