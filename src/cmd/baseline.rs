//! A run saved as `.pollscope/NAME.json` in the working directory, where CI can cache it, and later runs compared with it.

use std::path::{Path, PathBuf};

use super::output::{Terminal, refuse_unwritable};
use super::pairing::{Named, compare_pairs, pairs_in_common, same_question};
use super::targets::{refuse_used, refuse_written};
use super::{CmdError, load, outcome};
use crate::args::{BaselineNames, Outputs};
use crate::escape::escape_path;
use crate::exit::Exit;
use crate::recording::{Recording, ScenarioInfo, wire};
use crate::report::{Format, comparison};
use crate::stderr::{Lines, say};

/// What the command line asks of baselines, loaded and checked before anything runs.
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
    /// `questions`: the scenarios to come; `None` is a program.
    ///
    /// # Errors
    /// When the baseline does not exist, answers another question, or cannot be written.
    pub(super) fn of(
        names: &BaselineNames,
        outputs: &Outputs,
        questions: &[Option<ScenarioInfo>],
        terminal: &Terminal,
    ) -> Result<Baseline, CmdError> {
        if let Some(name) = &names.save {
            let path = path_of(name);
            std::fs::create_dir_all(FOLDER).map_err(CmdError::unwritable(&path))?;
            refuse_written(outputs, "baseline", &path)?;
            refuse_unwritable([path.as_path()])?;
            return Ok(Baseline::Save(path));
        }
        let Some(name) = &names.compare else { return Ok(Baseline::None) };
        let path = path_of(name);
        if !path.exists() {
            return Err(CmdError::NoBaseline { name: name.clone(), path });
        }
        refuse_used(outputs, [path.as_path()])?;
        let saved = load::recording(&path, outputs.redact, terminal)?;
        for asked in questions {
            let name = asked.as_ref().map_or("this program", |scenario| &scenario.name);
            same_question(saved.scenario.as_ref(), asked.as_ref(), [&path, Path::new(name)])?;
        }
        Ok(Baseline::Compare(path, Box::new(saved)))
    }

    /// Saves a recording, or compares it; how that ends.
    pub(super) fn take(&self, recording: &Recording, outputs: &Outputs, terminal: &Terminal) -> Result<Exit, CmdError> {
        match self {
            Baseline::None => Ok(Exit::Pass),
            _ if !outcome::is_whole(recording) => {
                say(
                    "warning: the baseline is neither saved nor compared: a run was cut short, failed or is not confirmed",
                );
                Ok(Exit::Pass)
            }
            Baseline::Save(path) => {
                terminal.write(path, &wire::to_json(recording).map_err(CmdError::unwritable(path))?)?;
                if !terminal.quiet {
                    say(format!("saved the baseline `{}`", escape_path(path)));
                }
                Ok(Exit::Pass)
            }
            Baseline::Compare(path, saved) => {
                let saved = Named { name: "baseline", path, recording: saved };
                compare(&saved, recording, outputs, terminal)
            }
        }
    }
}

fn compare(saved: &Named, recording: &Recording, outputs: &Outputs, terminal: &Terminal) -> Result<Exit, CmdError> {
    let this = Named { name: "this run", path: Path::new("this run"), recording };
    let compared = compare_pairs(saved, &this, &pairs_in_common(saved, &this)?, outputs.redact)?;
    // Only a text report on stdout leaves room for another text.
    let has_room = outputs.stdout == Some(Format::Text) && outputs.paths().all(|path| path != Path::new("-"));
    if has_room {
        let text = comparison::render(&compared, comparison::Format::Text, &terminal.style());
        terminal.to_stdout(&format!("\n{}", text.map_err(CmdError::unwritable("-"))?))?;
    }
    let (exit, regressions) = outcome::of_baseline(&compared);
    if !regressions.is_empty() {
        say(regressions.iter().collect::<Lines>());
    }
    Ok(exit)
}
