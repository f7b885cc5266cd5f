use std::panic::Location;

use super::*;
use crate::clock::Clock;

const MS: u64 = 1_000_000;
const THRESHOLD_NS: u64 = 100 * MS;

/// A worker, and who follows it.
struct Bench {
    shared: Shared,
    slot: Arc<Slot>,
    stretches: Stretches,
    told: Vec<BusyStretch>,
}

impl Bench {
    fn new() -> Bench {
        let shared = Shared::new(Clock::manual(), THRESHOLD_NS, 10);
        let slot = shared.take_slot();
        shared.clock.advance(MS);
        Bench { shared, slot, stretches: Stretches::default(), told: Vec::new() }
    }

    fn unpark(&self) {
        self.slot.stretch.begin(self.shared.clock.now_ns(), 3);
    }

    /// Polls of so long, one after the other, each spawned at one of these places, and a look after every 50 ms of them.
    fn polls(&mut self, count: u64, ns: u64, places: &[&'static Location<'static>]) {
        for n in 0..count {
            self.shared.clock.advance(ns);
            let place = places[n as usize % places.len()];
            self.slot.record(place, crate::names::UNNAMED, ns);
            if ns >= THRESHOLD_NS {
                self.slot.sites.record_slow(place);
            }
            if (n + 1) * ns / (50 * MS) > n * ns / (50 * MS) {
                self.look();
            }
        }
    }

    fn look(&mut self) {
        self.told.extend(self.stretches.look(&self.shared, false));
    }

    fn park(&mut self) {
        self.slot.stretch.end();
        self.look();
    }
}

#[track_caller]
fn here() -> &'static Location<'static> {
    Box::leak(Box::new(*Location::caller()))
}

fn place(location: &'static Location<'static>) -> Option<Place> {
    Some((location.file(), location.line()))
}

#[test]
fn many_short_polls_are_told_when_they_are_late_and_when_they_are_over() {
    let mut bench = Bench::new();
    let often = here();
    let seldom = here();
    bench.unpark();
    bench.polls(1_325, 2 * MS, &[often, often, often, seldom]);
    let [late] = &bench.told[..] else { panic!("{:?}", bench.told) };
    let polls = late.polls.as_ref().unwrap();
    assert_eq!((late.number, late.is_over, late.worker, polls.place, polls.percent), (1, false, 3, place(often), 75));
    // From the first look at which it was old: half the threshold.
    assert_eq!((late.lasted, polls.count), (Duration::from_millis(1_000), 500));
    bench.park();
    let [_, over] = &bench.told[..] else { panic!("{:?}", bench.told) };
    let polls = over.polls.as_ref().unwrap();
    assert_eq!((over.number, over.is_over, over.lasted, polls.count), (1, true, Duration::from_millis(2_600), 1_300));
    assert_eq!((polls.longest.map(|longest| longest.as_millis()), polls.threads), (Some(2), 1));
    bench.unpark();
    bench.polls(10, 2 * MS, &[often]);
    bench.park();
    assert_eq!(bench.told.len(), 2, "{:?}", bench.told);
    assert!(!bench.stretches.are_followed());
}

/// Parking once in a while, as a healthy loop does.
#[test]
fn a_worker_that_parks_is_not_told() {
    let mut bench = Bench::new();
    for _ in 0..40 {
        bench.unpark();
        bench.polls(40, 2 * MS, &[here()]);
        bench.park();
    }
    assert_eq!(bench.told, []);
}

/// It never waits, and everybody is served in time: a turn of 61 polls takes less than a millisecond.
#[test]
fn polls_that_nobody_feels_are_not_told() {
    let mut bench = Bench::new();
    bench.unpark();
    bench.polls(150_000, MS / 100, &[here()]);
    assert_eq!(bench.told, []);
    // Tasks that are ready wait for the threshold all the same: there are very many of them.
    bench.slot.schedule_latency.record(THRESHOLD_NS + MS, &bench.slot.overflows.schedule_latency);
    bench.polls(10_000, MS / 100, &[here()]);
    assert_eq!(bench.told.len(), usize::from(crate::TOKIO_UNSTABLE), "{:?}", bench.told);
}

/// A thread that left the loop without saying so does something else for as long.
#[test]
fn time_that_is_in_no_poll_is_not_told() {
    let mut bench = Bench::new();
    bench.unpark();
    for _ in 0..60 {
        bench.polls(10, 2 * MS, &[here()]);
        bench.shared.clock.advance(50 * MS);
        bench.look();
    }
    assert_eq!(bench.told, []);
}

/// That one has a line of its own, and what is late is counted anew after it.
#[test]
fn a_slow_poll_ends_what_is_counted() {
    let mut bench = Bench::new();
    bench.unpark();
    for _ in 0..5 {
        bench.polls(200, 2 * MS, &[here()]);
        bench.polls(1, 2 * THRESHOLD_NS, &[here()]);
    }
    assert_eq!(bench.told, []);
    bench.polls(600, 2 * MS, &[here()]);
    bench.polls(1, 2 * THRESHOLD_NS, &[here()]);
    let [late, over] = &bench.told[..] else { panic!("{:?}", bench.told) };
    let longest = over.polls.as_ref().unwrap().longest;
    assert_eq!((late.is_over, over.is_over, longest.map(|longest| longest.as_millis())), (false, true, Some(2)));
}

/// Longer ones came before, and are not what came since.
#[test]
fn the_longest_poll_is_of_the_stretch_or_not_known() {
    let bucket = |ms: u64, count| Bucket { low_ns: ms * MS, high_ns: ms * MS + 9, count };
    let of = |top| Everywhere { top, ..Everywhere::default() };
    let before = of(vec![bucket(900, 1), bucket(3, 5)]);
    let longest = |top| of(top).longest_since(&before).map(|longest| longest.as_millis());
    assert_eq!(longest(vec![bucket(900, 1), bucket(3, 5)]), None);
    assert_eq!(longest(vec![bucket(900, 1), bucket(3, 5), bucket(2, 1)]), Some(2));
    assert_eq!(longest(vec![bucket(900, 1), bucket(3, 6), bucket(2, 1)]), Some(3));
    let full = of((0..TOP as u64).map(|n| bucket(900 - n, 1)).collect());
    let mut now: Vec<Bucket> = full.top.clone();
    now.push(bucket(2, 1));
    assert_eq!(of(now).longest_since(&full), None, "it may have been there before");
}
