//! The memory through which the kernel hands over records: a page that says how far it wrote and how far was read, and then a ring
//! of a power of two of bytes. The kernel writes over nothing that was not read.

use std::ptr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use memmap2::MmapRaw;

pub(super) const PAGE: usize = 4 << 10;

/// Where in the first page the kernel says how far it wrote (`data_head`), in bytes since the beginning.
const HEAD: usize = 1024;
/// Where it is told how far was read (`data_tail`).
const TAIL: usize = 1032;
/// The size of a record's header.
const HEADER: usize = 8;

#[derive(Debug)]
pub(super) struct Ring {
    memory: MmapRaw,
    /// How far was read.
    tail: u64,
    /// Begins with the record that was last read: in the ring it may be in two pieces.
    record: Vec<u8>,
}

impl Ring {
    /// On a page and a power of two of pages.
    pub(super) fn new(memory: MmapRaw) -> Ring {
        let ring = Ring { memory, tail: 0, record: Vec::new() };
        assert!(ring.size().is_power_of_two() && ring.size() >= PAGE, "{} bytes", ring.size());
        ring
    }

    fn size(&self) -> usize {
        self.memory.len().saturating_sub(PAGE)
    }

    /// One of the two counts in the first page.
    fn count(&self, at: usize) -> &AtomicU64 {
        // SAFETY: the mapping has this page, which is aligned, for as long as `self` is there; the kernel changes the counts only
        // as a whole.
        unsafe { AtomicU64::from_ptr(self.memory.as_mut_ptr().add(at).cast()) }
    }

    /// The next record; `None` if there is none. An empty one for what cannot be one: then all that is in the ring is skipped.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        // What the kernel wrote before it said so is there.
        let head = self.count(HEAD).load(Acquire);
        let there = head.wrapping_sub(self.tail);
        if there == 0 {
            return None;
        }
        let mut size = 0;
        if (HEADER as u64..=self.size() as u64).contains(&there) {
            self.copy(HEADER);
            size = usize::from(u16::from_le_bytes([self.record[6], self.record[7]]));
        }
        if size < HEADER || size as u64 > there {
            size = 0;
            self.tail = head;
        } else {
            self.copy(size);
            self.tail = self.tail.wrapping_add(size as u64);
        }
        // The copy is made: from here on the kernel may write there.
        self.count(TAIL).store(self.tail, Release);
        Some(&self.record[..size])
    }

    /// Copies so many bytes, which the kernel said are there, from where reading is.
    fn copy(&mut self, length: usize) {
        let at = (self.tail % self.size() as u64) as usize;
        let before_end = length.min(self.size() - at);
        if self.record.len() < length {
            self.record.resize(length, 0);
        }
        // SAFETY: `at` and `before_end` are within the ring, and `length` is no more than its size: both pieces are in the mapping,
        // where the kernel writes nothing before `tail` is moved. `record` has as many bytes at least, which are elsewhere.
        unsafe {
            let ring = self.memory.as_mut_ptr().add(PAGE);
            ptr::copy_nonoverlapping(ring.add(at), self.record.as_mut_ptr(), before_end);
            ptr::copy_nonoverlapping(ring, self.record.as_mut_ptr().add(before_end), length - before_end);
        }
    }
}

#[cfg(test)]
mod tests {
    use memmap2::MmapMut;

    use super::super::record::tests::record;
    use super::*;

    /// What the kernel does, for a ring of one page.
    struct Writer {
        ring: Ring,
        head: u64,
    }

    impl Writer {
        fn new() -> Writer {
            Writer { ring: Ring::new(MmapMut::map_anon(2 * PAGE).unwrap().into()), head: 0 }
        }

        /// Writes and says so, unless there is no room.
        fn write(&mut self, bytes: &[u8]) -> bool {
            let used = self.head - self.ring.count(TAIL).load(Acquire);
            if used as usize + bytes.len() > PAGE {
                return false;
            }
            for byte in bytes {
                // SAFETY: within the second of the two pages, which nobody else uses.
                unsafe { *self.ring.memory.as_mut_ptr().add(PAGE + self.head as usize % PAGE) = *byte };
                self.head += 1;
            }
            self.ring.count(HEAD).store(self.head, Release);
            true
        }
    }

    #[test]
    fn records_come_as_they_were_written_also_over_the_end() {
        let mut writer = Writer::new();
        assert_eq!(writer.ring.next(), None);
        // Of every size: each place in the ring is once where a record is cut.
        for round in 0..2_000_u64 {
            let words: Vec<u64> = (0..round % 97).map(|number| number * 1_000_003 + round).collect();
            let (one, other) = (record(9, &words), record(2, &[round]));
            assert!(writer.write(&one) && writer.write(&other));
            assert_eq!(writer.ring.next(), Some(&*one), "{round}");
            assert_eq!(writer.ring.next(), Some(&*other), "{round}");
            assert_eq!(writer.ring.next(), None);
        }
        assert!(writer.head > 100 * PAGE as u64);
    }

    #[test]
    fn a_ring_is_full_until_it_is_read_and_a_record_may_fill_it() {
        let mut writer = Writer::new();
        assert!(writer.write(&record(9, &[1; 300])));
        let whole = record(9, &[7; PAGE / 8 - 1]);
        assert_eq!(whole.len(), PAGE);
        assert!(!writer.write(&whole), "nothing is written over");
        assert_eq!(writer.ring.next(), Some(&*record(9, &[1; 300])));
        assert!(writer.write(&whole));
        assert_eq!(writer.ring.next(), Some(&*whole));
    }

    #[test]
    fn what_cannot_be_a_record_is_skipped_with_all_that_is_there() {
        let sized = |size: u64| (size << 48).to_le_bytes();
        for (bytes, what) in [
            (sized(0).to_vec(), "of no size, which would never end"),
            (sized(7).to_vec(), "less than its header"),
            (sized(16).to_vec(), "more than was written"),
            (sized(0xffff).to_vec(), "more than the ring"),
            (vec![9; 5], "less than a header"),
        ] {
            let mut writer = Writer::new();
            assert!(writer.write(&record(9, &[1])) && writer.write(&bytes));
            assert_eq!(writer.ring.next(), Some(&*record(9, &[1])));
            assert_eq!(writer.ring.next(), Some(&[][..]), "{what}");
            assert_eq!(writer.ring.next(), None, "{what}");
            assert_eq!(writer.ring.count(TAIL).load(Acquire), writer.head, "{what}");
            assert!(writer.write(&record(2, &[3])));
            assert_eq!(writer.ring.next(), Some(&*record(2, &[3])), "{what}: what comes then is read");
        }
        let mut writer = Writer::new();
        writer.ring.count(HEAD).store(1 << 40, Release);
        assert_eq!(
            (writer.ring.next().map(<[u8]>::len), writer.ring.next()),
            (Some(0), None),
            "a head that is far off"
        );
    }
}
