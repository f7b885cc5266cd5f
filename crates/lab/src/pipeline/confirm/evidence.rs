//! The evidence of a merge: what it needs to read its files again, if they are still the same files.

use std::fmt::Display;
use std::fs::{self, File, Metadata, OpenOptions};
use std::num::NonZeroUsize;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::pipeline::checksum::Checksum;
use pollscope_record::message::Message;

/// The evidence of one input.
#[derive(Debug, Clone)]
pub struct InputEvidence {
    /// The input's path, as given.
    pub path: PathBuf,
    /// What was merged of it, in that order: one part, unless other files took its name while it was followed. Every part ends
    /// with a complete line.
    pub parts: Vec<Part>,
}

/// The lines of one file.
#[derive(Debug, Clone)]
pub struct Part {
    /// Where to read them again.
    pub file: PartFile,
    /// The file's device.
    pub dev: u64,
    /// The file's inode.
    pub ino: u64,
    /// The byte at which the lines begin.
    pub from: u64,
    /// The byte at which they end. What was appended later does not matter.
    pub to: u64,
    /// Whether the last line has no newline; the merge delivered it with one.
    pub unterminated: bool,
    /// What the bytes were when they were read; `None` if nobody knows.
    pub checksum: Option<PartChecksum>,
}

/// A sum of the bytes of a part, as they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartChecksum(pub(in crate::pipeline) Checksum);

/// Where a part of an input can be read again.
#[derive(Debug, Clone)]
pub enum PartFile {
    /// By this name, if it still leads to the file with that device and inode.
    Named(PathBuf),
    /// In this open file, since its name is another file's now.
    Kept(Arc<File>),
    /// Nowhere, for this reason: "it was cut to 10 bytes".
    Gone(String),
}

impl InputEvidence {
    /// The evidence of an input that was one file all the time, read from its beginning.
    pub fn whole(path: PathBuf, len: u64, dev: u64, ino: u64, unterminated: bool) -> InputEvidence {
        let part =
            Part { file: PartFile::Named(path.clone()), dev, ino, from: 0, to: len, unterminated, checksum: None };
        InputEvidence { path, parts: vec![part] }
    }

    /// The number of bytes that were merged of it.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(part.to.saturating_sub(part.from)))
    }

    pub(super) fn unterminated(&self) -> u64 {
        self.parts.iter().filter(|part| part.unterminated).count() as u64
    }
}

/// The evidence of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputEvidence {
    /// The output's path.
    pub path: PathBuf,
    /// The byte at which this merge's part begins: 0, or the length that the file had when it was opened to append.
    pub start: u64,
    /// The output's device.
    pub dev: u64,
    /// The file's inode.
    pub ino: u64,
}

/// How the merge delivered lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfirmSettings {
    /// The most bytes of a line; the merge delivered a longer one in pieces.
    pub max_line: Option<NonZeroUsize>,
    /// Whether each line of the output begins with its input's tag and a tab.
    pub tags: bool,
}

/// Why a merge is unverifiable: the evidence has changed, or cannot be read.
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

/// Opens a regular file, if it still has that device and inode.
pub(super) fn open_same(path: &PathBuf, dev: u64, ino: u64) -> Result<(File, Metadata), String> {
    let check = |metadata: &Metadata| match metadata {
        m if !m.is_file() => Err("it is not a regular file, and cannot be read again".to_owned()),
        m if (m.dev(), m.ino()) != (dev, ino) => Err("another file has taken its name since the merge".to_owned()),
        _ => Ok(()),
    };
    // Checked twice: opening a FIFO shows its writer a reader, and another file can take the name before the open.
    check(&fs::metadata(path).map_err(|e| e.to_string())?)?;
    let nonblock = OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(nonblock).open(path).map_err(|e| e.to_string())?;
    let metadata = file.metadata().map_err(|e| e.to_string())?;
    check(&metadata)?;
    Ok((file, metadata))
}
