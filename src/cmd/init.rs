//! `pollscope init`: shows what a project needs to be measured, and makes it so.

use std::io::{self, IsTerminal};

use super::CmdError;
use super::output::Terminal;
use crate::args::InitRequest;
use crate::escape::escape_path;
use crate::exit::Exit;
use crate::init::{Environment, plan, write};
use crate::stderr::say;

pub(super) fn execute(request: &InitRequest, terminal: &Terminal) -> Result<Exit, CmdError> {
    let plan = plan(&request.folder, request.path.as_deref(), &Environment::here()).map_err(CmdError::Init)?;
    terminal.to_stdout(&plan.diff(io::stdout().is_terminal()))?;
    let is_done = plan.changes.is_empty();
    if request.write {
        write(&plan).map_err(CmdError::Init)?;
    }
    for note in &plan.notes {
        say(format!("note: {note}"));
    }
    if terminal.quiet {
        return Ok(Exit::Pass);
    }
    let files: Vec<String> =
        plan.changes.iter().map(|change| format!("`{}`", escape_path(plan.shown(&change.path)))).collect();
    say(match (is_done, request.write) {
        (true, _) => "nothing to change: build it, and start it with `pollscope record -- PROGRAM`".to_owned(),
        (false, true) => {
            format!("wrote {}: build it, and start it with `pollscope record -- PROGRAM`", files.join(", "))
        }
        (false, false) => format!("would change {}: `pollscope init --write` does", files.join(", ")),
    });
    Ok(Exit::Pass)
}
