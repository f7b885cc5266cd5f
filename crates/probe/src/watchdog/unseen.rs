//! What can be said of a slow poll that nobody looked at, as it was over when the watchdog came: what the clocks leave no doubt about.

use std::collections::HashMap;

use pollscope_base::{Cause, Evidence};
use pollscope_stacks::look::{Between, ClockReading, Early, Observation, SyscallSamples, TICK_NS, TimeSplit};
use pollscope_stacks::process::Process;

use super::Thread;
use super::past::Past;
use super::stops::Stops;
use super::throttling::{Held, Throttling};
use crate::clock::Clock;
use crate::journal::Measured;

/// Moments are told in nanoseconds each by itself.
const ROUNDED_NS: u64 = 1_000;

/// At one look, for the polls that were over by then.
pub(super) struct Unseen<'a> {
    pub(super) process: Process,
    pub(super) threads: &'a HashMap<usize, Thread>,
    pub(super) stops: &'a Stops,
    pub(super) throttling: &'a mut Throttling,
    pub(super) clock: &'a Clock,
    /// What is known of threads, with a reading of now, by slot.
    pub(super) known: HashMap<usize, Option<(Past, ClockReading)>>,
}

impl Unseen<'_> {
    /// What is known of such a poll.
    pub(super) fn evidence(&mut self, (slot, start_ns): (usize, u64), end: Measured) -> Evidence {
        let Measured { end_ns, duration_ns } = end;
        // Clocks do not tell a poll from those within it.
        let is_alone = start_ns.saturating_add(duration_ns).abs_diff(end_ns) <= ROUNDED_NS;
        let known = if is_alone { self.known_of(slot, start_ns, end_ns) } else { None };
        let split = known.map(|(past, after)| split(&past, start_ns, end_ns, after));
        let held = split.map(|_| self.throttling.of_unseen([start_ns, end_ns])).unwrap_or_default();
        let suspended = self.stops.within(end_ns.saturating_sub(duration_ns), end_ns);
        let (early, samples) = (Early::default(), &SyscallSamples::default());
        let Held { quota, counted: throttled } = held;
        let mut evidence =
            Observation { seen: &[], early, samples, split, quota, throttled, suspended, duration_ns }.evidence();
        // On the CPU, but in whose code, or in the kernel?
        evidence.cause = evidence.cause.filter(|cause| !matches!(cause, Cause::Cpu | Cause::Kernel));
        evidence
    }

    fn known_of(&mut self, slot: usize, start_ns: u64, end_ns: u64) -> Option<(Past, ClockReading)> {
        let (process, clock, past) = (self.process, self.clock, &self.threads.get(&slot)?.past);
        let read = || {
            let thread = process.thread(past.tid());
            let after = ClockReading::take(&thread, 0)?;
            // It may have been held up in between: what was counted until then may be of after the poll.
            Some((past.or_begin(&thread, start_ns, clock.now_ns()), ClockReading { at_ns: clock.now_ns(), ..after }))
        };
        let known = *self.known.entry(slot).or_insert_with(read);
        // Of a thread that ended, nothing is known but what was.
        known.or_else(|| Some((*past, past.first_after(end_ns)?)))
    }
}

/// How a poll from then to then was spent, with a reading from after it.
fn split(past: &Past, start_ns: u64, end_ns: u64, after: ClockReading) -> TimeSplit {
    let (duration_ns, after_ns) = (end_ns.saturating_sub(start_ns), after.at_ns.saturating_sub(end_ns));
    let before = past.before(start_ns);
    let cpu = before.map_or(Between::at_most(duration_ns), |before| {
        let outside_ns = start_ns - before.at_ns + TICK_NS + after_ns;
        Between::less(after.cpu_ns.saturating_sub(before.cpu_ns), outside_ns, duration_ns)
    });
    let run_delay = Between {
        // It ran when the poll ended: what ended after that began after that.
        least_ns: past.waited_ns(start_ns, &after).saturating_sub(after_ns),
        most_ns: before.map_or(duration_ns, |before| after.run_delay_ns.saturating_sub(before.run_delay_ns)),
    };
    let run_delay = run_delay.within(duration_ns - cpu.least_ns);
    let off_cpu = Between {
        least_ns: duration_ns.saturating_sub(cpu.most_ns + run_delay.most_ns),
        most_ns: duration_ns - cpu.least_ns - run_delay.least_ns,
    };
    TimeSplit { cpu, kernel: Between::at_most(cpu.most_ns), run_delay, off_cpu }
}

#[cfg(test)]
#[path = "unseen/tests.rs"]
mod tests;
