//! Spawning named tasks on the measured runtime, so that what runs there need not know the instrument.

use std::future::Future;

use pollscope_probe::Probe;
use tokio::task::JoinHandle;

/// Spawns tasks with names.
#[derive(Debug, Clone)]
pub struct Tasks(Probe);

impl Tasks {
    /// Tasks that `probe` sees and names.
    pub fn measured_by(probe: &Probe) -> Tasks {
        Tasks(probe.clone())
    }

    /// Tasks that nothing measures.
    pub fn unmeasured() -> Tasks {
        Tasks(Probe::off())
    }

    /// Spawns a task on the current runtime; its spawn site is the caller's.
    #[track_caller]
    pub fn spawn<F>(&self, name: &str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.0.spawn(name, future)
    }
}
