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
const CAPACITY: usize = if MODELLED { 1 } else { 64 };
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
}

impl Worst {
    /// Takes this one, if it waited longer; `None`: forgets whoever is there. By the thread itself.
    fn take(&self, waiter: Option<&Waiter>, wait_ns: u64) {
        if waiter.is_some() && wait_ns <= self.wait_ns.load(Relaxed) {
            return;
        }
        let version = self.version.load(Relaxed);
        self.version.store(version + 1, Relaxed);
        fence(Release);
        self.wait_ns.store(wait_ns, Relaxed);
        if let Some(waiter) = waiter {
            self.task.store(waiter.task, Relaxed);
            self.spawned_at.store(waiter.spawned_at);
            self.ready_ns.store(waiter.ready_ns, Relaxed);
            self.polled_ns.store(waiter.polled_ns, Relaxed);
        }
        self.version.store(version + 2, Release);
    }

    /// `None` for nobody, and while it is being replaced.
    fn read(&self) -> Option<Waited> {
        let version = self.version.load(Acquire);
        let is_known = self.wait_ns.load(Relaxed) > 0;
        // The clock starts at 1.
        let since_installation = |ns: &AtomicU64| ns.load(Relaxed).saturating_sub(1);
        let waited = Waited {
            task_id: self.task.load(Relaxed),
            spawned_at: self.spawned_at.load()?,
            ready_ns: since_installation(&self.ready_ns),
            polled_ns: since_installation(&self.polled_ns),
        };
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
        let blame = Blame {
            tasks: ready + late,
            wait_ns,
            late_tasks: late,
            wait_most_ns: wait_ns + cell.late_ns.load(Acquire),
            lifo_tasks: cell.lifo_tasks.load(Acquire),
            worst: cell.worst.read(),
        };
        // It may have been given to a later slow poll meanwhile.
        (cell.start.load(Relaxed) == start.0).then_some((blame, closes_ns != 0 && now_ns >= closes_ns))
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
            add_single_writer(&blames.0[newest_cell].late_tasks, 1);
            add_single_writer(&blames.0[newest_cell].late_ns, most_ns);
            ledger.row(newest.spawned_at, waiter.spawned_at).charge_late(most_ns);
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
                add_single_writer(&blames.0[*cell].tasks, 1);
                add_single_writer(&blames.0[*cell].wait_ns, wait_ns);
                blames.0[*cell].worst.take(Some(waiter), wait_ns);
                ledger.row(culprit.spawned_at, waiter.spawned_at).charge(wait_ns);
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

fn window_ns(culprit: &Culprit) -> u64 {
    ((culprit.end_ns - culprit.start_ns) / WINDOW_PART).min(LONGEST_WINDOW_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// A thread, its slow polls, and its clock in the shape of calls.
    struct Bench {
        blames: Blames,
        ledger: Ledger,
        culprits: Culprits,
    }

    impl Bench {
        fn new() -> Bench {
            Bench { blames: Blames::new(), ledger: Ledger::new(), culprits: Culprits::new(0) }
        }

        fn slow(&mut self, task: u64, start_ns: u64, end_ns: u64, is_alone: bool) {
            let culprit = Culprit { task, spawned_at: Location::caller(), start: Moment(start_ns), start_ns, end_ns };
            self.culprits.begin(&self.blames, culprit, is_alone);
        }

        fn poll(&mut self, task: u64, ready_ns: u64, polled_ns: u64) {
            let waiter = Waiter { task, spawned_at: Location::caller(), ready_ns, polled_ns };
            self.culprits.poll(&self.blames, &self.ledger, waiter);
            self.culprits.polled(polled_ns + 1);
        }

        /// But for the worst.
        fn blame(&self, start_ns: u64) -> Blame {
            Blame { worst: None, ..self.blames.read(Moment(start_ns), u64::MAX).expect("a slow poll").0 }
        }

        /// The task that waited longest, from when to when.
        fn worst(&self, start_ns: u64) -> Option<(u64, u64, u64)> {
            let worst = self.blames.read(Moment(start_ns), u64::MAX).expect("a slow poll").0.worst;
            worst.map(|worst| (worst.task_id, worst.ready_ns, worst.polled_ns))
        }

        fn is_closed(&self, start_ns: u64, now_ns: u64) -> bool {
            self.blames.read(Moment(start_ns), now_ns).expect("a slow poll").1
        }
    }

    fn ready(tasks: u64, wait_ns: u64) -> Blame {
        Blame { tasks, wait_ns, wait_most_ns: wait_ns, ..Blame::default() }
    }

    #[test]
    fn a_wait_is_charged_for_the_time_that_the_slow_poll_lasted() {
        let mut bench = Bench::new();
        bench.slow(1, 100, 300, true);
        for (task, ready_ns) in [(2, 50), (3, 250), (4, 300), (5, 301)] {
            bench.poll(task, ready_ns, 302);
        }
        assert_eq!(bench.blame(100), ready(2, 250));
        assert!(bench.blames.read(Moment(7), 0).is_none());
        let charged: u64 = bench.ledger.rows().map(|row| row.wait_ns.load(Relaxed)).sum();
        assert_eq!(charged, 250);
    }

    #[test]
    fn who_waited_longest_is_known_from_wake_to_poll() {
        let mut bench = Bench::new();
        bench.slow(1, 101, 301, true);
        assert_eq!(bench.worst(101), None);
        // Task 1 woke itself; task 4 waited as long as task 3, and came later.
        for (task, ready_ns) in [(1, 101), (2, 201), (3, 151), (4, 151), (5, 301)] {
            bench.poll(task, ready_ns, 400 + task);
        }
        assert_eq!(bench.worst(101), Some((3, 150, 402)));
        // Its place is given to a later slow poll, for which nobody waited.
        for n in 1..=CAPACITY as u64 {
            bench.slow(1, 1_000 * n, 1_000 * n + 1, true);
        }
        assert_eq!(bench.worst(1_000 * CAPACITY as u64), None);
    }

    /// Readers on another thread never find parts of two.
    #[test]
    fn who_waited_longest_is_read_whole() {
        let (blames, ended) = (Blames::new(), std::sync::atomic::AtomicBool::new(false));
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut seen = 0;
                while !ended.load(Acquire) {
                    if let Some(worst) = blames.0[0].worst.read() {
                        assert_eq!((worst.ready_ns, worst.polled_ns), (worst.task_id, 2 * worst.task_id + 1));
                        seen += 1;
                    }
                }
                seen
            });
            for task in 1..=200_000 {
                let waiter =
                    Waiter { task, spawned_at: Location::caller(), ready_ns: task + 1, polled_ns: 2 * task + 2 };
                blames.0[0].worst.take(Some(&waiter), task);
            }
            ended.store(true, Release);
            println!("read {} times", reader.join().expect("no torn reading"));
        });
    }

    #[test]
    fn a_task_that_woke_itself_did_not_wait_for_itself() {
        let mut bench = Bench::new();
        bench.slow(1, 100, 300, true);
        bench.poll(1, 200, 301);
        assert_eq!(bench.blame(100), ready(0, 0));
    }

    #[test]
    fn who_waits_behind_two_slow_polls_is_charged_to_both() {
        let mut bench = Bench::new();
        bench.slow(1, 100, 300, true);
        bench.slow(2, 310, 400, true);
        bench.poll(3, 250, 401);
        assert_eq!((bench.blame(100), bench.blame(310)), (ready(1, 50), ready(1, 90)));
    }

    #[test]
    fn a_poll_within_a_poll_is_charged_once() {
        let mut bench = Bench::new();
        bench.slow(1, 150, 250, true);
        bench.slow(2, 100, 300, true);
        bench.poll(3, 100, 301);
        assert_eq!((bench.blame(150), bench.blame(100)), (ready(1, 100), ready(1, 100)));
    }

    /// The clock was corrected between the two ends: in nanoseconds the outer one seems to have begun after the inner one.
    #[test]
    fn a_poll_within_a_poll_is_known_by_its_moment() {
        let (mut bench, spawned_at) = (Bench::new(), Location::caller());
        let inner = Culprit { task: 1, spawned_at, start: Moment(101), start_ns: 101, end_ns: 200 };
        let outer = Culprit { task: 2, spawned_at, start: Moment(100), start_ns: 103, end_ns: 303 };
        bench.culprits.begin(&bench.blames, inner, true);
        bench.culprits.begin(&bench.blames, outer, true);
        bench.poll(3, 50, 304);
        assert_eq!((bench.blame(101), bench.blame(100)), (ready(1, 99), ready(1, 101)));
    }

    /// Timers and sockets: the loop looked for them only after the poll.
    #[test]
    fn who_is_woken_by_the_first_look_for_events_is_late() {
        let mut bench = Bench::new();
        bench.slow(1, 100 * MS, 300 * MS, true);
        bench.poll(2, 200 * MS, 300 * MS + 10);
        bench.culprits.park(&bench.blames, 300 * MS + 20);
        assert!(!bench.is_closed(100 * MS, 300 * MS + 21), "the events are about to come");
        assert!(bench.is_closed(100 * MS, 302 * MS), "none came");
        bench.culprits.unpark(&bench.blames, 300 * MS + 40);
        assert!(!bench.is_closed(100 * MS, 302 * MS));
        // Task 2 was polled since, and the slow task itself: what they wait for they may have asked for since.
        for task in [3, 2, 4, 1] {
            bench.poll(task, 300 * MS + 30, 300 * MS + 50);
        }
        // Woken by a poll, and by a later look.
        bench.poll(5, 300 * MS + 50, 300 * MS + 60);
        bench.poll(6, 300 * MS + 61, 300 * MS + 70);
        let late_ns = 2 * 200 * MS;
        let expected =
            Blame { tasks: 3, wait_ns: 100 * MS, late_tasks: 2, wait_most_ns: 100 * MS + late_ns, ..Blame::default() };
        assert_eq!(bench.blame(100 * MS), expected);
        bench.culprits.park(&bench.blames, 301 * MS);
        assert!(bench.is_closed(100 * MS, 301 * MS) && !bench.culprits.are_open());
    }

    /// A loop that never runs dry looks for events between two polls.
    #[test]
    fn a_busy_loop_looks_for_events_without_parking() {
        let mut bench = Bench::new();
        bench.slow(1, 100 * MS, 300 * MS, true);
        bench.poll(2, 200 * MS, 300 * MS + 10);
        bench.poll(3, 300 * MS + 15, 300 * MS + 20);
        bench.poll(4, 300 * MS + 16, 300 * MS + 30);
        assert_eq!(bench.blame(100 * MS).late_tasks, 2);
    }

    #[test]
    fn an_event_that_came_after_the_slow_poll_is_none_of_its_fault() {
        let mut bench = Bench::new();
        bench.slow(1, 100 * MS, 300 * MS, true);
        bench.culprits.park(&bench.blames, 300 * MS + 20);
        bench.culprits.unpark(&bench.blames, 310 * MS);
        assert!(bench.is_closed(100 * MS, 310 * MS) && !bench.culprits.are_open());
        assert_eq!(bench.blame(100 * MS), ready(0, 0));
    }

    /// Other workers look for events, and take what waits; but not what is in the slot for the task that runs next.
    #[test]
    fn on_several_workers_who_ran_next_is_told_apart_and_nobody_is_late() {
        let mut bench = Bench::new();
        bench.slow(1, 100, 300, false);
        bench.poll(2, 200, 301);
        bench.poll(3, 200, 310);
        bench.poll(4, 312, 313);
        assert_eq!(bench.blame(100), Blame { lifo_tasks: 1, ..ready(2, 200) });
        bench.culprits.park(&bench.blames, 400);
        assert!(bench.is_closed(100, 400));
    }

    #[test]
    fn the_oldest_are_forgotten_and_a_busy_thread_closes_them() {
        let mut bench = Bench::new();
        for n in 1..=CAPACITY as u64 + 1 {
            bench.slow(1, n * 10, n * 10 + 5, true);
        }
        assert!(bench.blames.read(Moment(10), u64::MAX).is_none());
        assert!(bench.is_closed(20, u64::MAX), "no more than {OPEN} are open");
        for n in 0..u64::from(VICTIMLESS) {
            bench.poll(1, 10_000 + n, 10_000 + n);
        }
        assert!(!bench.culprits.are_open());
    }
}
