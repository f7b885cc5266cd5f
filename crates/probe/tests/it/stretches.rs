//! Busy stretches: what a thread does outside the loop is in none.

use std::time::Duration;

use pollscope_probe::Probe;
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::block_in_place;

use crate::support::{block, current_thread, elapsed_ns, multi_thread, patient, spawn};

/// Longer than any stretch here, by far.
const IDLE_MS: u64 = 300;

/// The future is ready before the thread ever parks, and the thread then does something else.
#[test]
fn the_time_between_two_watched_roots_is_in_no_stretch() {
    let (runtime, probe) = current_thread(patient());
    runtime.block_on(probe.watch(async {}));
    let idle_ns = block(IDLE_MS);
    runtime.block_on(probe.watch(async { tokio::time::sleep(Duration::from_millis(1)).await }));
    let stretches = probe.snapshot().busy_stretches;
    assert!(stretches.count() >= 2, "{stretches:?}");
    assert!(stretches.max_ns < Some(idle_ns), "{stretches:?}");
}

#[test]
fn a_root_that_never_waits_is_a_stretch() {
    let (runtime, probe) = current_thread(patient());
    let start = std::time::Instant::now();
    let inner_ns = runtime.block_on(probe.watch(async { block(10) }));
    let outer_ns = elapsed_ns(start);
    let stretches = probe.snapshot().busy_stretches;
    assert_eq!(stretches.count(), 1);
    assert!((inner_ns..=outer_ns).contains(&stretches.sum_ns));
}

/// A current-thread runtime has one worker, but no thread of its own: what others did with it meanwhile is not this thread's.
#[test]
fn the_time_in_which_another_thread_drove_the_runtime_is_in_no_stretch() {
    let (runtime, probe) = current_thread(patient());
    // The roots are not watched, so that nobody says when a thread leaves the loop.
    let drive =
        || runtime.block_on(async { tokio::spawn(tokio::time::sleep(Duration::from_millis(1))).await.unwrap() });
    runtime.block_on(async { tokio::spawn(async {}).await.unwrap() });
    std::thread::scope(|scope| scope.spawn(drive).join().unwrap());
    let idle_ns = block(IDLE_MS);
    drive();
    let stretches = probe.snapshot().busy_stretches;
    assert!(stretches.count() >= 1 && stretches.max_ns < Some(idle_ns), "{stretches:?}");
}

/// The thread that waits in `block_on` for four workers is not one of them.
#[test]
fn a_thread_that_is_no_worker_has_no_stretch() {
    let (runtime, probe) = multi_thread(1, patient());
    let inner_ns = runtime.block_on(probe.watch(async { block(IDLE_MS) }));
    drop(runtime);
    assert!(probe.snapshot().busy_stretches.max_ns < Some(inner_ns));
}

/// Many short polls without a park between them. The task that spawns them keeps the worker from parking before they end.
async fn many_short_polls(probe: &Probe) -> u64 {
    let parent = {
        let probe = probe.clone();
        async move {
            let tasks: Vec<_> = (0..20).map(|_| spawn(&probe, async { block(2) })).collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await.unwrap();
            }
            sum
        }
    };
    let sum = spawn(probe, parent).await.unwrap();
    // The worker parks, which ends the stretch.
    tokio::time::sleep(Duration::from_millis(5)).await;
    sum
}

#[test]
fn many_short_polls_are_one_stretch() {
    for (runtime, probe) in [current_thread(patient()), multi_thread(1, patient())] {
        let polls_ns = runtime.block_on(many_short_polls(&probe));
        assert!(probe.snapshot().busy_stretches.max_ns >= Some(polls_ns));
    }
}

#[test]
fn many_short_polls_are_one_stretch_on_a_local_runtime() {
    let mut builder = Builder::new_current_thread();
    let probe = patient().install(&mut builder).unwrap();
    let runtime = builder.enable_time().build_local(LocalOptions::default()).unwrap();
    let polls_ns = runtime.block_on(many_short_polls(&probe));
    assert!(probe.snapshot().busy_stretches.max_ns >= Some(polls_ns));
}

/// `block_in_place` gives the only worker to another thread. The first one then waits in the pool, until it is the worker
/// again: that wait is no busy stretch.
#[test]
fn the_wait_of_a_thread_that_gave_its_worker_away_is_in_no_stretch() {
    let (runtime, probe) = multi_thread(1, patient());
    let idle_ns = runtime.block_on(async {
        let give_away = || {
            spawn(&probe, async {
                let (sender, receiver) = std::sync::mpsc::channel();
                // Only another thread can run it, as the worker.
                tokio::spawn(async move { sender.send(()).unwrap() });
                block_in_place(|| receiver.recv().unwrap());
            })
        };
        let mut idle_ns = 0;
        for _ in 0..3 {
            give_away().await.unwrap();
            idle_ns = block(IDLE_MS);
        }
        idle_ns
    });
    drop(runtime);
    let stretches = probe.snapshot().busy_stretches;
    assert!(stretches.max_ns < Some(idle_ns), "{stretches:?}");
}

/// A future can be watched on a runtime that the probe was not installed on: that is not what its own workers are.
#[test]
fn a_future_watched_elsewhere_says_nothing_of_the_workers() {
    let (runtime, probe) = multi_thread(1, patient());
    Builder::new_current_thread().build().unwrap().block_on(probe.watch(async {}));
    let idle_ns = runtime.block_on(async {
        let mut idle_ns = 0;
        for _ in 0..3 {
            spawn(&probe, async { block_in_place(|| block(5)) }).await.unwrap();
            idle_ns = block(IDLE_MS);
        }
        idle_ns
    });
    drop(runtime);
    let stretches = probe.snapshot().busy_stretches;
    assert!(stretches.max_ns < Some(idle_ns), "{stretches:?}");
}
