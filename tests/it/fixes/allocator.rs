//! Programs whose allocator is locked for long: another thread gives back much memory at once.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use pollscope_base::Cause;

use super::Case;
use super::program::lacks;

/// The size of a buffer, below that of memory that glibc maps for itself.
const BUFFER: usize = 64 << 10;
const BUFFERS: usize = 24 << 10;
/// What is to be available besides.
const SPARE: u64 = 1 << 30;
/// So many buffers the loop allocates meanwhile.
const ALLOCATIONS: u64 = 20_000;

pub(super) const ALLOCATOR: Case = Case {
    says: "it waits for the allocator",
    before: |folder| {
        share_one_heap();
        let others = Others::start(folder, |buffers, last| {
            let kept = buffers.pop();
            drop(buffers.drain(..));
            last.store(true, Relaxed);
            // All of it is given back now, under the lock of the heap.
            drop(kept);
        });
        Box::pin(others.meanwhile())
    },
    afters: &[("free and allocate less at once on other threads", |folder| {
        share_one_heap();
        Box::pin(Others::start(folder, free_in_parts).meanwhile())
    })],
    ..Case::of(Cause::Lock)
};

fn free_in_parts(buffers: &mut Vec<Vec<u8>>, last: &AtomicBool) {
    last.store(true, Relaxed);
    while !buffers.is_empty() {
        // From the end, where the heap ends as well.
        buffers.truncate(buffers.len().saturating_sub(64));
        thread::sleep(Duration::from_millis(1));
    }
}

/// As with `MALLOC_ARENA_MAX=1`, which many containers set.
fn share_one_heap() {
    // SAFETY: it changes a setting of the allocator's, in a process with one thread so far that allocates.
    let is_set = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    assert_eq!(is_set, 1, "glibc has that setting");
}

/// A thread that has much memory, and frees it once asked.
struct Others {
    ask: mpsc::Sender<()>,
    last: Arc<AtomicBool>,
}

impl Others {
    fn start(folder: &Path, free: fn(&mut Vec<Vec<u8>>, &AtomicBool)) -> Others {
        let (last, (ask, asked), (tell, told)) = (Arc::new(AtomicBool::new(false)), mpsc::channel(), mpsc::channel());
        let theirs = Arc::clone(&last);
        let has_room = available().is_none_or(|bytes| bytes > (BUFFERS * BUFFER) as u64 + SPARE);
        if !has_room {
            lacks(folder, "3 GiB of memory");
        }
        thread::spawn(move || {
            let mut buffers: Vec<Vec<u8>> = (0..if has_room { BUFFERS } else { 1 }).map(|_| vec![1; BUFFER]).collect();
            tell.send(()).expect("the program waits");
            asked.recv().expect("the program asks");
            free(&mut buffers, &theirs);
        });
        told.recv().expect("the memory is there");
        Others { ask, last }
    }

    /// What the loop does meanwhile.
    async fn meanwhile(self) -> u64 {
        // Free places for what is allocated below: else some of it is behind the last of the others' memory, and keeps that there.
        let holes: Vec<Vec<u8>> = (0..64).map(|_| black_box(vec![1; 8_000])).collect();
        drop(holes);
        self.ask.send(()).expect("the thread is there");
        while !self.last.load(Relaxed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for _ in 0..ALLOCATIONS {
            drop(black_box(Vec::<u8>::with_capacity(5_000)));
        }
        ALLOCATIONS
    }
}

/// Memory that is available, where the kernel says so.
fn available() -> Option<u64> {
    let memory = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}
