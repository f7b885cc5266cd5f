//! Finds the output's foreign lines that are torn: made of the inputs' bytes, but not cut at the inputs' newlines.
//!
//! Let `c` be a non-empty line of the output that is no line of any input. It is *torn* when
//!
//! - it is a **piece**: it occurs within a line of an input (a beginning, an end, or something between); or
//! - it is **glued**: it begins with a complete, non-empty line of an input, and the rest is a piece or ends with another
//!   complete line; or it ends with a complete line, and the part before that is a piece.
//!
//! An empty line is a piece of everything, so it stays foreign. A line whose carriage return was stripped is a beginning, so
//! it is torn. A line that only looks like a piece (one letter, say) is torn, too: nobody can tell the difference, and either
//! way the merge has failed.
//!
//! If lines have tags, the tags belong to the lines.
//!
//! This reads the inputs once more, within bounds: it compares the first [`MOST`] foreign lines, of less than one
//! [`BLOCK`](super::lines::BLOCK) each and [`ROOM`] together, with input lines of less than one block, and at most [`STEPS`]
//! bytes. Foreign lines beyond these bounds stay foreign.

use std::collections::{BTreeMap, BTreeSet};

/// The most foreign lines to look at.
pub(super) const MOST: usize = 256;

/// The most bytes of these lines together. Each byte takes 18 bytes of memory.
const ROOM: usize = 1 << 20;

/// The most bytes to compare: about two seconds of work.
const STEPS: u64 = 1 << 30;

/// The first [`MOST`] foreign lines that can be looked at; they may come in any order.
#[derive(Default)]
pub(super) struct Candidates(BTreeMap<u64, Vec<u8>>);

impl Candidates {
    /// Offers line `number` of the output; takes it if its bytes were kept.
    pub(super) fn offer(&mut self, number: u64, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else { return };
        let is_full = self.0.len() == MOST;
        if is_full && self.0.last_key_value().is_some_and(|(last, _)| *last < number) {
            return;
        }
        if is_full {
            self.0.pop_last();
        }
        self.0.insert(number, bytes.to_vec());
    }
}

/// Foreign lines, and what is known of them so far.
#[derive(Default)]
pub(super) struct Suspects {
    open: Vec<Suspect>,
    torn: BTreeSet<u64>,
    bytes: usize,
    steps: u64,
}

impl Suspects {
    /// Takes the candidates for which there is room.
    pub(super) fn new(candidates: Candidates) -> Suspects {
        let mut suspects = Suspects::default();
        for (number, bytes) in candidates.0 {
            if suspects.bytes + bytes.len() <= ROOM {
                suspects.bytes += bytes.len();
                suspects.open.push(Suspect::new(number, &bytes));
            }
        }
        suspects
    }

    /// Whether more input lines can make a difference.
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty() && self.steps < STEPS
    }

    /// Compares one input line with every suspect.
    pub(super) fn look_at(&mut self, line: &[u8]) {
        let torn = &mut self.torn;
        let steps = &mut self.steps;
        self.open.retain_mut(|suspect| {
            *steps += 2 * line.len() as u64 + 1;
            suspect.look_at(line);
            let is_torn = suspect.is_torn();
            if is_torn {
                torn.insert(suspect.number);
            }
            !is_torn
        });
    }

    /// The numbers of the torn lines.
    pub(super) fn torn(&self) -> &BTreeSet<u64> {
        &self.torn
    }
}

struct Suspect {
    number: u64,
    forward: Pattern,
    backward: Pattern,
    /// The lengths of the shortest and the longest complete line that it begins with.
    whole_start: Option<(usize, usize)>,
    /// The same for complete lines that it ends with.
    whole_end: Option<(usize, usize)>,
    /// The length of its longest beginning that occurs within a line.
    start_piece: usize,
    /// The length of its longest end that does. Shorter ones then occur, too, so these two lengths are enough.
    end_piece: usize,
}

impl Suspect {
    fn new(number: u64, bytes: &[u8]) -> Suspect {
        let forward = Pattern::new(bytes.to_vec());
        let backward = Pattern::new(bytes.iter().rev().copied().collect());
        Suspect { number, forward, backward, whole_start: None, whole_end: None, start_piece: 0, end_piece: 0 }
    }

    fn look_at(&mut self, line: &[u8]) {
        self.start_piece = self.start_piece.max(self.forward.longest_beginning_in(line.iter()));
        self.end_piece = self.end_piece.max(self.backward.longest_beginning_in(line.iter().rev()));
        if line.is_empty() {
            return;
        }
        let widen = |seen: Option<(usize, usize)>| {
            seen.map_or((line.len(), line.len()), |(short, long)| (short.min(line.len()), long.max(line.len())))
        };
        if self.forward.bytes.starts_with(line) {
            self.whole_start = Some(widen(self.whole_start));
        }
        if self.forward.bytes.ends_with(line) {
            self.whole_end = Some(widen(self.whole_end));
        }
    }

    fn is_torn(&self) -> bool {
        let len = self.forward.bytes.len();
        let piece = self.start_piece == len;
        let whole_then_piece = self.whole_start.is_some_and(|(_, long)| long + self.end_piece >= len);
        let piece_then_whole = self.whole_end.is_some_and(|(_, long)| self.start_piece + long >= len);
        let whole_at_both_ends = match (self.whole_start, self.whole_end) {
            (Some((first, _)), Some((last, _))) => first + last <= len,
            _ => false,
        };
        piece || whole_then_piece || piece_then_whole || whole_at_both_ends
    }
}

/// The search of Knuth, Morris and Pratt: one pass over the text, however repetitive the bytes are.
struct Pattern {
    bytes: Vec<u8>,
    /// For each length, the length of the longest proper beginning that is also an end of the first `length` bytes.
    borders: Vec<usize>,
}

impl Pattern {
    fn new(bytes: Vec<u8>) -> Pattern {
        let mut borders = vec![0; bytes.len() + 1];
        let mut matched = 0;
        for end in 1..bytes.len() {
            while matched > 0 && bytes[matched] != bytes[end] {
                matched = borders[matched];
            }
            matched += usize::from(bytes[matched] == bytes[end]);
            borders[end + 1] = matched;
        }
        Pattern { bytes, borders }
    }

    /// The length of the pattern's longest beginning that occurs in `text`.
    fn longest_beginning_in<'a>(&self, text: impl Iterator<Item = &'a u8>) -> usize {
        let mut longest = 0;
        let mut matched = 0;
        for byte in text {
            while matched > 0 && self.bytes[matched] != *byte {
                matched = self.borders[matched];
            }
            matched += usize::from(self.bytes[matched] == *byte);
            longest = longest.max(matched);
            if matched == self.bytes.len() {
                break;
            }
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::{Candidates, MOST, Suspects};

    #[track_caller]
    fn check(line: &str, inputs: &[&str], torn: bool) {
        let mut candidates = Candidates::default();
        candidates.offer(7, Some(line.as_bytes()));
        let mut suspects = Suspects::new(candidates);
        for input in inputs {
            suspects.look_at(input.as_bytes());
        }
        assert_eq!(suspects.torn().contains(&7), torn, "{line:?} among {inputs:?}");
    }

    #[test]
    fn the_first_candidates_are_kept_whatever_comes_first() {
        let mut numbers: Vec<u64> = (0..3 * MOST as u64).collect();
        fastrand::Rng::with_seed(1).shuffle(&mut numbers);
        let mut candidates = Candidates::default();
        for number in numbers {
            candidates.offer(number, Some(b"x"));
        }
        assert!(candidates.0.into_keys().eq(0..MOST as u64));
    }

    #[test]
    fn a_piece_of_a_line_is_torn() {
        for piece in ["hel", "llo", "ell", "o", "aab"] {
            check(piece, &["other", "hello", "aaab"], true);
        }
        check("hal", &["other", "hello"], false);
        check("", &["hello"], false);
    }

    #[test]
    fn glued_lines_are_torn() {
        check("helloworld", &["hello", "world"], true);
        check("hellohello", &["hello"], true);
        check("hello+world", &["hello", "world"], true);
        check("worhello", &["hello", "world"], true);
        check("hellowor", &["hello", "world"], true);
        check("helloorl", &["world", "hello"], true);
        check("abcabcabc", &["abc"], true);
    }

    #[test]
    fn a_line_that_only_begins_like_an_input_is_foreign() {
        check("hello there", &["hello", "world"], false);
        check("hellO", &["hello", "world"], false);
        check("hellzz", &["", "hell"], false);
    }
}
