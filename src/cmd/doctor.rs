//! `pollscope doctor`: what this machine and build can and cannot see.

use std::io::Write;
use std::path::Path;

use super::CmdError;
use super::output::{Terminal, stderr_is_terminal};
use crate::doctor::diagnose;
use crate::exit::Exit;
use crate::report::doctor;

pub(super) fn execute(terminal: &Terminal) -> Result<Exit, CmdError> {
    let is_shown = !terminal.quiet && stderr_is_terminal();
    let show = |text: &str| {
        if is_shown {
            // A closed stderr must not stop the program.
            let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
        }
    };
    let diagnosis = diagnose(|stall, flavor| show(&format!("injecting: {stall}, {}", flavor.as_str())));
    show("");
    terminal.write(Path::new("-"), &doctor::render(&diagnosis, &terminal.style()))?;
    match diagnosis.missed() {
        0 => Ok(Exit::Pass),
        missed => Err(CmdError::StallsMissed { missed, tried: diagnosis.tried() }),
    }
}
