//! The output file itself: blocking calls, whichever thread makes them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::SinkError;

/// What to do with an output that exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Refuse.
    Refuse,
    /// Write after what is there.
    Append,
    /// Discard what is there.
    Overwrite,
    /// It is a FIFO, made for this merge.
    Fifo,
}

/// Which file the lines go to, and how.
#[derive(Debug, Clone)]
pub struct OutputSpec {
    /// The file.
    pub path: PathBuf,
    /// What if it exists.
    pub existing: Existing,
    /// It is synced to the disk after so many writes, before the last of them is answered, and at the end; 0: never.
    pub sync_every: u64,
}

/// Which file was opened, so that the very same one is looked at later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Its path.
    pub path: PathBuf,
    /// Its device.
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
    /// Its length then: where this merge's part begins.
    pub start: u64,
}

/// An open output.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    opened: Opened,
    spec: OutputSpec,
    /// Writes since the last sync.
    unsynced: u64,
    /// The first error; the output takes nothing after it.
    error: Option<SinkError>,
}

impl OutputSpec {
    fn failed(&self, operation: &'static str, error: io::Error) -> SinkError {
        SinkError { operation, path: self.path.clone(), error: Arc::new(error) }
    }
}

/// Of an existing output that neither `--append` nor `--force` would take: what it is, rather than that it exists.
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
    /// Opens the output; a symbolic link is never followed. Blocking.
    pub(super) fn open(spec: OutputSpec) -> Result<Output, SinkError> {
        let mut options = OpenOptions::new();
        options.custom_flags(OFlags::NOFOLLOW.bits() as i32);
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
        let opened = Opened { path: spec.path.clone(), dev: metadata.dev(), ino: metadata.ino(), start };
        Ok(Output { file, opened, spec, unsynced: 0, error: None })
    }

    pub(super) fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Counts a write; whether it is the one after which the output is to be synced.
    pub(super) fn is_sync_due(&mut self) -> bool {
        self.unsynced += 1;
        let is_due = self.unsynced == self.spec.sync_every;
        if is_due {
            self.unsynced = 0;
        }
        is_due
    }

    /// Makes a blocking call on the file, unless an earlier one failed. The call itself is the caller's, so that a blocked
    /// thread's stack says which mode blocks. Were it not inlined, the compiler could make the modes' equal calls one function
    /// with the line of one of them.
    #[inline(always)]
    pub(super) fn attempt(
        &mut self,
        operation: &'static str,
        call: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), SinkError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let result = call(&mut self.file).map_err(|error| self.spec.failed(operation, error));
        self.error = result.as_ref().err().cloned();
        result
    }

    /// Syncs what was not synced, if it is to be, and closes the output. The first error that it had, if any. Blocking.
    pub(super) fn close(mut self) -> Result<(), SinkError> {
        if self.spec.sync_every > 0 && self.unsynced > 0 {
            // The error, if any, is kept.
            let _ = self.attempt("sync", |file| file.sync_data());
        }
        drop(self.file);
        self.error.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_synced_after_so_many_writes() {
        let folder = tempfile::tempdir().unwrap();
        for (sync_every, expected) in
            [(0, [false; 5]), (1, [true; 5]), (2, [false, true, false, true, false]), (6, [false; 5])]
        {
            let path = folder.path().join(sync_every.to_string());
            let mut output = Output::open(OutputSpec { path, existing: Existing::Refuse, sync_every }).unwrap();
            assert_eq!(expected, std::array::from_fn(|_| output.is_sync_due()), "every {sync_every}");
            output.close().unwrap();
        }
    }

    #[test]
    fn what_cannot_be_synced_at_the_end_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        let _reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut output = Output::open(OutputSpec { path, existing: Existing::Fifo, sync_every: 2 }).unwrap();
        assert!(!output.is_sync_due());
        assert_eq!(output.close().unwrap_err().operation, "sync");
    }
}
