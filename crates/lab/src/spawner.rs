//! Spawning named tasks on the measured runtime, and what works beside it, so that neither need know the instruments.

use std::future::Future;
use std::{io, thread};

use pollscope_probe::Probe;
use tokio::task::JoinHandle;

use crate::cost::CostMeter;

/// Spawns tasks with names.
#[derive(Debug, Clone)]
pub struct Spawner {
    probe: Probe,
    meter: CostMeter,
}

impl Spawner {
    /// Tasks that `probe` sees and names.
    pub fn measured_by(probe: &Probe) -> Spawner {
        Spawner { probe: probe.clone(), meter: CostMeter::default() }
    }

    /// Tasks that nothing measures.
    pub fn unmeasured() -> Spawner {
        Spawner::measured_by(&Probe::off())
    }

    /// Spawns a task on the current runtime; its spawn site is the caller's.
    #[track_caller]
    pub fn spawn<F>(&self, name: &str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.probe.spawn(name, future)
    }

    /// Gives a closure to the runtime's blocking pool.
    pub(crate) fn spawn_blocking<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        tokio::task::spawn_blocking(self.meter.waiting(f))
    }

    /// Starts a thread that works for the tasks: what it uses is the run's.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn spawn_thread(
        &self,
        name: &str,
        f: impl FnOnce() + Send + 'static,
    ) -> io::Result<thread::JoinHandle<()>> {
        let meter = self.meter.clone();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            f();
            meter.thread_ends();
        })
    }

    /// Where it is added up what these threads use, and what those of the runtime do.
    pub(crate) fn meter(&self) -> &CostMeter {
        &self.meter
    }
}
