//! What CPU quotas did, as the watchdog saw it from look to look.

use std::sync::Arc;

use pollscope_base::Quota;
use pollscope_stacks::look::Between;
use pollscope_stacks::quota::{Count, Counts, Quotas, Readings};
use pollscope_stacks::usage::machine_cpus;

#[cfg(test)]
use crate::clock::Clock;
use crate::shared::Shared;

/// What quotas are known to have done to a poll.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    /// The one that held it up most, if it is known what that was.
    pub(super) quota: Option<Quota>,
    /// For how long any of them throttled it, also one that nobody knew of; `None` without control groups.
    pub(super) counted: Option<Between>,
}

pub(super) struct Throttling {
    shared: Arc<Shared>,
    /// Those that it may be under; `None` without control groups.
    quotas: Option<Quotas>,
    /// What those had done at the look before this one, and at this one; none of one that nobody knew of.
    seen: [Option<Readings>; 2],
    counts: Counts,
}

impl Throttling {
    pub(super) fn new(shared: Arc<Shared>) -> Throttling {
        Throttling::under(Quotas::open(), shared)
    }

    fn under(quotas: Option<Quotas>, shared: Arc<Shared>) -> Throttling {
        let counts = Counts::new(machine_cpus());
        let mut throttling = Throttling { shared, quotas, seen: [None; 2], counts };
        throttling.total_ns();
        throttling
    }

    #[cfg(test)]
    pub(super) fn without_quotas() -> Throttling {
        Throttling::under(None, Arc::new(Shared::new(Clock::monotonic(), 1, 1)))
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.shared.clock.now_ns()
    }

    /// The watchdog looks at all threads now.
    pub(super) fn look(&mut self, now_ns: u64) {
        self.seen = [self.seen[1], self.quotas.as_ref().map(|quotas| quotas.read(now_ns))];
    }

    /// For how long the process was throttled in all, in nanoseconds, also by quotas that nobody knew of.
    pub(super) fn total_ns(&mut self) -> u64 {
        let total_ns = || self.quotas.as_ref().map_or(0, Quotas::throttled_ns);
        // Before and after: it may be throttled while it reads.
        let count = Count { from_ns: self.now_ns(), total_ns: total_ns(), to_ns: self.now_ns() };
        self.counts.add(count);
        count.total_ns
    }

    /// What is known of before a stall that is noticed now. Quotas may have come or gone since the last one.
    pub(super) fn before(&mut self, now_ns: u64) -> [Option<Readings>; 2] {
        self.refresh(now_ns);
        self.seen
    }

    /// What quotas did from then to then, with what was known of before.
    pub(super) fn of(&mut self, before: &[Option<Readings>; 2], [start_ns, end_ns]: [u64; 2]) -> Held {
        let Some(quotas) = &self.quotas else { return Held::default() };
        let to = quotas.read(end_ns);
        let now_ns = self.now_ns();
        // What was counted before the poll, or after it, may all be from there.
        let outside_ns = |from: &Readings| start_ns.saturating_sub(from.at_ns) + now_ns.saturating_sub(end_ns);
        let each = before.iter().flatten().filter_map(|from| quotas.between(from, &to, outside_ns(from)));
        let quota = each.max_by_key(|quota| quota.throttled);
        // One that came while the poll went on may have done all that it did before it was read.
        let quota = quota.filter(|quota| before[0].is_some() || !quota.throttled.is_zero());
        self.total_ns();
        Held { quota, counted: Some(self.counts.within(start_ns, end_ns)) }
    }

    /// What quotas did to a poll that was over when it was noticed.
    pub(super) fn of_unseen(&mut self, from_to: [u64; 2]) -> Held {
        let held = self.of(&self.seen.clone(), from_to);
        // What it is by now is told only if it was so then.
        if self.refresh(self.now_ns()) { Held { quota: None, ..held } } else { held }
    }

    fn refresh(&mut self, now_ns: u64) -> bool {
        let Some(quotas) = &mut self.quotas else { return false };
        let has_changed = quotas.refresh();
        if has_changed {
            self.seen = [None, Some(quotas.read(now_ns))];
        }
        has_changed
    }
}
