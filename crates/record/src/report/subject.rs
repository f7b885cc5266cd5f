//! What a recording is of, in words.

use crate::by_group::ByGroup;
use crate::recording::{Coverage, Pool, Run};
use crate::units::plural;

/// The program of a service or a process: its number, its file, its build, its Tokio; `None` of a scenario.
pub(super) fn program(run: &Run) -> Option<String> {
    let target = run.subject.target()?;
    let tokio = target.tokio.as_ref().map(|version| tokio(version, target.tokio_unstable));
    let facts = [
        Some(target.name.clone()),
        target.pid.map(|pid| format!("process {pid}")),
        target.exe.clone(),
        target.build_id.as_ref().map(|id| format!("build {id}")),
        Some(tokio.unwrap_or_else(|| "its Tokio is not known".to_owned())),
    ];
    let facts = facts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let note = target.profile_note.as_ref().map_or(String::new(), |note| format!("; {note}"));
    Some(facts + &note)
}

/// A version of Tokio, and whether it was built with `--cfg tokio_unstable`.
pub(super) fn tokio(version: &str, unstable: Option<bool>) -> String {
    match unstable {
        Some(true) => format!("tokio {version} with tokio_unstable"),
        Some(false) => format!("tokio {version} without tokio_unstable"),
        None => format!("tokio {version}"),
    }
}

/// The programs of all groups, each once, with the group where there are several.
pub(super) fn programs(groups: &[ByGroup]) -> Vec<String> {
    let mut shown: Vec<String> = Vec::new();
    for group in groups {
        let Some(program) = program(group.first()) else { continue };
        let program = if groups.len() > 1 { format!("{}: {program}", group.name) } else { program };
        if !shown.contains(&program) {
            shown.push(program);
        }
    }
    shown
}

/// The different coverages of groups, each with the first group that has it.
pub(super) fn coverages<'a>(groups: &[ByGroup<'a>]) -> Vec<(&'a str, &'a Coverage)> {
    let mut kinds: Vec<(&str, &Coverage)> = Vec::new();
    for group in groups {
        let coverage = &group.first().coverage;
        let is_same = |known: &Coverage| {
            (&known.source, &known.sees, &known.blind_to) == (&coverage.source, &coverage.sees, &coverage.blind_to)
        };
        if !kinds.iter().any(|(_, known)| is_same(known)) {
            kinds.push((group.name, coverage));
        }
    }
    kinds
}

/// `hooks`, or `attached, 97 looks a second`.
pub(super) fn source(coverage: &Coverage) -> String {
    let looks = coverage.looks_per_s.map_or(String::new(), |looks| format!(", {looks:.0} looks a second"));
    format!("{}{looks}", coverage.source)
}

/// The blocking pool at the end, as far as it is known; `None` where nothing of it is.
pub(super) fn blocking_pool(group: &ByGroup) -> Option<String> {
    let Pool { threads, busy, queued, queued_most } = group.rounds.last()?.pool?;
    let parts = [
        threads.map(|threads| plural(threads, "thread")),
        busy.map(|busy| format!("{busy} busy")),
        queued.map(|queued| format!("{queued} queued")),
        queued_most.map(|most| format!("{most} queued at most")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("{}: {}", group.name, parts.join(", ")))
}
