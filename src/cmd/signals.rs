//! Ctrl-C once: drain, confirm, report. Twice: report now. SIGTERM likewise.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::Exit;
use crate::shutdown::{Phase, Shutdown};

/// The signals that came, if any.
#[derive(Debug, Clone)]
pub(super) struct Caught(Arc<AtomicI32>);

impl Caught {
    /// The exit code of the first signal.
    pub(super) fn exit(&self) -> Option<Exit> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            SIGINT => Some(Exit::Interrupted),
            _ => Some(Exit::Terminated),
        }
    }
}

/// Turns signals into requests to end, from now on.
pub(super) fn catch(shutdown: &Shutdown) -> io::Result<Caught> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let caught = Caught(Arc::default());
    let (first, shutdown) = (Arc::clone(&caught.0), shutdown.clone());
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            let _ = first.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
            let told = match shutdown.phase() {
                Phase::Run => "stopping: finishing and confirming what was accepted; once more to report at once",
                Phase::Drain | Phase::Abort => "reporting at once",
            };
            // A closed stderr must not keep the program from ending.
            let _ = writeln!(io::stderr(), "{told}");
            shutdown.escalate();
        }
    })?;
    Ok(caught)
}
