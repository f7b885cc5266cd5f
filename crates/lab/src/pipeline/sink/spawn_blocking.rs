//! Spawn-blocking: every call is a closure on Tokio's blocking pool; the next one begins when it has ended.

use std::io;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::output::{OpenedOutput, Output, OutputSpec};
use super::{LineBatch, Sink, SinkError};
use crate::spawner::Spawner;

/// The output of this mode.
#[derive(Debug)]
pub(crate) struct SpawnBlocking {
    spec: OutputSpec,
    spawner: Spawner,
    /// Each write locks it until its closure has ended, even after a cancellation: two closures at once could change
    /// places. `None` once it is closed.
    output: Arc<Mutex<Option<Output>>>,
}

/// The error of a closure that never ran.
pub(super) fn shutting_down() -> io::Error {
    io::Error::other("the runtime is shutting down")
}

impl Sink for SpawnBlocking {
    async fn open(spec: OutputSpec, spawner: &Spawner) -> Result<(SpawnBlocking, OpenedOutput), SinkError> {
        let output = open_off_loop(&spec, spawner).await?;
        let opened = output.opened().clone();
        let output = Arc::new(Mutex::new(Some(output)));
        Ok((SpawnBlocking { spec, spawner: spawner.clone(), output }, opened))
    }

    async fn write(&self, lines: LineBatch) -> Result<(), SinkError> {
        let mut output = Arc::clone(&self.output).lock_owned().await;
        let written = self.spawner.spawn_blocking(move || output.as_mut().map(|output| output.write(&lines))).await;
        written.ok().flatten().unwrap_or_else(|| Err(self.spec.failed("write to", shutting_down())))
    }

    async fn close(self) -> Result<(), SinkError> {
        // The lock waits for the closure that is at work.
        match self.output.lock().await.take() {
            Some(output) => close_off_loop(&self.spec, &self.spawner, output).await,
            None => Ok(()),
        }
    }
}

/// Opens the output on the blocking pool.
pub(super) async fn open_off_loop(spec: &OutputSpec, spawner: &Spawner) -> Result<Output, SinkError> {
    let opening = spec.clone();
    let opened = spawner.spawn_blocking(move || Output::open(opening)).await;
    opened.unwrap_or_else(|_| Err(spec.failed("open", shutting_down())))
}

/// Closes the output on the blocking pool.
pub(super) async fn close_off_loop(spec: &OutputSpec, spawner: &Spawner, output: Output) -> Result<(), SinkError> {
    let closed = spawner.spawn_blocking(move || output.close()).await;
    closed.unwrap_or_else(|_| Err(spec.failed("close", shutting_down())))
}
