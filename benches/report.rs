//! How much time and memory it takes to read and report many slow polls: `cargo bench --no-default-features --bench report`.
//!
//! It writes recordings of 1,000 to 1,000,000 slow polls to a temporary folder: half of the polls on a thousand lines, the others each
//! on a line of its own. The program reads each recording and reports it, in every format; a child of the benchmark only reads it.
//! The table has the wall time and the peak memory of the process.
//!
//! A second table is of recordings as services write them: a million slow polls of 160 kinds, and a day of an interval a second.

#[allow(dead_code, reason = "shared with other benchmarks")]
mod common;
#[path = "report/grown.rs"]
mod grown;
#[path = "../tests/it/peak.rs"]
mod peak;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{is_measuring, print_setting};
use pollscope::report::Format;
use pollscope::saved::read;

/// A recording of one slow poll.
const ONE: &str = include_str!("../fuzz/seeds/recording/one-mode");
/// The variable that makes the benchmark read a file and do nothing else.
const READ: &str = "POLLSCOPE_BENCH_READ";
/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(600);

fn main() {
    if let Some(path) = std::env::var_os(READ) {
        read(File::open(path).expect("it is there")).expect("a recording");
        return;
    }
    print_setting();
    let folder = tempfile::tempdir().expect("a folder");
    if !std::env::args().any(|argument| argument == "grown") {
        written_at_once(folder.path());
    }
    written_while_it_grew(folder.path());
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn written_while_it_grew(folder: &Path) {
    let (polls, seconds) = if is_measuring() { (1_000_000, 86_400) } else { (100, 100) };
    println!("\n| | bytes | each | reading | | text | |\n|---|---|---|---|---|---|---|");
    let row = |name: &str, count: u64, write: &dyn Fn(&Path) -> std::io::Result<()>| {
        let path = folder.join("grown.pollscope");
        write(&path).expect("written");
        let bytes = fs::metadata(&path).expect("it is there").len();
        print!("| {name} | {} | {:.0} |", mib(bytes), bytes as f64 / count as f64);
        for (took, peak) in [read_alone(&path), reported(&path, Format::Text)] {
            print!(" {:.2} s | {} |", took.as_secs_f64(), mib(peak));
        }
        println!();
    };
    row(&format!("{polls} slow polls, for which nobody waited"), polls, &|path| grown::slow_polls(path, polls, false));
    row(&format!("{polls} slow polls, for which others waited"), polls, &|path| grown::slow_polls(path, polls, true));
    row(&format!("{seconds} intervals"), seconds, &|path| grown::intervals(path, seconds));
}

fn written_at_once(folder: &Path) {
    let sizes: &[usize] = if is_measuring() { &[1_000, 100_000, 1_000_000] } else { &[100] };
    let paths: Vec<PathBuf> = sizes.iter().map(|count| folder.join(count.to_string())).collect();
    print!("\n| |");
    for (path, count) in paths.iter().zip(sizes) {
        write(path, *count).expect("written");
        print!(" {count} slow polls, {} | |", mib(fs::metadata(path).expect("it is there").len()));
    }
    println!("\n|---|{}", "---|---|".repeat(sizes.len()));
    let row = |name: &str, measured: &dyn Fn(&Path) -> (Duration, u64)| {
        print!("| {name} |");
        for path in &paths {
            let (took, peak) = measured(path);
            print!(" {:.2} s | {} |", took.as_secs_f64(), mib(peak));
        }
        println!();
    };
    row("reading", &read_alone);
    for format in Format::ALL {
        row(format.as_str(), &|path| reported(path, format));
    }
}

fn read_alone(path: &Path) -> (Duration, u64) {
    let this = std::env::current_exe().expect("a program");
    measured(Command::new(this).env(READ, path))
}

fn reported(path: &Path, format: Format) -> (Duration, u64) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pollscope"));
    measured(command.arg("report").arg(path).args(["--format", format.as_str()]))
}

fn write(path: &Path, count: usize) -> std::io::Result<()> {
    let one = ONE.replacen("\"slow_polls_total\":1", &format!("\"slow_polls_total\":{count}"), 1);
    let (before, rest) = one.split_once("\"slow_polls\":[").expect("a list");
    let (poll, after) = rest.split_once("],\"sites\"").expect("another behind it");
    let mut file = BufWriter::new(File::create(path)?);
    write!(file, "{before}\"slow_polls\":[")?;
    for index in 0..count {
        let line = if index % 2 == 0 { index % 2_000 } else { index };
        let comma = if index == 0 { "" } else { "," };
        write!(file, "{comma}{}", poll.replace("src/sink.rs:41", &format!("src/sink.rs:{line}")))?;
    }
    write!(file, "],\"sites\"{after}")?;
    file.flush()
}

/// The time that it took, and its peak memory.
fn measured(command: &mut Command) -> (Duration, u64) {
    let start = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn().expect("it starts");
    let (status, peak) = peak::wait(&mut child, DEADLINE).expect("it ends");
    assert!(status.success(), "{status}");
    (start.elapsed(), peak)
}
