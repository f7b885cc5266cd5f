//! Slow polls that left their rings: listed at once, and delivered when what belongs to them is known.
//!
//! What the watchdog saw and who waited come a moment after a slow poll ended. Whoever lists slow polls gets them at once, with
//! what is known; callbacks and lines wait a little.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::evidence::{Blame, Evidence};
use crate::snapshot::SlowPoll;

/// Slow polls that wait for delivery, at most.
const QUEUE_CAPACITY: usize = 4_096;
/// How long delivery waits for tasks that may still turn out to have waited, after the end of the poll.
const BLAME_PATIENCE_NS: u64 = 150_000_000;
/// How long delivery waits for a watchdog that is at work on the poll.
const EVIDENCE_PATIENCE_NS: u64 = 1_000_000_000;
/// How long evidence is kept for a poll that never comes, because it was not slow by itself or was dropped.
const ORPHAN_NS: u64 = 10_000_000_000;

/// Which poll: the slot's number, and the poll's start.
pub(crate) type Key = (usize, u64);

/// What the watchdog is at work on, and what it found.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    active: HashSet<Key>,
    found: HashMap<Key, (Evidence, u64)>,
}

#[cfg_attr(not(any(test, feature = "capture")), expect(dead_code, reason = "for the watchdog"))]
impl Watched {
    /// The watchdog begins to look at a poll.
    pub(crate) fn begin(&mut self, key: Key) {
        self.active.insert(key);
    }

    /// The poll ended, and this was seen of it.
    pub(crate) fn end(&mut self, key: Key, evidence: Evidence, now_ns: u64) {
        self.active.remove(&key);
        self.found.retain(|_, (_, at_ns)| now_ns.saturating_sub(*at_ns) < ORPHAN_NS);
        self.found.insert(key, (evidence, now_ns));
    }

    fn evidence(&self, key: Key) -> Option<&Evidence> {
        self.found.get(&key).map(|(evidence, _)| evidence)
    }
}

/// A slow poll that was not delivered yet.
#[derive(Debug)]
struct Waiting {
    key: Key,
    end_ns: u64,
    poll: SlowPoll,
    /// Its place in the list, if there was room.
    listed: Option<usize>,
}

#[derive(Debug, Default)]
pub(crate) struct Journal {
    list: Vec<SlowPoll>,
    capacity: usize,
    /// Taken from the rings so far.
    taken: u64,
    waiting: VecDeque<Waiting>,
    /// Found no room in the queue.
    queue_dropped: u64,
    pub(crate) watched: Watched,
    /// Lines about polls that still go on.
    pub(crate) still: Vec<String>,
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

    pub(crate) fn add(&mut self, key: Key, end_ns: u64, poll: SlowPoll) {
        self.taken += 1;
        let listed = (self.list.len() < self.capacity).then_some(self.list.len());
        if listed.is_some() {
            self.list.push(poll.clone());
        }
        if self.waiting.len() < QUEUE_CAPACITY {
            self.waiting.push_back(Waiting { key, end_ns, poll, listed });
        } else {
            self.queue_dropped += 1;
        }
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

    /// The list, with what is known by now.
    pub(crate) fn list(&mut self, blame: BlameOf<'_>) -> Vec<SlowPoll> {
        for waiting in &self.waiting {
            if let Some(place) = waiting.listed {
                complete(&mut self.list[place], waiting.key, &self.watched, blame);
            }
        }
        self.list.clone()
    }

    /// The slow polls that need not wait any longer, oldest first; all of them, if forced.
    pub(crate) fn deliver(&mut self, now_ns: u64, force: bool, blame: BlameOf<'_>) -> Vec<SlowPoll> {
        let mut delivered = Vec::new();
        while let Some(first) = self.waiting.front() {
            let age_ns = now_ns.saturating_sub(first.end_ns);
            let watched = self.watched.active.contains(&first.key) && age_ns < EVIDENCE_PATIENCE_NS;
            let blamed = blame(first.key).is_some_and(|(_, closed)| !closed) && age_ns < BLAME_PATIENCE_NS;
            if !force && (watched || blamed) {
                break;
            }
            let Some(mut first) = self.waiting.pop_front() else { break };
            complete(&mut first.poll, first.key, &self.watched, blame);
            self.watched.found.remove(&first.key);
            if let Some(place) = first.listed {
                self.list[place] = first.poll.clone();
            }
            delivered.push(first.poll);
        }
        delivered
    }
}

fn complete(poll: &mut SlowPoll, key: Key, watched: &Watched, blame: BlameOf<'_>) {
    if let Some(evidence) = watched.evidence(key) {
        // That the worker was handed over is known from the end of the poll itself.
        let cause = poll.evidence.cause.or(evidence.cause);
        poll.evidence = Evidence { cause, ..evidence.clone() };
    }
    poll.blame = blame(key).map(|(blame, _)| blame);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Cause;

    fn poll(id: u64) -> SlowPoll {
        SlowPoll {
            id,
            task_id: None,
            task_name: None,
            spawned_at: std::panic::Location::caller(),
            worker: None,
            start_ns: 0,
            duration_ns: 1,
            evidence: Evidence::default(),
            blame: None,
        }
    }

    #[test]
    fn delivery_waits_for_the_watchdog_and_the_list_does_not() {
        let mut journal = Journal::new(10);
        let (key, nobody): (Key, BlameOf<'_>) = ((0, 5), &|_| None);
        journal.watched.begin(key);
        journal.add(key, 100, poll(1));
        journal.add((0, 50), 101, poll(2));
        assert_eq!(journal.list(nobody).len(), 2);
        assert!(journal.deliver(102, false, nobody).is_empty(), "in order: the second waits for the first");
        journal.watched.end(key, Evidence { cause: Some(Cause::Lock), ..Evidence::default() }, 103);
        let delivered = journal.deliver(104, false, nobody);
        assert_eq!(delivered.iter().map(|poll| poll.evidence.cause).collect::<Vec<_>>(), [Some(Cause::Lock), None]);
        assert_eq!(journal.list(nobody), delivered);
    }

    #[test]
    fn nobody_waits_for_ever() {
        let mut journal = Journal::new(0);
        journal.watched.begin((0, 5));
        journal.add((0, 5), 0, poll(1));
        assert!(journal.deliver(EVIDENCE_PATIENCE_NS - 1, false, &|_| None).is_empty());
        assert_eq!(journal.deliver(EVIDENCE_PATIENCE_NS, false, &|_| None).len(), 1);
        journal.add((0, 6), 0, poll(2));
        let open: BlameOf<'_> = &|_| Some((Blame::default(), false));
        assert!(journal.deliver(BLAME_PATIENCE_NS - 1, false, open).is_empty());
        assert_eq!(journal.deliver(0, true, open)[0].blame, Some(Blame::default()));
    }
}
