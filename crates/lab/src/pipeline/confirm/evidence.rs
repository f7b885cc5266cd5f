//! What a merge kept of its files, to read them again: only if they are still the ones that it used.

use std::fmt::Display;
use std::fs::{self, File, Metadata, OpenOptions};
use std::num::NonZeroUsize;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use pollscope_record::message::Message;

/// What the merge read of one input.
#[derive(Debug, Clone)]
pub struct InputEvidence {
    /// The input, as it was named.
    pub path: PathBuf,
    /// What was merged of it, in that order: one part, unless other files took the input's place while it was followed. Every
    /// part ends with a whole line.
    pub parts: Vec<Part>,
}

/// Lines of one file.
#[derive(Debug, Clone)]
pub struct Part {
    /// How to read them again.
    pub file: PartFile,
    /// The device that the file was on.
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
    /// Where the lines begin, in bytes.
    pub from: u64,
    /// Where they end. What was appended later is not looked at.
    pub to: u64,
    /// Whether the last line had no newline; it was delivered with one.
    pub unterminated: bool,
}

/// Where a part of an input can be read again.
#[derive(Debug, Clone)]
pub enum PartFile {
    /// By this name, if it is still the file with that device and inode.
    Named(PathBuf),
    /// It was kept open, as its name is another file's now.
    Kept(Arc<File>),
    /// Nowhere, and why: "it was cut to 10 bytes".
    Gone(String),
}

impl InputEvidence {
    /// An input that was one file all the time, read from its beginning.
    pub fn whole(path: PathBuf, len: u64, dev: u64, ino: u64, unterminated: bool) -> InputEvidence {
        let part = Part { file: PartFile::Named(path.clone()), dev, ino, from: 0, to: len, unterminated };
        InputEvidence { path, parts: vec![part] }
    }

    /// How many bytes were merged of it.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(part.to.saturating_sub(part.from)))
    }

    pub(super) fn unterminated(&self) -> u64 {
        self.parts.iter().filter(|part| part.unterminated).count() as u64
    }
}

/// What the merge wrote to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputEvidence {
    /// Where it is.
    pub path: PathBuf,
    /// Where this merge's part begins: 0, or the length that the file had when it was opened to append.
    pub start: u64,
    /// The device that it was on.
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
}

/// How lines were delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfirmSettings {
    /// The most bytes of a line; a longer one was delivered in pieces.
    pub max_line: Option<NonZeroUsize>,
    /// Whether each line of the output begins with its input's tag and a tab.
    pub tags: bool,
}

/// Why nothing can be said: the evidence is not what it was, or cannot be read.
#[derive(Debug)]
pub(super) struct EvidenceError(pub(super) Message);

impl EvidenceError {
    /// Of a cause that names no path.
    pub(super) fn new(path: &Path, cause: impl Display) -> EvidenceError {
        EvidenceError::because(path, &Message::text(cause.to_string()))
    }

    pub(super) fn because(path: &Path, cause: &Message) -> EvidenceError {
        EvidenceError(Message::text("cannot confirm the merge with ").and_path(path).and_text(": ").and(cause))
    }
}

/// Opens a regular file, if it is still the one with that inode.
pub(super) fn open_same(path: &PathBuf, dev: u64, ino: u64) -> Result<(File, Metadata), String> {
    let check = |metadata: &Metadata| match metadata {
        m if !m.is_file() => Err("it is not a regular file, and cannot be read again".to_owned()),
        m if (m.dev(), m.ino()) != (dev, ino) => Err("another file has taken its place since the merge".to_owned()),
        _ => Ok(()),
    };
    // Asked twice: opening a FIFO would show its writer a reader, and what was asked about may be gone at the open.
    check(&fs::metadata(path).map_err(|e| e.to_string())?)?;
    let nonblock = OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(nonblock).open(path).map_err(|e| e.to_string())?;
    let metadata = file.metadata().map_err(|e| e.to_string())?;
    check(&metadata)?;
    Ok((file, metadata))
}
