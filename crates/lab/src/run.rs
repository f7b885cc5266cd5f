//! Makes a recording of a scenario: the workload runs on a runtime with a thread of its own, and this watches it from outside.
//!
//! Everything that collects runs on the caller's thread. So the caller can report even while the loop is stuck in a system call.

mod assemble;
mod collect;
mod on_loop;
mod setup;
mod supervisor;

use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use pollscope_base::reason;
use pollscope_probe::{InstallError, Probe};
use tokio::runtime::Builder;
use tokio::sync::watch;

use crate::cost::Cost;
use crate::pipeline::input::Event;
use crate::pipeline::merge::PreflightError;
use crate::pipeline::sink::{Mode, SinkError};
use crate::scenario::{Flavor, RuntimeSettings, Settings, Workload};
use crate::shutdown::{Phase, Shutdown};
use crate::spawner::Spawner;
use collect::Collector;
use on_loop::LoopThread;
use pollscope_record::recording::{Run, Verdict};
use setup::Setup;
use supervisor::Supervisor;

/// The name of the thread on which a run's root future is polled.
pub const LOOP_THREAD: &str = "loop";

/// How many slow polls a run lists; it counts the others.
const KEPT_SLOW_POLLS: usize = 10_000;
/// How long to wait for what is still being found out about the last slow polls, and until their lines are written. A program's
/// first names take long on a busy machine, and a run can be over by then.
const LAST_EVIDENCE: Duration = Duration::from_secs(6);
/// The same after a workload that was abandoned: the report is wanted at once.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Why a run failed without a report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The merge refused the inputs or the output, and wrote nothing.
    #[error("{0}")]
    Preflight(#[source] PreflightError),
    /// The output could not be opened.
    #[error("{0}")]
    Output(#[source] SinkError),
    /// The probe could not be installed.
    #[error("{0}")]
    Install(#[source] InstallError),
    /// The system refused something that the run needs.
    #[error("cannot {operation}: {}; {}", reason(.error), way_out(.error))]
    Io {
        /// What was tried.
        operation: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The workload panicked.
    #[error("the workload panicked; its message is above")]
    Panicked,
}

fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => "free some space, or name another folder for temporary files with TMPDIR",
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "name a folder for temporary files with TMPDIR that this user can write to"
        }
        io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => "raise the limits (`ulimit -a`), or run less at once",
        _ => "try again; if it stays, look at the limits (`ulimit -a`)",
    }
}

fn io_error(operation: impl Into<String>) -> impl FnOnce(io::Error) -> RunError {
    let operation = operation.into();
    move |error| RunError::Io { operation, error }
}

/// The state of a run while it runs.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// The time since the run's start.
    pub elapsed: Duration,
    /// Slow polls so far.
    pub slow_polls: u64,
}

/// Follows a run as it goes on.
pub trait Observer {
    /// A run begins.
    fn begin(&mut self, mode: Mode, round: u32);
    /// A warm-up run begins; `round` counts warm-up rounds from 1. Its slow-poll lines go nowhere.
    fn begin_warmup(&mut self, mode: Mode, round: u32);
    /// A warm-up run had errors, or its merge is not confirmed.
    fn warmup_failed(&mut self, run: &Run);
    /// The writer that slow-poll lines go to.
    fn slow_poll_lines(&mut self) -> Box<dyn io::Write + Send>;
    /// Whether to hide paths, in those lines and in the run.
    fn redacts(&self) -> bool {
        false
    }
    /// The probe of a run measures from now on, until [`Observer::end_measuring`].
    fn begin_measuring(&mut self, _probe: &Probe) {}
    /// The run's probe measures no more.
    fn end_measuring(&mut self) {}
    /// Something happened to an input.
    fn input_event(&mut self, _event: &Event) {}
    /// The run goes on; called about every 20 ms.
    fn progress(&mut self, progress: Progress);
}

/// Runs every mode in every round, the rounds interleaved, until all are done or `shutdown` asks to stop. Warm-up rounds come first;
/// no result includes them.
///
/// # Errors
/// At the first run that fails without a report. Its error discards the runs before it: alone they answer another question.
pub fn run_all(settings: &Settings, shutdown: &Shutdown, observer: &mut dyn Observer) -> Result<Vec<Run>, RunError> {
    for round in 1..=settings.warmup {
        for &mode in &settings.modes {
            if shutdown.phase() != Phase::Run {
                return Ok(Vec::new());
            }
            observer.begin_warmup(mode, round);
            let run = run_once(settings, mode, 0, shutdown, &mut WarmupObserver(observer))?;
            let is_confirmed = run.merge.as_ref().is_none_or(|merge| merge.verdict == Verdict::Ok);
            if shutdown.phase() == Phase::Run && (!is_confirmed || !run.errors.is_empty()) {
                observer.warmup_failed(&run);
            }
        }
    }
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

/// Passes everything on but slow-poll lines: nothing in them says that they are of a warm-up run.
struct WarmupObserver<'o>(&'o mut dyn Observer);

impl Observer for WarmupObserver<'_> {
    fn begin(&mut self, mode: Mode, round: u32) {
        self.0.begin(mode, round);
    }

    fn begin_warmup(&mut self, mode: Mode, round: u32) {
        self.0.begin_warmup(mode, round);
    }

    fn warmup_failed(&mut self, run: &Run) {
        self.0.warmup_failed(run);
    }

    fn slow_poll_lines(&mut self) -> Box<dyn io::Write + Send> {
        Box::new(io::sink())
    }

    fn redacts(&self) -> bool {
        self.0.redacts()
    }

    fn begin_measuring(&mut self, probe: &Probe) {
        self.0.begin_measuring(probe);
    }

    fn end_measuring(&mut self) {
        self.0.end_measuring();
    }

    fn input_event(&mut self, event: &Event) {
        self.0.input_event(event);
    }

    fn progress(&mut self, progress: Progress) {
        self.0.progress(progress);
    }
}

/// Runs one mode once. Blocking.
///
/// # Errors
/// When there is nothing to report: the merge refused the inputs or the output, or the machine lacks what the run needs.
pub fn run_once(
    settings: &Settings,
    mode: Mode,
    round: u32,
    shutdown: &Shutdown,
    observer: &mut dyn Observer,
) -> Result<Run, RunError> {
    let Setup { work, surroundings } = Setup::new(settings)?;
    let mut runtime = runtime_builder(settings.runtime);
    let (started_at, origin) = (SystemTime::now(), Instant::now());
    let probe = Probe::builder()
        .slow_poll_threshold(settings.slow_poll)
        .keep_slow_polls(KEPT_SLOW_POLLS)
        .source_root(source_root())
        .redact_paths(observer.redacts())
        .log_to(observer.slow_poll_lines())
        .listen_as_env()
        .install(&mut runtime)
        .map_err(RunError::Install)?;
    observer.begin_measuring(&probe);
    let spawner = Spawner::measured_by(&probe);
    let meter = spawner.meter().clone();
    runtime.on_thread_stop({
        let meter = meter.clone();
        move || meter.thread_ends()
    });
    let (ends_on_loop, witnesses) = on_loop::witnesses(settings)?;
    // Before the loop's first poll, so that the intervals add up to the whole.
    let collector = Collector::new(settings.sample_every, origin, probe.clone(), witnesses.lag.clone());
    let (close, closed) = watch::channel(false);
    let (events, received) = mpsc::channel();
    let on_loop =
        LoopThread { probe: probe.clone(), spawner, work, mode, closed, origin, witnesses: ends_on_loop, events };
    // Never joined: a join would wait for a system call that does not return. `Finished` says as much.
    let spawned = thread::Builder::new().name(LOOP_THREAD.to_owned()).spawn(move || on_loop.run(runtime));
    spawned.map_err(io_error("start the thread `loop`"))?;

    let mut supervisor = Supervisor::start(witnesses, surroundings, collector, close, origin)?;
    let outcome = supervisor.until_finished(&received, shutdown, observer)?;
    // Only threads that have ended report what they used: all of them, unless the workload was abandoned.
    let usage = if outcome.is_some() { meter.read().usage } else { None };
    let cost = Cost { usage, ..meter.read() };
    probe.flush(if outcome.is_some() { LAST_EVIDENCE } else { LAST_LINES });
    observer.end_measuring();
    let ended = supervisor.end(outcome, shutdown)?;
    let interrupted = match ended.abandoned {
        Some(what) => Some(format!("asked to report at once: {what} was abandoned")),
        // What is followed has no other end.
        None if shutdown.phase() == Phase::Run || follows(settings) && !ended.is_cut_short => None,
        None => Some("asked to stop: what was accepted was finished and confirmed".to_owned()),
    };
    Ok(assemble::run(settings, mode, round, started_at, interrupted, ended, cost))
}

/// Whether the run goes on until it is asked to stop.
fn follows(settings: &Settings) -> bool {
    matches!(&settings.workload, Workload::Files(files) if files.follow)
}

/// The folder that this crate's places are relative to: the compiler gets paths that begin at the workspace.
fn source_root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package)
}

fn runtime_builder(settings: RuntimeSettings) -> Builder {
    let mut builder = match settings.flavor {
        Flavor::CurrentThread => Builder::new_current_thread(),
        Flavor::MultiThread => Builder::new_multi_thread(),
    };
    if settings.flavor == Flavor::MultiThread {
        builder.worker_threads(settings.workers);
    }
    builder.enable_io().enable_time();
    builder
}
