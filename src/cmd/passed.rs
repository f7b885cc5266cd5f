//! Signals that come while a program runs that was started here, and are for that program.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::emulate_default_handler;
use signal_hook::low_level::siginfo::{Cause, Origin};

use super::CmdError;
use crate::signal_mask::without_signals;
use crate::stderr::say;

/// Those by which people end a program.
pub(super) const ENDS: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];
/// Others that are passed on.
const OTHERS: [Signal; 2] = [Signal::USR1, Signal::USR2];

/// How often it is looked whether what is recorded is over.
const TICK: Duration = Duration::from_millis(100);

/// A signal that came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passed {
    pub(super) signal: Signal,
    /// Whether the terminal sent it, and so to the program as well: to all of its foreground.
    pub(super) is_theirs_too: bool,
}

/// Signals as they come.
pub(super) struct Coming {
    signals: Receiver<Passed>,
    is_gone: Arc<AtomicBool>,
}

impl Coming {
    pub(super) fn signals(&self) -> &Receiver<Passed> {
        &self.signals
    }

    /// Waits until `look` finds that what is recorded is over, which it asks several times a second: what it found; or until somebody has
    /// enough, or the time is over: `None` then.
    pub(super) fn until_over<T>(
        &self,
        until: Option<Instant>,
        mut look: impl FnMut() -> Result<Option<T>, CmdError>,
    ) -> Result<Option<T>, CmdError> {
        loop {
            let left = until.map_or(TICK, |until| until.saturating_duration_since(Instant::now()).min(TICK));
            match self.signals.recv_timeout(left) {
                Ok(passed) if ENDS.contains(&passed.signal) => return Ok(None),
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                // The thread that takes signals never ends.
                Err(RecvTimeoutError::Disconnected) => return Err(CmdError::Wait(io::ErrorKind::BrokenPipe.into())),
            }
            if let Some(over) = look()? {
                return Ok(Some(over));
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(None);
            }
        }
    }

    /// From now on signals are for this program: at the first it says that it is about to end, the next ends it.
    pub(super) fn program_is_gone(&self) {
        self.is_gone.store(true, Ordering::Relaxed);
    }
}

/// Takes signals from now on, and that a child ended. One that is ignored here, as by `nohup`, stays so, for the program too.
pub(super) fn listen() -> io::Result<Coming> {
    let ignored = ignored();
    let taken = ENDS.iter().chain(&OTHERS).map(|signal| signal.as_raw());
    let taken = taken.filter(|signal| ignored >> (signal - 1) & 1 == 0).chain([Signal::CHILD.as_raw()]);
    let taken: Vec<i32> = taken.collect();
    let mut signals = without_signals(|| SignalsInfo::<WithOrigin>::new(taken))?;
    let (send, coming) = mpsc::channel();
    let is_gone = Arc::new(AtomicBool::new(false));
    let gone = Arc::clone(&is_gone);
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut is_warned = false;
        for Origin { signal, cause, .. } in signals.forever() {
            let Some(named) = Signal::from_named_raw(signal) else { continue };
            if !gone.load(Ordering::Relaxed) {
                // Nobody hears it at the very end.
                let _ = send.send(Passed { signal: named, is_theirs_too: cause == Cause::Kernel });
            } else if ENDS.contains(&named) {
                while_reporting(signal, &mut is_warned);
            }
        }
    })?;
    Ok(Coming { signals: coming, is_gone })
}

fn while_reporting(signal: i32, is_warned: &mut bool) {
    if *is_warned {
        say("ending at once: what is not written yet is lost");
        // As if the signal were not caught. If this fails, the program goes on, and the next signal tries again.
        let _ = emulate_default_handler(signal);
    } else {
        say("ending after this report (Ctrl-C again to end at once)");
        *is_warned = true;
    }
}

/// Which signals this process ignores, one bit each; none where that is not told.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").ok();
    let mask = status.as_deref().and_then(|status| status.lines().find_map(|line| line.strip_prefix("SigIgn:")));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
