//! How many open files and threads a run needs, and whether this process may have them.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::pipeline::input::KEPT_OPEN;
use crate::scenario::{Flavor, Settings, Workload};

/// Open files of the program itself, its runtimes and its signal handling, with room to spare.
const OWN: u64 = 64;

/// The threads of a run, as ARCHITECTURE.md lists them, and one of the pool: Tokio makes do with one if it gets no more.
const OWN_THREADS: usize = 12;

/// How many files a run of these settings has open at once, at most.
pub fn open_files(settings: &Settings) -> u64 {
    let inputs = match &settings.workload {
        // The writer and the tail each open every input.
        Workload::Merge(merge) => 2 * merge.inputs,
        Workload::Files(files) => files.inputs.len(),
        Workload::Block(_) => 0,
    };
    // The server opens each connection once, the client twice.
    let connections = settings.witness.response.map_or(0, |response| 3 * response.connections);
    OWN + (inputs + connections) as u64
}

/// How many more a run can use but does not need: files that took the inputs' names, their folders, which are watched, and earlier
/// files, kept to confirm the merge.
pub fn more_open_files(settings: &Settings) -> u64 {
    match &settings.workload {
        Workload::Files(files) if files.follow => (KEPT_OPEN + 3 * files.inputs.len()) as u64,
        _ => 0,
    }
}

/// Raises the soft limit on open files to `needed`, and further by `more` as far as the hard limit allows.
///
/// # Errors
/// With (needed, allowed) if the limit stays below `needed`.
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

/// How many threads a run of these settings has at once, at least.
pub fn threads(settings: &Settings) -> usize {
    let workers = if settings.runtime.flavor == Flavor::MultiThread { settings.runtime.workers } else { 0 };
    OWN_THREADS + workers
}

/// Starts so many threads at once, to find out whether the system allows it: without one of them, Tokio panics in the middle of a run.
///
/// # Errors
/// When one of them cannot be started.
pub fn try_threads(needed: usize) -> io::Result<()> {
    let wait = Arc::new(Mutex::new(()));
    let waiting = wait.lock().unwrap_or_else(PoisonError::into_inner);
    let threads = (0..needed).map(|_| {
        let wait = Arc::clone(&wait);
        thread::Builder::new().spawn(move || drop(wait.lock()))
    });
    let threads: Vec<_> = threads.collect();
    drop(waiting);
    // Waits for all of them, so that none counts against the run.
    let ended: Vec<io::Result<()>> =
        threads.into_iter().map(|thread| thread.map(|thread| drop(thread.join()))).collect();
    ended.into_iter().collect()
}
