//! What is kept of the time around a poll that took very long: a look ten times a second, of which the last minute is in memory, and
//! is written where such a poll was.
//!
//! A look costs a few microseconds: it reads what each thread adds up anyway, and shows of the poll that it is in; how many polls
//! there were would have to be counted bucket by bucket.

use std::collections::VecDeque;
use std::time::Duration;

use pollscope_record::recording::{Fine, Queued};

use crate::shared::Shared;

/// How often is looked.
pub(super) const STEP: Duration = Duration::from_millis(100);
/// So many times the threshold is very long.
pub(super) const TIMES: u64 = 4;
/// What is kept before such a poll, and after it.
const SIDE_NS: u64 = 5_000_000_000;
/// Looks that are in memory: a minute's.
const REMEMBERED: usize = 600;
/// Looks that are written together.
const TOGETHER: usize = 10;
/// Looks that are written in an hour, at most: a service in which very long polls never end would fill its disk with them.
const MOST_AN_HOUR: usize = 2_000;
const HOUR_NS: u64 = 3_600_000_000_000;

/// What is said once where there were more.
pub(super) const TOO_MANY: &str =
    "there were so many very long polls that the time around some of them is not kept more finely than in intervals";

/// What was at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Glance {
    /// Since the clock's start.
    pub(super) at_ns: u64,
    /// How long all threads were in polls so far.
    pub(super) busy_ns: u64,
    /// Polls that have gone on for the threshold.
    pub(super) late: u64,
    pub(super) queued: Option<Queued>,
    pub(super) pool_queued: Option<u64>,
}

impl Glance {
    pub(super) fn of(shared: &Shared) -> Glance {
        let now_ns = shared.clock.now_ns();
        let threshold_ns = shared.threshold_ns();
        let (mut busy_ns, mut late) = (0, 0);
        for slot in shared.slots() {
            // A poll that ends in between would be counted twice, or not at all.
            let mut sum_ns = slot.polls.sum_ns();
            let mut polling = slot.polling.now();
            for _ in 0..3 {
                let again_ns = slot.polls.sum_ns();
                if again_ns == sum_ns {
                    break;
                }
                (sum_ns, polling) = (again_ns, slot.polling.now());
            }
            let age_ns = polling.map_or(0, |polling| shared.own_ns(&polling, now_ns));
            late += u64::from(polling.is_some() && age_ns >= threshold_ns);
            busy_ns += sum_ns.saturating_add(age_ns);
        }
        let (queued, pool_queued) = shared.pools.queued();
        let queued = queued.map(|(global, local)| Queued { global, local });
        Glance { at_ns: now_ns.saturating_sub(1), busy_ns, late, queued, pool_queued }
    }
}

/// The last minute, and what of it is to be written.
#[derive(Debug, Default)]
pub(super) struct Around {
    last: Glance,
    remembered: VecDeque<Fine>,
    /// What is to be written, from when to when.
    kept: Option<(u64, u64)>,
    /// Up to where it was.
    written_ns: u64,
    /// When the hour began, and how many were written in it.
    hour: (u64, usize),
    too_many: bool,
}

impl Around {
    pub(super) fn from(first: Glance) -> Around {
        Around { last: first, ..Around::default() }
    }

    /// Remembers what was since the last look.
    pub(super) fn look(&mut self, now: Glance) {
        let before = std::mem::replace(&mut self.last, now);
        if now.at_ns <= before.at_ns {
            return;
        }
        if self.remembered.len() == REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back(Fine {
            start_ns: before.at_ns,
            end_ns: now.at_ns,
            // It can go back a little: what a thread shows is not all of one moment.
            busy_ns: now.busy_ns.saturating_sub(before.busy_ns),
            late: now.late,
            queued: now.queued,
            pool_queued: now.pool_queued,
        });
    }

    /// A poll went on from `start_ns` to `end_ns`, at least: if that is very long, what is around it is to be written.
    pub(super) fn poll(&mut self, start_ns: u64, end_ns: u64, threshold_ns: u64) {
        if end_ns.saturating_sub(start_ns) < threshold_ns.saturating_mul(TIMES) {
            return;
        }
        let (from_ns, to_ns) = (start_ns.saturating_sub(SIDE_NS), end_ns.saturating_add(SIDE_NS));
        self.kept = Some(match self.kept {
            Some((from, to)) => (from.min(from_ns), to.max(to_ns)),
            None => (from_ns, to_ns),
        });
    }

    /// What is to be written now: a second's together, or, at the end of what is kept, or of everything, the rest.
    pub(super) fn take(&mut self, is_end: bool) -> Vec<Fine> {
        let Some((from_ns, to_ns)) = self.kept else { return Vec::new() };
        let from_ns = from_ns.max(self.written_ns);
        let is_kept = |fine: &&Fine| fine.end_ns > from_ns && fine.start_ns >= self.written_ns && fine.start_ns < to_ns;
        let is_over = self.last.at_ns >= to_ns;
        let due: Vec<Fine> = self.remembered.iter().filter(is_kept).copied().collect();
        if due.len() < TOGETHER && !is_over && !is_end {
            return Vec::new();
        }
        if is_over {
            self.kept = None;
        }
        self.written_ns = due.last().map_or(self.written_ns, |last| last.end_ns);
        self.within_the_hour(due)
    }

    fn within_the_hour(&mut self, mut due: Vec<Fine>) -> Vec<Fine> {
        if self.last.at_ns.saturating_sub(self.hour.0) >= HOUR_NS {
            self.hour = (self.last.at_ns, 0);
        }
        let left = MOST_AN_HOUR - self.hour.1;
        if due.len() > left {
            due.truncate(left);
            self.too_many = true;
        }
        self.hour.1 += due.len();
        due
    }

    /// Whether something was left out since it was asked last.
    pub(super) fn take_too_many(&mut self) -> bool {
        std::mem::take(&mut self.too_many)
    }
}

#[cfg(test)]
mod tests;
