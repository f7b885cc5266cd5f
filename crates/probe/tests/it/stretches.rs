//! Busy stretches: what a thread does outside the loop is in none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use pollscope_probe::{CAPTURE, Cause, LateStretch, Probe, ProbeBuilder, Snapshot, TOKIO_UNSTABLE};
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::block_in_place;

use crate::support::{
    Kept, LONG, OnDrop, block, current_thread, elapsed_ns, eventually, multi_thread, patient, spawn, spin, wait_until,
};

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

/// Tasks that each compute for two milliseconds and let the others on, until `is_enough`.
async fn import(probe: &Probe, tasks: usize, is_enough: Arc<AtomicBool>) {
    let spawn_one = |_| {
        let is_enough = Arc::clone(&is_enough);
        probe.spawn("import", async move {
            while !is_enough.load(Relaxed) {
                spin(2_000);
                tokio::task::yield_now().await;
            }
        })
    };
    let tasks: Vec<_> = (0..tasks).map(spawn_one).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// No poll is slow, and whoever else is on the loop waits for all of them.
#[test]
fn a_late_stretch_of_many_short_polls_is_said_and_so_is_its_end() {
    for make in [current_thread, |probe| multi_thread(1, probe)] {
        // The watchdog may not get a CPU before the import is done: it ends when a line says that it is late.
        eventually(|| {
            let last = import_until_said(make);
            let is_seen = last.evidence.captures > 0 && last.evidence.blocking_line.is_some();
            if !CAPTURE || is_seen { Ok(()) } else { Err(format!("{last:?}")) }
        });
    }
}

/// What is listed of an import that goes on until a line says that it is late, after a look at that line and at the one of its end.
fn import_until_said(make: impl Fn(ProbeBuilder) -> (tokio::runtime::Runtime, Probe)) -> LateStretch {
    let (kept, is_enough) = (Kept::default(), Arc::new(AtomicBool::new(false)));
    let builder = Probe::builder().slow_poll_threshold(Duration::from_millis(50)).log_to(kept.clone());
    let (runtime, probe) = make(builder);
    let (lines, enough) = (kept.clone(), Arc::clone(&is_enough));
    let of_stretches =
        move || lines.lines().into_iter().filter(|line| line.contains("busy stretch")).collect::<Vec<_>>();
    let ends = of_stretches.clone();
    let witness = std::thread::spawn(move || {
        let _lets_go = OnDrop(|| enough.store(true, Relaxed));
        wait_until("no line", || !ends().is_empty());
    });
    runtime.block_on(probe.watch(import(&probe, 30, is_enough)));
    witness.join().unwrap();
    drop(runtime);
    wait_until("no end", || of_stretches().last().is_some_and(|line| line.contains(" did not park for ")));
    assert!(probe.flush(LONG));
    let lines = of_stretches();
    let [.., late, over] = &lines[..] else { panic!("{lines:?}") };
    for (line, words) in [(late, "has not parked for "), (over, "did not park for ")] {
        assert!(line.starts_with(&format!("WARN busy stretch: worker 0 {words}")), "{line}");
        let (_, place) = line.split_once(" ms, mostly of tasks spawned at ").expect("most of it");
        assert!(place.contains("stretches.rs:") && place.ends_with(" %)"), "{line}");
    }
    let listed = probe.snapshot().late_stretches;
    let last = listed.last().expect("it is listed").clone();
    assert!(last.polls > Some(0), "{last:?}");
    last
}

/// Blocks in a poll of which no hook tells; the line that does.
async fn block_unseen() -> u32 {
    // Whoever waits for events is in a stretch afterwards.
    tokio::time::sleep(Duration::from_millis(1)).await;
    std::thread::sleep(Duration::from_millis(200));
    line!() - 1
}

async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

fn watching(kept: &Kept) -> ProbeBuilder {
    let builder = Probe::builder().slow_poll_threshold(Duration::from_millis(50)).log_to(kept.clone());
    #[cfg(feature = "capture")]
    let builder = builder.source_root(env!("CARGO_MANIFEST_DIR"));
    builder
}

/// Everything that a runtime did is told by now.
fn told(runtime: tokio::runtime::Runtime, probe: &Probe, kept: &Kept) -> (Snapshot, Vec<String>) {
    runtime.block_on(pause(Duration::from_millis(5)));
    // The watchdog sees a stretch until it is over.
    let start = std::time::Instant::now();
    while CAPTURE && probe.snapshot().late_stretches_total == 0 && start.elapsed() < Duration::from_secs(2) {
        assert!(probe.flush(LONG));
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(runtime);
    assert!(probe.flush(LONG));
    (probe.snapshot(), kept.text().lines().map(str::to_owned).collect())
}

/// Without task hooks, a task that nobody watches.
#[test]
fn what_no_hook_sees_is_told_with_its_line() {
    if TOKIO_UNSTABLE {
        return;
    }
    eventually(|| {
        let kept = Kept::default();
        let (runtime, probe) = multi_thread(1, watching(&kept));
        let line = runtime.block_on(async { tokio::spawn(block_unseen()).await.unwrap() });
        let (snapshot, lines) = told(runtime, &probe, &kept);
        let of_stretches: Vec<&String> = lines.iter().filter(|line| line.contains("busy stretch")).collect();
        if !CAPTURE {
            assert_eq!((snapshot.late_stretches_total, of_stretches.len()), (0, 0), "nobody looked");
            return Ok(());
        }
        let here = format!("tests/it/stretches.rs:{line}");
        let is_it = |seen: &LateStretch| {
            let evidence = &seen.evidence;
            let call = evidence.call.as_ref().map(|call| call.name.as_str());
            evidence.blocking_line.as_ref() == Some(&here)
                && (evidence.cause, call) == (Some(Cause::BlockingCall), Some("clock_nanosleep"))
                && !evidence.stack.is_empty()
                && seen.polls.is_none()
        };
        let below = lines.iter().position(|line| line.starts_with("WARN busy stretch: worker 0 did not park for "));
        let below = below.and_then(|line| lines.get(line + 1));
        let words = ["     blocked in clock_nanosleep", &here];
        let is_told = below.is_some_and(|line| words.into_iter().all(|words| line.contains(words)));
        let is_once = snapshot.late_stretches_total == 1 && of_stretches.len() == 1 && snapshot.slow_polls_total == 0;
        match is_told && is_once && snapshot.late_stretches.iter().all(is_it) {
            true => Ok(()),
            false => Err(format!("{:#?} {lines:#?}", snapshot.late_stretches)),
        }
    });
}

/// A slow poll is told as one, and by nobody else.
#[test]
fn what_is_told_as_a_slow_poll_is_no_late_stretch() {
    for make in [current_thread, |probe| multi_thread(1, probe)] {
        let kept = Kept::default();
        let (runtime, probe) = make(watching(&kept));
        runtime.block_on(async { spawn(&probe, block_unseen()).await.unwrap() });
        runtime.block_on(pause(Duration::from_millis(5)));
        drop(runtime);
        assert!(probe.flush(LONG));
        let snapshot = probe.snapshot();
        assert_eq!(
            (snapshot.slow_polls_total, snapshot.late_stretches_total),
            (1, 0),
            "{:#?}",
            snapshot.late_stretches
        );
        let lines = kept.lines();
        assert!(!lines.iter().any(|line| line.contains("busy stretch")), "{lines:#?}");
    }
}

/// The thread of a current-thread runtime does something else, and nobody said that it left the loop.
#[test]
fn time_outside_of_the_loop_is_no_late_stretch() {
    let kept = Kept::default();
    let (runtime, probe) = current_thread(watching(&kept));
    for _ in 0..3 {
        runtime.block_on(pause(Duration::from_millis(1)));
        block(200);
    }
    runtime.block_on(pause(Duration::from_millis(5)));
    drop(runtime);
    assert!(probe.flush(LONG));
    let snapshot = probe.snapshot();
    assert_eq!(snapshot.late_stretches_total, 0, "{:#?}", snapshot.late_stretches);
    assert!(!kept.lines().iter().any(|line| line.contains("busy stretch")), "{:#?}", kept.lines());
}

/// The same work with a wait in between.
#[test]
fn a_loop_that_parks_between_short_polls_says_nothing() {
    let kept = Kept::default();
    let (runtime, probe) = current_thread(Probe::builder().slow_poll_threshold(LONG / 600).log_to(kept.clone()));
    runtime.block_on(probe.watch(async {
        for _ in 0..100 {
            spin(2_000);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }));
    drop(runtime);
    assert!(probe.flush(LONG));
    assert!(!kept.lines().iter().any(|line| line.contains("busy stretch")), "{:?}", kept.lines());
}
