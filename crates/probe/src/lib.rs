//! Measures every task poll of a Tokio runtime: how long it lasted, how long the task had waited for it, where the
//! task was spawned; and reports the slow ones, as asyncio's debug mode does.
//!
//! ```toml
//! [dependencies]
//! pollscope-probe = "0.1"
//! tokio = { version = "1.54", features = ["rt-multi-thread"] }
//! ```
//!
//! | feature | what it adds | crates that it adds |
//! |---|---|---|
//! | `capture`, on by default | the blocking line of a slow poll, its system call and its cause, on Linux on x86-64 | pollscope-stacks and what that needs |
//! | `macros`, on by default | the attributes [`macro@main`] and [`macro@test`], in place of Tokio's | pollscope-macros, for the compiler alone |
//! | `metrics` | what snapshots have, for a recorder of the facade `metrics` | metrics |
//! | `record` | [a recording](ProbeBuilder::record) in a file that grows, for `pollscope report` and `compare`; and [on a socket](ProbeBuilder::listen), for `pollscope top` | pollscope-record, rustix and what those need |
//! | `serde` | snapshots can be serialised, and most of what is in them read back | serde |
//! | `span` | `SpanLayer`: the span of `tracing` that a slow poll was in | tracing-core, tracing-subscriber and what its registry needs |
//! | `task-names` | names of tasks in tokio-console; turns on Tokio's feature `tracing`, for everything linked with it | tracing |
//! | `tower` | `RequestLayer`: the request that a slow poll was of, for services without spans | http, tower-layer, tower-service |
//! | `tracing` | slow polls as events; does not turn on Tokio's feature of that name | tracing |
//! | `whole-process` | `ProbeBuilder::whole_process`: all other threads of the process, sampled, in the same recording | pollscope-attach, and those of `record` |
//!
//! Without any it depends on tokio, pin-project-lite and pollscope-base alone.
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
//!     .slow_poll_threshold(Duration::from_millis(20))
//!     .log_to(std::io::stderr())
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
//! [watched](Probe::watch), each worker's busy stretches, and what blocks a worker for long; [`Coverage`] says which. Durations are exact on every machine; where
//! something stands in the way of seeing what a slow poll did, it is `None`, and a [`CaptureNote`] says why, once.
//!
//! [`macro@main`] in place of `#[tokio::main]` does all of the above. Where you build the runtime, [`ProbeBuilder::run`] does it in one call, and so does [`ProbeBuilder::try_run`] for
//! a `main` that returns a `Result`. [`Probe`] says what ends when. [`Probe::snapshot`] and [`Probe::intervals`] give everything as
//! plain data, in which times are [`Duration`](std::time::Duration)s; [`Probe::serve_prometheus`] serves it to Prometheus.
//!
//! With `SpanLayer` or `RequestLayer` a slow poll says whose request it was.
//!
//! In your own tests, [`testing`] fails a future that holds up its loop.
//!
//! Memory is bounded: a thread that polls takes 0.8 MB for its histograms, and 37 kB for each of at most 257 rows of
//! spawn sites. It is not a profiler. Of the blocking pool it sees how full it is, not the
//! closures.

#![cfg_attr(docsrs, feature(doc_cfg))]
// What only a watchdog calls is there without one, too.
#![cfg_attr(not(feature = "capture"), allow(dead_code, unused_imports))]

/// What the README shows compiles and runs.
#[cfg(all(doctest, feature = "capture", feature = "macros"))]
#[doc = include_str!("../README.md")]
struct Readme;

// Whether this build looks at threads is decided here alone: without the feature `capture`, a watchdog and its alarm that do
// nothing are in their place.
#[cfg(feature = "capture")]
mod alarm;
#[cfg(not(feature = "capture"))]
#[path = "without_capture/alarm.rs"]
mod alarm;
mod blame;
mod blocking_pool;
mod capture_limits;
mod clock;
mod coverage;
mod env;
#[cfg(feature = "tracing")]
pub mod events;
#[cfg(feature = "metrics")]
mod facade;
mod histogram;
mod hooks;
mod journal;
mod late_stretches;
mod ledger;
mod lines;
mod location;
#[cfg(feature = "macros")]
#[doc(hidden)]
pub mod macros;
mod metrics_server;
mod names;
#[cfg(feature = "capture")]
mod other_runtimes;
#[cfg(not(feature = "capture"))]
#[path = "without_capture/other_runtimes.rs"]
mod other_runtimes;
mod overflows;
mod polling;
mod probe;
mod prometheus;
#[cfg(feature = "record")]
mod recorder;
mod reporter;
#[cfg(feature = "tower")]
mod request_layer;
mod ring;
mod shared;
mod site;
mod snapshot;
mod sources;
#[cfg(feature = "span")]
mod span_layer;
// Likewise: without the features that keep spans, spans of which there is none are in their place.
#[cfg(any(feature = "span", feature = "tower"))]
mod spans;
#[cfg(not(any(feature = "span", feature = "tower")))]
#[path = "without_spans.rs"]
mod spans;
mod stalls;
mod status;
mod stretches;
mod sync;
pub mod testing;
mod thread;
mod tokio_api;
mod watch;
#[cfg(feature = "capture")]
mod watchdog;
#[cfg(not(feature = "capture"))]
#[path = "without_capture/watchdog.rs"]
mod watchdog;
mod worker;

#[cfg(feature = "capture")]
use pollscope_stacks::symbolize::shorten;

/// Without evidence there is nothing that a spawn site is to look like.
#[cfg(not(feature = "capture"))]
fn shorten<'a>(file: &'a str, _roots: &[std::path::PathBuf]) -> &'a str {
    file
}

/// For pollscope's own lab, and without any promise: what it shares with the probe that no other crate can hold.
///
/// The histogram's atomics are loom's in the probe's models, which only the probe's own test build can decide; and only this crate
/// knows whether Tokio shows its queues, which a probe cannot ask by itself: it has no handle of its runtime, as that would keep
/// the runtime alive.
#[doc(hidden)]
pub mod internal {
    pub use crate::histogram::{Reader, Writer, pair};
    pub use crate::tokio_api::queued_on_workers;
}

pub use clock::ClockSource;
pub use metrics_server::{MetricsServer, ServeError};
#[doc(inline)]
pub use pollscope_base::{
    Blame, Bucket, Call, CaptureNote, Cause, Charge, Coverage, Distribution, Evidence, Frame as StackFrame, Held,
    Holder, HolderUnknown, Ledger, Lines, LockWait, Missing, Place, Quota, Shortfall, Source, Span, Waited,
};
#[cfg(feature = "macros")]
pub use pollscope_macros::{main, test};
pub use probe::{
    DEFAULT_KEPT_SLOW_POLLS, DEFAULT_SLOW_POLL, InstallError, Intervals, Probe, ProbeBuilder, ThresholdError,
};
#[cfg(feature = "record")]
pub use recorder::{interval_of, record_of};
#[cfg(feature = "tower")]
pub use request_layer::{RequestFuture, RequestLayer, Requested};
pub use snapshot::{BlockingPool, LateStretch, Polling, Runtime, Site, SlowPoll, Snapshot};
#[cfg(feature = "span")]
pub use span_layer::SpanLayer;
pub use tokio_api::TOKIO_UNSTABLE;
pub use watch::Watch;
pub use watchdog::CAPTURE;
