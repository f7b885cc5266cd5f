//! `pollscope run`: scenarios, one after the other.

use std::path::Path;

use super::baseline::Baseline;
use super::output::Terminal;
use super::session::Session;
use super::targets::{check_reports, refuse_profile};
use super::{CmdError, outcome};
use crate::args::RunRequest;
use crate::exit::Exit;
use crate::scenario::{Scenario, builtin, wire};
use crate::stderr::say;

pub(super) fn execute(request: &RunRequest, terminal: &Terminal) -> Result<Exit, CmdError> {
    let scenarios = scenarios(request)?;
    let outputs = &request.common.outputs;
    scenarios.iter().try_for_each(|scenario| outcome::check_gates(outputs.all_gates(), &scenario.settings))?;
    refuse_profile(outputs, "a scenario's run")?;
    let is_builtin = |name: &str| builtin::BUILTIN.iter().any(|(known, _)| *known == name);
    check_reports(outputs, request.scenarios.iter().filter(|name| !is_builtin(name)).map(Path::new))?;
    let questions: Vec<_> = scenarios.iter().map(|scenario| Some(outcome::scenario_info(scenario))).collect();
    let baseline = Baseline::of(&request.baseline, outputs, &questions, terminal)?;
    let altered = request.overrides.iter().any(|set| !matches!(set.key(), "modes" | "rounds" | "warmup" | "seed"));
    if altered && !terminal.quiet {
        say("note: the expectations are not judged: they were written for other settings");
    }
    let session = Session::start(&request.common, terminal)?;
    let mut exit = Exit::Pass;
    for scenario in &scenarios {
        let (ended, recording) = session.run(scenario, !altered)?;
        exit = outcome::worse(exit, ended);
        exit = outcome::worse(exit, baseline.take(&recording, outputs, terminal)?);
        if session.is_ending() {
            break;
        }
    }
    Ok(session.exit(exit))
}

/// All scenarios, before the first one runs: a misspelt name must not cost the time of the runs before it.
fn scenarios(request: &RunRequest) -> Result<Vec<Scenario>, CmdError> {
    let scenarios = request.scenarios.iter().map(|name| {
        let (name, text) = builtin::find(name)?;
        wire::parse(&name, &text, &request.overrides)
    });
    scenarios.collect::<Result<_, _>>().map_err(CmdError::Scenario)
}
