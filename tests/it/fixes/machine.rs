//! Programs that do nothing wrong, on a machine that holds them up; the fix is the machine's.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use pollscope_base::Cause;

use super::computes::compute;
use super::program::{Work, lacks, tell, wait_until_told};
use super::{Around, Case};

/// The CPU time of the work: far less than what is slow.
const LITTLE: Duration = Duration::from_millis(20);
const SLOW: Duration = Duration::from_millis(100);

pub(super) const PREEMPTED: Case = Case {
    says: "see what else runs on the machine",
    threshold: SLOW,
    before: |_| {
        let over = start_others(THREADS);
        Box::pin(async move { compute_on_the_first(&over) })
    },
    afters: &[
        ("start fewer threads than there are CPUs", |_| {
            let over = start_others(0);
            Box::pin(async move { compute_on_the_first(&over) })
        }),
        ("give it CPUs of its own", |folder| {
            let own = *cpus().last().expect("it runs on one");
            if own == first_cpu() {
                lacks(folder, "a second CPU");
            }
            let over = start_others(THREADS);
            // So do the runtime's threads, which this one starts.
            stay_on(own);
            Box::pin(async move { compute_until(&over) })
        }),
    ],
    ..Case::of(Cause::Preempted)
};

/// So many that the loop's thread has its part of a CPU rarely.
const THREADS: usize = 24;

fn cpus() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).expect("the kernel says");
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu) == Ok(true)).collect()
}

fn first_cpu() -> usize {
    cpus()[0]
}

fn stay_on(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu).expect("a set has room for it");
    sched_setaffinity(Pid::from_raw(0), &set).expect("it is one of those that this thread may use");
}

/// So many threads that compute on the first CPU until the work is over.
fn start_others(threads: usize) -> Arc<AtomicBool> {
    let over = Arc::new(AtomicBool::new(false));
    for _ in 0..threads {
        let over = Arc::clone(&over);
        thread::spawn(move || {
            stay_on(first_cpu());
            while !over.load(Relaxed) {}
        });
    }
    over
}

fn compute_on_the_first(over: &AtomicBool) -> u64 {
    stay_on(first_cpu());
    compute_until(over)
}

fn compute_until(over: &AtomicBool) -> u64 {
    let done = compute(LITTLE);
    over.store(true, Relaxed);
    done
}

pub(super) const THROTTLED: Case = Case {
    says: "raise the CPU limit",
    // Where the limits are written; they are what the fix changes.
    leaves: &["cpu.max", "CPUQuota="],
    threshold: SLOW,
    around: Around::Quota,
    before: |folder| as_limited(folder),
    afters: &[("raise the CPU limit of its container or unit", |folder| as_limited(folder))],
    ..Case::of(Cause::Throttled)
};

/// Computes for longer than a small quota gives, once it is limited.
fn as_limited(folder: &Path) -> Work {
    tell(folder, "ready");
    wait_until_told(folder, "go");
    Box::pin(async { (0..2).map(|_| compute(LITTLE)).sum() })
}

pub(super) const SUSPENDED: Case = Case {
    says: "see what stopped the process",
    threshold: SLOW,
    around: Around::Stop,
    before: |folder| until_told(folder),
    afters: &[("a debugger, SIGSTOP, a frozen container", |folder| until_told(folder))],
    ..Case::of(Cause::Suspended)
};

/// One poll that the one who started this is told of, and that ends when he says so.
fn until_told(folder: &Path) -> Work {
    let folder = folder.to_owned();
    Box::pin(async move {
        tell(&folder, "ready");
        wait_until_told(&folder, "go");
        1
    })
}
