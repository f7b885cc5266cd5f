//! Measures whether memory grows with what a program does: polls, tasks, spawn sites, slow polls, names, runtimes. It does each of them
//! for a while as a warm-up, and as much again in ten parts, with a reading after each part.

use std::thread;
use std::time::Duration;

use pollscope_probe::{Probe, ProbeBuilder, Snapshot, TOKIO_UNSTABLE};
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

use crate::common::is_measuring;
use crate::host::{make_resident, wait_for_threads};
use crate::reading::Reading;
use crate::{many_sites, progress, spawn};

const MILLION: f64 = 1e6;
/// The growth of memory that counts as noise, for a million of what is done.
const PAGE: f64 = 4_096.0;
/// Readings after the warm-up.
const READINGS: u64 = 10;
/// The number of tasks that poll side by side: twice as many as there are workers.
const TASKS: u64 = 4;
/// The number of names that a probe keeps.
const NAMES: u64 = 16_384;
const PATIENCE: Duration = Duration::from_secs(20);
/// The most that memory may grow over all runtimes that come and go: the C library keeps some of what was freed.
const RUNTIMES_SLACK: i64 = 8 << 20;
/// The same over all looks at stalls.
const CODE_SLACK: i64 = 4 << 20;

/// What is done repeatedly, and the readings after the warm-up and after each part.
struct Growth {
    what: &'static str,
    /// The bytes that it may grow in all: what the probe remembers of a program's code fills up slowly.
    slack: i64,
    readings: Vec<Reading>,
}

impl Growth {
    /// The growth in bytes for a million, by least squares; `None` for fewer than two readings.
    fn slope(&self, bytes: fn(&Reading) -> i64) -> Option<f64> {
        let point = |reading: &Reading| (reading.done as f64 / MILLION, bytes(reading) as f64);
        let points: Vec<(f64, f64)> = self.readings.iter().map(point).collect();
        let count = points.len() as f64;
        let x_mean = points.iter().map(|(x, _)| x).sum::<f64>() / count;
        let y_mean = points.iter().map(|(_, y)| y).sum::<f64>() / count;
        let squares: f64 = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
        let products: f64 = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
        (points.len() > 1).then(|| products / squares)
    }

    fn print(&self) {
        let Some((first, last)) = self.readings.first().zip(self.readings.last()) else { return };
        let slope = |bytes| self.slope(bytes).map_or("unknown".to_owned(), |slope| format!("{slope:+.0}"));
        let row = [
            first.done.to_string(),
            (last.done - first.done).to_string(),
            first.live_bytes.to_string(),
            last.live_bytes.to_string(),
            slope(|reading| reading.live_bytes),
            (first.resident_bytes >> 10).to_string(),
            (last.resident_bytes >> 10).to_string(),
            slope(|reading| reading.resident_bytes),
            slope(|reading| reading.anonymous_bytes),
        ];
        print_row(self.what, &row);
    }

    /// A failure if memory grew by more than a page for each million, or by more than the slack.
    fn check(&self) -> Option<String> {
        // The code of a program with a million calls becomes resident as it runs, so the pages of files do not count.
        let grows = [|reading: &Reading| reading.live_bytes, |reading: &Reading| reading.anonymous_bytes];
        let grows =
            grows.into_iter().any(|bytes| match (self.slack, self.readings.first().zip(self.readings.last())) {
                (0, _) | (_, None) => self.slope(bytes).is_none_or(|slope| slope > PAGE),
                (slack, Some((first, last))) => bytes(last) - bytes(first) > slack,
            });
        grows.then(|| format!("memory grew with {}: see the table", self.what))
    }
}

fn print_row(what: &str, row: &[String]) {
    let widths = [10, 10, 11, 11, 9, 9, 9, 9, 9];
    let cells: String = row.iter().zip(widths).map(|(cell, width)| format!(" {cell:>width$}")).collect();
    println!("  {what:<38}{cells}");
}

fn print_head() {
    let head = ["warm-up", "and then", "heap, B", "then", "slope", "RSS, KiB", "then", "slope", "not files"];
    print_row("", &head.map(str::to_owned));
}

/// Does so much as a warm-up, and as much again in ten parts, with a reading after each part. After the warm-up it makes all of the
/// process's memory resident: otherwise a bucket that counts for the first time looks like the growth of a page. The work is not
/// inlined, since each copy of a spawn would be a site of its own.
fn grow(what: &'static str, count: u64, work: &mut dyn FnMut(u64)) -> Growth {
    let mut done = 0;
    let mut readings = Vec::with_capacity(1 + READINGS as usize);
    let mut more = |count: u64| {
        progress::begin(what);
        work(count);
        done += count;
        Reading::now(done)
    };
    // The first reading allocates memory itself.
    more(count / 2);
    make_resident();
    readings.push(more(count - count / 2));
    readings.extend((0..READINGS).map(|_| more(count / READINGS)));
    Growth { what, slack: 0, readings }
}

type Make = fn(ProbeBuilder) -> (Runtime, Probe);

fn install(mut builder: Builder, probe: ProbeBuilder) -> (Runtime, Probe) {
    let probe = probe.install(&mut builder).expect("the threshold is not 0, and threads can be started");
    (builder.build().expect("a runtime can be built"), probe)
}

fn current_thread(probe: ProbeBuilder) -> (Runtime, Probe) {
    install(Builder::new_current_thread(), probe)
}

fn multi_thread(probe: ProbeBuilder) -> (Runtime, Probe) {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2);
    install(builder, probe)
}

async fn polls(probe: &Probe, count: u64) {
    let yielding = |count: u64| async move {
        for _ in 1..count {
            yield_now().await;
        }
    };
    let tasks: Vec<_> = (0..TASKS).map(|_| spawn(probe, yielding(count / TASKS))).collect();
    for task in tasks {
        task.await.expect("it does not panic");
    }
}

async fn tasks(probe: &Probe, count: u64) {
    const AT_ONCE: u64 = 100;
    let mut tasks = Vec::with_capacity(AT_ONCE as usize);
    for _ in 0..count / AT_ONCE {
        tasks.extend((0..AT_ONCE).map(|_| spawn(probe, async {})));
        for task in tasks.drain(..) {
            task.await.expect("it does not panic");
        }
    }
}

/// Checks what must hold of every snapshot when all is quiet; returns the failures.
fn disagreements(what: &str, snapshot: &Snapshot, polls: u64) -> Vec<String> {
    let by_site: u64 = snapshot.sites.iter().map(|site| site.polls.count()).sum();
    let listed = snapshot.slow_polls.len() as u64;
    let checks = [
        (snapshot.polls.count() == polls, format!("{} of {polls} polls were counted", snapshot.polls.count())),
        (by_site == polls, format!("{by_site} of {polls} polls were counted by site")),
        (
            snapshot.slow_polls_total == listed + snapshot.slow_polls_dropped,
            format!(
                "{} slow polls, {listed} listed, {} dropped",
                snapshot.slow_polls_total, snapshot.slow_polls_dropped
            ),
        ),
    ];
    checks.into_iter().filter(|(holds, _)| !holds).map(|(_, wrong)| format!("{what}: {wrong}")).collect()
}

/// Measures polls and tasks of which none is slow.
fn quick(failures: &mut Vec<String>, all: &mut Vec<Growth>) {
    let patient = || Probe::builder().slow_poll_threshold(Duration::from_secs(3_600));
    let kinds: [(&str, &str, Make); 2] = [
        ("polls, current-thread", "tasks, current-thread", current_thread),
        ("polls, multi-thread", "tasks, multi-thread", multi_thread),
    ];
    for (of_polls, of_tasks, make) in kinds {
        let (runtime, probe) = make(patient());
        all.push(grow(of_polls, scaled(10_000_000), &mut |count| runtime.block_on(polls(&probe, count))));
        all.push(grow(of_tasks, scaled(1_000_000), &mut |count| runtime.block_on(tasks(&probe, count))));
        drop(runtime);
        let done: u64 =
            all[all.len() - 2..].iter().filter_map(|growth| growth.readings.last()).map(|last| last.done).sum();
        failures.extend(disagreements(of_polls, &probe.snapshot(), done));
    }
}

/// Measures slow polls, without looks at threads and with them.
fn slow(failures: &mut Vec<String>, all: &mut Vec<Growth>) {
    let at = |threshold| Probe::builder().slow_poll_threshold(threshold).log_to(std::io::sink());
    let kinds = [
        ("slow polls, capture off", 0, at(Duration::from_nanos(1)).capture(false)),
        ("slow polls, capture on", CODE_SLACK, at(Duration::from_nanos(1))),
    ];
    for (what, slack, builder) in kinds {
        let (runtime, probe) = current_thread(builder);
        let growth = grow(what, scaled(2_000_000), &mut |count| {
            runtime.block_on(polls(&probe, count));
            probe.flush(PATIENCE);
        });
        all.push(Growth { slack, ..growth });
        drop(runtime);
        let snapshot = probe.snapshot();
        failures.extend(disagreements(what, &snapshot, snapshot.polls.count()));
        // A poll during which the system corrected the clock may have lasted 0 ns.
        let slow = snapshot.polls.count() - snapshot.polls.clamped;
        if snapshot.slow_polls_total != slow {
            failures.push(format!("{what}: {} of {slow} slow polls were counted", snapshot.slow_polls_total));
        }
        if snapshot.lines.printed + snapshot.lines.suppressed != slow {
            failures.push(format!("{what}: {:?} of {slow} slow polls", snapshot.lines));
        }
        println!(
            "  {what}: {slow} = {} listed + {} dropped; {} lines + {} suppressed",
            snapshot.slow_polls.len(),
            snapshot.slow_polls_dropped,
            snapshot.lines.printed,
            snapshot.lines.suppressed
        );
    }
}

/// Measures polls that block long enough for a look at their thread.
fn stalls(all: &mut Vec<Growth>) {
    let (runtime, probe) = multi_thread(Probe::builder().slow_poll_threshold(Duration::from_micros(500)));
    let growth = grow("stalls that are looked at", scaled(5_000), &mut |count| {
        for _ in 0..count {
            let block = async { thread::sleep(Duration::from_millis(1)) };
            runtime.block_on(async { spawn(&probe, block).await }).expect("it does not panic");
            progress::begin("stalls that are looked at");
        }
        probe.flush(PATIENCE);
    });
    all.push(Growth { slack: CODE_SLACK, ..growth });
    let looked_at = probe.snapshot().slow_polls.iter().filter(|poll| poll.evidence.captures > 0).count();
    println!("  stalls that are looked at: {looked_at} of the listed ones were");
}

fn names(failures: &mut Vec<String>, all: &mut Vec<Growth>) {
    let (runtime, probe) = current_thread(Probe::builder());
    let mut name: u64 = 0;
    all.push(grow("tasks, each of another name", scaled(1_000_000), &mut |count| {
        for _ in 0..count {
            name += 1;
            runtime.block_on(probe.watch(async {}).named(&format!("task {name}")));
        }
    }));
    let refused = probe.snapshot().names_refused;
    if refused != name.saturating_sub(NAMES) {
        failures.push(format!("{refused} of {name} names were refused, and {NAMES} are kept"));
    }
}

/// Makes a runtime, uses it and drops it; `number` decides how.
type Run = fn(u64);

/// Measures runtimes on this thread and on others, of both flavours, with the probe or the runtime dropped first.
fn runtimes(failures: &mut Vec<String>, all: &mut Vec<Growth>) {
    fn one(number: u64) {
        let make = if number.is_multiple_of(2) { current_thread } else { multi_thread };
        let (runtime, probe) = make(Probe::builder());
        runtime.block_on(probe.watch(polls(&probe, 100)));
        if number.is_multiple_of(3) {
            drop((probe, runtime));
        } else {
            drop((runtime, probe));
        }
    }
    // The thread that runs this, and the one that watches its progress.
    let most_threads = 2;
    let kinds: [(&str, Run); 2] = [
        ("runtimes on one thread", one),
        ("runtimes, each on a new thread", |number| {
            thread::spawn(move || one(number)).join().expect("it does not panic");
        }),
    ];
    for (what, run) in kinds {
        let mut number = 0;
        let growth = grow(what, scaled(4_000), &mut |count| {
            for _ in 0..count {
                run(number);
                number += 1;
            }
            if let Err(left) = wait_for_threads(most_threads, PATIENCE) {
                failures.push(format!("{what}: threads were left: {left:?}"));
            }
        });
        all.push(Growth { slack: RUNTIMES_SLACK, ..growth });
    }
}

/// The number of spawn sites: a million if it measures.
fn scaled(count: u64) -> u64 {
    if is_measuring() { count } else { count / 500 }
}

/// Measures everything, and prints the readings; returns the failures.
pub(crate) fn run() -> Vec<String> {
    println!("\nmemory: slopes in bytes for a million, by least squares; the last one without the pages of files");
    let (mut failures, mut all) = (Vec::new(), Vec::new());
    if let Err(left) = wait_for_threads(2, PATIENCE) {
        failures.push(format!("threads were there before: {left:?}"));
    }
    quick(&mut failures, &mut all);
    slow(&mut failures, &mut all);
    stalls(&mut all);
    names(&mut failures, &mut all);
    if is_measuring() && TOKIO_UNSTABLE {
        match many_sites::run(1_000_000, 2 * READINGS as usize) {
            Ok((readings, compiling)) => {
                println!("  1000000 spawn sites, compiled in {:.0} s", compiling.as_secs_f64());
                let warm = readings.into_iter().skip(READINGS as usize - 1).collect();
                all.push(Growth { what: "spawn sites, each compiled", slack: 0, readings: warm });
            }
            Err(error) => failures.push(error),
        }
    }
    runtimes(&mut failures, &mut all);
    if is_measuring() {
        failures.extend(all.iter().filter_map(Growth::check));
    }
    print_head();
    all.iter().for_each(Growth::print);
    failures
}
