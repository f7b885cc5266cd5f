//! Blocks the workers of its own Tokio runtime in known ways, at random, and tells at its end when each stall began and ended, and
//! which line, which async functions, which future and which task it was.
//!
//! It says `ready`, waits for a line on stdin, runs for as long as it was told, and prints JSON, one object a line: a stall each, and
//! last what it has counted; it ends with another line, or with stdin. While it runs it prints nothing. See [`options`] for what it can be told.

mod calm;
mod chain;
mod clock;
mod kit;
mod options;
mod plan;
mod record;
mod ways;

use std::io::{self, BufRead as _, Write as _};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use tokio::runtime::{Builder, Runtime};

use crate::kit::Kit;
use crate::options::{Flavor, Mode, Options};
use crate::plan::Plan;
use crate::record::{Record, Source};

fn main() {
    let options = Options::of(std::env::args().skip(1)).unwrap_or_else(|problem| {
        eprintln!("attached: {problem}");
        std::process::exit(2)
    });
    let runtime = runtime(&options).expect("a runtime");
    println!("ready");
    io::stdout().flush().expect("somebody reads");
    io::stdin().lock().read_line(&mut String::new()).expect("a line");
    let begin_ns = clock::now_ns();
    let records = runtime.block_on(run(&options));
    let end_ns = clock::now_ns();
    let source = Source::read();
    let mut told = String::new();
    for record in &records {
        record.write(&mut told, &source, options.flavor.name());
    }
    let (interrupted, polls) = (ways::INTERRUPTED.load(Relaxed), calm::POLLS.load(Relaxed));
    told += &format!(
        "{{\"begin_ns\":{begin_ns},\"end_ns\":{end_ns},\"interrupted\":{interrupted},\"stalls\":{},\"polls\":{polls}}}\n",
        records.len()
    );
    io::stdout().write_all(told.as_bytes()).and_then(|()| io::stdout().flush()).expect("somebody reads");
    // Whoever looks at it may want to look at the end of it.
    let _ = io::stdin().lock().read_line(&mut String::new());
}

fn runtime(options: &Options) -> io::Result<Runtime> {
    let mut builder = match options.flavor {
        Flavor::Multi => Builder::new_multi_thread(),
        Flavor::Current => Builder::new_current_thread(),
    };
    builder.worker_threads(options.workers).enable_all().build()
}

/// What is spawned, until all of it is over; what it has recorded.
async fn run(options: &Options) -> Vec<Record> {
    let until = Instant::now() + options.time;
    let tasks: Vec<_> = match options.mode {
        Mode::Stalls => (0..options.tasks).map(|task| stalls(options, task, until)).collect(),
        Mode::Idle => (0..options.tasks).map(|_| tokio::spawn(calm::idle(until))).collect(),
        Mode::Gaps => (0..options.tasks).map(|_| tokio::spawn(calm::gaps(until))).collect(),
        Mode::Hot => (0..options.tasks).map(|_| tokio::spawn(calm::hot(until))).collect(),
    };
    let mut records = Vec::new();
    for task in tasks {
        records.extend(task.await.expect("it does not panic"));
    }
    records
}

/// Task after task has one more async function within another.
fn stalls(options: &Options, task: usize, until: Instant) -> tokio::task::JoinHandle<Vec<Record>> {
    let plan = Plan::new(options, task, until);
    let kit = Kit::new(task);
    match task % 4 {
        0 => tokio::spawn(chain::task_of_2(kit, plan)),
        1 => tokio::spawn(chain::task_of_3(kit, plan)),
        2 => tokio::spawn(chain::task_of_4(kit, plan)),
        _ => tokio::spawn(chain::task_of_5(kit, plan)),
    }
}
