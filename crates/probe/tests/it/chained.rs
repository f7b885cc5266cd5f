//! The user's own callbacks, with the probe on and off. Those for polls exist only with hooks: see the unit tests there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pollscope_probe::{Probe, ProbeBuilder};

use crate::support::{current_thread, multi_thread};

fn counting(builder: ProbeBuilder) -> (ProbeBuilder, [Arc<AtomicU64>; 2]) {
    let counts = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
    let [park, unpark] = counts.clone();
    let builder = builder
        .on_thread_park(move || {
            park.fetch_add(1, Relaxed);
        })
        .on_thread_unpark(move || {
            unpark.fetch_add(1, Relaxed);
        });
    (builder, counts)
}

fn check(start: impl Fn(ProbeBuilder) -> (tokio::runtime::Runtime, Probe), builder: ProbeBuilder, on: bool) {
    let (builder, [park, unpark]) = counting(builder);
    let (runtime, probe) = start(builder);
    assert_eq!(probe.is_on(), on);
    runtime.block_on(async {
        for _ in 0..3 {
            tokio::spawn(tokio::time::sleep(std::time::Duration::from_millis(2))).await.unwrap();
        }
    });
    drop(runtime);
    let (park, unpark) = (park.load(Relaxed), unpark.load(Relaxed));
    assert!(park >= 3 && unpark >= 3, "{park} {unpark}");
    assert!(unpark <= park, "a thread is unparked after it was parked");
    assert_eq!(probe.snapshot().busy_stretches.count() > 0, on);
}

#[test]
fn park_and_unpark_callbacks_are_called_beside_the_probe() {
    check(current_thread, Probe::builder(), true);
    check(|builder| multi_thread(2, builder), Probe::builder(), true);
}

/// These tests run without the switch in their environment.
#[test]
fn park_and_unpark_callbacks_are_called_when_the_probe_is_off() {
    check(current_thread, ProbeBuilder::from_env(), false);
    check(|builder| multi_thread(2, builder), ProbeBuilder::from_env(), false);
}

#[test]
fn a_probe_that_is_off_is_empty_and_passes_futures_through() {
    let probe = Probe::off();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answer =
        runtime.block_on(probe.watch(async { probe.spawn("task", async { 42 }).await.unwrap() }).named("root"));
    assert_eq!(answer, 42);
    let snapshot = probe.snapshot();
    assert_eq!((snapshot.polls.count(), snapshot.slow_polls_total), (0, 0));
    assert!(probe.flush(std::time::Duration::ZERO));
}
