//! Tasks and runtimes that do not end in an orderly way.

use std::future::pending;
use std::time::Duration;

use pollscope_probe::{Probe, TOKIO_UNSTABLE};
use tokio::task::yield_now;

use crate::support::{Witness, block, current_thread, multi_thread, ns, patient, spawn};

#[test]
fn the_polls_of_a_panicking_task_are_counted() {
    for (runtime, probe) in [current_thread(patient()), multi_thread(2, patient())] {
        let witness = Witness::default();
        runtime.block_on(async {
            let panicking = witness.count(async {
                yield_now().await;
                // Without the message that `panic!` prints.
                std::panic::resume_unwind(Box::new("on purpose"));
            });
            assert!(spawn(&probe, panicking).await.unwrap_err().is_panic());
            spawn(&probe, witness.count(yield_now())).await.unwrap();
        });
        drop(runtime);
        let snapshot = probe.snapshot();
        assert_eq!((witness.polls(), snapshot.polls.count()), (4, 4));
        assert!(snapshot.polling.is_empty());
    }
}

#[test]
fn a_panic_of_the_root_closes_its_poll() {
    let (runtime, probe) = current_thread(patient());
    let root = probe.watch(async { std::panic::resume_unwind(Box::new("on purpose")) });
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(root)));
    assert!(caught.is_err());
    assert!(probe.snapshot().polling.is_empty());
    runtime.block_on(probe.watch(async {}));
    drop(runtime);
    assert_eq!(probe.snapshot().polls.count(), 2);
}

/// Dropping the future is the task's last poll, to the hooks; without them it is no poll.
#[test]
fn an_aborted_task_with_a_slow_drop_is_a_slow_poll_of_its_name() {
    struct SlowDrop(std::sync::mpsc::Sender<u64>);
    impl Drop for SlowDrop {
        fn drop(&mut self) {
            self.0.send(block(20)).unwrap();
        }
    }
    let (runtime, probe) = current_thread(Probe::builder().slow_poll_threshold(Duration::from_millis(10)));
    let (dropped, times) = std::sync::mpsc::channel();
    runtime.block_on(async {
        let guard = SlowDrop(dropped);
        let task = probe.spawn("dropper", async move {
            let _guard = guard;
            pending::<()>().await;
        });
        yield_now().await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    });
    drop(runtime);
    let (snapshot, inner_ns) = (probe.snapshot(), times.recv().unwrap());
    if !TOKIO_UNSTABLE {
        assert_eq!((snapshot.polls.count(), snapshot.slow_polls_total), (1, 0));
        return;
    }
    assert_eq!((snapshot.polls.count(), snapshot.slow_polls_total), (2, 1));
    assert_eq!(snapshot.slow_polls[0].task_name.as_deref(), Some("dropper"));
    assert!(ns(snapshot.slow_polls[0].duration) >= inner_ns);
}

/// A part of the root that is dropped unpolled does not lend the root its name.
#[test]
fn a_dropped_part_does_not_name_the_root() {
    let (runtime, probe) = current_thread(Probe::builder().slow_poll_threshold(Duration::from_nanos(1)));
    runtime.block_on(probe.watch(async {
        drop(probe.watch(async {}).named("unused"));
        block(1);
    }));
    assert_eq!(probe.snapshot().slow_polls[0].task_name, None);
}

#[test]
fn a_runtime_dropped_with_pending_tasks_loses_no_poll() {
    for (runtime, probe) in [current_thread(patient()), multi_thread(4, patient())] {
        let witness = Witness::default();
        runtime.block_on(async {
            for n in 0..50 {
                let name = format!("pending {n}");
                drop(probe.spawn(&name, witness.count(pending::<()>())));
            }
            // Until all were polled.
            while witness.polls() < 50 {
                yield_now().await;
            }
        });
        drop(runtime);
        let snapshot = probe.snapshot();
        assert_eq!((witness.polls(), snapshot.polls.count()), (50, 50));
        assert!(snapshot.polling.is_empty());
    }
}

#[test]
fn a_runtime_shut_down_in_the_background_stays_measured() {
    let (runtime, probe) = multi_thread(2, Probe::builder().slow_poll_threshold(Duration::from_millis(5)));
    let (started, start) = std::sync::mpsc::channel();
    let (ended, end) = std::sync::mpsc::channel();
    runtime.block_on(async {
        drop(spawn(&probe, async move {
            started.send(()).unwrap();
            block(20);
            ended.send(()).unwrap();
        }));
    });
    start.recv().unwrap();
    runtime.shutdown_background();
    end.recv().unwrap();
    // The task's poll ends after its last statement.
    while probe.snapshot().slow_polls_total == 0 {
        std::thread::yield_now();
    }
    assert_eq!(probe.snapshot().polls.count(), 1);
}

/// The host may drop its handle and go on: the hooks keep what they need.
#[test]
fn the_runtime_outlives_the_probe() {
    let (runtime, probe) = current_thread(Probe::builder().slow_poll_threshold(Duration::from_nanos(1)));
    let watched = probe.watch(async {
        for _ in 0..1_000 {
            yield_now().await;
        }
    });
    drop(probe);
    runtime.block_on(async { tokio::spawn(watched).await.unwrap() });
}
