//! Threads that end and begin while a runtime is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use pollscope_probe::{Probe, SlowPoll};
use tokio::runtime::Builder;
use tokio::task::{block_in_place, yield_now};

use crate::support::{Witness, block, current_thread, install, multi_thread, patient, slow_polls, spawn, wait_until};

/// Every `block_in_place` gives the worker to another thread, and a thread of the pool lives for a millisecond.
#[test]
fn workers_that_move_between_short_lived_threads_lose_no_poll() {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).thread_keep_alive(Duration::from_millis(1));
    let (runtime, probe) = install(builder, patient());
    let witness = Witness::default();
    runtime.block_on(async {
        for _ in 0..5 {
            let tasks: Vec<_> = (0..4)
                .map(|_| {
                    spawn(
                        &probe,
                        witness.count(async {
                            for _ in 0..5 {
                                block_in_place(|| std::thread::sleep(Duration::from_micros(300)));
                                yield_now().await;
                            }
                        }),
                    )
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    drop(runtime);
    let snapshot = probe.snapshot();
    assert_eq!((witness.polls(), snapshot.polls.count()), (120, 120));
    assert_eq!(snapshot.sites.iter().map(|site| site.polls.count()).sum::<u64>(), 120);
    assert!(snapshot.polling.is_empty());
}

/// A current-thread runtime goes from thread to thread; each ends, and returns its place.
#[test]
fn a_runtime_driven_by_a_new_thread_each_time_loses_no_poll() {
    let (runtime, probe) =
        current_thread(Probe::builder().slow_poll_threshold(Duration::from_nanos(1)).keep_slow_polls(10_000));
    let witness = Witness::default();
    for _ in 0..50 {
        std::thread::scope(|scope| {
            scope.spawn(|| runtime.block_on(async { spawn(&probe, witness.count(yield_now())).await.unwrap() }));
        });
    }
    drop(runtime);
    let snapshot = probe.snapshot();
    assert_eq!((witness.polls(), snapshot.polls.count(), snapshot.slow_polls_total), (100, 100, 100));
    assert_eq!(snapshot.slow_polls.len(), 100);
    assert!(snapshot.slow_polls.is_sorted_by_key(|poll| poll.start + poll.duration));
}

/// The last poll of all is within a thread's destruction, when the probe's own place may be gone already.
#[test]
fn a_poll_while_the_thread_is_torn_down_does_no_harm() {
    struct PollsWhenDropped(std::cell::RefCell<Option<Box<dyn FnOnce()>>>);
    impl Drop for PollsWhenDropped {
        fn drop(&mut self) {
            self.0.take().unwrap()();
        }
    }
    thread_local! {
        static LAST: PollsWhenDropped = const { PollsWhenDropped(std::cell::RefCell::new(None)) };
    }
    for first in [true, false] {
        let (runtime, probe) = current_thread(patient());
        let witness = Witness::default();
        let (probe_there, witness_there) = (probe.clone(), witness.clone());
        let thread = std::thread::spawn(move || {
            let poll = || {
                let waker = std::task::Waker::noop();
                let mut future = Box::pin(probe_there.watch(witness_there.count(async {})));
                assert!(future.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_ready());
            };
            // Locals are destroyed in an order that depends on which was used first.
            if first {
                poll();
            }
            let at_the_end = {
                let (probe, witness) = (probe_there.clone(), witness_there.clone());
                move || {
                    let waker = std::task::Waker::noop();
                    let mut future = Box::pin(probe.watch(witness.count(async {})));
                    assert!(future.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_ready());
                }
            };
            LAST.with(|last| *last.0.borrow_mut() = Some(Box::new(at_the_end)));
            poll();
        });
        thread.join().unwrap();
        drop(runtime);
        let snapshot = probe.snapshot();
        assert!(snapshot.polls.count() <= witness.polls());
        assert!(snapshot.polls.count() + 1 >= witness.polls(), "at most the very last one is not seen");
        assert!(snapshot.polling.is_empty());
    }
}

/// Each runtime numbers its workers from 0. Those of another builder, whose futures are watched, are told by their threads' names.
#[test]
fn a_watched_poll_on_a_runtime_without_the_probe_is_told_by_its_threads_name() {
    let parks = Arc::new(AtomicU64::new(0));
    let counts = Arc::clone(&parks);
    let builder = Probe::builder()
        .slow_poll_threshold(Duration::from_millis(5))
        .on_thread_park(move || _ = counts.fetch_add(1, Relaxed));
    let (runtime, probe) = multi_thread(1, builder);
    wait_until("no worker", || parks.load(Relaxed) > 0);
    std::thread::scope(|scope| {
        for name in ["arbiter-0", "arbiter\n1"] {
            let poll = || Builder::new_current_thread().build().unwrap().block_on(probe.watch(async { block(6) }));
            std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, poll).unwrap();
        }
    });
    runtime.block_on(probe.watch(async {
        spawn(&probe, async { block(6) }).await.unwrap();
        block(6)
    }));
    drop(runtime);
    let polls = slow_polls(&probe);
    let on = |poll: &SlowPoll| (poll.worker, poll.thread_name.as_deref().map(str::to_owned));
    let mut elsewhere: Vec<_> = polls[..2].iter().map(on).collect();
    elsewhere.sort();
    assert_eq!(elsewhere, ["arbiter\n1", "arbiter-0"].map(|name| (None, Some(name.to_owned()))));
    let here = std::thread::current().name().map(str::to_owned);
    assert_eq!(polls[2..].iter().map(on).collect::<Vec<_>>(), [(Some(0), None), (None, here)]);
    assert!(polls.iter().any(|poll| poll.to_string().contains(r", thread arbiter\n1> took ")), "{polls:?}");
}
