//! Ctrl-C once: drain, confirm and report, within a grace period. Twice: report now. Three times: end. SIGTERM and SIGHUP likewise.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::exit::Exit;
use crate::shutdown::{Phase, Shutdown};
use crate::signal_mask::without_signals;
use crate::stderr::say;
use crate::units::setting_duration;

/// The part of the grace period in which inputs are still read: one in this many.
const READING: u32 = 10;

/// The signals that were caught.
#[derive(Debug, Clone, Default)]
pub(super) struct Caught(Arc<State>);

#[derive(Debug, Default)]
struct State {
    first: AtomicI32,
    reporting: AtomicBool,
    /// Whether the next signal ends the program, as the last message said.
    ends_next: AtomicBool,
    /// From the first signal to a report of what is known by then.
    grace: Duration,
}

impl Caught {
    /// The exit code of the first signal.
    pub(super) fn exit(&self) -> Option<Exit> {
        match self.0.first.load(Ordering::Relaxed) {
            0 => None,
            SIGHUP => Some(Exit::HungUp),
            SIGINT => Some(Exit::Interrupted),
            _ => Some(Exit::Terminated),
        }
    }

    /// Sets whether reports are being written: then a first signal has nothing to finish, and a second nothing to hurry.
    pub(super) fn reporting(&self, now: bool) {
        self.0.reporting.store(now, Ordering::Relaxed);
    }

    fn take(&self, signal: i32, shutdown: &Shutdown) {
        let _ = self.0.first.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
        let phase = shutdown.phase();
        let reporting = self.0.reporting.load(Ordering::Relaxed);
        // A second signal that was meant to hurry the report must not lose it, if it is being written by then.
        let ends = phase == Phase::Abort || self.0.ends_next.load(Ordering::Relaxed);
        self.0.ends_next.store(reporting || phase != Phase::Run, Ordering::Relaxed);
        let message = match phase {
            _ if ends => "ending at once: what is not written yet is lost",
            Phase::Run if reporting => "ending after this report (Ctrl-C again to end at once)",
            Phase::Run => "stopping: finishing and checking what was accepted (Ctrl-C again to skip the check)",
            Phase::Drain | Phase::Finish | Phase::Abort => "reporting at once (Ctrl-C again to end without a report)",
        };
        say(message);
        if ends {
            // As if the signal were not caught. If this fails, the program goes on, and the next signal tries again.
            let _ = emulate_default_handler(signal);
        }
        shutdown.escalate();
        if phase == Phase::Run && !reporting {
            self.be_patient(shutdown);
        }
    }

    /// Reports when the grace period is over: a disk that hangs must not hold back the report.
    fn be_patient(&self, shutdown: &Shutdown) {
        let (state, asked) = (Arc::clone(&self.0), shutdown.clone());
        let patience = thread::Builder::new().name("grace".to_owned()).spawn(move || {
            // A merge that is far behind must not spend all of it on reading: confirming takes several times as long.
            thread::sleep(state.grace / READING);
            asked.request(Phase::Finish);
            thread::sleep(state.grace - state.grace / READING);
            if asked.phase() < Phase::Abort && !state.reporting.load(Ordering::Relaxed) {
                say(format!(
                    "not finished within {}: reporting at once (`--grace` gives it longer; Ctrl-C again to end without a report)",
                    setting_duration(state.grace)
                ));
                asked.request(Phase::Abort);
            }
        });
        if patience.is_err() {
            // Without the thread, nothing would end the grace period.
            shutdown.request(Phase::Abort);
        }
    }
}

/// Lets a write beyond the limit on file size fail with an error instead of a signal that ends the program.
pub(super) fn outlive_size_limit() -> io::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map(drop)
}

/// Turns signals into requests to end. To be called before other threads are started that take signals: one that comes between the
/// system's learning of the handler and the handler's learning what to do would be lost.
pub(super) fn catch(shutdown: &Shutdown, grace: Duration) -> io::Result<Caught> {
    let mut signals = without_signals(|| Signals::new([SIGINT, SIGTERM, SIGHUP]))?;
    let caught = Caught(Arc::new(State { grace, ..State::default() }));
    let (taking, shutdown) = (caught.clone(), shutdown.clone());
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            taking.take(signal, &shutdown);
        }
    })?;
    Ok(caught)
}
