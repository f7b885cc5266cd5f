//! What the watchdog sees of slow polls: causes, system calls, lines and victims, on both flavours of runtime.
//!
//! A busy machine can take the CPU away for longer than a poll lasts, which is then its cause: what scheduling can spoil is
//! tried again.

mod alone;
mod bases;
mod confined;
mod deep;
mod filter;
mod handlers;
mod harmless;
mod holder;
mod hung;
mod interrupted;
mod obstructed;
mod other_runtimes;
mod profiler;
mod quota;
mod told;
#[cfg(feature = "whole-process")]
mod whole_process;

use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_probe::{Blame, Cause, Charge, Probe, ProbeBuilder, SlowPoll, TOKIO_UNSTABLE};
use pollscope_stacks::fault;
use tokio::runtime::Runtime;

use crate::support::{LONG, block, current_thread, eventually, multi_thread, ns, slow_polls, spawn, spin};

const THRESHOLD: Duration = Duration::from_millis(20);
const BLOCK: Duration = Duration::from_millis(90);

fn watching() -> ProbeBuilder {
    Probe::builder().slow_poll_threshold(THRESHOLD).source_root(env!("CARGO_MANIFEST_DIR"))
}

fn must(holds: bool, what: &str, seen: impl std::fmt::Debug) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{what}: {seen:#?}")) }
}

/// `file:line` as evidence gives it.
fn here(line: u32) -> Option<String> {
    Some(format!("tests/it/watchdog.rs:{line}"))
}

/// Runs a task that blocks, and gives what it answers and its slow poll.
fn run<F>(runtime: &Runtime, probe: &Probe, task: F) -> Result<(F::Output, SlowPoll), String>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let answer = runtime.block_on(async { spawn(probe, task).await.unwrap() });
    // A worker answers for a task before it has left the poll, and can lose its CPU in between.
    let start = Instant::now();
    while probe.snapshot().slow_polls_total == 0 && start.elapsed() < LONG {
        thread::sleep(Duration::from_millis(1));
    }
    let mut polls = slow_polls(probe);
    must(polls.len() == 1, "one slow poll", &polls)?;
    Ok((answer, polls.remove(0)))
}

/// Has a task block on both flavours of runtime; what is to be seen, besides its line and a complete stack.
fn check<F>(task: impl Fn() -> F, seen: impl Fn(&SlowPoll) -> bool)
where
    F: Future<Output = u32> + Send + 'static,
{
    for flavour in [current_thread, |probe| multi_thread(2, probe)] {
        eventually(|| {
            let (runtime, probe) = flavour(watching());
            let (line, poll) = run(&runtime, &probe, task())?;
            let evidence = &poll.evidence;
            must(seen(&poll), "what was seen", &poll)?;
            must(evidence.blocking_line == here(line), &format!("line {line}"), &poll)?;
            must(evidence.stack_complete == Some(true) && evidence.captures > 0, "a complete stack", &poll)
        });
    }
}

fn is(poll: &SlowPoll, cause: Cause, call: Option<&str>) -> bool {
    poll.evidence.cause == Some(cause) && poll.evidence.call.as_ref().map(|call| call.name.as_str()) == call
}

#[test]
fn sleeping() {
    check(async || (thread::sleep(BLOCK), line!()).1, |poll| is(poll, Cause::BlockingCall, Some("clock_nanosleep")));
}

#[test]
fn writing_into_a_full_pipe() {
    let fds = Arc::new(Mutex::new(Vec::new()));
    let task = || {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(&[0; 64 << 10]).unwrap();
        let path = std::fs::read_link(format!("/proc/self/fd/{}", writer.as_raw_fd())).unwrap();
        fds.lock().unwrap().push((writer.as_raw_fd(), path.display().to_string()));
        async move {
            let drain = thread::spawn(move || {
                thread::sleep(BLOCK);
                let _ = reader.read(&mut [0; 64 << 10]);
                reader
            });
            let line = (writer.write_all(b"one too many").unwrap(), line!()).1;
            drop(drain.join());
            line
        }
    };
    check(task, |poll| {
        let (fd, path) = fds.lock().unwrap().last().cloned().unwrap();
        let call = poll.evidence.call.as_ref();
        let same = call.is_some_and(|call| call.fd == Some(fd) && call.path.as_ref() == Some(&path));
        path.starts_with("pipe:[") && same && is(poll, Cause::BlockingCall, Some("write"))
    });
}

#[test]
fn a_mutex_that_another_thread_holds() {
    let task = async || {
        let mutex = Arc::new(Mutex::new(()));
        let (tell, told) = channel();
        let theirs = Arc::clone(&mutex);
        let holder = thread::spawn(move || {
            let _guard = theirs.lock();
            tell.send(()).unwrap();
            thread::sleep(BLOCK);
        });
        told.recv().unwrap();
        let line = (drop(mutex.lock()), line!()).1;
        holder.join().unwrap();
        line
    };
    check(task, |poll| is(poll, Cause::Lock, Some("futex")));
}

#[test]
fn a_condition_that_nobody_signals() {
    let task = async || {
        let (mutex, condition) = (Mutex::new(()), Condvar::new());
        (drop(condition.wait_timeout(mutex.lock().unwrap(), BLOCK)), line!()).1
    };
    check(task, |poll| is(poll, Cause::Lock, Some("futex")));
}

/// Its memory is nowhere yet, and no call in its code says that it waits.
#[test]
fn a_page_that_comes_late() {
    if let Err(error) = fault::late_page() {
        eprintln!("not tried: {error}");
        return;
    }
    let task = || {
        let (page, supplier) = fault::late_page().unwrap();
        async move {
            let supplies = thread::spawn(|| {
                thread::sleep(BLOCK);
                supplier.supply()
            });
            let bytes: &[u8] = &page;
            let line = (black_box(bytes[0]), line!()).1;
            supplies.join().unwrap().unwrap();
            line
        }
    };
    check(task, |poll| is(poll, Cause::PageFault, None));
}

#[test]
fn a_channel_that_is_empty() {
    let task = async || {
        let (tell, told) = channel::<()>();
        let sender = thread::spawn(move || (thread::sleep(BLOCK), drop(tell)));
        let line = (told.recv().unwrap_err(), line!()).1;
        sender.join().unwrap();
        line
    };
    check(task, |poll| is(poll, Cause::Lock, Some("futex")));
}

#[test]
fn another_threads_end() {
    let task = async || {
        let thread = thread::spawn(|| thread::sleep(BLOCK));
        (thread.join().unwrap(), line!()).1
    };
    check(task, |poll| is(poll, Cause::Lock, Some("futex")));
}

/// Computes; the line that does.
#[inline(never)]
fn computes() -> u32 {
    let start = Instant::now();
    let mut number = 1u64;
    while start.elapsed() < BLOCK {
        number = (0..100_000).fold(number, |n, _| std::hint::black_box(n.wrapping_mul(31)));
    }
    std::hint::black_box(number);
    line!()
}

#[test]
fn computing() {
    for flavour in [current_thread, |probe| multi_thread(2, probe)] {
        eventually(|| {
            let (runtime, probe) = flavour(watching());
            let (last, poll) = run(&runtime, &probe, async { computes() })?;
            let evidence = &poll.evidence;
            // On a busy machine it waits for the CPU for longer than it has it.
            must(is(&poll, Cause::Cpu, None) || is(&poll, Cause::Preempted, None), "cause", &poll)?;
            let in_function = (last - 8..last).any(|line| evidence.blocking_line == here(line));
            must(in_function && evidence.function.as_ref().is_some_and(|f| f.contains("computes")), "line", &poll)?;
            must(evidence.stack_complete == Some(true), "a complete stack", &poll)
        });
    }
}

/// More threads compute than there are CPUs: each is found where it is.
#[test]
fn many_workers_at_once() {
    eventually(|| {
        let (runtime, probe) = multi_thread(6, watching());
        runtime.block_on(async {
            let tasks: Vec<_> = (0..6).map(|_| spawn(&probe, async { spin(300_000) })).collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        let polls = slow_polls(&probe);
        must(polls.len() == 6, "six slow polls", polls.len())?;
        for poll in &polls {
            let ran = matches!(poll.evidence.cause, Some(Cause::Cpu | Cause::Preempted));
            // One that hardly gets a CPU cannot copy its stack.
            let line = poll.evidence.blocking_line.as_deref();
            let is_right = match line {
                Some(line) => line.starts_with("tests/it/support.rs:"),
                None => poll.evidence.cause == Some(Cause::Preempted) || poll.evidence.missing.is_some(),
            };
            must(ran && is_right, "each", poll)?;
        }
        Ok(())
    });
}

#[test]
fn block_in_place_is_called_what_it_is_and_makes_nobody_wait() {
    eventually(|| {
        let (runtime, probe) = multi_thread(2, watching());
        let task = async { tokio::task::block_in_place(|| (thread::sleep(BLOCK), line!()).1) };
        let (line, poll) = run(&runtime, &probe, task)?;
        must(poll.evidence.cause == Some(Cause::BlockInPlace), "cause", &poll)?;
        must(poll.evidence.blocking_line == here(line), "line", &poll)?;
        must(poll.blame.is_none_or(|blame| blame.tasks == 0), "nobody waited", &poll)
    });
}

/// On a current-thread runtime nobody else could have polled them: the count is exact.
#[test]
fn all_who_waited_are_counted() {
    for tasks in [0, 1, 7] {
        let (runtime, probe) = current_thread(watching());
        let start = Instant::now();
        let blocked_ns = runtime.block_on(async {
            let blocker = spawn(&probe, async { block(60) });
            let behind: Vec<_> = (0..tasks).map(|_| spawn(&probe, async {})).collect();
            for task in behind {
                task.await.unwrap();
            }
            blocker.await.unwrap()
        });
        let most_ns = u64::try_from(start.elapsed().as_nanos()).unwrap() * tasks;
        drop(runtime);
        let poll = &slow_polls(&probe)[0];
        assert_eq!(poll.blame.is_some(), TOKIO_UNSTABLE, "{poll:#?}");
        let Some(blame) = poll.blame else { continue };
        assert_eq!(blame.tasks, tasks);
        assert!((blocked_ns * tasks..=most_ns).contains(&ns(blame.wait)), "{blame:?} {blocked_ns} {most_ns}");
    }
}

/// A timer that expires while the loop is blocked wakes its task only after the block: it waited all the same.
#[test]
fn who_waits_for_a_timer_is_late() {
    eventually(|| {
        let (runtime, probe) = current_thread(watching());
        runtime.block_on(async {
            let asleep = spawn(&probe, async { tokio::time::sleep(Duration::from_millis(30)).await });
            let blocker = spawn(&probe, async { block(90) });
            blocker.await.unwrap();
            asleep.await.unwrap();
        });
        drop(runtime);
        let poll = &slow_polls(&probe)[0];
        let Some(blame) = poll.blame else { return must(!TOKIO_UNSTABLE, "seen with hooks", poll) };
        must((blame.tasks, blame.late_tasks, blame.wait) == (1, 1, Duration::ZERO), "one late", poll)?;
        must(blame.wait_most == poll.duration, "at most as long as the poll", poll)
    });
}

/// Woken by the slow poll itself, at its very end: nobody waited to speak of, and nobody is late. A thread that loses its CPU
/// between Tokio's reading of the clock and the probe's makes the wake look later than it was, which is seldom.
#[test]
fn who_is_woken_at_the_end_of_a_slow_poll_is_not_late() {
    let is_not_late = || {
        let (runtime, probe) = current_thread(watching());
        let notify = Arc::new(tokio::sync::Notify::new());
        runtime.block_on(async {
            let (wake, woken) = (Arc::clone(&notify), Arc::clone(&notify));
            let waiter = spawn(&probe, async move { woken.notified().await });
            let blocker = spawn(&probe, async move {
                block(25);
                wake.notify_one();
            });
            blocker.await.unwrap();
            waiter.await.unwrap();
        });
        drop(runtime);
        let poll = &slow_polls(&probe)[0];
        must(poll.blame.map_or(0, |blame| blame.late_tasks) == 0, "nobody late", poll)
    };
    eventually(|| (0..20).try_for_each(|_| is_not_late()));
}

/// Everything that tasks waited is in the ledger, by who waited for whom, and nothing twice.
#[test]
fn the_ledger_adds_up_to_the_schedule_latency() {
    for workers in [0, 3] {
        eventually(|| ledger_adds_up(workers));
    }
}

fn ledger_adds_up(workers: usize) -> Result<(), String> {
    let (runtime, probe) = match workers {
        0 => current_thread(watching()),
        workers => multi_thread(workers, watching()),
    };
    let [culprit, waiter] = runtime.block_on(async {
        let behind = |probe: &Probe| (0..5).map(|_| spawn(probe, async {})).collect::<Vec<_>>();
        let mut tasks = Vec::new();
        let culprit = line!() + 3;
        let waiter = line!() - 3;
        for _ in 0..3 {
            tasks.push(spawn(&probe, async { _ = block(30) }));
            tasks.extend(behind(&probe));
        }
        for task in tasks {
            task.await.unwrap();
        }
        [culprit, waiter].map(|line| Some(format!("{}:{line}", file!())))
    });
    drop(runtime);
    let snapshot = probe.snapshot();
    assert_eq!(snapshot.ledger.is_some(), TOKIO_UNSTABLE);
    let Some(ledger) = snapshot.ledger else { return Ok(()) };
    let charged: Duration = ledger.charges.iter().map(|charge| charge.wait).sum();
    assert_eq!(charged + ledger.unattributed, snapshot.schedule_latency.unwrap().sum());
    let of_polls =
        |of: fn(&Blame) -> u64| snapshot.slow_polls.iter().filter_map(|poll| poll.blame.as_ref()).map(of).sum();
    assert_eq!(ns(charged), of_polls(|blame| ns(blame.wait)));
    let tasks: u64 = of_polls(|blame| blame.tasks);
    assert_eq!(ledger.charges.iter().map(|charge| charge.tasks).sum::<u64>(), tasks);
    if workers > 0 {
        return Ok(());
    }
    // One more is a poll that lost its CPU.
    must(snapshot.slow_polls_total == 3, "three slow polls", &snapshot.slow_polls)?;
    let pairs = |charge: &Charge| (charge.culprit.clone(), charge.waiter.clone(), charge.tasks);
    let mut expected = vec![(culprit.clone(), waiter, 15 + 10 + 5), (culprit.clone(), culprit, 2 + 1)];
    expected.sort();
    let mut pairs: Vec<_> = ledger.charges.iter().map(pairs).collect();
    pairs.sort();
    assert_eq!(pairs, expected);
    Ok(())
}
