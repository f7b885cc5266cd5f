//! The public entry: a builder, and the handle that it installs.

use std::fmt;
use std::future::Future;
use std::io::{self, Write};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use pollscope_base::duration;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::env;
use crate::hooks::{self, Chained};
use crate::reporter::{Callback, Control, LineWriter, Reporter};
use crate::shared::Shared;
use crate::snapshot::{SlowPoll, Snapshot};
use crate::thread;
use crate::tokio_api::{self, TOKIO_UNSTABLE};
use crate::watch::Watch;

/// What counts as a slow poll unless the builder is told otherwise: asyncio's `slow_callback_duration`.
pub const DEFAULT_SLOW_POLL: Duration = Duration::from_millis(100);
/// How many slow polls a snapshot lists unless the builder is told otherwise.
pub const DEFAULT_KEPT_SLOW_POLLS: usize = 1_024;
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
/// let probe = Probe::builder().slow_poll(Duration::from_millis(5)).install(&mut runtime)?;
/// let main = probe.watch(async { std::thread::sleep(Duration::from_millis(6)) });
/// runtime.build()?.block_on(main);
///
/// let snapshot = probe.snapshot();
/// assert_eq!(snapshot.slow_polls_total, 1);
/// assert!(snapshot.slow_polls[0].duration_ns >= 6_000_000);
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
    #[cfg(feature = "capture")]
    watchdog: Option<crate::watchdog::Watchdog>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        thread::forget(&self.shared);
        self.control.stop(LAST_LINES, LAST_EVIDENCE);
        #[cfg(feature = "capture")]
        drop(self.watchdog.take());
    }
}

impl Probe {
    /// A probe with asyncio's threshold, 100 ms, that writes nothing.
    pub fn builder() -> ProbeBuilder {
        ProbeBuilder {
            on: true,
            slow_poll: DEFAULT_SLOW_POLL,
            keep_slow_polls: DEFAULT_KEPT_SLOW_POLLS,
            redact_paths: false,
            schedule_latency: true,
            callback: None,
            #[cfg(feature = "tracing")]
            events: false,
            writer: None,
            #[cfg(feature = "capture")]
            watchdog: Some(crate::watchdog::Options::default()),
            chained: Chained::default(),
        }
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
    /// [`Snapshot::threshold_ns`] is the last threshold.
    ///
    /// # Errors
    /// When the threshold is 0, or the probe is off: asyncio ignores that silently, and nobody notices that nothing is reported.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pollscope_probe::{Probe, ThresholdError};
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().install(&mut runtime)?;
    /// probe.set_slow_poll(Duration::from_millis(5))?;
    /// runtime.build()?.block_on(probe.watch(async { std::thread::sleep(Duration::from_millis(6)) }));
    /// assert_eq!(probe.snapshot().slow_polls_total, 1);
    /// assert_eq!(probe.set_slow_poll(Duration::ZERO), Err(ThresholdError::Zero));
    /// assert_eq!(Probe::off().set_slow_poll(Duration::from_millis(5)), Err(ThresholdError::Off));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_slow_poll(&self, threshold: Duration) -> Result<(), ThresholdError> {
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
    pub fn finish(&self, timeout: Duration) -> bool {
        self.inner.as_ref().is_none_or(|inner| inner.control.finish(timeout))
    }
}

/// How a probe is to be installed.
#[must_use = "a builder does nothing until it is installed"]
pub struct ProbeBuilder {
    on: bool,
    slow_poll: Duration,
    keep_slow_polls: usize,
    redact_paths: bool,
    schedule_latency: bool,
    callback: Option<Callback>,
    #[cfg(feature = "tracing")]
    events: bool,
    writer: Option<LineWriter>,
    #[cfg(feature = "capture")]
    watchdog: Option<crate::watchdog::Options>,
    pub(crate) chained: Chained,
}

impl fmt::Debug for ProbeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeBuilder").field("on", &self.on).field("slow_poll", &self.slow_poll).finish_non_exhaustive()
    }
}

/// Why a probe was not installed. The runtime's builder is as it was before.
#[derive(Debug)]
#[non_exhaustive]
pub enum InstallError {
    /// The threshold is 0: every poll would be slow. Give [`ProbeBuilder::slow_poll`] at least 1 ns.
    ZeroThreshold,
    /// A thread of the probe's own could not be started.
    Thread(io::Error),
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InstallError::ZeroThreshold => {
                f.write_str("cannot take `0` as the slow-poll threshold: every poll would be slow; give at least 1 ns")
            }
            InstallError::Thread(error) => write!(
                f,
                "cannot start a thread for the probe: {error}; the runtime is not measured, raise the limit on threads"
            ),
        }
    }
}

impl std::error::Error for InstallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            InstallError::ZeroThreshold => None,
            InstallError::Thread(error) => Some(error),
        }
    }
}

/// For a `main` that returns [`io::Result`]: the kind is that of the thread's error, or [`io::ErrorKind::InvalidInput`].
impl From<InstallError> for io::Error {
    fn from(error: InstallError) -> io::Error {
        let kind = match &error {
            InstallError::ZeroThreshold => io::ErrorKind::InvalidInput,
            InstallError::Thread(error) => error.kind(),
        };
        io::Error::new(kind, error)
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

impl ProbeBuilder {
    /// A builder that follows the environment: `POLLSCOPE=1` switches the probe on and its lines to stderr,
    /// `POLLSCOPE_SLOW_POLL=50ms` sets the threshold. Without the switch, [`ProbeBuilder::install`] gives
    /// [`Probe::off`]. What was set but cannot be followed, such as a threshold without the switch, is said on stderr. What you then
    /// set on the builder replaces what the environment said; the switch stays.
    pub fn from_env() -> ProbeBuilder {
        let variable = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let request = env::read(variable("POLLSCOPE").as_deref(), variable("POLLSCOPE_SLOW_POLL").as_deref());
        for warning in &request.warnings {
            // A closed stderr must not stop the host.
            let _ = writeln!(io::stderr(), "WARN pollscope: {warning}");
        }
        let builder = Probe::builder().slow_poll(request.slow_poll.unwrap_or(DEFAULT_SLOW_POLL));
        ProbeBuilder { on: request.on, ..builder }.slow_poll_lines(io::stderr())
    }

    /// What counts as a slow poll: one that lasted at least this long. From 1 ns; asyncio's 100 ms unless set.
    pub fn slow_poll(self, threshold: Duration) -> ProbeBuilder {
        ProbeBuilder { slow_poll: threshold, ..self }
    }

    /// How many slow polls a snapshot lists, 448 bytes each, and with a stack some 10 kB; those beyond are counted. 1,024 unless set.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pollscope_probe::Probe;
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().slow_poll(Duration::from_nanos(1)).keep_slow_polls(2).install(&mut runtime)?;
    /// let runtime = runtime.build()?;
    /// (0..5).for_each(|_| runtime.block_on(probe.watch(async {})));
    /// let snapshot = probe.snapshot();
    /// assert_eq!((snapshot.slow_polls.len(), snapshot.slow_polls_dropped, snapshot.slow_polls_total), (2, 3, 5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keep_slow_polls(self, most: usize) -> ProbeBuilder {
        ProbeBuilder { keep_slow_polls: most, ..self }
    }

    /// Called for every slow poll, some 100 ms after its end, or once what was seen of it has names, ten seconds after its end at
    /// most, on a thread of the probe's own. A panic in it is caught and counted;
    /// one that blocks holds back further calls and lines, and nothing else.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pollscope_probe::Probe;
    /// let (tell, told) = std::sync::mpsc::channel();
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder()
    ///     .slow_poll(Duration::from_millis(5))
    ///     .on_slow_poll(move |poll| _ = tell.send((poll.duration_ns, poll.to_string())))
    ///     .install(&mut runtime)?;
    /// runtime.build()?.block_on(probe.watch(async { std::thread::sleep(Duration::from_millis(6)) }));
    /// assert!(probe.finish(Duration::from_secs(9)));
    /// let (duration_ns, line) = told.recv()?;
    /// assert!(duration_ns >= 6_000_000);
    /// assert!(line.starts_with("Executing <Task root, spawned at "));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_slow_poll(self, f: impl FnMut(&SlowPoll) + Send + 'static) -> ProbeBuilder {
        ProbeBuilder { callback: Some(Box::new(f)), ..self }
    }

    /// Whether every slow poll is an event for `tracing`: at level `WARN`, of target [`TARGET`](crate::events::TARGET), on the same
    /// thread, after the callback. [`events`](crate::events) has its fields. They go to the subscriber of the thread that
    /// installs the probe, if it has one of its own then; else to the process's, which may be set later. One that panics is
    /// counted with [`Snapshot::callback_panics`], one that blocks holds back what a callback would. Off unless asked for.
    #[cfg(feature = "tracing")]
    pub fn tracing(self, on: bool) -> ProbeBuilder {
        ProbeBuilder { events: on, ..self }
    }

    /// Where a line for every slow poll goes, at most five a minute, spawn site and function that blocked, each in one `write` and
    /// flushed. On the same thread. A line that cannot be written, or makes the writer panic, counts as suppressed. Where something stands in the way of
    /// seeing what slow polls do, one more line says why, once: see [`CaptureNote`](crate::CaptureNote).
    pub fn slow_poll_lines(self, writer: impl Write + Send + 'static) -> ProbeBuilder {
        ProbeBuilder { writer: Some(Box::new(writer)), ..self }
    }

    /// Whether paths are hidden in lines and evidence. A system call keeps its descriptor and its bytes; of a source file
    /// outside the folder that it was built in, its name stays, and of a crate's its path within the crate. Off unless asked for.
    /// [`SlowPoll::spawned_at`] is what the compiler made it: see [`redacted_source`](crate::redacted_source).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pollscope_probe::Probe;
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().redact_paths(true).slow_poll(Duration::from_millis(1)).install(&mut runtime)?;
    /// runtime.build()?.block_on(probe.watch(async { std::thread::sleep(Duration::from_millis(20)) }));
    /// assert!(probe.finish(Duration::from_secs(9)));
    /// let stack = &probe.snapshot().slow_polls[0].evidence.stack;
    /// assert!(stack.iter().filter_map(|frame| frame.file.as_deref()).all(|file| !file.starts_with('/')));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn redact_paths(self, on: bool) -> ProbeBuilder {
        ProbeBuilder { redact_paths: on, ..self }
    }

    /// Whether wake-to-poll times are recorded: [`Snapshot::schedule_latency`], and from them who waited for a slow poll
    /// ([`SlowPoll::blame`], [`Snapshot::ledger`]). They cost two more clock reads a poll, Tokio's own. On unless switched off; a
    /// build without `--cfg tokio_unstable` has none.
    ///
    /// ```
    /// # use pollscope_probe::Probe;
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().schedule_latency(false).install(&mut runtime)?;
    /// runtime.build()?.block_on(async { tokio::spawn(async {}).await })?;
    /// assert!(probe.snapshot().schedule_latency.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn schedule_latency(self, on: bool) -> ProbeBuilder {
        ProbeBuilder { schedule_latency: on, ..self }
    }

    /// Whether a watchdog thread looks at polls that are late while they still run: the blocking line, the system call, the
    /// cause; from the first late poll on, another names what it saw. On unless switched off. It is what installs a signal
    /// handler when a late poll is first found computing, and removes it soon after the last probe of the process was dropped.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pollscope_probe::Probe;
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().slow_poll(Duration::from_millis(5)).capture(false).install(&mut runtime)?;
    /// runtime.build()?.block_on(probe.watch(async { std::thread::sleep(Duration::from_millis(6)) }));
    /// let evidence = &probe.snapshot().slow_polls[0].evidence;
    /// assert_eq!((evidence.captures, evidence.cause, &evidence.blocking_line), (0, None, &None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "capture")]
    pub fn capture(self, on: bool) -> ProbeBuilder {
        ProbeBuilder { watchdog: on.then(|| self.watchdog.unwrap_or_default()), ..self }
    }

    /// A folder of your workspace as the compiler saw it, such as `env!("CARGO_MANIFEST_DIR")`: paths are shown from there on, and
    /// a blocking line in it is preferred over one in another crate. Without any, all code that Cargo did not fetch is yours. Each call
    /// adds one.
    #[cfg(feature = "capture")]
    pub fn source_root(mut self, folder: impl Into<std::path::PathBuf>) -> ProbeBuilder {
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.source_roots.push(folder.into());
        }
        self
    }

    /// Your own [`on_thread_park`](tokio::runtime::Builder::on_thread_park) callback: the probe takes the runtime's only place for one,
    /// and calls yours from there; also when the probe is off. A second call replaces the first, as with the runtime's builder.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    /// # use std::time::Duration;
    /// # use pollscope_probe::Probe;
    /// let parked = Arc::new(AtomicU32::new(0));
    /// let parks = Arc::clone(&parked);
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().on_thread_park(move || _ = parks.fetch_add(1, Relaxed)).install(&mut runtime)?;
    /// runtime.enable_time().build()?.block_on(async { tokio::time::sleep(Duration::from_millis(2)).await });
    /// assert!(parked.load(Relaxed) > 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_thread_park(mut self, f: impl Fn() + Send + Sync + 'static) -> ProbeBuilder {
        self.chained.park = Some(Box::new(f));
        self
    }

    /// Your own [`on_thread_unpark`](tokio::runtime::Builder::on_thread_unpark) callback, likewise.
    pub fn on_thread_unpark(mut self, f: impl Fn() + Send + Sync + 'static) -> ProbeBuilder {
        self.chained.unpark = Some(Box::new(f));
        self
    }

    /// Builds the runtime with the probe in it, runs the future on it, watched, and shuts both down: in place of `#[tokio::main]`,
    /// whose body is the future. It returns the future's output.
    ///
    /// As with `#[tokio::main]`, tasks that are still there are dropped, and what runs on the blocking pool is waited for. Then the
    /// last slow polls are delivered, as when the last handle of a [`Probe`] is dropped; also when the future panics. Where you need the [`Probe`], to name
    /// tasks or to read a [`Snapshot`], [`install`](ProbeBuilder::install) it, and drop the runtime before it.
    ///
    /// ```
    /// use pollscope_probe::ProbeBuilder;
    /// use tokio::runtime::Builder;
    ///
    /// async fn serve() -> u16 {
    ///     tokio::spawn(async { 8080 }).await.unwrap()
    /// }
    ///
    /// fn main() -> std::io::Result<()> {
    ///     let port = ProbeBuilder::from_env().run(Builder::new_multi_thread().enable_all(), serve())?;
    ///     assert_eq!(port, 8080);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`install`](ProbeBuilder::install), or when the runtime cannot be built. The future was not polled then.
    ///
    /// # Panics
    /// When the future does, and within a runtime, as [`block_on`](tokio::runtime::Runtime::block_on).
    #[track_caller]
    pub fn run<F: Future>(self, runtime: &mut tokio::runtime::Builder, future: F) -> io::Result<F::Output> {
        // In this order, the runtime is gone before the probe, whichever way this ends.
        let probe = self.install(runtime)?;
        let runtime = runtime.build()?;
        Ok(runtime.block_on(probe.watch(future)))
    }

    /// Installs the probe into a runtime that is about to be built. It takes the builder's places for
    /// `on_thread_park`, `on_thread_unpark`, `on_before_task_poll` and `on_after_task_poll`: a callback of yours belongs
    /// into this builder, and one set on the runtime's builder afterwards replaces the probe's. So does another probe: the one
    /// installed last measures, the other sees only what it watches. All runtimes that the builder then builds share the probe.
    ///
    /// # Errors
    /// When the threshold is 0, or a thread of the probe's own cannot be started.
    pub fn install(self, runtime: &mut tokio::runtime::Builder) -> Result<Probe, InstallError> {
        if !self.on {
            hooks::install_chained(runtime, self.chained);
            return Ok(Probe::off());
        }
        if self.slow_poll.is_zero() {
            return Err(InstallError::ZeroThreshold);
        }
        let threshold_ns = duration::to_ns(self.slow_poll);
        let mut shared = Shared::new(Clock::monotonic(), threshold_ns, self.keep_slow_polls);
        shared.redacted = self.redact_paths;
        shared.tracks_waits = TOKIO_UNSTABLE && self.schedule_latency;
        let shared = Arc::new(shared);
        let control = Arc::new(Control::default());
        let reporter = Reporter {
            shared: Arc::clone(&shared),
            callback: self.callback,
            #[cfg(feature = "tracing")]
            events: self.events.then(|| crate::events::Events::here(self.redact_paths)),
            writer: self.writer,
        };
        reporter.spawn(Arc::clone(&control)).map_err(InstallError::Thread)?;
        #[cfg(feature = "capture")]
        let watchdog = match self.watchdog {
            None => None,
            Some(options) => {
                let started = crate::watchdog::spawn(Arc::clone(&shared), Arc::clone(&control), options);
                Some(
                    started
                        .inspect_err(|_| _ = control.stop(LAST_LINES, Duration::ZERO))
                        .map_err(InstallError::Thread)?,
                )
            }
        };
        hooks::install(runtime, &shared, self.chained);
        let inner = Inner {
            shared,
            control,
            #[cfg(feature = "capture")]
            watchdog,
        };
        Ok(Probe { inner: Some(Arc::new(inner)) })
    }
}
