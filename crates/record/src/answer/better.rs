//! The fix, and what another group of the same recording shows that it is worth.

use super::words::mode;
use crate::advice::Advice;
use crate::by_group::ByGroup;
use crate::compare::{Comparison, LEAST_ROUNDS, Rounds, Side, Verdict, change, compare, instead};
use crate::findings::{is_harmed, is_unmeasured};
use crate::units::plural;

/// What to do, and, where a mode of the recording does it, what that comes to.
pub(super) fn fix(advice: &Advice, group: &ByGroup, all: &[ByGroup]) -> String {
    if !group.first().subject.writes_on_the_loop() {
        return advice.fix.to_owned();
    }
    match better(group, all) {
        Some(better) => format!("{}; in {}: {}", advice.fix, mode(better), worth(group, better, all.len())),
        None if advice.is_of_writing => format!("{} (`--mode offloaded`)", advice.fix),
        None => advice.fix.to_owned(),
    }
}

/// The group whose users waited least, of those that kept the loop responsive.
fn better<'g, 'r>(group: &ByGroup, all: &'g [ByGroup<'r>]) -> Option<&'g ByGroup<'r>> {
    let good = all.iter().filter(|other| other.name != group.name && !is_unmeasured(other) && !is_harmed(other, all));
    let felt = |group: &ByGroup| {
        let dist = group.response_time.as_ref().or(group.lag.as_ref())?;
        dist.shown_quantile_ns(0.99)
    };
    good.filter_map(|other| Some((felt(other)?, other))).min_by_key(|(ns, _)| *ns).map(|(_, other)| other)
}

/// What the better one is worth, as a comparison of the two has it: claimed with enough rounds, described with fewer.
fn worth(group: &ByGroup, better: &ByGroup, groups: usize) -> String {
    let [a, b] = [group, better].map(|group| Side::new(group.rounds.iter().copied(), group.name));
    let compared = compare(&a, &b, Rounds::Interleaved, groups - 1);
    let is_enough = compared.rounds.iter().all(|rounds| *rounds >= LEAST_ROUNDS);
    let felt = ["response_time.p99", "lag.p99"].into_iter().find_map(|key| told(&compared, key, is_enough));
    let price = told(&compared, "throughput", is_enough);
    let told: Vec<String> = felt.into_iter().chain(price).collect();
    let [rounds, _] = compared.rounds;
    let few = format!(" ({}: no interval; `--rounds 5` gives one)", plural(rounds as u64, "round"));
    told.join(", ") + if is_enough { "" } else { &few }
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
