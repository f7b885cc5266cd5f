//! The files, read again: only if they are still the ones that the merge used.

use std::fmt::Display;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Take};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::lines::{Key, Line, Lines, Place};
use super::{InputEvidence, OutputEvidence};
use crate::escape::escape_path;

/// Why nothing can be said: the evidence is not what it was, or cannot be read.
pub(super) struct Changed(pub(super) String);

impl Changed {
    pub(super) fn new(path: &Path, cause: impl Display) -> Changed {
        Changed(format!("cannot confirm the merge with `{}`: {cause}", escape_path(path)))
    }
}

/// Calls `each` with every line of an input and its bytes (`None` for a line too long to keep), until it breaks.
pub(super) fn read_input(
    input: &InputEvidence,
    key: &Key,
    mut each: impl FnMut(Line, Option<&[u8]>) -> ControlFlow<()>,
) -> Result<(), Changed> {
    let changed = |cause: String| Changed::new(&input.path, cause);
    let (file, _) = open_same(&input.path, input.dev, input.ino).map_err(changed)?;
    let mut lines = Lines::new(file.take(input.len));
    let mut unterminated = false;
    while let Some(line) = lines.next(key).map_err(|e| changed(e.to_string()))? {
        unterminated = !line.terminated;
        if each(line, lines.bytes()).is_break() {
            return Ok(());
        }
    }
    let len = lines.place().byte;
    if len < input.len {
        return Err(changed(format!("it has shrunk from {} to {len} bytes since it was merged", input.len)));
    }
    if unterminated != input.unterminated {
        return Err(changed("it was rewritten since it was merged: its last line ends differently".to_owned()));
    }
    Ok(())
}

/// The output, open.
pub(super) struct Opened<'a> {
    evidence: &'a OutputEvidence,
    file: File,
    metadata: Metadata,
    /// Whether the byte before this merge's part is something else than a newline.
    pub(super) begins_within_a_line: bool,
}

impl Opened<'_> {
    pub(super) fn new(output: &OutputEvidence) -> Result<Opened<'_>, Changed> {
        let changed = |cause: String| Changed::new(&output.path, cause);
        let (file, metadata) = open_same(&output.path, output.dev, output.ino).map_err(changed)?;
        if metadata.len() < output.start {
            let lengths = format!("from {} to {} bytes", output.start, metadata.len());
            return Err(changed(format!("it has shrunk {lengths} since the merge began")));
        }
        let mut before = [b'\n'];
        if let Some(last) = output.start.checked_sub(1) {
            file.read_exact_at(&mut before, last).map_err(|e| changed(e.to_string()))?;
        }
        Ok(Opened { evidence: output, file, metadata, begins_within_a_line: before != *b"\n" })
    }

    pub(super) fn changed(&self, cause: impl Display) -> Changed {
        Changed::new(&self.evidence.path, cause)
    }

    pub(super) fn path(&self) -> &Path {
        &self.evidence.path
    }

    /// The lines of this merge's part. They are numbered from its beginning; see [`Opened::lines_before`].
    pub(super) fn lines(&self) -> Result<Lines<Take<&File>>, Changed> {
        let start = self.evidence.start;
        let part = self.section(start, self.metadata.len() - start).map_err(|e| self.changed(e))?;
        Ok(Lines::starting_at(Place { line: 1, byte: start }, part))
    }

    /// How many newlines stand before this merge's part: what its line numbers lack to be the file's.
    pub(super) fn lines_before(&self) -> Result<u64, Changed> {
        let count = || -> io::Result<u64> {
            let mut part = BufReader::new(self.section(0, self.evidence.start)?);
            let mut lines: u64 = 0;
            while part.skip_until(b'\n')? > 0 {
                lines += 1;
            }
            Ok(lines.saturating_sub(self.begins_within_a_line.into()))
        };
        count().map_err(|e| self.changed(e))
    }

    /// That nobody wrote to the output, or put another file in its place, while it was read.
    pub(super) fn unchanged(&self) -> Result<(), Changed> {
        let now = fs::metadata(&self.evidence.path).map_err(|e| self.changed(e))?;
        let state = |m: &Metadata| (m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec());
        if state(&now) != state(&self.metadata) {
            return Err(self.changed("it was changed while it was checked"));
        }
        Ok(())
    }

    fn section(&self, start: u64, len: u64) -> io::Result<Take<&File>> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(start))?;
        Ok(file.take(len))
    }
}

/// Opens a regular file, if it is still the one with that inode.
fn open_same(path: &PathBuf, dev: u64, ino: u64) -> Result<(File, Metadata), String> {
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
