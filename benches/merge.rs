//! How many lines a second the merge writes, by mode: `cargo bench --bench merge`.
//!
//! The inputs are complete before a merge starts, so nothing ever sleeps. A merge writes and answers line by line, one
//! poll a line, and that is dear on purpose: it is the pipeline under test, not a copying program. Beside it stand two
//! yardsticks: `cat` of the same files, and a plain loop that makes one write a line, which no merge of this kind can beat.
//!
//! Every round runs each of them once; the table has the median round. Each mode's first output is confirmed.

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{is_measuring, print_setting, quantile};
use pollscope::pipeline::confirm::{OutputEvidence, confirm};
use pollscope::pipeline::generate::{Files, Plan};
use pollscope::pipeline::merge::{Merged, merge, open_inputs};
use pollscope::pipeline::sink::{Existing, Mode, OutputSpec};
use pollscope::pipeline::tail::TailOptions;
use pollscope::recording::Verdict;
use pollscope::tasks::Tasks;
use tokio::runtime::Builder;
use tokio::sync::watch;

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Cat,
    WriteLines,
    Merge(Mode),
}

impl Way {
    const ALL: [Way; 4] = [Way::Cat, Way::WriteLines, Way::Merge(Mode::Naive), Way::Merge(Mode::Offloaded)];

    fn name(self) -> &'static str {
        match self {
            Way::Cat => "cat",
            Way::WriteLines => "a loop, one write a line",
            Way::Merge(Mode::Naive) => "merge, naive",
            Way::Merge(Mode::Offloaded) => "merge, offloaded",
        }
    }

    fn run(self, inputs: &[PathBuf], output: &Path, is_first: bool) -> Duration {
        let start = Instant::now();
        match self {
            Way::Cat => cat(inputs, output),
            Way::WriteLines => write_lines(inputs, output),
            Way::Merge(mode) => {
                let merged = merge_once(mode, inputs, output);
                let took = start.elapsed();
                if is_first {
                    check(&merged);
                }
                return took;
            }
        }
        start.elapsed()
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

fn merge_once(mode: Mode, inputs: &[PathBuf], output: &Path) -> Merged {
    let handles = open_inputs(inputs, output).expect("the inputs can be opened");
    let output = OutputSpec { path: output.to_owned(), existing: Existing::Refuse, sync_every: 0 };
    let options = TailOptions { interval: Duration::from_millis(100), stamp_from: None };
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
    let found = confirm(&evidence, &output);
    assert_eq!(found.verdict, Verdict::Ok, "the merge is not confirmed: {:?}", found.reason);
}

fn main() {
    let (rounds, lines) = if is_measuring() { (5, 200_000) } else { (1, 200) };
    let plan = Plan { inputs: 5, lines, max_wait: Duration::ZERO, letters: 10, seed: 1 };
    // On the disk that is built on, not in a temporary folder that may be memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made");
    let files = Files::create(folder.path(), &plan).expect("the inputs can be made");
    let inputs = files.paths();
    files.fill().expect("the inputs can be written");
    let bytes: u64 = inputs.iter().map(|input| fs::metadata(input).map_or(0, |metadata| metadata.len())).sum();
    let lines = plan.inputs as u64 * plan.lines;

    println!("merging {lines} lines, {bytes} bytes, from {} files on a current-thread runtime", plan.inputs);
    print_setting();
    let output = folder.path().join("merged");
    let mut seconds = [const { Vec::new() }; Way::ALL.len()];
    for round in 0..rounds {
        for (way, seconds) in Way::ALL.into_iter().zip(&mut seconds) {
            seconds.push(way.run(&inputs, &output, round == 0).as_secs_f64());
            fs::remove_file(&output).expect("the output was made");
        }
    }

    if is_measuring() {
        print(lines, bytes, &seconds);
    } else {
        println!("it runs; `cargo bench` measures");
    }
}

fn print(lines: u64, bytes: u64, seconds: &[Vec<f64>]) {
    // The loop with one write a line.
    let floor = &seconds[1];
    println!("{} rounds; the median of each, and the fastest and slowest", floor.len());
    println!();
    println!(
        "{:<28} {:>12} {:>8} {:>8}  {:<16} {:>14}",
        "", "lines/s", "MB/s", "ns/line", "(all rounds)", "the loop = 1"
    );
    for (way, seconds) in Way::ALL.into_iter().zip(seconds) {
        let at = |q| quantile(seconds.iter().copied(), q);
        let per_line = |q| at(q) * 1e9 / lines as f64;
        let ratio = quantile(seconds.iter().zip(floor).map(|(own, floor)| own / floor), 0.5);
        println!(
            "{:<28} {:>12.0} {:>8.1} {:>8.0}  {:<16} {:>13.2}x",
            way.name(),
            lines as f64 / at(0.5),
            bytes as f64 / at(0.5) / 1e6,
            per_line(0.5),
            format!("({:.0} to {:.0})", per_line(0.0), per_line(1.0)),
            ratio
        );
    }
}
