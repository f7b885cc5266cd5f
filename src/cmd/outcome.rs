//! What runs and recordings come to: the recording, its exit code, and whether it is worth keeping. Pure.

use std::collections::BTreeSet;

use super::CmdError;
use crate::compare::regression;
use crate::escape::escape;
use crate::exit::Exit;
use crate::gate;
use crate::recording::{Gate, GateVerdict, Recording, Run, ScenarioInfo, Verdict};
use crate::report::comparison::Compared;
use crate::scenario::{Scenario, Settings, wire};
use crate::shutdown::Phase;

/// What a recording says of its scenario.
pub(super) fn scenario_info(scenario: &Scenario) -> ScenarioInfo {
    ScenarioInfo {
        name: scenario.name.clone(),
        why: scenario.why.clone(),
        seed: scenario.settings.seed,
        settings: wire::settings_map(&scenario.settings),
        changed: scenario.changed.clone(),
    }
}

/// How a command that reports this recording ends.
pub(super) fn of_recording(recording: &Recording, strict: bool) -> Exit {
    let any = |check: fn(&Run) -> bool| recording.runs.iter().any(check);
    if any(|run| !run.errors.is_empty()) {
        Exit::Error
    } else if any(|run| !is_confirmed(run)) {
        Exit::NotConfirmed
    } else {
        of_gates(&recording.gates, strict)
    }
}

/// That gates speak of groups that the recording has.
pub(super) fn check_groups<'g>(
    mut gates: impl Iterator<Item = &'g gate::Gate>,
    recording: &Recording,
) -> Result<(), CmdError> {
    let known: BTreeSet<&str> = recording.runs.iter().map(|run| run.group.as_str()).collect();
    let known: Vec<&str> = known.into_iter().collect();
    gates.try_for_each(|gate| gate.check_groups(&known)).map_err(CmdError::Gate)
}

/// That gates speak of modes that the scenario will run, and of what those runs can tell.
pub(super) fn check_gates<'g>(
    mut gates: impl Iterator<Item = &'g gate::Gate>,
    settings: &Settings,
) -> Result<(), CmdError> {
    let modes: Vec<&str> = settings.modes.iter().map(|mode| mode.as_str()).collect();
    let check = |gate: &gate::Gate| {
        gate.check_groups(&modes)?;
        gate.check_known(|metric| settings.why_unknown(metric))
    };
    gates.try_for_each(check).map_err(CmdError::Gate)
}

/// How a command ends in which only gates can fail.
pub(super) fn of_gates(gates: &[Gate], strict: bool) -> Exit {
    let is_any = |verdict| gates.iter().any(|gate| gate.verdict == verdict);
    if is_any(GateVerdict::Fail) {
        Exit::GateFailed
    } else if strict && is_any(GateVerdict::Inconclusive) {
        Exit::Inconclusive
    } else {
        Exit::Pass
    }
}

/// The regressions from a baseline, a sentence each, with their exit code.
pub(super) fn of_baseline(compared: &Compared) -> (Exit, Vec<String>) {
    let regressions = compared
        .comparisons
        .iter()
        .filter_map(|(mode, comparison)| Some(format!("regression: {}: {}", escape(mode), regression(comparison)?)));
    let regressions: Vec<String> = regressions.collect();
    (if regressions.is_empty() { Exit::Pass } else { Exit::Regression }, regressions)
}

/// The exit code of two outcomes: the graver failure's.
pub(super) fn worse(a: Exit, b: Exit) -> Exit {
    let grave = |exit| match exit {
        Exit::Error => 4,
        Exit::NotConfirmed => 3,
        Exit::Inconclusive => 1,
        Exit::Pass => 0,
        _ => 2,
    };
    if grave(b) > grave(a) { b } else { a }
}

/// The exit code after a signal: the signal's, unless it would hide a failure that the signal did not cause.
pub(super) fn after_signal(exit: Exit, phase: Phase, signal: Option<Exit>) -> Exit {
    match (exit, phase) {
        // A merge that was abandoned is never confirmed: that is no news.
        (Exit::Error, _) | (Exit::NotConfirmed, Phase::Run | Phase::Drain | Phase::Finish) => exit,
        _ => signal.unwrap_or(exit),
    }
}

/// Whether a recording can be a baseline, or be compared with one.
pub(super) fn is_whole(recording: &Recording) -> bool {
    let is_whole = |run: &Run| run.early_end().is_none() && run.errors.is_empty() && is_confirmed(run);
    !recording.runs.is_empty() && recording.runs.iter().all(is_whole)
}

fn is_confirmed(run: &Run) -> bool {
    run.merge.as_ref().is_none_or(|merge| merge.verdict == Verdict::Ok)
}
