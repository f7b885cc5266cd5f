//! What a program may do while its stacks are copied. Every poll lasts several thresholds, so that a look happens.

use std::collections::HashMap;
use std::hint::black_box;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_probe::Probe;
use tokio::runtime::Builder;
use tokio::task::{JoinHandle, yield_now};

use crate::host_safety::Seen;
use crate::{library, spawn};

/// How long each step of a poll blocks or computes.
const STEP: Duration = Duration::from_millis(3);
/// The number of tasks that do the same.
const TASKS: usize = 6;

/// What was done, and what went wrong.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) panics: AtomicU64,
    pub(crate) aborts: AtomicU64,
    pub(crate) loads: AtomicU64,
    pub(crate) commands: AtomicU64,
    pub(crate) allocations: AtomicU64,
    pub(crate) runtimes_dropped: AtomicU64,
    pub(crate) probes_dropped: AtomicU64,
    pub(crate) wrong: Mutex<Vec<String>>,
}

impl Counts {
    fn wrong(&self, what: String) {
        self.wrong.lock().expect("nobody panics with it").push(what);
    }
}

fn compute(time: Duration) -> u64 {
    let (start, mut number) = (Instant::now(), 1u64);
    while start.elapsed() < time {
        number = (0..1_000).fold(number, |n, _| black_box(n.wrapping_mul(31)));
    }
    number
}

/// Blocks and computes in turn.
fn step(index: usize) {
    if index.is_multiple_of(2) { thread::sleep(STEP) } else { _ = black_box(compute(STEP)) }
}

/// Runs all loads at once on the current runtime.
pub(crate) async fn all(probe: Probe, counts: Arc<Counts>) {
    let loads: [JoinHandle<()>; 5] = [
        spawn(&probe, panics(probe.clone(), Arc::clone(&counts))),
        spawn(&probe, aborts(probe.clone(), Arc::clone(&counts))),
        spawn(&probe, libraries(probe.clone(), Arc::clone(&counts))),
        spawn(&probe, allocations(probe.clone(), Arc::clone(&counts))),
        spawn(&probe, commands(probe.clone(), Arc::clone(&counts))),
    ];
    for load in loads {
        if let Err(error) = load.await {
            counts.wrong(format!("a load ended with: {error}"));
        }
    }
}

async fn panics(probe: Probe, counts: Arc<Counts>) {
    let panicking = |index: usize| async move {
        step(index);
        yield_now().await;
        let deep: Vec<u64> = (0..index as u64).collect();
        step(index + 1);
        panic!("on purpose, after {deep:?}");
    };
    let tasks: Vec<JoinHandle<()>> = (0..TASKS).map(|index| spawn(&probe, panicking(index))).collect();
    for task in tasks {
        match task.await {
            Err(error) if error.is_panic() => _ = counts.panics.fetch_add(1, Relaxed),
            other => counts.wrong(format!("a task that panics ended with {other:?}")),
        }
    }
}

/// Tasks that another thread aborts while their poll blocks or computes.
async fn aborts(probe: Probe, counts: Arc<Counts>) {
    let forever = |index: usize| async move {
        loop {
            step(index);
            yield_now().await;
        }
    };
    let tasks: Vec<JoinHandle<()>> = (0..TASKS).map(|index| spawn(&probe, forever(index))).collect();
    let handles: Vec<_> = tasks.iter().map(JoinHandle::abort_handle).collect();
    let aborter = thread::spawn(move || {
        for handle in handles {
            thread::sleep(STEP * 2 / 3);
            handle.abort();
        }
    });
    for task in tasks {
        match task.await {
            Err(error) if error.is_cancelled() => _ = counts.aborts.fetch_add(1, Relaxed),
            other => counts.wrong(format!("an aborted task ended with {other:?}")),
        }
    }
    aborter.join().expect("aborting does not panic");
}

async fn libraries(probe: Probe, counts: Arc<Counts>) {
    let loading = |counts: Arc<Counts>| async move {
        for _ in 0..3 {
            if library::load_and_unload(STEP).is_some() {
                counts.loads.fetch_add(1, Relaxed);
            }
            yield_now().await;
        }
    };
    join(&counts, (0..TASKS / 2).map(|_| spawn(&probe, loading(Arc::clone(&counts))))).await;
}

/// Allocations, small and large, growing, and freed by another thread.
async fn allocations(probe: Probe, counts: Arc<Counts>) {
    let (give, take) = mpsc::channel::<Vec<u8>>();
    let freeing = thread::spawn(move || take.into_iter().map(|bytes| bytes.len()).sum::<usize>());
    let allocating = |give: mpsc::Sender<Vec<u8>>, counts: Arc<Counts>| async move {
        for round in 0..3u64 {
            let start = Instant::now();
            let mut number = round;
            let mut kept: HashMap<u64, Vec<u8>> = HashMap::new();
            while start.elapsed() < STEP {
                number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let size = 16usize << ((number >> 40) % 16);
                let mut bytes = vec![1; size];
                bytes.extend_from_slice(&[2; 100]);
                if let Some(old) = kept.insert(number >> 58, bytes) {
                    // An error means that the other thread panicked, which its join shows.
                    let _ = give.send(old);
                }
                counts.allocations.fetch_add(1, Relaxed);
            }
            let large = vec![3u8; 4 << 20];
            let _ = give.send(black_box(large));
            yield_now().await;
        }
    };
    let tasks = (0..TASKS / 2).map(|_| spawn(&probe, allocating(give.clone(), Arc::clone(&counts))));
    let tasks: Vec<_> = tasks.collect();
    drop(give);
    join(&counts, tasks.into_iter()).await;
    freeing.join().expect("freeing does not panic");
}

/// New processes, which the loop starts and waits for.
async fn commands(probe: Probe, counts: Arc<Counts>) {
    let starting = |counts: Arc<Counts>| async move {
        for _ in 0..2 {
            match Command::new("true").status() {
                Ok(status) if status.success() => _ = counts.commands.fetch_add(1, Relaxed),
                other => counts.wrong(format!("`true` ended with {other:?}")),
            }
            yield_now().await;
            match Command::new("echo").arg("here").output() {
                Ok(output) if output.stdout == b"here\n" => _ = counts.commands.fetch_add(1, Relaxed),
                other => counts.wrong(format!("`echo` ended with {other:?}")),
            }
            yield_now().await;
        }
    };
    join(&counts, (0..TASKS / 3).map(|_| spawn(&probe, starting(Arc::clone(&counts))))).await;
}

async fn join(counts: &Counts, tasks: impl Iterator<Item = JoinHandle<()>>) {
    for task in tasks.collect::<Vec<_>>() {
        if let Err(error) = task.await {
            counts.wrong(format!("a task ended with: {error}"));
        }
    }
}

/// Probes that come and go, each with one slow poll, dropped before their runtime or after it.
pub(crate) fn install_and_drop(times: usize, seen: &Arc<Seen>, counts: &Counts) {
    for index in 0..times {
        let mut builder = Builder::new_current_thread();
        let probe = seen.probe(&mut builder);
        let runtime = builder.build().expect("a runtime can be built");
        let task = runtime.block_on(async { spawn(&probe, async move { step(index / 2) }).await });
        if let Err(error) = task {
            counts.wrong(format!("a task ended with: {error}"));
        }
        if index.is_multiple_of(2) {
            drop(runtime);
            drop(probe);
        } else {
            drop(probe);
            drop(runtime);
        }
        counts.probes_dropped.fetch_add(1, Relaxed);
    }
}

/// Runtimes that are dropped while their tasks block and compute.
pub(crate) fn drop_mid_poll(times: usize, seen: &Arc<Seen>, counts: &Counts) {
    for index in 0..times {
        let mut builder = Builder::new_multi_thread();
        let probe = seen.probe(builder.worker_threads(2));
        let runtime = builder.build().expect("a runtime can be built");
        let (tell, told) = mpsc::channel();
        runtime.block_on(async {
            for task in 0..TASKS {
                let tell = tell.clone();
                let blocks = async move {
                    // Only the first message counts; an error means that it has come.
                    let _ = tell.send(());
                    (0..5).for_each(|_| step(task));
                };
                drop(spawn(&probe, blocks));
            }
        });
        told.recv().expect("the first task begins");
        let probe = if index.is_multiple_of(3) { None } else { Some(probe) };
        if index.is_multiple_of(2) {
            runtime.shutdown_background();
        } else {
            runtime.shutdown_timeout(STEP);
        }
        drop(probe);
        counts.runtimes_dropped.fetch_add(1, Relaxed);
    }
}
