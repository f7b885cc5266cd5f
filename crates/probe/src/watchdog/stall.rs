//! A poll that is late, from the moment that it is noticed to its end, and what follows from what was seen.

use std::sync::Arc;
use std::time::Duration;

use pollscope_base::{Evidence, Missing};
use pollscope_stacks::look::{
    ClockReading, Looker, NamedLook, Namer, Observation, SharedLook, SyscallSamples, TimeSplit,
};
use pollscope_stacks::thread::{ThreadRef, read_state};

use crate::clock::Moment;

/// A poll that lasts this many times the threshold gets a line while it still runs,
const STILL: u64 = 10;
/// but none that is shorter than this.
const SHORTEST_STILL_NS: u64 = 100_000_000;
/// How late the clocks may be read at the end: what the thread did since is counted as the poll's.
const END_SLACK_NS: u64 = 5_000_000;
/// How often a look that showed no stack is repeated before the next one is due.
const RETRIES: u32 = 5;

pub(super) struct Stall {
    pub(super) start: Moment,
    start_ns: u64,
    /// The start, later by the time spent in polls within it: its age counts from here.
    pub(super) from_ns: u64,
    thread: ThreadRef,
    /// While the thread did something else, before the poll began.
    before: Option<ClockReading>,
    /// When it was noticed, at half the threshold or a little later.
    noticed: Option<ClockReading>,
    /// The last one while the poll still went on.
    last: Option<ClockReading>,
    looks: Vec<Arc<SharedLook>>,
    /// How old the poll was when the first look that showed something was complete.
    captured_after_ns: Option<u64>,
    samples: SyscallSamples,
    /// How long after the poll had become slow the first look was complete that found it over.
    missed_ns: Option<u64>,
    /// Whether its thread ran and did not answer in time, at a look.
    is_unanswered: bool,
    /// The next look is due at this many times the threshold.
    due: u64,
    /// How many looks of those due now showed no stack.
    retries: u32,
    /// Whether the journal knows of it.
    pub(super) is_begun: bool,
    /// Whether a line said that it still goes on.
    pub(super) is_said: bool,
    /// How long this thread itself did not run when it should have: the process was stopped, or starved.
    pub(super) suspended_ns: u64,
}

/// A stall that is over.
pub(super) struct Ended {
    stall: Stall,
    clocks: Option<ClockReading>,
    end_ns: u64,
}

/// A thread that is not there.
#[cfg(test)]
pub(super) fn nobody() -> ThreadRef {
    pollscope_stacks::process::Process::current().thread(0)
}

#[cfg(test)]
impl Ended {
    /// Of a stall that was seen so.
    pub(super) fn with(start: Moment, looks: Vec<Arc<SharedLook>>) -> Ended {
        Ended { stall: Stall { looks, ..Stall::new(start, 0, 0, nobody(), None, 0) }, clocks: None, end_ns: 1 }
    }
}

impl Ended {
    /// Which poll it was, of its thread.
    pub(super) fn start(&self) -> Moment {
        self.stall.start
    }

    /// What was seen of it; without anybody to name it, as far as it was named before.
    pub(super) fn evidence(&self, namer: Option<&mut Namer>) -> Evidence {
        let stall = &self.stall;
        let duration_ns = self.end_ns.saturating_sub(stall.from_ns);
        let split = stall.split(self.clocks, duration_ns);
        let looks: Vec<NamedLook> = match namer {
            Some(namer) => stall.looks.iter().map(|look| look.named(namer).clone()).collect(),
            None => stall.looks.iter().map(|look| look.as_known()).collect(),
        };
        let observation = Observation {
            looks: &looks,
            samples: &stall.samples,
            split,
            suspended_ns: stall.suspended_ns,
            duration_ns,
            end_ns: self.end_ns,
        };
        let mut evidence = observation.evidence();
        evidence.captured_after = stall.captured_after_ns.map(Duration::from_nanos);
        evidence.missing = stall.missing();
        evidence
    }
}

impl Stall {
    /// `nested_ns`: how much of the poll so far were polls within it.
    pub(super) fn new(
        start: Moment,
        start_ns: u64,
        nested_ns: u64,
        thread: ThreadRef,
        before: Option<ClockReading>,
        now_ns: u64,
    ) -> Stall {
        // A reading from within the poll says nothing about its beginning, and one from before nothing about its end.
        let before = before.filter(|reading| reading.at_ns <= start_ns && nested_ns == 0);
        let noticed = ClockReading::take(&thread, now_ns);
        Stall {
            start,
            start_ns,
            from_ns: start_ns.saturating_add(nested_ns),
            thread,
            before,
            noticed,
            last: noticed,
            looks: Vec::new(),
            captured_after_ns: None,
            samples: SyscallSamples::default(),
            missed_ns: None,
            is_unanswered: false,
            due: 1,
            retries: 0,
            is_begun: false,
            is_said: false,
            suspended_ns: 0,
        }
    }

    /// Looks at the thread if that is due: at 1×, 2×, 4×, … the threshold, and soon again after a look that showed nothing.
    /// What was seen counts only if the poll still goes on afterwards; it is to be named.
    pub(super) fn look(
        &mut self,
        looker: &mut Looker,
        threshold_ns: u64,
        now: impl Fn() -> u64,
        goes_on: impl Fn() -> bool,
    ) -> Option<Arc<SharedLook>> {
        let at_ns = now();
        let age_ns = at_ns.saturating_sub(self.from_ns);
        let reading = ClockReading::take(&self.thread, at_ns);
        let sample = read_state(&self.thread);
        let look = match age_ns >= threshold_ns.saturating_mul(self.due) {
            true => Some(looker.look(&self.thread, at_ns)),
            false => None,
        };
        let done_ns = now();
        if !goes_on() {
            if look.is_some() {
                let late_ns = done_ns.saturating_sub(self.from_ns.saturating_add(threshold_ns));
                self.missed_ns.get_or_insert(late_ns);
            }
            return None;
        }
        self.last = reading;
        if let Ok(state) = sample {
            self.samples.count(&self.thread.process, &state);
        }
        let look = look?;
        self.is_unanswered |= look.as_ref().is_some_and(|look| look.is_unanswered);
        let is_empty = look.as_ref().is_none_or(|look| look.stack.is_none());
        if is_empty && self.retries < RETRIES && looker.can_sample() {
            self.retries += 1;
            return None;
        }
        self.retries = 0;
        while age_ns >= threshold_ns.saturating_mul(self.due) {
            self.due = self.due.saturating_mul(2);
        }
        let look = look?;
        if self.captured_after_ns.is_none() && (look.stack.is_some() || look.call.is_some()) {
            self.captured_after_ns = Some(done_ns.saturating_sub(self.from_ns));
        }
        let look = Arc::new(SharedLook::new(look));
        self.looks.push(Arc::clone(&look));
        Some(look)
    }

    /// When the next look is due, unless the last one is to be repeated: that is soon.
    pub(super) fn next_look_ns(&self, threshold_ns: u64) -> u64 {
        match self.retries {
            0 => self.from_ns.saturating_add(threshold_ns.saturating_mul(self.due)),
            _ => u64::MAX,
        }
    }

    /// When a line is to say that it still goes on.
    pub(super) fn say_at_ns(&self, threshold_ns: u64) -> u64 {
        let age_ns = threshold_ns.saturating_mul(STILL).max(SHORTEST_STILL_NS);
        if self.is_said || !self.is_begun { u64::MAX } else { self.from_ns.saturating_add(age_ns) }
    }

    /// The poll is over: its thread's clocks, before it does much else; those of a while ago, if it may have done so or ended.
    pub(super) fn end(self, now_ns: u64) -> Ended {
        let is_late = |last: &ClockReading| now_ns.saturating_sub(last.at_ns) > END_SLACK_NS;
        let now = if self.last.as_ref().is_some_and(is_late) { None } else { ClockReading::take(&self.thread, now_ns) };
        // There is none now if the thread ended with the poll.
        let clocks = now.or(self.last);
        Ended { clocks, end_ns: clocks.map_or(now_ns, |clocks| clocks.at_ns), stall: self }
    }

    /// Why no look showed where it was, unless something stands in the way of all looks.
    fn missing(&self) -> Option<Missing> {
        let has_stack = self.looks.iter().any(|look| look.look.stack.is_some());
        match self.missed_ns {
            _ if has_stack || !pollscope_stacks::SUPPORTED => None,
            _ if self.is_unanswered => Some(Missing::Unanswered),
            late_ns => late_ns
                .filter(|_| self.looks.is_empty())
                .map(|ns| Missing::WatchdogLate { late: Duration::from_nanos(ns), without_cpu: None }),
        }
    }

    /// What the last look that was named by now showed, for a poll that still goes on; if none was, the last one without names.
    /// It does not wait: names that did not come since the first look do not come within a few milliseconds either.
    pub(super) fn latest(&self) -> Evidence {
        let named = self.looks.iter().rev().find_map(|look| look.named_by_now()).cloned();
        let look = named.or_else(|| self.looks.last().map(|look| look.as_known()));
        let mut seen = look.map_or_else(Evidence::default, |look| look.evidence());
        seen.captures = self.looks.len() as u32;
        seen.captured_after = self.captured_after_ns.map(Duration::from_nanos);
        seen
    }

    /// What the clocks say. Between the reading before the poll and the one when it was noticed lies its beginning: of what the
    /// thread did in between, at least what has no room before the poll is the poll's, and at most what has room in it. If it
    /// was first seen off the CPU, it is taken to have been so from the beginning.
    fn split(&self, end: Option<ClockReading>, duration_ns: u64) -> Option<TimeSplit> {
        let (noticed, end) = (self.noticed?, end?);
        let early_ns = noticed.at_ns.saturating_sub(self.from_ns);
        let is_blocked = self.looks.first().is_some_and(|first| first.look.off_cpu.is_some());
        let part = |of: fn(&ClockReading) -> u64| {
            let early = self.before.map_or(0, |before| {
                let room_ns = if is_blocked { self.start_ns.saturating_sub(before.at_ns) } else { 0 };
                of(&noticed).saturating_sub(of(&before)).saturating_sub(room_ns).min(early_ns)
            });
            of(&end).saturating_sub(of(&noticed)) + early
        };
        let cpu_ns = part(|reading| reading.cpu_ns).min(duration_ns);
        let run_delay_ns = part(|reading| reading.run_delay_ns).min(duration_ns - cpu_ns);
        Some(TimeSplit { cpu_ns, run_delay_ns, off_cpu_ns: duration_ns - cpu_ns - run_delay_ns })
    }
}

#[cfg(test)]
mod tests {
    use pollscope_base::Cause;
    use pollscope_stacks::look::Look;

    use super::*;

    const MS: u64 = 1_000_000;

    fn stall(before: Option<ClockReading>, noticed: ClockReading) -> Stall {
        Stall { before, noticed: Some(noticed), ..Stall::new(Moment(1), 100 * MS, 0, nobody(), None, 0) }
    }

    fn reading(at: u64, cpu: u64, delay: u64) -> ClockReading {
        ClockReading { at_ns: at * MS, cpu_ns: cpu * MS, run_delay_ns: delay * MS }
    }

    #[test]
    fn the_clocks_are_split_among_cpu_delay_and_neither() {
        let blocked = stall(Some(reading(90, 10, 0)), reading(150, 12, 0));
        assert_eq!(
            blocked.split(Some(reading(300, 13, 1)), 200 * MS),
            Some(TimeSplit { cpu_ns: 3 * MS, run_delay_ns: MS, off_cpu_ns: 196 * MS })
        );
        // The whole time until it was noticed was spent on the CPU, and some before it.
        let busy = stall(Some(reading(50, 0, 0)), reading(150, 100, 0));
        assert_eq!(busy.split(Some(reading(300, 250, 0)), 200 * MS).map(|split| split.cpu_ns), Some(200 * MS));
        assert_eq!(busy.split(None, 200 * MS), None);
        // It was busy before the poll, and was then seen blocked: none of that is the poll's.
        let mut blocks = stall(Some(reading(50, 0, 0)), reading(120, 50, 0));
        blocks.looks.push(Arc::new(SharedLook::new(Look { off_cpu: Some(Cause::Lock), ..Look::default() })));
        assert_eq!(blocks.split(Some(reading(150, 50, 0)), 50 * MS).map(|split| split.cpu_ns), Some(0));
        blocks.noticed = Some(reading(120, 60, 0));
        assert_eq!(blocks.split(Some(reading(150, 60, 0)), 50 * MS).map(|split| split.cpu_ns), Some(10 * MS));
    }

    /// Its thread may be busy with others by the time that somebody looks.
    #[test]
    fn an_end_that_is_noticed_late_is_not_charged_with_what_came_after() {
        let mut late = stall(Some(reading(90, 0, 0)), reading(120, 0, 0));
        late.last = Some(reading(160, 1, 0));
        let ended = late.end(300 * MS);
        assert_eq!((ended.clocks, ended.end_ns), (Some(reading(160, 1, 0)), 160 * MS));
    }

    /// A LocalSet's tasks are polled within its own poll, and are charged themselves.
    #[test]
    fn time_in_nested_polls_does_not_make_a_poll_older() {
        let outer = Stall::new(Moment(1), 100 * MS, 30 * MS, nobody(), Some(reading(50, 0, 0)), 140 * MS);
        assert_eq!((outer.start_ns, outer.from_ns, outer.before), (100 * MS, 130 * MS, None));
        assert_eq!(outer.next_look_ns(20 * MS), 150 * MS);
    }
}
