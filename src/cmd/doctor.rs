//! `pollscope doctor`: what this build sees on this machine of stalls that are injected; or what can be seen of a process.

use std::path::PathBuf;

use pollscope_attach::Access;

use super::CmdError;
use super::output::Terminal;
use crate::args::DoctorRequest;
use crate::doctor::{diagnose, examined, in_child, report};
use crate::exit::Exit;
use crate::service::Service;
use crate::stderr::ProgressLine;

pub(super) fn execute(request: &DoctorRequest, terminal: &Terminal) -> Result<Exit, CmdError> {
    match request.pid {
        Some(pid) => process(pid, &request.symbols, terminal),
        None => here(terminal),
    }
}

/// What can be seen of a process. Of one that tells of itself it is no failure that it is shut.
fn process(pid: u32, symbols: &[PathBuf], terminal: &Terminal) -> Result<Exit, CmdError> {
    let access = Access::of(pid, symbols);
    // Whether it listens is told to its own user, and root, alone.
    let listens = Service::find(pid).and_then(|service| service.sockets()).ok().map(|sockets| !sockets.is_empty());
    terminal.to_stdout(&examined::render(&access, listens, &terminal.style()))?;
    match access.program {
        Err(obstacle) if listens != Some(true) => Err(CmdError::Obstacle(obstacle)),
        _ => Ok(Exit::Pass),
    }
}

fn here(terminal: &Terminal) -> Result<Exit, CmdError> {
    let show = |text: &str| terminal.to_stdout(text).map(|()| Exit::Pass);
    if let Some(said) = in_child() {
        return show(&said);
    }
    let mut line = ProgressLine::new(terminal.quiet);
    let diagnosis = diagnose(|stall, flavor| line.show(|| format!("injecting: {stall}, {}", flavor.as_str())));
    line.clear();
    show(&report::render(&diagnosis, &terminal.style()))?;
    match diagnosis.missed() {
        0 => Ok(Exit::Pass),
        missed => Err(CmdError::StallsMissed { missed, tried: diagnosis.tried() }),
    }
}
