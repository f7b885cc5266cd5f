//! Who waited for slow polls, told twice: by slow poll, and by spawn site in the ledger. Both are of the same waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use pollscope_probe::{Probe, Snapshot, TOKIO_UNSTABLE};
use tokio::runtime::Runtime;

use crate::support::{LONG, block, current_thread, multi_thread, spawn, spin, wait_until};

/// Tasks, their waits, the late ones among them, and their waits at most.
type Sum = (u64, Duration, u64, Duration);

fn add(one: Sum, other: Sum) -> Sum {
    (one.0 + other.0, one.1 + other.1, one.2 + other.2, one.3 + other.3)
}

fn by_slow_poll(snapshot: &Snapshot) -> Sum {
    let blames = snapshot.slow_polls.iter().filter_map(|poll| poll.blame);
    blames.map(|blame| (blame.tasks, blame.wait, blame.late_tasks, blame.wait_most)).fold(Sum::default(), add)
}

fn in_ledger(snapshot: &Snapshot) -> Sum {
    let charges = snapshot.ledger.iter().flat_map(|ledger| &ledger.charges);
    charges.map(|charge| (charge.tasks, charge.wait, charge.late_tasks, charge.wait_most)).fold(Sum::default(), add)
}

fn unlisted(snapshot: &Snapshot) -> Sum {
    let charge = snapshot.charged_unlisted.as_ref().unwrap();
    (charge.tasks, charge.wait, charge.late_tasks, charge.wait_most)
}

/// Whatever goes on meanwhile: no slow poll has more than the ledger, and what is with none of them is counted.
fn assert_one_moment(snapshot: &Snapshot) {
    let (told, ledger) = (by_slow_poll(snapshot), in_ledger(snapshot));
    assert!(
        told.0 <= ledger.0 && told.1 <= ledger.1 && told.2 <= ledger.2 && told.3 <= ledger.3,
        "{told:?} {ledger:?}"
    );
    assert_eq!(add(told, unlisted(snapshot)), ledger);
}

/// Slow polls, each with so many tasks that wait for it and are polled for far longer than a delivery waits for the last of them.
async fn crowds(probe: &Probe, slow: usize, tasks: usize) {
    for _ in 0..slow {
        let crowd = spawn(probe, async move {
            let crowd: Vec<_> = (0..tasks).map(|_| tokio::spawn(async { spin(20) })).collect();
            block(25);
            crowd
        });
        for task in crowd.await.unwrap() {
            task.await.unwrap();
        }
    }
}

/// Has it run to its end, while somebody takes snapshots all the time.
fn watched(runtime: Runtime, probe: &Probe, work: impl Future<Output = ()>) -> Snapshot {
    let is_over = Arc::new(AtomicBool::new(false));
    let (looks, over) = (probe.clone(), Arc::clone(&is_over));
    let witness = thread::spawn(move || {
        while !over.load(Relaxed) {
            assert_one_moment(&looks.snapshot());
        }
    });
    runtime.block_on(work);
    is_over.store(true, Relaxed);
    witness.join().unwrap();
    drop(runtime);
    assert!(probe.flush(LONG));
    probe.snapshot()
}

#[test]
fn many_who_wait_are_as_many_by_slow_poll_as_in_the_ledger() {
    if !TOKIO_UNSTABLE {
        return;
    }
    for make in [current_thread, |probe| multi_thread(2, probe)] {
        let (runtime, probe) = make(Probe::builder().slow_poll_threshold(Duration::from_millis(20)));
        let snapshot = watched(runtime, &probe, crowds(&probe, 2, 20_000));
        assert_one_moment(&snapshot);
        assert_eq!((by_slow_poll(&snapshot), unlisted(&snapshot)), (in_ledger(&snapshot), Sum::default()));
        assert!(in_ledger(&snapshot).0 > 0, "somebody waited");
    }
}

/// On one thread all of a crowd wait for the poll that spawned it. One slow poll of two or more is listed.
#[test]
fn who_waited_for_what_is_not_listed_is_counted() {
    if !TOKIO_UNSTABLE {
        return;
    }
    let builder = Probe::builder().slow_poll_threshold(Duration::from_millis(20)).keep_slow_polls(1);
    let (runtime, probe) = current_thread(builder);
    let snapshot = watched(runtime, &probe, crowds(&probe, 2, 5_000));
    assert_one_moment(&snapshot);
    assert!(snapshot.slow_polls.len() == 1 && snapshot.slow_polls_dropped >= 1, "{snapshot:#?}");
    assert!(in_ledger(&snapshot).0 >= 10_000 && unlisted(&snapshot).0 > 0, "{snapshot:#?}");
    let since = snapshot
        .since(&Probe::builder().install(&mut tokio::runtime::Builder::new_current_thread()).unwrap().snapshot());
    assert_eq!(since.charged_unlisted, snapshot.charged_unlisted);
}

/// A thread keeps the victims of its last 64 slow polls: where nobody looked in time they are unknown, and counted with no poll.
#[test]
fn more_slow_polls_than_a_thread_keeps_lose_nobody() {
    if !TOKIO_UNSTABLE {
        return;
    }
    let (runtime, probe) =
        current_thread(Probe::builder().slow_poll_threshold(Duration::from_nanos(1)).keep_slow_polls(9_999));
    runtime.block_on(async {
        let all: Vec<_> = (0..2_000).map(|_| spawn(&probe, async { tokio::task::yield_now().await })).collect();
        for task in all {
            task.await.unwrap();
        }
    });
    drop(runtime);
    assert!(probe.flush(LONG));
    wait_until("not at rest", || probe.snapshot().slow_polls_total >= 4_000);
    let snapshot = probe.snapshot();
    assert_one_moment(&snapshot);
    assert!(in_ledger(&snapshot).0 > 0);
}
