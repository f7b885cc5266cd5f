//! How many files may be open at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::pipeline::input::KEPT_OPEN;
use crate::scenario::{Settings, Workload};

/// What the program itself, its runtimes and its signal handling keep open, generously.
const OWN: u64 = 64;

/// How many files a run of these settings has open at once, at most.
pub fn open_files(settings: &Settings) -> u64 {
    let inputs = match &settings.workload {
        // Written and read.
        Workload::Merge(merge) => 2 * merge.inputs,
        Workload::Files(files) => files.inputs.len(),
        Workload::Block(_) => 0,
    };
    // The server's end, and the client's twice.
    let connections = settings.witness.response.map_or(0, |response| 3 * response.connections);
    OWN + (inputs + connections) as u64
}

/// How many more it can use, though it can do without: files that took the inputs' names, and those before, kept to confirm.
pub fn more_open_files(settings: &Settings) -> u64 {
    match &settings.workload {
        Workload::Files(files) if files.follow => (KEPT_OPEN + 2 * files.inputs.len()) as u64,
        _ => 0,
    }
}

/// Raises the soft limit on open files as far as `needed`, and by `more`, if the hard limit allows that.
///
/// # Errors
/// With (needed, allowed) when the hard limit is below it.
pub fn allow_open_files(needed: u64, more: u64) -> Result<(), (u64, u64)> {
    let limit = getrlimit(Resource::Nofile);
    // `None` is no limit.
    let Some(soft) = limit.current else { return Ok(()) };
    if soft >= needed + more {
        return Ok(());
    }
    if let Some(hard) = limit.maximum
        && hard < needed
    {
        return Err((needed, hard));
    }
    let wanted = limit.maximum.map_or(needed + more, |hard| hard.min(needed + more));
    let raised = Rlimit { current: Some(wanted), ..limit };
    match setrlimit(Resource::Nofile, raised) {
        Err(_) if soft < needed => Err((needed, soft)),
        _ => Ok(()),
    }
}
