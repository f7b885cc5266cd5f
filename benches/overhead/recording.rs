//! Measures what a service pays that records itself: what the recorder's thread costs and writes, and how late the loop is while the
//! disk is full, hangs or is gone.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use fuser::Errno;
use pollscope_probe::{Probe, ProbeBuilder};
use tokio::runtime::Builder;

use crate::common::{is_measuring, quantile};
use crate::disk::{Call, Disk, Fault, Plan};
use crate::watchdog;

/// A poll of it is slow, and there is one each tick: far more to write than a service that is worth recording has.
const SLOW: Duration = Duration::from_micros(200);
const TICK: Duration = Duration::from_millis(1);
const FILE: &str = "service.pollscope";

/// How a disk is while the service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is recorded.
    Unused,
    Good,
    Full,
    Hung,
    /// Its folder goes when the service has begun.
    Removed,
}

const STATES: [State; 5] = [State::Unused, State::Good, State::Full, State::Hung, State::Removed];

/// What the threads of a probe cost that records, beside short polls; and what a day of that takes.
///
/// In its first minute a recording says more often than later what is known of all of it, and then once in five minutes: a day is
/// worked out from the second minute, in which that is not said, and from how long it is.
pub(crate) fn print_cost() {
    let minute = if is_measuring() { Duration::from_secs(60) } else { Duration::from_millis(50) };
    let length = minute * 2 + minute / 10;
    println!();
    println!("the same of a probe that records, and what it writes, {length:?} each");
    for workers in [1, 4] {
        let folder = tempfile::tempdir().expect("a folder");
        let (parts, bytes) = thread::scope(|scope| {
            let bytes = scope.spawn(|| {
                let sizes = [1, 2].map(|_| {
                    thread::sleep(minute);
                    size(folder.path())
                });
                (sizes[1] - sizes[0]) as f64
            });
            let parts = watchdog::measure(workers, true, length, Probe::builder().record(folder.path()));
            (parts, bytes.join().expect("it only sleeps"))
        });
        let known = longest_known(folder.path()) as f64;
        let a_day = (bytes / minute.as_secs_f64() + known / 600.0) * 86_400.0 / 1e6;
        watchdog::print_parts(&format!("{workers} workers, short polls"), parts);
        println!("  {:<34} {a_day:>8.1} MB a day ({known:.0} bytes each time that all is said)", "");
    }
}

/// How long the longest line is that says what is known of all.
fn longest_known(folder: &Path) -> usize {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
    let lines = |text: String| {
        let known = text.lines().filter(|line| line.starts_with("{\"known\":"));
        known.map(str::len).max().unwrap_or(0)
    };
    texts.map(lines).max().unwrap_or(0)
}

/// How many bytes are in the files of a folder.
fn size(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

/// How late ticks are, by what becomes of the recording: within each round, one after the other.
pub(crate) fn print_lateness() {
    let (rounds, ticks) = if is_measuring() { (10, 2_000) } else { (1, 20) };
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().join("disk");
    fs::create_dir(&at).expect("a folder");
    let disk = Disk::mount(&at, FILE);
    println!();
    println!("how late a tick of {TICK:?} is on a loop with a slow poll in each, {rounds} rounds of {ticks} ticks");
    if let Err(why) = &disk {
        println!("  a disk that is full or hangs: not measured, as it cannot be mounted: {why}");
    }
    let mut late = STATES.map(|_| Vec::new());
    for round in 0..rounds {
        for index in 0..STATES.len() {
            let index = (index + round) % STATES.len();
            late[index].push(serve(STATES[index], disk.as_ref().ok(), &at, folder.path(), ticks));
        }
    }
    let p999 = |ticks: &[f64]| quantile(ticks.iter().copied(), 0.999);
    for (state, rounds) in STATES.iter().zip(&late) {
        let all: Vec<f64> = rounds.iter().flatten().flatten().copied().collect();
        if all.is_empty() {
            continue;
        }
        let beside = late[0].iter().zip(rounds);
        let ratios = beside.filter_map(|(without, with)| Some(p999(with.as_ref()?) / p999(without.as_ref()?)));
        let ratios: Vec<f64> = ratios.collect();
        let [p50, p99] = [0.5, 0.99].map(|q| quantile(all.iter().copied(), q));
        let [low, ratio, high] = [0.25, 0.5, 0.75].map(|q| quantile(ratios.iter().copied(), q));
        println!(
            "  {:<12} p50 {p50:>6.0} µs  p99 {p99:>6.0} µs  p99.9 {:>6.0} µs  {ratio:.2}x ({low:.2} to {high:.2})",
            format!("{state:?}"),
            p999(&all)
        );
    }
}

/// How late each tick of a service was, in microseconds; `None` where there is no such disk.
fn serve(state: State, disk: Option<&Disk>, mounted: &Path, folder: &Path, ticks: usize) -> Option<Vec<f64>> {
    let place = folder.join("good");
    let probe = Probe::builder().slow_poll_threshold(SLOW / 2);
    let fault = match state {
        State::Full => Some(Fault::Error(Errno::ENOSPC)),
        State::Hung => Some(Fault::Hang),
        State::Unused | State::Good | State::Removed => None,
    };
    let probe = match (state, fault) {
        (State::Unused, _) => probe,
        (_, None) => probe.record(&place),
        (_, Some(fault)) => {
            disk?.reset(Plan { call: Call::Write, fault, at: 2, more: u64::MAX });
            probe.record(mounted.join(FILE))
        }
    };
    let late = run(probe, ticks, || {
        if state == State::Removed {
            fs::remove_dir_all(&place).expect("it is there");
        }
    });
    if let Some(disk) = disk {
        disk.heal();
    }
    // What hung goes on now. It must be over before this process is: the disk is in it, and would never answer.
    while records() {
        thread::sleep(TICK);
    }
    let _ = fs::remove_dir_all(&place);
    Some(late)
}

/// Whether a recorder's thread is there still.
fn records() -> bool {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let mut names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
    names.any(|name| name.starts_with("pollscope-recor"))
}

fn run(probe: ProbeBuilder, ticks: usize, at_begin: impl FnOnce()) -> Vec<f64> {
    let mut builder = Builder::new_current_thread();
    let probe = probe.install(&mut builder).expect("the threshold is not 0");
    let runtime = builder.enable_time().build().expect("a runtime can be built");
    let serving = async {
        tokio::time::sleep(20 * TICK).await;
        at_begin();
        let mut late = Vec::with_capacity(ticks);
        let mut due = Instant::now() + TICK;
        for _ in 0..ticks {
            tokio::time::sleep_until(due.into()).await;
            late.push(due.elapsed().as_secs_f64() * 1e6);
            thread::sleep(SLOW);
            due = (due + TICK).max(Instant::now());
        }
        late
    };
    let late = runtime.block_on(probe.watch(serving));
    drop((runtime, probe));
    late
}
