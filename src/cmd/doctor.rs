//! `pollscope doctor`: what this machine and build can and cannot see.

use std::path::Path;

use super::CmdError;
use super::output::Terminal;
use crate::doctor::{diagnose, report};
use crate::exit::Exit;
use crate::stderr::ProgressLine;

pub(super) fn execute(terminal: &Terminal) -> Result<Exit, CmdError> {
    let mut line = ProgressLine::new(terminal.quiet);
    let diagnosis = diagnose(|stall, flavor| line.show(|| format!("injecting: {stall}, {}", flavor.as_str())));
    line.clear();
    terminal.write(Path::new("-"), &report::render(&diagnosis, &terminal.style()))?;
    match diagnosis.missed() {
        0 => Ok(Exit::Pass),
        missed => Err(CmdError::StallsMissed { missed, tried: diagnosis.tried() }),
    }
}
