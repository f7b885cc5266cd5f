//! Runtimes that another builder made are noticed, by what their threads wait in.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use pollscope_probe::Probe;
use tokio::runtime::Builder;

use super::alone::{again, is_alone};
use crate::support::{Kept, LONG, OnDrop, current_thread, install, wait_until};

/// What a probe says that finds one.
const BLIND: &str = "WARN pollscope: cannot see every runtime: thread `";
/// For so long a probe is there until threads of any name are looked at.
const AT_WORK: Duration = Duration::from_secs(2);

/// A thread of that name, which waits until it is let go: in a runtime of its own, or outside of any.
fn waiting(name: &str, in_a_runtime: bool) -> impl Drop {
    let (let_go, wait) = channel::<()>();
    let (is_in, come) = channel();
    let run = move || {
        is_in.send(()).unwrap();
        match in_a_runtime {
            false => _ = wait.recv(),
            true => {
                let (runtime, (done, over)) =
                    (Builder::new_current_thread().enable_all().build().unwrap(), tokio::sync::oneshot::channel());
                thread::spawn(move || {
                    let _ = wait.recv();
                    let _ = done.send(());
                });
                runtime.block_on(over).unwrap();
            }
        }
    };
    let waits = thread::Builder::new().name(name.to_owned()).spawn(run).unwrap();
    come.recv().unwrap();
    let mut both = Some((let_go, waits));
    OnDrop(move || {
        let Some((let_go, waits)) = both.take() else { return };
        drop(let_go);
        waits.join().unwrap();
    })
}

/// What a probe says that is dropped while they wait: its last look is then.
fn said() -> Vec<String> {
    let kept = Kept::default();
    let (runtime, probe) = current_thread(Probe::builder().log_to(kept.clone()));
    runtime.block_on(probe.watch(async {}));
    drop((runtime, probe));
    // Reading names can take longer than a drop waits.
    wait_until("the thread that writes is still there", || kept.is_alone());
    kept.lines()
}

/// In a process of its own, where every thread is the test's: every probe of this one would say so.
fn alone(test: &str) -> bool {
    if is_alone() {
        return true;
    }
    let output = again(&format!("watchdog::other_runtimes::{test}")).output().unwrap();
    // A name that no test has would succeed as well.
    let has_run = String::from_utf8_lossy(&output.stdout).contains("1 passed");
    assert!(output.status.success() && has_run, "{output:?}");
    false
}

fn is_of_others(line: &str) -> bool {
    line.starts_with(BLIND)
}

#[test]
fn a_runtime_of_another_builder_is_said_and_a_name_alone_is_no_evidence() {
    if !alone("a_runtime_of_another_builder_is_said_and_a_name_alone_is_no_evidence") {
        return;
    }
    {
        let _named = waiting("actix-rt|nothing", false);
        assert!(!said().iter().any(|line| is_of_others(line)));
    }
    let _worker = waiting("actix-rt|system:0:arbiter:0", true);
    let start = Instant::now();
    let line = loop {
        // Its thread may not wait yet, or the names come after the drop: once more.
        if let Some(line) = said().into_iter().find(|line| is_of_others(line)) {
            break line;
        }
        assert!(start.elapsed() < LONG, "it was not said");
    };
    let why = "actix-rt|system` runs one that another builder made; wrap its futures, such as `next.call(request)`";
    assert!(line.starts_with(&format!("{BLIND}{why}")), "{line}");
}

/// What a probe says that is there for a while, with an idle runtime; and another one beside it, whose runtime is idle as well.
fn said_at_work() -> Vec<String> {
    let kept = Kept::default();
    let idle = |probe| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(2).enable_io();
        install(builder, probe)
    };
    let one = idle(Probe::builder().log_to(kept.clone()));
    let other = idle(Probe::builder().log_to(std::io::sink()));
    one.0.block_on(async { tokio::time::sleep(AT_WORK + Duration::from_millis(100)).await });
    drop((one, other));
    wait_until("the thread that writes is still there", || kept.is_alone());
    kept.lines()
}

#[test]
fn a_runtime_of_another_builder_is_said_whatever_its_threads_are_called() {
    if !alone("a_runtime_of_another_builder_is_said_whatever_its_threads_are_called") {
        return;
    }
    let has_said = |thread: &str| {
        let start = Instant::now();
        let begin = format!("{BLIND}{thread}` runs one that another builder made");
        loop {
            let lines = said_at_work();
            if let Some(line) = lines.iter().find(|line| is_of_others(line)) {
                return assert!(line.starts_with(&begin), "{line}");
            }
            assert!(start.elapsed() < LONG, "{thread} was not said: {lines:#?}");
        }
    };
    {
        let _workers = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        has_said("tokio-rt-worker");
    }
    let _of_somebody = waiting("of-somebody", true);
    has_said("of-somebody");
}

#[test]
fn neither_a_probe_s_own_workers_nor_another_loop_are_said() {
    if !alone("neither_a_probe_s_own_workers_nor_another_loop_are_said") {
        return;
    }
    // A loop of events that is not Tokio's, in no poll of anything.
    // SAFETY: a new descriptor; its owner closes it.
    let events = unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(0)) };
    // Never joined: nothing comes, and the process ends.
    thread::spawn(move || {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: the descriptor is open, and there is room for one event.
        unsafe { libc::epoll_wait(events.as_raw_fd(), &raw mut event, 1, -1) };
    });
    let lines = said_at_work();
    assert!(!lines.iter().any(|line| is_of_others(line)), "{lines:#?}");
}
