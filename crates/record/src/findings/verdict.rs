//! The one sentence that answers the scenario's question.

use super::{delay_without_slow_poll, first_harmless, is_harmed, is_unmeasured};
use crate::by_group::{ByGroup, by_group};
use crate::compare::Verdict::{Better, Inconclusive};
use crate::compare::{LEAST_ROUNDS, Rounds, Row, Side, change, compare, instead};
use crate::recording::{Dist, Recording};
use crate::units::{format_count, format_ns, join_and, plural};

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

/// Some modes keep the loop responsive and some do not: the best of those against the worst of these.
fn divided(good: &[&ByGroup], bad: &[&ByGroup]) -> String {
    let keeps = if good.len() == 1 { "keeps" } else { "keep" };
    let does = if bad.len() == 1 { "does" } else { "do" };
    let all: Vec<&ByGroup> = good.iter().chain(bad).copied().collect();
    let rank = |mode: &&&ByGroup| rank(mode, &all);
    let (Some(best), Some(worst)) = (good.iter().min_by_key(rank), bad.iter().rev().max_by_key(rank)) else {
        return String::new();
    };
    let claim = format!(
        "{} {keeps} the loop responsive, {} {does} not",
        names(good.iter().copied()),
        names(bad.iter().copied())
    );
    let rounds = best.rounds.len().min(worst.rounds.len());
    let mut proof: Vec<String> = gain(best, worst, all.len()).into_iter().collect();
    if best.slow_total() != worst.slow_total() && !best.slow_is_at_least() && !worst.slow_is_at_least() {
        let instead = format_count(worst.slow_total());
        proof.push(format!("{} instead of {instead}", plural(best.slow_total(), "slow poll")));
    }
    if proof.is_empty() {
        return claim;
    }
    let which = if all.len() > 2 { format!(" ({} beside {})", best.name, worst.name) } else { String::new() };
    let few = match rounds {
        1 => ", in one round; `--rounds 5` gives an interval".to_owned(),
        few if few < LEAST_ROUNDS => format!(", in {few} rounds; `--rounds 5` gives an interval"),
        _ => String::new(),
    };
    format!("{claim}: {}{which}{few}", proof.join(", "))
}

/// What orders groups from best to worst: the first measure that all of them know, then how many polls were slow.
fn rank(mode: &ByGroup, all: &[&ByGroup]) -> (Option<u64>, u64) {
    let known = |of: fn(&ByGroup) -> Option<Dist>, mode: &ByGroup| of(mode)?.shown_quantile_ns(0.99);
    let measure = MEASURES.iter().find(|(_, of)| all.iter().all(|mode| known(*of, mode).is_some()));
    (measure.and_then(|(_, of)| known(*of, mode)), mode.slow_total())
}

/// What a gain must be to be worth a word.
const LEAST_GAIN: f64 = 1.5;

/// How much better the best is in what its users feel, percentiles before maxima, which are single events. It is claimed where a
/// comparison of the recording claims it, in the same words; otherwise it is described, and what is open is said to be.
fn gain(best: &ByGroup, worst: &ByGroup, groups: usize) -> Option<String> {
    let [worst, best] = [worst, best].map(|mode| Side::new(mode.rounds.iter().copied(), mode.name));
    let compared = compare(&worst, &best, Rounds::Interleaved, groups - 1);
    let measures = ["response_time.p99", "lag.p99", "schedule_latency.p99", "lag.max"];
    let mut rows = measures.iter().filter_map(|key| compared.row(key));
    let are_few = compared.rounds.iter().any(|&rounds| rounds < LEAST_ROUNDS);
    let is_gain = |row: &&Row| row.ratio.is_some_and(|ratio| ratio <= 1.0 / LEAST_GAIN);
    if are_few {
        return rows.find(is_gain).map(instead);
    }
    if let Some(row) = rows.clone().find(|row| row.verdict == Better) {
        return Some(change(row));
    }
    let left_open = rows.find(|row| is_gain(row) && row.verdict == Inconclusive)?;
    Some(format!("{}, which {} leave open", instead(left_open), plural(compared.rounds[1] as u64, "round")))
}
