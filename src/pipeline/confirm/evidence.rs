//! The files, read again: only if they are still the ones that the merge used.

use std::fmt::Display;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Take};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use super::lines::{Key, Line, Lines, Place};
use super::{InputEvidence, OutputEvidence, Part, PartFile};
use crate::escape::escape_path;

/// Why nothing can be said: the evidence is not what it was, or cannot be read.
pub(super) struct Changed(pub(super) String);

impl Changed {
    pub(super) fn new(path: &Path, cause: impl Display) -> Changed {
        Changed(format!("cannot confirm the merge with `{}`: {cause}", escape_path(path)))
    }
}

/// Calls `each` with every line of an input and its bytes (`None` for a line too long to keep), until it breaks. Lines are
/// numbered through all its parts; bytes are the part's file's.
pub(super) fn read_input(
    input: &InputEvidence,
    key: &Key,
    mut each: impl FnMut(Line, Option<&[u8]>) -> ControlFlow<()>,
) -> Result<(), Changed> {
    let mut number = 1;
    for part in &input.parts {
        let changed = |cause: String| Changed::new(&input.path, cause);
        let file = open_part(part).map_err(changed)?;
        let mut lines = Lines::starting_at(Place { line: number, byte: part.from }, Section::of(&file, part));
        let mut unterminated = false;
        while let Some(line) = lines.next(key).map_err(|e| changed(e.to_string()))? {
            unterminated = !line.terminated;
            if each(line, lines.bytes()).is_break() {
                return Ok(());
            }
        }
        let Place { line, byte } = lines.place();
        if byte < part.to {
            return Err(changed(format!("it has shrunk from {} to {byte} bytes since it was merged", part.to)));
        }
        if unterminated != part.unterminated {
            return Err(changed("it was rewritten since it was merged: its last line ends differently".to_owned()));
        }
        number = line;
    }
    Ok(())
}

fn open_part(part: &Part) -> Result<Arc<File>, String> {
    match &part.file {
        PartFile::Named(path) => Ok(Arc::new(open_same(path, part.dev, part.ino)?.0)),
        PartFile::Kept(file) => Ok(Arc::clone(file)),
        PartFile::Gone(why) => Err(why.clone()),
    }
}

/// A part's bytes, wherever the file's own position is.
struct Section<'a> {
    file: &'a File,
    at: u64,
    to: u64,
}

impl Section<'_> {
    fn of<'a>(file: &'a File, part: &Part) -> Section<'a> {
        Section { file, at: part.from, to: part.to }
    }
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.to.saturating_sub(self.at)).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..left], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
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
