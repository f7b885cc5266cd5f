//! The runtimes that have the probe, as far as they are known, and their blocking pools: how full each is, and which stays full.
//!
//! Tokio answers through a handle that keeps a runtime's memory, and what its callbacks hold. So a handle is only lent: a thread
//! that is about to wait for events lends its runtime's when it is asked, about once a second. It is given back when the thread
//! ends or leaves the loop, and when no thread of the runtime is seen in it any more and its pool does nothing.
//!
//! Tokio starts a thread for a closure that finds none idle, up to the runtime's limit, which nobody can read. So a pool is full
//! while closures are queued, no thread is idle, and no thread is added: its threads are all that it gets.

use std::fmt;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pollscope_base::count::{format_count, plural};
use tokio::runtime::RuntimeMetrics;

use crate::snapshot::{BlockingPool, Runtime};
use crate::tokio_api::{self, TOKIO_UNSTABLE};

/// How often threads are asked which runtime they are of.
const ASK_EVERY_NS: u64 = 1_000_000_000;

/// A pool was full for so long that it is to be told, or is no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Saturation {
    /// From 1, for each pool that is told of: its beginning and its end have the same.
    pub(crate) number: u64,
    pub(crate) is_over: bool,
    pub(crate) threads: u64,
    /// How many closures were queued; when it is over, the most.
    pub(crate) queued: u64,
    /// From the first look that found it full to the last.
    pub(crate) lasted: Duration,
}

impl fmt::Display for Saturation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = format_count(self.threads);
        let (queued, seconds) = (plural(self.queued, "closure"), self.lasted.as_secs_f64());
        match self.is_over {
            false => write!(
                f,
                "blocking pool saturated: {threads} of {threads} threads busy, {queued} queued, at every look for {seconds:.3} s"
            ),
            true => write!(
                f,
                "blocking pool no longer saturated: its {threads} threads were busy at every look for {seconds:.3} s, with up to \
                 {queued} queued"
            ),
        }
    }
}

/// What the runtimes' pools are asked through.
#[derive(Debug)]
pub(crate) struct Pools {
    /// How often it was asked.
    asked: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pools: Vec<Pool>,
    asked_ns: u64,
    /// How many saturations were told.
    saturations: u64,
    to_tell: Vec<Saturation>,
    /// Those that were there together when the last one came, each with its number.
    runtimes: Vec<(u64, Runtime)>,
    /// Whether the probe is gone: nothing is lent any more.
    is_closed: bool,
}

#[derive(Debug)]
struct Pool {
    runtime: u64,
    metrics: RuntimeMetrics,
    /// Which of the questions it was lent for last.
    lent_for: u32,
    full: Option<Full>,
}

/// A pool that was full at every look so far.
#[derive(Debug, Clone, Copy)]
struct Full {
    since_ns: u64,
    last_ns: u64,
    threads: u64,
    most_queued: u64,
    /// Its number, once it was told.
    told: Option<u64>,
}

impl Full {
    fn saturation(&self, number: u64, is_over: bool, queued: u64) -> Saturation {
        let lasted = Duration::from_nanos(self.last_ns - self.since_ns);
        Saturation { number, is_over, threads: self.threads, queued, lasted }
    }

    fn over(self) -> Option<Saturation> {
        Some(self.saturation(self.told?, true, self.most_queued))
    }
}

/// What a look at one pool comes to: its state from now on, and what is to be told. `number` is that of the next that is told.
fn look(
    full: Option<Full>,
    now: BlockingPool,
    now_ns: u64,
    threshold_ns: u64,
    number: u64,
) -> (Option<Full>, Option<Saturation>) {
    let BlockingPool { threads, idle, queued } = now;
    if queued == 0 || idle > 0 || threads == 0 {
        return (None, full.and_then(Full::over));
    }
    // A pool that gets more threads was not full.
    let is_same = |full: &Full| full.threads == threads || full.told.is_some();
    let new = Full { since_ns: now_ns, last_ns: now_ns, threads, most_queued: queued, told: None };
    let mut full = full.filter(is_same).unwrap_or(new);
    (full.last_ns, full.threads) = (now_ns, threads);
    full.most_queued = full.most_queued.max(queued);
    let is_new = full.told.is_none() && full.last_ns - full.since_ns >= threshold_ns;
    full.told = full.told.or(is_new.then_some(number));
    (Some(full), is_new.then(|| full.saturation(number, false, queued)))
}

impl Pools {
    pub(crate) fn new() -> Pools {
        Pools { asked: AtomicU32::new(1), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last question. A thread that answered it has nothing to say.
    #[inline]
    pub(crate) fn asked(&self) -> u32 {
        self.asked.load(Relaxed)
    }

    /// Lends the handle of the runtime that this thread is in; its number, 0 for none.
    #[cold]
    pub(crate) fn lend(&self) -> u64 {
        let Some((runtime, metrics)) = tokio_api::current_runtime() else { return 0 };
        let lent_for = self.asked();
        let mut state = self.lock();
        if state.is_closed {
            return 0;
        }
        let before = match state.pools.iter_mut().find(|pool| pool.runtime == runtime) {
            // A number can be used again: the handle is that of the runtime which has it now.
            Some(pool) => {
                pool.lent_for = lent_for;
                std::mem::replace(&mut pool.metrics, metrics)
            }
            None => {
                let State { pools, runtimes, .. } = &mut *state;
                runtimes.retain(|(number, _)| pools.iter().any(|pool| pool.runtime == *number));
                let (flavor, workers) = (tokio_api::current_flavor(), metrics.num_workers() as u64);
                runtimes.push((runtime, Runtime { flavor, workers }));
                pools.push(Pool { runtime, metrics, lent_for, full: None });
                return runtime;
            }
        };
        drop(state);
        drop(before);
        runtime
    }

    /// Whether the runtime that this thread is in may be one with the probe: no other one is known that is.
    pub(crate) fn may_be_in_one(&self) -> bool {
        self.may_be_one(tokio_api::current_runtime().map(|(runtime, _)| runtime))
    }

    /// Whether that runtime may be one with the probe, likewise.
    pub(crate) fn may_be_one(&self, runtime: Option<u64>) -> bool {
        let state = self.lock();
        state.pools.is_empty() || state.pools.iter().any(|pool| Some(pool.runtime) == runtime)
    }

    /// A thread left that runtime: it gets its handle back, unless others are seen in it.
    pub(crate) fn leave(&self, runtime: u64, is_seen: impl Fn(u64) -> bool) {
        if runtime != 0 && !is_seen(runtime) {
            self.release(|pool| pool.runtime == runtime);
        }
    }

    /// Gives every handle back. Nothing is lent from now on.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.release(|_| true);
    }

    /// What a runtime's callbacks hold may be dropped with its handle, and may ask the probe: not under the lock.
    fn release(&self, is_given_back: impl Fn(&Pool) -> bool) {
        let mut state = self.lock();
        let (released, kept): (Vec<Pool>, Vec<Pool>) =
            std::mem::take(&mut state.pools).into_iter().partition(is_given_back);
        state.pools = kept;
        state.to_tell.extend(released.iter().filter_map(|pool| pool.full.and_then(Full::over)));
        drop(state);
        drop(released);
    }

    /// Asks all threads once more, if it is time to, and gives back what nobody answers for. `is_seen`: whether a thread of that
    /// runtime waits for events or polls.
    pub(crate) fn ask(&self, now_ns: u64, is_seen: impl Fn(u64) -> bool) {
        let mut state = self.lock();
        if now_ns.saturating_sub(state.asked_ns) < ASK_EVERY_NS {
            return;
        }
        state.asked_ns = now_ns;
        drop(state);
        let asked = self.asked();
        self.release(|pool| pool.lent_for != asked && !is_seen(pool.runtime) && pool.is_idle());
        self.asked.store(asked.wrapping_add(1).max(1), Relaxed);
    }

    /// Looks at every pool; whether one is full.
    pub(crate) fn look(&self, now_ns: u64, threshold_ns: u64) -> bool {
        let mut state = self.lock();
        let State { pools, saturations, to_tell, .. } = &mut *state;
        for pool in &mut *pools {
            let Some(now) = tokio_api::blocking_pool(&pool.metrics) else { continue };
            let (full, told) = look(pool.full, now, now_ns, threshold_ns, *saturations + 1);
            *saturations += u64::from(told.is_some_and(|told| !told.is_over));
            pool.full = full;
            to_tell.extend(told);
        }
        pools.iter().any(|pool| pool.full.is_some())
    }

    /// What is to be told, and was not.
    pub(crate) fn take_told(&self) -> Vec<Saturation> {
        std::mem::take(&mut self.lock().to_tell)
    }

    /// The runtimes that had the probe when the last one was first seen. Empty as long as none waited for events.
    pub(crate) fn runtimes(&self) -> Vec<Runtime> {
        self.lock().runtimes.iter().map(|(_, runtime)| runtime.clone()).collect()
    }

    /// Whether a pool was full at the last look.
    pub(crate) fn is_full(&self) -> bool {
        self.lock().pools.iter().any(|pool| pool.full.is_some())
    }

    /// What waits, of all runtimes together: tasks in the global queues and in the workers' own, and closures for the pools; `None`
    /// where that is not known.
    #[cfg(feature = "record")]
    pub(crate) fn queued(&self) -> (Option<(u64, Option<u64>)>, Option<u64>) {
        let state = self.lock();
        let tasks = state
            .pools
            .iter()
            .map(|pool| (pool.metrics.global_queue_depth() as u64, tokio_api::queued_on_workers(&pool.metrics)));
        let tasks = tasks.reduce(|(global, local), more| (global + more.0, local.zip(more.1).map(|(a, b)| a + b)));
        let closures = state.pools.iter().filter_map(|pool| tokio_api::blocking_pool(&pool.metrics));
        (tasks, closures.map(|pool| pool.queued).reduce(|a, b| a + b))
    }

    /// All pools together, and how many saturations were told so far; `None` where that is not known.
    pub(crate) fn now(&self) -> (Option<BlockingPool>, Option<u64>) {
        let state = self.lock();
        let pools = state.pools.iter().filter_map(|pool| tokio_api::blocking_pool(&pool.metrics));
        let all = pools.reduce(|a, b| BlockingPool {
            threads: a.threads + b.threads,
            idle: a.idle + b.idle,
            queued: a.queued + b.queued,
        });
        (all, TOKIO_UNSTABLE.then_some(state.saturations))
    }
}

/// Queues of tasks, for those who look at what is so at the moment.
#[cfg(all(feature = "record", target_os = "linux"))]
impl Pools {
    /// What waits in the queue of a runtime's worker; `None` where that is not known.
    pub(crate) fn queued_on(&self, runtime: u64, worker: usize) -> Option<u64> {
        let state = self.lock();
        let pool = state.pools.iter().find(|pool| pool.runtime == runtime)?;
        tokio_api::queued_on_worker(&pool.metrics, worker)
    }
}

impl Pool {
    fn is_idle(&self) -> bool {
        tokio_api::blocking_pool(&self.metrics).is_none_or(|pool| pool.queued == 0 && pool.busy() == 0)
    }
}

#[cfg(test)]
mod tests;
