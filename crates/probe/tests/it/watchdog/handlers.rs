//! A host whose own signal handler runs on the alternate stack, which the probe's shares. Each runs in a process of its own: this test
//! program again, with the one test and a variable that tells it so.

use pollscope_probe::{CaptureNote, Snapshot};

use super::alone::{is_alone, survives};
use super::profiler::profile;
use super::*;

/// Gives this thread an alternate stack of such a size, for good.
fn alternate_stack(bytes: usize) {
    let memory = Box::leak(vec![0_u8; bytes].into_boxed_slice());
    let stack = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: bytes };
    // SAFETY: the memory is nobody else's and stays.
    assert_eq!(unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) }, 0);
}

/// Computes in many short slow polls, with a look at each.
fn computes_often() -> Snapshot {
    let (runtime, probe) = current_thread(watching().slow_poll_threshold(Duration::from_millis(3)));
    for _ in 0..150 {
        runtime.block_on(async { spawn(&probe, async { spin(8_000) }).await.unwrap() });
    }
    drop(runtime);
    assert!(probe.flush(LONG));
    let snapshot = probe.snapshot();
    assert_eq!(snapshot.slow_polls_total, 150);
    snapshot
}

fn seen(snapshot: &Snapshot) -> usize {
    snapshot.slow_polls.iter().filter(|poll| !poll.evidence.stack.is_empty()).count()
}

#[test]
fn a_small_stack_that_another_handler_is_on_gets_no_signal() {
    if !is_alone() {
        return survives("handlers::a_small_stack_that_another_handler_is_on_gets_no_signal");
    }
    profile(false);
    let snapshot = computes_often();
    assert_eq!(snapshot.capture_notes, [CaptureNote::NoRoomForHandler]);
    assert_eq!(seen(&snapshot), 0);
}

#[test]
fn a_stack_with_room_for_both_gets_one() {
    if !is_alone() {
        return survives("handlers::a_stack_with_room_for_both_gets_one");
    }
    alternate_stack(64 << 10);
    profile(false);
    let snapshot = computes_often();
    assert_eq!(snapshot.capture_notes, []);
    assert!(seen(&snapshot) > 0);
}

#[test]
fn a_small_stack_that_another_handler_has_to_itself_gets_one() {
    if !is_alone() {
        return survives("handlers::a_small_stack_that_another_handler_has_to_itself_gets_one");
    }
    profile(true);
    let snapshot = computes_often();
    assert!(!snapshot.capture_notes.contains(&CaptureNote::NoRoomForHandler), "{:?}", snapshot.capture_notes);
    assert!(seen(&snapshot) > 0);
}
