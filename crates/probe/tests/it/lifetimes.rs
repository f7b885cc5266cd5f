//! What comes first, what ends first, and what is installed over what: each order is one that a service can have.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pollscope_probe::{Probe, ProbeBuilder, TOKIO_UNSTABLE};
use tokio::runtime::Builder;
use tokio::task::yield_now;

use crate::support::{LONG, block, current_thread, multi_thread, spawn};

/// Every poll is slow, and none is looked at while it runs.
fn strict() -> ProbeBuilder {
    let probe = Probe::builder().slow_poll_threshold(Duration::from_nanos(1));
    #[cfg(feature = "capture")]
    let probe = probe.capture(false);
    probe
}

/// A builder whose callback counts.
fn counting() -> (ProbeBuilder, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let counts = Arc::clone(&count);
    (strict().on_slow_poll(move |_| _ = counts.fetch_add(1, Relaxed)), count)
}

async fn three_polls() {
    yield_now().await;
    yield_now().await;
}

/// Takes its time to be dropped, and says that it was.
struct SlowDrop(Arc<AtomicBool>);

impl Drop for SlowDrop {
    fn drop(&mut self) {
        block(5);
        self.0.store(true, Relaxed);
    }
}

#[test]
fn a_run_delivers_all_and_then_is_gone() {
    for flavour in [Builder::new_current_thread, Builder::new_multi_thread] {
        let (probe, count) = counting();
        let dropped = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&dropped);
        let answer = probe.run(flavour().enable_time(), async move {
            // It may never be polled.
            let held = SlowDrop(flag);
            drop(tokio::spawn(async move {
                let _held = held;
                std::future::pending::<()>().await;
            }));
            three_polls().await;
            42
        });
        assert_eq!(answer.unwrap(), 42);
        assert!(dropped.load(Relaxed), "what was still there is dropped");
        assert!(count.load(Relaxed) >= 3, "the root is watched: {count:?}");
    }
}

#[test]
fn a_runs_root_is_known_by_the_line_that_runs_it() {
    let places: Arc<Mutex<Vec<String>>> = Arc::default();
    let keeps = Arc::clone(&places);
    let probe = strict().on_slow_poll(move |poll| {
        keeps.lock().unwrap().push(format!("{}:{}", poll.spawned_at.file(), poll.spawned_at.line()));
    });
    let line = line!() + 1;
    probe.run(&mut Builder::new_current_thread(), async {}).unwrap();
    assert_eq!(*places.lock().unwrap(), [format!("{}:{line}", file!())]);
}

#[test]
fn a_run_that_panics_delivers_all_too() {
    let (probe, count) = counting();
    let root = async {
        three_polls().await;
        std::panic::resume_unwind(Box::new("on purpose"));
    };
    let run = || probe.run(&mut Builder::new_current_thread(), root);
    assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
    assert_eq!(count.load(Relaxed), 3);
}

#[test]
fn a_run_that_cannot_begin_polls_nothing() {
    let polled = AtomicBool::new(false);
    let probe = Probe::builder().slow_poll_threshold(Duration::ZERO);
    let error = probe.run(&mut Builder::new_current_thread(), async { polled.store(true, Relaxed) }).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("give at least 1 ns"), "{error}");
    assert!(!polled.load(Relaxed));
}

/// These tests run without the switch in their environment.
#[test]
fn a_run_whose_probe_is_off_is_a_run() {
    let run = ProbeBuilder::from_env().run(&mut Builder::new_current_thread(), async { 42 });
    assert_eq!(run.unwrap(), 42);
}

/// The runtime goes on, and nobody is told: what nobody can read any more takes no room without end either.
#[test]
fn a_probe_dropped_before_its_runtime_ends_its_calls_and_harms_nothing() {
    for flavour in [current_thread, |probe| multi_thread(2, probe)] {
        let (builder, count) = counting();
        let (runtime, probe) = flavour(builder);
        runtime.block_on(async { spawn(&probe, three_polls()).await.unwrap() });
        // A worker answers for a task before it has left the poll.
        while probe.snapshot().slow_polls_total < 3 {
            std::thread::yield_now();
        }
        drop(probe);
        assert_eq!(count.load(Relaxed), 3);
        for _ in 0..10_000 {
            runtime.block_on(async { tokio::spawn(three_polls()).await.unwrap() });
        }
        drop(runtime);
        assert_eq!(count.load(Relaxed), 3);
    }
}

#[test]
fn a_probe_outlives_its_runtime() {
    let (builder, count) = counting();
    let (runtime, probe) = multi_thread(2, builder);
    runtime.block_on(async { spawn(&probe, three_polls()).await.unwrap() });
    drop(runtime);
    assert_eq!((probe.snapshot().slow_polls_total, probe.snapshot().polling.len()), (3, 0));
    drop(probe);
    assert_eq!(count.load(Relaxed), 3);
}

/// A callback that has one of the handles drops the last one, on the thread that is to end: it does not wait for itself.
#[test]
fn a_callback_may_hold_the_probe() {
    let held: Arc<Mutex<Option<Probe>>> = Arc::default();
    let holds = Arc::clone(&held);
    let count = Arc::new(AtomicU64::new(0));
    let counts = Arc::clone(&count);
    let (runtime, probe) = current_thread(strict().on_slow_poll(move |_| {
        counts.fetch_add(1, Relaxed);
        drop(holds.lock().unwrap().take());
    }));
    *held.lock().unwrap() = Some(probe.clone());
    let watched = probe.watch(three_polls());
    drop(probe);
    runtime.block_on(watched);
    // The three are one delivery, or the callback is told of none after the first.
    let start = Instant::now();
    while count.load(Relaxed) < 1 || held.lock().unwrap().is_some() {
        assert!(start.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(runtime);
}

/// It asks for what comes after it.
#[test]
fn a_callback_that_waits_for_all_callbacks_is_told_at_once_that_it_cannot() {
    let held: Arc<Mutex<Option<Probe>>> = Arc::default();
    let holds = Arc::clone(&held);
    let (tell, told) = std::sync::mpsc::channel();
    let (runtime, probe) = current_thread(strict().on_slow_poll(move |_| {
        if let Some(probe) = holds.lock().unwrap().take() {
            tell.send(probe.flush(LONG)).unwrap();
        }
    }));
    *held.lock().unwrap() = Some(probe.clone());
    runtime.block_on(probe.watch(three_polls()));
    assert_eq!(told.recv_timeout(LONG / 2), Ok(false));
    assert!(probe.flush(LONG), "others are told as always");
}

/// It holds back further calls, and at the end a second of the one who drops the probe; never the loop.
#[test]
fn a_callback_that_blocks_holds_up_no_poll() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (began, begins) = std::sync::mpsc::channel();
    let (runtime, probe) = current_thread(strict().on_slow_poll(move |_| {
        let _ = began.send(());
        let _ = released.recv();
    }));
    runtime.block_on(async { spawn(&probe, three_polls()).await.unwrap() });
    begins.recv_timeout(LONG).unwrap();
    for _ in 0..1_000 {
        runtime.block_on(async { spawn(&probe, three_polls()).await.unwrap() });
    }
    assert_eq!(probe.snapshot().slow_polls_total, 3_003);
    let start = Instant::now();
    drop(probe);
    assert!(start.elapsed() < LONG / 2);
    drop(release);
}

#[test]
fn of_two_probes_on_one_builder_the_last_measures() {
    let mut builder = Builder::new_current_thread();
    let first = strict().install(&mut builder).unwrap();
    let second = strict().schedule_latency(false).install(&mut builder).unwrap();
    let runtime = builder.build().unwrap();
    runtime.block_on(async { spawn(&second, three_polls()).await.unwrap() });
    runtime.block_on(first.watch(async {}));
    drop(runtime);
    let polls = [&first, &second].map(|probe| probe.snapshot().polls.count());
    assert_eq!(polls, [1, 3], "the first sees what it watches");
    assert_eq!(first.snapshot().busy_stretches.count(), 1, "of the watched root");
    assert_eq!(second.snapshot().schedule_latency, None, "though the first asked Tokio for it");
}

#[test]
fn a_park_callback_set_before_is_replaced() {
    let mut builder = Builder::new_current_thread();
    let parked = Arc::new(AtomicU64::new(0));
    let parks = Arc::clone(&parked);
    builder.on_thread_park(move || _ = parks.fetch_add(1, Relaxed));
    let run = strict().run(builder.enable_time(), async { tokio::time::sleep(Duration::from_millis(2)).await });
    assert!(run.is_ok());
    assert_eq!(parked.load(Relaxed), 0);
}

/// What a service sets afterwards replaces the probe's: it measures less, and nothing else happens.
#[test]
fn a_park_callback_set_afterwards_takes_the_place_of_the_probes() {
    let mut builder = Builder::new_current_thread();
    let probe = strict().install(&mut builder).unwrap();
    let parked = Arc::new(AtomicU64::new(0));
    let parks = Arc::clone(&parked);
    builder.on_thread_park(move || _ = parks.fetch_add(1, Relaxed));
    let runtime = builder.enable_time().build().unwrap();
    let sleeps = async { tokio::time::sleep(Duration::from_millis(2)).await };
    runtime.block_on(async { spawn(&probe, sleeps).await.unwrap() });
    drop(runtime);
    assert!(parked.load(Relaxed) > 0);
    assert!(probe.snapshot().polls.count() >= 2);
    assert!(TOKIO_UNSTABLE || probe.snapshot().sites.len() == 1);
    assert_eq!(probe.snapshot().busy_stretches.count(), 0);
}

#[test]
fn an_unpark_callback_set_afterwards_takes_the_place_of_the_probes() {
    let mut builder = Builder::new_current_thread();
    let probe = strict().install(&mut builder).unwrap();
    let unparked = Arc::new(AtomicU64::new(0));
    let unparks = Arc::clone(&unparked);
    builder.on_thread_unpark(move || _ = unparks.fetch_add(1, Relaxed));
    let runtime = builder.enable_time().build().unwrap();
    let sleeps = async {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    runtime.block_on(async { spawn(&probe, sleeps).await.unwrap() });
    drop(runtime);
    assert!(unparked.load(Relaxed) >= 5);
    assert!(probe.snapshot().polls.count() >= 6);
    // Each begins with a poll then.
    assert!(probe.snapshot().busy_stretches.count() >= 5);
}
