//! A run saved to be compared with, and later runs compared with it: `.pollscope/NAME.json` in the working directory, where CI
//! can cache it.

use std::path::{Path, PathBuf};

use super::compare::{hidden, recordings, same_question};
use super::output::{Terminal, refuse_unwritable};
use super::report::load;
use super::{CmdError, run};
use crate::args::{Outputs, RunRequest};
use crate::compare::regression;
use crate::escape::escape;
use crate::exit::Exit;
use crate::pooled::pool;
use crate::recording::{Recording, Verdict, wire};
use crate::report::{Format, comparison};
use crate::scenario::Scenario;
use crate::stderr::say;

/// What the command line wants with baselines; loaded and checked before anything runs.
pub(super) enum Baseline {
    None,
    Save(PathBuf),
    Compare(PathBuf, Box<Recording>),
}

/// The folder in the working directory.
const FOLDER: &str = ".pollscope";

fn path_of(name: &str) -> PathBuf {
    Path::new(FOLDER).join(format!("{name}.json"))
}

impl Baseline {
    /// # Errors
    /// When there is no such baseline, it answers another question than the scenario, or none can be written.
    pub(super) fn of(request: &RunRequest, scenarios: &[Scenario], terminal: &Terminal) -> Result<Baseline, CmdError> {
        if let Some(name) = &request.save_baseline {
            let path = path_of(name);
            std::fs::create_dir_all(FOLDER).map_err(|error| CmdError::Write { path: path.clone(), error })?;
            refuse_unwritable(&Outputs { files: vec![(Format::Json, path.clone())], ..request.outputs.clone() })?;
            return Ok(Baseline::Save(path));
        }
        let Some(name) = &request.baseline else { return Ok(Baseline::None) };
        let path = path_of(name);
        if !path.exists() {
            return Err(CmdError::NoBaseline { name: name.clone(), path });
        }
        let saved = load(&path, request.outputs.redact, terminal)?;
        for scenario in scenarios {
            same_question(&saved.scenario, &run::scenario_info(scenario), [&path, Path::new(&scenario.name)])?;
        }
        Ok(Baseline::Compare(path, Box::new(saved)))
    }

    /// Saves a recording, or compares it; how that ends.
    pub(super) fn take(&self, recording: &Recording, outputs: &Outputs, terminal: &Terminal) -> Result<Exit, CmdError> {
        match self {
            Baseline::None => Ok(Exit::Pass),
            _ if !is_whole(recording) => {
                say(
                    "warning: the baseline is neither saved nor compared: a run was cut short, failed or is not confirmed",
                );
                Ok(Exit::Pass)
            }
            Baseline::Save(path) => {
                let written = wire::to_json(recording);
                let text = written.map_err(|error| CmdError::Write { path: path.clone(), error: error.into() })?;
                terminal.write(path, &text)?;
                if !terminal.quiet {
                    say(&format!("saved the baseline `{}`", path.display()));
                }
                Ok(Exit::Pass)
            }
            Baseline::Compare(path, saved) => compare(path, saved, recording, outputs, terminal),
        }
    }
}

/// Whether its numbers are worth keeping.
fn is_whole(recording: &Recording) -> bool {
    !recording.runs.is_empty()
        && recording.runs.iter().all(|run| {
            let is_confirmed = run.merge.as_ref().is_none_or(|merge| merge.verdict == Verdict::Ok);
            run.interrupted.is_none() && run.errors.is_empty() && is_confirmed
        })
}

fn compare(
    path: &Path,
    saved: &Recording,
    recording: &Recording,
    outputs: &Outputs,
    terminal: &Terminal,
) -> Result<Exit, CmdError> {
    let known = pool(&saved.runs);
    let of_both = pool(&recording.runs).into_iter().filter(|mode| known.iter().any(|other| other.name == mode.name));
    let pairs: Vec<[String; 2]> = of_both.map(|mode| [mode.name, mode.name].map(str::to_owned)).collect();
    let paths = [path, Path::new("this run")];
    if pairs.is_empty() {
        let why = "they have no mode in common; pass `--mode` with one of the baseline's".to_owned();
        return Err(CmdError::Incomparable { a: path.to_owned(), b: paths[1].to_owned(), why });
    }
    let mut compared = recordings(saved, recording, &pairs, ["baseline", "this run"], paths)?;
    if outputs.redact {
        compared.sides = hidden(&compared.sides);
    }
    // stdout belongs to the report; what is no text has no room for another.
    let has_room = outputs.stdout == Some(Format::Text) && outputs.paths().all(|path| path != Path::new("-"));
    if has_room {
        let text = comparison::render(&compared, comparison::Format::Text, &terminal.style());
        let text = text.map_err(|error| CmdError::Write { path: "-".into(), error: error.into() })?;
        terminal.write(Path::new("-"), &format!("\n{text}"))?;
    }
    let worse: Vec<String> = compared
        .comparisons
        .iter()
        .filter_map(|(mode, comparison)| Some(format!("regression: {}: {}", escape(mode), regression(comparison)?)))
        .collect();
    if worse.is_empty() {
        return Ok(Exit::Pass);
    }
    say(&worse.join("\n"));
    Ok(Exit::Regression)
}
