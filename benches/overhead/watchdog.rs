//! Measures what the probe's own threads cost while nothing is slow: the CPU time that the kernel counts for them, as a part of one core.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use pollscope_probe::{Probe, ProbeBuilder};
use tokio::runtime::Builder;
use tokio::task::yield_now;

use crate::common::is_measuring;

/// The number of tasks that keep a runtime busy.
const TASKS: usize = 100;

/// CPU time in nanoseconds of each of the probe's threads, by name; `None` if the kernel does not say.
fn cpu_ns() -> Option<BTreeMap<String, u64>> {
    let mut threads = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").ok()?.flatten() {
        // A thread that ended meanwhile is not one of the probe's.
        let Ok(name) = fs::read_to_string(task.path().join("comm")) else { continue };
        if name.starts_with("pollscope-") {
            let schedule = fs::read_to_string(task.path().join("schedstat")).ok()?;
            *threads.entry(name.trim().to_owned()).or_default() += schedule.split(' ').next()?.parse::<u64>().ok()?;
        }
    }
    Some(threads)
}

/// Keeps a measured runtime idle or busy for `length`; returns each thread's part of one core during that time.
pub(crate) fn measure(
    workers: usize,
    is_busy: bool,
    length: Duration,
    probe: ProbeBuilder,
) -> Option<BTreeMap<String, f64>> {
    let mut builder = if workers == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let probe = probe.install(builder.worker_threads(workers)).expect("the default threshold is not 0");
    let runtime = builder.enable_time().build().expect("a runtime can be built");
    let (before, start, after) = runtime.block_on(async {
        // Every worker polls, and so is looked at.
        let warm: Vec<_> = (0..TASKS).map(|_| tokio::spawn(tokio::time::sleep(Duration::from_millis(1)))).collect();
        for task in warm {
            task.await.expect("sleeping does not panic");
        }
        tokio::time::sleep(length / 10).await;
        let stop = Arc::new(AtomicBool::new(!is_busy));
        let tasks = (0..TASKS).map(|_| {
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                while !stop.load(Relaxed) {
                    yield_now().await;
                }
            })
        });
        let (tasks, before, start): (Vec<_>, _, _) = (tasks.collect(), cpu_ns(), Instant::now());
        tokio::time::sleep(length).await;
        let after = (start.elapsed(), cpu_ns());
        stop.store(true, Relaxed);
        for task in tasks {
            task.await.expect("yielding does not panic");
        }
        (before, after.0, after.1)
    });
    drop(runtime);
    drop(probe);
    let (before, after) = (before?, after?);
    let part = |(name, cpu_ns): (&String, &u64)| {
        // One that began meanwhile had used nothing.
        let before_ns = before.get(name).copied().unwrap_or(0);
        (name.clone(), cpu_ns.saturating_sub(before_ns) as f64 / start.as_nanos() as f64)
    };
    Some(after.iter().map(part).collect())
}

/// How long each is measured.
fn length() -> Duration {
    if is_measuring() { Duration::from_secs(10) } else { Duration::from_millis(50) }
}

pub(crate) fn print() {
    let length = length();
    println!();
    println!("what the probe's threads cost while nothing is slow, in per cent of one core, {length:?} each");
    for workers in [1, 4] {
        for is_busy in [false, true] {
            let flavor = if workers == 1 { "current-thread".to_owned() } else { format!("{workers} workers") };
            let what = format!("{flavor}, {}", if is_busy { "short polls" } else { "idle" });
            print_parts(&what, measure(workers, is_busy, length, Probe::builder()));
        }
    }
}

pub(crate) fn print_parts(what: &str, parts: Option<BTreeMap<String, f64>>) {
    let Some(parts) = parts else {
        println!("  {what:<34} unknown: the kernel does not tell threads' CPU time");
        return;
    };
    let all: f64 = parts.values().sum();
    let each: Vec<String> = parts.iter().map(|(name, part)| format!("{name} {:.3}", part * 100.0)).collect();
    println!("  {what:<34} {:>8.3} %  ({})", all * 100.0, each.join(", "));
}
