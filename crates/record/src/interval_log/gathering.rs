//! The lines of one tag, put together as they come.
//!
//! To add each line to all before it would read and write all of them for every line. So lines wait until they take twice the room
//! of what was put together already, and are then added to it at once: what is kept of a day is written once for many lines.

use super::{MOST, Tagged};
use crate::dist::Dist;

/// Lines that take less wait all the same, in bytes.
const FEW: usize = 16 << 10;

/// What was read of one tag.
#[derive(Debug)]
pub(super) struct Gathering {
    /// What was put together.
    whole: Tagged,
    /// The values of lines that wait.
    waiting: Vec<Dist>,
    /// The bytes that those take.
    waiting_size: usize,
    /// How many values, in all.
    count: u64,
    /// Their sum.
    sum_ns: u64,
    /// The bytes that were written to put them together.
    #[cfg(test)]
    written: usize,
}

impl Gathering {
    /// Of the first line, which has so many values.
    pub(super) fn of(first: Tagged, count: u64) -> Gathering {
        Gathering {
            count,
            sum_ns: first.values.sum_ns,
            whole: first,
            waiting: Vec::new(),
            waiting_size: 0,
            #[cfg(test)]
            written: 0,
        }
    }

    /// How many bytes its values take.
    pub(super) fn size(&self) -> usize {
        self.whole.values.size() + self.waiting_size
    }

    /// Adds a line of the tag, which has so many values; they get the digits of the first line.
    pub(super) fn add(&mut self, line: Tagged, count: u64) -> Result<(), String> {
        let count = self.count.saturating_add(count);
        let sum_ns = self.sum_ns.saturating_add(line.values.sum_ns);
        if count >= MOST || sum_ns >= MOST {
            return Err("its values and those before it add up to more than 146 years' nanoseconds".to_owned());
        }
        (self.count, self.sum_ns) = (count, sum_ns);
        self.whole.lines += 1;
        self.whole.start_ns = self.whole.start_ns.min(line.start_ns);
        self.whole.end_ns = self.whole.end_ns.max(line.end_ns);
        let values = line.values.with_digits(self.whole.values.digits());
        self.waiting_size += values.size() + size_of::<Dist>();
        self.waiting.push(values);
        if self.waiting_size >= FEW.max(2 * self.whole.values.size()) {
            self.put_together();
        }
        Ok(())
    }

    /// Puts all together, which takes the least room.
    pub(super) fn put_together(&mut self) {
        if !self.waiting.is_empty() {
            self.whole.values.add_all(&self.waiting);
            self.waiting.clear();
            self.waiting_size = 0;
            #[cfg(test)]
            {
                self.written += self.whole.values.size();
            }
        }
    }

    /// All of it.
    pub(super) fn finish(mut self) -> Tagged {
        self.put_together();
        self.whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::blob;

    /// As a line has it.
    fn line(random: &mut fastrand::Rng, digits: u8) -> Tagged {
        let mut values = Dist::empty(digits);
        (0..100).for_each(|_| values.record(1 << random.u32(10..30) | random.u64(..1 << 30)));
        let values = blob::decode(&blob::encode(&values).unwrap()).unwrap();
        Tagged { tag: None, lines: 1, start_ns: 5, end_ns: 9, values }
    }

    /// As many lines as there are seconds in an hour: less is written for all of them than they hold.
    #[test]
    fn a_line_costs_what_it_holds_and_not_what_was_read_before_it() {
        let mut random = fastrand::Rng::with_seed(11);
        let first = line(&mut random, 3);
        let mut plain = first.values.clone();
        let (mut all, mut read) = (Gathering::of(first, 100), 0);
        for _ in 1..3_600 {
            let next = line(&mut random, 3);
            read += next.values.size();
            plain.add(&next.values);
            all.add(next, 100).unwrap();
            assert!(all.size() <= 3 * all.whole.values.size() + FEW, "{}", all.size());
        }
        let (written, kept) = (all.written, plain.size());
        assert!(kept * 3_600 > 20 * read, "there is much to write for each line: {kept}, of {read} in all");
        assert!(written < read, "{written} bytes written for {read} bytes of lines; {kept} are kept");
        let whole = all.finish();
        assert_eq!((whole.values, whole.lines), (plain, 3_600));
    }

    #[test]
    fn the_first_lines_digits_count_and_the_sum_is_bounded() {
        let mut random = fastrand::Rng::with_seed(3);
        let (first, other) = (line(&mut random, 2), line(&mut random, 4));
        let mut plain = first.values.clone();
        plain.add(&other.values);
        let mut all = Gathering::of(first, 100);
        all.add(other, 100).unwrap();
        assert_eq!(all.finish().values, plain);
        let mut long = line(&mut random, 3);
        long.values.sum_ns = MOST - 1;
        let mut all = Gathering::of(long, 100);
        assert!(all.add(line(&mut random, 3), 100).unwrap_err().contains("146 years"));
    }
}
