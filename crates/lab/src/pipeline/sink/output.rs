//! The output file, and what every mode keeps of it: its first error, how far it is complete, how many lines are not synced.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::{LineBatch, SinkError};

/// What to do with an output that already exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Refuse.
    Refuse,
    /// Write after what is there.
    Append,
    /// Discard what is there.
    Overwrite,
    /// Write to it: it is a FIFO, made for this merge.
    Fifo,
}

/// The output as the user asks for it.
#[derive(Debug, Clone)]
pub struct OutputSpec {
    /// The file.
    pub path: PathBuf,
    /// What to do if it exists.
    pub existing: Existing,
    /// Sync it to the disk after so many lines, before the write of the last of them returns, and at the end; 0: never.
    pub sync_every: u64,
    /// Sync it with the first write so long after lines were written, even one of no lines, and at the end; `None`: not by time.
    pub sync_within: Option<Duration>,
}

/// The file that was opened, so that a confirmation reads the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedOutput {
    /// Its path.
    pub path: PathBuf,
    /// Its device.
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
    /// Its length when it was opened: where this merge's part begins.
    pub start: u64,
}

/// An open output.
#[derive(Debug)]
pub(super) struct Output<F = File> {
    pub(super) file: F,
    opened: OpenedOutput,
    spec: OutputSpec,
    /// The byte up to which it is complete.
    good_to: u64,
    /// The number of lines since the last sync.
    unsynced: u64,
    /// When the first of them was written.
    unsynced_since: Option<Instant>,
    /// The first error; the output takes nothing after it.
    error: Option<SinkError>,
}

impl OutputSpec {
    /// An error from before anything was written.
    pub(super) fn failed(&self, operation: &'static str, error: io::Error) -> SinkError {
        SinkError { operation, path: self.path.clone(), good_to: None, error: Arc::new(error) }
    }
}

/// The reason to refuse an existing output that neither `--append` nor `--force` takes: what it is, not that it exists.
fn as_found(path: &Path, error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::AlreadyExists {
        return error;
    }
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => Errno::ISDIR.into(),
        Ok(metadata) if metadata.is_symlink() => Errno::LOOP.into(),
        _ => error,
    }
}

impl Output {
    /// Opens the output; never follows a symbolic link. Blocking.
    pub(super) fn open(spec: OutputSpec) -> Result<Output, SinkError> {
        let mut options = OpenOptions::new();
        options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
        match spec.existing {
            Existing::Refuse => options.write(true).create_new(true),
            Existing::Append => options.append(true).create(true),
            Existing::Overwrite => options.write(true).create(true).truncate(true),
            Existing::Fifo => options.write(true),
        };
        let file = options.open(&spec.path).map_err(|error| {
            let operation = if spec.existing == Existing::Refuse { "create" } else { "open" };
            spec.failed(operation, if spec.existing == Existing::Refuse { as_found(&spec.path, error) } else { error })
        })?;
        let metadata = file.metadata().map_err(|error| spec.failed("look at", error))?;
        let start = if spec.existing == Existing::Append { metadata.len() } else { 0 };
        let opened = OpenedOutput { path: spec.path.clone(), dev: metadata.dev(), ino: metadata.ino(), start };
        Ok(Output { file, opened, spec, good_to: start, unsynced: 0, unsynced_since: None, error: None })
    }

    /// Makes a blocking call on the file, unless an earlier one failed. The caller has the call itself in a closure, so that a
    /// blocked thread's stack names the mode. Without the inlining, the compiler could merge the modes' equal calls into one
    /// function with the line of one of them.
    #[inline(always)]
    pub(super) fn attempt(
        &mut self,
        operation: &'static str,
        call: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), SinkError> {
        self.usable()?;
        let result = call(&mut self.file);
        self.keep(operation, result)
    }

    /// Writes lines, and syncs them if that is due. Blocking, so not for a loop's thread.
    pub(super) fn write(&mut self, lines: &LineBatch) -> Result<(), SinkError> {
        self.attempt("write to", |file| file.write_all(&lines.bytes))?;
        if self.is_sync_due(lines) {
            self.attempt("sync", |file| file.sync_all())?;
        }
        Ok(())
    }

    /// Syncs the rest if syncs were asked for, and closes the output. Returns its first error, if any. Blocking.
    pub(super) fn close(mut self) -> Result<(), SinkError> {
        if self.is_to_be_synced() {
            // An error, if any, is kept.
            let _ = self.attempt("sync", |file| file.sync_all());
        }
        // A drop would hide an error that a remote file system reports only now.
        let closed = nix::unistd::close(self.file).map_err(io::Error::from);
        let first = self.error.map_or(Ok(()), Err);
        first.and(closed.map_err(|error| failed_at(&self.spec, self.good_to, "close", error)))
    }
}

fn failed_at(spec: &OutputSpec, good_to: u64, operation: &'static str, error: io::Error) -> SinkError {
    SinkError { good_to: Some(good_to), ..spec.failed(operation, error) }
}

impl<F> Output<F> {
    pub(super) fn opened(&self) -> &OpenedOutput {
        &self.opened
    }

    /// The same output with another handle.
    pub(super) fn with<G>(self, file: G) -> Output<G> {
        let Output { opened, spec, good_to, unsynced, unsynced_since, error, .. } = self;
        Output { file, opened, spec, good_to, unsynced, unsynced_since, error }
    }

    /// The handle, and everything else.
    pub(super) fn split(self) -> (F, Output<()>) {
        let Output { file, opened, spec, good_to, unsynced, unsynced_since, error } = self;
        (file, Output { file: (), opened, spec, good_to, unsynced, unsynced_since, error })
    }

    /// The first error, if any: nothing is written after it.
    pub(super) fn usable(&self) -> Result<(), SinkError> {
        self.error.clone().map_or(Ok(()), Err)
    }

    /// Takes the result of a call on the output, and keeps its error.
    pub(super) fn keep(&mut self, operation: &'static str, result: io::Result<()>) -> Result<(), SinkError> {
        let result = result.map_err(|error| failed_at(&self.spec, self.good_to, operation, error));
        self.error = result.as_ref().err().cloned();
        result
    }

    /// Counts lines that were written; returns whether a sync is due now.
    pub(super) fn is_sync_due(&mut self, written: &LineBatch) -> bool {
        self.good_to += written.bytes.len() as u64;
        self.unsynced += written.count;
        if written.count > 0 && self.spec.sync_within.is_some() {
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
        let is_late = self.spec.sync_within.zip(self.unsynced_since).is_some_and(|(within, at)| at.elapsed() >= within);
        let is_enough = self.spec.sync_every > 0 && self.unsynced >= self.spec.sync_every;
        let is_due = self.is_to_be_synced() && (is_enough || is_late);
        if is_due {
            (self.unsynced, self.unsynced_since) = (0, None);
        }
        is_due
    }

    /// Whether lines need a sync before the output is closed.
    pub(super) fn is_to_be_synced(&self) -> bool {
        (self.spec.sync_every > 0 || self.spec.sync_within.is_some()) && self.unsynced > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_synced_after_so_many_lines() {
        let folder = tempfile::tempdir().unwrap();
        for (sync_every, expected) in
            [(0, [false; 5]), (1, [true; 5]), (2, [false, true, false, true, false]), (6, [false; 5])]
        {
            let path = folder.path().join(sync_every.to_string());
            let mut output =
                Output::open(OutputSpec { path, existing: Existing::Refuse, sync_every, sync_within: None }).unwrap();
            assert_eq!(
                expected,
                std::array::from_fn(|_| output.is_sync_due(&LineBatch::one(b"a\n".to_vec()))),
                "every {sync_every}"
            );
            output.close().unwrap();
        }
    }

    #[test]
    fn it_is_synced_by_time_if_there_is_something_to_sync() {
        let folder = tempfile::tempdir().unwrap();
        let spec = |within| OutputSpec {
            path: folder.path().join("out"),
            existing: Existing::Overwrite,
            sync_every: 0,
            sync_within: Some(within),
        };
        let nothing = || LineBatch { bytes: Vec::new(), count: 0 };
        let mut output = Output::open(spec(Duration::ZERO)).unwrap();
        assert!(!output.is_sync_due(&nothing()));
        assert!(output.is_sync_due(&LineBatch::one(b"a\n".to_vec())));
        assert!(!output.is_sync_due(&nothing()), "all is synced");
        let mut output = Output::open(spec(Duration::MAX)).unwrap();
        assert!(!output.is_sync_due(&LineBatch::one(b"a\n".to_vec())));
        assert!(!output.is_sync_due(&nothing()));
        assert!(output.is_to_be_synced(), "at the end");
    }

    #[test]
    fn what_cannot_be_synced_at_the_end_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        let _reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut output =
            Output::open(OutputSpec { path, existing: Existing::Fifo, sync_every: 2, sync_within: None }).unwrap();
        assert!(!output.is_sync_due(&LineBatch::one(b"a\n".to_vec())));
        assert_eq!(output.close().unwrap_err().operation, "sync");
    }
}
