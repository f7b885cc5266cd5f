//! How often the probe is right about what blocked a loop: `cargo bench --bench accuracy`.
//!
//! Every call that blocks and every load that computes runs in a task, on both flavours of runtime, behind futures of several
//! shapes. The benchmark compares what the probe reports with what the task itself measures and knows. Tasks that only yield run in
//! between: a slow poll of theirs is a false report. Then it measures how late a line says that a poll still runs, and how late a
//! stall is looked at while the probe looks up the names of the stall before. It asserts nothing: the tables are for
//! docs/results/accuracy.md.
//!
//! `-- lateness` measures only the latter. `--profile bench-lto` does the same with a binary with fat LTO.

#[path = "accuracy/cases.rs"]
mod cases;
#[allow(dead_code, reason = "shared with other benchmarks")]
mod common;
#[path = "accuracy/lateness.rs"]
mod lateness;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::{Duration, Instant};

use cases::{CASES, Case, Lines};
use common::{is_measuring, print_setting, quantile};
use pollscope_base::duration::to_ns;
use pollscope_probe::{Cause, Probe, SlowPoll};
use tokio::runtime::{Builder, Runtime};

const THRESHOLD: Duration = Duration::from_millis(20);
const ROUNDS: usize = 2;
/// Polls of tasks that only yield, after each case.
const CONTROLS: u64 = 50;
const FILE: &str = "benches/accuracy/cases.rs";

/// What a task did, as it measured itself.
struct Ran {
    lines: Lines,
    ns: u64,
}

type Shape = (&'static str, usize, fn(&'static Case) -> Boxed);

type Boxed = Pin<Box<dyn Future<Output = Ran> + Send>>;

async fn leaf(case: &'static Case) -> Ran {
    let start = Instant::now();
    let lines = (case.run)();
    Ran { lines, ns: u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX) }
}

async fn two(case: &'static Case) -> Ran {
    leaf(case).await
}

async fn five(case: &'static Case) -> Ran {
    async { async { two(case).await }.await }.await
}

async fn selected(case: &'static Case) -> Ran {
    tokio::select! {
        ran = two(case) => ran,
        ran = std::future::pending() => ran,
    }
}

async fn joined(case: &'static Case) -> Ran {
    tokio::join!(two(case), std::future::ready(())).0
}

async fn timed(case: &'static Case) -> Ran {
    tokio::time::timeout(Duration::from_secs(60), async { two(case).await }).await.expect("a minute is enough")
}

fn boxed(case: &'static Case, depth: u32) -> Boxed {
    match depth {
        0 => Box::pin(leaf(case)),
        _ => Box::pin(async move { boxed(case, depth - 1).await }),
    }
}

/// The shapes of futures, each with the least number of futures within one another.
#[rustfmt::skip]
const SHAPES: [Shape; 5] = [
    ("plain", 5, |case| Box::pin(five(case))),
    ("boxed", 4, |case| boxed(case, 3)),
    ("select!", 3, |case| Box::pin(selected(case))),
    ("join!", 3, |case| Box::pin(joined(case))),
    ("timeout", 4, |case| Box::pin(timed(case))),
];

/// The results of one case or of one shape.
#[derive(Default)]
struct Score {
    runs: u64,
    /// The runs that lasted the threshold, by their own clock.
    slow: u64,
    reported: u64,
    cause: u64,
    line: u64,
    /// The wrong lines that were named: worse than none.
    wrong_line: u64,
    chain: u64,
    errors_us: Vec<f64>,
    /// The times from the threshold to the end of the first look.
    detected_us: Vec<f64>,
    causes: BTreeMap<&'static str, u64>,
}

impl Score {
    fn add(&mut self, case: &Case, depth: usize, ran: &Ran, polls: &[SlowPoll]) {
        self.runs += 1;
        if ran.ns < THRESHOLD.as_nanos() as u64 {
            return;
        }
        self.slow += 1;
        let [poll] = polls else { return };
        let seen = &poll.evidence;
        self.reported += 1;
        self.errors_us.push(to_ns(poll.duration).abs_diff(ran.ns) as f64 / 1e3);
        self.detected_us.extend(detected_us(poll, THRESHOLD));
        *self.causes.entry(seen.cause.map_or("none", Cause::as_str)).or_default() += 1;
        self.cause += u64::from(seen.cause.is_some_and(|cause| case.causes.contains(&cause)));
        let place = seen.blocking_line.as_deref().and_then(|place| place.rsplit_once(':'));
        let is_right = |(file, line): (&str, &str)| {
            file.ends_with(FILE) && line.parse().is_ok_and(|line| (ran.lines.0..=ran.lines.1).contains(&line))
        };
        self.line += u64::from(place.is_some_and(is_right));
        self.wrong_line += u64::from(place.is_some_and(|place| !is_right(place)));
        let of_shape = |file: &str| file.ends_with("benches/accuracy.rs");
        let ours = seen.stack.iter().filter(|frame| frame.file.as_deref().is_some_and(of_shape)).count();
        self.chain += u64::from(seen.stack_complete == Some(true) && ours >= depth);
    }

    fn print(&self, name: &str) {
        let of = |part: u64| if self.slow == 0 { "–".to_owned() } else { format!("{part}/{}", self.slow) };
        let (p99, detected) = (quantiles_us(&self.errors_us, &[0.99]), quantiles_us(&self.detected_us, &[0.5, 0.99]));
        let causes: Vec<String> = self.causes.iter().map(|(cause, n)| format!("{cause} {n}")).collect();
        let [reported, cause, line, chain] = [self.reported, self.cause, self.line, self.chain].map(of);
        println!(
            "| {name} | {} | {reported} | {cause} | {line} | {chain} | {p99} µs | {detected} µs | {} |",
            self.runs,
            causes.join(", ")
        );
    }
}

/// The time from the threshold to the end of the first look at a slow poll, if there was one.
fn detected_us(poll: &SlowPoll, threshold: Duration) -> Option<f64> {
    let after = poll.evidence.captured_after?;
    Some(after.saturating_sub(threshold).as_nanos() as f64 / 1e3)
}

/// `53 / 190`; a dash where there is nothing.
fn quantiles_us(values: &[f64], quantiles: &[f64]) -> String {
    if values.is_empty() {
        return "–".to_owned();
    }
    let of = |&q: &f64| format!("{:.0}", quantile(values.iter().copied(), q));
    quantiles.iter().map(of).collect::<Vec<_>>().join(" / ")
}

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
    (builder.worker_threads(2).enable_all().build().unwrap(), probe)
}

/// Runs one round on one flavour; returns the number of false reports.
fn round(multi: bool, cases: &mut [Score], shapes: &mut [Score], all: &mut Score) -> usize {
    let (runtime, probe) = runtime(multi);
    let mut runs = 0;
    for (case, of_case) in CASES.iter().zip(cases) {
        for ((_, depth, shape), of_shape) in SHAPES.iter().zip(&mut *shapes) {
            runs += 1;
            let name = format!("case {runs}");
            let ran = runtime.block_on(async {
                let ran = probe.spawn(&name, shape(case)).await.unwrap();
                for _ in 0..CONTROLS {
                    probe.spawn("control", tokio::task::yield_now()).await.unwrap();
                }
                ran
            });
            let polls = slow_polls_of(&probe, &name);
            of_case.add(case, *depth, &ran, &polls);
            of_shape.add(case, *depth, &ran, &polls);
            all.add(case, *depth, &ran, &polls);
        }
    }
    probe.snapshot().slow_polls.iter().filter(|poll| poll.task_name.as_deref() == Some("control")).count()
}

fn main() {
    if !is_measuring() {
        return;
    }
    print_setting();
    if std::env::args().any(|arg| arg == "lateness") {
        return lateness::print();
    }
    let yardstick = lateness::Yardstick::start(THRESHOLD);
    let new = |n| (0..n).map(|_| Score::default()).collect::<Vec<_>>();
    let (mut cases, mut shapes, mut flavours) = (new(CASES.len()), new(SHAPES.len()), Vec::new());
    let mut all = Score::default();
    for _ in 0..ROUNDS {
        for multi in [false, true] {
            flavours.push(round(multi, &mut cases, &mut shapes, &mut all));
        }
    }
    println!("threshold {THRESHOLD:?}, each blocks {:?}", cases::BLOCK);
    println!(
        "| what | runs | reported | cause right | line right | chain complete | duration error p99 | detected after p50 / p99 \
         | causes |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    CASES.iter().zip(&cases).for_each(|(case, score)| score.print(case.name));
    SHAPES.iter().zip(&shapes).for_each(|((name, ..), score)| score.print(name));
    all.print("all");
    println!("lines named wrong: {}", all.wrong_line);
    // A thread that computes needs a CPU to copy its stack.
    for (which, computes) in [("blocked", false), ("computed", true)] {
        let of = CASES.iter().zip(&cases).filter(|(case, _)| case.causes.contains(&Cause::Cpu) == computes);
        let detected: Vec<f64> = of.flat_map(|(_, score)| score.detected_us.iter().copied()).collect();
        println!("what {which} was detected after p50 / p99 / max: {} µs", quantiles_us(&detected, &[0.5, 0.99, 1.0]));
    }
    println!("a thread that only sleeps woke late by p50 / p99 / max: {} µs", yardstick.stop());
    let controls = CONTROLS * (CASES.len() * SHAPES.len() * ROUNDS * 2) as u64;
    println!("false reports: {} of {controls} tasks that only yield", flavours.iter().sum::<usize>());
    lateness::print();
}
