//! The fix, and what another group of the same recording shows that it is worth.

use super::words::mode;
use crate::advice::Advice;
use crate::by_group::ByGroup;
use crate::compare::{Comparison, LEAST_ROUNDS, Rounds, Side, Verdict, change, compare, instead};
use crate::findings::{is_harmed, is_unmeasured};
use crate::units::plural;

/// What to do, and, where a mode of the recording does it, what that comes to.
pub(super) fn fix(advice: &Advice, group: &ByGroup, all: &[ByGroup]) -> String {
    match with_worth(advice.fix, group, all) {
        Some(fix) => fix,
        None if advice.is_of_writing && group.first().subject.writes_on_the_loop() => {
            format!("{} (`--mode offloaded`)", advice.fix)
        }
        None => advice.fix.to_owned(),
    }
}

/// What to do, and what it comes to in a mode of the recording; `None` where none does it, or nothing of it is known.
pub(super) fn with_worth(fix: &str, group: &ByGroup, all: &[ByGroup]) -> Option<String> {
    if !group.first().subject.writes_on_the_loop() {
        return None;
    }
    let better = better(group, all)?;
    Some(format!("{fix}; in {}: {}", mode(better), worth(group, better, all.len())?))
}

/// So many times less is what users felt of a mode that is better although it blocked as well.
const CLEARLY: u64 = 2;

/// The group whose users waited least: of those that kept the loop responsive, or, if none did, of those that did much less harm.
fn better<'g, 'r>(group: &ByGroup, all: &'g [ByGroup<'r>]) -> Option<&'g ByGroup<'r>> {
    let felt = |group: &ByGroup| {
        let dist = group.response_time.as_ref().or(group.lag.as_ref())?;
        dist.shown_quantile_ns(0.99)
    };
    let others = all.iter().filter(|other| other.name != group.name && !is_unmeasured(other));
    let others: Vec<_> = others.filter_map(|other| Some((felt(other)?, other))).collect();
    let least = |is_good: &dyn Fn(u64, &ByGroup) -> bool| {
        let good = others.iter().filter(|(ns, other)| is_good(*ns, other));
        good.min_by_key(|(ns, _)| *ns).map(|(_, other)| *other)
    };
    let here = felt(group);
    least(&|_, other| !is_harmed(other, all)).or_else(|| {
        least(&|ns, other| {
            here.is_some_and(|here| ns.saturating_mul(CLEARLY) <= here) && other.slow_total() < group.slow_total()
        })
    })
}

/// What the better one is worth, as a comparison of the two has it: claimed with enough rounds, described with fewer.
fn worth(group: &ByGroup, better: &ByGroup, groups: usize) -> Option<String> {
    let [a, b] = [group, better].map(|group| Side::new(group.rounds.iter().copied(), group.name));
    let compared = compare(&a, &b, Rounds::Interleaved, groups - 1);
    let is_enough = compared.rounds.iter().all(|rounds| *rounds >= LEAST_ROUNDS);
    let felt = ["response_time.p99", "lag.p99"].into_iter().find_map(|key| told(&compared, key, is_enough));
    let price = told(&compared, "throughput", is_enough);
    let told: Vec<String> = felt.into_iter().chain(price).collect();
    let [rounds, _] = compared.rounds;
    let few = format!(" ({}: no interval; `--rounds 5` gives one)", plural(rounds as u64, "round"));
    (!told.is_empty()).then(|| told.join(", ") + if is_enough { "" } else { &few })
}

/// A metric of both: the change, where the comparison is sure of one, else the two values.
fn told(compared: &Comparison, key: &str, is_enough: bool) -> Option<String> {
    let row = compared.row(key)?;
    let name = row.metric.name;
    let [a, b] = [row.a, row.b].map(|value| row.metric.unit.show(value));
    Some(match row.verdict {
        Verdict::Better | Verdict::Worse if is_enough => format!("{} ({b} instead of {a})", change(row)),
        Verdict::NoDifference if is_enough => format!("{name} the same"),
        _ if a == b => format!("{name} {b} in both"),
        _ => instead(row),
    })
}
