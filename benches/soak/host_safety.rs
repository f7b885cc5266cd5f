//! Does in rounds everything that a program may do, under probes that look at every poll of a millisecond, and measures what is left.

use std::collections::BTreeMap;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_probe::{Cause, Probe, SlowPoll};
use tokio::runtime::Builder;

use crate::host::{Host, dispositions, threads, wait_for_threads};
use crate::loads::{self, Counts};
use crate::{hosts, library, progress};

/// The benchmark's own threads: the one that runs it, and the one that watches its progress.
const THREADS: usize = 2;
/// The lowest threshold that makes sense: a shorter poll is over before anything can look.
const THRESHOLD: Duration = Duration::from_millis(1);
/// How long the probes' threads may take to end, and those of runtimes that nothing waits for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a round's two runtimes do everything. The first names of a probe take as long as all this work.
const REPEATS: usize = 8;
/// What comes and goes in a round beside the two runtimes, and after them.
const TIMES: usize = 6;
/// How much the heap may differ between rounds: a thread keeps its place of 0.1 MB in the last probe until it polls under another
/// one.
const HEAP_SLACK: i64 = 2 << 20;
/// How much the resident size may grow after the first rounds. The allocator keeps what many threads freed.
const RSS_SLACK_KIB: u64 = 128 << 10;

/// The reports of the probes.
#[derive(Default)]
pub(crate) struct Seen {
    reports: Mutex<Reports>,
    /// Whether the probes are told that a filter permits their calls.
    is_confined: bool,
}

#[derive(Default)]
struct Reports {
    slow_polls: u64,
    captures: u64,
    complete: u64,
    incomplete: u64,
    without_stack: u64,
    causes: BTreeMap<&'static str, u64>,
}

impl Seen {
    /// Installs a probe that counts its reports here.
    pub(crate) fn probe(self: &Arc<Seen>, runtime: &mut Builder) -> Probe {
        let seen = Arc::clone(self);
        let builder = Probe::builder().slow_poll_threshold(THRESHOLD).permitted_by_seccomp(self.is_confined);
        let builder = builder.on_slow_poll(move |poll| seen.add(poll));
        builder.install(runtime).expect("the threshold is not 0, and threads can be started")
    }

    fn add(&self, poll: &SlowPoll) {
        let mut reports = self.reports.lock().expect("nobody panics with it");
        reports.slow_polls += 1;
        reports.captures += u64::from(poll.evidence.captures);
        match poll.evidence.stack_complete {
            Some(true) => reports.complete += 1,
            Some(false) => reports.incomplete += 1,
            None => reports.without_stack += 1,
        }
        *reports.causes.entry(poll.evidence.cause.map_or("unknown", Cause::as_str)).or_default() += 1;
    }
}

/// Runs this host, and meanwhile those that are harder to look at, in processes of their own; returns the failures.
pub(crate) fn run_all(length: Duration) -> Vec<String> {
    let others = hosts::start(length);
    let mut failures = run(length, None);
    failures.extend(hosts::finish(others));
    failures
}

/// Runs rounds for so long, and prints what was done and what the process has afterwards; returns the failures.
pub(crate) fn run(length: Duration, kind: Option<hosts::Kind>) -> Vec<String> {
    println!("\nhost safety: stacks copied from {THRESHOLD:?} on");
    if library::load_and_unload(Duration::ZERO).is_none() {
        println!("no zlib to load and unload: that part is skipped");
    } else if library::is_mapped() {
        println!("zlib stays mapped, as something else uses it");
    }
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let seen = Seen { is_confined: kind == Some(hosts::Kind::Filter), ..Seen::default() };
    let (seen, counts) = (Arc::new(seen), Arc::new(Counts::default()));
    kind.inspect(|kind| kind.become_one());
    let mut failures = Vec::new();
    // Waits for the threads of earlier parts, which must not count as there from the start.
    if let Err(left) = wait_for_threads(THREADS, PATIENCE) {
        failures.push(format!("threads were there before: {left:?}"));
    }
    let mut hosts = vec![Host::now()];
    let before = dispositions();
    let begin = Instant::now();
    while (begin.elapsed() < length || hosts.len() < 2) && failures.is_empty() {
        round(&seen, &counts);
        progress::begin("waiting for threads to end");
        if let Err(left) = wait_for_threads(hosts[0].threads, PATIENCE) {
            failures.push(format!("threads were left: {left:?}"));
        }
        if let Some((now, then)) = dispositions().iter().zip(&before).find(|(now, then)| now != then) {
            failures.push(format!("a signal's disposition is not what it was: {now:?}, before {then:?}"));
        }
        hosts.push(Host::now());
    }
    progress::begin("counting");
    panic::set_hook(hook);
    failures.extend(counts.wrong.lock().expect("nobody panics with it").drain(..));
    print_counts(&seen, &counts, hosts.len() - 1, begin.elapsed());
    println!("  {:<34} {} signals, {}", "signal dispositions", before.len(), same(dispositions() == before));
    failures.extend(compare(&hosts));
    failures
}

fn same(is_same: bool) -> &'static str {
    if is_same { "the same" } else { "CHANGED" }
}

/// Runs two measured runtimes at once while others come and go; then only the others, so that the last probe is dropped again and again.
fn round(seen: &Arc<Seen>, counts: &Arc<Counts>) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        progress::begin("two runtimes at once");
        let runtimes = [1, 4].map(|workers| scope.spawn(move || measured_runtime(workers, seen, counts)));
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                loads::install_and_drop(1, seen, counts);
                loads::drop_mid_poll(1, seen, counts);
            }
        });
        let ended: Vec<_> = runtimes.into_iter().map(|runtime| runtime.join()).collect();
        is_over.store(true, Relaxed);
        ended.into_iter().for_each(|ended| ended.expect("no load panics outside a task"));
    });
    progress::begin("probes installed and dropped");
    loads::install_and_drop(TIMES, seen, counts);
    progress::begin("runtimes dropped in the middle of a poll");
    loads::drop_mid_poll(TIMES, seen, counts);
}

fn measured_runtime(workers: usize, seen: &Arc<Seen>, counts: &Arc<Counts>) {
    let mut builder = if workers == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let probe = seen.probe(builder.worker_threads(workers));
    let runtime = builder.build().expect("a runtime can be built");
    for _ in 0..REPEATS {
        runtime.block_on(probe.watch(loads::all(probe.clone(), Arc::clone(counts))));
    }
    drop(runtime);
    probe.flush(PATIENCE);
}

fn print_counts(seen: &Seen, counts: &Counts, rounds: usize, time: Duration) {
    let line = |what: &str, value: u64| println!("  {what:<34} {value}");
    println!("  {:<34} {rounds} in {:.0} s", "rounds", time.as_secs_f64());
    line("tasks that panicked", counts.panics.load(Relaxed));
    line("tasks aborted", counts.aborts.load(Relaxed));
    line("libraries loaded and unloaded", counts.loads.load(Relaxed));
    line("processes started", counts.commands.load(Relaxed));
    line("allocations", counts.allocations.load(Relaxed));
    line("runtimes dropped mid-poll", counts.runtimes_dropped.load(Relaxed));
    line("probes installed and dropped", counts.probes_dropped.load(Relaxed));
    let reports = seen.reports.lock().expect("nobody panics with it");
    line("slow polls", reports.slow_polls);
    line("captures", reports.captures);
    line("polls with a complete stack", reports.complete);
    line("polls with an incomplete stack", reports.incomplete);
    line("polls without a stack", reports.without_stack);
    let causes: Vec<String> = reports.causes.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
    println!("  {:<34} {}", "causes", causes.join(", "));
}

type Measure = fn(&Host) -> i64;

const MEASURES: [(&str, Measure); 4] = [
    ("heap in use, bytes", |host| host.live_bytes),
    ("resident, KiB", |host| host.rss_kib as i64),
    ("open files", |host| host.fds as i64),
    ("threads", |host| host.threads as i64),
];

/// Prints the growth. The first quarter of the rounds is a warm-up; after that nothing may grow.
fn compare(hosts: &[Host]) -> Vec<String> {
    let (first, warm, last) = (&hosts[0], &hosts[(hosts.len() - 1).div_ceil(4)], &hosts[hosts.len() - 1]);
    let rounds = &hosts[(hosts.len() - 1).div_ceil(4)..];
    println!("  {:<34} {:>10} {:>10} {:>10} {:>12}", "", "start", "warm", "end", "slope/round");
    let line = |what: &str, values: [i64; 3], slope: Option<f64>| {
        let slope = slope.map_or("unknown".to_owned(), |slope| format!("{slope:+.1}"));
        println!("  {what:<34} {:>10} {:>10} {:>10} {slope:>12}", values[0], values[1], values[2]);
    };
    for (what, value) in MEASURES {
        line(what, [first, warm, last].map(value), slope(rounds.iter().map(value)));
    }
    let checks = [
        (last.live_bytes > warm.live_bytes + HEAP_SLACK, "the heap grew"),
        (last.rss_kib > warm.rss_kib + RSS_SLACK_KIB, "the resident size grew"),
        (last.fds != first.fds, "files were left open"),
        (last.threads != first.threads, "threads were left"),
    ];
    let failed = checks.into_iter().filter(|(fails, _)| *fails);
    failed.map(|(_, what)| format!("{what}: see the table ({:?})", threads())).collect()
}

/// The slope by least squares; `None` for fewer than two values.
fn slope(values: impl Iterator<Item = i64>) -> Option<f64> {
    let values: Vec<f64> = values.map(|value| value as f64).collect();
    let count = values.len() as f64;
    let (middle, mean) = ((count - 1.0) / 2.0, values.iter().sum::<f64>() / count);
    let deviations = || (0..values.len()).map(|index| index as f64 - middle);
    let squares: f64 = deviations().map(|x| x * x).sum();
    (values.len() > 1).then(|| deviations().zip(&values).map(|(x, y)| x * (y - mean)).sum::<f64>() / squares)
}
