//! Measures how late a line says that a poll still runs, and how late a stall is looked at while the probe looks up names.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_probe::Probe;
use tokio::runtime::Builder;

use super::score::{detected_us, quantiles_us};

/// At 10× that, and not before 100 ms, a line says that a poll still runs.
const THRESHOLD: Duration = Duration::from_millis(10);
const STILL: Duration = Duration::from_millis(100);
/// The number of stalls for the lines, half of them the first of their probe.
const STALLS: usize = 40;
/// The number of probes whose first stall is followed by others at once.
const PROBES: usize = 20;

pub(crate) fn print() {
    let yardstick = Yardstick::start(THRESHOLD);
    let (first, later): (Vec<_>, Vec<_>) = (0..STALLS / 2).map(|_| still_us()).unzip();
    println!("a line that a poll still runs was written after it was due, p50 / p99 / max:");
    for (which, late) in [("first stall of a probe", first), ("later", later)] {
        let late: Vec<f64> = late.into_iter().flatten().collect();
        println!("- {which}: {} µs, {} of {} said", quantiles_us(&late, &[0.5, 0.99, 1.0]), late.len(), STALLS / 2);
    }
    let (mut first, mut later) = (Vec::new(), Vec::new());
    for _ in 0..PROBES {
        let mut polls = stalls_at_once().into_iter();
        first.extend(polls.next());
        later.extend(polls);
    }
    println!("a stall was detected after p50 / p99 / max:");
    for (which, detected) in [("first of a probe", first), ("right after it, while names are looked up", later)] {
        let stalls = detected.len();
        let detected: Vec<f64> = detected.into_iter().flatten().collect();
        println!("- {which}: {} µs, {} of {stalls} seen", quantiles_us(&detected, &[0.5, 0.99, 1.0]), detected.len());
    }
    println!("a thread that only sleeps woke late by p50 / p99 / max: {} µs", yardstick.stop());
}

/// How late this machine is: a thread that does nothing but sleep.
pub(crate) struct Yardstick {
    is_over: Arc<AtomicBool>,
    sleeps: thread::JoinHandle<Vec<f64>>,
}

impl Yardstick {
    pub(crate) fn start(sleep: Duration) -> Yardstick {
        let is_over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&is_over);
        let sleeps = thread::spawn(move || {
            let mut late_us = Vec::new();
            while !until.load(Relaxed) {
                let start = Instant::now();
                thread::sleep(sleep);
                late_us.push(start.elapsed().saturating_sub(sleep).as_nanos() as f64 / 1e3);
            }
            late_us
        });
        Yardstick { is_over, sleeps }
    }

    pub(crate) fn stop(self) -> String {
        self.is_over.store(true, Relaxed);
        quantiles_us(&self.sleeps.join().unwrap(), &[0.5, 0.99, 1.0])
    }
}

/// The times at which such lines were written.
#[derive(Clone, Default)]
struct Stamps(Arc<Mutex<Vec<Instant>>>);

impl Write for Stamps {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let now = Instant::now();
        if String::from_utf8_lossy(bytes).contains("still runs after") {
            self.0.lock().unwrap().push(now);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How late the lines of a probe's first stall and of its second were; `None` for one that was not said.
fn still_us() -> (Option<f64>, Option<f64>) {
    let stamps = Stamps::default();
    let mut builder = Builder::new_current_thread();
    let probe = Probe::builder().slow_poll_threshold(THRESHOLD).log_to(stamps.clone()).install(&mut builder).unwrap();
    let runtime = builder.build().unwrap();
    let stall = || {
        stamps.0.lock().unwrap().clear();
        let block = async {
            let start = Instant::now();
            thread::sleep(STILL + Duration::from_millis(40));
            start
        };
        let start = runtime.block_on(async { probe.spawn("stall", block).await.unwrap() });
        let written = stamps.0.lock().unwrap().first().copied()?;
        Some(written.saturating_duration_since(start + STILL).as_nanos() as f64 / 1e3)
    };
    (stall(), stall())
}

/// A probe's first stall and others right after it, with how late each was looked at; `None` for one that was not.
fn stalls_at_once() -> Vec<Option<f64>> {
    let mut builder = Builder::new_current_thread();
    let probe = Probe::builder().slow_poll_threshold(THRESHOLD).install(&mut builder).unwrap();
    let runtime = builder.build().unwrap();
    runtime.block_on(async {
        for _ in 0..5 {
            probe.spawn("stall", async { thread::sleep(THRESHOLD * 2) }).await.unwrap();
        }
    });
    // On a busy machine names come later than the usual wait for them.
    let start = Instant::now();
    let polls = loop {
        probe.flush(Duration::from_secs(5));
        let polls = probe.snapshot().slow_polls;
        if polls.iter().all(|poll| poll.evidence.captures > 0) || start.elapsed() > Duration::from_secs(3) {
            break polls;
        }
        thread::sleep(THRESHOLD);
    };
    polls.iter().map(|poll| detected_us(poll, THRESHOLD)).collect()
}
