//! Reads the inputs' lines, of all inputs side by side or of one after another, with few files open and little of each in memory.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use pollscope_base::reason;

use super::evidence::{ConfirmSettings, EvidenceError, InputEvidence, Part, PartChecksum, PartFile, open_same};
use super::lines::{Attribution, Framing, HashKey, Line, LineEnd, LineOrigin, LineReader, Place};
use crate::pipeline::checksum::Checksum;
use crate::pipeline::planted::{Planted, is_planted};
use crate::pipeline::tag::tag;

/// The most bytes read ahead of all inputs together, unless there are very many, and of one input.
const AHEAD: usize = 16 << 20;
const PORTION: usize = 256 << 10;
const SMALLEST_PORTION: usize = 1 << 10;
/// The most files open at once, besides those that the merge kept open.
const OPEN: usize = 64;

/// The inputs, which can be read several times.
pub(super) struct Inputs<'a> {
    evidence: &'a [InputEvidence],
    key: &'a HashKey,
    how: &'a ConfirmSettings,
    files: OpenFiles,
    block: Vec<u8>,
}

impl<'a> Inputs<'a> {
    pub(super) fn new(evidence: &'a [InputEvidence], key: &'a HashKey, how: &'a ConfirmSettings) -> Inputs<'a> {
        Inputs { evidence, key, how, files: OpenFiles::default(), block: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.evidence.len()
    }

    /// The number of bytes that were merged of all inputs.
    pub(super) fn bytes(&self) -> u64 {
        self.evidence.iter().fold(0, |sum, input| sum.saturating_add(input.bytes()))
    }

    pub(super) fn evidence(&self, index: usize) -> &'a InputEvidence {
        &self.evidence[index]
    }

    /// A cursor at the beginning of each input; together they read ahead at most [`AHEAD`].
    pub(super) fn cursors(&self) -> Vec<Cursor> {
        let portion = (AHEAD / self.len().max(1)).clamp(SMALLEST_PORTION, PORTION);
        (0..self.len()).map(|index| self.cursor(index, portion)).collect()
    }

    fn cursor(&self, input: usize, portion: usize) -> Cursor {
        let evidence = self.evidence(input);
        let from = evidence.parts.first().map_or(0, |part| part.from);
        let portion = portion.min(usize::try_from(evidence.bytes()).unwrap_or(portion)).max(1);
        let lines = LineReader::starting_at(Place { line: 1, byte: from }, portion);
        Cursor { input, part: 0, offset: from, lines, unterminated: false, read: 0 }
    }

    /// The next line of an input; `None` at its end.
    pub(super) fn next(&mut self, cursor: &mut Cursor) -> Result<Option<Line>, EvidenceError> {
        let evidence = self.evidence(cursor.input);
        let changed = |cause: String| EvidenceError::new(&evidence.path, cause);
        let sender = if self.how.tags { LineOrigin::input(cursor.input) } else { LineOrigin::ANYBODY };
        let framing = Framing { key: self.key, most: self.how.max_line, attribution: Attribution::One(sender) };
        while let Some(part) = evidence.parts.get(cursor.part) {
            let Cursor { input, part: number, offset, lines, .. } = cursor;
            let refill = |buffer: &mut [u8]| {
                let left = usize::try_from(part.to.saturating_sub(*offset)).unwrap_or(usize::MAX).min(buffer.len());
                let read = if left == 0 {
                    0
                } else {
                    self.files.read((*input, *number), part, &mut buffer[..left], *offset)?
                };
                *offset += read as u64;
                Ok(read)
            };
            if let Some(line) = lines.next(&framing, &mut self.block, refill).map_err(changed)? {
                cursor.unterminated = line.end == LineEnd::NoNewline;
                cursor.read += 1;
                return Ok(Some(line));
            }
            let end = lines.place().byte;
            if end < part.to {
                return Err(changed(format!("it has shrunk from {} to {end} bytes since the merge", part.to)));
            }
            if cursor.unterminated != part.unterminated {
                return Err(changed("it was rewritten since the merge: its last line ends differently".to_owned()));
            }
            if part.from >= part.to {
                // Nothing was read of it, but it must exist.
                self.files.read((cursor.input, cursor.part), part, &mut [], 0).map_err(changed)?;
            }
            cursor.unterminated = false;
            cursor.part += 1;
            if let Some(next) = evidence.parts.get(cursor.part) {
                cursor.offset = next.from;
                cursor.lines.go_on_at(next.from);
            }
        }
        cursor.lines = LineReader::starting_at(cursor.lines.place(), 1);
        Ok(None)
    }

    /// Checks that files have the bytes that were read of them, where sums tell.
    pub(super) fn are_as_read(&mut self) -> Result<(), EvidenceError> {
        if is_planted(Planted::Hole) {
            return Ok(());
        }
        let mut buffer = vec![0; PORTION];
        for (input, evidence) in self.evidence.iter().enumerate() {
            for (number, part) in evidence.parts.iter().enumerate() {
                let Some(PartChecksum(expected)) = part.checksum else { continue };
                let (mut sum, mut at) = (Checksum::new(), part.from);
                while at < part.to {
                    let most = usize::try_from(part.to - at).unwrap_or(PORTION).min(PORTION);
                    let read = self.files.read((input, number), part, &mut buffer[..most], at);
                    let read = read.map_err(|cause| EvidenceError::new(&evidence.path, cause))?;
                    if read == 0 {
                        break;
                    }
                    sum.add(&buffer[..read]);
                    at += read as u64;
                }
                if sum != expected {
                    let what = format!("bytes {} to {} were changed in place after they were read", part.from, part.to);
                    return Err(EvidenceError::new(&evidence.path, what));
                }
            }
        }
        Ok(())
    }

    /// Calls `each` with the number and the line of every line of an input, until it breaks.
    pub(super) fn each_line(
        &mut self,
        input: usize,
        mut each: impl FnMut(u64, Line) -> ControlFlow<()>,
    ) -> Result<(), EvidenceError> {
        let mut cursor = self.cursor(input, PORTION);
        while let Some(line) = self.next(&mut cursor)? {
            if each(cursor.read - 1, line).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Calls `each` with the bytes of every line of an input as the merge delivers them, without lines too long to keep, until it
    /// breaks.
    pub(super) fn each_delivered(
        &mut self,
        input: usize,
        mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), EvidenceError> {
        let mut delivered = Vec::new();
        if self.how.tags {
            delivered.extend_from_slice(tag(&self.evidence(input).path).as_bytes());
            delivered.push(b'\t');
        }
        let tag = delivered.len();
        let mut cursor = self.cursor(input, PORTION);
        while self.next(&mut cursor)?.is_some() {
            let Some(bytes) = cursor.lines.bytes(&self.block) else { continue };
            delivered.truncate(tag);
            delivered.extend_from_slice(bytes);
            if each(&delivered).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// A place in an input.
pub(super) struct Cursor {
    input: usize,
    part: usize,
    /// The byte up to which its file was read.
    offset: u64,
    lines: LineReader,
    /// Whether the last line returned had no newline.
    unterminated: bool,
    /// The number of lines returned.
    read: u64,
}

impl Cursor {
    /// The number of lines read.
    pub(super) fn read(&self) -> u64 {
        self.read
    }
}

/// At most [`OPEN`] open files; the one that was used longest ago is closed for another.
#[derive(Default)]
struct OpenFiles {
    open: Vec<OpenFile>,
    now: u64,
}

struct OpenFile {
    /// The numbers of the input and of its part.
    of: (usize, usize),
    file: Arc<File>,
    used: u64,
}

impl OpenFiles {
    fn read(&mut self, of: (usize, usize), part: &Part, buffer: &mut [u8], at: u64) -> Result<usize, String> {
        let file = match &part.file {
            PartFile::Kept(file) => file,
            PartFile::Gone(why) => return Err(why.clone()),
            PartFile::Named(path) => self.named(of, || Ok(open_same(path, part.dev, part.ino)?.0))?,
        };
        loop {
            match file.read_at(buffer, at) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read.map_err(|error: io::Error| reason(&error)),
            }
        }
    }

    fn named(&mut self, of: (usize, usize), open: impl FnOnce() -> Result<File, String>) -> Result<&Arc<File>, String> {
        self.now += 1;
        let index = match self.open.iter().position(|open| open.of == of) {
            Some(index) => index,
            None => {
                if self.open.len() == OPEN {
                    let oldest = (0..OPEN).min_by_key(|index| self.open[*index].used).expect("there are some");
                    self.open.swap_remove(oldest);
                }
                self.open.push(OpenFile { of, file: Arc::new(open()?), used: 0 });
                self.open.len() - 1
            }
        };
        self.open[index].used = self.now;
        Ok(&self.open[index].file)
    }
}
