//! How fast the merge writes, by mode: `cargo bench --bench merge`.
//!
//! The inputs are complete before a merge starts, so nothing ever sleeps. First line by line: each line written and answered by
//! itself, in a poll of its own, which is dear on purpose, as it is the lesson's pipeline. Beside it stand `cat` of the same
//! files, a plain loop that makes one write a line, which no merge of this kind can beat, and the same pipeline on Python's
//! asyncio, on a fiftieth of the lines. Then in batches, over a GiB and more: what was read at once is written at once.
//!
//! Every round runs each of them once; the table has the median round. Each way's first output is confirmed.

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{is_measuring, print_setting, quantile};
use pollscope::pipeline::confirm::{How, OutputEvidence, confirm};
use pollscope::pipeline::generate::{Files, Plan};
use pollscope::pipeline::merge::{Merged, merge, open_inputs};
use pollscope::pipeline::sink::{Existing, Mode, OutputSpec};
use pollscope::pipeline::tail::TailOptions;
use pollscope::recording::Verdict;
use pollscope::tasks::Tasks;
use tokio::runtime::Builder;
use tokio::sync::watch;

/// On a current-thread runtime.
const MODES: [Mode; 4] = [Mode::Naive, Mode::Offloaded, Mode::SpawnBlocking, Mode::TokioFs];

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Cat,
    WriteLines,
    Asyncio,
    /// With so many lines at once, at most.
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

    /// Of so many lines of each input, how many it is given.
    fn lines(self, lines: u64) -> u64 {
        if self == Way::Asyncio { (lines / 50).max(1) } else { lines }
    }

    /// How long it takes; `None` where it cannot be run.
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

/// Whether there is a Python to run it.
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

fn merge_once(mode: Mode, batch: usize, inputs: &[PathBuf], output: &Path) -> Merged {
    let handles = open_inputs(inputs, output).expect("the inputs can be opened");
    let output = OutputSpec { path: output.to_owned(), existing: Existing::Refuse, sync_every: 0 };
    let options = TailOptions { interval: Duration::from_millis(100), batch, stamp_from: None };
    // Closed already: the tails end where the files end.
    let (_close, closed) = watch::channel(true);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    runtime
        .block_on(merge(&Tasks::unmeasured(), mode, handles, output, options, closed))
        .expect("the output can be opened")
}

fn check(merged: &Merged) {
    let evidence: Vec<_> = merged.inputs.iter().map(|input| input.evidence.clone()).collect();
    let opened = merged.opened.clone();
    let output = OutputEvidence { path: opened.path, start: opened.start, dev: opened.dev, ino: opened.ino };
    let found = confirm(&evidence, &output, &How::default());
    assert_eq!(found.verdict, Verdict::Ok, "the merge is not confirmed: {:?}", found.reason);
}

/// The same ways in every round, on inputs of one size.
fn compare(title: &str, ways: &[Way], rounds: usize, lines: u64, letters: usize) {
    // On the disk that is built on, not in a temporary folder that may be memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made");
    let make = |name: &str, lines: u64| {
        let folder = folder.path().join(name);
        fs::create_dir(&folder).expect("a folder can be made");
        let plan = Plan { inputs: 5, lines, max_wait: Duration::ZERO, letters, seed: 1 };
        let files = Files::create(&folder, &plan).expect("the inputs can be made");
        let inputs = files.paths();
        files.fill().expect("the inputs can be written");
        let bytes: u64 = inputs.iter().map(|input| fs::metadata(input).map_or(0, |metadata| metadata.len())).sum();
        (inputs, plan.inputs as u64 * lines, bytes)
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

fn main() {
    let (rounds, lines, rounds_of_large, large) =
        if is_measuring() { (5, 200_000, 5, 2_500_000) } else { (1, 200, 1, 200) };
    print_setting();
    let by_line = [Way::Cat, Way::WriteLines, Way::Asyncio].into_iter().chain(MODES.map(|mode| Way::Merge(mode, 1)));
    compare("line by line", &by_line.collect::<Vec<_>>(), rounds, lines, 10);
    let in_batches = [Way::Cat, Way::WriteLines].into_iter().chain(MODES.map(|mode| Way::Merge(mode, 100_000)));
    compare("in batches", &in_batches.collect::<Vec<_>>(), rounds_of_large, large, 40);
    if !is_measuring() {
        println!("it runs; `cargo bench` measures");
    }
}

/// Rates, and what they are of the first way's in the same round.
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
        // By bytes a second.
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
