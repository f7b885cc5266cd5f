//! How often the probe is right about what blocked a loop: `cargo bench --bench accuracy`.
//!
//! Calls that block and loads that compute run in tasks, on both flavours of runtime, behind futures of several shapes: alone, at
//! the end of deep stacks, several in one poll, in the kernel, while the process is stopped, under a CPU quota, behind locks whose
//! holder is known. The benchmark compares what the probe says with what the task itself measures and knows: a cause is wrong
//! where the task's own clocks give it less than half of the poll. Tasks that only yield run in between: a slow poll of theirs
//! is a false report. Then it measures how soon the line of a first poll is known that never ends, how late a line says that a
//! poll still runs, and how late a stall is looked at while the probe looks up the names of the stall before. It asserts
//! nothing: the tables are for docs/results/accuracy.md. What was wrong is told on stderr.
//!
//! `-- calls`, `deep`, `mixed`, `kernel`, `stopped`, `held`, `quota`, `endless` and `lateness` measure only that.
//! `--profile bench-lto` does the same with a binary with fat LTO.

#[path = "accuracy/cases.rs"]
mod cases;
#[allow(dead_code, reason = "shared with other benchmarks")]
mod common;
#[path = "accuracy/deep.rs"]
mod deep;
#[path = "accuracy/endless.rs"]
mod endless;
#[path = "accuracy/held.rs"]
mod held;
#[path = "accuracy/kernel.rs"]
mod kernel;
#[path = "accuracy/lateness.rs"]
mod lateness;
#[path = "accuracy/mixed.rs"]
mod mixed;
#[path = "accuracy/quota.rs"]
mod quota;
#[path = "accuracy/score.rs"]
mod score;
#[path = "accuracy/shapes.rs"]
mod shapes;
#[path = "accuracy/stopped.rs"]
mod stopped;
#[path = "accuracy/truth.rs"]
mod truth;

use std::time::{Duration, Instant};

use cases::Case;
use common::{is_measuring, print_setting};
use pollscope_probe::{Probe, SlowPoll};
use score::{HEADER, Score, THRESHOLD, quantiles_us, tell_if_wrong};
use shapes::SHAPES;
use tokio::runtime::{Builder, Runtime};

const ROUNDS: usize = 2;
/// Polls of tasks that only yield, after each case.
const CONTROLS: u64 = 50;
/// A stack of 2 MiB, and what lies around it.
const STACK: usize = 8 << 20;
/// The part that runs in a process of its own.
const WITHIN_QUOTA: &str = "within-quota";

/// The matrix's parts. What is under a quota is apart.
const PARTS: [(&str, &[Case]); 6] = [
    ("calls", &cases::CASES),
    ("deep", &deep::CASES),
    ("mixed", &mixed::CASES),
    ("kernel", &kernel::CASES),
    ("stopped", &stopped::CASES),
    ("held", &held::CASES),
];

/// Waits for the slow polls of one run and their evidence. On a multi-thread runtime a task ends before its poll does.
fn slow_polls_of(probe: &Probe, name: &str) -> Vec<SlowPoll> {
    let start = Instant::now();
    loop {
        probe.flush(Duration::from_secs(5));
        let mut polls = probe.snapshot().slow_polls;
        polls.retain(|poll| poll.task_name.as_deref() == Some(name));
        if polls.first().is_some_and(|poll| poll.evidence.captures > 0) || start.elapsed() > Duration::from_millis(200)
        {
            return polls;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn runtime(multi: bool) -> (Runtime, Probe) {
    let mut builder = if multi { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    let probe = Probe::builder().slow_poll_threshold(THRESHOLD).keep_slow_polls(10_000).install(&mut builder).unwrap();
    (builder.worker_threads(2).thread_stack_size(STACK).enable_all().build().unwrap(), probe)
}

/// What came of some cases.
struct Scores {
    cases: Vec<Score>,
    shapes: Vec<Score>,
    all: Score,
    false_reports: usize,
}

impl Scores {
    fn measure(cases: &[Case]) -> Scores {
        let new = |n| (0..n).map(|_| Score::default()).collect::<Vec<_>>();
        let (all, false_reports) = (Score::default(), 0);
        let mut scores = Scores { cases: new(cases.len()), shapes: new(SHAPES.len()), all, false_reports };
        for _ in 0..ROUNDS {
            for multi in [false, true] {
                scores.false_reports += scores.round(cases, multi);
            }
        }
        scores
    }

    /// Runs one round on one flavour; gives the number of false reports.
    fn round(&mut self, cases: &[Case], multi: bool) -> usize {
        let (runtime, probe) = runtime(multi);
        let mut runs = 0;
        for (case, of_case) in cases.iter().zip(&mut self.cases) {
            for (shape, of_shape) in SHAPES.iter().zip(&mut self.shapes) {
                runs += 1;
                let name = format!("case {runs}");
                let load = (case.prepare)(runtime.handle());
                let truth = runtime.block_on(async {
                    let truth = probe.spawn(&name, (shape.of)(load)).await.unwrap();
                    for _ in 0..CONTROLS {
                        probe.spawn("control", tokio::task::yield_now()).await.unwrap();
                    }
                    truth
                });
                let polls = slow_polls_of(&probe, &name);
                tell_if_wrong(case, &truth, &polls);
                for score in [&mut *of_case, of_shape, &mut self.all] {
                    score.add(case, shape, &truth, &polls);
                }
            }
        }
        probe.snapshot().slow_polls.iter().filter(|poll| poll.task_name.as_deref() == Some("control")).count()
    }

    fn print(&self, cases: &[Case]) {
        println!("\n{HEADER}");
        let names = || cases.iter().map(|case| case.name).chain(SHAPES.iter().map(|shape| shape.name)).chain(["all"]);
        let scores = || self.cases.iter().chain(&self.shapes).chain([&self.all]);
        names().zip(scores()).for_each(|(name, score)| score.print(name));
        println!();
        names().zip(scores()).for_each(|(name, score)| score.print_more(name));
        println!("{}", self.all.summary());
        // A thread that computes needs a CPU to copy its stack.
        for (which, computes) in [("blocked", false), ("computed", true)] {
            let of = cases.iter().zip(&self.cases).filter(|(case, _)| (case.off_cpu == cases::NONE) == computes);
            let detected: Vec<f64> = of.flat_map(|(_, score)| score.detected_us.iter().copied()).collect();
            println!(
                "what {which} was detected after p50 / p99 / max: {} µs",
                quantiles_us(&detected, &[0.5, 0.99, 1.0])
            );
        }
        let controls = CONTROLS * (cases.len() * SHAPES.len() * ROUNDS * 2) as u64;
        println!("false reports: {} of {controls} tasks that only yield", self.false_reports);
    }
}

fn main() {
    if !is_measuring() {
        return;
    }
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    let wants = |part: &str| only.as_deref().is_none_or(|only| only == part);
    match only.as_deref() {
        Some(WITHIN_QUOTA) => {
            quota::join();
            return Scores::measure(&quota::CASES).print(&quota::CASES);
        }
        Some(kind) if endless::KINDS.contains(&kind) => return endless::locate(kind),
        _ => {}
    }
    print_setting();
    let yardstick = lateness::Yardstick::start(THRESHOLD);
    println!("threshold {THRESHOLD:?}, each blocks {:?} or longer", cases::BLOCK);
    for (part, cases) in PARTS.into_iter().filter(|(part, _)| wants(part)) {
        println!("\n{part}");
        Scores::measure(cases).print(cases);
    }
    if wants("quota") {
        quota::run(WITHIN_QUOTA);
    }
    println!("a thread that only sleeps woke late by p50 / p99 / max: {} µs", yardstick.stop());
    if wants("endless") {
        endless::print();
    }
    if wants("lateness") {
        lateness::print();
    }
}
