//! Every slow poll is taken once, whole and in order, or counted as dropped; its place is written again only when it was taken.

use std::panic::Location;

use std::sync::Arc;

use loom::thread;

use super::{CAPACITY, RawSlowPoll, Ring};
use crate::clock::Moment;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::model::explore_orders;

/// Every part of it is its number's.
fn poll(n: u64) -> RawSlowPoll {
    RawSlowPoll {
        task: n,
        name: n as u32,
        location: Location::caller(),
        worker: Some(n as u32),
        thread: crate::names::UNNAMED,
        span: n * 5,
        handed_over: n % 2 == 1,
        start: Moment(n + 1),
        start_ns: n,
        end_ns: n * 4,
        duration_ns: n * 3,
    }
}

fn number(poll: &RawSlowPoll) -> u64 {
    let parts = (
        poll.name,
        poll.worker,
        poll.handed_over,
        poll.start.0,
        poll.start_ns,
        poll.end_ns,
        poll.duration_ns,
        poll.span,
    );
    let n = poll.task;
    assert_eq!(parts, (n as u32, Some(n as u32), n % 2 == 1, n + 1, n, n * 4, n * 3, n * 5), "not whole");
    n
}

const POLLS: u64 = CAPACITY as u64 + 2;

/// What the two threads did, noted with nothing that would order it: who sees a note was told by the ring.
#[derive(Default)]
struct Notes {
    pushed: [AtomicU64; POLLS as usize],
    taken: [AtomicU64; POLLS as usize],
}

fn drain(ring: &Ring, notes: &Notes, next: &mut u64, taken: &mut u64) {
    ring.drain(|poll| {
        let n = number(&poll);
        assert!(n >= *next, "taken twice, or out of order");
        assert_eq!(notes.pushed[n as usize].load(Relaxed), 1, "taken before it was pushed");
        notes.taken[n as usize].store(1, Relaxed);
        (*next, *taken) = (n + 1, *taken + 1);
    });
}

#[test]
fn each_is_taken_once_or_dropped() {
    explore_orders("ring: four polls through two places, drained twice meanwhile", 3, || {
        let (ring, notes) = (Arc::new(Ring::new()), Arc::new(Notes::default()));
        let (pushing, noting) = (Arc::clone(&ring), Arc::clone(&notes));
        let writer = thread::spawn(move || {
            let mut kept = Vec::new();
            for n in 0..POLLS {
                noting.pushed[n as usize].store(1, Relaxed);
                let dropped = pushing.dropped();
                pushing.push(poll(n));
                if pushing.dropped() == dropped {
                    let before = kept.len().checked_sub(CAPACITY).map(|place| kept[place]);
                    let is_free = before.is_none_or(|n: u64| noting.taken[n as usize].load(Relaxed) == 1);
                    assert!(is_free, "its place was taken from a poll that still waited");
                    kept.push(n);
                }
            }
        });
        let (mut next, mut taken) = (0, 0);
        drain(&ring, &notes, &mut next, &mut taken);
        drain(&ring, &notes, &mut next, &mut taken);
        writer.join().unwrap();
        drain(&ring, &notes, &mut next, &mut taken);
        assert_eq!(taken + ring.dropped(), POLLS);
        assert!(taken >= CAPACITY as u64 && ring.is_empty());
    });
}
