//! Lines as bytes, streamed, each reduced to a 128-bit hash.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, BufRead, BufReader, Read};

/// The most of one line that is in memory at a time. A longer line is hashed in blocks of this size.
pub(super) const BLOCK: usize = 64 * 1024;

/// What hashes lines: two SipHash functions with random keys of their own, side by side.
///
/// The keys are drawn anew for every check, so nobody can prepare lines that collide. For `n` different lines the odds
/// that any two share all 128 bits are about `n² / 2¹²⁹`: 1 in 10²⁰ for a billion lines.
pub(super) struct Key(RandomState, RandomState);

impl Key {
    pub(super) fn random() -> Key {
        Key(RandomState::new(), RandomState::new())
    }
}

/// Where a line is in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// From 1.
    pub(super) line: u64,
    /// Of the line's first byte, from 0.
    pub(super) byte: u64,
}

/// One line, without its newline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) hash: u128,
    pub(super) place: Place,
    /// Whether a newline followed.
    pub(super) terminated: bool,
}

/// The lines of a reader.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    block: Vec<u8>,
    fits: bool,
    next: Place,
}

impl<R: Read> Lines<R> {
    #[cfg(test)]
    pub(super) fn new(reader: R) -> Lines<R> {
        Lines::starting_at(Place { line: 1, byte: 0 }, reader)
    }

    /// The lines of a reader that is already at `place` of its file.
    pub(super) fn starting_at(place: Place, reader: R) -> Lines<R> {
        Lines { reader: BufReader::with_capacity(BLOCK, reader), block: Vec::new(), fits: true, next: place }
    }

    /// Where the next line begins; after the last one, the end of what was read.
    pub(super) fn place(&self) -> Place {
        self.next
    }

    /// The bytes of the line that `next` returned last; `None` when it was longer than [`BLOCK`].
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        self.fits.then_some(&self.block)
    }

    /// Reads one line; `None` at the end.
    pub(super) fn next(&mut self, key: &Key) -> io::Result<Option<Line>> {
        let place = self.next;
        let mut hashers = (key.0.build_hasher(), key.1.build_hasher());
        self.block.clear();
        self.fits = true;
        // Blocks are cut by their place in the line, never by what a read returned: a `Hasher` does not promise that
        // the same bytes in other portions hash alike.
        let terminated = loop {
            let room = BLOCK - self.block.len();
            let read = self.reader.by_ref().take(room as u64).read_until(b'\n', &mut self.block)?;
            self.next.byte += read as u64;
            if self.block.last() == Some(&b'\n') {
                self.block.pop();
                break true;
            }
            if self.block.len() < BLOCK {
                break false;
            }
            hashers.0.write(&self.block);
            hashers.1.write(&self.block);
            self.block.clear();
            self.fits = false;
        };
        if self.next.byte == place.byte {
            return Ok(None);
        }
        self.next.line += 1;
        hashers.0.write(&self.block);
        hashers.1.write(&self.block);
        let hash = u128::from(hashers.0.finish()) << 64 | u128::from(hashers.1.finish());
        Ok(Some(Line { hash, place, terminated }))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::{BLOCK, Key, Lines};

    fn lines(key: &Key, reader: impl Read) -> Vec<(u128, u64, u64, bool)> {
        let mut lines = Lines::new(reader);
        let next = || lines.next(key).unwrap().map(|l| (l.hash, l.place.line, l.place.byte, l.terminated));
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn lines_are_bytes_and_have_places() {
        let key = Key::random();
        let read = lines(&key, &b"a\r\n\n\0\xff\na"[..]);
        let places: Vec<_> = read.iter().map(|l| (l.1, l.2, l.3)).collect();
        assert_eq!(places, [(1, 0, true), (2, 3, true), (3, 4, true), (4, 7, false)]);
        assert_ne!(read[0].0, read[3].0, "the carriage return counts");
        assert_eq!(read[3].0, lines(&key, &b"a\n"[..])[0].0, "the newline does not");
        assert_eq!(lines(&key, &b""[..]), []);
    }

    #[test]
    fn a_long_line_hashes_alike_wherever_it_stands() {
        let key = Key::random();
        for len in [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 1, 5 * BLOCK / 2] {
            let line = "x".repeat(len);
            let alone = lines(&key, line.as_bytes());
            assert_eq!((alone.len(), alone[0].3), (1, false), "{len}");
            for before in [1, 100, BLOCK - 2, BLOCK - 1] {
                let text = format!("{}\n{line}\n{line}y\n", "b".repeat(before));
                let read = lines(&key, text.as_bytes());
                assert_eq!(read.len(), 3);
                assert_eq!(read[1].0, alone[0].0, "{len} after {before}");
                assert_ne!(read[2].0, alone[0].0);
                assert_eq!(read[2].2, (before + len + 2) as u64);
            }
        }
    }

    #[test]
    fn only_short_lines_keep_their_bytes() {
        let key = Key::random();
        let text = format!("{}\nshort\n", "x".repeat(BLOCK));
        let mut lines = Lines::new(text.as_bytes());
        lines.next(&key).unwrap();
        assert_eq!(lines.bytes(), None);
        lines.next(&key).unwrap();
        assert_eq!(lines.bytes(), Some(&b"short"[..]));
    }
}
