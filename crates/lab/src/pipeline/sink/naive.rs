//! Naive: ordinary blocking calls in an async function. Each is a system call that can block, and while it blocks, no
//! other task of the thread runs. The other modes are compared with this one.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use super::output::{OpenedOutput, Output, OutputSpec};
use super::{LineBatch, Sink, SinkError};
use crate::spawner::Spawner;

/// The output of this mode, written on the executor.
#[derive(Debug)]
pub(crate) struct Naive(Mutex<Output>);

impl Sink for Naive {
    async fn open(spec: OutputSpec, _spawner: &Spawner) -> Result<(Naive, OpenedOutput), SinkError> {
        let output = Output::open(spec)?;
        let opened = output.opened().clone();
        Ok((Naive(Mutex::new(output)), opened))
    }

    async fn write(&self, lines: LineBatch) -> Result<(), SinkError> {
        // Held for the whole write, so that two workers cannot mix their lines. This mode blocks while it holds the lock on purpose.
        let mut output = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        output.attempt("write to", |file| file.write_all(&lines.bytes))?;
        if output.is_sync_due(&lines) {
            output.attempt("sync", |file| file.sync_all())?;
        }
        Ok(())
    }

    async fn close(self) -> Result<(), SinkError> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).close()
    }
}
