//! A value of which some bits may not be known.

/// Up to 64 bits, each known or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Word {
    /// 0 where it is not known.
    value: u64,
    known: u64,
}

/// The bits of a value of so many bytes.
fn mask(size: usize) -> u64 {
    if size >= 8 { u64::MAX } else { (1 << (size * 8)) - 1 }
}

impl Word {
    pub(super) const UNKNOWN: Word = Word { value: 0, known: 0 };

    pub(super) fn of(value: u64) -> Word {
        Word { value, known: u64::MAX }
    }

    pub(super) fn from_option(value: Option<u64>) -> Word {
        value.map_or(Word::UNKNOWN, Word::of)
    }

    /// The lowest bytes; those above are 0.
    pub(super) fn cut(self, size: usize) -> Word {
        Word { value: self.value & mask(size), known: self.known | !mask(size) }
    }

    /// The value of so many bytes, if all of it is known.
    pub(super) fn get(self, size: usize) -> Option<u64> {
        (self.known & mask(size) == mask(size)).then_some(self.value & mask(size))
    }

    /// As [`Word::get`], with its sign.
    pub(super) fn signed(self, size: usize) -> Option<i64> {
        let unused = 64 - size as u32 * 8;
        self.get(size).map(|value| (value << unused).cast_signed() >> unused)
    }

    /// Its lowest bytes replaced, as a register's are: the upper half of one goes with the lower.
    pub(super) fn replaced(self, new: Word, size: usize) -> Word {
        let kept = if size >= 4 { 0 } else { !mask(size) };
        let new = new.cut(size);
        let above = Word { value: self.value & kept, known: self.known & kept };
        Word { value: above.value | new.value, known: above.known | (new.known & !kept) }
    }

    pub(super) fn byte(self, index: usize) -> Word {
        Word { value: self.value >> (index * 8), known: self.known >> (index * 8) }.cut(1)
    }

    /// One value from its bytes, the lowest first.
    pub(super) fn from_bytes(bytes: impl Iterator<Item = Word>) -> Word {
        let mut word = Word { value: 0, known: u64::MAX };
        for (index, byte) in bytes.enumerate() {
            word.value |= (byte.value & 0xff) << (index * 8);
            word.known &= !(0xff << (index * 8)) | ((byte.known & 0xff) << (index * 8));
        }
        word
    }

    pub(super) fn and(self, other: Word) -> Word {
        let zero = (self.known & !self.value) | (other.known & !other.value);
        Word { value: self.value & other.value, known: zero | (self.known & other.known) }
    }

    pub(super) fn or(self, other: Word) -> Word {
        let value = self.value | other.value;
        Word { value, known: value | (self.known & other.known) }
    }

    pub(super) fn xor(self, other: Word) -> Word {
        let known = self.known & other.known;
        Word { value: (self.value ^ other.value) & known, known }
    }

    /// What a function of whole values makes of two.
    pub(super) fn whole(self, other: Word, size: usize, of: impl FnOnce(u64, u64) -> u64) -> Word {
        match (self.get(size), other.get(size)) {
            (Some(one), Some(other)) => Word::of(of(one, other)),
            _ => Word::UNKNOWN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_known_bits_is_known() {
        let unknown = Word::UNKNOWN;
        assert_eq!(unknown.and(Word::of(0)).get(8), Some(0));
        assert_eq!(unknown.or(Word::of(u64::MAX)).get(8), Some(u64::MAX));
        assert_eq!(unknown.and(Word::of(1)).get(1), None);
        assert_eq!(unknown.xor(Word::of(1)).get(1), None);
    }

    #[test]
    fn a_part_of_a_register_is_known_alone() {
        let low = Word::UNKNOWN.replaced(Word::of(1), 1);
        assert_eq!((low.get(1), low.get(2)), (Some(1), None));
        assert_eq!(Word::of(u64::MAX).replaced(Word::of(7), 4).get(8), Some(7), "its upper half is 0 then");
        assert_eq!(Word::UNKNOWN.replaced(Word::of(7), 4).get(8), Some(7));
        assert_eq!(Word::of(0xff00).replaced(Word::of(7), 1).get(8), Some(0xff07));
        assert_eq!(Word::of(0xffff_fffb).signed(4), Some(-5));
    }

    #[test]
    fn bytes_make_what_they_were_taken_from() {
        let word = Word::of(0x0102_0304_0506_0708);
        assert_eq!(Word::from_bytes((0..8).map(|index| word.byte(index))), word);
        let holed = Word::from_bytes([Word::of(1), Word::UNKNOWN, Word::of(3)].into_iter());
        assert_eq!((holed.get(1), holed.get(4)), (Some(1), None));
    }
}
