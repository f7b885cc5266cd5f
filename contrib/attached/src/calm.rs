//! Tasks in whose polls nothing is to be found.
//!
//! They measure their own polls all the same: one that the machine did not let run is slow, and told as `preempted`.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::clock;
use crate::record::Record;

/// How many polls there were.
pub static POLLS: AtomicU64 = AtomicU64::new(0);

const SHORT: Duration = Duration::from_micros(45);
const LONGER: Duration = Duration::from_micros(800);
/// From this on a poll is told.
const SLOW_NS: u64 = 10_000_000;

/// Sleeps, for twenty wakes a second.
pub async fn idle(until: Instant) -> Vec<Record> {
    let mut slow = Vec::with_capacity(100);
    while Instant::now() < until {
        turn(Duration::ZERO, &mut slow);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    slow
}

/// Computes for less than a millisecond, every five.
pub async fn gaps(until: Instant) -> Vec<Record> {
    let mut slow = Vec::with_capacity(100);
    while Instant::now() < until {
        turn(LONGER, &mut slow);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    slow
}

/// Computes for 45 µs, and is ready again at once.
pub async fn hot(until: Instant) -> Vec<Record> {
    let mut slow = Vec::with_capacity(100);
    while Instant::now() < until {
        turn(SHORT, &mut slow);
        tokio::task::yield_now().await;
    }
    slow
}

fn turn(time: Duration, slow: &mut Vec<Record>) {
    let (begin_ns, before) = (clock::now_ns(), clock::switches());
    let begun = Instant::now();
    let mut number = 1u64;
    while begun.elapsed() < time {
        number = black_box(number.wrapping_mul(3));
    }
    POLLS.fetch_add(1, Relaxed);
    let end_ns = clock::now_ns();
    if end_ns - begin_ns >= SLOW_NS {
        let after = clock::switches();
        slow.push(Record {
            way: "preempted",
            functions: ["turn", ""],
            chain: &[],
            task: 0,
            id: None,
            tid: clock::tid(),
            begin_ns,
            end_ns,
            switches: [after[0] - before[0], after[1] - before[1]],
        });
    }
}
