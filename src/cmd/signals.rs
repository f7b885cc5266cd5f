//! Ctrl-C once: drain, confirm, report, within a time of grace. Twice: report now. Once more: end. SIGTERM and SIGHUP likewise.

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
use crate::stderr::say;
use crate::units::setting_duration;

/// Which part of the time of grace inputs are still read.
const READING: u32 = 10;

/// The signals that came, if any.
#[derive(Debug, Clone, Default)]
pub(super) struct Caught(Arc<State>);

#[derive(Debug, Default)]
struct State {
    first: AtomicI32,
    reporting: AtomicBool,
    /// Whether the last signal was answered with: once more to end.
    ends_next: AtomicBool,
    /// From the first signal to a report of what is known then.
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

    /// Says whether reports are being written: a first signal then has nothing to finish, and a second one nothing to hurry.
    pub(super) fn reporting(&self, now: bool) {
        self.0.reporting.store(now, Ordering::Relaxed);
    }

    fn take(&self, signal: i32, shutdown: &Shutdown) {
        let _ = self.0.first.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
        let phase = shutdown.phase();
        let reporting = self.0.reporting.load(Ordering::Relaxed);
        // Never a surprise: a second signal that was meant to hurry the report must not cost it, if it is being written by then.
        let ends = phase == Phase::Abort || self.0.ends_next.load(Ordering::Relaxed);
        self.0.ends_next.store(reporting || phase != Phase::Run, Ordering::Relaxed);
        let told = match phase {
            _ if ends => "ending at once: what was not yet written is lost",
            Phase::Run if reporting => "ending after this report; once more to end at once",
            Phase::Run => "stopping: finishing and confirming what was accepted; once more to report at once",
            Phase::Drain | Phase::Finish | Phase::Abort => "reporting at once; once more to end without",
        };
        say(told);
        if ends {
            // As if it had never been caught. Should even that fail, the program goes on, and the next signal tries again.
            let _ = emulate_default_handler(signal);
        }
        shutdown.escalate();
        if phase == Phase::Run && !reporting {
            self.be_patient(shutdown);
        }
    }

    /// Reports at once when the time of grace is over: a disk that hangs must not keep the report back.
    fn be_patient(&self, shutdown: &Shutdown) {
        let (state, asked) = (Arc::clone(&self.0), shutdown.clone());
        let patience = thread::Builder::new().name("grace".to_owned()).spawn(move || {
            // A merge that is far behind must not spend all of it reading: confirming takes several times as long.
            thread::sleep(state.grace / READING);
            asked.request(Phase::Finish);
            thread::sleep(state.grace - state.grace / READING);
            if asked.phase() < Phase::Abort && !state.reporting.load(Ordering::Relaxed) {
                say(&format!(
                    "not finished within {}: reporting at once; once more to end without",
                    setting_duration(state.grace)
                ));
                asked.request(Phase::Abort);
            }
        });
        if patience.is_err() {
            // Without the thread nobody would ever be impatient.
            shutdown.request(Phase::Abort);
        }
    }
}

/// Lets a write beyond the limit on a file's size fail like any other, and be reported, instead of ending the program.
pub(super) fn outlive_size_limit() -> io::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map(drop)
}

/// Turns signals into requests to end, from now on.
pub(super) fn catch(shutdown: &Shutdown, grace: Duration) -> io::Result<Caught> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let caught = Caught(Arc::new(State { grace, ..State::default() }));
    let (taking, shutdown) = (caught.clone(), shutdown.clone());
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            taking.take(signal, &shutdown);
        }
    })?;
    Ok(caught)
}
