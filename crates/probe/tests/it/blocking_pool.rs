//! The blocking pool: how full it is, and the lines of one that stays full, which no poll tells of.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use pollscope_probe::{Probe, TOKIO_UNSTABLE};
use tokio::runtime::Builder;

use crate::support::{Kept, LONG, OnDrop, install, patient, wait_until};

const THRESHOLD: Duration = Duration::from_millis(20);
const THREADS: u64 = 4;
const CLOSURES: u64 = 16;

/// Closures of a pool wait here until it opens.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<Waiting>, Condvar)>);

#[derive(Debug, Default)]
struct Waiting {
    is_open: bool,
    came: u64,
}

impl Gate {
    pub(crate) fn pass(&self) {
        let (waiting, opened) = &*self.0;
        let mut waiting = waiting.lock().unwrap();
        waiting.came += 1;
        drop(opened.wait_while(waiting, |waiting| !waiting.is_open).unwrap());
    }

    pub(crate) fn open(&self) {
        self.0.0.lock().unwrap().is_open = true;
        self.0.1.notify_all();
    }

    /// Waits until so many came: a thread that a busy machine has not let begin yet leaves its closure queued.
    fn wait_for(&self, closures: u64) {
        wait_until("they did not begin", || self.0.0.lock().unwrap().came >= closures);
    }
}

fn both(threads: u64) -> [Builder; 2] {
    [Builder::new_current_thread(), Builder::new_multi_thread()].map(|mut builder| {
        builder.worker_threads(2).max_blocking_threads(usize::try_from(threads).unwrap());
        builder
    })
}

/// Every task waits, no poll is slow, and a file is read when the pool has a thread for it.
#[test]
fn a_pool_that_stays_full_is_said_when_it_begins_and_when_it_is_over() {
    for builder in both(THREADS) {
        let (kept, gate) = (Kept::default(), Gate::default());
        let (runtime, probe) = install(builder, patient().log_to(kept.clone()));
        let of_pool = || kept.lines().into_iter().filter(|line| line.contains("blocking pool")).collect::<Vec<_>>();
        let watching = probe.clone();
        let (opens, lines) = (gate.clone(), kept.clone());
        let witness = std::thread::spawn(move || {
            let _lets_go = OnDrop(|| opens.open());
            if TOKIO_UNSTABLE {
                wait_until("no line", || lines.lines().iter().any(|line| line.contains("blocking pool saturated")));
            }
            watching.snapshot()
        });
        runtime.block_on(async {
            for _ in 0..CLOSURES {
                let gate = gate.clone();
                tokio::task::spawn_blocking(move || gate.pass());
            }
            let read = tokio::task::spawn_blocking(|| std::fs::read("/dev/null"));
            // Not before all of them are queued or have begun: how many are is in the line.
            gate.wait_for(THREADS);
            probe.set_slow_poll_threshold(THRESHOLD).unwrap();
            read.await.unwrap().unwrap();
        });
        let full = witness.join().unwrap();
        drop(runtime);
        assert!(probe.flush(LONG));
        if !TOKIO_UNSTABLE {
            assert_eq!((full.blocking_pool, full.pool_saturations, of_pool().len()), (None, None, 0));
            continue;
        }
        let pool = full.blocking_pool.expect("it is there");
        assert_eq!((pool.threads, pool.busy(), pool.queued), (THREADS, THREADS, CLOSURES + 1 - THREADS));
        assert_eq!(full.pool_saturations, Some(1));
        let [begins, ends] = &of_pool()[..] else { panic!("{:?}", kept.lines()) };
        let start = "WARN blocking pool saturated: 4 of 4 threads busy, 13 closures queued, at every look for ";
        assert!(begins.starts_with(start), "{begins}");
        assert!(ends.starts_with("WARN blocking pool no longer saturated: its 4 threads were busy "), "{ends}");
        let most =
            ends.split_once(", with up to ").and_then(|(_, most)| most.strip_suffix(" closures queued")?.parse().ok());
        // Before its threads began, all of them were.
        assert!(most.is_some_and(|most: u64| most >= CLOSURES + 1 - THREADS), "{ends}");
        let snapshot = probe.snapshot();
        assert_eq!((snapshot.pool_saturations, snapshot.since(&full).pool_saturations), (Some(1), Some(0)));
        assert_eq!(snapshot.slow_polls_total, 0);
    }
}

/// All threads are busy, and nobody waits for one.
#[test]
fn a_pool_that_is_busy_is_not_said_to_be_full() {
    for builder in both(THREADS) {
        let (kept, gate) = (Kept::default(), Gate::default());
        let (runtime, probe) = install(builder, patient().log_to(kept.clone()));
        runtime.block_on(async {
            let spawn = |_| {
                let gate = gate.clone();
                tokio::task::spawn_blocking(move || gate.pass())
            };
            let closures: Vec<_> = (0..THREADS).map(spawn).collect();
            gate.wait_for(THREADS);
            probe.set_slow_poll_threshold(THRESHOLD).unwrap();
            // The loop waits: what the pool is at is known from then on, and that lasts.
            tokio::time::sleep(THRESHOLD * 3).await;
            let pool = probe.snapshot().blocking_pool;
            assert_eq!(pool.map(|pool| (pool.threads, pool.idle)), TOKIO_UNSTABLE.then_some((THREADS, 0)));
            gate.open();
            for closure in closures {
                closure.await.unwrap();
            }
        });
        drop(runtime);
        assert!(probe.flush(LONG));
        assert_eq!(probe.snapshot().pool_saturations, TOKIO_UNSTABLE.then_some(0));
        assert!(!kept.lines().iter().any(|line| line.contains("blocking pool")), "{:?}", kept.lines());
    }
}

/// The probe asks a runtime, and does not keep it: what its callbacks hold is dropped with it.
#[test]
fn a_runtime_that_is_gone_leaves_nothing_in_the_probe() {
    for mut builder in both(THREADS) {
        let held = Arc::new(());
        let of_callback = Arc::clone(&held);
        builder.on_thread_start(move || _ = &of_callback);
        let probe = Probe::builder().install(&mut builder).unwrap();
        let runtime = builder.enable_time().build().unwrap();
        drop(builder);
        runtime.block_on(probe.watch(async { tokio::time::sleep(Duration::from_millis(2)).await }));
        runtime.block_on(probe.watch(async { tokio::task::spawn_blocking(|| {}).await.unwrap() }));
        drop(runtime);
        assert_eq!((Arc::strong_count(&held), probe.snapshot().blocking_pool), (1, None));
    }
}

/// The thread goes on without saying that it left the loop: nobody watches its roots.
#[test]
fn a_runtime_whose_end_nobody_says_is_let_go_before_long() {
    let held = Arc::new(());
    let of_callback = Arc::clone(&held);
    let mut builder = Builder::new_current_thread();
    builder.on_thread_start(move || _ = &of_callback);
    let probe = Probe::builder().install(&mut builder).unwrap();
    let runtime = builder.enable_time().build().unwrap();
    drop(builder);
    runtime.block_on(async { tokio::time::sleep(Duration::from_millis(2)).await });
    drop(runtime);
    wait_until("it is kept", || Arc::strong_count(&held) == 1);
    assert_eq!(probe.snapshot().blocking_pool, None);
}
