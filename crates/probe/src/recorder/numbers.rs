//! The numbers of slow polls: a stall and the slow poll that it becomes have the same.

use pollscope_base::duration;

use crate::snapshot::{Polling, SlowPoll};

/// Stalls whose ends are still to come.
const OPEN: usize = 1_000;
/// By how much a start can differ from itself, worked out at another time. No poll that is told of is as short.
const ROUNDING_NS: u64 = 1_000;

/// Who has which number.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// How many were given.
    given: u64,
    open: Vec<Open>,
}

/// A stall whose end is still to come.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) stall: Polling,
    /// A moment in its poll, near the start.
    pub(super) start_ns: u64,
    pub(super) number: u64,
}

impl Open {
    /// When it was measured, about.
    pub(super) fn told_ns(&self) -> u64 {
        self.start_ns.saturating_add(duration::to_ns(self.stall.elapsed))
    }

    fn is_of(&self, poll: &SlowPoll) -> bool {
        let start_ns = duration::to_ns(poll.start);
        let polled = start_ns.saturating_sub(ROUNDING_NS)..=start_ns.saturating_add(duration::to_ns(poll.duration));
        let Polling { task_id, spawned_at, thread_name, .. } = &self.stall;
        (task_id, spawned_at, thread_name) == (&poll.task_id, &poll.spawned_at, &poll.thread_name)
            && polled.contains(&self.start_ns)
    }

    fn is_same(&self, polling: &Polling, now_ns: u64) -> bool {
        let Polling { task_id, spawned_at, thread_name, .. } = &self.stall;
        (task_id, spawned_at, thread_name) == (&polling.task_id, &polling.spawned_at, &polling.thread_name)
            // A later one of the task began after this one was seen to go on.
            && now_ns.saturating_sub(duration::to_ns(polling.elapsed)) <= self.told_ns()
    }
}

impl Numbers {
    /// A slow poll ended.
    pub(super) fn of_slow_poll(&mut self, poll: &SlowPoll) -> u64 {
        match self.open.iter().position(|open| open.is_of(poll)) {
            Some(at) => self.open.swap_remove(at).number,
            None => self.next(),
        }
    }

    /// A poll goes on for long; it may have a number already. It is told a little later than it was measured, which was at most
    /// `now_ns`: its start was before.
    pub(super) fn of_stall(&mut self, stall: &Polling, now_ns: u64) -> u64 {
        if let Some(open) = self.open.iter().find(|open| open.is_same(stall, now_ns)) {
            return open.number;
        }
        let number = self.next();
        if self.open.len() < OPEN {
            let start_ns = now_ns.saturating_sub(duration::to_ns(stall.elapsed));
            self.open.push(Open { stall: stall.clone(), start_ns, number });
        }
        number
    }

    /// The stalls whose ends are still to come.
    pub(super) fn open(&self) -> &[Open] {
        &self.open
    }

    fn next(&mut self) -> u64 {
        self.given += 1;
        self.given
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: u64 = 1_000_000;

    fn stall(elapsed_ns: u64) -> Polling {
        Polling {
            task_id: Some(7),
            task_name: None,
            spawned_at: std::panic::Location::caller(),
            worker: Some(0),
            thread_name: None,
            elapsed: Duration::from_nanos(elapsed_ns),
            evidence: pollscope_base::Evidence::default(),
        }
    }

    fn slow_poll(start_ns: u64, duration_ns: u64) -> SlowPoll {
        let Polling { task_id, task_name, spawned_at, worker, thread_name, evidence, .. } = stall(0);
        let (start, duration) = (Duration::from_nanos(start_ns), Duration::from_nanos(duration_ns));
        SlowPoll {
            id: 0,
            task_id,
            task_name,
            spawned_at,
            worker,
            thread_name,
            start,
            duration,
            evidence,
            blame: None,
            waiter_span: None,
        }
    }

    #[test]
    fn whoever_sees_a_stall_first_gives_it_the_number_that_it_keeps() {
        let mut numbers = Numbers::default();
        // It began at 100 ms. One is told of it later than it was measured, the other at once.
        assert_eq!(numbers.of_stall(&stall(100 * MS), 200 * MS), 1);
        assert_eq!(numbers.of_stall(&stall(101 * MS), 204 * MS), 1);
        assert_eq!(numbers.of_stall(&stall(150 * MS), 250 * MS), 1);
        assert_eq!(numbers.open().len(), 1);
        assert_eq!(numbers.of_slow_poll(&slow_poll(100 * MS, 200 * MS)), 1);
        assert!(numbers.open().is_empty());
        // The task's next poll is another, and a start that is rounded is the same.
        assert_eq!(numbers.of_stall(&stall(100 * MS), 420 * MS - 1), 2);
        assert_eq!(numbers.of_slow_poll(&slow_poll(320 * MS, 200 * MS)), 2);
        assert_eq!(numbers.of_slow_poll(&slow_poll(600 * MS, 200 * MS)), 3);
    }

    #[test]
    fn the_next_poll_of_a_task_whose_end_is_still_to_be_told_is_another() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.of_stall(&stall(100 * MS), 200 * MS), 1);
        assert_eq!(numbers.of_stall(&stall(100 * MS), 320 * MS), 2);
        assert_eq!(numbers.open().len(), 2);
    }
}
