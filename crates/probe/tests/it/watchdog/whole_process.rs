//! Runtimes that another builder made are sampled beside the probe's own, in the same recording.

use std::fs::File;
use std::io::BufReader;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pollscope_probe::Probe;
use pollscope_record::feed::Update;
use pollscope_record::growing::{Fed, follow, read};
use pollscope_record::recording::{Run, SlowPoll};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use super::alone::{again, is_alone};
use super::confined::host;
use super::filter::{listed, permit_only};
use crate::support::{Kept, LONG, current_thread, slow_polls, spawn, wait_until};

/// From so long on a poll is slow, and so long those last that are.
const SLOW: Duration = Duration::from_millis(50);
const NAP: Duration = Duration::from_millis(60);
/// The measured runtime has so many of them.
const OWN: usize = 5;

/// In a process of its own: all threads of the process are looked at.
fn alone(test: &str) -> bool {
    if is_alone() {
        return true;
    }
    let output = again(&format!("watchdog::whole_process::{test}")).output().unwrap();
    // A name that no test has would succeed as well.
    let has_run = String::from_utf8_lossy(&output.stdout).contains("1 passed");
    assert!(output.status.success() && has_run, "{}", String::from_utf8_lossy(&output.stderr));
    false
}

/// The line of this file that has a comment.
fn line_of(comment: &str) -> String {
    let ends = format!("// {comment}");
    let line = include_str!("whole_process.rs").lines().position(|line| line.ends_with(&ends)).unwrap();
    format!("watchdog/whole_process.rs:{}", line + 1)
}

fn nap() {
    thread::sleep(NAP); // a measured task sleeps here
}

fn nap_elsewhere() {
    thread::sleep(NAP); // another one sleeps here
}

fn compute() {
    let (start, mut value) = (Instant::now(), 1_u64);
    while start.elapsed() < NAP {
        value = std::hint::black_box(value.wrapping_mul(6_364_136_223_846_793_005));
    }
}

/// Blocks by turns, until it is enough.
async fn blocks(is_over: Arc<AtomicBool>) {
    while !is_over.load(Relaxed) {
        nap_elsewhere();
        tokio::time::sleep(NAP / 3).await;
        compute();
        tokio::time::sleep(NAP / 3).await;
    }
}

/// A runtime without the probe, on a thread of its own: with the tasks of a `LocalSet`, as actix has, or with its own.
fn elsewhere(is_local: bool) -> (Arc<AtomicBool>, JoinHandle<()>) {
    let is_over = Arc::new(AtomicBool::new(false));
    let its = Arc::clone(&is_over);
    let run = move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        if is_local {
            LocalSet::new().block_on(&runtime, async { tokio::task::spawn_local(blocks(its)).await.unwrap() });
        } else {
            runtime.block_on(async { tokio::spawn(blocks(its)).await.unwrap() });
        }
    };
    (is_over, thread::Builder::new().name("of-somebody".to_owned()).spawn(run).unwrap())
}

/// The runs that are in a folder by now.
fn runs(folder: &Path) -> Vec<Run> {
    let files: Vec<File> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| File::open(entry.ok()?.path()).ok())
        .collect();
    let length = files.iter().map(|file| file.metadata().unwrap().len()).sum();
    read(files.into_iter().map(BufReader::new), length).map(|saved| saved.recording.runs).unwrap_or_default()
}

fn is_at(poll: &SlowPoll, place: &str) -> bool {
    poll.blocking_line.as_deref().is_some_and(|line| line.ends_with(place))
}

/// Whether it was seen to sleep, and to compute, each with its line and its cause.
fn has_both(others: &Run) -> bool {
    let cause = |poll: &SlowPoll, cause| poll.cause.as_ref().is_some_and(|of| of.as_str() == cause);
    let sleeps = |poll: &SlowPoll| {
        let call = poll.syscall.as_ref().map(|call| call.name.to_string());
        is_at(poll, &line_of("another one sleeps here"))
            && cause(poll, "blocking-call")
            && call.as_deref() == Some("clock_nanosleep")
    };
    let computes = |poll: &SlowPoll| {
        let stack = poll
            .stack
            .iter()
            .any(|frame| frame.function.as_deref().is_some_and(|name| name.ends_with("whole_process::compute")));
        stack && cause(poll, "cpu")
    };
    others.slow_polls.iter().any(sleeps) && others.slow_polls.iter().any(computes)
}

/// Waits until that is told of others.
async fn until(folder: &Path, is_so: impl Fn(&Run) -> bool) {
    let start = Instant::now();
    while !runs(folder).get(1).is_some_and(&is_so) {
        let seen = || runs(folder).into_iter().map(|run| (run.coverage, run.slow_polls)).collect::<Vec<_>>();
        assert!(start.elapsed() < LONG, "{:#?}", seen());
        tokio::time::sleep(NAP).await;
    }
}

/// Both are in one recording, which is read when all is over; and what was told meanwhile.
fn recorded(is_local: bool) -> [Run; 2] {
    let folder = tempfile::tempdir().unwrap();
    let probe = Probe::builder().slow_poll_threshold(SLOW).record(folder.path()).label("api").whole_process();
    let (runtime, probe) = current_thread(probe);
    let (is_over, thread) = elsewhere(is_local);
    runtime.block_on(async {
        // Those of the measured runtime come when others are looked at, and before that ends.
        until(folder.path(), has_both).await;
        for _ in 0..OWN {
            spawn(&probe, async { nap() }).await.unwrap(); // spawned here
            tokio::time::sleep(NAP).await;
        }
        let seen = runs(folder.path())[1].slow_polls.len();
        until(folder.path(), |others| others.slow_polls.len() > seen + 2).await;
    });
    is_over.store(true, Relaxed);
    thread.join().unwrap();
    assert!(slow_polls(&probe).len() >= OWN);
    drop((runtime, probe));
    let is_whole = || runs(folder.path()).iter().all(|run| run.ended == pollscope_record::recording::Ended::Done);
    wait_until("its last line is written", is_whole);
    runs(folder.path()).try_into().unwrap()
}

fn check(is_local: bool) {
    let [own, others] = recorded(is_local);
    // Exactly once each, and by the hooks alone.
    let (measured, spawned_at) = (line_of("a measured task sleeps here"), line_of("spawned here"));
    let is_spawned = |poll: &&SlowPoll| poll.spawned_at.as_deref().is_some_and(|at| at.ends_with(&spawned_at));
    assert_eq!(own.slow_polls.iter().filter(is_spawned).count(), OWN, "{:#?}", own.slow_polls);
    assert_eq!(own.slow_polls_total, own.slow_polls.len() as u64);
    let twice: Vec<_> = others.slow_polls.iter().filter(|poll| is_at(poll, &measured)).collect();
    assert!(twice.is_empty(), "{twice:#?}");
    let (sleeps, mine) = (line_of("another one sleeps here"), &own.slow_polls);
    assert!(!mine.iter().any(|poll| is_at(poll, &sleeps)), "{mine:#?}");
    assert_eq!((own.group.as_str(), others.group.as_str()), ("api", "api (other threads)"));
    assert_eq!(others.coverage.source, "attached");
    assert!(others.polls.is_none() && others.sites.is_none() && own.polls.is_some());
    let said =
        own.coverage.missing.iter().any(|note| note.contains("100 looks a second, and told as `api (other threads)`"));
    assert!(said, "{:?}", own.coverage.missing);
    assert_eq!(own.started_at, others.started_at);
    let is_within = |poll: &SlowPoll| poll.start_ns + poll.duration_ns <= others.elapsed_ns;
    assert!(others.slow_polls.iter().all(is_within), "{:#?}", others.slow_polls);
}

#[test]
fn a_runtime_of_another_builder_is_sampled_and_the_own_one_is_told_once() {
    if alone("a_runtime_of_another_builder_is_sampled_and_the_own_one_is_told_once") {
        check(false);
    }
}

#[test]
fn tasks_of_a_local_set_on_a_plain_thread_are_sampled() {
    if alone("tasks_of_a_local_set_on_a_plain_thread_are_sampled") {
        check(true);
    }
}

/// A host whose filter ends it for every call that a recording does not need, and a thread of its that computes all the time.
fn under_a_filter(test: &str, is_first: bool) {
    const FOLDER: &str = "POLLSCOPE_TEST_FOLDER";
    let Some(folder) = std::env::var_os(FOLDER).filter(|_| is_alone()) else {
        let folder = tempfile::tempdir().unwrap();
        let output = again(&format!("watchdog::whole_process::{test}")).env(FOLDER, folder.path()).output().unwrap();
        let has_run = String::from_utf8_lossy(&output.stdout).contains("1 passed");
        return assert!(output.status.success() && has_run, "{output:?}");
    };
    let folder = Path::new(&folder);
    let calls = [host(), listed(&["a probe", "lines", "`capture`", "`record`"])].concat();
    if is_first {
        permit_only(&calls);
    }
    let probe = Probe::builder().slow_poll_threshold(SLOW).record(folder).label("api").whole_process();
    let (runtime, probe) = current_thread(probe);
    thread::spawn(|| {
        loop {
            std::hint::spin_loop()
        }
    });
    let says = |run: usize, words: &str| {
        runs(folder).get(run).is_some_and(|run| run.coverage.missing.iter().any(|note| note.contains(words)))
    };
    if is_first {
        wait_until("it is not looked at", || {
            says(0, "are not sampled: it is the one that asks, and its seccomp filter")
        });
    } else {
        wait_until("it is looked at", || says(0, "told as `api (other threads)`"));
        thread::sleep(NAP);
        permit_only(&calls);
        wait_until("it is looked at no more", || {
            says(1, "nothing is looked at any more: the process has a seccomp filter")
        });
    }
    drop((runtime, probe));
}

#[test]
fn under_a_filter_nothing_is_looked_at() {
    under_a_filter("under_a_filter_nothing_is_looked_at", true);
}

#[test]
fn a_filter_that_comes_later_ends_the_looking() {
    under_a_filter("a_filter_that_comes_later_ends_the_looking", false);
}

#[test]
fn that_nobody_would_be_told_is_said() {
    let kept = Kept::default();
    let (runtime, probe) = current_thread(Probe::builder().log_to(kept.clone()).whole_process());
    drop((runtime, probe));
    let says = "WARN pollscope: cannot tell of the whole process: ";
    let lines = kept.lines();
    assert_eq!(lines.iter().filter(|line| line.starts_with(says)).count(), 1, "{lines:#?}");
}

#[test]
fn those_who_listen_are_told_as_well_as_a_file() {
    if !alone("those_who_listen_are_told_as_well_as_a_file") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let probe = Probe::builder().slow_poll_threshold(SLOW).listen_in(folder.path()).label("api").whole_process();
    let (runtime, probe) = current_thread(probe);
    let (is_over, thread) = elsewhere(false);
    let socket = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let (mut is_called, mut polls) = (false, 0);
    let of_feed = |fed| {
        if let Fed::Beside(fed) = fed {
            match *fed {
                Fed::Head(head) => is_called = head.group == "api (other threads)",
                Fed::Update(Update::SlowPoll(poll), _) => {
                    polls += u32::from(is_at(&poll, &line_of("another one sleeps here")))
                }
                _ => {}
            }
        }
        if polls >= 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    follow(BufReader::new(stream), of_feed).unwrap();
    assert!(is_called && polls == 2, "{polls}");
    is_over.store(true, Relaxed);
    thread.join().unwrap();
    drop((runtime, probe));
}
