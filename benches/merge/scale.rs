//! Whether ten times the lines, or ten times the inputs, cost more than ten times the time.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use pollscope::pipeline::sink::Mode;

use crate::common::{is_measuring, quantile};
use crate::files::{filled, merge_once};

/// Prints the table.
pub(crate) fn run() {
    let (lines, rounds) = if is_measuring() { (100_000, 7) } else { (20, 1) };
    // In memory if there is such a folder: a disk writes in bursts of its own.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")));
    let folder = folder.expect("a folder can be made");
    let make = |name: &str, inputs, lines| filled(&folder.path().join(name), inputs, lines, 40);
    let base = make("base", 10, lines);
    let cases =
        [("10 times the lines", make("lines", 10, 10 * lines)), ("10 times the inputs", make("inputs", 100, lines))];
    println!("scale: 10 inputs of {lines} lines, offloaded; line by line on a tenth of the lines; {rounds} rounds");
    let few = make("few", 10, lines / 10);
    let few_cases =
        [("10 times the lines", make("fewl", 10, lines)), ("10 times the inputs", make("fewi", 100, lines / 10))];
    compare("in batches", 100_000, &base, &cases, rounds, folder.path());
    compare("line by line", 1, &few, &few_cases, rounds.min(3), folder.path());
}

fn compare(
    title: &str,
    batch: usize,
    base: &[PathBuf],
    cases: &[(&str, Vec<PathBuf>)],
    rounds: usize,
    folder: &std::path::Path,
) {
    let output = folder.join("merged");
    let time = |inputs: &[PathBuf]| {
        let start = Instant::now();
        merge_once(Mode::Offloaded, batch, inputs, &output);
        let took = start.elapsed().as_secs_f64();
        fs::remove_file(&output).expect("it was made");
        took
    };
    let mut ratios = vec![Vec::new(); cases.len()];
    for _ in 0..rounds {
        let once = time(base);
        for ((_, inputs), ratios) in cases.iter().zip(&mut ratios) {
            ratios.push(time(inputs) / once);
        }
    }
    if is_measuring() {
        for ((name, _), ratios) in cases.iter().zip(&ratios) {
            let at = |q| quantile(ratios.iter().copied(), q);
            println!("{title}: {name} take {:.1} times the time ({:.1} to {:.1})", at(0.5), at(0.0), at(1.0));
        }
    }
}
