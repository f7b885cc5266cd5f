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

/// Whether wake-to-poll times are recorded.
pub(crate) const SCHEDULE_LATENCY: bool = TOKIO_UNSTABLE;

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
    /// Your own [`Builder::on_before_task_poll`] callback, called before the poll's clock starts.
    pub fn on_before_task_poll<F>(mut self, f: F) -> Self
    where
        F: Fn(&tokio::runtime::TaskMeta<'_>) + Send + Sync + 'static,
    {
        self.chained.before_poll = Some(Box::new(f));
        self
    }

    /// Your own [`Builder::on_after_task_poll`] callback, called after the poll's clock stopped.
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

    builder.track_task_schedule_latency();
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
pub(crate) fn coverage() -> Coverage {
    let blocking_pool = "closures on the blocking pool (they do not run on the loop)";
    if TOKIO_UNSTABLE {
        Coverage {
            source: Source::Hooks,
            sees: vec![
                "every poll of every spawned task",
                "wake-to-poll times of spawned tasks",
                "watched futures",
                "busy stretches of each worker",
            ],
            blind_to: vec![
                "the future given to block_on, unless it is watched",
                "tasks of a LocalSet, unless they are watched",
                blocking_pool,
            ],
        }
    } else {
        Coverage {
            source: Source::Wrappers,
            sees: vec!["watched futures", "busy stretches of each worker"],
            blind_to: vec![
                "tasks that are not watched: build with --cfg tokio_unstable to see them",
                "wake-to-poll times: build with --cfg tokio_unstable to see them",
                blocking_pool,
            ],
        }
    }
}
