//! Cuts the bytes of a file into lines. Pure.

use memchr::{memchr, memchr_iter, memrchr};

use crate::pipeline::sink::LineBatch;

/// The capacity that an idle buffer keeps.
const IDLE: usize = 4 << 10;

/// Bytes that were read and are not yet handed out.
#[derive(Debug)]
pub(super) struct LineBuffer {
    bytes: Vec<u8>,
    /// The part of `bytes` that was handed out.
    taken: usize,
    /// The part of `bytes` after which newlines are still to be found.
    searched: usize,
    /// The place of `bytes[taken]` in the file.
    at: u64,
    /// The longest line that is not split, in bytes without its newline.
    max_line: usize,
    /// Whether a piece of the line at `taken` was already handed out.
    is_splitting: bool,
    /// The number of lines that were split.
    long_lines: u64,
}

impl LineBuffer {
    /// For a file that is read from its byte `at`. One read may give at most `max_line` bytes.
    pub(super) fn new(at: u64, max_line: usize) -> LineBuffer {
        LineBuffer { bytes: Vec::new(), taken: 0, searched: 0, at, max_line, is_splitting: false, long_lines: 0 }
    }

    /// The place in the file of the next byte to hand out.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The longest line that is not split.
    pub(super) fn max_line(&self) -> usize {
        self.max_line
    }

    /// The number of lines so far that exceeded the maximum.
    pub(super) fn long_lines(&self) -> u64 {
        self.long_lines
    }

    /// Makes room for `most` bytes; call [`LineBuffer::filled`] after reading into it.
    pub(super) fn room(&mut self, most: usize) -> &mut [u8] {
        debug_assert!(most <= self.max_line, "only the first line may be a long one");
        self.bytes.drain(..self.taken);
        self.searched -= self.taken;
        self.taken = 0;
        let kept = self.bytes.len();
        self.bytes.resize(kept + most, 0);
        &mut self.bytes[kept..]
    }

    /// Notes that `read` bytes came into the room for `most`.
    pub(super) fn filled(&mut self, most: usize, read: usize) {
        self.bytes.truncate(self.bytes.len() - (most - read));
    }

    /// Frees memory while there is no new data.
    pub(super) fn rest_a_while(&mut self) {
        if self.taken > 0 {
            self.room(0);
        }
        self.bytes.shrink_to(IDLE);
    }

    /// The next complete lines, with their newlines; at most `most`. A line longer than the maximum comes in pieces of that
    /// length, each with a newline of its own.
    pub(super) fn next_lines(&mut self, most: usize) -> Option<LineBatch> {
        // Only the first line can be too long: the others came with the last read, which gives at most `max_line` bytes.
        if self.bytes.len() - self.taken > self.max_line
            && memchr(b'\n', &self.bytes[self.taken..=self.taken + self.max_line]).is_none()
        {
            return Some(self.piece());
        }
        let (from, mut count) = (self.searched, 0);
        // Much faster than a loop over the bytes, in which a long line would hold the event loop.
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
            // Most of it is handed out, so it copies the part that stays.
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

    /// The next piece of a line that is too long.
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

    /// The rest after the last newline, with a newline; for the end of the file.
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

    /// Whether the last lines ended with a piece of a line that goes on.
    pub(super) fn is_within_line(&self) -> bool {
        self.is_splitting
    }

    /// The place in the file where the last complete line ends.
    pub(super) fn whole_to(&self) -> u64 {
        self.at + self.whole_lines().len() as u64
    }

    /// The complete lines that are not handed out.
    pub(super) fn whole_lines(&self) -> &[u8] {
        let rest = &self.bytes[self.taken..];
        &rest[..memrchr(b'\n', rest).map_or(0, |newline| newline + 1)]
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
