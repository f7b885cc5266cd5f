//! The frames that were followed: of very many, those at both ends.

use std::collections::VecDeque;

use super::Registers;
use crate::address::CodeAddress;

/// So many of the innermost frames are kept: they say what blocks.
const INNER: usize = 3072;
/// So many of the outermost ones: they say what was polled.
const OUTER: usize = 1024;

/// Frames in the middle of a stack that were followed but are not kept: a recursion can be a hundred thousand frames deep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// How many of the frames that are kept are further in.
    pub after: usize,
    /// How many are not kept.
    pub count: usize,
}

/// A frame that was noted: where it is, and what is known of its registers.
#[derive(Debug, Clone)]
pub(super) struct Noted {
    pub(super) address: CodeAddress,
    pub(super) registers: Registers,
}

impl Noted {
    /// Whether it is the same frame of the stack.
    pub(super) fn is_same(&self, other: &Noted) -> bool {
        (self.address, self.registers.sp()) == (other.address, other.registers.sp())
    }
}

/// Frames, innermost first, in little memory.
#[derive(Debug)]
pub(super) struct Followed {
    inner: Vec<Noted>,
    outer: VecDeque<Noted>,
    left_out: usize,
}

impl Followed {
    pub(super) fn new() -> Followed {
        Followed { inner: Vec::with_capacity(64), outer: VecDeque::new(), left_out: 0 }
    }

    /// How many were followed.
    pub(super) fn len(&self) -> usize {
        self.inner.len() + self.left_out + self.outer.len()
    }

    pub(super) fn push(&mut self, frame: Noted) {
        if self.len() < INNER {
            return self.inner.push(frame);
        }
        if self.outer.len() == OUTER {
            self.outer.pop_front();
            self.left_out += 1;
        }
        self.outer.push_back(frame);
    }

    /// Goes back to the first so many.
    pub(super) fn truncate(&mut self, count: usize) {
        let outside = count.saturating_sub(INNER);
        self.outer.truncate(outside.saturating_sub(self.left_out));
        self.left_out = self.left_out.min(outside);
        self.inner.truncate(count);
    }

    /// Where one of them is among those that are kept, or where it was left out.
    pub(super) fn kept_index(&self, index: usize) -> usize {
        if index < INNER { index } else { index.saturating_sub(self.left_out).max(INNER) }
    }

    /// Those that are kept.
    pub(super) fn into_frames(self) -> (Vec<Noted>, Option<LeftOut>) {
        let left_out = LeftOut { after: self.inner.len(), count: self.left_out };
        let mut frames = self.inner;
        frames.extend(self.outer);
        (frames, (left_out.count > 0).then_some(left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(count: usize) -> Followed {
        let mut followed = Followed::new();
        (0..count).for_each(|n| {
            followed.push(Noted { address: CodeAddress::Return(n as u64), registers: Registers::default() })
        });
        followed
    }

    #[track_caller]
    fn check(followed: Followed, count: usize) {
        assert_eq!(followed.len(), count);
        let (frames, left_out) = followed.into_frames();
        let LeftOut { after, count: missing } = left_out.unwrap_or(LeftOut { after: frames.len(), count: 0 });
        assert_eq!(frames.len() + missing, count);
        for (index, frame) in frames.iter().enumerate() {
            let number = if index < after { index } else { index + missing };
            assert_eq!(frame.address.raw(), number as u64, "{index} of {count}");
        }
    }

    #[test]
    fn both_ends_of_many_frames_are_kept_and_the_rest_is_counted() {
        for count in [0, 1, INNER - 1, INNER, INNER + OUTER, INNER + OUTER + 1, 200_000] {
            check(followed(count), count);
        }
        let (frames, left_out) = followed(200_000).into_frames();
        assert_eq!(frames.len(), INNER + OUTER);
        assert_eq!(left_out, Some(LeftOut { after: INNER, count: 200_000 - INNER - OUTER }));
    }

    #[test]
    fn a_way_back_leaves_the_first_frames() {
        for count in [10, INNER, INNER + OUTER, 10_000] {
            for back in [0, 1, INNER - 1, INNER, INNER + 1, INNER + OUTER, 9_500] {
                let mut followed = followed(count);
                followed.truncate(back);
                check(followed, back.min(count));
            }
        }
    }

    #[test]
    fn a_frame_is_where_it_was_among_those_that_are_kept() {
        let many = followed(10_000);
        let missing = 10_000 - INNER - OUTER;
        for (index, kept) in [(5, 5), (INNER, INNER), (9_000, 9_000 - missing), (9_999, INNER + OUTER - 1)] {
            assert_eq!(many.kept_index(index), kept);
        }
    }
}
