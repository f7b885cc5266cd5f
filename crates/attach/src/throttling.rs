//! What CPU quotas do to the process, as far as it can be counted from outside.

use pollscope_base::Quota;
use pollscope_stacks::look::Between;
use pollscope_stacks::perf::now_ns;
use pollscope_stacks::process::Process;
use pollscope_stacks::quota::{Count, Counts, Quotas, Readings};
use pollscope_stacks::usage::machine_cpus;

/// Each time that threads were listed so often.
const REFRESH_EVERY: u32 = 4;

/// What quotas are known to have done to a poll.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held {
    /// The one that held it up most, if it is known what that was.
    pub(crate) quota: Option<Quota>,
    /// For how long any of them throttled it; `None` without control groups.
    pub(crate) counted: Option<Between>,
}

/// Counts, from time to time.
#[derive(Debug)]
pub(crate) struct Throttling {
    /// By the clock of the looks.
    start_ns: u64,
    quotas: Option<Quotas>,
    counts: Counts,
    /// What those with a quota had done at the last two times that threads were listed.
    seen: [Option<Readings>; 2],
    /// How often threads were listed.
    listed: u32,
}

impl Throttling {
    pub(crate) fn new(process: &Process, start_ns: u64) -> Throttling {
        Throttling {
            start_ns,
            quotas: Quotas::of(process),
            counts: Counts::new(machine_cpus()),
            seen: [None; 2],
            listed: 0,
        }
    }

    /// Threads are listed: now and then it is found out anew which quotas there are.
    pub(crate) fn list(&mut self) {
        let now_ns = self.now_ns();
        let is_due = self.listed.is_multiple_of(REFRESH_EVERY);
        self.listed += 1;
        if let Some(quotas) = &mut self.quotas {
            let has_changed = is_due && quotas.refresh();
            let before = if has_changed { None } else { self.seen[1] };
            self.seen = [before, Some(quotas.read(now_ns))];
        }
        self.count();
    }

    /// Threads are looked at: without a quota that takes no time.
    pub(crate) fn look(&mut self) {
        if self.quotas.as_ref().is_some_and(Quotas::is_limited) {
            self.count();
        }
    }

    /// What quotas did from then to then, which was just now.
    pub(crate) fn within(&mut self, start_ns: u64, end_ns: u64) -> Held {
        self.count();
        let now_ns = self.now_ns();
        let Some(quotas) = &self.quotas else { return Held::default() };
        let from = self.seen.iter().rev().flatten().find(|seen| seen.at_ns <= start_ns);
        let quota = from.and_then(|from| {
            let outside_ns = start_ns - from.at_ns + now_ns.saturating_sub(end_ns);
            quotas.between(from, &quotas.read(now_ns), outside_ns)
        });
        Held { quota, counted: Some(self.counts.within(start_ns, end_ns)) }
    }

    fn count(&mut self) {
        let Some(quotas) = &self.quotas else { return };
        // Before and after: this one may be throttled while it reads.
        let count = Count { from_ns: self.now_ns(), total_ns: quotas.throttled_ns(), to_ns: self.now_ns() };
        self.counts.add(count);
    }

    fn now_ns(&self) -> u64 {
        now_ns().saturating_sub(self.start_ns)
    }
}
