//! A comparison in words.

use super::served::STARTS;
use super::{ADVISED_ROUNDS, Basis, Comparison, Note, Overall, Row, Verdict};
use crate::units::{format_count, format_ns, format_ratio, join_and};

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
        Overall::Inconclusive => format!("too little is known to tell {a} from {b}{}", seen(comparison)),
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

/// The first large difference that is left open, as it was seen: nobody claims it.
fn seen(comparison: &Comparison) -> String {
    let is_large = |row: &&Row| row.ratio.is_some_and(|ratio| ratio.max(1.0 / ratio) >= 2.0);
    let first = rows(comparison, Verdict::Inconclusive, |row| !row.metric.is_price).find(is_large);
    first.map_or(String::new(), |row| format!("; seen was {}", instead(row)))
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
    let all: Vec<String> = rows(comparison, verdict, |_| true).map(change).collect();
    let more = match all.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    all.into_iter().take(NAMED).collect::<Vec<_>>().join(", ") + &more
}

/// What the improvement costs, of what was measured.
fn price(comparison: &Comparison) -> String {
    let of = |verdict| rows(comparison, verdict, |row| row.metric.is_price);
    let worse: Vec<String> = of(Verdict::Worse).map(change).collect();
    let open: Vec<&str> = of(Verdict::Inconclusive).map(|row| row.metric.name).collect();
    let open = if open.is_empty() { String::new() } else { format!("; price left open: {}", join_and(&open)) };
    match (comparison.rows.iter().any(|row| row.metric.is_price), worse.is_empty()) {
        (false, _) => String::new(),
        (_, false) => format!("; the price: {}{open}", worse.join(", ")),
        (_, true) if open.is_empty() => "; at no price that shows".to_owned(),
        (_, true) => open,
    }
}

/// A row's change: `response p99 165x lower [141 to 188]`.
pub(crate) fn change(row: &Row) -> String {
    match change_of(row) {
        Some(change) => format!("{} {change}", row.metric.name),
        None => instead(row),
    }
}

/// Both values of a row: `response p99 4.20 ms instead of 175 ms`.
pub(crate) fn instead(row: &Row) -> String {
    let split = |end: &&'static str| Some((row.metric.name.strip_suffix(end)?, *end));
    let (name, each) = PER.iter().find_map(split).unwrap_or((row.metric.name, ""));
    format!("{name} {} instead of {}{each}", row.metric.unit.show(row.b), row.metric.unit.show(row.a))
}

/// The ends of the names of what is a mean of rounds, or of minutes.
const PER: [&str; 2] = [" a round", " a minute"];

/// How many times lower or higher the second side is, which is never less than once, with the interval's ends:
/// `165x lower [141 to 188]`, `3.00x higher [2.04 or more]`. An end below 1 is a change the other way. `None` where a side is 0.
pub(crate) fn change_of(row: &Row) -> Option<String> {
    let ratio = row.ratio?;
    let is_lower = ratio < 1.0;
    let turned = |[low, high]: [f64; 2]| if is_lower { [1.0 / high, 1.0 / low] } else { [low, high] };
    let of_samples = if row.basis == Basis::Samples { "~" } else { "" };
    let ends = row.interval.map_or(String::new(), |ends| format!(" {of_samples}{}", interval_text(turned(ends))));
    Some(format!("{}{ends}", times(ratio)))
}

/// A ratio as a factor that is never below 1, and its direction.
fn times(ratio: f64) -> String {
    let factor = format_ratio(if ratio < 1.0 { 1.0 / ratio } else { ratio });
    // Of two values that are shown as one there is no direction.
    let direction = if factor == format_ratio(1.0) {
        ""
    } else if ratio < 1.0 {
        " lower"
    } else {
        " higher"
    };
    format!("{factor}{direction}")
}

/// The ends of a factor's interval: `[141 to 188]`, `[2.10 or more]`, `[1.20 or less]`.
fn interval_text([low, high]: [f64; 2]) -> String {
    let shown = |factor: f64| format_ratio(factor).trim_end_matches('x').to_owned();
    match (low > 0.0, high.is_finite()) {
        (true, true) => format!("[{} to {}]", shown(low), shown(high)),
        (true, false) => format!("[{} or more]", shown(low)),
        (false, _) => format!("[{} or less]", shown(high)),
    }
}

/// What one or two rounds do not tell.
const FEW: &str = "the noise between rounds is unknown with fewer than 3: intervals are of the samples within runs, and only a \
                   factor of 2 beyond them counts";

/// A note as a sentence without a full stop, with its remedy.
pub fn noted(note: &Note) -> String {
    match note {
        Note::Apart => "the two were made at different times: whatever else the machine did in one of them counts as a difference; \
             make both again, by turns, before believing a small one"
            .to_owned(),
        Note::TooFewRounds => {
            format!("{FEW}; run both again with `pollscope run --rounds {ADVISED_ROUNDS}`")
        }
        Note::OneRecording => format!("{FEW}; record both again, and see whether the difference is there again"),
        Note::OneStart => format!(
            "one recording of a build does not tell how much two starts of it differ: a change counts from {} on; record each \
             three times, by turns and into one folder a build, to tell less",
            format_ratio(STARTS)
        ),
        Note::TooShort { compared_ns, needed_ns } => format!(
            "too short to tell: {} of a recording are compared, and {} are needed; record each for {}",
            format_ns(*compared_ns),
            format_ns(*needed_ns),
            to_record(*needed_ns)
        ),
        Note::Load([a, b]) => format!(
            "the load differed: {} against {} polls/s; what more load makes worse counts only if it went the other way, and what \
             comes with polls only if it is so by time and by the poll: compare under the same load",
            format_count(a.round() as u64),
            format_count(b.round() as u64)
        ),
        Note::Open(metrics) => {
            format!(
                "too noisy to tell: {}; run again with `--rounds {ADVISED_ROUNDS}`, or free the machine of other work",
                join_and(metrics)
            )
        }
        Note::Trend(side, metric, change) => format!(
            "{metric} of {side} drifts over the rounds, and is {} at the end than at the beginning: the rounds are not alike; see \
             what else runs on the machine, and measure again",
            times(*change)
        ),
        Note::FirstRound(side, metrics) => format!(
            "round 1 of {side} is unlike the others in {}: caches may have been cold; run again with `--warmup 1`",
            join_and(metrics)
        ),
        Note::CutShort(side, 1) => format!("1 run of {side} was cut short and is left out"),
        Note::CutShort(side, runs) => format!("{runs} runs of {side} were cut short and are left out"),
    }
}

/// How long to record so that so much is compared: with what a warm-up takes, and some time for the load to begin and end.
fn to_record(needed_ns: u64) -> String {
    const STEP_NS: u64 = 10_000_000_000;
    let whole_ns = needed_ns.saturating_add(needed_ns / 9).max(needed_ns.saturating_add(STEP_NS / 2));
    format!("{} s", whole_ns.div_ceil(STEP_NS).saturating_mul(10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Basis, METRICS};

    fn row(ratio: f64, interval: [f64; 2]) -> Row {
        let interval = Some(interval);
        let (metric, basis, verdict) = (&METRICS[0], Basis::Rounds, Verdict::Better);
        Row { metric, a: 1e6, b: 1e6 * ratio, ratio: Some(ratio), interval, basis, verdict, open: None }
    }

    #[test]
    fn changes_are_factors_from_one_on_and_an_end_below_it_is_the_other_way() {
        for (ratio, interval, text) in [
            (1.0 / 165.0, [1.0 / 188.0, 1.0 / 141.0], "response p99 165x lower [141 to 188]"),
            (3.0, [2.04, f64::INFINITY], "response p99 3.00x higher [2.04 or more]"),
            (3.0, [0.0, 4.0], "response p99 3.00x higher [4.00 or less]"),
            (0.25, [0.0, 0.5], "response p99 4.00x lower [2.00 or more]"),
            (0.25, [0.2, f64::INFINITY], "response p99 4.00x lower [5.00 or less]"),
            (0.5, [0.2, 4.0], "response p99 2.00x lower [0.25 to 5.00]"),
            (1.3, [1.2, 1.4], "response p99 1.30x higher [1.20 to 1.40]"),
        ] {
            assert_eq!(change(&row(ratio, interval)), text);
        }
        assert_eq!(instead(&row(0.5, [0.4, 0.6])), "response p99 500 µs instead of 1.00 ms");
    }
}
