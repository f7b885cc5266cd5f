//! What a thread's clocks showed before a poll of it was late.

use pollscope_stacks::look::ClockReading;
use pollscope_stacks::thread::{ThreadRef, read_age};

/// So many readings are kept: of before the poll, with one before that, of its beginning, and of after it.
const KEPT: usize = 4;

/// The last readings of a thread's clocks, at least some milliseconds apart, while nothing on it was late.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Past {
    tid: u32,
    /// The newest last.
    readings: [Option<Settled>; KEPT],
    /// How old it was at most, and when, where it is too young for readings. It may be older than the clock.
    age_ns: Option<(u64, u64)>,
}

/// A reading, and whether no wait for a CPU was under way then, for sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) clocks: ClockReading,
    pub(super) is_sure: bool,
}

impl Past {
    /// Of the calling thread, which runs; nothing where the kernel does not tell.
    pub(super) fn of_this_thread(now_ns: u64) -> Past {
        let thread = ThreadRef::current();
        let mut past = Past { tid: thread.tid, ..Past::default() };
        let clocks = ClockReading::take(&thread, now_ns);
        clocks.into_iter().for_each(|clocks| past.add(thread.tid, Settled { clocks, is_sure: true }));
        past
    }

    /// Whose they are from now on: of another thread, what is known of it.
    pub(super) fn become_of(&mut self, tid: u32, known: &Past) {
        if self.tid != tid {
            *self = if known.tid == tid { *known } else { Past { tid, ..Past::default() } };
        }
    }

    pub(super) fn add(&mut self, tid: u32, reading: Settled) {
        self.become_of(tid, &Past::default());
        self.readings.rotate_left(1);
        self.readings[KEPT - 1] = Some(reading);
    }

    /// Whose they are.
    pub(super) fn tid(&self) -> u32 {
        self.tid
    }

    /// With what a thread had done when it began, which is nothing, if it is too young for a reading of before then.
    pub(super) fn or_begin(self, thread: &ThreadRef, start_ns: u64, now_ns: u64) -> Past {
        if self.before(start_ns).is_some() {
            return self;
        }
        Past { tid: thread.tid, age_ns: read_age(thread).map(|age_ns| (age_ns, now_ns)), ..self }
    }

    /// The newest one.
    pub(super) fn last(&self) -> Option<ClockReading> {
        self.readings[KEPT - 1].map(|reading| reading.clocks)
    }

    /// The last one that is not later.
    pub(super) fn before(&self, at_ns: u64) -> Option<ClockReading> {
        self.until(at_ns).next().map(|reading| reading.clocks)
    }

    /// The first one that is not earlier.
    pub(super) fn first_after(&self, at_ns: u64) -> Option<ClockReading> {
        self.readings.into_iter().flatten().map(|reading| reading.clocks).find(|clocks| clocks.at_ns >= at_ns)
    }

    /// For how long the thread waited for a CPU from then, when it ran, to a reading, at least. A wait is counted when it ends. What
    /// was counted since a reading had begun after that, if no wait was under way then; if it shows that the thread had run since the
    /// one before, after that one.
    pub(super) fn waited_ns(&self, start_ns: u64, to: &ClockReading) -> u64 {
        let least = |from: ClockReading, outside_ns| {
            to.run_delay_ns.saturating_sub(from.run_delay_ns).saturating_sub(outside_ns)
        };
        let new = ClockReading { at_ns: 0, cpu_ns: 0, run_delay_ns: 0, slices: 0 };
        let began = self.age_ns.map(|(age_ns, at_ns)| least(new, (start_ns + age_ns).saturating_sub(at_ns)));
        let within = self.first_after(start_ns).filter(|within| within.at_ns <= to.at_ns);
        let within = within.map(|within| least(within, 0));
        let sure = self.until(start_ns).find(|reading| reading.is_sure);
        let sure = sure.map(|reading| least(reading.clocks, start_ns - reading.clocks.at_ns));
        let mut until = self.until(start_ns).map(|reading| reading.clocks);
        let ran = until.next().zip(until.next()).filter(|(before, earlier)| before.cpu_ns > earlier.cpu_ns);
        let ran = ran.map(|(before, earlier)| least(before, start_ns - earlier.at_ns));
        [began, within, sure, ran].into_iter().flatten().max().unwrap_or(0)
    }

    /// Those that are not later, the last one first.
    fn until(&self, at_ns: u64) -> impl Iterator<Item = Settled> {
        self.readings.into_iter().rev().flatten().filter(move |reading| reading.clocks.at_ns <= at_ns)
    }
}

#[cfg(test)]
#[path = "past/tests.rs"]
mod tests;
