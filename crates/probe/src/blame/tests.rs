use pollscope_base::duration::to_ns;

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
        let (mut blame, _) = self.blames.read(Moment(start_ns), u64::MAX).expect("a slow poll");
        blame.worst = None;
        blame
    }

    /// The task that waited longest, from when to when.
    fn worst(&self, start_ns: u64) -> Option<(u64, u64, u64)> {
        let worst = self.blames.read(Moment(start_ns), u64::MAX).expect("a slow poll").0.worst;
        worst.map(|worst| (worst.task_id, to_ns(worst.ready_at), to_ns(worst.polled_at)))
    }

    fn is_closed(&self, start_ns: u64, now_ns: u64) -> bool {
        self.blames.read(Moment(start_ns), now_ns).expect("a slow poll").1
    }
}

fn ready(tasks: u64, wait_ns: u64) -> Blame {
    let mut blame = Blame::default();
    (blame.tasks, blame.wait) = (tasks, Duration::from_nanos(wait_ns));
    blame.wait_most = blame.wait;
    blame
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
            while !ended.load(Acquire) {
                if let Some(worst) = blames.0[0].worst.read() {
                    let times = (to_ns(worst.ready_at), to_ns(worst.polled_at));
                    assert_eq!(times, (worst.task_id, 2 * worst.task_id + 1));
                }
            }
        });
        for task in 1..=200_000 {
            let waiter = Waiter { task, spawned_at: Location::caller(), ready_ns: task + 1, polled_ns: 2 * task + 2 };
            blames.0[0].worst.take(Some(&waiter), task);
        }
        ended.store(true, Release);
        reader.join().expect("no torn reading");
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
    let mut expected = ready(3, 100 * MS);
    (expected.late_tasks, expected.wait_most) = (2, Duration::from_nanos(100 * MS + late_ns));
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
    let mut next = ready(2, 200);
    next.lifo_tasks = 1;
    assert_eq!(bench.blame(100), next);
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
