//! The request to end a run, from any thread.

use tokio::sync::watch;

/// How far a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// To its end.
    Run,
    /// Accept nothing new, finish what was accepted, confirm, report.
    Drain,
    /// Read no further, even if there is more: finish what was read, confirm, report.
    Finish,
    /// Report what is known, now.
    Abort,
}

/// A request to end; clones are the same request. It never goes back to an earlier phase.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Sender<Phase>);

impl Default for Shutdown {
    fn default() -> Self {
        Shutdown(watch::Sender::new(Phase::Run))
    }
}

impl Shutdown {
    /// Asks for at least `phase`.
    pub fn request(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let grows = phase > *current;
            *current = phase.max(*current);
            grows
        });
    }

    /// Asks for the next phase: drain, then abort.
    pub fn escalate(&self) {
        self.request(if self.phase() == Phase::Run { Phase::Drain } else { Phase::Abort });
    }

    /// The latest phase asked for.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }
}
