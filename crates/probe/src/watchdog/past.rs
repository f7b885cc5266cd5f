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
    readings: [Option<ClockReading>; KEPT],
    /// How old it was at most, and when, where it is too young for readings. It may be older than the clock.
    age_ns: Option<(u64, u64)>,
}

impl Past {
    pub(super) fn add(&mut self, tid: u32, reading: ClockReading) {
        if self.tid != tid {
            *self = Past { tid, ..Past::default() };
        }
        self.readings.rotate_left(1);
        self.readings[KEPT - 1] = Some(reading);
    }

    /// Whose they are.
    pub(super) fn tid(&self) -> u32 {
        self.tid
    }

    /// Those of this thread, if they are its.
    pub(super) fn of(&self, tid: u32) -> Past {
        if self.tid == tid { *self } else { Past::default() }
    }

    /// Those of a thread that nobody looked at before: it had done nothing when it began.
    pub(super) fn or_begin(self, thread: &ThreadRef, now_ns: u64) -> Past {
        if self.last().is_some() {
            return self;
        }
        Past { tid: thread.tid, age_ns: read_age(thread).map(|age_ns| (age_ns, now_ns)), ..self }
    }

    /// The newest one.
    pub(super) fn last(&self) -> Option<ClockReading> {
        self.readings[KEPT - 1]
    }

    /// The last one that is not later.
    pub(super) fn before(&self, at_ns: u64) -> Option<ClockReading> {
        self.until(at_ns).next()
    }

    /// The first one that is not earlier.
    pub(super) fn first_after(&self, at_ns: u64) -> Option<ClockReading> {
        self.readings.into_iter().flatten().find(|reading| reading.at_ns >= at_ns)
    }

    /// For how long the thread waited for a CPU from then, when it ran, to a reading, at least. A wait is counted when it ends. What
    /// was counted since a reading that shows that the thread had run since the one before had begun after that one.
    pub(super) fn waited_ns(&self, start_ns: u64, to: &ClockReading) -> u64 {
        let within = self.first_after(start_ns).filter(|reading| reading.at_ns <= to.at_ns);
        let mut until = self.until(start_ns);
        let ran = until.next().zip(until.next()).filter(|(before, earlier)| before.cpu_ns > earlier.cpu_ns);
        let new = ClockReading { at_ns: 0, cpu_ns: 0, run_delay_ns: 0 };
        let began = self.age_ns.map(|(age_ns, at_ns)| (new, (start_ns + age_ns).saturating_sub(at_ns)));
        let from =
            [began, within.map(|within| (within, 0)), ran.map(|(before, earlier)| (before, start_ns - earlier.at_ns))];
        let least = |(from, outside_ns): (ClockReading, u64)| {
            to.run_delay_ns.saturating_sub(from.run_delay_ns).saturating_sub(outside_ns)
        };
        from.into_iter().flatten().map(least).max().unwrap_or(0)
    }

    /// Those that are not later, the last one first.
    fn until(&self, at_ns: u64) -> impl Iterator<Item = ClockReading> {
        self.readings.into_iter().rev().flatten().filter(move |reading| reading.at_ns <= at_ns)
    }
}

#[cfg(test)]
#[path = "past/tests.rs"]
mod tests;
