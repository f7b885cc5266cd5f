//! Stalls that are told while they last: when, and by whom where no watchdog looks.

use std::collections::HashMap;

use pollscope_base::Evidence;

use crate::clock::Moment;
use crate::journal::Still;
use crate::shared::Shared;

/// A poll that lasts this many times the threshold is told while it still runs,
const STILL: u64 = 10;
/// but none that is shorter than this.
const SHORTEST_STILL_NS: u64 = 100_000_000;

/// When a poll that still goes on is told.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// How many times the threshold it had lasted when it was told last; 0: it was not.
    told_at: u64,
    /// Whether it had no names then.
    is_nameless: bool,
}

impl Turns {
    /// How many times the threshold the next one is due at.
    fn next_times(&self) -> u64 {
        self.told_at.max(1).saturating_mul(STILL)
    }

    /// How old it is when it is to be told: ten times the threshold, a hundred times, and so on, and as soon as there are names where
    /// it was told without.
    pub(crate) fn due_ns(&self, threshold_ns: u64, is_named: bool) -> u64 {
        let times = self.next_times();
        match self.is_nameless && is_named {
            true => 0,
            false => threshold_ns.saturating_mul(times).max(SHORTEST_STILL_NS.saturating_mul(times / STILL)),
        }
    }

    /// Whether it was told.
    fn is_begun(&self) -> bool {
        self.told_at > 0
    }

    /// It is told; whether for the first time.
    pub(crate) fn tell(&mut self, is_named: bool) -> bool {
        let is_first = !self.is_begun();
        if !(self.is_nameless && is_named) {
            self.told_at = self.next_times();
        }
        self.is_nameless = !is_named;
        is_first
    }
}

/// What was told of the polls that go on, by the thread that writes lines: where no watchdog looks at them.
#[derive(Debug, Default)]
pub(crate) struct Unwatched(HashMap<usize, (Moment, Turns)>);

impl Unwatched {
    /// The stalls that are to be told now.
    pub(crate) fn look(&mut self, shared: &Shared) -> Vec<Still> {
        let mut due = Vec::new();
        for slot in shared.slots() {
            let Some(polling) = slot.polling.now() else {
                self.0.remove(&slot.number);
                continue;
            };
            let age_ns = shared.own_ns(&polling, shared.clock.now_ns());
            let known = self.0.remove(&slot.number).filter(|(start, _)| *start == polling.start);
            let (_, mut turns) = known.unwrap_or((polling.start, Turns::default()));
            // Nobody finds out names.
            if age_ns >= turns.due_ns(shared.threshold_ns(), false) {
                let is_first = turns.tell(false);
                due.push(shared.still(&slot, &polling, age_ns, Evidence::default(), is_first));
            }
            if turns.is_begun() {
                self.0.insert(slot.number, (polling.start, turns));
            }
        }
        due
    }

    /// Somebody else tells of them.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_stall_is_told_at_ten_times_a_hundred_times_and_when_it_has_names() {
        let mut turns = Turns::default();
        assert_eq!(turns.due_ns(20 * MS, false), 200 * MS);
        assert!(turns.tell(false), "the first time");
        assert_eq!((turns.due_ns(20 * MS, false), turns.due_ns(20 * MS, true)), (2_000 * MS, 0));
        assert!(!turns.tell(true), "with names");
        assert_eq!(turns.due_ns(20 * MS, true), 2_000 * MS);
        assert!(!turns.tell(true));
        assert_eq!(turns.due_ns(20 * MS, true), 20_000 * MS);
    }
}
