//! Lines and bytes per second, by mode.
//!
//! The inputs are complete before a merge starts, so nothing ever sleeps. The first table is line by line: each line has a write and a
//! poll of its own. That is expensive on purpose, since it is the pipeline of the lesson. Beside it are `cat` of the same files, a
//! plain loop with one write for each line, which no merge of this kind can beat, and the same pipeline on Python's asyncio, with a
//! fiftieth of the lines. The second table is in batches, of a GiB and more: what was read at once is written at once.
//!
//! Every round runs each way once; the table has the median round. Each way's first output is confirmed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{is_measuring, quantile};
use crate::files::{check, filled, merge_once};
use pollscope::pipeline::sink::Mode;

/// The modes that run on a current-thread runtime.
const MODES: [Mode; 4] = [Mode::Naive, Mode::Offloaded, Mode::SpawnBlocking, Mode::TokioFs];

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Cat,
    WriteLines,
    Asyncio,
    /// A merge in this mode, with at most so many lines in each write.
    Merge(Mode, usize),
}

impl Way {
    fn name(self) -> String {
        match self {
            Way::Cat => "cat".to_owned(),
            Way::WriteLines => "a loop, one write a line".to_owned(),
            Way::Asyncio => "asyncio, offloaded".to_owned(),
            Way::Merge(mode, _) => format!("merge, {mode}"),
        }
    }

    /// How many of so many lines of each input it gets.
    fn lines(self, lines: u64) -> u64 {
        if self == Way::Asyncio { (lines / 50).max(1) } else { lines }
    }

    /// The time that it takes; `None` if it cannot run here.
    fn run(self, inputs: &[PathBuf], output: &Path, is_first: bool) -> Option<Duration> {
        let start = Instant::now();
        match self {
            Way::Cat => cat(inputs, output),
            Way::WriteLines => write_lines(inputs, output),
            Way::Asyncio => return asyncio(inputs, output).then(|| start.elapsed()),
            Way::Merge(mode, batch) => {
                let merged = merge_once(mode, batch, inputs, output);
                let took = start.elapsed();
                if is_first {
                    check(&merged);
                }
                return Some(took);
            }
        }
        Some(start.elapsed())
    }
}

/// Whether Python can run it.
fn asyncio(inputs: &[PathBuf], output: &Path) -> bool {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/merge/asyncio_merge.py");
    match Command::new("python3").arg(program).arg(output).args(inputs).status() {
        Ok(status) => {
            assert!(status.success(), "`{program}` failed: {status}");
            true
        }
        Err(_) => false,
    }
}

fn cat(inputs: &[PathBuf], output: &Path) {
    let output = File::create(output).expect("the output can be made");
    let status = Command::new("cat").args(inputs).stdout(output).status().expect("`cat` can be run");
    assert!(status.success(), "`cat` failed: {status}");
}

fn write_lines(inputs: &[PathBuf], output: &Path) {
    let mut output = File::create(output).expect("the output can be made");
    let mut line = Vec::new();
    for input in inputs {
        let mut input = BufReader::new(File::open(input).expect("the input can be opened"));
        while input.read_until(b'\n', &mut line).expect("the input can be read") > 0 {
            output.write_all(&line).expect("the output can be written");
            line.clear();
        }
    }
}

/// Runs the same ways in every round, on inputs of one size.
fn compare(title: &str, ways: &[Way], rounds: usize, lines: u64, letters: usize) {
    // On the disk of the target folder, as a temporary folder may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made");
    let make = |name: &str, lines: u64| {
        let inputs = filled(&folder.path().join(name), 5, lines, letters);
        let bytes: u64 = inputs.iter().map(|input| fs::metadata(input).map_or(0, |metadata| metadata.len())).sum();
        (inputs, 5 * lines, bytes)
    };
    let (whole, few) = (make("whole", lines), make("few", Way::Asyncio.lines(lines)));
    println!("{title}: {} lines, {} bytes, from 5 files on a current-thread runtime", whole.1, whole.2);
    let output = folder.path().join("merged");
    let mut seconds: Vec<Vec<f64>> = vec![Vec::new(); ways.len()];
    for round in 0..rounds {
        for (way, seconds) in ways.iter().zip(&mut seconds) {
            let (inputs, ..) = if *way == Way::Asyncio { &few } else { &whole };
            if let Some(took) = way.run(inputs, &output, round == 0) {
                seconds.push(took.as_secs_f64());
                fs::remove_file(&output).expect("the output was made");
            }
        }
    }
    if is_measuring() {
        let sizes: Vec<(u64, u64)> =
            ways.iter().map(|way| if *way == Way::Asyncio { &few } else { &whole }).map(|of| (of.1, of.2)).collect();
        print(ways, &sizes, &seconds);
    }
}

/// Prints both tables.
pub(crate) fn run() {
    let (rounds, lines, rounds_of_large, large) =
        if is_measuring() { (5, 200_000, 5, 2_500_000) } else { (1, 200, 1, 200) };
    let by_line = [Way::Cat, Way::WriteLines, Way::Asyncio].into_iter().chain(MODES.map(|mode| Way::Merge(mode, 1)));
    compare("line by line", &by_line.collect::<Vec<_>>(), rounds, lines, 10);
    let in_batches = [Way::Cat, Way::WriteLines].into_iter().chain(MODES.map(|mode| Way::Merge(mode, 100_000)));
    compare("in batches", &in_batches.collect::<Vec<_>>(), rounds_of_large, large, 40);
}

/// Prints rates, and their ratios to the first way's rate in the same round.
fn print(ways: &[Way], sizes: &[(u64, u64)], seconds: &[Vec<f64>]) {
    let yardstick = ways[0].name();
    println!("{} rounds; the median of each, and the fastest and slowest", seconds[0].len());
    println!();
    println!(
        "{:<28} {:>12} {:>8} {:>8}  {:<16} {:>14}",
        "",
        "lines/s",
        "MB/s",
        "ns/line",
        "(all rounds)",
        format!("{yardstick} = 1")
    );
    for ((way, (lines, bytes)), seconds_of) in ways.iter().zip(sizes).zip(seconds) {
        if seconds_of.is_empty() {
            println!("{:<28} SKIP: it cannot be run here", way.name());
            continue;
        }
        let at = |q| quantile(seconds_of.iter().copied(), q);
        let per_line = |q| at(q) * 1e9 / *lines as f64;
        // Sorted by bytes per second.
        let rates =
            seconds_of.iter().zip(&seconds[0]).map(|(own, first)| (*bytes as f64 / own) / (sizes[0].1 as f64 / first));
        println!(
            "{:<28} {:>12.0} {:>8.1} {:>8.0}  {:<16} {:>13.4}x",
            way.name(),
            *lines as f64 / at(0.5),
            *bytes as f64 / at(0.5) / 1e6,
            per_line(0.5),
            format!("({:.0} to {:.0})", per_line(0.0), per_line(1.0)),
            quantile(rates, 0.5)
        );
    }
    println!();
}
