//! Whether a probe can be left on: `cargo bench --bench soak -- [--minutes N] [false-reports|host-safety|memory|all]`.
//!
//! *False reports*: cooperative tasks note how long each of their own polls took, by their own clock; a slow poll that the task does
//! not know is a false report. *Host safety*: everything that a program may do, while stacks are copied as often as possible: panics,
//! aborted tasks, libraries that come and go, allocators under stress, new processes, runtimes dropped in the middle of a poll; at the
//! same time in a process with a signal handler of its own on the alternate stacks, and in one under a seccomp filter.
//! Afterwards memory, files, threads and signal handlers must be as before. *Memory*: whether it grows with polls, tasks, spawn sites,
//! slow polls, names and runtimes, a million to tens of millions of each.
//!
//! The first two take 20 s each unless `--minutes` says otherwise. The exit code is 1 if something is wrong, after a message, and 2 for
//! a wrong argument.

#[allow(dead_code, reason = "shared with other benchmarks")]
mod common;
#[path = "soak/false_reports.rs"]
mod false_reports;
#[cfg(target_os = "linux")]
#[path = "../crates/probe/tests/it/watchdog/filter.rs"]
mod filter;
#[cfg(target_os = "linux")]
#[path = "../crates/probe/tests/memory/heap.rs"]
mod heap;
#[cfg(target_os = "linux")]
#[path = "soak/host.rs"]
mod host;
#[cfg(target_os = "linux")]
#[path = "soak/host_safety.rs"]
mod host_safety;
#[cfg(target_os = "linux")]
#[path = "soak/hosts.rs"]
mod hosts;
#[cfg(target_os = "linux")]
#[path = "soak/library.rs"]
mod library;
#[cfg(target_os = "linux")]
#[path = "soak/loads.rs"]
mod loads;
#[cfg(target_os = "linux")]
#[path = "soak/many_sites.rs"]
mod many_sites;
#[cfg(target_os = "linux")]
#[path = "soak/memory.rs"]
mod memory;
#[cfg(target_os = "linux")]
#[path = "../crates/probe/tests/it/watchdog/profiler.rs"]
mod profiler;
#[path = "soak/progress.rs"]
mod progress;
#[cfg(target_os = "linux")]
#[path = "soak/reading.rs"]
mod reading;

use std::process::ExitCode;
use std::time::Duration;

use common::{is_measuring, print_setting};
use pollscope_probe::{Probe, TOKIO_UNSTABLE};
use tokio::task::JoinHandle;

/// How long each part runs.
const DEFAULT: Duration = Duration::from_secs(20);
/// How long each part runs if nothing is measured.
const SHORTEST: Duration = Duration::from_secs(1);

struct Request {
    length: Duration,
    false_reports: bool,
    host_safety: bool,
    memory: bool,
    /// This process is to be such a host, and nothing but host safety is run.
    #[cfg(target_os = "linux")]
    host: Option<hosts::Kind>,
}

impl Request {
    fn read(words: impl Iterator<Item = String>) -> Result<Request, String> {
        let length = if is_measuring() { DEFAULT } else { SHORTEST };
        let mut request = Request {
            length,
            false_reports: true,
            host_safety: true,
            memory: true,
            #[cfg(target_os = "linux")]
            host: None,
        };
        // Cargo adds `--bench` itself.
        let mut words = words.filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            match word.as_str() {
                "--minutes" => {
                    let minutes = words.next().and_then(|number| number.parse::<f64>().ok());
                    let length = minutes.and_then(|minutes| Duration::try_from_secs_f64(minutes * 60.0).ok());
                    request.length = length.ok_or("cannot read `--minutes`: give a number, such as 10 or 0.5")?;
                }
                "false-reports" => (request.host_safety, request.memory) = (false, false),
                "host-safety" => (request.false_reports, request.memory) = (false, false),
                "memory" => (request.false_reports, request.host_safety) = (false, false),
                "all" => {}
                #[cfg(target_os = "linux")]
                other if let Some(kind) = hosts::Kind::named(other) => {
                    (request.false_reports, request.memory, request.host) = (false, false, Some(kind));
                }
                other => {
                    let known = "`--minutes N`, `false-reports`, `host-safety`, `memory` or `all`";
                    return Err(format!("cannot understand `{other}`: give {known}"));
                }
            }
        }
        Ok(request)
    }
}

/// Spawns a task that the probe sees: through hooks if there are any, else because it is watched.
#[track_caller]
fn spawn<F>(probe: &Probe, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    if TOKIO_UNSTABLE { tokio::spawn(future) } else { tokio::spawn(probe.watch(future)) }
}

fn main() -> ExitCode {
    let request = match Request::read(std::env::args().skip(1)) {
        Ok(request) => request,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    print_setting();
    if request.false_reports || request.host_safety {
        println!("{:.0} s each", request.length.as_secs_f64());
    }
    progress::watch();
    let mut failures = Vec::new();
    if request.false_reports {
        failures.extend(false_reports::run(request.length));
    }
    #[cfg(target_os = "linux")]
    if request.host_safety {
        failures.extend(match request.host {
            Some(kind) => host_safety::run(request.length, Some(kind)),
            None => host_safety::run_all(request.length),
        });
    }
    #[cfg(target_os = "linux")]
    if request.memory {
        failures.extend(memory::run());
    }
    #[cfg(not(target_os = "linux"))]
    if request.host_safety || request.memory {
        println!("\nhost safety, memory: skipped: only on Linux");
    }
    println!();
    failures.iter().for_each(|failure| println!("FAILED: {failure}"));
    if !failures.is_empty() {
        return ExitCode::FAILURE;
    }
    println!("passed");
    ExitCode::SUCCESS
}
