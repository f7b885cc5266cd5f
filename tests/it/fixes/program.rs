//! A program as a user has it: a service with the probe, in a process of its own, which leaves a recording and says how much it did.

use std::fs;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::thread;
use std::time::Duration;

use pollscope::recording::{Ended, Finding, Recording, Run, RuntimeInfo, SlowPoll, Subject, Target};
use pollscope_probe::{Probe, Snapshot, record_of};
use rustix::process::{Signal, set_parent_process_death_signal, setpriority_process};
use tokio::runtime::Builder;

use super::Case;

/// What is slow, unless a program says otherwise.
pub(super) const THRESHOLD: Duration = Duration::from_millis(50);
/// How long what blocks does so at least.
pub(super) const BLOCK: Duration = Duration::from_millis(150);
/// For what is found out about a slow poll: longer than the probe waits for it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Recordings say when; nothing here depends on it.
const STARTED_AT: &str = "2026-01-01T00:00:00Z";

/// What a task of a program does: how much it did, as a number.
pub(super) type Work = Pin<Box<dyn Future<Output = u64> + Send>>;

/// Prepares everything off the loop, in a folder of its own.
pub(super) type Program = fn(&Path) -> Work;

/// What of a folder the program and the one who started it know: that something is so far.
pub(super) fn tell(folder: &Path, what: &str) {
    fs::write(folder.join(what), "").expect("a file can be made");
}

pub(super) fn is_told(folder: &Path, what: &str) -> bool {
    folder.join(what).exists()
}

pub(super) fn wait_until_told(folder: &Path, what: &str) {
    while !is_told(folder, what) {
        thread::sleep(Duration::from_millis(2));
    }
}

/// Of a program that cannot show on this machine what it is to.
pub(super) fn lacks(folder: &Path, what: &str) {
    fs::write(lacks_in(folder), what).expect("a file can be made");
}

/// Where it says what it lacks.
pub(super) fn lacks_in(folder: &Path) -> PathBuf {
    folder.join("lacks")
}

/// Where a program leaves its recording.
pub(super) fn recording_in(folder: &Path) -> PathBuf {
    folder.join("recording.json")
}

/// Where it says how much it did.
pub(super) fn work_in(folder: &Path) -> PathBuf {
    folder.join("work")
}

/// Runs a program to its end.
pub(super) fn run(program: Program, case: &Case, folder: &Path) {
    // One that is stopped, or waits for a word, does not outlive the test.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    // Where that is permitted: what the program does is its own then, and not what others on the machine leave it.
    let _ = setpriority_process(None, -15);
    let work = program(folder);
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(case.workers).enable_all();
    let probe = Probe::builder().slow_poll_threshold(case.threshold).source_root(env!("CARGO_MANIFEST_DIR"));
    let probe = probe.install(&mut builder).expect("a probe can be installed");
    let runtime = builder.build().expect("a runtime");
    let done = runtime.block_on(probe.watch(async { probe.spawn("program", work).await }));
    tell(folder, "over");
    drop(runtime);
    probe.flush(PATIENCE);
    let recording = recording(&probe.snapshot(), case.workers);
    let json = pollscope::recording::wire::to_json(&recording).expect("it can be written");
    fs::write(recording_in(folder), json).expect("it can be written");
    let done = done.expect("the program's task does not panic");
    fs::write(work_in(folder), done.to_string()).expect("it can be written");
}

fn recording(snapshot: &Snapshot, workers: usize) -> Recording {
    let runtime = RuntimeInfo { flavor: "multi_thread".to_owned(), workers: workers as u64 };
    let target = Target { name: "program".to_owned(), runtimes: vec![runtime], ..Target::default() };
    let start = Run::unknown("program", Subject::Service(target), STARTED_AT);
    let slow_polls = snapshot.slow_polls.iter().map(SlowPoll::from).collect();
    let run = Run { ended: Ended::Done, slow_polls, ..record_of(snapshot, start) };
    let runs = vec![run];
    let findings: Vec<Finding> = pollscope::findings::findings(&runs);
    let environment = pollscope::environment::environment(false, Vec::new());
    Recording { environment, scenario: None, runs, findings, gates: Vec::new() }
}
