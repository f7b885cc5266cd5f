//! A poll that is late, from the moment that it is noticed to its end, and what follows from what was seen.

mod told;

use std::sync::Arc;
use std::time::Duration;

use pollscope_base::{Evidence, Missing};
use pollscope_stacks::look::{
    Between, ClockReading, Glance, Look, Looker, NamedLook, NamedSeen, Namer, Observation, Seen, SharedLook, Shares,
    SyscallSamples, TICK_NS, TimeSplit,
};
use pollscope_stacks::quota::Readings;
use pollscope_stacks::thread::{KERNEL_TICK_NS, State, ThreadRef, read_kernel_time};

pub(super) use told::Told;

use super::past::Past;
use super::stops::Stops;
use super::throttling::{Held, Throttling};
use crate::clock::Moment;
use crate::journal::Measured;
use crate::spans;

/// How late the clocks may be read at the end of a poll of which nobody knows when that was: what the thread did since is counted
/// as the poll's.
const END_SLACK_NS: u64 = 5_000_000;
/// How often a look that showed no stack is repeated before the next one is due.
const RETRIES: u32 = 5;
/// A thread that goes on from place to place is looked at after this part of the poll's age, so that a long poll is not looked at
/// for ever: one that runs, which takes a signal, and one that is off the CPU.
const RUNNING_PART: u64 = 8;
const BLOCKED_PART: u64 = 32;

/// Of so many futexes it is found out who has them, at one poll.
const MOST_ASKED: usize = 4;

pub(super) struct Stall {
    pub(super) start: Moment,
    start_ns: u64,
    /// The start, later by the time spent in polls within it: its age counts from here.
    pub(super) from_ns: u64,
    thread: ThreadRef,
    /// While the thread did something else, before the poll began.
    before: Option<ClockReading>,
    past: Option<Past>,
    /// Whether the poll went on after it was noticed.
    has_gone_on: bool,
    /// What CPU quotas had done before it began, at the look before, and when it was noticed; none without a quota.
    quota_from: [Option<Readings>; 2],
    /// When it was noticed, at half the threshold or a little later.
    noticed: Option<ClockReading>,
    /// Its time in the kernel then, and when the last of its clocks within the poll were read.
    kernel_ns: Option<u64>,
    last_kernel_ns: Option<u64>,
    /// The last one while the poll still went on.
    last: Option<ClockReading>,
    shares: Shares,
    /// Looks that are not handed over to be named: the poll is not slow yet.
    unnamed: Vec<Arc<SharedLook>>,
    /// When the last look was taken that counts.
    looked_ns: u64,
    /// How old the poll was when the first look that showed something was complete.
    captured_after_ns: Option<u64>,
    samples: SyscallSamples,
    /// The spans that it was in.
    pub(super) spans: spans::Seen,
    /// The futexes that it was to be found out of who has them.
    asked_for: Vec<u64>,
    /// How long after the poll had become slow the first look was complete that found it over.
    missed_ns: Option<u64>,
    /// Whether its thread ran and did not answer in time, at a look.
    is_unanswered: bool,
    /// What a glance showed after a look of which the answer may still come.
    asked: Option<Glance>,
    /// The next look is due at this many times the threshold, however still the thread stands.
    due: u64,
    /// How many looks of those due now showed no stack.
    retries: u32,
    /// Since when the thread stands still, by the looks and glances so far, and for how long it did at most.
    still_from_ns: u64,
    stood_ns: u64,
    /// Whether a first look is to tell whether there is anything to be looked at.
    pub(super) is_on_trial: bool,
    /// Whether the journal knows of it.
    pub(super) is_begun: bool,
    pub(super) told: Told,
}

/// A stall that is over.
pub(super) struct Ended {
    stall: Stall,
    /// The thread's clocks and its time in the kernel, when the end was noticed.
    clocks: Option<ClockReading>,
    kernel_ns: Option<u64>,
    held: Held,
    end: Measured,
    suspended: Between,
}

/// A thread that is not there.
#[cfg(test)]
pub(super) fn nobody() -> ThreadRef {
    pollscope_stacks::process::Process::current().thread(0)
}

#[cfg(test)]
impl Ended {
    /// Of a stall that was seen so.
    pub(super) fn with(start: Moment, looks: Vec<Look>) -> Ended {
        let mut stall = Stall::new(start, 0, 0, nobody(), Past::default(), 0);
        let clocks = ClockReading { at_ns: 0, cpu_ns: 0, run_delay_ns: 0, slices: 0 };
        (stall.noticed, stall.last) = (Some(clocks), Some(clocks));
        for look in looks {
            stall.shares.add(look, Glance { at_ns: 0, clocks: Some(clocks), state: None });
        }
        let ended = stall.end(|| 1_000, Some(Measured { end_ns: 1_000, duration_ns: 1_000 }), &Stops::new(0, 0));
        Ended { clocks: Some(ClockReading { at_ns: 1_000, ..clocks }), ..ended }
    }
}

impl Ended {
    /// Which poll it was, of its thread.
    pub(super) fn start(&self) -> Moment {
        self.stall.start
    }

    /// What was seen of it; without anybody to name it, as far as it was named before.
    pub(super) fn evidence(&self, namer: Option<&mut Namer>) -> Evidence {
        let Measured { duration_ns, .. } = self.end;
        let mut evidence = self.stall.evidence(namer, self.split(), self.held, self.suspended, duration_ns);
        evidence.missing = self.stall.missing();
        evidence
    }

    /// See [`Stall::on_loop_ns`].
    pub(super) fn on_loop_ns(&self) -> u64 {
        self.stall.on_loop_ns()
    }

    fn split(&self) -> Option<TimeSplit> {
        self.stall.split(self.clocks, self.kernel_ns, self.end)
    }
}

impl Stall {
    /// `nested_ns`: how much of the poll so far were polls within it.
    pub(super) fn new(
        start: Moment,
        start_ns: u64,
        nested_ns: u64,
        thread: ThreadRef,
        past: Past,
        now_ns: u64,
    ) -> Stall {
        let noticed = ClockReading::take(&thread, now_ns);
        // Clocks do not tell a poll from those within it.
        let past = (nested_ns == 0).then(|| past.or_begin(&thread, start_ns, now_ns));
        let kernel_ns = read_kernel_time(&thread).ok();
        Stall {
            start,
            start_ns,
            from_ns: start_ns.saturating_add(nested_ns),
            before: past.and_then(|past| past.before(start_ns)),
            past,
            has_gone_on: false,
            quota_from: [None; 2],
            noticed,
            kernel_ns,
            last_kernel_ns: kernel_ns,
            last: noticed,
            shares: Shares::default(),
            unnamed: Vec::new(),
            looked_ns: 0,
            captured_after_ns: None,
            samples: SyscallSamples::default(),
            spans: spans::Seen::default(),
            asked_for: Vec::new(),
            missed_ns: None,
            is_unanswered: false,
            asked: None,
            due: 1,
            retries: 0,
            still_from_ns: now_ns,
            stood_ns: 0,
            is_on_trial: false,
            is_begun: false,
            told: Told::default(),
            thread,
        }
    }

    /// Looks at the thread if that is due: when it is noticed, at 1×, 2×, 4×, … the threshold, when it is elsewhere than it was,
    /// and soon again after a look that showed nothing. What was seen counts only if the poll still goes on afterwards. Whether it
    /// took a look, which may have taken its time.
    pub(super) fn look(
        &mut self,
        looker: &mut Looker,
        threshold_ns: u64,
        now: impl Fn() -> u64,
        goes_on: impl Fn() -> bool,
    ) -> bool {
        let at_ns = now();
        self.take_late(looker, at_ns, threshold_ns);
        let before = self.glance(at_ns);
        let kernel_ns = read_kernel_time(&self.thread).ok();
        let is_still = self.shares.stands_still(&before);
        let look = self.is_due(&before, threshold_ns, is_still).then(|| looker.look(&self.thread, before.at_ns));
        let done_ns = now();
        let after = self.glance(done_ns);
        if !goes_on() {
            let slow_ns = self.from_ns.saturating_add(threshold_ns);
            if look.is_some() && done_ns >= slow_ns {
                self.missed_ns.get_or_insert(done_ns - slow_ns);
            }
            // It may have been asked when the poll was over.
            if self.asked.is_none() {
                looker.forget(&self.thread);
            }
            return look.is_some();
        }
        self.has_gone_on = true;
        self.last = before.clocks;
        self.last_kernel_ns = kernel_ns.or(self.last_kernel_ns);
        if !is_still {
            self.still_from_ns = at_ns;
        }
        self.stood_ns = self.stood_ns.max(at_ns.saturating_sub(self.still_from_ns));
        if let Some(state) = &before.state {
            self.samples.count(&self.thread, state);
        }
        if let Some(look) = look {
            self.take_up(look, [before, after], threshold_ns, looker.can_sample());
            return true;
        }
        if is_still {
            self.shares.stay(before);
        }
        false
    }

    /// A look within the poll, and glances before and after it; `None` if it failed.
    fn take_up(&mut self, look: Option<Look>, glances: [Glance; 2], threshold_ns: u64, can_sample: bool) {
        let [before, after] = glances;
        self.is_unanswered |= look.as_ref().is_some_and(|look| look.is_unanswered);
        if look.as_ref().is_some_and(|look| look.is_awaited) {
            self.asked.get_or_insert(after);
        }
        let is_empty = look.as_ref().is_none_or(|look| look.stack.is_none());
        if is_empty && self.retries < RETRIES && can_sample {
            self.retries += 1;
            return;
        }
        (self.retries, self.looked_ns) = (0, after.at_ns);
        let age_ns = before.at_ns.saturating_sub(self.from_ns);
        while age_ns >= threshold_ns.saturating_mul(self.due) {
            self.due = self.due.saturating_mul(2);
        }
        let Some(look) = look else { return };
        if look.stack.is_some() || look.call.is_some() {
            self.captured(after.at_ns, threshold_ns);
        }
        // Where it is until it answers, the answer says.
        if is_empty && self.asked.is_some() {
            return;
        }
        self.asked = None;
        // Asked where it is, a thread takes its time to answer; one that is off the CPU stood still meanwhile.
        let beside = if look.off_cpu.is_some() { before } else { after };
        self.unnamed.extend(self.shares.add(look, beside));
    }

    /// Takes the answer of the thread that did not give it in time, if it came: what it shows is of this poll, which went on when the
    /// time was over.
    pub(super) fn take_late(&mut self, looker: &mut Looker, now_ns: u64, threshold_ns: u64) {
        let Some(asked) = self.asked else { return };
        if let Some(look) = looker.late(&self.thread, asked.at_ns) {
            self.asked = None;
            self.captured(now_ns, threshold_ns);
            self.unnamed.extend(self.shares.add(look, asked));
        }
    }

    /// A look showed something, and was complete then.
    fn captured(&mut self, done_ns: u64, threshold_ns: u64) {
        let after_ns = done_ns.saturating_sub(self.from_ns).max(threshold_ns);
        self.captured_after_ns.get_or_insert(after_ns);
    }

    fn glance(&self, at_ns: u64) -> Glance {
        Glance::read(&self.thread, at_ns)
    }

    fn is_due(&self, now: &Glance, threshold_ns: u64, is_still: bool) -> bool {
        if self.is_on_trial && !self.shares.seen().is_empty() {
            return false;
        }
        let age_ns = now.at_ns.saturating_sub(self.from_ns);
        let is_running = now.state == Some(State::Running);
        let part = if is_running { RUNNING_PART } else { BLOCKED_PART };
        let has_moved = !is_still && now.at_ns.saturating_sub(self.looked_ns) >= age_ns / part;
        has_moved || age_ns >= threshold_ns.saturating_mul(self.due)
    }

    /// When it was last known to go on.
    pub(super) fn last_ns(&self) -> Option<u64> {
        self.last.map(|clocks| clocks.at_ns)
    }

    /// For how long its thread was known to be in one wait.
    pub(super) fn stood_ns(&self) -> u64 {
        self.stood_ns
    }

    /// Whether a look that has names by now showed its thread at work for the loop; `None` while no look has.
    pub(super) fn is_on_loop(&self) -> Option<bool> {
        let named = self.shares.seen().iter().filter_map(|seen| seen.look.named_by_now());
        named.map(|named| named.is_on_loop).reduce(|one, other| one || other)
    }

    /// For how long looks that have names by now showed its thread at work for the loop.
    pub(super) fn on_loop_ns(&self) -> u64 {
        let is_on_loop = |seen: &&Seen| seen.look.named_by_now().is_some_and(|named| named.is_on_loop);
        self.shares.seen().iter().filter(is_on_loop).map(|seen| seen.ns).sum()
    }

    /// The looks that are to be named, of a poll that is slow.
    pub(super) fn take_unnamed(&mut self) -> Vec<Arc<SharedLook>> {
        std::mem::take(&mut self.unnamed)
    }

    pub(super) fn thread(&self) -> &ThreadRef {
        &self.thread
    }

    /// Whether a look is the first that shows it wait in this futex: then it is to be found out who has it. Of very many it is not,
    /// as others wait for names meanwhile.
    pub(super) fn asks_for_holder(&mut self, look: &SharedLook) -> bool {
        let new = look.look.futex.map(|futex| futex.address).filter(|address| !self.asked_for.contains(address));
        let asks = new.filter(|_| self.asked_for.len() < MOST_ASKED);
        self.asked_for.extend(asks);
        asks.is_some()
    }

    /// When the next look is due, unless the last one is to be repeated: that is soon.
    pub(super) fn next_look_ns(&self, threshold_ns: u64) -> u64 {
        match self.retries {
            0 => self.from_ns.saturating_add(threshold_ns.saturating_mul(self.due)),
            _ => u64::MAX,
        }
    }

    /// The poll is over, and ended so, if it was a slow one: its thread's clocks, soon after. Where nobody knows when it ended, they
    /// are those of a while ago, if the thread may have done much else since, or ended.
    pub(super) fn end(mut self, now: impl Fn() -> u64, measured: Option<Measured>, stops: &Stops) -> Ended {
        let now_ns = now();
        let is_late = |last: &ClockReading| now_ns.saturating_sub(last.at_ns) > END_SLACK_NS;
        let is_unknown = measured.is_none() && self.last.as_ref().is_some_and(is_late);
        let read = if is_unknown { None } else { ClockReading::take(&self.thread, now_ns) };
        let kernel_ns = read.and_then(|_| read_kernel_time(&self.thread).ok());
        // It may have been held up since: what was counted until then may be of after the poll.
        let now = read.map(|read| ClockReading { at_ns: now(), ..read });
        let end = measured.unwrap_or_else(|| {
            // There is none now if the thread ended with the poll.
            let end_ns = now.or(self.last).map_or(now_ns, |clocks| clocks.at_ns);
            Measured { end_ns, duration_ns: end_ns.saturating_sub(self.from_ns) }
        });
        self.shares.end(&Glance { at_ns: end.end_ns, clocks: now, state: None });
        let suspended = stops.within(end.end_ns.saturating_sub(end.duration_ns), end.end_ns);
        Ended { clocks: now, kernel_ns, held: Held::default(), end, suspended, stall: self }
    }

    /// As [`Stall::end`], with what CPU quotas did, which is read now.
    pub(super) fn end_under(self, throttling: &mut Throttling, measured: Option<Measured>, stops: &Stops) -> Ended {
        let (before, start_ns) = (self.quota_from, self.start_ns);
        let ended = self.end(|| throttling.now_ns(), measured, stops);
        Ended { held: throttling.of(&before, [start_ns, ended.end.end_ns]), ..ended }
    }

    /// What CPU quotas had done at the look before this one, and now.
    pub(super) fn under(self, quota_from: [Option<Readings>; 2]) -> Stall {
        Stall { quota_from, ..self }
    }

    /// Why no look showed where it was, unless something stands in the way of all looks.
    fn missing(&self) -> Option<Missing> {
        let has_stack = self.shares.seen().iter().any(|seen| seen.look.look.stack.is_some());
        match self.missed_ns {
            _ if has_stack || !pollscope_stacks::SUPPORTED => None,
            _ if self.is_unanswered => Some(Missing::Unanswered),
            late_ns => late_ns
                .filter(|_| self.shares.seen().is_empty())
                .map(|ns| Missing::WatchdogLate { late: Duration::from_nanos(ns), without_cpu: None }),
        }
    }

    /// What was seen so far of a poll that still goes on, with the names that are there by now.
    pub(super) fn so_far(&self, now_ns: u64, stops: &Stops, throttling: &mut Throttling) -> Evidence {
        let duration_ns = now_ns.saturating_sub(self.from_ns);
        let end = Measured { end_ns: now_ns, duration_ns };
        let (clocks, kernel_ns) = (ClockReading::take(&self.thread, now_ns), read_kernel_time(&self.thread).ok());
        let clocks = clocks.map(|read| ClockReading { at_ns: throttling.now_ns(), ..read });
        let split = self.split(clocks, kernel_ns, end);
        let held = throttling.of(&self.quota_from, [self.start_ns, now_ns]);
        self.evidence(None, split, held, stops.within(self.from_ns, now_ns), duration_ns)
    }

    /// Whether something of it was named by now.
    pub(super) fn is_named(&self) -> bool {
        self.shares.seen().iter().any(|seen| seen.look.named_by_now().is_some())
    }

    fn evidence(
        &self,
        namer: Option<&mut Namer>,
        split: Option<TimeSplit>,
        held: Held,
        suspended: Between,
        duration_ns: u64,
    ) -> Evidence {
        let named_as = |seen: &Seen, named: NamedLook| NamedSeen { named, looks: seen.looks, ns: seen.ns };
        let seen: Vec<NamedSeen> = match namer {
            Some(namer) => {
                self.shares.seen().iter().map(|seen| named_as(seen, seen.look.named(namer).clone())).collect()
            }
            None => self.shares.seen().iter().map(|seen| named_as(seen, seen.look.as_known())).collect(),
        };
        let (early, samples) = (self.shares.early(self.from_ns, self.before.as_ref()), &self.samples);
        let Held { quota, counted: throttled } = held;
        let mut evidence =
            Observation { seen: &seen, early, samples, split, quota, throttled, suspended, duration_ns }.evidence();
        evidence.captured_after = self.captured_after_ns.map(Duration::from_nanos);
        (evidence.span, evidence.span_looks) = (self.spans.span(), self.spans.looks());
        evidence
    }

    /// What the clocks say, within bounds. Between the reading before the poll and the one when it was noticed lies its beginning,
    /// and between the last one in it and the one after it its end: of what the thread did in between, at least what has no room
    /// outside the poll is the poll's, and at most what has room in it.
    fn split(&self, after: Option<ClockReading>, kernel_ns: Option<u64>, end: Measured) -> Option<TimeSplit> {
        let (noticed, last) = (self.noticed?, self.last?);
        let early_ns = noticed.at_ns.saturating_sub(self.from_ns);
        let late_ns = end.end_ns.saturating_sub(last.at_ns);
        let before_ns = self.before.map_or(0, |before| self.start_ns.saturating_sub(before.at_ns));
        let after_ns = after.map_or(0, |after| after.at_ns.saturating_sub(end.end_ns));
        let cpu = |from: ClockReading, to: ClockReading| to.cpu_ns.saturating_sub(from.cpu_ns);
        let delay = |from: ClockReading, to: ClockReading| to.run_delay_ns.saturating_sub(from.run_delay_ns);
        // The reading before the poll is the scheduler's.
        let early = self.before.map(|before| Between::less(cpu(before, noticed), before_ns + TICK_NS, early_ns));
        let late = after.map(|after| Between::less(cpu(last, after), after_ns, late_ns));
        let early_cpu = early.unwrap_or(Between::at_most(early_ns));
        let rest_cpu = Between::exactly(cpu(noticed, last)) + late.unwrap_or(Between::at_most(late_ns));
        let cpu = (early_cpu + rest_cpu).within(end.duration_ns);
        // A wait is counted when it ends. The thread ran when the poll began: what had ended before may be longer than the time
        // between, and what ended after it was noticed may have begun before that, but not before the poll.
        let early_delay_ns = self.before.map_or(early_ns, |before| delay(before, noticed).min(early_ns));
        let rest = match after {
            Some(after) => Between::less(delay(noticed, after), after_ns, end.duration_ns),
            None => Between::exactly(delay(noticed, last)) + Between::at_most(late_ns),
        };
        let waited_ns = |to: &ClockReading| self.past.map_or(0, |past| past.waited_ns(self.start_ns, to));
        // What was read when it may have been over says nothing of it for sure.
        let early_waited_ns = if self.has_gone_on { waited_ns(&noticed) } else { 0 };
        let early_delay = Between { least_ns: early_waited_ns, most_ns: early_delay_ns.max(early_waited_ns) };
        let mut run_delay = early_delay + rest;
        let all_waited_ns = after.map_or(0, |after| waited_ns(&after).saturating_sub(after_ns));
        run_delay.least_ns = run_delay.least_ns.max(all_waited_ns.min(run_delay.most_ns));
        let run_delay = run_delay.within(end.duration_ns - cpu.least_ns);
        // Before it was noticed it did no more of both than there was time for, and likewise after.
        let early_on_ns = (early_cpu.most_ns + early_delay_ns).min(early_ns);
        let rest_on_ns = (rest_cpu.most_ns + rest.most_ns).min(end.end_ns.saturating_sub(noticed.at_ns));
        let off_cpu = Between {
            least_ns: end.duration_ns.saturating_sub(early_on_ns + rest_on_ns),
            most_ns: end.duration_ns - cpu.least_ns - run_delay.least_ns,
        };
        let kernel = self.kernel(kernel_ns, early_ns, after_ns).unwrap_or(Between::at_most(end.duration_ns));
        Some(TimeSplit { cpu, kernel: kernel.within(cpu.most_ns), run_delay, off_cpu })
    }

    /// Its time in the kernel, with what that was after the poll, of which the thread went on for so long; before it was noticed, it
    /// had gone on for so long as well.
    fn kernel(&self, after: Option<u64>, early_ns: u64, after_ns: u64) -> Option<Between> {
        let (noticed, last, after) = (self.kernel_ns?, self.last_kernel_ns?, after?);
        let within_ns = last.saturating_sub(noticed).saturating_sub(KERNEL_TICK_NS);
        let ns = after.saturating_sub(noticed);
        Some(Between {
            least_ns: within_ns.max(ns.saturating_sub(KERNEL_TICK_NS + after_ns)),
            most_ns: ns + KERNEL_TICK_NS + early_ns,
        })
    }
}

#[cfg(test)]
#[path = "stall/tests.rs"]
mod tests;
