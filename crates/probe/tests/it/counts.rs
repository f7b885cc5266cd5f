//! No poll is missed and none is counted twice: exact agreement with independent witnesses.

use std::time::Duration;

use pollscope_probe::{CAPTURE, TOKIO_UNSTABLE};
use tokio::runtime::{Builder, LocalOptions, Runtime};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, yield_now};
use tokio_metrics::TaskMonitor;

use crate::support::{Numbers, Witness, block, current_thread, multi_thread, patient, slow_polls, spawn};

/// Many tasks that yield, sleep and end at different times; every poll is seen by both witnesses.
fn many_tasks(runtime: Runtime, probe: &pollscope_probe::Probe) {
    let (witness, monitor) = (Witness::default(), TaskMonitor::new());
    runtime.block_on(async {
        let tasks: Vec<_> = (0..100)
            .map(|seed| {
                let work = async move {
                    let mut numbers = Numbers(seed);
                    for _ in 0..numbers.below(100) {
                        match numbers.below(10) {
                            0 => tokio::time::sleep(std::time::Duration::from_micros(numbers.below(500))).await,
                            _ => yield_now().await,
                        }
                    }
                };
                spawn(probe, witness.count(monitor.instrument(work)))
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    drop(runtime);
    let snapshot = probe.snapshot();
    assert!(witness.polls() > 1_000);
    assert_eq!(snapshot.polls.count(), witness.polls());
    assert_eq!(snapshot.polls.count(), monitor.cumulative().total_poll_count);
    let latencies = snapshot.schedule_latency.map(|latency| latency.count());
    assert_eq!(latencies, TOKIO_UNSTABLE.then_some(witness.polls()), "every poll of a spawned task was waited for");
}

#[test]
fn every_poll_on_a_current_thread_runtime_is_counted() {
    let (runtime, probe) = current_thread(patient());
    many_tasks(runtime, &probe);
}

#[test]
fn every_poll_on_four_workers_is_counted() {
    let (runtime, probe) = multi_thread(4, patient());
    many_tasks(runtime, &probe);
}

/// Each wakes the other: the woken task goes into the worker's LIFO slot, and is polled without the scheduler's own count.
#[test]
fn polls_from_the_lifo_slot_are_counted() {
    const ROUNDS: u64 = 5_000;
    let (runtime, probe) = multi_thread(4, patient());
    let (witness, monitor) = (Witness::default(), TaskMonitor::new());
    runtime.block_on(async {
        let (to_b, mut from_a) = mpsc::channel(1);
        let (to_a, mut from_b) = mpsc::channel(1);
        let a = async move {
            for n in 0..ROUNDS {
                to_b.send(n).await.unwrap();
                assert_eq!(from_b.recv().await, Some(n));
            }
        };
        let b = async move {
            while let Some(n) = from_a.recv().await {
                to_a.send(n).await.unwrap();
            }
        };
        let a = spawn(&probe, witness.count(monitor.instrument(a)));
        let b = spawn(&probe, witness.count(monitor.instrument(b)));
        a.await.unwrap();
        b.await.unwrap();
    });
    drop(runtime);
    assert!(witness.polls() > ROUNDS);
    assert_eq!(probe.snapshot().polls.count(), witness.polls());
    assert_eq!(probe.snapshot().polls.count(), monitor.cumulative().total_poll_count);
}

#[test]
fn every_poll_on_a_local_runtime_is_counted() {
    let mut builder = Builder::new_current_thread();
    let probe = patient().install(&mut builder).unwrap();
    let runtime = builder.build_local(LocalOptions::default()).unwrap();
    let witness = Witness::default();
    runtime.block_on(async {
        // Not `Send`: only a local task can hold it across a yield.
        let shared = std::rc::Rc::new(std::cell::Cell::new(0));
        let tasks: Vec<_> = (1..=10)
            .map(|yields| {
                let shared = shared.clone();
                let work = witness.count(async move {
                    for _ in 0..yields {
                        shared.set(shared.get() + 1);
                        yield_now().await;
                    }
                });
                if TOKIO_UNSTABLE {
                    tokio::task::spawn_local(work)
                } else {
                    tokio::task::spawn_local(probe.watch(work))
                }
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(shared.get(), 55);
    });
    drop(runtime);
    assert_eq!(witness.polls(), 65);
    assert_eq!(probe.snapshot().polls.count(), 65);
}

/// What no hook sees: the root, and tasks of a `LocalSet`, each by its own polls and not by those within.
#[test]
fn watched_roots_and_local_set_tasks_are_counted() {
    let (runtime, probe) = current_thread(patient());
    let (root, local) = (Witness::default(), Witness::default());
    let set = LocalSet::new();
    let future = probe.watch(root.count(set.run_until(async {
        let watched = probe.watch(local.count(async {
            for _ in 0..20 {
                yield_now().await;
            }
        }));
        tokio::task::spawn_local(watched).await.unwrap();
        tokio::task::spawn_local(async { yield_now().await }).await.unwrap();
    })));
    runtime.block_on(future);
    drop(runtime);
    let snapshot = probe.snapshot();
    assert_eq!(local.polls(), 21);
    assert_eq!(snapshot.polls.count(), root.polls() + local.polls());
    let mut by_site: Vec<u64> = snapshot.sites.iter().map(|site| site.polls.count()).collect();
    by_site.sort_unstable();
    let mut expected = vec![root.polls(), local.polls()];
    expected.sort_unstable();
    assert_eq!(by_site, expected);
}

/// A root on a runtime with workers of its own, beside its tasks: the thread of `block_on` is no worker.
#[test]
fn a_watched_root_beside_four_workers_is_counted() {
    let (runtime, probe) = multi_thread(4, patient());
    let witness = Witness::default();
    runtime.block_on(probe.watch(witness.count(async {
        for _ in 0..50 {
            spawn(&probe, witness.count(yield_now())).await.unwrap();
        }
    })));
    drop(runtime);
    assert_eq!(probe.snapshot().polls.count(), witness.polls());
}

/// Watched and seen by hooks: one poll, not two.
#[test]
fn a_watched_task_is_counted_once() {
    let (runtime, probe) = multi_thread(2, patient());
    let witness = Witness::default();
    runtime.block_on(async {
        let twice = probe.watch(probe.watch(witness.count(async {
            for _ in 0..9 {
                yield_now().await;
            }
        })));
        probe.spawn("twice", twice).await.unwrap();
    });
    drop(runtime);
    let snapshot = probe.snapshot();
    assert_eq!((witness.polls(), snapshot.polls.count()), (10, 10));
    assert_eq!(snapshot.sites[0].task_name.as_deref(), Some("twice"));
}

/// What a build cannot see is said, with what helps.
#[test]
fn a_build_without_hooks_says_so() {
    let (_runtime, probe) = current_thread(patient());
    let coverage = probe.snapshot().coverage;
    let helps = coverage.blind_to.iter().filter(|what| what.contains("build with --cfg tokio_unstable")).count();
    assert_eq!(helps, if TOKIO_UNSTABLE { 0 } else { 2 }, "{coverage:?}");
    // In either build.
    assert!(
        coverage.blind_to.iter().any(|what| what.contains("another builder made, such as actix's")),
        "{coverage:?}"
    );
}

/// Without wake-to-poll times nobody is known to have waited, which is not that nobody did.
#[test]
fn without_schedule_latency_who_waited_is_unknown() {
    for waits in [true, false] {
        let (runtime, probe) =
            current_thread(patient().slow_poll_threshold(Duration::from_millis(20)).schedule_latency(waits));
        runtime.block_on(async {
            let tasks: Vec<_> = (0..3).map(|_| spawn(&probe, async { block(30) })).collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        drop(runtime);
        let snapshot = probe.snapshot();
        let knows = waits && TOKIO_UNSTABLE;
        assert_eq!(snapshot.slow_polls_total, 3);
        assert_eq!((snapshot.schedule_latency.is_some(), snapshot.ledger.is_some()), (knows, knows));
        assert_eq!(snapshot.slow_polls.iter().any(|poll| poll.blame.is_some()), knows);
        assert_eq!(snapshot.coverage.sees.contains(&"wake-to-poll times of spawned tasks"), knows);
    }
}

/// The poll that goes on when the threshold is lowered is slow by the new one, and looked at.
#[test]
fn the_threshold_can_be_lowered_while_a_poll_goes_on() {
    let (runtime, probe) = current_thread(patient());
    let of_other = probe.clone();
    runtime.block_on(async {
        spawn(&probe, async move {
            let lower = std::thread::spawn(move || of_other.set_slow_poll_threshold(Duration::from_millis(20)));
            lower.join().unwrap().unwrap();
            block(200)
        })
        .await
        .unwrap();
    });
    drop(runtime);
    let polls = slow_polls(&probe);
    let snapshot = probe.snapshot();
    assert_eq!((snapshot.slow_polls_total, snapshot.slow_poll_threshold), (1, Duration::from_millis(20)));
    assert_eq!(polls[0].evidence.cause.is_some(), CAPTURE, "{snapshot:?}");
}
