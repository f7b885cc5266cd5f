//! The switch in the environment, in a process of its own: this test binary, asked for one test that acts as the host.

use std::process::Command;
use std::time::Duration;

use pollscope_probe::{CAPTURE, CaptureNote, InstallError, Probe, ProbeBuilder, ServeError, TOKIO_UNSTABLE};

use crate::support::{block, current_thread};

/// Set in the host's process, to how long its task blocks in milliseconds.
const BLOCK: &str = "PROBE_TEST_BLOCK_MS";

/// Does nothing unless it is asked for.
#[test]
fn host() {
    let Some(ms) = std::env::var(BLOCK).ok().and_then(|ms| ms.parse().ok()) else { return };
    let (runtime, probe) = current_thread(ProbeBuilder::from_env());
    runtime.block_on(async {
        let task = probe.spawn("blocking", async move { block(ms) });
        task.await.unwrap()
    });
    drop(runtime);
    assert!(probe.flush(Duration::from_secs(30)));
    println!("polls={}", probe.snapshot().polls.count());
}

/// The host's stdout and stderr.
fn run_host(block_ms: &str, environment: &[(&str, &str)]) -> (String, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "environment::host", "--nocapture"])
        .env_remove("POLLSCOPE")
        .env_remove("POLLSCOPE_SLOW_POLL")
        .env(BLOCK, block_ms)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{out}\n{err}");
    (out, err)
}

#[test]
fn the_switch_prints_slow_polls() {
    let (out, err) = run_host("150", &[("POLLSCOPE", "1")]);
    assert!(out.contains("polls=1"), "{out}");
    // What was seen of it may stand below, and why it was not, above.
    let is_of_a_poll = |line: &&str| {
        let is_note = line.starts_with(CaptureNote::LINE_START) && !line.contains("pollscope: on");
        !line.starts_with("     ") && (CAPTURE || !is_note)
    };
    let lines: Vec<_> = err.lines().filter(is_of_a_poll).collect();
    let [first, line, last] = lines[..] else { panic!("{err}") };
    assert!(
        first.contains(if TOKIO_UNSTABLE { "pollscope: on: every poll" } else { "built without tokio_unstable" }),
        "{first}"
    );
    assert!(first.ends_with("; slow from 100 ms") && first.contains("no lines, ") != CAPTURE, "{first}");
    assert!(last.starts_with("INFO pollscope: ends after ") && last.ends_with(" ms, 1 slow"), "{last}");
    assert!(line.starts_with("WARN slow poll: Executing <Task "), "{line}");
    let (task, took) = line.split_once("> took ").unwrap();
    assert!(task.contains(" blocking, spawned at ") && task.ends_with(", worker 0"), "{line}");
    let seconds: f64 = took.strip_suffix(" seconds").unwrap().parse().unwrap();
    assert!(seconds >= 0.150, "{line}");
}

#[test]
fn the_threshold_is_followed() {
    let threshold = |text| [("POLLSCOPE", "1"), ("POLLSCOPE_SLOW_POLL", text)];
    let said = run_host("20", &threshold("10ms")).1;
    let seconds: Option<f64> = said.split_once("> took ").and_then(|(_, took)| took.split_once(' ')?.0.parse().ok());
    assert!(seconds.is_some_and(|seconds| seconds >= 0.020), "{said}");
    // Nothing is slow: who looked says so.
    let said = run_host("20", &threshold("60s")).1;
    let [first, last] = said.lines().collect::<Vec<_>>()[..] else { panic!("{said}") };
    assert!(first.ends_with("; slow from 60000 ms"), "{first}");
    assert!(last.contains(": 1 poll") && last.ends_with(" ms, none slow"), "{last}");
}

#[test]
fn without_the_switch_nothing_is_measured() {
    let (out, err) = run_host("150", &[]);
    assert!(out.contains("polls=0"), "{out}");
    assert_eq!(err, "");
    let (out, err) = run_host("20", &[("POLLSCOPE_SLOW_POLL", "10ms")]);
    assert!(out.contains("polls=0"), "{out}");
    assert!(err.starts_with("WARN pollscope: ignored `POLLSCOPE_SLOW_POLL`"), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

#[test]
fn a_threshold_that_is_no_duration_is_said_and_the_default_holds() {
    let (out, err) = run_host("20", &[("POLLSCOPE", "1"), ("POLLSCOPE_SLOW_POLL", "10")]);
    assert!(out.contains("polls=1"), "{out}");
    assert!(err.starts_with("WARN pollscope: ignored `POLLSCOPE_SLOW_POLL=10`"), "{err}");
}

#[test]
fn a_switch_that_is_none_is_said_and_nothing_is_measured() {
    let (out, err) = run_host("20", &[("POLLSCOPE", "maybe")]);
    assert!(out.contains("polls=0"), "{out}");
    assert!(err.starts_with("WARN pollscope: ignored `POLLSCOPE=maybe`"), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

#[test]
fn the_switch_has_the_words_that_people_type() {
    for (word, polls) in [("yes", 1), ("TRUE", 1), ("off", 0)] {
        let (out, err) = run_host("20", &[("POLLSCOPE", word)]);
        assert!(out.contains(&format!("polls={polls}")), "{word}: {out}");
        assert!(!err.contains("ignored") && err.is_empty() == (polls == 0), "{word}: {err}");
    }
}

/// No thread has room for a stack of this size. The runtime is as it was, and can be built and used.
#[cfg(target_os = "linux")]
#[test]
fn a_thread_that_cannot_be_started() {
    const ALONE: &str = "PROBE_TEST_NO_THREADS";
    if std::env::var_os(ALONE).is_none() {
        let output = Command::new(std::env::current_exe().unwrap())
            // One at a time, a test runs on the first thread.
            .args(["--exact", "environment::a_thread_that_cannot_be_started", "--test-threads=1"])
            .env(ALONE, "1")
            .env("RUST_MIN_STACK", (1_u64 << 60).to_string())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let error = Probe::builder().install(&mut builder).unwrap_err();
    assert!(matches!(error, InstallError::Thread(_)), "{error:?}");
    assert!(error.to_string().contains("the runtime is not measured, raise the limit on threads"), "{error}");
    assert!(Probe::builder().run(&mut builder, async {}).is_err());
    let error = Probe::off().serve_prometheus(([127, 0, 0, 1], 0)).unwrap_err();
    assert!(matches!(error, ServeError::Thread { .. }), "{error:?}");
    assert!(error.to_string().starts_with("cannot serve metrics on `127.0.0.1:"), "{error}");
    assert_eq!(builder.build().unwrap().block_on(async { tokio::spawn(async { 42 }).await.unwrap() }), 42);
}

/// There is room for the stack of one thread of the two: the one that was started ends again.
#[cfg(all(target_os = "linux", feature = "capture"))]
#[test]
fn a_second_thread_that_cannot_be_started() {
    const ALONE: &str = "PROBE_TEST_ONE_THREAD";
    const STACK: u64 = 1 << 30;
    if std::env::var_os(ALONE).is_none() {
        let output = Command::new(std::env::current_exe().unwrap())
            // One at a time, a test runs on the first thread.
            .args(["--exact", "environment::a_second_thread_that_cannot_be_started", "--test-threads=1"])
            .env(ALONE, "1")
            .env("RUST_MIN_STACK", STACK.to_string())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
    // SAFETY: nothing is read or written but the limit, which this process has for itself.
    let limited = unsafe {
        let most = pages * libc::sysconf(libc::_SC_PAGESIZE) as u64 + STACK * 3 / 2;
        libc::setrlimit(libc::RLIMIT_AS, &libc::rlimit { rlim_cur: most, rlim_max: most })
    };
    assert_eq!(limited, 0);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let error = Probe::builder().install(&mut builder).unwrap_err();
    assert!(matches!(error, InstallError::Thread(_)), "{error:?}");
    assert_eq!(builder.build().unwrap().block_on(async { tokio::spawn(async { 42 }).await.unwrap() }), 42);
    let start = std::time::Instant::now();
    // One is enough without the thread that looks, once the first one is gone and the system has its stack back.
    while Probe::builder().capture(false).install(&mut builder).is_err() {
        assert!(start.elapsed() < crate::support::LONG, "the thread that was started is still there");
        std::thread::yield_now();
    }
}
