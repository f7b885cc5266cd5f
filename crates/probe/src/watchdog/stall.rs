//! A poll that is late, from the moment that it is noticed to its end, and what follows from what was seen.

use std::sync::Arc;
use std::time::Duration;

use pollscope_stacks::thread::{ThreadRef, read_state};

use super::glance::Glances;
use super::naming::Exposure;
use super::shot::{Camera, Namer, Picture};
use crate::clock::Moment;
use pollscope_base::{Call, Cause, Evidence, Missing};

/// A thread's clocks at one moment, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) at_ns: u64,
    pub(super) cpu_ns: u64,
    pub(super) run_delay_ns: u64,
}

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
    tid: u32,
    /// While the thread did something else, before the poll began.
    before: Option<Reading>,
    /// When it was noticed, at half the threshold or a little later.
    noticed: Option<Reading>,
    /// The last one while the poll still went on.
    last: Option<Reading>,
    shots: Vec<Arc<Exposure>>,
    /// How old the poll was when the first look that showed something was complete.
    captured_after_ns: Option<u64>,
    glances: Glances,
    /// How long after the poll had become slow the first look was complete that found it over.
    missed_ns: Option<u64>,
    /// Whether its thread ran and did not answer in time, at a look.
    is_unanswered: bool,
    /// The next shot is due at this many times the threshold.
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
    clocks: Option<Reading>,
    end_ns: u64,
}

#[cfg(test)]
impl Ended {
    /// Of a stall that was seen so.
    pub(super) fn with(start: Moment, shots: Vec<Arc<Exposure>>) -> Ended {
        Ended { stall: Stall { shots, ..Stall::new(start, 0, 0, 0, None, 0) }, clocks: None, end_ns: 1 }
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
        let pictures: Vec<Picture> = match namer {
            Some(namer) => stall.shots.iter().map(|exposure| exposure.named(namer).clone()).collect(),
            None => stall
                .shots
                .iter()
                .map(|exposure| exposure.named_by_now().cloned().unwrap_or_else(|| Picture::unnamed(&exposure.shot)))
                .collect(),
        };
        let longest = longest_seen(&pictures, self.end_ns);
        let mostly = stall.glances.mostly();
        let mut clocks = Evidence::default();
        clocks.cause = cause(split, longest, mostly.map(|(cause, _)| cause), stall.suspended_ns, duration_ns);
        clocks.cpu_time = split.map(|split| Duration::from_nanos(split.cpu_ns));
        clocks.run_delay = split.map(|split| Duration::from_nanos(split.run_delay_ns));
        clocks.captures = stall.shots.len() as u32;
        clocks.captured_after = stall.captured_after_ns.map(Duration::from_nanos);
        clocks.missing = stall.missing();
        evidence(longest, mostly.and_then(|(_, call)| call), clocks)
    }
}

/// What a picture shows, or, of the call, what glances did, besides what is known already.
fn evidence(picture: Option<&Picture>, glanced: Option<&Call>, mut known: Evidence) -> Evidence {
    let is_blocked = matches!(known.cause, Some(Cause::BlockingCall | Cause::Lock) | None);
    known.call = picture.and_then(|picture| picture.shot.call.as_ref()).or(glanced).filter(|_| is_blocked).cloned();
    let Some(picture) = picture else { return known };
    known.blocking_line = picture.blocking_line.clone();
    known.function = picture.function.clone();
    known.stack = picture.stack.as_slice().into();
    known.stack_complete = picture.complete;
    known
}

/// How a poll's time was spent, as far as the clocks tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Split {
    cpu_ns: u64,
    run_delay_ns: u64,
    off_cpu_ns: u64,
}

impl Stall {
    /// `nested_ns`: how much of the poll so far were polls within it.
    pub(super) fn new(
        start: Moment,
        start_ns: u64,
        nested_ns: u64,
        tid: u32,
        before: Option<Reading>,
        now_ns: u64,
    ) -> Stall {
        // A reading from within the poll says nothing about its beginning, and one from before nothing about its end.
        let before = before.filter(|reading| reading.at_ns <= start_ns && nested_ns == 0);
        let noticed = Reading::take(tid, now_ns);
        Stall {
            start,
            start_ns,
            from_ns: start_ns.saturating_add(nested_ns),
            tid,
            before,
            noticed,
            last: noticed,
            shots: Vec::new(),
            captured_after_ns: None,
            glances: Glances::default(),
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
        camera: &mut Camera,
        threshold_ns: u64,
        now: impl Fn() -> u64,
        goes_on: impl Fn() -> bool,
    ) -> Option<Arc<Exposure>> {
        let at_ns = now();
        let age_ns = at_ns.saturating_sub(self.from_ns);
        let reading = Reading::take(self.tid, at_ns);
        let glance = read_state(&ThreadRef::here(self.tid));
        let shot = match age_ns >= threshold_ns.saturating_mul(self.due) {
            true => Some(camera.shoot(self.tid, at_ns)),
            false => None,
        };
        let done_ns = now();
        if !goes_on() {
            if shot.is_some() {
                let late_ns = done_ns.saturating_sub(self.from_ns.saturating_add(threshold_ns));
                self.missed_ns.get_or_insert(late_ns);
            }
            return None;
        }
        self.last = reading;
        if let Ok(state) = glance {
            self.glances.count(&state);
        }
        let shot = shot?;
        self.is_unanswered |= shot.as_ref().is_some_and(|shot| shot.is_unanswered);
        let is_empty = shot.as_ref().is_none_or(|shot| shot.stack.is_none());
        if is_empty && self.retries < RETRIES && camera.can_sample() {
            self.retries += 1;
            return None;
        }
        self.retries = 0;
        while age_ns >= threshold_ns.saturating_mul(self.due) {
            self.due = self.due.saturating_mul(2);
        }
        let shot = shot?;
        if self.captured_after_ns.is_none() && (shot.stack.is_some() || shot.call.is_some()) {
            self.captured_after_ns = Some(done_ns.saturating_sub(self.from_ns));
        }
        let exposure = Arc::new(Exposure::new(shot));
        self.shots.push(Arc::clone(&exposure));
        Some(exposure)
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
        let is_late = |last: &Reading| now_ns.saturating_sub(last.at_ns) > END_SLACK_NS;
        let now = if self.last.as_ref().is_some_and(is_late) { None } else { Reading::take(self.tid, now_ns) };
        // There is none now if the thread ended with the poll.
        let clocks = now.or(self.last);
        Ended { clocks, end_ns: clocks.map_or(now_ns, |clocks| clocks.at_ns), stall: self }
    }

    /// Why no look showed where it was, unless something stands in the way of all looks.
    fn missing(&self) -> Option<Missing> {
        let has_stack = self.shots.iter().any(|exposure| exposure.shot.stack.is_some());
        match self.missed_ns {
            _ if has_stack || !pollscope_stacks::SUPPORTED => None,
            _ if self.is_unanswered => Some(Missing::Unanswered),
            late_ns => late_ns
                .filter(|_| self.shots.is_empty())
                .map(|ns| Missing::WatchdogLate { late: Duration::from_nanos(ns), without_cpu: None }),
        }
    }

    /// What the last look that was named by now showed, for a poll that still goes on; if none was, the last one without names.
    /// It does not wait: names that did not come since the first look do not come within a few milliseconds either.
    pub(super) fn latest(&self) -> Evidence {
        let named = self.shots.iter().rev().find_map(|exposure| exposure.named_by_now()).cloned();
        let picture = named.or_else(|| self.shots.last().map(|exposure| Picture::unnamed(&exposure.shot)));
        let cause = picture.as_ref().and_then(|picture| picture.special.or(picture.shot.off_cpu));
        let mut known = Evidence::default();
        (known.cause, known.captures) = (cause, self.shots.len() as u32);
        known.captured_after = self.captured_after_ns.map(Duration::from_nanos);
        evidence(picture.as_ref(), None, known)
    }

    /// What the clocks say. Between the reading before the poll and the one when it was noticed lies its beginning: of what the
    /// thread did in between, at least what has no room before the poll is the poll's, and at most what has room in it. If it
    /// was first seen off the CPU, it is taken to have been so from the beginning.
    fn split(&self, end: Option<Reading>, duration_ns: u64) -> Option<Split> {
        let (noticed, end) = (self.noticed?, end?);
        let early_ns = noticed.at_ns.saturating_sub(self.from_ns);
        let is_blocked = self.shots.first().is_some_and(|first| first.shot.off_cpu.is_some());
        let part = |of: fn(&Reading) -> u64| {
            let early = self.before.map_or(0, |before| {
                let room_ns = if is_blocked { self.start_ns.saturating_sub(before.at_ns) } else { 0 };
                of(&noticed).saturating_sub(of(&before)).saturating_sub(room_ns).min(early_ns)
            });
            of(&end).saturating_sub(of(&noticed)) + early
        };
        let cpu_ns = part(|reading| reading.cpu_ns).min(duration_ns);
        let run_delay_ns = part(|reading| reading.run_delay_ns).min(duration_ns - cpu_ns);
        Some(Split { cpu_ns, run_delay_ns, off_cpu_ns: duration_ns - cpu_ns - run_delay_ns })
    }
}

/// The picture that stands for most of the time seen: each counts until the next one, and those of one place together.
fn longest_seen(pictures: &[Picture], end_ns: u64) -> Option<&Picture> {
    let until = |index: usize| pictures.get(index + 1).map_or(end_ns, |next| next.shot.at_ns);
    let weight = |of: &Picture| -> u64 {
        let same = pictures.iter().enumerate().filter(|(_, picture)| picture.is_same_place(of));
        same.map(|(index, picture)| until(index).saturating_sub(picture.shot.at_ns)).sum()
    };
    // A place, if there is one; the first of the heaviest: ties go to what was seen earlier.
    pictures.iter().rev().max_by_key(|picture| (picture.shot.stack.is_some(), weight(picture)))
}

fn cause(
    split: Option<Split>,
    picture: Option<&Picture>,
    glanced: Option<Cause>,
    suspended_ns: u64,
    duration_ns: u64,
) -> Option<Cause> {
    // A thread that ran, or waited for a CPU, was not stopped.
    let off_cpu_ns = split.map_or(duration_ns, |split| split.off_cpu_ns);
    if suspended_ns > duration_ns / 2 && off_cpu_ns > duration_ns / 2 {
        return Some(Cause::Suspended);
    }
    if let Some(special) = picture.and_then(|picture| picture.special) {
        return Some(special);
    }
    let off_cpu = picture.and_then(|picture| picture.shot.off_cpu).or(glanced);
    match split {
        Some(split) if split.cpu_ns >= split.run_delay_ns.max(split.off_cpu_ns) => Some(Cause::Cpu),
        Some(split) if split.run_delay_ns > split.off_cpu_ns => Some(Cause::Preempted),
        // Off the CPU, says the clock; in what, says what was seen.
        _ => off_cpu,
    }
}

#[cfg(test)]
mod tests {
    use pollscope_stacks::unwind::{End, Stack};

    use super::super::shot::Shot;
    use super::*;

    const MS: u64 = 1_000_000;

    fn stall(before: Option<Reading>, noticed: Reading) -> Stall {
        Stall { before, noticed: Some(noticed), ..Stall::new(Moment(1), 100 * MS, 0, 0, None, 0) }
    }

    fn reading(at: u64, cpu: u64, delay: u64) -> Reading {
        Reading { at_ns: at * MS, cpu_ns: cpu * MS, run_delay_ns: delay * MS }
    }

    #[test]
    fn the_clocks_are_split_among_cpu_delay_and_neither() {
        let blocked = stall(Some(reading(90, 10, 0)), reading(150, 12, 0));
        assert_eq!(
            blocked.split(Some(reading(300, 13, 1)), 200 * MS),
            Some(Split { cpu_ns: 3 * MS, run_delay_ns: MS, off_cpu_ns: 196 * MS })
        );
        // The whole time until it was noticed was spent on the CPU, and some before it.
        let busy = stall(Some(reading(50, 0, 0)), reading(150, 100, 0));
        assert_eq!(busy.split(Some(reading(300, 250, 0)), 200 * MS).map(|split| split.cpu_ns), Some(200 * MS));
        assert_eq!(busy.split(None, 200 * MS), None);
        // It was busy before the poll, and was then seen blocked: none of that is the poll's.
        let mut blocks = stall(Some(reading(50, 0, 0)), reading(120, 50, 0));
        blocks.shots.push(Arc::new(Exposure::new(Shot { off_cpu: Some(Cause::Lock), ..Shot::default() })));
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
        let outer = Stall::new(Moment(1), 100 * MS, 30 * MS, 0, Some(reading(50, 0, 0)), 140 * MS);
        assert_eq!((outer.start_ns, outer.from_ns, outer.before), (100 * MS, 130 * MS, None));
        assert_eq!(outer.next_look_ns(20 * MS), 150 * MS);
    }

    #[test]
    fn the_largest_share_is_the_cause() {
        let split = |cpu, delay, off| Some(Split { cpu_ns: cpu, run_delay_ns: delay, off_cpu_ns: off });
        let blocked = Picture { shot: Shot { off_cpu: Some(Cause::Lock), ..Shot::default() }, ..Picture::default() };
        let panics = Picture { special: Some(Cause::Panic), ..Picture::default() };
        assert_eq!(cause(split(10, 1, 189), Some(&blocked), None, 0, 200), Some(Cause::Lock));
        assert_eq!(cause(split(150, 10, 40), Some(&blocked), None, 0, 200), Some(Cause::Cpu));
        assert_eq!(cause(split(60, 100, 40), None, None, 0, 200), Some(Cause::Preempted));
        assert_eq!(cause(split(1, 1, 198), None, None, 0, 200), None, "off the CPU, but nobody saw in what");
        assert_eq!(cause(split(1, 1, 198), None, Some(Cause::Lock), 0, 200), Some(Cause::Lock), "but a glance did");
        assert_eq!(cause(split(1, 1, 198), Some(&blocked), None, 150, 200), Some(Cause::Suspended));
        assert_eq!(cause(split(150, 1, 49), None, None, 150, 200), Some(Cause::Cpu), "who ran was not stopped");
        assert_eq!(cause(split(199, 1, 0), Some(&panics), None, 0, 200), Some(Cause::Panic));
        assert_eq!(cause(None, Some(&blocked), None, 0, 200), Some(Cause::Lock));
    }

    #[test]
    fn shots_of_one_place_count_together() {
        let shot = |at_ns, line: &str| Picture {
            shot: Shot { at_ns, ..Shot::default() },
            blocking_line: Some(line.to_owned()),
            ..Picture::default()
        };
        let shots = [shot(100, "a:1"), shot(200, "b:2"), shot(350, "a:1")];
        assert_eq!(longest_seen(&shots, 400).unwrap().blocking_line.as_deref(), Some("a:1"));
        assert!(longest_seen(&[], 400).is_none());
        let mut seen =
            [shot(100, "a:1"), Picture { shot: Shot { at_ns: 200, ..Shot::default() }, ..Picture::default() }];
        seen[0].shot.stack = Some(Stack { frames: Vec::new(), end: End::Root, guessed: None });
        assert_eq!(longest_seen(&seen, 900).unwrap().blocking_line.as_deref(), Some("a:1"), "nothing seen is no place");
    }
}
