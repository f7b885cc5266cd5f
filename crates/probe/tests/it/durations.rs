//! A poll's duration, between a clock read around the blocking call in the task and one read around the whole.

use std::time::{Duration, Instant};

use pollscope_probe::{Probe, ProbeBuilder};
use tokio::task::yield_now;

use crate::support::{block, current_thread, elapsed_ns, multi_thread, ns, spawn};

fn builder() -> ProbeBuilder {
    Probe::builder().slow_poll_threshold(Duration::from_millis(10))
}

/// One blocking task among others: it alone is slow, and lasted what its own clock says.
fn check_block(runtime: tokio::runtime::Runtime, probe: Probe, watched_root: bool) {
    let outer = Instant::now();
    let inner_ns = runtime.block_on(async {
        if watched_root {
            return probe.watch(async { block(30) }).await;
        }
        let others: Vec<_> = (0..10).map(|_| spawn(&probe, yield_now())).collect();
        let inner_ns = spawn(&probe, async { block(30) }).await.unwrap();
        for task in others {
            task.await.unwrap();
        }
        inner_ns
    });
    drop(runtime);
    let outer_ns = elapsed_ns(outer);
    let snapshot = probe.snapshot();
    let slow = snapshot.slow_polls.iter().max_by_key(|poll| poll.duration).unwrap();
    assert!((inner_ns..=outer_ns).contains(&ns(slow.duration)), "{inner_ns} {slow:?} {outer_ns}");
    assert_eq!(snapshot.polls.max(), Some(slow.duration), "the maximum is exact");
    assert!(slow.start + slow.duration <= snapshot.at);
    assert_eq!(slow.task_id.is_none(), watched_root);
    assert!(slow.spawned_at.file().ends_with("durations.rs"));
}

#[test]
fn a_blocking_task_lasts_what_its_own_clock_says() {
    let (runtime, probe) = current_thread(builder());
    check_block(runtime, probe, false);
    let (runtime, probe) = multi_thread(4, builder());
    check_block(runtime, probe, false);
}

#[test]
fn a_blocking_root_lasts_what_its_own_clock_says() {
    let (runtime, probe) = current_thread(builder());
    check_block(runtime, probe, true);
    let (runtime, probe) = multi_thread(4, builder());
    check_block(runtime, probe, true);
}

/// The poll under way is seen while it blocks.
#[test]
fn a_poll_under_way_is_seen_from_outside() {
    let (runtime, probe) = current_thread(builder());
    let (seen, inner_ns, outer_ns) = runtime.block_on(async {
        let outer = Instant::now();
        let task = probe.spawn("blocked", {
            let probe = probe.clone();
            async move {
                let inner_ns = block(20);
                let seen = std::thread::spawn(move || probe.snapshot().polling).join().unwrap();
                (seen, inner_ns)
            }
        });
        let (seen, inner_ns) = task.await.unwrap();
        (seen, inner_ns, elapsed_ns(outer))
    });
    let [polling] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(polling.task_name.as_deref(), Some("blocked"));
    assert!((inner_ns..=outer_ns).contains(&ns(polling.elapsed)), "{inner_ns} {polling:?} {outer_ns}");
    drop(runtime);
    assert!(probe.snapshot().polling.is_empty());
}
