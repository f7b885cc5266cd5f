//! Io-uring: a file of `tokio::fs` on a runtime that may use io_uring. Tokio 1.54 opens by the ring, and also reads, renames and
//! stats; an open file it writes, syncs and closes on its blocking pool, as without a ring. Its one write by the ring,
//! `tokio::fs::write`, opens a path, cuts the file off and begins at its start, so that nothing can be added by it.

use tokio::fs::OpenOptions;

use super::output::{Existing, Opened, Output, OutputSpec, as_specified};
use super::spawn_blocking::shutting_down;
use super::{Lines, Sink, SinkError, TokioFs};
use crate::tasks::Tasks;

/// The output, opened by the runtime's ring, where it has one, and written by `tokio::fs`.
#[derive(Debug)]
pub struct IoUring(TokioFs);

impl Sink for IoUring {
    async fn open(spec: OutputSpec, tasks: &Tasks) -> Result<(IoUring, Opened), SinkError> {
        let mut options = OpenOptions::new();
        as_specified!(options, spec.existing);
        let opened = match options.open(&spec.path).await {
            // Nothing is in flight yet: it waits for nothing.
            Ok(file) => Ok(file.into_std().await),
            Err(error) => Err(error),
        };
        let opening = spec.clone();
        let output = tasks.spawn_blocking(move || Output::opened_as(opening, opened)).await;
        let output = output.unwrap_or_else(|_| Err(spec.failed("open", shutting_down())))?;
        let (written, opened) = TokioFs::around(output, spec, tasks);
        Ok((IoUring(written), opened))
    }

    async fn write(&self, lines: Lines) -> Result<(), SinkError> {
        self.0.write(lines).await
    }

    async fn close(self) -> Result<(), SinkError> {
        self.0.close().await
    }
}
