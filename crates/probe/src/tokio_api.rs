//! What the probe asks Tokio, and what it has Tokio call: all that depends on `--cfg tokio_unstable`.
//!
//! The only file that knows the cfg. Every type exists under both; only what fills it differs.

use std::hash::{Hash, Hasher};
use std::panic::Location;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, RuntimeFlavor, RuntimeMetrics};
use tokio::task::{Id, JoinHandle};

use crate::snapshot::BlockingPool;

#[cfg(tokio_unstable)]
mod task_hooks;
#[cfg(all(test, tokio_unstable))]
mod tests;

/// Whether this build has `--cfg tokio_unstable`, and so sees every poll of every spawned task.
pub const TOKIO_UNSTABLE: bool = cfg!(tokio_unstable);

#[cfg(tokio_unstable)]
type TaskHook = Box<dyn Fn(&tokio::runtime::TaskMeta<'_>) + Send + Sync>;

/// What Tokio knows of a poll that is about to begin. Behind a reference, so that it is read where it is used: three values through
/// registers are six instructions more a poll.
pub(crate) struct BeginningPoll<'a> {
    #[cfg(tokio_unstable)]
    meta: &'a tokio::runtime::TaskMeta<'a>,
    /// There is none in a build without the cfg.
    #[cfg(not(tokio_unstable))]
    meta: &'a std::convert::Infallible,
}

#[cfg(tokio_unstable)]
impl BeginningPoll<'_> {
    pub(crate) fn task(&self) -> Id {
        self.meta.id()
    }

    pub(crate) fn spawned_at(&self) -> &'static Location<'static> {
        self.meta.spawned_at()
    }

    pub(crate) fn schedule_latency(&self) -> Option<Duration> {
        self.meta.schedule_latency()
    }
}

#[cfg(not(tokio_unstable))]
impl BeginningPoll<'_> {
    pub(crate) fn task(&self) -> Id {
        match *self.meta {}
    }

    pub(crate) fn spawned_at(&self) -> &'static Location<'static> {
        match *self.meta {}
    }

    pub(crate) fn schedule_latency(&self) -> Option<Duration> {
        match *self.meta {}
    }
}

/// The user's own callbacks around polls.
#[derive(Default)]
pub(crate) struct TaskHooks {
    #[cfg(tokio_unstable)]
    before_poll: Option<TaskHook>,
    #[cfg(tokio_unstable)]
    after_poll: Option<TaskHook>,
}

impl TaskHooks {
    /// Has every poll of a spawned task call `begin`, with what is known of it, and `end`; and, around these, the user's callbacks.
    /// How long a task was ready is known if `tracks_waits`. Nothing is called in a build without the cfg.
    #[cfg(tokio_unstable)]
    pub(crate) fn install_around(
        self,
        builder: &mut Builder,
        tracks_waits: bool,
        begin: impl Fn(BeginningPoll<'_>) + Send + Sync + 'static,
        end: impl Fn() + Send + Sync + 'static,
    ) {
        if tracks_waits {
            builder.track_task_schedule_latency();
        }
        let begin = move |meta: &tokio::runtime::TaskMeta<'_>| begin(BeginningPoll { meta });
        // Two closures each, so that a runtime without callbacks of its own does not ask for them at every poll.
        match self.before_poll {
            None => builder.on_before_task_poll(begin),
            Some(user) => builder.on_before_task_poll(move |meta| {
                user(meta);
                begin(meta);
            }),
        };
        match self.after_poll {
            None => builder.on_after_task_poll(move |_| end()),
            Some(user) => builder.on_after_task_poll(move |meta| {
                end();
                user(meta);
            }),
        };
    }

    /// There is no such callback in this build.
    #[cfg(not(tokio_unstable))]
    pub(crate) fn install_around(
        self,
        _builder: &mut Builder,
        _tracks_waits: bool,
        _begin: impl Fn(BeginningPoll<'_>) + Send + Sync + 'static,
        _end: impl Fn() + Send + Sync + 'static,
    ) {
    }

    /// Puts the user's callbacks alone into the runtime's builder.
    pub(crate) fn install_alone(self, builder: &mut Builder) {
        #[cfg(tokio_unstable)]
        {
            if let Some(before_poll) = self.before_poll {
                builder.on_before_task_poll(before_poll);
            }
            if let Some(after_poll) = self.after_poll {
                builder.on_after_task_poll(after_poll);
            }
        }
        #[cfg(not(tokio_unstable))]
        let _ = builder;
    }
}

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
        let Ok(runtime) = Handle::try_current() else { return false };
        let metrics = runtime.metrics();
        worker < metrics.num_workers() && metrics.worker_thread_id(worker) != Some(std::thread::current().id())
    }
    #[cfg(not(tokio_unstable))]
    false
}

/// Whether the poll that ends on this thread is of a current-thread runtime: nobody else polls its tasks, or looks for its
/// events, meanwhile.
pub(crate) fn is_alone() -> bool {
    Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::CurrentThread)
}

/// The number of the runtime that this thread is in, unique among those that run, and what it is asked through.
pub(crate) fn current_runtime() -> Option<(u64, RuntimeMetrics)> {
    let runtime = Handle::try_current().ok()?;
    Some((number_of(runtime.id()), runtime.metrics()))
}

/// The flavor of the runtime that this thread is in, as recordings call it.
pub(crate) fn current_flavor() -> Option<&'static str> {
    match Handle::try_current().ok()?.runtime_flavor() {
        RuntimeFlavor::CurrentThread => Some("current_thread"),
        RuntimeFlavor::MultiThread => Some("multi_thread"),
        _ => None,
    }
}

/// What a runtime's blocking pool is at; `None` where this build cannot see it.
pub(crate) fn blocking_pool(metrics: &RuntimeMetrics) -> Option<BlockingPool> {
    #[cfg(tokio_unstable)]
    {
        Some(BlockingPool {
            threads: metrics.num_blocking_threads() as u64,
            idle: metrics.num_idle_blocking_threads() as u64,
            queued: metrics.blocking_queue_depth() as u64,
        })
    }
    #[cfg(not(tokio_unstable))]
    {
        let _ = metrics;
        None
    }
}

/// How many tasks wait in a worker's own queue; `None` where this build cannot see it, or there is no such worker.
#[cfg(all(feature = "record", target_os = "linux"))]
pub(crate) fn queued_on_worker(metrics: &RuntimeMetrics, worker: usize) -> Option<u64> {
    #[cfg(tokio_unstable)]
    {
        (worker < metrics.num_workers()).then(|| metrics.worker_local_queue_depth(worker) as u64)
    }
    #[cfg(not(tokio_unstable))]
    {
        let _ = (metrics, worker);
        None
    }
}

/// The number in an id of Tokio's. It has no accessor, but hashes as exactly that number; a test compares it with what it prints.
#[inline]
pub(crate) fn number_of(id: impl Hash) -> u64 {
    struct Number(u64);
    impl Hasher for Number {
        fn finish(&self) -> u64 {
            self.0
        }
        fn write(&mut self, bytes: &[u8]) {
            for &byte in bytes {
                self.0 = self.0 << 8 | u64::from(byte);
            }
        }
        fn write_u64(&mut self, number: u64) {
            self.0 = number;
        }
    }
    let mut number = Number(0);
    id.hash(&mut number);
    number.finish()
}

/// How many tasks wait in the workers' own queues, all together, at this moment; `None` where this build cannot see it. What is
/// in a multi-thread worker's LIFO slot is in no queue, and what other threads woke is in the runtime's global one:
/// [`RuntimeMetrics::global_queue_depth`](tokio::runtime::RuntimeMetrics::global_queue_depth).
///
/// ```
/// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// let queued = pollscope_probe::internal::queued_on_workers(&runtime.metrics());
/// assert_eq!(queued, pollscope_probe::TOKIO_UNSTABLE.then_some(0));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn queued_on_workers(metrics: &RuntimeMetrics) -> Option<u64> {
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
