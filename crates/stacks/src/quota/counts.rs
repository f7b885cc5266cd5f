//! What all quotas did, as it was counted from time to time. Pure.

use std::collections::VecDeque;

use crate::look::Between;

/// So many are kept.
const COUNTS: usize = 16;

/// For how long all quotas had throttled, which was read within that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Before it was read.
    pub from_ns: u64,
    /// After it was read.
    pub to_ns: u64,
    /// See [`Quotas::throttled_ns`](super::Quotas::throttled_ns).
    pub total_ns: u64,
}

/// What was counted, the oldest first: whenever that had changed, and the last time.
///
/// ```
/// use pollscope_stacks::look::Between;
/// use pollscope_stacks::quota::{Count, Counts};
/// let mut counts = Counts::new(Some(2));
/// let count = |at_ns, total_ns| Count { from_ns: at_ns, to_ns: at_ns, total_ns };
/// [count(100, 0), count(200, 40)].into_iter().for_each(|count| counts.add(count));
/// // Two CPUs at once, at most, and none of it for sure was before 110 or after 190.
/// assert_eq!(counts.within(110, 190), Between { least_ns: 0, most_ns: 40 });
/// assert_eq!(counts.within(100, 200), Between { least_ns: 20, most_ns: 40 });
/// ```
#[derive(Debug)]
pub struct Counts {
    kept: VecDeque<Count>,
    /// So many CPUs may have been throttled at once: of a group all, whatever the process itself may use. `None` if nobody knows.
    cpus: Option<u64>,
}

impl Counts {
    /// Of groups that may have so many CPUs throttled at once; `None` if nobody knows.
    pub fn new(cpus: Option<u64>) -> Counts {
        Counts { kept: VecDeque::new(), cpus }
    }

    /// One more, later than all before.
    pub fn add(&mut self, count: Count) {
        // Of those that are alike, the first and the last are enough.
        if self.kept.len() >= 2 && self.kept.iter().rev().take(2).all(|kept| kept.total_ns == count.total_ns) {
            self.kept.pop_back();
        }
        self.kept.push_back(count);
        self.kept.drain(..self.kept.len().saturating_sub(COUNTS));
    }

    /// For how long they throttled one CPU from then to then, by the last count. It is counted when the group goes on, and added up
    /// over CPUs. Of a time of which nothing was counted before, any part may be.
    pub fn within(&self, start_ns: u64, end_ns: u64) -> Between {
        let duration_ns = end_ns.saturating_sub(start_ns);
        let before = self.kept.iter().rev().find(|count| count.to_ns <= start_ns);
        let Some((before, now)) = before.zip(self.kept.back()) else { return Between::at_most(duration_ns) };
        let counted_ns = now.total_ns.saturating_sub(before.total_ns);
        let outside_ns = (start_ns - before.from_ns) + now.to_ns.saturating_sub(end_ns);
        let least_ns = self.cpus.map_or(0, |cpus| (counted_ns / cpus).saturating_sub(outside_ns));
        Between { least_ns, most_ns: counted_ns }.within(duration_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_quotas_did_since_then_has_bounds_where_it_was_asked_before() {
        let cpus = 3;
        let between = |least_ns, most_ns| Between { least_ns, most_ns };
        let count = |from_ns, total_ns| Count { from_ns, to_ns: from_ns + 5, total_ns };
        let mut counts = Counts::new(Some(cpus));
        assert_eq!(counts.within(99, 180), between(0, 81));
        counts.add(count(100, 40));
        counts.add(count(190, 40));
        assert_eq!(counts.within(104, 180), between(0, 76), "it was asked no sooner than that");
        assert_eq!(counts.within(110, 180), between(0, 0));
        // 10 before it and 25 after it may all be from there.
        counts.add(count(300, 40 + 100 * cpus));
        assert_eq!(counts.within(200, 280), between(65, 80));
        counts.cpus = None;
        assert_eq!(counts.within(200, 280), between(0, 80), "all of it may be of one CPU or of many");
        counts.cpus = Some(cpus);
        counts.add(count(400, 40 + 100 * cpus));
        assert_eq!(counts.within(200, 280), between(0, 80), "asked too late");
        assert_eq!(counts.within(310, 380), between(0, 0));
        (0..99).for_each(|at| counts.add(count(500 + at, 40 + 100 * cpus)));
        assert_eq!(counts.kept.len(), 4, "alike");
        (0..99).for_each(|at| counts.add(count(600 + at, 1_000 + at)));
        assert_eq!((counts.within(310, 380), counts.kept.len()), (between(0, 70), COUNTS));
    }
}
