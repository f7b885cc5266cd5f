//! What a recording is of, in words.

use crate::pooled::Pooled;
use crate::recording::{Coverage, Pool, Run};
use crate::units::plural;

/// The program of a service or a process: its number, its file, its build, its Tokio; `None` of a scenario.
pub(super) fn program(run: &Run) -> Option<String> {
    let target = run.subject.target()?;
    let tokio = target.tokio.as_ref().map(|tokio| match target.tokio_unstable {
        Some(true) => format!("tokio {tokio} with tokio_unstable"),
        Some(false) => format!("tokio {tokio} without tokio_unstable"),
        None => format!("tokio {tokio}"),
    });
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

/// The programs of all groups, each once, with the group where there are several.
pub(super) fn programs(groups: &[Pooled]) -> Vec<String> {
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

/// `hooks`, or `attached, 97 looks a second`.
pub(super) fn source(coverage: &Coverage) -> String {
    let looks = coverage.looks_per_s.map_or(String::new(), |looks| format!(", {looks:.0} looks a second"));
    format!("{}{looks}", coverage.source)
}

/// The blocking pool at the end, as far as it is known; `None` where nothing of it is.
pub(super) fn blocking_pool(group: &Pooled) -> Option<String> {
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
