//! After a site's first poll the probe allocates nothing on the thread that polls.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use pollscope_probe::Probe;
use tokio::runtime::Runtime;
use tokio::task::yield_now;

use crate::support::{current_thread, multi_thread, patient};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    // A number has no destructor, so it is there for as long as the thread is.
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Allocations of this thread so far.
#[cfg(feature = "span")]
pub(crate) fn so_far() -> u64 {
    ALLOCATIONS.get()
}

/// Allocations of the loop's thread during 100,000 polls of a task, after a warm-up.
fn during_polls(runtime: &Runtime, probe: &Probe) -> u64 {
    runtime.block_on(async {
        let task = probe.spawn("yielding", async {
            let mut before = 0;
            for n in 0..101_000 {
                if n == 1_000 {
                    before = ALLOCATIONS.get();
                }
                yield_now().await;
            }
            ALLOCATIONS.get() - before
        });
        task.await.unwrap()
    })
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}

#[test]
fn a_poll_allocates_nothing() {
    let bare = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(during_polls(&bare, &Probe::off()), 0, "the control: a yield itself allocates nothing");
    for (runtime, probe) in [current_thread(patient()), multi_thread(1, patient())] {
        assert_eq!(during_polls(&runtime, &probe), 0);
        assert!(probe.snapshot().polls.count() > 100_000);
    }
}

/// Nor does a slow one, whether its ring has room for it or not.
#[test]
fn a_slow_poll_allocates_nothing() {
    let (runtime, probe) = current_thread(Probe::builder().slow_poll_threshold(Duration::from_nanos(1)));
    assert_eq!(during_polls(&runtime, &probe), 0);
    assert!(probe.snapshot().slow_polls_total > 100_000);
}
