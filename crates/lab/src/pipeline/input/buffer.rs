//! Bytes become lines: what was read of a file, cut at its newlines. Pure.

use memchr::{memchr, memchr_iter, memrchr};

use crate::pipeline::sink::LineBatch;

/// What is kept of a buffer that is not in use.
const IDLE: usize = 4 << 10;

/// Bytes that were read and not handed out yet.
#[derive(Debug)]
pub(super) struct LineBuffer {
    bytes: Vec<u8>,
    /// How much of `bytes` was handed out.
    taken: usize,
    /// How much of `bytes` holds no newline that was not handed out.
    searched: usize,
    /// Where in the file `bytes[taken]` is.
    at: u64,
    /// The longest line that is handed out whole, in bytes without its newline.
    max_line: usize,
    /// Whether a piece of the line at `taken` was handed out.
    is_splitting: bool,
    /// How many lines were split.
    long_lines: u64,
}

impl LineBuffer {
    /// For a file that is read from its byte `at`. No more than `max_line` bytes may be read at once.
    pub(super) fn new(at: u64, max_line: usize) -> LineBuffer {
        LineBuffer { bytes: Vec::new(), taken: 0, searched: 0, at, max_line, is_splitting: false, long_lines: 0 }
    }

    /// Where in its file the next byte that is handed out is.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The longest line that is handed out whole.
    pub(super) fn max_line(&self) -> usize {
        self.max_line
    }

    /// Lines longer than the maximum so far.
    pub(super) fn long_lines(&self) -> u64 {
        self.long_lines
    }

    /// Room for so many bytes; [`LineBuffer::filled`] says how many came.
    pub(super) fn room(&mut self, most: usize) -> &mut [u8] {
        debug_assert!(most <= self.max_line, "only the first line may be a long one");
        self.bytes.drain(..self.taken);
        self.searched -= self.taken;
        self.taken = 0;
        let kept = self.bytes.len();
        self.bytes.resize(kept + most, 0);
        &mut self.bytes[kept..]
    }

    /// How many bytes came into the room for `most`.
    pub(super) fn filled(&mut self, most: usize, read: usize) {
        self.bytes.truncate(self.bytes.len() - (most - read));
    }

    /// Gives memory back while nothing comes.
    pub(super) fn rest_a_while(&mut self) {
        if self.taken > 0 {
            self.room(0);
        }
        self.bytes.shrink_to(IDLE);
    }

    /// The next whole lines, with their newlines; so many at most. A line longer than the maximum comes in pieces of that
    /// length, each with a newline of its own.
    pub(super) fn next_lines(&mut self, most: usize) -> Option<LineBatch> {
        // Every other line is within what was read at once, and that is no longer than a line may be.
        if self.bytes.len() - self.taken > self.max_line
            && memchr(b'\n', &self.bytes[self.taken..=self.taken + self.max_line]).is_none()
        {
            return Some(self.piece());
        }
        let (from, mut count) = (self.searched, 0);
        // Much faster than looking at byte after byte: a long line would hold the loop.
        for newline in memchr_iter(b'\n', &self.bytes[from..]).take(most) {
            self.searched = from + newline + 1;
            count += 1;
        }
        if count == 0 {
            self.searched = self.bytes.len();
            return None;
        }
        self.is_splitting = false;
        self.at += (self.searched - self.taken) as u64;
        let bytes = if self.taken == 0 && self.searched > self.bytes.len() / 2 {
            // Most of it goes: what stays is copied, rather than what goes.
            let rest = self.bytes.split_off(self.searched);
            (self.taken, self.searched) = (0, 0);
            std::mem::replace(&mut self.bytes, rest)
        } else {
            let bytes = self.bytes[self.taken..self.searched].to_vec();
            self.taken = self.searched;
            bytes
        };
        Some(LineBatch { bytes, count })
    }

    /// As much of a line as may be in one.
    fn piece(&mut self) -> LineBatch {
        let end = self.taken + self.max_line;
        let mut bytes = Vec::with_capacity(self.max_line + 1);
        bytes.extend_from_slice(&self.bytes[self.taken..end]);
        bytes.push(b'\n');
        self.long_lines += u64::from(!self.is_splitting);
        self.is_splitting = true;
        self.at += self.max_line as u64;
        self.taken = end;
        self.searched = self.searched.max(end);
        LineBatch::one(bytes)
    }

    /// What is left after the last newline, with one; nothing more comes.
    pub(super) fn take_rest(&mut self) -> Option<LineBatch> {
        let mut rest = self.bytes.split_off(self.taken);
        self.bytes = Vec::new();
        (self.taken, self.searched) = (0, 0);
        self.is_splitting = false;
        self.at += rest.len() as u64;
        if rest.is_empty() {
            return None;
        }
        rest.push(b'\n');
        Some(LineBatch::one(rest))
    }

    /// Whether what was handed out last is a piece of a line that goes on.
    pub(super) fn is_within_line(&self) -> bool {
        self.is_splitting
    }

    /// Where the last whole line ends that is in here, in the file.
    pub(super) fn whole_to(&self) -> u64 {
        self.at + memrchr(b'\n', &self.bytes[self.taken..]).map_or(0, |newline| newline as u64 + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::pipeline::long_line::pieces;

    /// What is handed out of a text that is read in chunks of so many bytes.
    fn handed_out(
        content: &[u8],
        chunk: usize,
        most: usize,
        max_line: usize,
    ) -> (Vec<LineBatch>, Option<LineBatch>, u64) {
        let mut buffer = LineBuffer::new(0, max_line);
        let mut lines = Vec::new();
        for piece in content.chunks(chunk) {
            // As if a read had found less than there was room for.
            let most_read = chunk.min(piece.len() + 3).min(max_line);
            buffer.room(most_read)[..piece.len()].copy_from_slice(piece);
            buffer.filled(most_read, piece.len());
            while let Some(next) = buffer.next_lines(most) {
                lines.push(next);
                assert!(buffer.whole_to() >= buffer.at());
            }
            assert_eq!(buffer.whole_to(), buffer.at());
        }
        let long = buffer.long_lines();
        let rest = buffer.take_rest();
        assert_eq!(buffer.at(), content.len() as u64);
        (lines, rest, long)
    }

    #[test]
    fn lines_are_handed_out_whole_in_order_and_no_more_than_asked_for() {
        let mut content: Vec<u8> =
            (0..400).flat_map(|i| [vec![b'a' + (i % 26) as u8; i % 37], vec![b'\n']].concat()).collect();
        content.extend_from_slice(b"the rest");
        for chunk in [1, 7, 100, 1 << 20] {
            for most in [1, 2, 5, usize::MAX] {
                let (lines, rest, long) = handed_out(&content, chunk, most, 1 << 20);
                let all: Vec<u8> = lines.iter().flat_map(|lines| lines.bytes.clone()).collect();
                assert!(all == content[..content.len() - 8], "chunks of {chunk}, {most} at most");
                assert_eq!((rest, long), (Some(LineBatch::one(b"the rest\n".to_vec())), 0));
                for lines in &lines {
                    assert_eq!(memchr_iter(b'\n', &lines.bytes).count() as u64, lines.count);
                    assert!(lines.bytes.ends_with(b"\n") && (1..=most as u64).contains(&lines.count));
                }
                assert_eq!(lines.iter().map(|lines| lines.count).sum::<u64>(), 400);
            }
        }
        let (lines, ..) = handed_out(&content, 1 << 20, usize::MAX, 1 << 20);
        assert_eq!(lines.len(), 1, "what was read at once is handed out at once");
    }

    #[test]
    fn a_long_line_comes_in_pieces_and_is_counted() {
        let check = |content: &str, expected: &str, long: u64| {
            for chunk in [1, 2, 3, 4] {
                for most in [1, usize::MAX] {
                    let (lines, rest, counted) = handed_out(content.as_bytes(), chunk, most, 4);
                    let all: Vec<u8> = lines.into_iter().chain(rest).flat_map(|lines| lines.bytes).collect();
                    let in_pieces =
                        content.split_terminator('\n').flat_map(|line| pieces(line.as_bytes(), NonZeroUsize::new(4)));
                    assert!(all == in_pieces.flat_map(|piece| [piece, b"\n"].concat()).collect::<Vec<u8>>());
                    assert_eq!(
                        (all.escape_ascii().to_string(), counted),
                        (expected.escape_default().to_string(), long)
                    );
                }
            }
        };
        check("abcd\nef\n", "abcd\nef\n", 0);
        check("abcde\nf\n", "abcd\ne\nf\n", 1);
        check("abcdefgh\n\nab\n", "abcd\nefgh\n\nab\n", 1);
        check("abcdefghi\nabcdefg\n", "abcd\nefgh\ni\nabcd\nefg\n", 2);
        check("abcdefgh", "abcd\nefgh\n", 1);
        check("abcd", "abcd\n", 0);
        check("\n\n\n", "\n\n\n", 0);
    }
}
