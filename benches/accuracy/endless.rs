//! How soon it is known where the first poll of a process is that never ends. Each in a process of its own, as names are known later.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use pollscope_probe::Probe;
use tokio::runtime::Builder;

use super::score::{THRESHOLD, quantiles_us};

/// The words that name the two kinds, and the process that tries one.
pub(crate) const KINDS: [&str; 2] = ["endless-spin", "endless-park"];
const TRIES: usize = 20;
const SOON: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(20);

/// Tries each kind in processes of their own.
pub(crate) fn print() {
    let this = std::env::current_exe().expect("this program has a path");
    println!("a first poll that never ends:");
    for kind in KINDS {
        let tried =
            (0..TRIES).map(|_| Command::new(&this).args(["--bench", kind]).output().expect("this program runs"));
        let told = tried.map(|output| String::from_utf8_lossy(&output.stdout).trim().parse::<f64>().ok());
        let located: Vec<f64> = told.flatten().collect();
        let soon = located.iter().filter(|us| **us <= SOON.as_micros() as f64).count();
        let after = quantiles_us(&located, &[0.5, 1.0]);
        println!(
            "- {kind}: {soon} of {TRIES} located within {SOON:?}; p50 / max {after} µs, {} located",
            located.len()
        );
    }
}

/// Has such a poll, and prints after how many microseconds its line was known.
pub(crate) fn locate(kind: &str) {
    let mut builder = Builder::new_current_thread();
    let probe = Probe::builder().slow_poll_threshold(THRESHOLD).install(&mut builder).unwrap();
    let runtime = builder.build().unwrap();
    let computes = kind == KINDS[0];
    let (task, first) = (async move { if computes { spin() } else { park() } }, Instant::now());
    let spawned = probe.clone();
    thread::spawn(move || runtime.block_on(async { spawned.spawn("endless", task).await }));
    while first.elapsed() < LATEST {
        let polling = probe.snapshot().polling;
        let mut lines = polling.iter().filter_map(|polling| polling.evidence.blocking_line.as_deref());
        if let Some(line) = lines.next_back() {
            assert!(line.contains("accuracy/endless.rs:"), "{line}");
            return println!("{}", first.elapsed().as_micros());
        }
        thread::sleep(Duration::from_millis(2));
    }
    println!("it was not located");
}

fn spin() {
    let mut number = 1u64;
    loop {
        number = std::hint::black_box(number.wrapping_mul(3));
    }
}

fn park() {
    loop {
        thread::park();
    }
}
