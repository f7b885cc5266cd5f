//! Starts what a workload runs: named tasks on the measured runtime, closures on its blocking pool, threads beside it. Workloads use
//! this and know nothing of the instruments.

use std::future::Future;
use std::{io, thread};

use pollscope_probe::Probe;
use tokio::task::JoinHandle;

use crate::cost::CostMeter;

/// Starts tasks, closures and threads; clones report to the same probe and the same cost.
#[derive(Debug, Clone)]
pub struct Spawner {
    probe: Probe,
    meter: CostMeter,
}

impl Spawner {
    /// A spawner whose tasks `probe` sees and names.
    pub fn measured_by(probe: &Probe) -> Spawner {
        Spawner { probe: probe.clone(), meter: CostMeter::default() }
    }

    /// A spawner whose tasks no probe sees.
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

    /// Starts a thread that works for the tasks: what it uses belongs to the run's cost.
    ///
    /// # Errors
    /// When the system starts no thread.
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

    /// The meter that adds up what these threads and the runtime's threads use.
    pub(crate) fn meter(&self) -> &CostMeter {
        &self.meter
    }
}
