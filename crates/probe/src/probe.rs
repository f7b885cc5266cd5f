//! The public entry: the handle of an installed probe.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use pollscope_base::duration;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::reporter::Control;
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::thread;
use crate::tokio_api;
use crate::watch::Watch;
use crate::watchdog::Watchdog;

mod builder;
mod install;
mod intervals;

pub use builder::{DEFAULT_KEPT_SLOW_POLLS, DEFAULT_SLOW_POLL, ProbeBuilder};
pub use install::InstallError;
pub use intervals::Intervals;

/// How long the last handle waits, when it is dropped, for the last lines to be written,
const LAST_LINES: Duration = Duration::from_secs(1);
/// and how long before that for what the watchdog saw, while that is still being named.
const LAST_EVIDENCE: Duration = Duration::from_secs(5);

/// Measures every poll of one runtime. A handle: clones are the same probe.
///
/// ```
/// use std::time::Duration;
/// use pollscope_probe::Probe;
///
/// let mut runtime = tokio::runtime::Builder::new_current_thread();
/// let probe = Probe::builder().slow_poll_threshold(Duration::from_millis(5)).install(&mut runtime)?;
/// let main = probe.watch(async { std::thread::sleep(Duration::from_millis(6)) });
/// runtime.build()?.block_on(main);
///
/// let snapshot = probe.snapshot();
/// assert_eq!(snapshot.slow_polls_total, 1);
/// assert!(snapshot.slow_polls[0].duration >= Duration::from_millis(6));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// When the last handle is dropped, lines that were not yet written are, for at most one second; callbacks and lines end with it.
/// Before that, what is still being found out of slow polls is waited for, for at most five seconds: the first names of a debug
/// build take that long on a busy machine, of a release build a tenth of a second. Without a slow poll nothing is waited for.
/// So keep one until the runtime is gone: what it still polls after that is slow for nobody. A process can have any number of
/// runtimes, each with a probe of its own: nothing is shared between them.
#[derive(Debug, Clone)]
#[must_use = "when the last handle is dropped, callbacks and lines end"]
pub struct Probe {
    inner: Option<Arc<Inner>>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    control: Arc<Control>,
    /// Dropped, and so ended, after the last lines: what it still finds out belongs to them.
    watchdog: Option<Watchdog>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        thread::forget(&self.shared);
        self.control.stop(LAST_LINES, LAST_EVIDENCE);
        self.shared.pools.close();
        self.watchdog.take();
    }
}

impl Probe {
    /// A builder of a probe with asyncio's threshold, 100 ms, that writes nothing.
    pub fn builder() -> ProbeBuilder {
        ProbeBuilder::new()
    }

    /// A probe that measures nothing: what [`ProbeBuilder::install`] gives when the environment did not switch it on.
    pub fn off() -> Probe {
        Probe { inner: None }
    }

    /// Whether it measures.
    pub fn is_on(&self) -> bool {
        self.inner.is_some()
    }

    /// Measures the polls of a future that the hooks cannot see: the one given to `block_on` (the body of
    /// `#[tokio::main]`), a task of a `LocalSet`, or any task in a build without `--cfg tokio_unstable`.
    /// Around a task that the hooks do see it adds nothing but its name.
    ///
    /// ```
    /// # use pollscope_probe::Probe;
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().install(&mut runtime)?;
    /// let runtime = runtime.build()?;
    /// assert_eq!(runtime.block_on(probe.watch(async { 42 })), 42);
    /// runtime.block_on(async {}); // not watched, and so not seen
    /// assert_eq!(probe.snapshot().polls.count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn watch<F: Future>(&self, future: F) -> Watch<F> {
        Watch::new(future, self.inner.as_ref().map(|inner| Arc::clone(&inner.shared)), Location::caller())
    }

    /// The same as [`Probe::watch`], under the name that users of `tracing` and `tokio-metrics` look for.
    ///
    /// ```
    /// # use pollscope_probe::Probe;
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().install(&mut runtime)?;
    /// assert_eq!(runtime.build()?.block_on(probe.instrument(async { 42 })), 42);
    /// assert_eq!(probe.snapshot().polls.count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn instrument<F: Future>(&self, future: F) -> Watch<F> {
        self.watch(future)
    }

    /// Spawns a watched and named task on the current runtime. The name is in slow polls, and, with the feature
    /// `task-names`, in tokio-console.
    ///
    /// ```
    /// # use pollscope_probe::Probe;
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().install(&mut runtime)?;
    /// let runtime = runtime.build()?;
    /// runtime.block_on(async { probe.spawn("indexer", async {}).await })?;
    /// assert_eq!(probe.snapshot().sites[0].task_name.as_deref(), Some("indexer"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// Outside a runtime, as `tokio::spawn`.
    #[track_caller]
    pub fn spawn<F>(&self, name: &str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        tokio_api::spawn(name, self.watch(future).named(name))
    }

    /// From now on a poll is slow that lasts at least this long; also one that goes on already. What was counted before stays as it is:
    /// [`Snapshot::slow_poll_threshold`] is the last threshold.
    ///
    /// # Errors
    /// When the threshold is 0, or the probe is off: asyncio ignores that silently, and nobody notices that nothing is reported.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pollscope_probe::{Probe, ThresholdError};
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().install(&mut runtime)?;
    /// probe.set_slow_poll_threshold(Duration::from_millis(5))?;
    /// runtime.build()?.block_on(probe.watch(async { std::thread::sleep(Duration::from_millis(6)) }));
    /// assert_eq!(probe.snapshot().slow_polls_total, 1);
    /// assert_eq!(probe.set_slow_poll_threshold(Duration::ZERO), Err(ThresholdError::Zero));
    /// assert_eq!(Probe::off().set_slow_poll_threshold(Duration::from_millis(5)), Err(ThresholdError::Off));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_slow_poll_threshold(&self, threshold: Duration) -> Result<(), ThresholdError> {
        let inner = self.inner.as_ref().ok_or(ThresholdError::Off)?;
        if threshold.is_zero() {
            return Err(ThresholdError::Zero);
        }
        inner.shared.set_threshold_ns(duration::to_ns(threshold));
        Ok(())
    }

    /// What was seen so far. It takes no lock that a worker takes at a poll. Empty when the probe is off.
    pub fn snapshot(&self) -> Snapshot {
        match &self.inner {
            Some(inner) => inner.shared.snapshot(),
            None => Shared::new(Clock::monotonic(), 0, 0).snapshot(),
        }
    }

    /// Whether paths are hidden.
    pub(crate) fn redacts(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.shared.redacted)
    }

    /// Waits until the callback was called and the line written, or counted as suppressed, for every slow poll that has
    /// ended, and says in a line what the rate limit held back so far. Whether that was done within `timeout`.
    ///
    /// What was seen of a slow poll is waited for while it is on its way: for ten seconds after the poll's end at most, and until
    /// 0.2 s before the end of a `timeout` of a second or more. Then the poll is told without, and why: see
    /// [`Evidence::missing`](crate::Evidence::missing). In the callback it is
    /// `false` at once: what it waits for comes after the callback. Where the probe is off there is nothing to wait for: `true`.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.inner.as_ref().is_none_or(|inner| inner.control.flush(timeout))
    }
}

/// Why a threshold was not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThresholdError {
    /// It is 0: every poll would be slow.
    Zero,
    /// The probe measures nothing, so no poll can be slow.
    Off,
}

impl fmt::Display for ThresholdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ThresholdError::Zero => "cannot set the slow-poll threshold to `0`: every poll would be slow; give at least 1 ns",
            ThresholdError::Off => {
                "cannot set the slow-poll threshold: the probe is off; install it, with `POLLSCOPE=1` if it follows the environment"
            }
        })
    }
}

impl std::error::Error for ThresholdError {}
