//! Tokio-fs: a file of `tokio::fs`. Such a file accepts a write before it makes it, and returns an error at the next operation. So
//! this flushes every write before it counts.

use std::io;

use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;

use super::output::{OpenedOutput, Output, OutputSpec};
use super::spawn_blocking::{close_off_loop, open_off_loop};
use super::{LineBatch, Sink, SinkError};
use crate::spawner::Spawner;

/// The output of this mode.
#[derive(Debug)]
pub(crate) struct TokioFs {
    spec: OutputSpec,
    spawner: Spawner,
    written: Mutex<AsyncOutput>,
}

#[derive(Debug)]
struct AsyncOutput {
    output: Output<File>,
    /// A write has begun and not ended. If the next write sees that, the one before was cancelled, perhaps within a line.
    is_open: bool,
}

impl Sink for TokioFs {
    async fn open(spec: OutputSpec, spawner: &Spawner) -> Result<(TokioFs, OpenedOutput), SinkError> {
        let output = open_off_loop(&spec, spawner).await?;
        let opened = output.opened().clone();
        let (file, rest) = output.split();
        let written = Mutex::new(AsyncOutput { output: rest.with(File::from_std(file)), is_open: false });
        Ok((TokioFs { spec, spawner: spawner.clone(), written }, opened))
    }

    async fn write(&self, lines: LineBatch) -> Result<(), SinkError> {
        let mut written = self.written.lock().await;
        let AsyncOutput { output, is_open } = &mut *written;
        output.usable()?;
        if std::mem::replace(is_open, true) {
            let cancelled = io::Error::other("a write was cancelled, and its lines may be there in part");
            return output.keep("go on with", Err(cancelled));
        }
        let mut result = output.file.write_all(&lines.bytes).await;
        if result.is_ok() {
            result = output.file.flush().await;
        }
        output.keep("write to", result)?;
        if output.is_sync_due(&lines) {
            let synced = output.file.sync_all().await;
            output.keep("sync", synced)?;
        }
        *is_open = false;
        Ok(())
    }

    async fn close(self) -> Result<(), SinkError> {
        let TokioFs { spec, spawner, written } = self;
        let AsyncOutput { mut output, is_open } = written.into_inner();
        if is_open && output.usable().is_ok() {
            // The rest of a cancelled write; an error, if any, is kept.
            let flushed = output.file.flush().await;
            let _ = output.keep("write to", flushed);
        }
        let (file, rest) = output.split();
        let file = file.into_std().await;
        close_off_loop(&spec, &spawner, rest.with(file)).await
    }
}
