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
    /// Whether every line is synced to the disk before its write is answered.
    pub sync_lines: bool,
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
        Ok(Output { file, opened, spec, error: None })
    }

    pub(super) fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Whether every line is to be synced.
    pub(super) fn syncs_lines(&self) -> bool {
        self.spec.sync_lines
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

    /// Closes the output. The first error that it had, if any. Blocking.
    pub(super) fn close(self) -> Result<(), SinkError> {
        drop(self.file);
        self.error.map_or(Ok(()), Err)
    }
}
