//! Injects one stall, in a separate runtime with a probe.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pollscope_base::Held;
use pollscope_base::duration::to_ns;
use pollscope_base::reason;
use pollscope_probe::{Probe, SlowPoll};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use super::stalls::{Blocker, LENGTH};
use super::{Injection, Sighting, Stall};
use crate::scenario::Flavor;

/// The slow-poll threshold: a sixth of a stall, so that the probe looks at it three times.
const THRESHOLD: Duration = Duration::from_millis(20);
/// How long to wait for what the probe saw of a slow poll: longer than the probe waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Injects a stall; returns what was injected and what the probe saw of it.
///
/// # Errors
/// When the stall or the runtime cannot be made: the reason.
pub(super) fn inject(stall: Stall, flavor: Flavor) -> Result<(Injection, Option<Sighting>), String> {
    let mut builder = match flavor {
        Flavor::CurrentThread => Builder::new_current_thread(),
        Flavor::MultiThread => Builder::new_multi_thread(),
    };
    if flavor == Flavor::MultiThread {
        builder.worker_threads(2);
    }
    let probe = Probe::builder().slow_poll_threshold(THRESHOLD).source_root(env!("CARGO_MANIFEST_DIR"));
    let probe = probe.install(&mut builder).map_err(|error| error.to_string())?;
    let runtime = builder.build().map_err(|error| format!("cannot build a runtime: {}", reason(error)))?;
    let block = stall.prepare()?;
    let injected = run(stall, &runtime, &probe, block);
    drop(runtime);
    let injected = injected.ok_or("the stall did not end")?;
    // The runtime's end was the end of all its polls: each is told with what was seen of it, or why nothing was.
    probe.flush(PATIENCE);
    let snapshot = probe.snapshot();
    let longest = snapshot.slow_polls.iter().max_by_key(|slow| slow.duration);
    Ok((injected, longest.filter(|slow| slow.duration >= LENGTH / 2).map(seen)))
}

fn run(stall: Stall, runtime: &Runtime, probe: &Probe, block: Blocker) -> Option<Injection> {
    let made = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&made);
    let blocks = async move {
        let injected = block();
        *keep.lock().unwrap_or_else(PoisonError::into_inner) = Some(injected);
    };
    match stall {
        Stall::Root => runtime.block_on(probe.watch(blocks)),
        Stall::UnwatchedRoot => runtime.block_on(blocks),
        Stall::LocalSet => LocalSet::new().block_on(runtime, local(probe.watch(blocks))),
        Stall::UnwatchedLocal => LocalSet::new().block_on(runtime, local(blocks)),
        // Spawned from outside, so that the scheduler polls it, not the thread that waits for it.
        Stall::UnwatchedTask => _ = runtime.block_on(runtime.spawn(blocks)),
        _ => _ = runtime.block_on(async { probe.spawn(stall.name(), blocks).await }),
    }
    made.lock().unwrap_or_else(PoisonError::into_inner).take()
}

async fn local(blocks: impl Future<Output = ()> + 'static) {
    let _ = tokio::task::spawn_local(blocks).await;
}

fn seen(slow: &SlowPoll) -> Sighting {
    let evidence = &slow.evidence;
    let holder = evidence.lock.as_ref().and_then(|lock| match &lock.held {
        Held::By(holder) => Some(holder.thread.clone()),
        Held::Unknown(_) => None,
    });
    Sighting {
        ns: to_ns(slow.duration),
        cause: evidence.cause,
        line: evidence.blocking_line.clone(),
        holder,
        captures: evidence.captures,
        looked_after_ns: evidence.captured_after.and_then(|after| after.checked_sub(THRESHOLD)).map(to_ns),
        stack_complete: evidence.stack_complete,
        cpu_ns: evidence.cpu_time.map(to_ns),
        late: evidence.missing.map(|missing| missing.to_string()),
    }
}
