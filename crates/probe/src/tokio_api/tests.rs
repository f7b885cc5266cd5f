//! The user's callbacks and the probe's on one runtime.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::runtime::Builder;

use crate::{Probe, ProbeBuilder};

type Calls = Arc<Mutex<Vec<(&'static str, String, Instant)>>>;

/// A builder with callbacks that note their calls.
fn noting(builder: ProbeBuilder) -> (ProbeBuilder, Calls) {
    let calls = Calls::default();
    let note = |what| {
        let calls = Arc::clone(&calls);
        move |meta: &tokio::runtime::TaskMeta<'_>| {
            calls.lock().unwrap().push((what, meta.id().to_string(), Instant::now()));
        }
    };
    (builder.on_before_task_poll(note("before")).on_after_task_poll(note("after")), calls)
}

/// The calls around the three polls of one task, and how long it blocked by its own clock.
fn run(builder: ProbeBuilder) -> (Probe, Vec<(&'static str, String, Instant)>, u64) {
    let (builder, calls) = noting(builder);
    let mut runtime = Builder::new_current_thread();
    let probe = builder.install(&mut runtime).unwrap();
    let runtime = runtime.build().unwrap();
    let task = async {
        tokio::task::yield_now().await;
        let start = Instant::now();
        std::thread::sleep(std::time::Duration::from_millis(20));
        let ns = start.elapsed().as_nanos() as u64;
        tokio::task::yield_now().await;
        (ns, tokio::task::id().to_string())
    };
    let (ns, id) = runtime.block_on(async { tokio::spawn(task).await.unwrap() });
    drop(runtime);
    let calls = std::mem::take(&mut *calls.lock().unwrap());
    assert!(calls.iter().all(|(_, called, _)| *called == id));
    assert_eq!(calls.iter().map(|(what, ..)| *what).collect::<Vec<_>>(), ["before", "after"].repeat(3));
    (probe, calls, ns)
}

/// The user's callbacks are around the poll's clock, and so bracket what it shows.
#[test]
fn the_users_task_hooks_are_called_around_the_poll() {
    let (probe, calls, inner_ns) = run(Probe::builder().slow_poll_threshold(std::time::Duration::from_millis(10)));
    let snapshot = probe.snapshot();
    let slow = snapshot.slow_polls.iter().max_by_key(|poll| poll.duration).unwrap();
    let outer_ns = calls.chunks(2).map(|poll| (poll[1].2 - poll[0].2).as_nanos() as u64).max().unwrap();
    assert_eq!(slow.task_id.unwrap().to_string(), calls[0].1);
    assert!(
        (inner_ns..=outer_ns).contains(&pollscope_base::duration::to_ns(slow.duration)),
        "{inner_ns} {slow:?} {outer_ns}"
    );
    assert_eq!(snapshot.polls.count(), 3);
}

#[test]
fn the_users_task_hooks_are_called_when_the_probe_is_off() {
    let (probe, calls, _) = run(ProbeBuilder::from_env());
    assert!(!probe.is_on());
    assert_eq!(calls.len(), 6);
}

/// A runtime whose task hooks somebody set after the probe's, and what the probe saw of a thousand polls.
fn replaced(before: bool, after: bool) -> crate::Snapshot {
    let mut runtime = Builder::new_current_thread();
    let probe =
        Probe::builder().slow_poll_threshold(std::time::Duration::from_millis(1)).install(&mut runtime).unwrap();
    if before {
        runtime.on_before_task_poll(|_| {});
    }
    if after {
        runtime.on_after_task_poll(|_| {});
    }
    let runtime = runtime.build().unwrap();
    let root = probe.watch(async {
        for _ in 0..1_000 {
            tokio::spawn(async {}).await.unwrap();
        }
    });
    runtime.block_on(root);
    drop(runtime);
    // A stall that there was none of would be said after ten thresholds.
    std::thread::sleep(std::time::Duration::from_millis(30));
    assert!(probe.flush(std::time::Duration::from_secs(60)));
    probe.snapshot()
}

#[test]
fn a_hook_set_afterwards_is_said_where_it_stops_the_measuring() {
    for (before, after) in [(true, false), (true, true), (false, true)] {
        let snapshot = replaced(before, after);
        let said = snapshot.capture_notes.contains(&crate::CaptureNote::HookReplaced);
        assert_eq!(said, !before && after);
        assert!(snapshot.polling.is_empty(), "{:?}", snapshot.polling);
        if !said {
            assert_eq!(snapshot.sites.len(), 1, "the watched root alone: {:?}", snapshot.sites);
        }
    }
}

#[test]
fn hooks_set_before_are_replaced() {
    let calls = Arc::new(Mutex::new(0));
    let mut runtime = Builder::new_current_thread();
    let (before, after) = (Arc::clone(&calls), Arc::clone(&calls));
    runtime.on_before_task_poll(move |_| *before.lock().unwrap() += 1);
    runtime.on_after_task_poll(move |_| *after.lock().unwrap() += 1);
    let probe = Probe::builder().install(&mut runtime).unwrap();
    let runtime = runtime.build().unwrap();
    runtime.block_on(async { tokio::spawn(async {}).await.unwrap() });
    assert_eq!((probe.snapshot().polls.count(), *calls.lock().unwrap()), (1, 0));
}

/// Unwinding through the hook, past the task: the loop is gone, and no poll stays open.
#[test]
fn a_panic_of_a_users_task_hook_leaves_no_poll_open() {
    for after in [false, true] {
        let panics = |_: &tokio::runtime::TaskMeta<'_>| std::panic::resume_unwind(Box::new("on purpose"));
        let builder = Probe::builder();
        let builder = if after { builder.on_after_task_poll(panics) } else { builder.on_before_task_poll(panics) };
        let mut runtime = Builder::new_current_thread();
        let probe = builder.install(&mut runtime).unwrap();
        let runtime = runtime.build().unwrap();
        let run = || runtime.block_on(async { tokio::spawn(async {}).await });
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
        let snapshot = probe.snapshot();
        assert_eq!((snapshot.polls.count(), snapshot.polling.len()), (u64::from(after), 0));
        // The runtime's own state is not ours to drop after that.
        std::mem::forget(runtime);
    }
}
