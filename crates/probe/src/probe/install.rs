//! From a builder to a runtime with a probe in it.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use pollscope_base::duration;
use pollscope_base::escape::Escaped;
use pollscope_base::reason;

use super::{Inner, LAST_LINES, Probe, ProbeBuilder};
use crate::clock::Clock;
use crate::env;
use crate::hooks;
use crate::other_runtimes::OtherRuntimes;
#[cfg(feature = "record")]
use crate::recorder::Outlets;
use crate::reporter::{Control, Reporter};
use crate::shared::Shared;
use crate::sources::Sources;
use crate::status::Status;
use crate::tokio_api::TOKIO_UNSTABLE;
use crate::watchdog;

/// Why a probe was not installed. The runtime's builder is as it was before.
#[derive(Debug)]
#[non_exhaustive]
pub enum InstallError {
    /// The threshold is 0: every poll would be slow. Give [`ProbeBuilder::slow_poll_threshold`] at least 1 ns.
    ZeroThreshold,
    /// A recording cannot be called what [`ProbeBuilder::label`](super::ProbeBuilder::label) was given.
    Label(String),
    /// A thread of the probe's own could not be started.
    Thread(io::Error),
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InstallError::ZeroThreshold => {
                f.write_str("cannot take `0` as the slow-poll threshold: every poll would be slow; give at least 1 ns")
            }
            InstallError::Label(label) => write!(f, "cannot call a recording `{}`: {}", Escaped(label), env::LABEL),
            InstallError::Thread(error) => write!(
                f,
                "cannot start a thread for the probe: {}; the runtime is not measured, raise the limit on threads",
                reason(error)
            ),
        }
    }
}

impl std::error::Error for InstallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            InstallError::ZeroThreshold | InstallError::Label(_) => None,
            InstallError::Thread(error) => Some(error),
        }
    }
}

/// For a `main` that returns [`io::Result`]: the kind is that of the thread's error, or [`io::ErrorKind::InvalidInput`].
impl From<InstallError> for io::Error {
    fn from(error: InstallError) -> io::Error {
        let kind = match &error {
            InstallError::ZeroThreshold | InstallError::Label(_) => io::ErrorKind::InvalidInput,
            InstallError::Thread(error) => error.kind(),
        };
        io::Error::new(kind, error)
    }
}

impl ProbeBuilder {
    /// Builds the runtime with the probe in it, runs the future on it, watched, and shuts both down: in place of `#[tokio::main]`,
    /// whose body is the future. It returns the future's output. For a future that gives a `Result` there is
    /// [`try_run`](ProbeBuilder::try_run), which has one error for both.
    ///
    /// As with `#[tokio::main]`, tasks that are still there are dropped, and what runs on the blocking pool is waited for. Then the
    /// last slow polls are delivered, as when the last handle of a [`Probe`] is dropped; also when the future panics. Where you need the [`Probe`], to name
    /// tasks or to read a [`Snapshot`](crate::Snapshot), [`install`](ProbeBuilder::install) it, and drop the runtime before it.
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

    /// The same as [`run`](ProbeBuilder::run) for a future that gives a `Result`: what the future returns is returned, and an error
    /// in the way of running it becomes one of the same type. Any error that can be made from an [`io::Error`] will do, such as
    /// `io::Error` itself, `Box<dyn Error>`, or one of your own.
    ///
    /// ```
    /// use std::error::Error;
    /// use pollscope_probe::{Probe, ProbeBuilder};
    /// use tokio::runtime::Builder;
    ///
    /// async fn serve(port: &str) -> Result<u16, Box<dyn Error>> {
    ///     Ok(port.parse()?)
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn Error>> {
    ///     let port = ProbeBuilder::from_env().try_run(&mut Builder::new_current_thread(), serve("8080"))?;
    ///     assert_eq!(port, 8080);
    ///     let its_own = Probe::builder().try_run(&mut Builder::new_current_thread(), serve("none")).unwrap_err();
    ///     assert!(its_own.is::<std::num::ParseIntError>());
    ///     let never = Probe::builder().slow_poll_threshold(std::time::Duration::ZERO);
    ///     let ours = never.try_run(&mut Builder::new_current_thread(), serve("8080")).unwrap_err();
    ///     assert!(ours.is::<std::io::Error>());
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// The future's, and those of [`run`](ProbeBuilder::run).
    ///
    /// # Panics
    /// As [`run`](ProbeBuilder::run).
    #[track_caller]
    pub fn try_run<F, T, E>(self, runtime: &mut tokio::runtime::Builder, future: F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: From<io::Error>,
    {
        self.run(runtime, future)?
    }

    /// Installs the probe into a runtime that is about to be built. It takes the builder's places for
    /// `on_thread_park`, `on_thread_unpark`, `on_before_task_poll` and `on_after_task_poll`: a callback of yours belongs
    /// into this builder, and one set on the runtime's builder afterwards replaces the probe's. So does another probe: the one
    /// installed last measures, the other sees only what it watches. All runtimes that the builder then builds share the probe.
    ///
    /// # Errors
    /// When the threshold is 0, a recording cannot be called what the builder says, or a thread of the probe's own cannot be started.
    pub fn install(self, runtime: &mut tokio::runtime::Builder) -> Result<Probe, InstallError> {
        if !self.on {
            hooks::install_chained(runtime, self.chained);
            return Ok(Probe::off());
        }
        if self.slow_poll_threshold.is_zero() {
            return Err(InstallError::ZeroThreshold);
        }
        #[cfg(feature = "record")]
        if let Some(label) = self.label.as_ref().filter(|label| !pollscope_record::recording::is_label(label)) {
            return Err(InstallError::Label(label.clone()));
        }
        let threshold_ns = duration::to_ns(self.slow_poll_threshold);
        let mut shared = Shared::new(Clock::monotonic(), threshold_ns, self.keep_slow_polls);
        shared.redacted = self.redact_paths;
        #[cfg(feature = "record")]
        {
            shared.label.clone_from(&self.label);
        }
        let roots = self.watchdog.as_ref().map_or(Vec::new(), watchdog::source_roots);
        shared.sources = Arc::new(Sources::new(roots, self.redact_paths));
        shared.tracks_waits = TOKIO_UNSTABLE && self.schedule_latency;
        let shared = Arc::new(shared);
        let control = Arc::new(Control::default());
        let looks = watchdog::looks(self.watchdog.as_ref());
        let is_whole = cfg!(feature = "whole-process") && self.whole_process;
        #[cfg(feature = "record")]
        let recorder = self.outlets(&shared).map_err(InstallError::Thread)?;
        let says_status = self.status_lines.unwrap_or(self.has_lines_of_env);
        let reporter = Reporter {
            shared: Arc::clone(&shared),
            callback: self.callback,
            on_stall: self.on_stall,
            #[cfg(feature = "tracing")]
            events: self.events.then(|| crate::events::Events::here(Arc::clone(&shared.sources))),
            #[cfg(feature = "metrics")]
            facade: self.metrics.then(|| Box::new(crate::facade::Facade::new())),
            #[cfg(feature = "record")]
            recorder,
            writer: self.writer,
            // Where all threads are looked at, they need not be found.
            other_runtimes: (looks.is_ok() && !is_whole).then(OtherRuntimes::default),
            status: says_status.then(|| Status::new(looks)),
        };
        reporter.spawn(Arc::clone(&control)).map_err(InstallError::Thread)?;
        let start = |options| watchdog::spawn(Arc::clone(&shared), Arc::clone(&control), options);
        let watchdog = self.watchdog.map(start).transpose().map_err(|error| {
            control.stop(LAST_LINES, Duration::ZERO);
            InstallError::Thread(error)
        })?;
        hooks::install(runtime, &shared, self.chained);
        control.installed();
        let inner = Inner { shared, control, watchdog };
        Ok(Probe { inner: Some(Arc::new(inner)) })
    }

    /// Starts what records and listens, if anything is to.
    #[cfg(feature = "record")]
    fn outlets(&self, shared: &Arc<Shared>) -> io::Result<Option<Outlets>> {
        let outlets = Outlets::spawn(shared, self.record.clone(), self.listen.as_ref())?;
        #[cfg(feature = "whole-process")]
        if self.whole_process {
            return Ok(Some(Outlets::with_others(outlets, shared, self.watchdog.as_ref())));
        }
        Ok(outlets)
    }
}
