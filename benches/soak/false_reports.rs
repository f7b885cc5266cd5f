//! Runs a cooperative load at asyncio's threshold: only the machine makes a poll slow, and the tasks' own clocks notice that.

use std::cell::Cell;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_probe::{DEFAULT_SLOW_POLL, Probe, SlowPoll};
use tokio::runtime::Builder;
use tokio::task::yield_now;

use crate::{progress, spawn};

const TASKS: usize = 2_000;
const WORK: Duration = Duration::from_micros(500);
/// A stretch of polls that work, or that do nothing.
const STRETCH: Duration = Duration::from_secs(1);
/// What the tasks note: all that is much longer than it should be.
const NOTED: Duration = Duration::from_millis(5);
/// From which age on a line says that a poll still runs, in thresholds.
const STILL: u32 = 10;
const KEPT: usize = 100_000;

/// Something that took long, by the tasks' own clock.
struct Noted {
    /// The task, within its poll; `None`: the thread, between the polls of two.
    task: Option<String>,
    start: Instant,
    end: Instant,
}

#[derive(Default)]
struct Witness {
    stop: AtomicBool,
    /// Whether polls do nothing.
    idle: AtomicBool,
    polls: AtomicU64,
    noted: Mutex<Vec<Noted>>,
    still_lines: AtomicU64,
}

thread_local! {
    /// When the last task's poll ended on this thread.
    static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
}

impl Witness {
    /// One poll's work, and notes of what took long.
    fn work(&self) {
        let start = Instant::now();
        if !self.idle.load(Relaxed) {
            while start.elapsed() < WORK {
                std::hint::spin_loop();
            }
        }
        self.polls.fetch_add(1, Relaxed);
        let end = Instant::now();
        let before = LAST.replace(Some(end));
        if end - start >= NOTED {
            self.note(Some(tokio::task::id().to_string()), start, end);
        }
        if let Some(before) = before.filter(|before| start - *before >= NOTED) {
            self.note(None, before, start);
        }
    }

    fn note(&self, task: Option<String>, start: Instant, end: Instant) {
        self.noted.lock().expect("nobody panics with it").push(Noted { task, start, end });
    }
}

/// Counts the lines on polls that still run.
struct StillLines(Arc<Witness>);

impl Write for StillLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_still = String::from_utf8_lossy(bytes).contains("still runs after");
        self.0.still_lines.fetch_add(is_still.into(), Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a reported slow poll was.
#[derive(PartialEq)]
enum Report {
    /// The task's own clock says so too: the machine held it up.
    True,
    /// The thread was held up just before or after the task's own two readings of the clock.
    Between,
    False,
}

fn judge(poll: &SlowPoll, origin: Instant, noted: &[Noted]) -> Report {
    let start = origin + poll.start;
    let end = start + poll.duration;
    let task = poll.task_id.map(|id| id.to_string());
    // The origin is a moment before the probe's own.
    let overlaps = |noted: &&Noted| noted.start <= end + NOTED && start <= noted.end + NOTED;
    let (mut own, mut between) = (Duration::ZERO, Duration::ZERO);
    for noted in noted.iter().filter(overlaps) {
        let length = noted.end - noted.start;
        match &noted.task {
            None => between += length,
            same if *same == task => own = own.max(length),
            Some(_) => {}
        }
    }
    match own {
        own if own >= DEFAULT_SLOW_POLL => Report::True,
        own if own + between + NOTED >= DEFAULT_SLOW_POLL => Report::Between,
        _ => Report::False,
    }
}

struct Phase {
    name: &'static str,
    workers: Option<usize>,
    alternates: bool,
}

const PHASES: [Phase; 4] = [
    Phase { name: "current-thread, 0.5 ms polls", workers: None, alternates: false },
    Phase { name: "current-thread, alternating", workers: None, alternates: true },
    Phase { name: "4 workers, 0.5 ms polls", workers: Some(4), alternates: false },
    Phase { name: "4 workers, alternating", workers: Some(4), alternates: true },
];

/// Runs all phases, each for its part of the time, and prints what was reported. What is wrong.
pub(crate) fn run(length: Duration) -> Vec<String> {
    println!("\nfalse reports: {TASKS} tasks that yield after each poll, threshold {DEFAULT_SLOW_POLL:?}");
    println!(
        "{:<30} {:>12} {:>6} {:>6} {:>9} {:>6} {:>7} {:>6} {:>9}",
        "", "polls", "slow", "true", "in between", "false", "missed", "still", "captures"
    );
    PHASES.iter().flat_map(|phase| run_phase(phase, length / PHASES.len() as u32)).collect()
}

fn run_phase(phase: &Phase, length: Duration) -> Vec<String> {
    let witness = Arc::new(Witness::default());
    let mut builder = match phase.workers {
        None => Builder::new_current_thread(),
        Some(workers) => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(workers);
            builder
        }
    };
    let origin = Instant::now();
    let lines = StillLines(Arc::clone(&witness));
    let probe = Probe::builder().keep_slow_polls(KEPT).log_to(lines).install(&mut builder);
    let probe = probe.expect("the default threshold is not 0");
    let runtime = builder.build().expect("a runtime can be built");
    let conduct = thread::spawn({
        let (witness, alternates) = (Arc::clone(&witness), phase.alternates);
        move || conduct(&witness, alternates, length)
    });
    runtime.block_on(async {
        let task = |witness: Arc<Witness>| async move {
            while !witness.stop.load(Relaxed) {
                witness.work();
                yield_now().await;
            }
        };
        let tasks: Vec<_> = (0..TASKS).map(|_| spawn(&probe, task(Arc::clone(&witness)))).collect();
        for task in tasks {
            task.await.expect("tasks do not panic");
        }
    });
    conduct.join().expect("the conductor does not panic");
    drop(runtime);
    probe.flush(Duration::from_secs(10));
    judge_all(phase, &probe, origin, &witness)
}

/// Has polls work and do nothing by turns, if that is asked for, until it is time to stop.
fn conduct(witness: &Witness, alternates: bool, length: Duration) {
    let start = Instant::now();
    while let Some(left) = length.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        progress::begin("a stretch of cooperative polls");
        thread::sleep(left.min(STRETCH));
        witness.idle.fetch_xor(alternates, Relaxed);
    }
    witness.stop.store(true, Relaxed);
}

fn judge_all(phase: &Phase, probe: &Probe, origin: Instant, witness: &Witness) -> Vec<String> {
    let snapshot = probe.snapshot();
    let noted = witness.noted.lock().expect("nobody panics with it");
    let reports: Vec<Report> = snapshot.slow_polls.iter().map(|poll| judge(poll, origin, &noted)).collect();
    let count = |report: Report| reports.iter().filter(|other| **other == report).count();
    let own =
        |least: Duration| noted.iter().filter(move |noted| noted.task.is_some() && noted.end - noted.start >= least);
    let [ours, between, wrong] = [Report::True, Report::Between, Report::False].map(count);
    let missed = own(DEFAULT_SLOW_POLL).count().saturating_sub(ours);
    let still = witness.still_lines.load(Relaxed);
    let captures: u64 = snapshot.slow_polls.iter().map(|poll| u64::from(poll.evidence.captures)).sum();
    println!(
        "{:<30} {:>12} {:>6} {ours:>6} {between:>10} {wrong:>6} {missed:>7} {still:>6} {captures:>9}",
        phase.name,
        witness.polls.load(Relaxed),
        snapshot.slow_polls_total,
    );
    let longest = own(Duration::ZERO).map(|noted| noted.end - noted.start).max();
    let text = longest.map_or(format!("none of {NOTED:?}"), |longest| format!("{longest:.1?}"));
    println!("{:<30} the longest poll by a task's own clock: {text}", "");
    for (poll, _) in snapshot.slow_polls.iter().zip(&reports).filter(|(_, report)| **report == Report::False) {
        println!("  false: {poll:?}");
    }
    let most_still = own(DEFAULT_SLOW_POLL * STILL).count() as u64;
    let checks = [
        (wrong > 0, format!("{wrong} false reports")),
        (missed > 0, format!("{missed} polls that lasted the threshold were not reported")),
        (still > most_still + between as u64, format!("{still} lines on polls that still run, of {most_still}")),
        (snapshot.slow_polls_dropped > 0, format!("{} slow polls not listed", snapshot.slow_polls_dropped)),
    ];
    checks.into_iter().filter(|(fails, _)| *fails).map(|(_, what)| format!("{}: {what}", phase.name)).collect()
}
