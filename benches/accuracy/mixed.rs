//! Polls that are at several places one after the other, each for a while that is known.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::cases::{CALL, Case, NONE};
use super::truth::{Did, Spot};
use pollscope_probe::Cause;

const WAITS: &[Cause] = &[Cause::BlockingCall, Cause::Lock];

pub(crate) const CASES: [Case; 6] = [
    Case { name: "2 places", off_cpu: WAITS, prepare: |_| planned(2, &[0, 1, 2, 3, 4]) },
    Case { name: "3 places", off_cpu: WAITS, prepare: |_| planned(3, &[0, 1, 2, 3, 4]) },
    Case { name: "4 places", off_cpu: WAITS, prepare: |_| planned(4, &[0, 1, 2, 3, 4]) },
    Case { name: "5 places", off_cpu: WAITS, prepare: |_| planned(5, &[0, 1, 2, 3, 4]) },
    Case { name: "2 sleeps", off_cpu: CALL, prepare: |_| planned(2, &[0, 1]) },
    Case { name: "2 spins", off_cpu: NONE, prepare: |_| planned(2, &[2, 3]) },
];

/// Each plan is another one, and they are the same in each run of the benchmark.
static SEED: AtomicU64 = AtomicU64::new(0);

/// Some of the places, in any order, for 15 to 120 ms each.
fn planned(places: usize, among: &[u8]) -> super::cases::Load {
    let mut rng = Rng::with_seed(SEED.fetch_add(1, Relaxed));
    let mut kinds = among.to_vec();
    rng.shuffle(&mut kinds);
    kinds.truncate(places);
    let plan: Vec<_> = kinds.into_iter().map(|kind| (kind, Duration::from_millis(rng.u64(15..=120)))).collect();
    Box::new(move || run(&plan))
}

fn run(plan: &[(u8, Duration)]) -> Did {
    let (mutex, condition) = (Mutex::new(()), Condvar::new());
    let mut spots = Vec::with_capacity(plan.len());
    for &(kind, time) in plan {
        let start = Instant::now();
        let line = match kind {
            0 => (thread::sleep(time), line!()).1,
            1 => (thread::sleep(time), line!()).1,
            2 => (while start.elapsed() < time {}, line!()).1,
            3 => (while start.elapsed() < time {}, line!()).1,
            _ => (drop(condition.wait_timeout(mutex.lock().unwrap(), time)), line!()).1,
        };
        spots.push(Spot { file: file!(), lines: (line, line), took: Some(start.elapsed()) });
    }
    Did { spots, ..Did::default() }
}
