//! What blocks or computes at the end of a deep stack.

use std::hint::black_box;
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Instant;

use super::cases::{BLOCK, CALL, Case, LOCK, NONE, at, case};
use super::truth::Did;

const FRAME: usize = 8 << 10;

pub(crate) const CASES: [Case; 12] = [
    case!("32 KiB deep, sleep", CALL, || descend(4, sleep)),
    case!("32 KiB deep, Condvar", LOCK, || descend(4, condition)),
    case!("32 KiB deep, spin", NONE, || descend(4, spin)),
    case!("128 KiB deep, sleep", CALL, || descend(16, sleep)),
    case!("128 KiB deep, Condvar", LOCK, || descend(16, condition)),
    case!("128 KiB deep, spin", NONE, || descend(16, spin)),
    case!("512 KiB deep, sleep", CALL, || descend(64, sleep)),
    case!("512 KiB deep, Condvar", LOCK, || descend(64, condition)),
    case!("512 KiB deep, spin", NONE, || descend(64, spin)),
    case!("2 MiB deep, sleep", CALL, || descend(256, sleep)),
    case!("2 MiB deep, Condvar", LOCK, || descend(256, condition)),
    case!("2 MiB deep, spin", NONE, || descend(256, spin)),
];

/// So many frames of 8 KiB and a little more.
#[inline(never)]
fn descend(frames: usize, run: fn() -> Did) -> Did {
    let mut block = [0u8; FRAME];
    black_box(&mut block);
    let did = if frames == 0 { run() } else { descend(frames - 1, run) };
    black_box(&mut block);
    did
}

#[inline(never)]
fn sleep() -> Did {
    at((thread::sleep(BLOCK), line!()).1)
}

#[inline(never)]
fn condition() -> Did {
    let (mutex, condition) = (Mutex::new(()), Condvar::new());
    at((drop(condition.wait_timeout(mutex.lock().unwrap(), BLOCK)), line!()).1)
}

#[inline(never)]
fn spin() -> Did {
    let first = line!();
    let start = Instant::now();
    while start.elapsed() < BLOCK {}
    Did::at((first, line!()))
}
