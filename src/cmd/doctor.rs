//! `pollscope doctor`: what this machine and build can and cannot see. It fails for what was missed or seen wrong; what came too late
//! on this machine is no miss, and the report's last line says that it was not found out.

use std::path::Path;

use super::CmdError;
use super::output::Terminal;
use crate::doctor::diagnose;
use crate::exit::Exit;
use crate::report::doctor;
use crate::stderr::ProgressLine;

pub(super) fn execute(terminal: &Terminal) -> Result<Exit, CmdError> {
    let mut line = ProgressLine::new(terminal.quiet);
    let diagnosis = diagnose(|stall, flavor| line.show(|| format!("injecting: {stall}, {}", flavor.as_str())));
    line.clear();
    terminal.write(Path::new("-"), &doctor::render(&diagnosis, &terminal.style()))?;
    match diagnosis.missed() {
        0 => Ok(Exit::Pass),
        missed => Err(CmdError::StallsMissed { missed, tried: diagnosis.tried() }),
    }
}
