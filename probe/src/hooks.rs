//! Where the probe meets Tokio: task hooks with `--cfg tokio_unstable`, park and unpark everywhere.
//!
//! The only file that knows the cfg. Every type exists under both; only what fills it differs.

use std::sync::Arc;

use tokio::runtime::Builder;
use tokio::task::JoinHandle;

use crate::shared::Shared;
use crate::snapshot::{Coverage, Source};
use crate::thread;

/// Whether this build has `--cfg tokio_unstable`, and so sees every poll of every spawned task.
pub const TOKIO_UNSTABLE: bool = cfg!(tokio_unstable);

type ThreadHook = Box<dyn Fn() + Send + Sync>;
#[cfg(tokio_unstable)]
type TaskHook = Box<dyn Fn(&tokio::runtime::TaskMeta<'_>) + Send + Sync>;

/// The user's own callbacks. A runtime has one place for each, which the probe takes: it calls these from there.
#[derive(Default)]
pub(crate) struct Chained {
    pub(crate) park: Option<ThreadHook>,
    pub(crate) unpark: Option<ThreadHook>,
    #[cfg(tokio_unstable)]
    before_poll: Option<TaskHook>,
    #[cfg(tokio_unstable)]
    after_poll: Option<TaskHook>,
}

#[cfg(tokio_unstable)]
impl crate::ProbeBuilder {
    /// Your own [`Builder::on_before_task_poll`] callback, called before the poll's clock starts. Only in a build with
    /// `--cfg tokio_unstable`, as Tokio's.
    pub fn on_before_task_poll<F>(mut self, f: F) -> Self
    where
        F: Fn(&tokio::runtime::TaskMeta<'_>) + Send + Sync + 'static,
    {
        self.chained.before_poll = Some(Box::new(f));
        self
    }

    /// Your own [`Builder::on_after_task_poll`] callback, called after the poll's clock stopped. Likewise.
    pub fn on_after_task_poll<F>(mut self, f: F) -> Self
    where
        F: Fn(&tokio::runtime::TaskMeta<'_>) + Send + Sync + 'static,
    {
        self.chained.after_poll = Some(Box::new(f));
        self
    }
}

/// Puts the probe's callbacks, and the user's behind them, into the runtime's builder.
pub(crate) fn install(builder: &mut Builder, shared: &Arc<Shared>, chained: Chained) {
    let (park, unpark) = (chained.park, chained.unpark);
    let probe = Arc::clone(shared);
    builder.on_thread_park(move || {
        thread::park(&probe);
        if let Some(park) = &park {
            park();
        }
    });
    let probe = Arc::clone(shared);
    builder.on_thread_unpark(move || {
        thread::unpark(&probe);
        if let Some(unpark) = &unpark {
            unpark();
        }
    });
    #[cfg(tokio_unstable)]
    install_task_hooks(builder, shared, chained.before_poll, chained.after_poll);
}

#[cfg(tokio_unstable)]
fn install_task_hooks(
    builder: &mut Builder,
    shared: &Arc<Shared>,
    before_poll: Option<TaskHook>,
    after_poll: Option<TaskHook>,
) {
    use tokio::runtime::TaskMeta;

    fn begin(shared: &Arc<Shared>, meta: &TaskMeta<'_>) {
        let latency_ns = meta.schedule_latency().map(crate::duration::to_ns);
        thread::begin(shared, crate::watch::task_number(meta.id()), meta.spawned_at(), latency_ns);
    }

    if shared.tracks_waits {
        builder.track_task_schedule_latency();
    }
    // Two closures each, so that a runtime without callbacks of its own does not ask for them at every poll.
    let probe = Arc::clone(shared);
    match before_poll {
        None => builder.on_before_task_poll(move |meta| begin(&probe, meta)),
        Some(user) => builder.on_before_task_poll(move |meta| {
            user(meta);
            begin(&probe, meta);
        }),
    };
    let probe = Arc::clone(shared);
    match after_poll {
        None => builder.on_after_task_poll(move |_| thread::end(&probe)),
        Some(user) => builder.on_after_task_poll(move |meta| {
            thread::end(&probe);
            user(meta);
        }),
    };
}

/// Without task hooks nothing calls it but tests.
#[cfg(not(tokio_unstable))]
const _: fn(&Arc<Shared>, u64, &'static std::panic::Location<'static>, Option<u64>) = thread::begin;

/// Spawns a task, with a name that tokio-console shows where this build can give it one.
#[track_caller]
pub(crate) fn spawn<F>(name: &str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[cfg(all(tokio_unstable, feature = "task-names"))]
    {
        let spawned = tokio::task::Builder::new().name(name).spawn(future);
        spawned.expect("a task that is not a blocking one can always be spawned")
    }
    #[cfg(not(all(tokio_unstable, feature = "task-names")))]
    {
        let _ = name;
        tokio::spawn(future)
    }
}

/// Whether the poll that ends on this thread gave its worker to another thread, by `block_in_place`. Takes a lock of
/// Tokio's, so it is for slow polls alone.
/// `false` where this build cannot tell.
pub(crate) fn handed_over() -> bool {
    #[cfg(tokio_unstable)]
    {
        let Some(worker) = tokio::runtime::worker_index() else { return false };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return false };
        let metrics = runtime.metrics();
        worker < metrics.num_workers() && metrics.worker_thread_id(worker) != Some(std::thread::current().id())
    }
    #[cfg(not(tokio_unstable))]
    false
}

/// Whether the poll that ends on this thread is of a current-thread runtime: nobody else polls its tasks, or looks for its
/// events, meanwhile.
pub(crate) fn is_alone() -> bool {
    use tokio::runtime::{Handle, RuntimeFlavor};
    Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::CurrentThread)
}

/// How many tasks wait in the workers' own queues, all together, at this moment; `None` where this build cannot see it. What is
/// in a multi-thread worker's LIFO slot is in no queue, and what other threads woke is in the runtime's global one:
/// [`RuntimeMetrics::global_queue_depth`](tokio::runtime::RuntimeMetrics::global_queue_depth).
///
/// ```
/// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// let queued = pollscope_probe::queued_on_workers(&runtime.metrics());
/// assert_eq!(queued, pollscope_probe::TOKIO_UNSTABLE.then_some(0));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn queued_on_workers(metrics: &tokio::runtime::RuntimeMetrics) -> Option<u64> {
    #[cfg(tokio_unstable)]
    {
        Some((0..metrics.num_workers()).map(|worker| metrics.worker_local_queue_depth(worker) as u64).sum())
    }
    #[cfg(not(tokio_unstable))]
    {
        let _ = metrics;
        None
    }
}

/// Puts the user's callbacks alone into the runtime's builder: the probe is off.
pub(crate) fn install_chained(builder: &mut Builder, chained: Chained) {
    if let Some(park) = chained.park {
        builder.on_thread_park(park);
    }
    if let Some(unpark) = chained.unpark {
        builder.on_thread_unpark(unpark);
    }
    #[cfg(tokio_unstable)]
    {
        if let Some(before_poll) = chained.before_poll {
            builder.on_before_task_poll(before_poll);
        }
        if let Some(after_poll) = chained.after_poll {
            builder.on_after_task_poll(after_poll);
        }
    }
}

/// What this build sees.
pub(crate) fn coverage(tracks_waits: bool) -> Coverage {
    let blocking_pool = "closures on the blocking pool (they do not run on the loop)";
    if TOKIO_UNSTABLE {
        let mut sees = vec!["every poll of every spawned task"];
        let mut blind_to = vec![
            "the future given to block_on, unless it is watched",
            "tasks of a LocalSet, unless they are watched",
            blocking_pool,
        ];
        if tracks_waits {
            sees.push("wake-to-poll times of spawned tasks");
        } else {
            blind_to.push("wake-to-poll times, and so who waited: they were switched off");
        }
        sees.extend(["watched futures", "busy stretches of each worker"]);
        Coverage { source: Source::Hooks, sees, blind_to, missing: Vec::new() }
    } else {
        Coverage {
            source: Source::Wrappers,
            sees: vec!["watched futures", "busy stretches of each worker"],
            blind_to: vec![
                "tasks that are not watched: build with --cfg tokio_unstable to see them",
                "wake-to-poll times: build with --cfg tokio_unstable to see them",
                blocking_pool,
            ],
            missing: Vec::new(),
        }
    }
}

#[cfg(all(test, tokio_unstable))]
mod tests {
    use std::sync::Mutex;
    use std::time::Instant;

    use super::*;
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
        let (probe, calls, inner_ns) = run(Probe::builder().slow_poll(std::time::Duration::from_millis(10)));
        let snapshot = probe.snapshot();
        let slow = snapshot.slow_polls.iter().max_by_key(|poll| poll.duration_ns).unwrap();
        let outer_ns = calls.chunks(2).map(|poll| (poll[1].2 - poll[0].2).as_nanos() as u64).max().unwrap();
        assert_eq!(slow.task_id.unwrap().to_string(), calls[0].1);
        assert!((inner_ns..=outer_ns).contains(&slow.duration_ns), "{inner_ns} {slow:?} {outer_ns}");
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
        let probe = Probe::builder().slow_poll(std::time::Duration::from_millis(1)).install(&mut runtime).unwrap();
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
        assert!(probe.finish(std::time::Duration::from_secs(60)));
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
}
