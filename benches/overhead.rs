//! What the probe adds to a poll: `cargo bench --no-default-features --bench overhead`.
//!
//! The load is a storm of yields: tasks whose polls do nothing but ask for the next one. It runs on a runtime without a
//! probe, on one that tracks schedule latency as the probe needs it, and on measured ones. A clock read costs from 15 to
//! 50 ns, depending on the machine. Timing a poll takes at least two reads, so such a pair is the yardstick.
//!
//! Every round runs every variant once, one after the other, and compares them within the round: if the machine is slow
//! for a second, it is slow for all of them. The table shows the median round, and the middle half of all rounds.
//!
//! Then criterion measures the same variants one by one, for its statistics and its comparison with the run before.
//!
//! Last it measures what the probe's own threads cost, and what a recording does; `-- watchdog` and `-- recording` measure only that.
//!
//! Without `--no-default-features` the feature `console` compiles tokio's `tracing` into every variant, the bare one too.
//! The polls do nothing, so the caches are the probe's alone: beside real work it can cost more.

mod common;
#[allow(dead_code, reason = "shared with tests")]
#[path = "../tests/it/faults/disk.rs"]
mod disk;
#[path = "overhead/recording.rs"]
mod recording;
#[path = "overhead/watchdog.rs"]
mod watchdog;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{is_measuring, print_setting, quantile};
use criterion::{Criterion, Throughput};
use pollscope::spawner::Spawner;
use pollscope_probe::{Probe, ProbeBuilder, TOKIO_UNSTABLE};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, yield_now};

/// The workers of the multi-thread runtime.
const WORKERS: usize = 2;

const WITH_CAPTURE: &str = "probe";
const WITHOUT_CAPTURE: &str = "probe, no watchdog";
const RECORDING: &str = "probe, recording";

/// How long the last poll may take to end, on a worker that has no CPU.
const LAST_POLL: Duration = Duration::from_secs(5);

/// How much to measure.
struct Plan {
    rounds: usize,
    tasks: u64,
    yields: u64,
}

impl Plan {
    fn polls(&self) -> u64 {
        self.tasks * (self.yields + 1)
    }
}

/// What spawns the storm's tasks, and whether a probe sees them.
enum Measured {
    No,
    All(Probe),
    Named(Probe),
}

impl Measured {
    fn probe(&self) -> Option<&Probe> {
        match self {
            Measured::No => None,
            Measured::All(probe) | Measured::Named(probe) => Some(probe),
        }
    }

    fn spawn(&self, yields: u64) -> JoinHandle<()> {
        let task = async move {
            for _ in 0..yields {
                yield_now().await;
            }
        };
        match self {
            Measured::No | Measured::All(_) => tokio::spawn(task),
            Measured::Named(probe) => Spawner::measured_by(probe).spawn("yielder", task),
        }
    }
}

struct Variant {
    name: &'static str,
    runtime: Runtime,
    measured: Measured,
}

impl Variant {
    /// The time of one storm, from the first spawn to the last join.
    fn run(&self, plan: &Plan) -> Duration {
        let start = Instant::now();
        self.runtime.block_on(async {
            let tasks: Vec<_> = (0..plan.tasks).map(|_| self.measured.spawn(plan.yields)).collect();
            for task in tasks {
                task.await.expect("yielding does not panic");
            }
        });
        start.elapsed()
    }

    /// Checks that the probe missed no poll: missing some would be cheap. Who awaits a task hears of its end within its last poll, before
    /// that is counted.
    fn check(&self, storms: u64, plan: &Plan) {
        let Some(probe) = self.measured.probe().filter(|_| TOKIO_UNSTABLE) else { return };
        let (polls, start) = (storms * plan.polls(), Instant::now());
        while probe.snapshot().polls.count() < polls && start.elapsed() < LAST_POLL {
            std::thread::yield_now();
        }
        assert_eq!(probe.snapshot().polls.count(), polls, "{}: polls were missed", self.name);
    }
}

/// What a build without task hooks lacks; with them, the builder's own method of that name comes first.
#[allow(dead_code)]
trait NoScheduleLatency {
    fn track_task_schedule_latency(&mut self) -> &mut Self;
}

impl NoScheduleLatency for Builder {
    fn track_task_schedule_latency(&mut self) -> &mut Self {
        self
    }
}

fn variants(recordings: &Path, builder: impl Fn() -> Builder) -> Vec<Variant> {
    let build = |mut builder: Builder| builder.build().expect("a runtime can be built");
    let probed_by = |name, probe: ProbeBuilder, measured: fn(Probe) -> Measured| {
        let mut builder = builder();
        let probe = probe.install(&mut builder).expect("the default threshold is not 0");
        Variant { name, runtime: build(builder), measured: measured(probe) }
    };
    let probed = |name, captures, measured| probed_by(name, Probe::builder().capture(captures), measured);
    let mut tracked = builder();
    tracked.track_task_schedule_latency();
    let mut variants = vec![
        Variant { name: "bare", runtime: build(builder()), measured: Measured::No },
        Variant { name: "schedule latency tracked", runtime: build(tracked), measured: Measured::No },
        probed_by("probe, no schedule latency", Probe::builder().schedule_latency(false), Measured::All),
        probed(WITHOUT_CAPTURE, false, Measured::All),
        probed(WITH_CAPTURE, true, Measured::All),
        probed_by(RECORDING, Probe::builder().record(recordings), Measured::All),
        probed("probe, tasks watched and named", true, Measured::Named),
    ];
    // These would be the bare variant again: the probe sees only what is watched.
    variants.retain(|variant| TOKIO_UNSTABLE || matches!(variant.name, "bare" | "probe, tasks watched and named"));
    variants
}

/// The time of two clock reads, as often as a storm has polls.
fn read_clock(plan: &Plan) -> Duration {
    let start = Instant::now();
    for _ in 0..2 * plan.polls() {
        black_box(Instant::now());
    }
    start.elapsed()
}

/// One round: nanoseconds for each pair of clock reads, and for each poll of every variant.
struct Round {
    clock: f64,
    polls: Vec<f64>,
}

fn measure(variants: &[Variant], workers: usize, plan: &Plan) -> Vec<Round> {
    let per_poll = |time: Duration| time.as_nanos() as f64 / plan.polls() as f64;
    for variant in variants {
        variant.run(plan);
    }
    let rounds = (0..plan.rounds).map(|round| {
        let clock = per_poll(read_clock(plan));
        let mut polls = vec![0.0; variants.len()];
        for index in 0..variants.len() {
            // So no variant always runs after the slowest.
            let index = (index + round) % variants.len();
            polls[index] = per_poll(variants[index].run(plan)) * workers as f64;
        }
        Round { clock, polls }
    });
    let rounds = rounds.collect();
    variants.iter().for_each(|variant| variant.check(plan.rounds as u64 + 1, plan));
    rounds
}

fn print(flavor: &str, variants: &[Variant], rounds: &[Round]) {
    let clock = quantile(rounds.iter().map(|round| round.clock), 0.5);
    println!();
    println!("{flavor:<36} {:>8} {:>8}  {:<15} {:>15}", "ns/poll", "added", "(middle half)", "clock-read pairs");
    println!("  {:<34} {clock:>8.1} {:>8}  {:<15} {:>15.2}x", "two clock reads alone", "", "", 1.0);
    for (index, variant) in variants.iter().enumerate() {
        let median = quantile(rounds.iter().map(|round| round.polls[index]), 0.5);
        print!("  {:<34} {median:>8.1}", variant.name);
        if index == 0 {
            println!();
            continue;
        }
        let added = |q| quantile(rounds.iter().map(|round| round.polls[index] - round.polls[0]), q);
        let ratio = quantile(rounds.iter().map(|round| (round.polls[index] - round.polls[0]) / round.clock), 0.5);
        let half = format!("({:.1} to {:.1})", added(0.25), added(0.75));
        println!(" {:>8.1}  {half:<15} {ratio:>15.2}x", added(0.5));
    }
}

/// No poll was late, so capture should cost nothing.
fn print_capture(variants: &[Variant], rounds: &[Round]) {
    let index = |name| variants.iter().position(|variant| variant.name == name);
    let Some((with, without)) = index(WITH_CAPTURE).zip(index(WITHOUT_CAPTURE)) else { return };
    let ratio = |q| quantile(rounds.iter().map(|round| round.polls[with] / round.polls[without]), q);
    let half = format!("({:.3} to {:.3})", ratio(0.25), ratio(0.75));
    println!("  {:<34} {:>8.3}x          {half}", "a poll with capture, beside without", ratio(0.5));
}

/// Measures changes between two builds. For differences between variants it is no good: these drift when turns take seconds.
fn compare_with_last_run(flavor: &str, variants: &[Variant], plan: &Plan) {
    let mut criterion = Criterion::default().configure_from_args().without_plots();
    let mut group = criterion.benchmark_group(flavor);
    group.throughput(Throughput::Elements(plan.polls())).sample_size(20).measurement_time(Duration::from_secs(2));
    group.bench_function("two clock reads alone", |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| read_clock(plan)).sum());
    });
    for variant in variants {
        group.bench_function(variant.name, |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| variant.run(plan)).sum());
        });
    }
    group.finish();
}

fn main() {
    let plan = match is_measuring() {
        true => Plan { rounds: 200, tasks: 100, yields: 999 },
        false => Plan { rounds: 2, tasks: 10, yields: 9 },
    };
    println!("what the probe adds to a poll");
    print_setting();
    if std::env::args().any(|arg| arg == "watchdog") {
        return watchdog::print();
    }
    if std::env::args().any(|arg| arg == "recording") {
        return print_recording();
    }
    println!("{} rounds of {} tasks x {} polls; the median of each", plan.rounds, plan.tasks, plan.yields + 1);

    let recordings = tempfile::tempdir().expect("a folder");
    let single = variants(recordings.path(), Builder::new_current_thread);
    let rounds = measure(&single, 1, &plan);
    if is_measuring() {
        print("current-thread", &single, &rounds);
        print_capture(&single, &rounds);
    }
    compare_with_last_run("current-thread", &single, &plan);
    drop(single);

    let multi = variants(recordings.path(), || {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(WORKERS);
        builder
    });
    let rounds = measure(&multi, WORKERS, &plan);
    if is_measuring() {
        print(&format!("multi-thread, {WORKERS} workers' time"), &multi, &rounds);
        print_capture(&multi, &rounds);
    }
    compare_with_last_run("multi-thread", &multi, &plan);
    drop(multi);
    watchdog::print();
    print_recording();
}

fn print_recording() {
    recording::print_cost();
    recording::print_lateness();
}
