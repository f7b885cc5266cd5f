//! What the attributes `main` and `test` call. Nobody else is to: what is here may change with them.

use std::future::Future;
use std::io::{self, Write};
use std::time::Duration;

pub use tokio::runtime::Builder;

use crate::probe::{DEFAULT_SLOW_POLL, Probe, ProbeBuilder};
use crate::testing::assert_responsive_on;

/// Runs the body of a `main` as the environment says.
///
/// # Panics
/// When the runtime cannot be built, and when the body does.
#[track_caller]
pub fn main<F: Future>(mut runtime: Builder, threshold: Option<Duration>, body: F) -> F::Output {
    let mut builder = ProbeBuilder::from_env();
    if let Some(threshold) = threshold.filter(|_| std::env::var_os("POLLSCOPE_SLOW_POLL").is_none()) {
        builder = builder.slow_poll_threshold(threshold);
    }
    let probe = builder.install(runtime.enable_all()).unwrap_or_else(|error| {
        // The service goes on, and a closed stderr must not stop it.
        let _ = writeln!(io::stderr(), "WARN pollscope: {error}");
        Probe::off()
    });
    // In this order, the runtime is gone before the probe, whichever way this ends.
    let runtime = runtime.build().unwrap_or_else(|error| panic!("cannot build the runtime: {error}"));
    runtime.block_on(probe.watch(body))
}

/// Runs the body of a test.
///
/// # Panics
/// When a poll was slow, and when the body does.
#[track_caller]
pub fn test<F: Future>(runtime: Builder, threshold: Option<Duration>, body: F) -> F::Output {
    assert_responsive_on(runtime, threshold.unwrap_or(DEFAULT_SLOW_POLL), body)
}
