//! What a look from outside costs who is looked at: `cargo bench -p pollscope-attach --bench throughput`.
//!
//! An echo service with two workers, whose clients ask again as soon as they have an answer, so that both processors are taken; and the
//! same with clients that pause. It is left alone and looked at in turns, each time for some seconds, and the answers of two neighbours
//! are compared. What is looked at for comparison's sake, another process that does nothing, costs the machine's time alone.
//!
//! After `--`: `--pairs N`, `--seconds N`, `--hz N`; with `--tasks MS` its tasks are read every so many milliseconds instead, for which
//! `CARGO_PROFILE_BENCH_DEBUG=full` gives them types.

mod pairs;
mod roles;

use std::process::ExitCode;
use std::time::Duration;

use pairs::{Options, measure};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match *words {
        ["serve"] => roles::serve(),
        ["look", pid, hz] => roles::look(pid, hz),
        ["tasks", pid, ms] => roles::read_tasks(pid, ms),
        // `cargo test --benches` only checks that it runs.
        _ if !words.contains(&"--bench") => Ok(()),
        _ => Options::of(&words).and_then(|options| measure(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("throughput: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// For so long whoever begins goes on before anything is measured.
pub(crate) const BEFORE: Duration = Duration::from_millis(1_500);
