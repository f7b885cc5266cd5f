//! Reads lines as a stream of bytes, and reduces each to a 128-bit hash.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher, RandomState};
use std::num::NonZeroUsize;
use std::ops::Range;

use memchr::memchr;

/// The most bytes of one line in memory at a time. A longer line is hashed in blocks of this size.
pub(super) const BLOCK: usize = 64 * 1024;

/// The key of all hashes: two SipHash functions, each with a random key.
///
/// Every confirmation draws new keys, so nobody can prepare lines that collide. For `n` different lines the odds that any
/// two share all 128 bits are about `n² / 2¹²⁹`: 1 in 10²⁰ for a billion lines.
pub(super) struct HashKey(RandomState, RandomState);

impl HashKey {
    pub(super) fn random() -> HashKey {
        HashKey(RandomState::new(), RandomState::new())
    }

    fn hasher(&self, sender: LineOrigin) -> LineHasher {
        let mut hasher = LineHasher(self.0.build_hasher(), self.1.build_hasher());
        hasher.0.write_u64(sender.0);
        hasher.1.write_u64(sender.0);
        hasher
    }
}

/// The input that a line is from. Equal lines of different origins are different lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineOrigin(u64);

impl LineOrigin {
    /// The origin of all lines if they have no tags.
    pub(super) const ANYBODY: LineOrigin = LineOrigin(0);
    /// The origin of lines of no input.
    const NOBODY: LineOrigin = LineOrigin(u64::MAX);

    pub(super) fn input(index: usize) -> LineOrigin {
        LineOrigin(index as u64 + 1)
    }
}

/// Hashes a line block by block. Blocks are cut by their place in the line, not by reads: a `Hasher` does not promise the same
/// hash for the same bytes in other portions.
struct LineHasher(DefaultHasher, DefaultHasher);

impl LineHasher {
    /// Takes exactly [`BLOCK`] bytes.
    fn block(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
        self.1.write(bytes);
    }

    /// Takes the rest of the line, and ends the hash.
    fn end(mut self, mut bytes: &[u8]) -> LineHash {
        while let Some((block, rest)) = bytes.split_at_checked(BLOCK) {
            self.block(block);
            bytes = rest;
        }
        self.block(bytes);
        LineHash(self.0.finish(), self.1.finish())
    }
}

/// A line's hash. It is as good as random, so a table need not hash it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineHash(u64, u64);

impl LineHash {
    /// The hash as one number, for sums.
    pub(super) fn number(self) -> u128 {
        u128::from(self.0) << 64 | u128::from(self.1)
    }

    /// Its first `bits` bits, from 1 to 32: a table of hashes uses none of them.
    pub(super) fn first_bits(self, bits: u32) -> usize {
        (self.0 >> (u64::BITS - bits)) as usize
    }
}

impl Hash for LineHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.1);
    }
}

/// A table with lines as keys.
pub(super) type ByLine<V> = HashMap<LineHash, V, BuildHasherDefault<PassThroughHasher>>;

/// Returns a line's hash unchanged.
#[derive(Default)]
pub(super) struct PassThroughHasher(u64);

impl Hasher for PassThroughHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a line's hash is one number");
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// The place of a line in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The line's number, from 1.
    pub(super) line: u64,
    /// The number of its first byte, from 0; of a piece of a line, the piece's first byte.
    pub(super) byte: u64,
}

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineEnd {
    Newline,
    /// It is a piece, and another piece follows.
    Cut,
    /// It ends where the file ends.
    NoNewline,
}

/// A line or a piece of one, without its newline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) hash: LineHash,
    pub(super) place: Place,
    pub(super) end: LineEnd,
    /// Whether it is the first piece of a line that is too long.
    pub(super) is_long: bool,
}

/// What makes a line: the bounds, the origin, the hash.
pub(super) struct Framing<'a> {
    pub(super) key: &'a HashKey,
    /// The most bytes of a line; a longer one is several.
    pub(super) most: Option<NonZeroUsize>,
    pub(super) attribution: Attribution<'a>,
}

/// How to tell a line's origin.
#[derive(Clone, Copy)]
pub(super) enum Attribution<'a> {
    /// All lines have this origin.
    One(LineOrigin),
    /// By the tag before the first tab; a line without a known tag is of no input.
    Tag(&'a HashMap<Vec<u8>, LineOrigin>),
}

impl Attribution<'_> {
    /// The origin of a line with these first bytes, and where it begins after its tag.
    fn sender(self, bytes: &[u8]) -> (LineOrigin, usize) {
        match self {
            Attribution::One(sender) => (sender, 0),
            Attribution::Tag(tags) => memchr(b'\t', bytes)
                .and_then(|tab| Some((*tags.get(&bytes[..tab])?, tab + 1)))
                .unwrap_or((LineOrigin::NOBODY, 0)),
        }
    }
}

/// Reads the lines of one file, through a buffer of its own.
pub(super) struct LineReader {
    /// The number of bytes that one read asks for.
    portion: usize,
    /// The bytes read ahead; empty before the first read.
    ahead: Vec<u8>,
    start: usize,
    end: usize,
    next: Place,
    /// Whether the last line returned is a piece, and another piece follows.
    within: bool,
    last: LastLine,
}

/// Where the bytes of the last line returned are.
enum LastLine {
    Ahead(Range<usize>),
    Block,
    Nowhere,
}

impl LineReader {
    /// Begins at a place of a file, and reads portions of so many bytes.
    pub(super) fn starting_at(place: Place, portion: usize) -> LineReader {
        LineReader { portion, ahead: Vec::new(), start: 0, end: 0, next: place, within: false, last: LastLine::Nowhere }
    }

    /// The place where the next line begins; after the last line, the end.
    pub(super) fn place(&self) -> Place {
        self.next
    }

    /// Goes on at a byte of another file.
    pub(super) fn go_on_at(&mut self, byte: u64) {
        self.next.byte = byte;
    }

    /// The bytes of the line that `next` returned last, given the same block; `None` if the line was longer than a block.
    pub(super) fn bytes<'a>(&'a self, block: &'a [u8]) -> Option<&'a [u8]> {
        match &self.last {
            LastLine::Ahead(range) => Some(&self.ahead[range.clone()]),
            LastLine::Block => Some(block),
            LastLine::Nowhere => None,
        }
    }

    /// Reads one line; `None` at the end. `refill` reads on, and returns 0 at the end; `block` is any buffer.
    pub(super) fn next<E>(
        &mut self,
        framing: &Framing,
        block: &mut Vec<u8>,
        mut refill: impl FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Option<Line>, E> {
        if self.start == self.end && !self.fill(&mut refill)? {
            return Ok(None);
        }
        let most = framing.most.map_or(usize::MAX, NonZeroUsize::get);
        let ahead = &self.ahead[self.start..self.end];
        let window = &ahead[..ahead.len().min(most.saturating_add(1))];
        let (len, end) = match memchr(b'\n', window) {
            Some(len) => (len, LineEnd::Newline),
            None if window.len() > most => (most, LineEnd::Cut),
            None => return self.collect(framing, most, block, refill).map(Some),
        };
        let (sender, tag) = framing.attribution.sender(&window[..len.min(BLOCK)]);
        let hash = framing.key.hasher(sender).end(&window[tag..len]);
        self.last = if len < BLOCK { LastLine::Ahead(self.start..self.start + len) } else { LastLine::Nowhere };
        self.start += len + usize::from(end == LineEnd::Newline);
        Ok(Some(self.line(hash, len, end)))
    }

    /// Reads a line that is only partly in the buffer: gathers it in the block, and hashes the block when it is full.
    fn collect<E>(
        &mut self,
        framing: &Framing,
        most: usize,
        block: &mut Vec<u8>,
        mut refill: impl FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Line, E> {
        block.clear();
        let mut hasher: Option<LineHasher> = None;
        let mut len = 0;
        let end = loop {
            if self.start == self.end && !self.fill(&mut refill)? {
                break LineEnd::NoNewline;
            }
            if len == most {
                let is_newline = self.ahead[self.start] == b'\n';
                self.start += usize::from(is_newline);
                break if is_newline { LineEnd::Newline } else { LineEnd::Cut };
            }
            let room = (BLOCK - block.len()).min(most - len).min(self.end - self.start);
            let ahead = &self.ahead[self.start..self.start + room];
            let newline = memchr(b'\n', ahead);
            let taken = newline.unwrap_or(room);
            block.extend_from_slice(&ahead[..taken]);
            len += taken;
            self.start += taken + usize::from(newline.is_some());
            if newline.is_some() {
                break LineEnd::Newline;
            }
            if block.len() == BLOCK {
                let hasher = hasher.get_or_insert_with(|| {
                    let (sender, tag) = framing.attribution.sender(block);
                    block.drain(..tag);
                    framing.key.hasher(sender)
                });
                if block.len() == BLOCK {
                    hasher.block(block);
                    block.clear();
                }
            }
        };
        self.last = if hasher.is_none() { LastLine::Block } else { LastLine::Nowhere };
        let hash = match hasher {
            Some(hasher) => hasher.end(block),
            None => {
                let (sender, tag) = framing.attribution.sender(block);
                framing.key.hasher(sender).end(&block[tag..])
            }
        };
        Ok(self.line(hash, len, end))
    }

    fn line(&mut self, hash: LineHash, len: usize, end: LineEnd) -> Line {
        let place = self.next;
        self.next.byte += len as u64 + u64::from(end == LineEnd::Newline);
        self.next.line += u64::from(end != LineEnd::Cut);
        let is_long = end == LineEnd::Cut && !self.within;
        self.within = end == LineEnd::Cut;
        Line { hash, place, end, is_long }
    }

    fn fill<E>(&mut self, mut refill: impl FnMut(&mut [u8]) -> Result<usize, E>) -> Result<bool, E> {
        self.ahead.resize(self.portion, 0);
        (self.start, self.end) = (0, 0);
        self.end = refill(&mut self.ahead)?;
        Ok(self.end > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::pipeline::long_line::pieces;

    struct Read {
        hash: LineHash,
        place: Place,
        end: LineEnd,
        bytes: Option<Vec<u8>>,
        is_long: bool,
    }

    fn read(key: &HashKey, most: usize, attribution: Attribution, mut text: &[u8], portion: usize) -> Vec<Read> {
        let framing = Framing { key, most: NonZeroUsize::new(most), attribution };
        let mut lines = LineReader::starting_at(Place { line: 1, byte: 0 }, portion);
        let mut block = Vec::new();
        let next = || {
            let refill = |buffer: &mut [u8]| Ok::<usize, Infallible>(std::io::Read::read(&mut text, buffer).unwrap());
            let Ok(line) = lines.next(&framing, &mut block, refill);
            line.map(|Line { hash, place, end, is_long }| Read {
                hash,
                place,
                end,
                is_long,
                bytes: lines.bytes(&block).map(<[u8]>::to_vec),
            })
        };
        std::iter::from_fn(next).collect()
    }

    const ANY: Attribution = Attribution::One(LineOrigin::ANYBODY);

    fn lines(key: &HashKey, text: &[u8]) -> Vec<Read> {
        read(key, 0, ANY, text, BLOCK)
    }

    #[test]
    fn lines_are_bytes_and_have_places() {
        let key = HashKey::random();
        for portion in [1, 2, 3, 100] {
            let read = read(&key, 0, ANY, b"a\r\n\n\0\xff\na", portion);
            let places: Vec<_> = read.iter().map(|l| (l.place.line, l.place.byte, l.end)).collect();
            let newline = LineEnd::Newline;
            assert_eq!(places, [(1, 0, newline), (2, 3, newline), (3, 4, newline), (4, 7, LineEnd::NoNewline)]);
            assert_ne!(read[0].hash, read[3].hash, "the carriage return counts");
            assert_eq!(read[3].hash, lines(&key, b"a\n")[0].hash, "the newline does not");
            assert_eq!(read[2].bytes.as_deref(), Some(&b"\0\xff"[..]));
        }
        assert!(lines(&key, b"").is_empty());
    }

    #[test]
    fn a_long_line_hashes_alike_wherever_it_stands() {
        let key = HashKey::random();
        for len in [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 1, 5 * BLOCK / 2] {
            let line = "x".repeat(len);
            let alone = lines(&key, line.as_bytes());
            assert_eq!((alone.len(), alone[0].end), (1, LineEnd::NoNewline), "{len}");
            assert_eq!(alone[0].bytes.is_some(), len < BLOCK);
            for before in [1, 100, BLOCK - 2, BLOCK - 1] {
                let text = format!("{}\n{line}\n{line}y\n", "b".repeat(before));
                for portion in [1000, BLOCK, 10 * BLOCK] {
                    let read = read(&key, 0, ANY, text.as_bytes(), portion);
                    assert_eq!(read.len(), 3);
                    assert_eq!(read[1].hash, alone[0].hash, "{len} after {before}");
                    assert_ne!(read[2].hash, alone[0].hash);
                    assert_eq!(read[2].place.byte, (before + len + 2) as u64);
                }
            }
        }
    }

    #[test]
    fn a_line_behind_its_tag_hashes_as_its_senders() {
        let key = HashKey::random();
        let tags = HashMap::from([(b"a".to_vec(), LineOrigin::input(0)), (b"tag".to_vec(), LineOrigin::input(1))]);
        for len in [0, 10, BLOCK - 5, BLOCK - 4, BLOCK - 3, BLOCK, BLOCK + 1, 3 * BLOCK] {
            let line = "x".repeat(len);
            let own = read(&key, 0, Attribution::One(LineOrigin::input(1)), format!("{line}\n").as_bytes(), BLOCK);
            let text = format!("tag\t{line}\na\t{line}\nb\t{line}\n{line}\n");
            for portion in [7, 1000, BLOCK, 10 * BLOCK] {
                let all = read(&key, 0, Attribution::Tag(&tags), text.as_bytes(), portion);
                assert_eq!(all.len(), 4);
                assert_eq!(all[0].hash, own[0].hash, "{len} in portions of {portion}");
                assert!(all[1..].iter().all(|other| other.hash != own[0].hash));
            }
        }
    }

    #[test]
    fn pieces_are_those_that_the_rule_makes() {
        let key = HashKey::random();
        let lens = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK];
        for most in [1, 3, 4, BLOCK - 1, BLOCK, BLOCK + 1] {
            // Thousands of pieces of one byte each say no more than a few do.
            let texts: Vec<Vec<u8>> =
                lens.iter().filter(|len| **len < 1000 || most > 1000).map(|len| vec![b'x'; *len]).collect();
            for ends in [true, false] {
                let mut text = texts.join(&b'\n');
                text.extend(ends.then_some(b'\n'));
                let expected: Vec<&[u8]> =
                    texts.iter().flat_map(|line| pieces(line, NonZeroUsize::new(most))).collect();
                for portion in [1, 2, 5, BLOCK, 4 * BLOCK] {
                    let found = read(&key, most, ANY, &text, portion);
                    let whole: Vec<u8> = expected.join(&b'\n');
                    let alone = lines(&key, &whole);
                    let hashes = |all: &[Read]| all.iter().map(|line| line.hash).collect::<Vec<_>>();
                    assert!(hashes(&found) == hashes(&alone), "{most} in portions of {portion}, newline {ends}");
                    let long = texts.iter().filter(|line| line.len() > most).count();
                    assert_eq!(found.iter().filter(|line| line.is_long).count(), long);
                    assert_eq!(found.last().map(|line| line.place.line), Some(texts.len() as u64));
                    let terminated = found.last().is_some_and(|line| line.end == LineEnd::Newline);
                    assert_eq!(terminated, ends, "{most} in portions of {portion}");
                }
            }
        }
    }
}
