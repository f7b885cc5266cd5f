//! Programs that wait for the allocator: another thread frees much memory of this thread's heap, and has it given back at once.

use std::hint::black_box;
use std::path::Path;
use std::thread;
use std::time::Duration;

use pollscope_base::Cause;

use super::Case;
use super::program::{Work, lacks};

/// The size of a buffer, below that of memory that glibc maps for itself.
const BUFFER: usize = 64 << 10;
/// So many take the kernel long to take back: 1 GiB.
const BUFFERS: usize = 16 << 10;
/// What is to be available besides, in bytes.
const SPARE: u64 = 1 << 30;
/// So many are allocated in a poll, and freed at once where it is done in parts.
const PART: usize = 64;

pub(super) const ALLOCATOR: Case = Case {
    says: "it waits for the allocator",
    // What it allocates is of one heap then.
    workers: 1,
    before: |folder| meanwhile(folder, free_at_once),
    afters: &[("free and allocate less at once on other threads", |folder| meanwhile(folder, free_in_parts))],
    ..Case::of(Cause::Lock)
};

/// What the loop's thread has allocated.
type Buffers = Vec<Vec<u8>>;

/// Frees all of it, as when a large table is dropped, and gives it back, as services do that are to stay small.
fn free_at_once(buffers: Buffers) {
    drop(buffers);
    trim();
}

fn free_in_parts(mut buffers: Buffers) {
    while !buffers.is_empty() {
        buffers.truncate(buffers.len().saturating_sub(PART));
        trim();
        thread::sleep(Duration::from_millis(1));
    }
}

/// Under the lock of each heap, as long as that takes.
fn trim() {
    // SAFETY: the allocator gives back what nobody has.
    unsafe { libc::malloc_trim(0) };
}

/// Allocates much, in short polls, hands it to another thread, and allocates a little again and again, until that has freed it.
fn meanwhile(folder: &Path, free: fn(Buffers)) -> Work {
    if available().is_some_and(|bytes| bytes < (BUFFERS * BUFFER) as u64 + SPARE) {
        lacks(folder, "2 GiB of memory");
        return Box::pin(async { 0 });
    }
    Box::pin(async move {
        let mut buffers = Buffers::with_capacity(BUFFERS);
        while buffers.len() < BUFFERS {
            buffers.extend((0..PART).map(|_| vec![1; BUFFER]));
            tokio::task::yield_now().await;
        }
        let frees = thread::spawn(move || {
            let count = buffers.len() as u64;
            free(buffers);
            count
        });
        while !frees.is_finished() {
            for _ in 0..1_000 {
                drop(black_box(Vec::<u8>::with_capacity(5_000)));
            }
            tokio::task::yield_now().await;
        }
        frees.join().expect("no panic")
    })
}

/// Memory that is available, where the kernel says so.
fn available() -> Option<u64> {
    let memory = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}
