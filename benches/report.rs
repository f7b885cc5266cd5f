//! What a report of many slow polls takes: `cargo bench --no-default-features --bench report`.
//!
//! Recordings of 1,000 to 1,000,000 slow polls, half of them of a thousand lines and half each of a line of its own, are
//! written to a temporary folder. The program reads each and reports it, as text and as JSON; the table has the wall time and the
//! most memory that it had.

#[allow(dead_code, reason = "shared with other benchmarks")]
mod common;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{is_measuring, print_setting};

/// A recording of one slow poll.
const ONE: &str = include_str!("../fuzz/seeds/recording/one-mode");

fn main() {
    print_setting();
    println!("\n| slow polls | file | text | peak | JSON | peak |\n|---|---|---|---|---|---|");
    let folder = tempfile::tempdir().expect("a folder");
    let sizes: &[usize] = if is_measuring() { &[1_000, 100_000, 1_000_000] } else { &[100] };
    for &count in sizes {
        let path = folder.path().join("recording");
        write(&path, count).expect("written");
        let [text, json] = ["text", "json"].map(|format| report(&path, format));
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        let size = fs::metadata(&path).expect("it is there").len();
        let cell = |(took, peak): (Duration, u64)| format!("{:.2} s | {}", took.as_secs_f64(), mib(peak));
        println!("| {count} | {} | {} | {} |", mib(size), cell(text), cell(json));
    }
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

/// How long it took, and the most memory.
fn report(path: &Path, format: &str) -> (Duration, u64) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pollscope"));
    command.arg("report").arg(path).args(["--format", format]).stdout(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn().expect("it starts");
    let mut peak = 0;
    loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib: Option<u64> = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(kib.unwrap_or(0) * 1024);
        if let Some(status) = child.try_wait().expect("it is ours") {
            assert!(status.success(), "{status}");
            return (start.elapsed(), peak);
        }
        thread::sleep(Duration::from_millis(1));
    }
}
