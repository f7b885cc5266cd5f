//! What an outside client of a server on the same loop feels while a merge runs as fast as it can.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use pollscope::pipeline::input::{MAX_LINE, Watch};
use pollscope::pipeline::sink::{Existing, Mode};
use pollscope::recording::Verdict;
use pollscope::run::{Observer, Progress, run_once};
use pollscope::scenario::{
    FilesSettings, Flavor, ResponseSettings, RuntimeSettings, Settings, WitnessSettings, Workload,
};
use pollscope::shutdown::{Phase, Shutdown};

use crate::common::{is_measuring, quantile};
use crate::files::filled;

/// Prints the table: each mode's 99th percentile, divided by that of a loop that merges nothing in the same round.
pub(crate) fn run() {
    let (lines, rounds) = if is_measuring() { (5_000_000, 5) } else { (100, 1) };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made");
    let inputs = filled(&folder.path().join("inputs"), 5, lines, 40);
    let nothing = filled(&folder.path().join("nothing"), 1, 0, 40);
    println!("response: a client asks every millisecond; 5 inputs of {lines} lines, in batches; {rounds} rounds");
    let output = folder.path().join("merged");
    let modes = [Mode::Offloaded, Mode::Naive];
    let mut ratios = vec![Vec::new(); modes.len()];
    for round in 0..rounds {
        let idle = p99(&nothing, &output, Mode::Offloaded, true);
        for (mode, ratios) in modes.iter().zip(&mut ratios) {
            let busy = p99(&inputs, &output, *mode, false);
            if is_measuring() {
                let ratio = busy as f64 / idle as f64;
                println!("round {}: idle {} us, {mode} {} us: {ratio:.2}", round + 1, idle / 1000, busy / 1000);
                ratios.push(ratio);
            }
        }
    }
    if is_measuring() {
        for (mode, ratios) in modes.iter().zip(ratios) {
            let at = |q| quantile(ratios.iter().copied(), q);
            println!(
                "{mode}: p99 of the response time is {:.2} times an idle loop's ({:.2} to {:.2})",
                at(0.5),
                at(0.0),
                at(1.0)
            );
        }
    }
}

struct Silent;

impl Observer for Silent {
    fn begin(&mut self, _: Mode, _: u32) {}
    fn begin_warmup(&mut self, _: Mode, _: u32) {}
    fn warmup_failed(&mut self, _: &pollscope::recording::Run) {}
    fn slow_poll_lines(&mut self) -> Box<dyn io::Write + Send> {
        Box::new(io::sink())
    }
    fn progress(&mut self, _: Progress) {}
}

/// The 99th percentile in nanoseconds. A merge that follows ends after two seconds.
fn p99(inputs: &[PathBuf], output: &Path, mode: Mode, follow: bool) -> u64 {
    let files = FilesSettings {
        inputs: inputs.to_vec(),
        output: output.to_owned(),
        existing: Existing::Refuse,
        poll_interval: Duration::from_millis(100),
        batch: 100_000,
        follow,
        watch: Watch::Poll,
        max_line: MAX_LINE,
        tag: false,
        sync_within: None,
    };
    let settings = Settings {
        runtime: RuntimeSettings { flavor: Flavor::CurrentThread, workers: 1 },
        workload: Workload::Files(files),
        modes: vec![mode],
        rounds: 1,
        warmup: 0,
        slow_poll: Duration::from_millis(100),
        witness: WitnessSettings {
            lag: None,
            response: Some(ResponseSettings { every: Duration::from_millis(1), connections: 1 }),
        },
        seed: 0,
        sample_every: Duration::from_millis(250),
    };
    let shutdown = Shutdown::default();
    let ender = follow.then(|| {
        let shutdown = shutdown.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_secs(2));
            shutdown.request(Phase::Drain);
        })
    });
    let run = run_once(&settings, mode, 1, &shutdown, &mut Silent).expect("it runs");
    if let Some(ender) = ender {
        ender.join().expect("it asked");
    }
    assert_eq!(run.merge.expect("it merges").verdict, Verdict::Ok);
    fs::remove_file(output).expect("it was made");
    run.response_time.expect("it asks").quantile_ns(0.99).expect("it answers")
}
