//! The numbers of slow polls: a stall and the slow poll that it becomes have the same.

use pollscope_base::duration;

use crate::snapshot::{Polling, SlowPoll};

/// Stalls whose ends are still to come.
const OPEN: usize = 1_000;

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
        let polled = start_ns..=start_ns.saturating_add(duration::to_ns(poll.duration));
        let Polling { task_id, spawned_at, thread_name, .. } = &self.stall;
        (task_id, spawned_at, thread_name) == (&poll.task_id, &poll.spawned_at, &poll.thread_name)
            && polled.contains(&self.start_ns)
    }

    fn is_same(&self, polling: &Polling, now_ns: u64) -> bool {
        let Polling { task_id, spawned_at, thread_name, .. } = &self.stall;
        (task_id, spawned_at, thread_name) == (&polling.task_id, &polling.spawned_at, &polling.thread_name)
            && now_ns.saturating_sub(duration::to_ns(polling.elapsed)) <= self.start_ns
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

    /// A poll goes on for long. It is told a little later than it was measured, which was at most `now_ns`: its start was before.
    pub(super) fn of_stall(&mut self, stall: &Polling, now_ns: u64) -> u64 {
        let number = self.next();
        if self.open.len() < OPEN {
            let start_ns = now_ns.saturating_sub(duration::to_ns(stall.elapsed));
            self.open.push(Open { stall: stall.clone(), start_ns, number });
        }
        number
    }

    /// The number of a poll that goes on, if it has one already.
    pub(super) fn known(&self, polling: &Polling, now_ns: u64) -> Option<u64> {
        self.open.iter().find(|open| open.is_same(polling, now_ns)).map(|open| open.number)
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
