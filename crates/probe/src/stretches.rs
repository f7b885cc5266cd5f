//! Late busy stretches: a worker that does not park for long, though no poll of its is slow. Many short polls keep everybody waiting
//! as one long poll does, and no slow poll tells of them.
//!
//! The thread that writes lines follows a worker's stretch once it is old, by counters that are there: what the worker did is what
//! its spawn sites' times grew by. Polls as short as these are counted for all threads together, and so are their number and the
//! longest of them. What was done before the first look, or after the last one, is left out: every number is a lower bound.
//!
//! A worker that never parks may serve everyone in time. So the stretch is late only if its polls fill it, and if others feel them:
//! Tokio looks for events every 61 polls, unless told otherwise, and so many of them take half the threshold; or tasks that were
//! ready waited for the threshold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pollscope_base::{Bucket, Evidence};

use crate::late_stretches::{BusyStretch, Place, SeenPolls, late_ns};
use crate::shared::Shared;
use crate::worker::Slot;

/// After so many polls Tokio looks for events.
const POLLS_A_TURN: u64 = 61;

/// So many buckets of polls are kept.
const TOP: usize = 64;

/// The stretches that are followed.
#[derive(Debug, Default)]
pub(crate) struct Stretches {
    following: BTreeMap<usize, Following>,
    /// Those that are over, and of which the watchdog's last word is still to come.
    ending: Vec<Ending>,
}

/// A stretch that is over and was told of: the slot, when it began, and what is to be told.
type Ending = (usize, u64, BusyStretch);

/// What is known of one stretch.
#[derive(Debug)]
struct Following {
    /// The slot, when it began, and the worker: which it is.
    which: (usize, u64, u32),
    from: Arc<Counted>,
    to: Arc<Counted>,
    /// What was told of it last, while it goes on.
    told: Option<BusyStretch>,
}

/// What was counted at one moment.
#[derive(Debug, Default)]
struct Counted {
    at_ns: u64,
    everywhere: Arc<Everywhere>,
    slow: u64,
    /// The worker's time in polls.
    ns: u64,
    places: BTreeMap<Option<Place>, u64>,
}

/// What is counted for all threads together.
#[derive(Debug, Default)]
struct Everywhere {
    polls: u64,
    polls_ns: u64,
    /// The buckets of the longest polls, longest first: enough to tell the longest that came since.
    top: Vec<Bucket>,
    /// How many wake-to-poll times reach the threshold.
    late: u64,
    threads: usize,
}

impl Everywhere {
    /// The longest poll that came after `earlier`, as the highest value of its bucket; `None` if so many longer ones were there before
    /// that it is not known.
    fn longest_since(&self, earlier: &Everywhere) -> Option<Duration> {
        let known_from_ns = earlier.top.get(TOP - 1).map_or(0, |last| last.low_ns);
        let before = |bucket: &Bucket| earlier.top.iter().find(|b| b.low_ns == bucket.low_ns).map_or(0, |b| b.count);
        let has_grown = |bucket: &&Bucket| bucket.low_ns >= known_from_ns && bucket.count > before(bucket);
        self.top.iter().find(has_grown).map(|bucket| Duration::from_nanos(bucket.high_ns))
    }
}

impl Counted {
    fn of(slot: &Slot, at_ns: u64, everywhere: Arc<Everywhere>) -> Counted {
        let mut counted = Counted { at_ns, everywhere, ns: slot.polls.sum_ns(), ..Counted::default() };
        for site in slot.sites.polled() {
            counted.slow += site.slow;
            *counted.places.entry(site.place()).or_default() += site.polls.sum_ns();
        }
        counted
    }
}

impl Stretches {
    /// Looks at all workers; what is to be told of them. The end of one waits for what the watchdog saw of it, unless that is to be told
    /// `at_once`.
    pub(crate) fn look(&mut self, shared: &Shared, at_once: bool) -> Vec<BusyStretch> {
        let (mut to_tell, over) = self.follow(shared);
        self.ending.extend(over);
        self.ending.retain(|(slot, since_ns, stretch)| {
            let (evidence, has_more) = shared.late_stretches.known(*slot, *since_ns);
            let waits = has_more && !at_once;
            if !waits {
                shared.late_stretches.forget(*slot, *since_ns);
                to_tell.push(BusyStretch { evidence, ..stretch.clone() });
            }
            waits
        });
        to_tell
    }

    /// Looks at all workers; of which it is to be told that they do not park, and which are over.
    fn follow(&mut self, shared: &Shared) -> (Vec<BusyStretch>, Vec<Ending>) {
        let threshold_ns = shared.threshold_ns();
        let mut everywhere = None;
        let (mut to_tell, mut over) = (Vec::new(), Vec::new());
        let slots = shared.slots();
        for slot in &slots {
            let before = self.following.remove(&slot.number);
            let Some((since_ns, worker)) = slot.stretch.now() else {
                over.extend(before.and_then(Following::over));
                continue;
            };
            let now_ns = shared.clock.now_ns();
            let (same, other) = match before {
                Some(before) if before.which.1 == since_ns => (Some(before), None),
                other => (None, other),
            };
            over.extend(other.and_then(Following::over));
            if now_ns.saturating_sub(since_ns) < threshold_ns / 2 {
                continue;
            }
            let all = Arc::clone(everywhere.get_or_insert_with(|| Arc::new(shared.everywhere(&slots))));
            let counted = Arc::new(Counted::of(slot, now_ns, all));
            // It went on while it was counted: all that was counted is its own.
            if slot.stretch.now() != Some((since_ns, worker)) {
                over.extend(same.and_then(Following::over));
                continue;
            }
            let (mut following, ended) =
                Following::go_on(same, (slot.number, since_ns, worker), counted, is_late_poll(slot, shared, now_ns));
            over.extend(ended);
            to_tell.extend(following.tell(shared));
            self.following.insert(slot.number, following);
        }
        (to_tell, over)
    }

    /// Whether there is one that may become late, or be over.
    pub(crate) fn are_followed(&self) -> bool {
        !self.following.is_empty() || !self.ending.is_empty()
    }
}

/// Whether the worker is in a poll that is slow by now: that one is told of.
fn is_late_poll(slot: &Slot, shared: &Shared, now_ns: u64) -> bool {
    slot.polling.now().is_some_and(|polling| {
        let from_ns = shared.clock.ns_at(polling.start).saturating_add(polling.nested_ns);
        now_ns.saturating_sub(from_ns) >= shared.threshold_ns()
    })
}

impl Shared {
    fn everywhere(&self, slots: &[Arc<Slot>]) -> Everywhere {
        let (polls, latency) = self.polls_and_latency(slots);
        let late = latency.map_or(0, |latency| latency.count_from(Duration::from_nanos(self.threshold_ns())));
        let top = polls.buckets.iter().rev().take(TOP).copied().collect();
        Everywhere { polls: polls.count(), polls_ns: polls.sum_ns, top, late, threads: slots.len() }
    }

    /// Whether a worker has not parked for so long that it is worth following.
    pub(crate) fn has_long_stretch(&self) -> bool {
        let (now_ns, threshold_ns) = (self.clock.now_ns(), self.threshold_ns());
        let is_long = |since_ns: u64| now_ns.saturating_sub(since_ns) >= threshold_ns / 2;
        self.slots().iter().any(|slot| slot.stretch.now().is_some_and(|(since_ns, _)| is_long(since_ns)))
    }
}

impl Following {
    /// The same stretch with what was counted now, or a new one; and its end, if it was told of and a slow poll ended it: that poll is
    /// told of, and what comes after it is counted anew.
    fn go_on(
        same: Option<Following>,
        which: (usize, u64, u32),
        counted: Arc<Counted>,
        is_late_poll: bool,
    ) -> (Following, Option<Ending>) {
        let new = |from: Arc<Counted>| Following { which, to: Arc::clone(&from), from, told: None };
        match same {
            Some(same) if counted.slow == same.from.slow && !is_late_poll => (Following { to: counted, ..same }, None),
            other => (new(counted), other.and_then(Following::over)),
        }
    }

    /// What is to be told of a stretch that goes on, once: when it is late.
    fn tell(&mut self, shared: &Shared) -> Option<BusyStretch> {
        let stretch = self.late(shared.threshold_ns())?;
        let (slot, since_ns, _) = self.which;
        let (evidence, _) = shared.late_stretches.known(slot, since_ns);
        let number = self.told.as_ref().map_or_else(|| shared.late_stretches.number(), |told| told.number);
        let stretch = BusyStretch { number, evidence, sources: Arc::clone(&shared.sources), ..stretch };
        self.told.replace(stretch.clone()).is_none().then_some(stretch)
    }

    fn over(self) -> Option<Ending> {
        let (slot, since_ns, _) = self.which;
        Some((slot, since_ns, BusyStretch { is_over: true, is_first: false, ..self.told? }))
    }

    /// The stretch, if it is late.
    fn late(&self, threshold_ns: u64) -> Option<BusyStretch> {
        let (from, to) = (&self.from, &self.to);
        let lasted_ns = to.at_ns.saturating_sub(from.at_ns);
        let ns = to.ns.saturating_sub(from.ns);
        if lasted_ns < late_ns(threshold_ns) || ns < lasted_ns / 2 {
            return None;
        }
        let (before, now) = (&from.everywhere, &to.everywhere);
        let polls = now.polls.saturating_sub(before.polls);
        let mean_ns = now.polls_ns.saturating_sub(before.polls_ns) / polls.max(1);
        let is_felt = mean_ns.saturating_mul(POLLS_A_TURN) >= threshold_ns / 2 || now.late > before.late;
        let grown = |(place, ns): (&Option<Place>, &u64)| {
            (ns.saturating_sub(from.places.get(place).copied().unwrap_or_default()), *place)
        };
        let (most_ns, place) = to.places.iter().map(grown).max_by_key(|(ns, _)| *ns)?;
        let seen = || SeenPolls {
            count: polls,
            longest: now.longest_since(before),
            threads: now.threads,
            place,
            percent: most_ns.min(ns).saturating_mul(100) / ns.max(1),
        };
        is_felt.then(|| BusyStretch {
            number: 0,
            is_over: false,
            is_first: true,
            worker: self.which.2,
            // The clock starts at 1.
            start: Duration::from_nanos(from.at_ns.saturating_sub(1)),
            lasted: Duration::from_nanos(lasted_ns),
            polls: Some(seen()),
            evidence: Evidence::default(),
            sources: Arc::default(),
        })
    }
}

#[cfg(test)]
mod tests;
