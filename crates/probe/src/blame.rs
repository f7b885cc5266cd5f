//! Who waited for a slow poll: tasks that were ready before it ended, and were polled on its thread after it.
//!
//! Known from Tokio's schedule latency. On a current-thread runtime nobody else could have polled them, so that is exact; on a
//! multi-thread runtime it counts those that ran next on the same worker, and not those that another one took.
//!
//! A task that waits for a timer or a socket becomes ready only when the loop looks for events: on a current-thread runtime,
//! after the slow poll that kept it from looking. Its schedule latency is then next to nothing, although it waited, for
//! longer than anybody can tell. Such a *late* task is counted if it was not polled since the slow poll, so that what it
//! waited for was asked for before it; it waited at most as long as the poll lasted.

use std::panic::Location;
use std::time::Duration;

use pollscope_base::{Blame, Waited};

use crate::clock::Moment;
use crate::histogram::add_single_writer;
use crate::ledger::Ledger;
use crate::location::LocationCell;
use crate::sync::MODELLED;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicU64, fence};

#[cfg(all(test, pollscope_loom))]
mod model;

/// The latest slow polls of a thread that are still told apart.
pub(crate) const CAPACITY: usize = if MODELLED { 1 } else { 64 };
/// How many slow polls in a row, without a park, can have victims in common.
const OPEN: usize = 8;
/// After so many polls that did not wait for it, a slow poll is taken to have no further victims, even if the thread never
/// parks: Tokio's queues are first in, first out, but for the global one, looked at every 31 or 61 polls.
const VICTIMLESS: u32 = 256;
/// Who is woken within this part of the slow poll's length after the loop began to look for events was not woken by an event
/// that came since,
const WINDOW_PART: u64 = 16;
/// or by this, in nanoseconds, if that is less.
const LONGEST_WINDOW_NS: u64 = 1_000_000;

/// The victims of one slow poll.
#[derive(Debug, Default)]
struct Cell {
    /// Its start; 0 for none.
    start: AtomicU64,
    tasks: AtomicU64,
    lifo_tasks: AtomicU64,
    wait_ns: AtomicU64,
    late_tasks: AtomicU64,
    /// How long the late ones waited at most.
    late_ns: AtomicU64,
    /// Nobody is added from then on; 0 while that is not known.
    closes_ns: AtomicU64,
    worst: Worst,
}

/// The victim that waited longest. Its parts belong together: a reader looks at `version` before and after.
#[derive(Debug, Default)]
struct Worst {
    /// Odd while it is being replaced; what a reader finds twice the same, and even, is whole.
    version: AtomicU64,
    /// How long it waited for this slow poll; 0 for nobody.
    wait_ns: AtomicU64,
    task: AtomicU64,
    spawned_at: LocationCell,
    ready_ns: AtomicU64,
    polled_ns: AtomicU64,
    /// The span that its poll entered alone; 0 where that is not known, or the poll is not over.
    span: AtomicU64,
}

impl Worst {
    /// Takes this one, if it waited longer; `None`: forgets the one who is there. By the thread itself.
    fn take(&self, waiter: Option<&Waiter>, wait_ns: u64) {
        if waiter.is_some() && wait_ns <= self.wait_ns.load(Relaxed) {
            return;
        }
        let version = self.version.load(Relaxed);
        self.version.store(version + 1, Relaxed);
        fence(Release);
        self.wait_ns.store(wait_ns, Relaxed);
        self.span.store(0, Relaxed);
        if let Some(waiter) = waiter {
            self.task.store(waiter.task, Relaxed);
            self.spawned_at.store(waiter.spawned_at);
            self.ready_ns.store(waiter.ready_ns, Relaxed);
            self.polled_ns.store(waiter.polled_ns, Relaxed);
        }
        self.version.store(version + 2, Release);
    }

    /// The poll of the one who is there is over, and entered that span alone. By the thread itself.
    fn was_in(&self, task: u64, polled_ns: u64, span: u64) {
        let is_that = (self.task.load(Relaxed), self.polled_ns.load(Relaxed)) == (task, polled_ns)
            && self.wait_ns.load(Relaxed) > 0;
        if is_that {
            let version = self.version.load(Relaxed);
            self.version.store(version + 1, Relaxed);
            fence(Release);
            self.span.store(span, Relaxed);
            self.version.store(version + 2, Release);
        }
    }

    /// The span of this one, if it is still the one who is there; 0 where it is not known.
    fn span_of(&self, waited: &Waited) -> u64 {
        let version = self.version.load(Acquire);
        let span = self.span.load(Relaxed);
        let is_that = self.task.load(Relaxed) == waited.task_id
            && Duration::from_nanos(self.polled_ns.load(Relaxed).saturating_sub(1)) == waited.polled_at;
        fence(Acquire);
        let is_whole = version.is_multiple_of(2) && self.version.load(Acquire) == version;
        if is_that && is_whole { span } else { 0 }
    }

    /// `None` for nobody, and while it is being replaced.
    fn read(&self) -> Option<Waited> {
        let version = self.version.load(Acquire);
        let is_known = self.wait_ns.load(Relaxed) > 0;
        // The clock starts at 1.
        let since_installation = |ns: &AtomicU64| Duration::from_nanos(ns.load(Relaxed).saturating_sub(1));
        let waited = Waited::new(
            self.task.load(Relaxed),
            self.spawned_at.load()?,
            since_installation(&self.ready_ns),
            since_installation(&self.polled_ns),
        );
        fence(Acquire);
        // An acquire: who finds it replaced because its cell is another slow poll's finds that of the cell as well.
        (is_known && version.is_multiple_of(2) && self.version.load(Acquire) == version).then_some(waited)
    }
}

/// Written by the thread alone, read by any.
#[derive(Debug)]
pub(crate) struct Blames(Box<[Cell]>);

impl Blames {
    pub(crate) fn new() -> Blames {
        Blames((0..CAPACITY).map(|_| Cell::default()).collect())
    }

    /// What is known of the slow poll that began then, and whether more can come.
    pub(crate) fn read(&self, start: Moment, now_ns: u64) -> Option<(Blame, bool)> {
        let cell = self.0.iter().find(|cell| cell.start.load(Acquire) == start.0)?;
        // First: who finds it closed finds everybody who was added before.
        let closes_ns = cell.closes_ns.load(Acquire);
        let (ready, late) = (cell.tasks.load(Acquire), cell.late_tasks.load(Acquire));
        let wait_ns = cell.wait_ns.load(Acquire);
        let mut blame = Blame::default();
        (blame.tasks, blame.late_tasks) = (ready + late, late);
        blame.wait = Duration::from_nanos(wait_ns);
        blame.wait_most = Duration::from_nanos(wait_ns + cell.late_ns.load(Acquire));
        blame.lifo_tasks = cell.lifo_tasks.load(Acquire);
        blame.worst = cell.worst.read();
        // It may have been given to a later slow poll meanwhile.
        (cell.start.load(Relaxed) == start.0).then_some((blame, closes_ns != 0 && now_ns >= closes_ns))
    }
}

impl Blames {
    /// The span of the one who waited longest for the slow poll that began then; 0 where it is not known.
    pub(crate) fn span_of_worst(&self, start: Moment, waited: &Waited) -> u64 {
        let cell = self.0.iter().find(|cell| cell.start.load(Acquire) == start.0);
        let span = cell.map_or(0, |cell| cell.worst.span_of(waited));
        let is_same = cell.is_some_and(|cell| cell.start.load(Relaxed) == start.0);
        if is_same { span } else { 0 }
    }
}

/// A slow poll whose victims are being polled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Culprit {
    pub(crate) task: u64,
    pub(crate) spawned_at: &'static Location<'static>,
    pub(crate) start: Moment,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
}

/// A poll that begins while there are culprits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiter {
    pub(crate) task: u64,
    pub(crate) spawned_at: &'static Location<'static>,
    pub(crate) ready_ns: u64,
    pub(crate) polled_ns: u64,
}

/// The thread's own side: its slow polls since it last looked for events, in the order in which they ended.
#[derive(Debug)]
pub(crate) struct Culprits {
    open: Vec<(Culprit, usize)>,
    next_cell: usize,
    /// Whether no other thread looks for events, or takes what this one has to poll.
    is_alone: bool,
    /// Whether nothing was polled since the last of them.
    is_next: bool,
    victimless: u32,
    /// The tasks polled since the last of them, and itself; different ones can share a bit.
    polled: [u64; 4],
    /// When the last poll ended, or the thread parked: the loop looks for events after that, if it does.
    looks_ns: u64,
    is_parked: bool,
    /// The first time that anybody became ready while nothing was polled: the loop looked for events.
    look: Option<(u64, u64)>,
}

impl Culprits {
    /// None; the first one gets this cell. Room for all is made here, as nothing may be allocated later.
    pub(crate) fn new(next_cell: usize) -> Culprits {
        Culprits {
            open: Vec::with_capacity(OPEN),
            next_cell,
            is_alone: false,
            is_next: false,
            victimless: 0,
            polled: [0; 4],
            looks_ns: 0,
            is_parked: false,
            look: None,
        }
    }

    /// Whether a poll can have waited for one.
    #[inline]
    pub(crate) fn are_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// A slow poll ended. `is_alone`: on a current-thread runtime.
    #[cold]
    pub(crate) fn begin(&mut self, blames: &Blames, culprit: Culprit, is_alone: bool) {
        if self.open.len() == OPEN {
            let (culprit, cell) = self.open.remove(0);
            blames.0[cell].closes_ns.store(culprit.end_ns, Release);
        }
        let cell = &blames.0[self.next_cell];
        cell.start.store(Moment::NONE.0, Relaxed);
        // Who sees anything that is stored from here on, now or when somebody is added, sees that it is another slow poll's.
        fence(Release);
        let counters = [&cell.tasks, &cell.lifo_tasks, &cell.wait_ns, &cell.late_tasks, &cell.late_ns, &cell.closes_ns];
        counters.into_iter().for_each(|counter| counter.store(0, Relaxed));
        cell.worst.take(None, 0);
        cell.start.store(culprit.start.0, Release);
        self.open.push((culprit, self.next_cell));
        self.next_cell = (self.next_cell + 1) % CAPACITY;
        (self.is_alone, self.is_next, self.victimless) = (is_alone, true, 0);
        (self.looks_ns, self.is_parked, self.look) = (culprit.end_ns, false, None);
        self.polled = [0; 4];
        self.was_polled(culprit.task);
    }

    /// Notes a task; whether it was there already, or shares the bit of one that was.
    fn was_polled(&mut self, task: u64) -> bool {
        let (word, bit) = ((task / 64 % 4) as usize, 1 << (task % 64));
        let was = self.polled[word] & bit != 0;
        self.polled[word] |= bit;
        was
    }

    /// A poll begins.
    #[cold]
    pub(crate) fn poll(&mut self, blames: &Blames, ledger: &Ledger, waiter: Waiter) {
        let was_polled = self.was_polled(waiter.task);
        let is_next = std::mem::take(&mut self.is_next);
        let Some(&(newest, newest_cell)) = self.open.last() else { return };
        if waiter.ready_ns < newest.end_ns {
            self.charge(blames, ledger, &waiter);
            if is_next && !self.is_alone && waiter.ready_ns >= newest.start_ns && waiter.task != newest.task {
                add_single_writer(&blames.0[newest_cell].lifo_tasks, 1);
            }
            return;
        }
        if self.is_late(&newest, &waiter) && !was_polled {
            let most_ns = newest.end_ns - newest.start_ns;
            ledger.row(newest.spawned_at, waiter.spawned_at).charge_late(most_ns);
            add(&blames.0[newest_cell].late_tasks, 1);
            add(&blames.0[newest_cell].late_ns, most_ns);
            return;
        }
        self.victimless += 1;
        if self.victimless == VICTIMLESS {
            self.close(blames, waiter.polled_ns);
        }
    }

    /// Charges each slow poll with what the task waited for it, and none with the time of another one within it.
    fn charge(&self, blames: &Blames, ledger: &Ledger, waiter: &Waiter) {
        let mut charged = [0; OPEN];
        for (index, (culprit, cell)) in self.open.iter().enumerate() {
            let overlap_ns = culprit.end_ns.saturating_sub(waiter.ready_ns.max(culprit.start_ns));
            let within = self.open[..index].iter().zip(&charged).filter(|((inner, _), _)| inner.start >= culprit.start);
            let wait_ns = overlap_ns.saturating_sub(within.map(|(_, ns)| ns).sum());
            charged[index] = wait_ns;
            // A task that woke itself waits for others only.
            if wait_ns > 0 && culprit.task != waiter.task {
                ledger.row(culprit.spawned_at, waiter.spawned_at).charge(wait_ns);
                add(&blames.0[*cell].tasks, 1);
                add(&blames.0[*cell].wait_ns, wait_ns);
                blames.0[*cell].worst.take(Some(waiter), wait_ns);
            }
        }
    }

    /// Whether the task became ready when the loop first looked for events after the slow poll.
    fn is_late(&mut self, newest: &Culprit, waiter: &Waiter) -> bool {
        if !self.is_alone {
            return false;
        }
        if self.look.is_none() && waiter.ready_ns >= self.looks_ns {
            let to_ns = self.looks_ns + window_ns(newest);
            self.look = Some((self.looks_ns, to_ns.min(waiter.polled_ns)));
        }
        self.look.is_some_and(|(from_ns, to_ns)| (from_ns..to_ns).contains(&waiter.ready_ns))
    }

    /// A task's poll that began then entered that span alone: it may be the one that waited longest.
    pub(crate) fn was_in(&self, blames: &Blames, task: u64, polled_ns: u64, span: u64) {
        self.open.iter().for_each(|(_, cell)| blames.0[*cell].worst.was_in(task, polled_ns, span));
    }

    /// A poll ended.
    #[inline]
    pub(crate) fn polled(&mut self, end_ns: u64) {
        if self.are_open() {
            self.looks_ns = end_ns;
        }
    }

    /// The thread parks: there is nothing left to poll, and it looks for events.
    pub(crate) fn park(&mut self, blames: &Blames, now_ns: u64) {
        let Some((newest, _)) = self.open.last() else { return };
        if !self.is_alone || self.look.is_some() || self.is_parked {
            return self.close(blames, now_ns);
        }
        (self.is_parked, self.looks_ns) = (true, now_ns);
        let closes_ns = now_ns + window_ns(newest);
        self.open.iter().for_each(|(_, cell)| blames.0[*cell].closes_ns.store(closes_ns, Release));
    }

    /// The thread goes on after a park.
    pub(crate) fn unpark(&mut self, blames: &Blames, now_ns: u64) {
        let Some((newest, _)) = self.open.last() else { return };
        if now_ns > self.looks_ns + window_ns(newest) {
            return self.close(blames, self.looks_ns);
        }
        self.open.iter().for_each(|(_, cell)| blames.0[*cell].closes_ns.store(0, Release));
    }

    /// The thread ends: which cell is the next.
    pub(crate) fn end(&mut self, blames: &Blames, now_ns: u64) -> usize {
        self.close(blames, now_ns);
        self.next_cell
    }

    /// Nobody is left who could have waited.
    fn close(&mut self, blames: &Blames, now_ns: u64) {
        self.open.drain(..).for_each(|(_, cell)| blames.0[cell].closes_ns.store(now_ns, Release));
    }
}

/// Adds to what only this thread writes. A release: who finds it in the victims of a slow poll finds it in the ledger as well, which
/// is written first.
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(n), Release);
}

fn window_ns(culprit: &Culprit) -> u64 {
    ((culprit.end_ns - culprit.start_ns) / WINDOW_PART).min(LONGEST_WINDOW_NS)
}

#[cfg(test)]
mod tests;
