//! A host under a seccomp filter that ends the process for every call that it does not know: it knows those that the README lists, and
//! what the host itself needs. Each runs in a process of its own: this test program again, with the one test and a variable that tells
//! it so.

use pollscope_probe::{CaptureNote, Snapshot};

use super::alone::{is_alone, survives};
use super::filter::{listed, named, permit_only};
use super::*;

/// What this test program calls itself, with Tokio and the standard library, and no probe.
const HOST: &str = "brk clock_nanosleep clone3 close exit exit_group futex getrandom gettid madvise mmap mprotect mremap munmap \
                    poll prctl read rseq rt_sigprocmask sched_getaffinity sched_yield set_robust_list sigaltstack write";

pub(super) fn host() -> Vec<libc::c_long> {
    named(HOST)
}

/// Blocks a poll and computes in another, on both flavours of runtime; the probe is made `before` the filter or after it.
fn blocks_and_computes(probe: ProbeBuilder, is_first: bool, calls: &[libc::c_long]) -> Snapshot {
    if !is_first {
        permit_only(calls);
    }
    let (runtime, probe) = current_thread(probe);
    if is_first {
        run(&runtime, &probe, async { thread::sleep(BLOCK) }).unwrap();
        permit_only(calls);
    }
    runtime.block_on(async { spawn(&probe, async { thread::sleep(BLOCK) }).await.unwrap() });
    runtime.block_on(async { spawn(&probe, async { computes() }).await.unwrap() });
    drop(runtime);
    assert!(probe.flush(LONG));
    let mut snapshot = probe.snapshot();
    let all = snapshot.slow_polls.len();
    snapshot.slow_polls = snapshot.slow_polls.split_off(all - 2);
    snapshot
}

#[test]
fn the_host_alone() {
    if !is_alone() {
        return survives("confined::the_host_alone");
    }
    permit_only(&host());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { tokio::spawn(async { thread::sleep(BLOCK) }).await.unwrap() });
    thread::spawn(|| vec![0_u8; 1 << 20].len()).join().unwrap();
    println!("alive");
}

const WATCHING: [&str; 3] = ["a probe", "lines", "`capture`"];

fn check_unpermitted(is_first: bool) {
    let calls = [host(), listed(&WATCHING)].concat();
    let snapshot = blocks_and_computes(watching().log_to(std::io::stderr()), is_first, &calls);
    let [blocked, computed] = &snapshot.slow_polls[..] else { panic!("{snapshot:#?}") };
    let seen = &blocked.evidence;
    assert_eq!((seen.cause, seen.stack_complete), (Some(Cause::BlockingCall), Some(true)), "{blocked:#?}");
    assert!(seen.blocking_line.as_ref().is_some_and(|line| line.contains("confined.rs")), "{blocked:#?}");
    assert_eq!((computed.evidence.cause, &computed.evidence.blocking_line), (Some(Cause::Cpu), &None), "{computed:#?}");
    assert_eq!(snapshot.capture_notes, [CaptureNote::SignalFiltered]);
}

#[test]
fn a_filter_that_was_there_before() {
    if !is_alone() {
        return survives("confined::a_filter_that_was_there_before");
    }
    check_unpermitted(false);
}

#[test]
fn a_filter_that_comes_later() {
    if !is_alone() {
        return survives("confined::a_filter_that_comes_later");
    }
    check_unpermitted(true);
}

#[test]
fn a_filter_that_lets_all_calls_through() {
    if !is_alone() {
        return survives("confined::a_filter_that_lets_all_calls_through");
    }
    let calls = [host(), listed(&WATCHING), listed(&["`permitted_by_seccomp`"])].concat();
    let snapshot = blocks_and_computes(watching().permitted_by_seccomp(true), false, &calls);
    for poll in &snapshot.slow_polls {
        let line = poll.evidence.blocking_line.as_deref();
        assert!(line.is_some_and(|line| line.starts_with("tests/it/watchdog")), "{poll:#?}");
    }
    assert_eq!(snapshot.capture_notes, []);
}
