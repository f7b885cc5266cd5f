//! Measures every task poll of a Tokio runtime: how long it lasted, how long the task had waited for it, where the
//! task was spawned; and reports the slow ones, as asyncio's debug mode does.
//!
//! You provide a runtime builder, a threshold and, if you like, a callback or a writer for lines.
//! The probe does the rest on the poll's own thread with a clock read, a few plain stores and no lock, allocation or
//! system call after a spawn site's first poll; whatever reads, prints or calls you runs on a thread of its own.
//!
//! ```
//! use std::time::Duration;
//! use pollscope_probe::Probe;
//!
//! let mut runtime = tokio::runtime::Builder::new_current_thread();
//! let probe = Probe::builder()
//!     .slow_poll(Duration::from_millis(20))
//!     .slow_poll_lines(std::io::stderr())
//!     .install(&mut runtime)?;
//! let runtime = runtime.build()?;
//! runtime.block_on(probe.watch(async {
//!     let task = probe.spawn("sleeper", async { std::thread::sleep(Duration::from_millis(30)) });
//!     task.await.unwrap();
//! }));
//! drop(runtime);
//! // stderr: WARN slow poll: Executing <Task 1 sleeper, spawned at src/main.rs:8, worker 0> took 0.030 seconds
//! assert_eq!(probe.snapshot().slow_polls[0].task_name.as_deref(), Some("sleeper"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! With `--cfg tokio_unstable` it sees every poll of every spawned task. Without, it sees the futures that are
//! [watched](Probe::watch) and each worker's busy stretches; [`Coverage`] says which. Durations are exact on every machine; where
//! something stands in the way of seeing what a slow poll did, it is `None`, and a [`CaptureNote`] says why, once.
//!
//! In place of `#[tokio::main]`, [`ProbeBuilder::run`] does all of the above in one call. [`Probe`] says what ends when.
//! [`Probe::serve_prometheus`] serves it all to Prometheus.
//!
//! In your own tests, [`testing`] fails a future that holds up its loop.
//!
//! Memory is bounded: a thread that polls takes 0.8 MB for its histograms, and 37 kB for each of at most 257 rows of
//! spawn sites. It is not a profiler, and it does not see closures on the blocking pool.

#![cfg_attr(docsrs, feature(doc_cfg))]

/// What the README shows compiles and runs.
#[cfg(all(doctest, feature = "capture"))]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(feature = "capture")]
mod alarm;
mod blame;
mod capture_limits;
mod clock;
mod coverage;
mod env;
#[cfg(feature = "tracing")]
pub mod events;
pub mod histogram;
mod hooks;
mod journal;
mod ledger;
mod lines;
mod location;
mod metrics_server;
mod names;
mod polling;
mod probe;
mod prometheus;
mod reporter;
mod ring;
mod shared;
mod site;
mod snapshot;
mod sync;
pub mod testing;
mod thread;
mod tokio_api;
mod watch;
#[cfg(feature = "capture")]
mod watchdog;
mod worker;

/// Whether this build can look at the thread of a late poll, for the cause, the system call and the line: with the feature
/// `capture`, on Linux on x86-64. Durations, spawn sites and who waited are exact without.
#[cfg(feature = "capture")]
pub const CAPTURE: bool = pollscope_stacks::SUPPORTED;
/// Whether this build can look at the thread of a late poll: not without the feature `capture`.
#[cfg(not(feature = "capture"))]
pub const CAPTURE: bool = false;

/// Durations as people type them.
pub mod duration {
    #[doc(inline)]
    pub use pollscope_base::duration::parse;
}

/// Names from outside, made safe to show.
pub mod escape {
    #[doc(inline)]
    pub use pollscope_base::escape::escape;
}

pub use clock::ClockSource;
pub use metrics_server::{MetricsServer, ServeError};
#[doc(inline)]
pub use pollscope_base::redact::redacted_source;
#[doc(inline)]
pub use pollscope_base::{
    Blame, Bucket, Call, CaptureNote, Cause, Charge, Coverage, Distribution, Evidence, Frame as StackFrame, Ledger,
    Lines, Missing, Shortfall, Source, Waited,
};
pub use probe::{DEFAULT_KEPT_SLOW_POLLS, DEFAULT_SLOW_POLL, InstallError, Probe, ProbeBuilder, ThresholdError};
pub use snapshot::{Polling, Site, SlowPoll, Snapshot};
pub use tokio_api::{TOKIO_UNSTABLE, queued_on_workers};
pub use watch::Watch;
