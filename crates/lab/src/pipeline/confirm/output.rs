//! Reads the output again, and says what is wrong with its lines.

use std::collections::HashMap;
use std::fmt::Display;
use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::evidence::{EvidenceError, OutputEvidence, open_same};
use super::lines::{Attribution, Framing, HashKey, Line, LineEnd, LineOrigin, LineReader, Place};

const PORTION: usize = 256 << 10;

/// What is wrong with a line of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    /// It is glued to what the file had before this merge.
    Glued,
    /// It is the last line, and has no newline.
    Unterminated,
    Duplicated,
    /// It is no line of any input.
    Foreign,
}

/// The output, open.
pub(super) struct MergedFile<'a> {
    evidence: &'a OutputEvidence,
    file: File,
    metadata: Metadata,
    /// Whether the byte before this merge's part is not a newline.
    begins_within_a_line: bool,
}

impl MergedFile<'_> {
    pub(super) fn new(output: &OutputEvidence) -> Result<MergedFile<'_>, EvidenceError> {
        let changed = |cause: String| EvidenceError::new(&output.path, cause);
        let (file, metadata) = open_same(&output.path, output.dev, output.ino).map_err(changed)?;
        if metadata.len() < output.start {
            let lengths = format!("from {} to {} bytes", output.start, metadata.len());
            return Err(changed(format!("it has shrunk {lengths} since the merge began")));
        }
        let mut before = [b'\n'];
        if let Some(last) = output.start.checked_sub(1) {
            file.read_exact_at(&mut before, last).map_err(|e| changed(e.to_string()))?;
        }
        Ok(MergedFile { evidence: output, file, metadata, begins_within_a_line: before != *b"\n" })
    }

    pub(super) fn changed(&self, cause: impl Display) -> EvidenceError {
        EvidenceError::new(&self.evidence.path, cause)
    }

    pub(super) fn path(&self) -> &Path {
        &self.evidence.path
    }

    /// Calls `each` with every line of this merge's part, its damage if it is cut, and its bytes (`None` for a line too long to
    /// keep). Lines are numbered from the part's beginning; see [`MergedFile::lines_before`].
    pub(super) fn each_line(
        &self,
        key: &HashKey,
        tags: Option<&HashMap<Vec<u8>, LineOrigin>>,
        mut each: impl FnMut(Line, Option<Damage>, Option<&[u8]>) -> Result<(), EvidenceError>,
    ) -> Result<(), EvidenceError> {
        let framing = Framing {
            key,
            most: None,
            attribution: tags.map_or(Attribution::One(LineOrigin::ANYBODY), Attribution::Tag),
        };
        let mut offset = self.evidence.start;
        let portion = usize::try_from(self.metadata.len() - offset).unwrap_or(PORTION).clamp(1, PORTION);
        let mut lines = LineReader::starting_at(Place { line: 1, byte: offset }, portion);
        let mut block = Vec::new();
        let mut glued = self.begins_within_a_line;
        while let Some(line) = lines.next(&framing, &mut block, |buffer| self.read(buffer, &mut offset))? {
            let cut = match (std::mem::take(&mut glued), line.end) {
                (true, _) => Some(Damage::Glued),
                (false, LineEnd::Newline) => None,
                (false, _) => Some(Damage::Unterminated),
            };
            each(line, cut, lines.bytes(&block))?;
        }
        Ok(())
    }

    fn read(&self, buffer: &mut [u8], offset: &mut u64) -> Result<usize, EvidenceError> {
        let left = self.metadata.len().saturating_sub(*offset);
        let left = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        loop {
            match self.file.read_at(&mut buffer[..left], *offset) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.changed(error)),
                Ok(read) => {
                    *offset += read as u64;
                    return Ok(read);
                }
            }
        }
    }

    /// The number of lines before this merge's part: the difference between the file's line numbers and the part's.
    pub(super) fn lines_before(&self) -> Result<u64, EvidenceError> {
        let count = || -> io::Result<u64> {
            let mut file = &self.file;
            file.seek(SeekFrom::Start(0))?;
            let mut part = BufReader::new(file.take(self.evidence.start));
            let mut lines: u64 = 0;
            while part.skip_until(b'\n')? > 0 {
                lines += 1;
            }
            Ok(lines.saturating_sub(self.begins_within_a_line.into()))
        };
        count().map_err(|e| self.changed(e))
    }

    /// Checks that nobody wrote to the output or gave its name to another file while it was read.
    pub(super) fn unchanged(&self) -> Result<(), EvidenceError> {
        let now = fs::metadata(&self.evidence.path).map_err(|e| self.changed(e))?;
        let state = |m: &Metadata| (m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec());
        if state(&now) != state(&self.metadata) {
            return Err(self.changed("it changed while it was checked"));
        }
        Ok(())
    }
}
