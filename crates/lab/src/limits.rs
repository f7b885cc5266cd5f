//! How many files may be open at once, and whether there may be as many threads as a run needs.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::pipeline::input::KEPT_OPEN;
use crate::scenario::{Flavor, Settings, Workload};

/// What the program itself, its runtimes and its signal handling keep open, generously.
const OWN: u64 = 64;

/// The threads of a run, as in ARCHITECTURE.md, and one of the pool: Tokio does with one when it can have no more.
const OWN_THREADS: usize = 12;

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

/// How many threads a run of these settings has at once, at least.
pub fn threads(settings: &Settings) -> usize {
    let workers = if settings.runtime.flavor == Flavor::MultiThread { settings.runtime.workers } else { 0 };
    OWN_THREADS + workers
}

/// Whether so many threads can be had at once, found out by having them. Without one, Tokio panics in the middle of a run.
///
/// # Errors
/// When one cannot be started.
pub fn try_threads(needed: usize) -> io::Result<()> {
    let wait = Arc::new(Mutex::new(()));
    let waiting = wait.lock().unwrap_or_else(PoisonError::into_inner);
    let threads = (0..needed).map(|_| {
        let wait = Arc::clone(&wait);
        thread::Builder::new().spawn(move || drop(wait.lock()))
    });
    let threads: Vec<_> = threads.collect();
    drop(waiting);
    // All of them end before the next is started.
    let ended: Vec<io::Result<()>> =
        threads.into_iter().map(|thread| thread.map(|thread| drop(thread.join()))).collect();
    ended.into_iter().collect()
}
