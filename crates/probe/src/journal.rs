//! Slow polls that left their rings: listed at once, and delivered when what belongs to them is known.
//!
//! What the watchdog saw and who waited come a moment after a slow poll ended. Anyone who lists slow polls gets them at once, with
//! what is known; callbacks and lines wait: a little for who waited, and for as long as the watchdog and what names its looks are
//! there for what was seen, within a bound. What did not come by then is told with the reason.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;
use crate::snapshot::{Polling, SlowPoll};
use pollscope_base::duration::to_ns;
use pollscope_base::{Blame, Cause, Evidence, Missing, Shortfalls, Span, Waited};

/// Slow polls that wait for delivery, at most.
const QUEUE_CAPACITY: usize = 4_096;
/// How long delivery waits for tasks that may still turn out to have waited, after the end of the poll, or after the last one that was
/// found. Tens of thousands of them are polled for longer than that.
const BLAME_PATIENCE_NS: u64 = 150_000_000;
/// For how long nobody may be added any more until that is taken for granted: a thread may be about to go on.
const CLOSED_NS: u64 = 1_000_000_000;
/// How long after the end of a poll delivery waits for what the watchdog saw of it, while that is on its way. The first names
/// of a debug build take seconds on a busy machine.
pub(crate) const EVIDENCE_PATIENCE_NS: u64 = 10_000_000_000;
/// How long evidence is kept for a poll that never comes, because it was not slow by itself or was dropped.
const ORPHAN_NS: u64 = 10_000_000_000;
/// Of how many such polls at most; the oldest goes first.
const ORPHANS: usize = 256;
/// Of so many polls that still go on it waits to be told, at most; what more there would have been is counted.
const SAID_CAPACITY: usize = 32;

/// Which poll: the slot's number, and the poll's start.
pub(crate) type Key = (usize, Moment);

/// How long a slow poll lasted, as its thread measured it, by the probe's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Measured {
    pub(crate) end_ns: u64,
    /// Its own time, without polls within it.
    pub(crate) duration_ns: u64,
}

/// What the watchdog is at work on, and what it found.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// With what can be said without names, once the poll is over.
    active: HashMap<Key, Option<Evidence>>,
    /// What is known of those that still go on.
    open: HashMap<Key, Evidence>,
    /// Whether there is a watchdog that looks.
    looks: bool,
    found: HashMap<Key, (Evidence, u64)>,
}

impl Watched {
    /// There is a watchdog from now on.
    pub(crate) fn start(&mut self) {
        self.looks = true;
    }

    /// Whether there is one.
    pub(crate) fn looks(&self) -> bool {
        self.looks
    }

    /// The watchdog begins to look at a poll.
    pub(crate) fn begin(&mut self, key: Key) {
        self.active.insert(key, None);
    }

    /// What is known by now of a poll that still goes on.
    pub(crate) fn open(&mut self, key: Key, evidence: Evidence) {
        if self.active.contains_key(&key) {
            self.open.insert(key, evidence);
        }
    }

    /// The same, for the one who asks.
    pub(crate) fn known_of(&self, key: &Key) -> Option<&Evidence> {
        self.open.get(key)
    }

    /// What was seen of a poll that is over, before it is named.
    pub(crate) fn unnamed(&mut self, key: Key, evidence: Evidence) {
        self.open.remove(&key);
        if let Some(known) = self.active.get_mut(&key) {
            *known = Some(evidence);
        }
    }

    #[cfg(test)]
    pub(crate) fn is_at_work_on(&self, key: &Key) -> bool {
        self.active.contains_key(key)
    }

    /// The watchdog is gone, and finds out no more.
    pub(crate) fn abandon(&mut self) {
        self.looks = false;
        self.active.clear();
        self.open.clear();
    }

    /// Keeps what was seen of a poll that is not known to be slow: it may be still going on, after polls within it.
    fn keep(&mut self, key: Key, evidence: Evidence, now_ns: u64) {
        self.found.retain(|_, (_, at_ns)| now_ns.saturating_sub(*at_ns) < ORPHAN_NS);
        let known = self.found.get(&key).map_or(0, |(known, _)| known.captures);
        if evidence.captures >= known {
            self.found.insert(key, (evidence, now_ns));
        }
        if self.found.len() > ORPHANS {
            let oldest = self.found.iter().min_by_key(|(_, (_, at_ns))| *at_ns).map(|(key, _)| *key);
            oldest.into_iter().for_each(|key| _ = self.found.remove(&key));
        }
    }
}

/// A poll that still goes on, to be told, as it is by then.
#[derive(Debug)]
pub(crate) struct Still {
    pub(crate) stall: Polling,
    /// Whether it was not told before.
    pub(crate) is_first: bool,
}

/// A slow poll that was not delivered yet.
#[derive(Debug)]
struct Waiting {
    key: Key,
    end_ns: u64,
    poll: SlowPoll,
    /// Its place in the list, if there was room.
    listed: Option<usize>,
    /// Whether the watchdog was heard of it: of what it saw, or that it saw nothing.
    is_settled: bool,
}

/// A slow poll that is listed, while tasks may still turn out to have waited for it: also after its delivery.
#[derive(Debug)]
struct Charging {
    key: Key,
    /// Its place in the list.
    listed: usize,
    /// So many were known at last, and since when.
    tasks: u64,
    grew_ns: u64,
    /// Since when nobody is added any more.
    closed_ns: Option<u64>,
    /// Who waited longest, at last.
    worst: Option<Waited>,
}

#[derive(Debug, Default)]
pub(crate) struct Journal {
    list: Vec<SlowPoll>,
    capacity: usize,
    /// Taken from the rings so far.
    taken: u64,
    waiting: VecDeque<Waiting>,
    charging: Vec<Charging>,
    /// Found no room in the queue.
    queue_dropped: u64,
    pub(crate) watched: Watched,
    /// Delivered and listed before the watchdog was done with them: their place in the list.
    late: HashMap<Key, usize>,
    /// Those that were delivered without what could be known.
    pub(crate) shortfalls: Shortfalls,
    /// What is to be told of polls that still go on, and how many found no room since that was last taken.
    said: Vec<Still>,
    unsaid: u64,
    /// Polls of which it was to be told for the first time, and for which there was no room.
    untold: u64,
}

/// Who waited for a poll, and whether more can be found.
pub(crate) type BlameOf<'a> = &'a dyn Fn(Key) -> Option<(Blame, bool)>;

impl Journal {
    pub(crate) fn new(capacity: usize) -> Journal {
        Journal { capacity, ..Journal::default() }
    }

    /// The id of the next slow poll.
    pub(crate) fn next_id(&self) -> u64 {
        self.taken + 1
    }

    pub(crate) fn add(&mut self, key: Key, end_ns: u64, mut poll: SlowPoll) {
        self.taken += 1;
        let found = self.watched.found.remove(&key);
        let is_settled = found.is_some();
        if let Some((evidence, _)) = found {
            learn(&mut poll, evidence);
        }
        let listed = (self.list.len() < self.capacity).then_some(self.list.len());
        if let Some(listed) = listed {
            self.list.push(poll.clone());
            self.charging.push(Charging { key, listed, tasks: 0, grew_ns: end_ns, closed_ns: None, worst: None });
        }
        if self.waiting.len() < QUEUE_CAPACITY {
            self.waiting.push_back(Waiting { key, end_ns, poll, listed, is_settled });
        } else {
            self.queue_dropped += 1;
            self.await_late(key, listed);
        }
    }

    /// What was seen of a poll, which ended or is in another one now.
    pub(crate) fn seen(&mut self, key: Key, evidence: Evidence, now_ns: u64) {
        self.watched.active.remove(&key);
        self.watched.open.remove(&key);
        let waiting = self.waiting.iter_mut().rev().find(|waiting| waiting.key == key);
        let listed = match &waiting {
            Some(waiting) => waiting.listed,
            None => self.late.remove(&key),
        };
        if let Some(place) = listed {
            learn(&mut self.list[place], evidence.clone());
        }
        match waiting {
            Some(waiting) => {
                learn(&mut waiting.poll, evidence);
                waiting.is_settled = true;
            }
            None if listed.is_none() => self.watched.keep(key, evidence, now_ns),
            None => {}
        }
    }

    /// The watchdog began a look at all threads at that time. What was over by then, and of which it knows nothing, it missed.
    /// `unseen`: what is known of one all the same.
    pub(crate) fn looked(
        &mut self,
        at_ns: u64,
        threshold_ns: u64,
        without_cpu_ns: Option<u64>,
        unseen: &mut dyn FnMut(Key, Measured) -> Evidence,
    ) {
        for waiting in &mut self.waiting {
            if waiting.is_settled || waiting.end_ns > at_ns || self.watched.active.contains_key(&waiting.key) {
                continue;
            }
            waiting.is_settled = true;
            let duration_ns = to_ns(waiting.poll.duration);
            let start_ns = waiting.end_ns.saturating_sub(duration_ns);
            let slow_ns = start_ns.saturating_add(threshold_ns);
            let late = Duration::from_nanos(at_ns.saturating_sub(slow_ns));
            let without_cpu = without_cpu_ns.map(|ns| Duration::from_nanos(ns).min(late));
            let mut evidence = unseen(waiting.key, Measured { end_ns: waiting.end_ns, duration_ns });
            evidence.missing = Some(Missing::WatchdogLate { late, without_cpu });
            evidence.span = waiting.poll.evidence.span.take();
            waiting.poll.evidence = evidence;
            if let Some(place) = waiting.listed {
                self.list[place].evidence = waiting.poll.evidence.clone();
            }
        }
    }

    /// How long a slow poll lasted that is not delivered yet.
    pub(crate) fn measured(&self, key: Key) -> Option<Measured> {
        let waiting = self.waiting.iter().rev().find(|waiting| waiting.key == key)?;
        Some(Measured { end_ns: waiting.end_ns, duration_ns: to_ns(waiting.poll.duration) })
    }

    /// Whether a slow poll waits for the watchdog's next look.
    pub(crate) fn awaits_look(&self) -> bool {
        let awaits = |waiting: &Waiting| !waiting.is_settled && !self.watched.active.contains_key(&waiting.key);
        self.watched.looks && self.waiting.iter().any(awaits)
    }

    /// The list is still to hear what the watchdog finds out of a poll that is not waited for.
    fn await_late(&mut self, key: Key, listed: Option<usize>) {
        if let Some(place) = listed.filter(|_| self.watched.active.contains_key(&key)) {
            self.late.insert(key, place);
        }
    }

    /// A poll that still goes on is to be told.
    pub(crate) fn say(&mut self, still: Still) {
        if self.said.len() < SAID_CAPACITY {
            return self.said.push(still);
        }
        self.unsaid += 1;
        self.untold += u64::from(still.is_first);
    }

    /// What came by [`Journal::say`] since this was last asked, and how many more found no room.
    pub(crate) fn take_said(&mut self) -> (Vec<Still>, u64) {
        (std::mem::take(&mut self.said), std::mem::take(&mut self.unsaid))
    }

    pub(crate) fn untold(&self) -> u64 {
        self.untold
    }

    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    pub(crate) fn queue_dropped(&self) -> u64 {
        self.queue_dropped
    }

    pub(crate) fn is_delivered(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether nothing is left to deliver, and the watchdog is at work on nothing.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_delivered() && self.watched.active.is_empty()
    }

    /// Takes up who waited for the slow polls that are listed. Threads forget that after some more of them: if by then not everybody
    /// was known, nobody is told, as those that are would pass for all.
    pub(crate) fn charge(&mut self, now_ns: u64, blame: BlameOf<'_>) {
        let list = &mut self.list;
        self.charging.retain_mut(|charging| {
            let poll = &mut list[charging.listed];
            let Some((blame, is_closed)) = blame(charging.key) else {
                if charging.closed_ns.is_none() {
                    poll.blame = None;
                }
                return false;
            };
            poll.blame = Some(blame);
            if blame.tasks != charging.tasks {
                (charging.tasks, charging.grew_ns) = (blame.tasks, now_ns);
            }
            charging.closed_ns = is_closed.then(|| charging.closed_ns.unwrap_or(now_ns));
            charging.closed_ns.is_none_or(|since_ns| now_ns.saturating_sub(since_ns) < CLOSED_NS)
        });
    }

    /// Takes up whose requests those were that waited longest. Once it is known of one it stays, whatever becomes of the span.
    pub(crate) fn tell_waiters(&mut self, span_of: impl Fn(Key, &Waited) -> Option<Arc<Span>>) {
        for charging in &mut self.charging {
            let poll = &mut self.list[charging.listed];
            let worst = poll.blame.and_then(|blame| blame.worst);
            if worst != charging.worst {
                (charging.worst, poll.waiter_span) = (worst, None);
            }
            if poll.waiter_span.is_none() {
                poll.waiter_span = worst.and_then(|worst| span_of(charging.key, &worst));
            }
        }
    }

    /// The list, with what is known by now.
    pub(crate) fn list(&self) -> Vec<SlowPoll> {
        self.list.clone()
    }

    /// When somebody was last found to have waited for a slow poll, or when that ended.
    fn grew_ns(&self, waiting: &Waiting) -> u64 {
        let charging = self.charging.iter().find(|charging| Some(charging.listed) == waiting.listed);
        charging.map_or(waiting.end_ns, |charging| charging.grew_ns)
    }

    /// The slow polls that need not wait any longer, oldest first; all of them, if forced.
    pub(crate) fn deliver(&mut self, now_ns: u64, force: bool, blame: BlameOf<'_>) -> Vec<SlowPoll> {
        self.charge(now_ns, blame);
        let mut delivered = Vec::new();
        while let Some(first) = self.waiting.front() {
            let age_ns = now_ns.saturating_sub(first.end_ns);
            let is_awaited = self.watched.active.contains_key(&first.key) || self.watched.looks && !first.is_settled;
            let watched = is_awaited && age_ns < EVIDENCE_PATIENCE_NS;
            let quiet_ns = now_ns.saturating_sub(self.grew_ns(first));
            let known = blame(first.key);
            let may_grow = known.is_some_and(|(_, is_closed)| !is_closed);
            let blamed = may_grow && quiet_ns < BLAME_PATIENCE_NS && age_ns < EVIDENCE_PATIENCE_NS;
            if !force && (watched || blamed) {
                break;
            }
            let Some(mut first) = self.waiting.pop_front() else { break };
            let listed = first.listed.and_then(|place| self.list[place].blame);
            first.poll.waiter_span = first.listed.and_then(|place| self.list[place].waiter_span.clone());
            first.poll.blame = listed.or(known.map(|(blame, _)| blame));
            if is_awaited {
                self.tell_without(&mut first, Duration::from_nanos(age_ns));
            }
            if let Some(missing) = first.poll.evidence.missing {
                self.shortfalls.count(missing);
            }
            self.await_late(first.key, first.listed);
            if let Some(place) = first.listed {
                self.list[place] = first.poll.clone();
            }
            delivered.push(first.poll);
        }
        delivered
    }

    /// What the watchdog saw is not waited for any longer: what is known without it, and why there is no more.
    fn tell_without(&self, waiting: &mut Waiting, after: Duration) {
        match self.watched.active.get(&waiting.key) {
            Some(Some(unnamed)) => {
                let late = unnamed.blocking_line.is_none().then_some(Missing::NamesLate { after });
                let mut unnamed = unnamed.clone();
                unnamed.missing = unnamed.missing.or(late);
                learn(&mut waiting.poll, unnamed);
            }
            // What was seen of it before, as of a poll with others in it, stays.
            Some(None) if waiting.is_settled => {}
            Some(None) | None => waiting.poll.evidence.missing = Some(Missing::WatchdogAwaited { after }),
        }
    }
}

/// Takes up what the watchdog saw.
fn learn(poll: &mut SlowPoll, mut evidence: Evidence) {
    // That the worker was handed over is known from the end of the poll itself.
    if poll.evidence.cause == Some(Cause::BlockInPlace) {
        evidence.cause = Some(Cause::BlockInPlace);
    }
    // What it entered itself is known, if nobody looked.
    if evidence.span_looks == 0 {
        (evidence.span, evidence.span_looks) = (poll.evidence.span.take(), poll.evidence.span_looks);
    }
    // The watchdog's clocks were read a little after the end.
    evidence.cpu_time = evidence.cpu_time.map(|time| time.min(poll.duration));
    let rest = poll.duration.saturating_sub(evidence.cpu_time.unwrap_or_default());
    evidence.run_delay = evidence.run_delay.map(|time| time.min(rest));
    poll.evidence = evidence;
}

#[cfg(test)]
mod tests;
