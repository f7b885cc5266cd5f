//! The outputs that take merged lines, one for each mode.

mod block_in_place;
mod naive;
mod offloaded;
mod output;
mod spawn_blocking;
#[cfg(test)]
mod tests;
mod tokio_fs;

use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

pub(crate) use block_in_place::BlockInPlace;
pub(crate) use naive::Naive;
pub(crate) use offloaded::Offloaded;
pub use output::{Existing, OpenedOutput, OutputSpec};
pub(crate) use spawn_blocking::SpawnBlocking;
pub(crate) use tokio_fs::TokioFs;

use crate::spawner::Spawner;
use pollscope_base::reason;
use pollscope_record::escape::escape_path;
use pollscope_record::units::format_count;

/// How the pipeline writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Blocking calls on the executor.
    Naive,
    /// A writer thread with its own event loop.
    Offloaded,
    /// Each write a closure on Tokio's blocking pool.
    SpawnBlocking,
    /// A file of `tokio::fs`, flushed after every write.
    TokioFs,
    /// Blocking calls on a worker that gave its other tasks away; only on the multi-thread scheduler.
    BlockInPlace,
}

impl Mode {
    /// Every mode, in the order in which reports show them.
    pub const ALL: [Mode; 5] = [Mode::Naive, Mode::Offloaded, Mode::SpawnBlocking, Mode::TokioFs, Mode::BlockInPlace];

    /// The mode's name on the command line, in scenarios and in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Naive => "naive",
            Mode::Offloaded => "offloaded",
            Mode::SpawnBlocking => "spawn-blocking",
            Mode::TokioFs => "tokio-fs",
            Mode::BlockInPlace => "block-in-place",
        }
    }

    /// The mode of that name.
    pub fn from_name(name: &str) -> Option<Mode> {
        Mode::ALL.into_iter().find(|mode| mode.as_str() == name)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whole lines of one input, newlines included.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LineBatch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: u64,
}

impl LineBatch {
    pub(crate) fn one(bytes: Vec<u8>) -> LineBatch {
        LineBatch { bytes, count: 1 }
    }
}

/// An output that takes lines, whole and in order; one write is in flight at a time.
pub(crate) trait Sink: Send + Sync + Sized + 'static {
    /// Opens the output. `spawner` starts what works for it beside the loop.
    fn open(
        spec: OutputSpec,
        spawner: &Spawner,
    ) -> impl Future<Output = Result<(Self, OpenedOutput), SinkError>> + Send;

    /// Writes lines. When it returns without an error, the kernel has them all.
    /// After an error every further write fails with the same error.
    fn write(&self, lines: LineBatch) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// Writes everything that was accepted, and closes the output. Returns the output's first error, if any.
    fn close(self) -> impl Future<Output = Result<(), SinkError>> + Send;
}

/// Why the output cannot take a line.
#[derive(Debug, Clone)]
pub struct SinkError {
    /// What was tried.
    pub operation: &'static str,
    /// The output.
    pub path: PathBuf,
    /// The byte up to which the output is complete; `None` if nothing was written yet.
    pub good_to: Option<u64>,
    /// What the kernel said.
    pub error: Arc<io::Error>,
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} output `{}`: {}", self.operation, escape_path(&self.path), reason(&self.error))?;
        if let Some(bytes) = self.good_to {
            write!(f, " (it is good up to byte {})", format_count(bytes))?;
        }
        match self.error.kind() {
            io::ErrorKind::AlreadyExists => {
                f.write_str("; name another one, or pass --append to add to it or --force to overwrite it")
            }
            io::ErrorKind::NotFound => f.write_str("; make its folder first"),
            io::ErrorKind::IsADirectory => f.write_str("; name a file in it"),
            io::ErrorKind::PermissionDenied => f.write_str("; write elsewhere, or make it writable for this user"),
            io::ErrorKind::FileTooLarge => f.write_str("; raise the limit (`ulimit -f`), or write elsewhere"),
            io::ErrorKind::StorageFull => f.write_str("; free some space, or write elsewhere"),
            _ if self.error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                f.write_str("; it is a symbolic link, which is never followed: name the file itself")
            }
            io::ErrorKind::NotADirectory => f.write_str("; name a file in a folder"),
            _ => f.write_str("; write elsewhere"),
        }
    }
}

impl std::error::Error for SinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.error)
    }
}
