//! Several runtimes and several probes: within one another, beside one another, one after another.

use std::time::Duration;

use pollscope_probe::Probe;
use tokio::runtime::Builder;
use tokio::task::{block_in_place, yield_now};

use crate::support::{Witness, block, current_thread, elapsed_ns, multi_thread, ns, patient, spawn};

fn impatient() -> pollscope_probe::ProbeBuilder {
    Probe::builder().slow_poll_threshold(Duration::from_millis(10))
}

/// Tokio polls the task for as long as it is in `block_in_place`, so the poll is slow, though other tasks went on.
#[test]
fn block_in_place_is_one_poll_and_loses_none() {
    let (runtime, probe) = multi_thread(2, impatient());
    let witness = Witness::default();
    let inner_ns = runtime.block_on(async {
        let others: Vec<_> = (0..20).map(|_| spawn(&probe, witness.count(yield_now()))).collect();
        let blocking = spawn(&probe, witness.count(async { block_in_place(|| block(20)) }));
        for task in others {
            task.await.unwrap();
        }
        blocking.await.unwrap()
    });
    drop(runtime);
    let snapshot = probe.snapshot();
    assert_eq!((witness.polls(), snapshot.polls.count()), (41, 41));
    assert!(snapshot.polls.max_ns >= Some(inner_ns));
    assert!(snapshot.slow_polls_total >= 1);
}

/// The outer poll is in the middle of another runtime's polls: each probe sees its own, in full.
#[test]
fn a_runtime_within_a_poll_of_another_has_a_probe_of_its_own() {
    let (outer, outer_probe) = multi_thread(2, impatient());
    let (inner, inner_probe) = current_thread(impatient());
    let (outer_witness, inner_witness) = (Witness::default(), Witness::default());
    let handle = inner.handle().clone();
    let task = {
        let (probe, witness) = (inner_probe.clone(), inner_witness.clone());
        outer_witness.count(async move {
            yield_now().await;
            let in_place = || {
                handle.block_on(probe.watch(witness.count(async {
                    yield_now().await;
                    block(20)
                })))
            };
            let ns = block_in_place(in_place);
            yield_now().await;
            ns
        })
    };
    // A handle of a current-thread runtime runs no tasks by itself, but its `block_on` polls the future it is given.
    let inner_ns = outer.block_on(async { spawn(&outer_probe, task).await.unwrap() });
    drop(outer);
    drop(inner);
    let (outer, inner) = (outer_probe.snapshot(), inner_probe.snapshot());
    assert_eq!((outer_witness.polls(), outer.polls.count()), (3, 3));
    assert_eq!((inner_witness.polls(), inner.polls.count()), (2, 2));
    assert_eq!((outer.slow_polls_total, inner.slow_polls_total), (1, 1));
    assert!(ns(inner.slow_polls[0].duration) >= inner_ns);
    assert!(outer.slow_polls[0].duration >= inner.slow_polls[0].duration, "it was within that poll");
}

/// Its tasks are driven by the thread that is in the outer poll: the inner polls are not the outer probe's.
#[test]
fn an_unmeasured_runtime_within_a_poll_is_that_poll() {
    let (outer, probe) = multi_thread(1, impatient());
    let witness = Witness::default();
    let task = witness.count(async {
        block_in_place(|| {
            let inner = Builder::new_current_thread().build().unwrap();
            inner.block_on(async {
                for _ in 0..10 {
                    tokio::spawn(async { yield_now().await }).await.unwrap();
                }
                tokio::spawn(async { block(20) }).await.unwrap()
            })
        })
    });
    let inner_ns = outer.block_on(async { spawn(&probe, task).await.unwrap() });
    drop(outer);
    let snapshot = probe.snapshot();
    assert_eq!((witness.polls(), snapshot.polls.count()), (1, 1));
    assert_eq!(snapshot.slow_polls_total, 1);
    assert!(ns(snapshot.slow_polls[0].duration) >= inner_ns);
}

/// One probe in two runtimes: what ran within a poll is charged once, to the poll that it was.
#[test]
fn a_poll_within_a_poll_of_the_same_probe_is_charged_once() {
    let (outer, probe) = multi_thread(1, impatient());
    let inner_probe = probe.clone();
    let start = std::time::Instant::now();
    let task = async move {
        block(20);
        block_in_place(|| {
            let inner = Builder::new_current_thread().build().unwrap();
            inner.block_on(async { tokio::spawn(inner_probe.watch(async { block(30) })).await.unwrap() })
        })
    };
    outer.block_on(async { spawn(&probe, task).await.unwrap() });
    drop(outer);
    let outside_ns = elapsed_ns(start);
    let snapshot = probe.snapshot();
    assert_eq!((snapshot.polls.count(), snapshot.slow_polls_total), (2, 2));
    assert!(snapshot.slow_polls[0].duration >= Duration::from_millis(30), "the inner one ended first");
    assert!(snapshot.slow_polls[1].duration >= Duration::from_millis(20));
    assert!(snapshot.polls.sum_ns <= outside_ns, "no time is counted twice");
}

#[test]
fn two_probes_on_two_runtimes_see_their_own() {
    let pairs = [3_u64, 5].map(|yields| (multi_thread(2, patient()), yields, Witness::default()));
    for ((runtime, probe), yields, witness) in &pairs {
        for _ in 0..20 {
            let yields = *yields;
            let task = witness.count(async move {
                for _ in 0..yields {
                    yield_now().await;
                }
            });
            let _guard = runtime.enter();
            drop(spawn(probe, task));
        }
    }
    for ((runtime, probe), yields, witness) in pairs {
        while witness.polls() < 20 * (yields + 1) {
            std::thread::yield_now();
        }
        drop(runtime);
        assert_eq!(probe.snapshot().polls.count(), 20 * (yields + 1));
    }
}

/// The thread keeps a place in each probe, and drops those of probes that are gone.
#[test]
fn one_thread_drives_many_runtimes_one_after_another() {
    let mut kept = Vec::new();
    for n in 0..30_u64 {
        let (runtime, probe) = current_thread(patient());
        runtime.block_on(probe.watch(async {
            for _ in 0..n {
                spawn(&probe, async {}).await.unwrap();
            }
        }));
        if n % 3 == 0 {
            kept.push((runtime, probe, n));
        }
    }
    // Back to the first ones, interleaved.
    for (runtime, probe, _) in kept.iter().chain(&kept) {
        runtime.block_on(async { spawn(probe, async {}).await.unwrap() });
    }
    for (_, probe, n) in &kept {
        let snapshot = probe.snapshot();
        let tasks: u64 = snapshot.sites.iter().map(|site| site.polls.count()).sum();
        assert_eq!(tasks, snapshot.polls.count());
        // The root is polled once more after each task, and once to begin with.
        assert_eq!(snapshot.polls.count(), n + (n + 1) + 2);
    }
}

/// A builder can build several runtimes, which then share its probe.
#[test]
fn two_runtimes_from_one_builder_share_the_probe() {
    let mut builder = Builder::new_current_thread();
    let probe = patient().install(&mut builder).unwrap();
    let witness = Witness::default();
    for runtime in [builder.build().unwrap(), builder.build().unwrap()] {
        runtime.block_on(async { spawn(&probe, witness.count(yield_now())).await.unwrap() });
    }
    assert_eq!((witness.polls(), probe.snapshot().polls.count()), (4, 4));
}
