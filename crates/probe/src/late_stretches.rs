//! Late busy stretches that are to be told, and those that were. The thread that writes lines finds those that are full of polls, by
//! what was counted; the watchdog finds those whose polls nobody sees, by looking. What the watchdog saw of either is here for both.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pollscope_base::Evidence;
use pollscope_base::count::plural;
use pollscope_base::escape::Escaped;

use crate::lines::Subject;
use crate::snapshot::LateStretch;
use crate::sources::Sources;

/// A stretch is told when it lasts this many times the threshold,
const LATE: u64 = 10;
/// but none that is shorter than this.
const SHORTEST_LATE_NS: u64 = 100_000_000;
/// So many wait for the thread that tells of them; it is seldom late.
const MOST_TOLD: usize = 64;
/// So many that are over are listed, the first ones.
const MOST_LISTED: usize = 64;

/// How long a stretch lasts that is late.
pub(crate) fn late_ns(threshold_ns: u64) -> u64 {
    threshold_ns.saturating_mul(LATE).max(SHORTEST_LATE_NS)
}

/// A place that tasks are spawned at.
pub(crate) type Place = (&'static str, u32);

/// A worker did not park for long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BusyStretch {
    /// From 1, for each that is told of: its beginning and its end have the same.
    pub(crate) number: u64,
    pub(crate) is_over: bool,
    /// Whether it is the first that is told of it.
    pub(crate) is_first: bool,
    pub(crate) worker: u32,
    /// When it began, from the installation on.
    pub(crate) start: Duration,
    pub(crate) lasted: Duration,
    /// `None` where they are not seen.
    pub(crate) polls: Option<SeenPolls>,
    /// What looks at the thread showed meanwhile.
    pub(crate) evidence: Evidence,
    /// How the place is shown.
    pub(crate) sources: Arc<Sources>,
}

/// The polls of a stretch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeenPolls {
    /// How many, of all threads.
    pub(crate) count: u64,
    /// The longest of them, to three digits, where that is known.
    pub(crate) longest: Option<Duration>,
    /// Of how many threads these polls are.
    pub(crate) threads: usize,
    /// The spawn site whose tasks took most of the time that the worker spent in polls; `None`: those without a row of their own.
    pub(crate) place: Option<Place>,
    /// Its share of that time, in percent, rounded down.
    pub(crate) percent: u64,
}

impl BusyStretch {
    /// The place as text, as it is shown.
    pub(crate) fn spawned_at(&self) -> Option<String> {
        let (file, line) = self.polls.as_ref()?.place?;
        Some(format!("{}:{line}", self.sources.shown(file)))
    }

    /// Its line, and below it what was seen.
    pub(crate) fn lines(&self) -> String {
        let seen = self.evidence.sentence(self.lasted);
        format!("WARN {self}\n{}", seen.map_or(String::new(), |seen| format!("     {seen}\n")))
    }

    /// What its line is about.
    pub(crate) fn subject(&self) -> Subject {
        match &self.polls {
            Some(polls) => Subject::BusyStretches(polls.place),
            None => Subject::UnseenPolls(self.evidence.function.clone()),
        }
    }

    fn to_data(&self) -> LateStretch {
        LateStretch {
            worker: self.worker as usize,
            start: self.start,
            duration: self.lasted,
            polls: self.polls.as_ref().map(|polls| polls.count),
            evidence: self.evidence.clone(),
        }
    }
}

impl fmt::Display for BusyStretch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parked = if self.is_over { "did not park" } else { "has not parked" };
        write!(f, "busy stretch: worker {} {parked} for {:.3} s; ", self.worker, self.lasted.as_secs_f64())?;
        let Some(SeenPolls { count, longest, threads, percent, .. }) = &self.polls else {
            return f.write_str("what it polled is not watched");
        };
        f.write_str(&plural(*count, "poll"))?;
        if *threads > 1 {
            write!(f, " on {threads} threads")?;
        }
        if let Some(longest) = longest {
            write!(f, ", the longest {:.1} ms", longest.as_secs_f64() * 1e3)?;
        }
        let share = if *percent < 50 { "most" } else { "mostly" };
        match self.spawned_at() {
            Some(place) => write!(f, ", {share} of tasks spawned at {} ({percent} %)", Escaped(&place)),
            None => write!(f, ", {share} of tasks spawned at many other places ({percent} %)"),
        }
    }
}

/// What the watchdog saw of a stretch.
#[derive(Debug)]
struct Known {
    /// When it began: which it is.
    since_ns: u64,
    evidence: Evidence,
    /// Whether that is all.
    is_all: bool,
}

/// What threads tell each other of late stretches.
#[derive(Debug, Default)]
pub(crate) struct LateStretches(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// How many were given a number.
    numbered: u64,
    /// Those of which it is not known yet what is to be told.
    awaited: usize,
    to_tell: VecDeque<BusyStretch>,
    untold: u64,
    /// What is known of the stretch that a slot is in, or was in last.
    known: HashMap<usize, Known>,
    listed: Vec<LateStretch>,
    /// How many are over that were told of.
    total: u64,
}

impl LateStretches {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the next one that is told of.
    pub(crate) fn number(&self) -> u64 {
        let mut state = self.lock();
        state.numbered += 1;
        state.numbered
    }

    /// What the watchdog saw so far of the stretch of a slot that began then, or, once that is over, of all of it.
    pub(crate) fn learn(&self, slot: usize, since_ns: u64, evidence: Evidence, is_all: bool) {
        self.lock().known.insert(slot, Known { since_ns, evidence, is_all });
    }

    /// The same, for the one who tells of it, and whether more is to come.
    pub(crate) fn known(&self, slot: usize, since_ns: u64) -> (Evidence, bool) {
        let state = self.lock();
        let known = state.known.get(&slot).filter(|known| known.since_ns == since_ns);
        known.map(|known| (known.evidence.clone(), !known.is_all)).unwrap_or_default()
    }

    /// That is told, or will not be.
    pub(crate) fn forget(&self, slot: usize, since_ns: u64) {
        let mut state = self.lock();
        if state.known.get(&slot).is_some_and(|known| known.since_ns == since_ns) {
            state.known.remove(&slot);
        }
    }

    /// One is over, and what is to be told of it is being found out, which [`LateStretches::found`] ends.
    pub(crate) fn await_one(&self) {
        self.lock().awaited += 1;
    }

    /// What is to be told of an awaited one, if anything.
    pub(crate) fn found(&self, stretch: Option<BusyStretch>) {
        let mut state = self.lock();
        state.awaited = state.awaited.saturating_sub(1);
        drop(state);
        stretch.into_iter().for_each(|stretch| self.tell(stretch));
    }

    /// Nobody finds out any more.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.awaited = 0;
        state.known.values_mut().for_each(|known| known.is_all = true);
    }

    /// Whether it is being found out what is to be told of one.
    pub(crate) fn is_awaited(&self) -> bool {
        self.lock().awaited > 0
    }

    /// Hands one over to the thread that tells of it.
    pub(crate) fn tell(&self, stretch: BusyStretch) {
        let mut state = self.lock();
        if state.to_tell.len() < MOST_TOLD { state.to_tell.push_back(stretch) } else { state.untold += 1 }
    }

    /// Those that are to be told, and a line for those that found no room.
    pub(crate) fn take_told(&self) -> (Vec<BusyStretch>, Option<String>) {
        let mut state = self.lock();
        let untold = std::mem::take(&mut state.untold);
        let line = format!("WARN busy stretch: {untold} more were late meanwhile, while lines could not be written\n");
        (state.to_tell.drain(..).collect(), (untold > 0).then_some(line))
    }

    /// Whether nothing is being found out, or waits to be told.
    pub(crate) fn is_quiet(&self) -> bool {
        let state = self.lock();
        state.awaited == 0 && state.to_tell.is_empty()
    }

    /// Lists one that was told of, if it is over.
    pub(crate) fn list(&self, stretch: &BusyStretch) {
        if stretch.is_over {
            let mut state = self.lock();
            state.total += 1;
            if state.listed.len() < MOST_LISTED {
                state.listed.push(stretch.to_data());
            }
        }
    }

    /// Those that were told of and are over, up to a number, and how many there were.
    pub(crate) fn listed(&self) -> (Vec<LateStretch>, u64) {
        let state = self.lock();
        (state.listed.clone(), state.total)
    }
}

#[cfg(test)]
mod tests;
