//! What is in a record of a perf event: a header of 8 bytes (kind, flags, size of the whole) and what the kind has.

use super::breakpoint::Hit;
use super::registers::{self, COUNT};
use crate::unwind::Registers;

const LOST: u32 = 2;
const THROTTLE: u32 = 5;
const SAMPLE: u32 = 9;
/// The registers' form: of a program of 64 bits.
const ABI_64: u64 = 2;

/// A record.
#[derive(Debug, PartialEq)]
pub(super) enum Record<'a> {
    /// The event happened; what follows is what was asked for.
    Sample(Body<'a>),
    /// So many records had no room.
    Lost(u64),
    /// The kernel has the event pause: it happens too often.
    Throttled,
    /// Of a kind that is of no use here.
    Other,
    /// It ends too early.
    Short,
}

/// The rest of a record, read from its start.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Body<'a>(&'a [u8]);

/// What a thread was doing.
#[derive(Debug, PartialEq)]
pub(super) struct Copied<'a> {
    pub(super) time_ns: u64,
    pub(super) registers: Registers,
    pub(super) stack: &'a [u8],
}

impl<'a> Record<'a> {
    /// Takes a record apart.
    pub(super) fn read(record: &'a [u8]) -> Record<'a> {
        let mut body = Body(record);
        let Some(kind) = body.word().map(|header| header as u32) else { return Record::Short };
        match kind {
            SAMPLE => Record::Sample(body),
            // Of which event, and how many.
            LOST => body.word().and_then(|_| body.word()).map_or(Record::Short, Record::Lost),
            THROTTLE => Record::Throttled,
            _ => Record::Other,
        }
    }
}

impl<'a> Body<'a> {
    fn word(&mut self) -> Option<u64> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*word))
    }

    /// When it was, and the stack pointer if it is there: the sample of a breakpoint.
    pub(super) fn hit(mut self) -> Option<Hit> {
        let time_ns = self.word()?;
        let has_registers = self.word() == Some(ABI_64);
        Some(Hit { time_ns, sp: if has_registers { self.word() } else { None } })
    }

    /// When it was, and the registers and the stack; `None` where the sample lacks one of them.
    pub(super) fn copied(mut self) -> Option<Copied<'a>> {
        let time_ns = self.word()?;
        if self.word()? != ABI_64 {
            return None;
        }
        let mut values = [0; COUNT];
        for value in &mut values {
            *value = self.word()?;
        }
        // The room for the stack, and then how much of it was filled.
        let room = usize::try_from(self.word()?).ok()?;
        let (stack, rest) = self.0.split_at_checked(room)?;
        let filled = if room == 0 { 0 } else { Body(rest).word()? };
        let stack = stack.get(..usize::try_from(filled).ok()?)?;
        Some(Copied { time_ns, registers: registers::read(&values), stack })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const HEADER: usize = 8;

    pub(in crate::perf) fn record(kind: u32, words: &[u64]) -> Vec<u8> {
        let size = HEADER + 8 * words.len();
        let header = u64::from(kind) | (size as u64) << 48;
        std::iter::once(&header).chain(words).flat_map(|word| word.to_le_bytes()).collect()
    }

    /// With a stack of these words, of which so many bytes were filled.
    fn sample(abi: u64, stack: &[u64], filled: u64) -> Vec<u8> {
        let mut words = vec![77, abi];
        words.extend((0..COUNT as u64).map(|number| 100 + number));
        words.push(8 * stack.len() as u64);
        words.extend(stack);
        words.push(filled);
        record(SAMPLE, &words)
    }

    fn copied(bytes: &[u8]) -> Option<Copied<'_>> {
        let Record::Sample(body) = Record::read(bytes) else { panic!("a sample") };
        body.copied()
    }

    #[test]
    fn a_sample_has_time_registers_and_as_much_of_the_stack_as_was_filled() {
        let bytes = sample(ABI_64, &[1, 2, 3], 16);
        let copied = copied(&bytes).unwrap();
        assert_eq!((copied.time_ns, copied.registers.sp(), copied.registers.pc()), (77, Some(107), Some(108)));
        assert_eq!(copied.stack, [[1, 0, 0, 0, 0, 0, 0, 0], [2, 0, 0, 0, 0, 0, 0, 0]].concat());
    }

    #[test]
    fn a_sample_that_lacks_something_is_none() {
        for (bytes, what) in [
            (sample(0, &[1], 8), "no registers"),
            (sample(1, &[1], 8), "a program of 32 bits"),
            (sample(ABI_64, &[1], 16), "more was filled than there was room"),
            (sample(ABI_64, &[1], u64::MAX), "much more"),
        ] {
            assert_eq!(copied(&bytes), None, "{what}");
        }
        let whole = sample(ABI_64, &[1, 2, 3], 24);
        for length in HEADER..whole.len() {
            assert_eq!(copied(&whole[..length]), None, "{length} bytes of {}", whole.len());
        }
    }

    #[test]
    fn an_empty_stack_has_no_word_for_what_was_filled() {
        let mut bytes = sample(ABI_64, &[], 0);
        bytes.truncate(bytes.len() - 8);
        assert_eq!(copied(&bytes).unwrap().stack, []);
    }

    #[test]
    fn other_records_are_told_apart() {
        let (lost, throttled, exit) = (record(LOST, &[3, 41]), record(THROTTLE, &[0; 3]), record(4, &[0; 3]));
        assert_eq!(Record::read(&lost), Record::Lost(41));
        assert_eq!(Record::read(&lost[..16]), Record::Short);
        assert_eq!(Record::read(&lost[..3]), Record::Short);
        assert_eq!(Record::read(&throttled), Record::Throttled);
        assert_eq!(Record::read(&exit), Record::Other);
        let hit = |words: &[u64]| match Record::read(&record(SAMPLE, words)) {
            Record::Sample(body) => body.hit(),
            _ => panic!("a sample"),
        };
        assert_eq!(hit(&[5, ABI_64, 7]), Some(Hit { time_ns: 5, sp: Some(7) }));
        let without = Some(Hit { time_ns: 5, sp: None });
        assert_eq!([&[5, ABI_64][..], &[5, 0], &[5, 1, 7], &[5]].map(hit), [without; 4], "it happened all the same");
        assert_eq!(hit(&[]), None);
    }
}
