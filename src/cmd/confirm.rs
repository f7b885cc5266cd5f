//! `pollscope confirm`: whether a merged file holds what its inputs hold now.

use std::path::{Path, PathBuf};

use super::CmdError;
use super::output::{Terminal, refuse_unwritable, refuse_used};
use crate::args::ConfirmRequest;
use crate::exit::Exit;
use crate::pipeline::confirm::examine;
use crate::pipeline::confirm::present::present;
use crate::recording::Verdict;
use crate::report::confirmation::{json, text};

pub(super) fn execute(request: &ConfirmRequest, terminal: &Terminal) -> Result<Exit, CmdError> {
    let ConfirmRequest { inputs, output, how, start, outputs } = request;
    refuse_used(outputs, inputs.iter().chain([output]).map(PathBuf::as_path))?;
    refuse_unwritable(outputs)?;
    let (inputs, evidence) = present(inputs, output, *start).map_err(CmdError::Confirm)?;
    let confirmation = examine(&inputs, &evidence, how);
    for path in outputs.paths() {
        let json = json(&confirmation, output);
        let json = json.map_err(|error| CmdError::Write { path: path.to_owned(), error: error.into() })?;
        terminal.write(path, &json)?;
    }
    if outputs.stdout.is_some() {
        terminal.write(Path::new("-"), &text(&confirmation, output, &terminal.style()))?;
    }
    Ok(if confirmation.merge.verdict == Verdict::Ok { Exit::Pass } else { Exit::NotConfirmed })
}
