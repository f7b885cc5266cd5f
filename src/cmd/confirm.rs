//! `pollscope confirm`: checks that a merged file holds what its inputs hold now.

use std::path::PathBuf;

use super::CmdError;
use super::output::Terminal;
use super::targets::check_reports;
use crate::args::ConfirmRequest;
use crate::exit::Exit;
use crate::pipeline::confirm::examine;
use crate::pipeline::confirm::present::present;
use crate::recording::Verdict;
use crate::report::confirmation::{json, text};

pub(super) fn execute(request: &ConfirmRequest, terminal: &Terminal) -> Result<Exit, CmdError> {
    let ConfirmRequest { inputs, output, how, start, outputs } = request;
    check_reports(outputs, inputs.iter().chain([output]).map(PathBuf::as_path))?;
    let (inputs, evidence) = present(inputs, output, *start).map_err(CmdError::Confirm)?;
    let confirmation = examine(&inputs, &evidence, how);
    for path in outputs.paths() {
        let json = json(&confirmation, output);
        terminal.write(path, &json.map_err(CmdError::unwritable(path))?)?;
    }
    if outputs.stdout.is_some() {
        terminal.to_stdout(&text(&confirmation, output, &terminal.style()))?;
    }
    Ok(if confirmation.merge.verdict == Verdict::Ok { Exit::Pass } else { Exit::NotConfirmed })
}
