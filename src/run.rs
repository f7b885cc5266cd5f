//! A scenario becomes a recording: the workload on a runtime of its own thread, watched from outside.
//!
//! The measured loop runs on a thread of its own. Everything that collects runs on the caller's thread, which can therefore
//! still report when the loop is stuck in a system call.

mod assemble;
mod collect;
mod on_loop;
mod prepare;
mod watching;

use std::fmt;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use pollscope_probe::{InstallError, Probe};
use tokio::runtime::Builder;
use tokio::sync::watch;

use crate::pipeline::merge::PreflightError;
use crate::pipeline::sink::{Mode, SinkError};
use crate::recording::Run;
use crate::scenario::{Flavor, RuntimeSettings, Settings};
use crate::shutdown::{Phase, Shutdown};
use collect::Collector;
use on_loop::OnLoop;
use prepare::Prepared;
use watching::Watching;

/// Slow polls listed a run; those beyond are counted.
const KEPT_SLOW_POLLS: usize = 10_000;
/// How long the last slow-poll lines may take to be written.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Why there is no run to report.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The inputs or the output were refused before anything was written.
    Preflight(PreflightError),
    /// The output could not be opened.
    Output(SinkError),
    /// The probe could not be installed.
    Install(InstallError),
    /// Something that the run needs could not be had.
    Io {
        /// What was tried.
        operation: String,
        /// What the system said.
        error: io::Error,
    },
    /// The workload panicked.
    Panicked,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Preflight(error) => error.fmt(f),
            RunError::Output(error) => error.fmt(f),
            RunError::Install(error) => error.fmt(f),
            RunError::Io { operation, error } => write!(f, "cannot {operation}: {error}"),
            RunError::Panicked => f.write_str("the workload panicked; its message is above"),
        }
    }
}

impl std::error::Error for RunError {}

fn io_error(operation: impl Into<String>) -> impl FnOnce(io::Error) -> RunError {
    let operation = operation.into();
    move |error| RunError::Io { operation, error }
}

/// What a run looks like from outside while it runs.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Since the run's start.
    pub elapsed: Duration,
    /// Slow polls so far.
    pub slow_polls: u64,
}

/// Who is told what while a run goes on.
pub trait Observer {
    /// A run begins.
    fn begin(&mut self, mode: Mode, round: u32);
    /// Where slow-poll lines go.
    fn slow_poll_lines(&mut self) -> Box<dyn io::Write + Send>;
    /// Whether paths are hidden, in those lines and in the run.
    fn redacts(&self) -> bool {
        false
    }
    /// Called about every 20 ms.
    fn progress(&mut self, progress: Progress);
}

/// Runs every mode in every round, the rounds interleaved, until done or asked to stop.
///
/// # Errors
/// At the first run that could not be made at all. The runs before it are lost with it, as they answer another question.
pub fn run_all(settings: &Settings, shutdown: &Shutdown, observer: &mut dyn Observer) -> Result<Vec<Run>, RunError> {
    let mut runs = Vec::new();
    for round in 1..=settings.rounds {
        for &mode in &settings.modes {
            if shutdown.phase() != Phase::Run {
                return Ok(runs);
            }
            observer.begin(mode, round);
            runs.push(run_once(settings, mode, round, shutdown, observer)?);
        }
    }
    Ok(runs)
}

/// Runs one mode once. Blocking.
///
/// # Errors
/// When there is nothing to report: the inputs or the output were refused, or the machine lacks what the run needs.
pub fn run_once(
    settings: &Settings,
    mode: Mode,
    round: u32,
    shutdown: &Shutdown,
    observer: &mut dyn Observer,
) -> Result<Run, RunError> {
    let Prepared { work, outside } = Prepared::make(settings)?;
    let mut runtime = runtime_builder(settings.runtime);
    let (started_at, origin) = (SystemTime::now(), Instant::now());
    let probe = Probe::builder()
        .slow_poll(settings.slow_poll)
        .keep_slow_polls(KEPT_SLOW_POLLS)
        .source_root(env!("CARGO_MANIFEST_DIR"))
        .redact_paths(observer.redacts())
        .slow_poll_lines(observer.slow_poll_lines())
        .install(&mut runtime)
        .map_err(RunError::Install)?;
    let (ends_on_loop, witnesses) = on_loop::witnesses(settings)?;
    // Before the loop's first poll, so that the intervals add up to the whole.
    let collector = Collector::new(settings.sample_every, origin, probe.clone(), witnesses.lag.clone());
    let (close, closed) = watch::channel(false);
    let (events, received) = mpsc::channel();
    let on_loop = OnLoop { probe: probe.clone(), work, mode, closed, origin, witnesses: ends_on_loop, events };
    // Never joined: a thread that is stuck in a system call cannot be. Its `Finished` is as good.
    let spawned = thread::Builder::new().name("loop".to_owned()).spawn(move || on_loop.run(runtime));
    spawned.map_err(io_error("start the thread `loop`"))?;

    let mut watching = Watching::start(witnesses, outside, collector, close, origin)?;
    let outcome = watching.until_finished(&received, shutdown, observer)?;
    probe.finish(LAST_LINES);
    let ended = watching.end(outcome, shutdown)?;
    let interrupted = match (shutdown.phase(), ended.abandoned) {
        (_, Some(what)) => Some(format!("asked to report at once: {what} was abandoned")),
        (Phase::Run, None) => None,
        (_, None) => Some("asked to stop: what was accepted was finished and confirmed".to_owned()),
    };
    Ok(assemble::run(settings, mode, round, started_at, interrupted, ended))
}

fn runtime_builder(settings: RuntimeSettings) -> Builder {
    let mut builder = match settings.flavor {
        Flavor::CurrentThread => Builder::new_current_thread(),
        Flavor::MultiThread => Builder::new_multi_thread(),
    };
    if settings.flavor == Flavor::MultiThread {
        builder.worker_threads(settings.workers);
    }
    builder.enable_all();
    builder
}
