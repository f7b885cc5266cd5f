//! The one sentence that answers the scenario's question.

use super::{delay_without_slow_poll, first_harmless, is_harmed, is_unmeasured};
use crate::by_group::{ByGroup, by_group};
use crate::compare::Verdict::Better;
use crate::compare::{LEAST_ROUNDS, Rounds, Side, compare, higher_or_lower};
use crate::recording::{Dist, Recording};
use crate::units::{format_count, format_ns, format_ratio, join_and, plural};

/// What the recording shows, in one sentence without a full stop.
///
/// A merge that is not confirmed and a run that ended early are always part of it.
pub fn verdict(recording: &Recording) -> String {
    let modes = by_group(&recording.runs);
    let (unmeasured, measured): (Vec<&ByGroup>, Vec<&ByGroup>) = modes.iter().partition(|mode| is_unmeasured(mode));
    let (bad, good): (Vec<&ByGroup>, Vec<&ByGroup>) = measured.iter().partition(|mode| is_harmed(mode, &modes));
    let mut sentence = match (&measured[..], &good[..], &bad[..]) {
        ([], ..) => "nothing was measured".to_owned(),
        ([only], ..) => alone(only, bad.is_empty()),
        (_, all, []) => none_harmed(&modes, all),
        (_, [], all) => {
            let each: Vec<String> = all.iter().map(|mode| format!("{} ({})", mode.name, harm(mode))).collect();
            format!("no mode keeps the loop responsive: {}", join_and(&refs(&each)))
        }
        (_, good, bad) => divided(good, bad),
    };
    if !unmeasured.is_empty() && !measured.is_empty() {
        sentence += &format!("; no poll was seen ({})", names(unmeasured.into_iter()));
    }
    let unconfirmed = names(modes.iter().filter(|mode| mode.unconfirmed().next().is_some()));
    if !unconfirmed.is_empty() {
        sentence += &format!("; but the merge is not confirmed ({unconfirmed})");
    }
    let early = names(modes.iter().filter(|mode| mode.rounds.iter().any(|run| run.early_end().is_some())));
    if !early.is_empty() {
        sentence += &format!("; ended early ({early})");
    }
    sentence
}

fn refs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

fn names<'m>(modes: impl Iterator<Item = &'m ByGroup<'m>>) -> String {
    join_and(&modes.map(|mode| mode.name).collect::<Vec<_>>())
}

fn alone(mode: &ByGroup, responsive: bool) -> String {
    if responsive && mode.slow_is_at_least() {
        return format!(
            "no slow poll was seen{}; there may have been some",
            late(mode).map_or(String::new(), |late| format!(", {late}"))
        );
    }
    if !responsive {
        let held = if mode.slow_total() > 0 { "the loop was blocked" } else { "the loop did not keep up" };
        return format!("{held}: {}", harm(mode));
    }
    format!("the loop stayed responsive: {}", calm(mode))
}

/// What was wrong with a mode.
fn harm(mode: &ByGroup) -> String {
    if mode.slow_total() > 0 {
        let worst = mode.worst_poll_ns().map_or(String::new(), |ns| format!(", worst {}", format_ns(ns)));
        return mode.slow_words() + &worst;
    }
    match delay_without_slow_poll(mode) {
        Some(delay) => delay.phrase(mode),
        None => late(mode).unwrap_or_else(|| "tasks waited long".to_owned()),
    }
}

/// Why nothing was wrong with a mode.
fn calm(mode: &ByGroup) -> String {
    let seen = if mode.may_miss_slow_polls() { " that could be seen" } else { "" };
    let longest = mode.longest_poll_ns().map(|ns| format!("longest poll {}", format_ns(ns)));
    let parts = [Some(format!("no slow poll{seen}")), late(mode), longest];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What the loop's users felt: the first of the measures that is known, at the 99th percentile.
fn late(mode: &ByGroup) -> Option<String> {
    MEASURES.iter().find_map(|(name, of)| Some(format!("{name} p99 {}", format_ns(of(mode)?.shown_quantile_ns(0.99)?))))
}

type Measure = (&'static str, fn(&ByGroup<'_>) -> Option<Dist>);

/// What the loop's users feel, the closest to them first.
const MEASURES: [Measure; 3] = [
    ("response", |mode| mode.response_time.clone()),
    ("loop lag", |mode| mode.lag.clone()),
    ("schedule latency", |mode| mode.schedule_latency.clone()),
];

fn none_harmed(modes: &[ByGroup], good: &[&ByGroup]) -> String {
    if let Some((mode, proof)) = first_harmless(modes) {
        return format!("{} did no harm here: {proof}", mode.name);
    }
    let each: Vec<String> = good.iter().map(|mode| format!("{} ({})", mode.name, calm(mode))).collect();
    format!("every mode keeps the loop responsive: {}", join_and(&refs(&each)))
}

/// Some modes keep the loop responsive and some do not: the last good one against the first bad one.
fn divided(good: &[&ByGroup], bad: &[&ByGroup]) -> String {
    let keeps = if good.len() == 1 { "keeps" } else { "keep" };
    let does = if bad.len() == 1 { "does" } else { "do" };
    let (best, worst) = (good[good.len() - 1], bad[0]);
    let gain = gain(best, worst);
    let rounds = best.rounds.len().min(worst.rounds.len());
    let lacks_interval = gain.is_some() && rounds < LEAST_ROUNDS;
    let mut proof: Vec<String> = gain.into_iter().collect();
    if best.slow_total() != worst.slow_total() && !best.slow_is_at_least() && !worst.slow_is_at_least() {
        let instead = format_count(worst.slow_total());
        proof.push(format!("{} instead of {instead}", plural(best.slow_total(), "slow poll")));
    }
    let claim = format!(
        "{} {keeps} the loop responsive, {} {does} not",
        names(good.iter().copied()),
        names(bad.iter().copied())
    );
    if proof.is_empty() {
        return claim;
    }
    let rounds = if rounds == 1 { "one round".to_owned() } else { plural(rounds as u64, "round") };
    let advice =
        if lacks_interval { format!("; {rounds}: no interval, `--rounds 5` gives one") } else { String::new() };
    format!("{claim}: {}{advice}", proof.join(", "))
}

/// How much lower the first measure is that differs at all: percentiles before maxima, which are single events. With enough
/// rounds it is what a comparison makes of them, with its interval.
fn gain(best: &ByGroup, worst: &ByGroup) -> Option<String> {
    let [worst_side, best_side] = [worst, best].map(|mode| Side::new(mode.rounds.iter().copied(), mode.name));
    if [&best_side, &worst_side].iter().all(|side| side.runs.len() >= LEAST_ROUNDS) {
        let compared = compare(&worst_side, &best_side, Rounds::Interleaved, 1);
        let measures = ["response_time.p99", "lag.p99", "schedule_latency.p99", "lag.max"];
        let better = measures.iter().filter_map(|key| compared.row(key)).find(|row| row.verdict == Better);
        if let Some(row) = better {
            return Some(higher_or_lower(row));
        }
    }
    [(0.99, "p99"), (1.0, "max")].iter().find_map(|&(quantile, label)| {
        MEASURES.iter().find_map(|(name, of)| {
            let [low, high] = [best, worst].map(|mode| of(mode).and_then(|dist| dist.shown_quantile_ns(quantile)));
            let ratio = high? as f64 / low?.max(1) as f64;
            (ratio >= 1.5).then(|| format!("{name} {label} {} lower", format_ratio(ratio)))
        })
    })
}
