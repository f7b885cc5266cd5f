//! Block-in-place: blocking calls on a worker of the multi-thread scheduler, after its other tasks went to another thread.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use tokio::task::block_in_place;

use super::output::{OpenedOutput, Output, OutputSpec};
use super::{LineBatch, Sink, SinkError};
use crate::spawner::Spawner;

/// The output of this mode. On a current-thread runtime every call panics.
#[derive(Debug)]
pub(crate) struct BlockInPlace(Mutex<Output>);

impl Sink for BlockInPlace {
    async fn open(spec: OutputSpec, _: &Spawner) -> Result<(BlockInPlace, OpenedOutput), SinkError> {
        let output = block_in_place(|| Output::open(spec))?;
        let opened = output.opened().clone();
        Ok((BlockInPlace(Mutex::new(output)), opened))
    }

    async fn write(&self, lines: LineBatch) -> Result<(), SinkError> {
        block_in_place(|| {
            // Waiting for another worker's write blocks as well.
            let mut output = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            output.attempt("write to", |file| file.write_all(&lines.bytes))?;
            if output.is_sync_due(&lines) {
                output.attempt("sync", |file| file.sync_all())?;
            }
            Ok(())
        })
    }

    async fn close(self) -> Result<(), SinkError> {
        block_in_place(|| self.0.into_inner().unwrap_or_else(PoisonError::into_inner).close())
    }
}
