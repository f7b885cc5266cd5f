//! The same load for every instrument: `PROGRAM INSTRUMENT LOAD [POLLS]` prints what it took as a line of `key=value`.
//!
//! A program is one binary for each set of features that its instruments need. It runs its load twice on one runtime, the
//! first time unmeasured, and then asks the instrument what it saw: one that missed polls would look cheap, so that is an
//! error. Exit codes: 0 measured, 1 the instrument was blind, 2 usage, 3 the instrument is not to be had (stderr says why).

#[cfg(not(tokio_unstable))]
compile_error!("task hooks need `--cfg tokio_unstable`: build from within this folder, without a RUSTFLAGS variable");

mod counter;
mod echo;
mod storm;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

pub use counter::{HAS_COUNTER, counter};

/// Something that looks at a runtime's polls, or nothing.
pub trait Instrument: Clone + Send + Sync + 'static {
    /// The runtime, looked at. Called once, before anything runs.
    fn runtime(&mut self, builder: Builder) -> Runtime;

    /// Spawns a task as this instrument wants tasks to be spawned.
    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, future: F) -> JoinHandle<()> {
        tokio::spawn(future)
    }

    /// What it saw. Called once, when every task has ended.
    fn seen(self, runtime: Runtime) -> Seen;
}

/// What an instrument says that it saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// There is none.
    Nothing,
    /// It counts nothing; that it was there was found out in another way.
    Present,
    /// So many tasks; it does not count polls, but took time for them.
    Tasks(u64),
    /// So many polls, some of which it takes together.
    MergedPolls(u64),
    /// So many polls, of those that it did not drop.
    SomePolls(u64),
    /// Every poll.
    Polls(u64),
}

/// What a load did.
#[derive(Debug, Clone, Copy, Default)]
struct Done {
    tasks: u64,
    polls: u64,
    /// Whether it cannot have been more polls.
    is_exact: bool,
}

impl Seen {
    /// Whether an instrument that says this was awake.
    fn covers(self, done: Done) -> bool {
        match self {
            Seen::Nothing | Seen::Present => true,
            Seen::Tasks(tasks) => tasks >= done.tasks,
            // Tokio runs at most three tasks of a worker's LIFO slot after the one that it counts them with.
            Seen::MergedPolls(polls) => polls >= done.polls / 4,
            Seen::SomePolls(polls) => polls > 0,
            Seen::Polls(polls) if done.is_exact => polls == done.polls,
            Seen::Polls(polls) => polls >= done.polls,
        }
    }
}

/// What a measured part took.
#[derive(Debug, Clone, Copy)]
struct Took {
    wall: Duration,
    /// Of all threads, the instrument's own too.
    cpu: Duration,
}

struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

fn process_cpu() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().expect("CPU time is never negative")
}

impl Stopwatch {
    fn start() -> Stopwatch {
        Stopwatch { cpu: process_cpu(), wall: Instant::now() }
    }

    fn stop(self) -> Took {
        Took { wall: self.wall.elapsed(), cpu: process_cpu() - self.cpu }
    }
}

const USAGE: &str = "usage: PROGRAM INSTRUMENT yield-1|yield-4|spawn-1|spawn-4 POLLS, or PROGRAM INSTRUMENT echo";

/// The `main` of a program. `choose` finds an instrument by its name; one that is not to be had says why.
pub fn main<I: Instrument>(choose: impl Fn(&str) -> Option<Result<I, String>>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let usage = || {
        eprintln!("{USAGE}");
        ExitCode::from(2)
    };
    let Some(instrument) = arguments.first().and_then(|name| choose(name)) else { return usage() };
    let mut instrument = match instrument {
        Ok(instrument) => instrument,
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::from(3);
        }
    };
    let polls = || arguments.get(2).and_then(|polls| polls.parse::<u64>().ok()).filter(|polls| *polls >= 1_000);
    let (runtime, done) = match (arguments.get(1).copied(), polls()) {
        (Some("echo"), None) => {
            let runtime = instrument.runtime(builder(1));
            let done = echo::serve(&runtime, &instrument);
            (runtime, done)
        }
        (Some(load), Some(polls)) => {
            let Some((shape, workers)) = storm::parse(load) else { return usage() };
            let runtime = instrument.runtime(builder(workers));
            let done = storm::run(&runtime, &instrument, shape, workers, polls);
            (runtime, done)
        }
        _ => return usage(),
    };
    let seen = instrument.seen(runtime);
    println!("done tasks={} polls={} seen={seen:?}", done.tasks, done.polls);
    if !seen.covers(done) {
        eprintln!("the instrument was blind: {done:?}, and it saw {seen:?}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn builder(workers: usize) -> Builder {
    let mut builder = if workers == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    builder.worker_threads(workers).enable_io();
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Bare;

    impl Instrument for Bare {
        fn runtime(&mut self, mut builder: Builder) -> Runtime {
            builder.build().unwrap()
        }

        fn seen(self, _: Runtime) -> Seen {
            Seen::Nothing
        }
    }

    #[test]
    fn a_blind_instrument_is_noticed() {
        let exact = Done { tasks: 3, polls: 100, is_exact: true };
        let least = Done { is_exact: false, ..exact };
        for seen in [Seen::Polls(0), Seen::Polls(99), Seen::MergedPolls(24), Seen::SomePolls(0), Seen::Tasks(2)] {
            assert!(!seen.covers(exact) && !seen.covers(least), "{seen:?}");
        }
        assert!(!Seen::Polls(101).covers(exact) && Seen::Polls(101).covers(least));
        for seen in [Seen::Polls(100), Seen::MergedPolls(25), Seen::SomePolls(1), Seen::Tasks(3), Seen::Present] {
            assert!(seen.covers(exact) && seen.covers(least), "{seen:?}");
        }
    }

    /// What every instrument is compared with is counted, not assumed.
    #[test]
    fn storms_poll_as_often_as_they_say() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
        for load in ["yield-1", "yield-4", "spawn-1", "spawn-4"] {
            let (shape, workers) = storm::parse(load).unwrap();
            let polls = Arc::new(AtomicU64::new(0));
            let counter = Arc::clone(&polls);
            let mut builder = builder(workers);
            builder.on_after_task_poll(move |_| _ = counter.fetch_add(1, Relaxed));
            let runtime = builder.build().unwrap();
            let done = storm::run(&runtime, &Bare, shape, workers, 2_000);
            drop(runtime);
            assert!(Seen::Polls(polls.load(Relaxed)).covers(done), "{load}: {done:?}, {polls:?}");
        }
    }
}
