//! A process that knows nothing of pollscope, looked at from outside: this program itself, started again.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod access;
mod core_file;
mod polls;
mod profile;
mod service;
mod tasks;

use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use pollscope_attach::{Attached, Hz, Obstacle, Settings, Target};
use pollscope_record::feed::{Update, run_of};
use pollscope_record::recording::{Completeness, Ended, Run};

use service::Service;

const STARTED_AT: &str = "2026-11-30T01:52:35.000Z";

/// Until then something is seen.
const PATIENCE: Duration = Duration::from_secs(60);

fn settings() -> Settings {
    Settings { hz: Hz::new(100).expect("1 to 1,000"), slow: Duration::from_millis(100) }
}

/// What is seen of a service until `is_enough` of what there is by then, or it ends.
fn seen_of(service: &Service, is_enough: impl Fn(&[Update]) -> bool) -> Run {
    seen_of_target(Target::open(service.pid(), &[]).expect("it may be looked at"), is_enough)
}

fn seen_of_target(target: Target, is_enough: impl Fn(&[Update]) -> bool) -> Run {
    let attached = Attached::to(target, settings(), STARTED_AT).expect("threads can be started");
    let (start, stop, late) = (attached.start().clone(), attached.stop(), attached.stop());
    // Whatever is not seen does not hang.
    let (done, is_done) = channel::<()>();
    let waiting = std::thread::spawn(move || {
        if is_done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            late.stop();
        }
    });
    let mut seen = Vec::new();
    for update in attached {
        seen.push(update);
        if is_enough(&seen) {
            stop.stop();
        }
    }
    drop(done);
    waiting.join().expect("it only waits");
    run_of(start, seen)
}

/// What is seen of a service within a time.
fn seen_for(service: &Service, time: Duration) -> Vec<Update> {
    let target = Target::open(service.pid(), &[]).expect("it may be looked at");
    let attached = Attached::to(target, settings(), STARTED_AT).expect("threads can be started");
    let stop = attached.stop();
    let waiting = std::thread::spawn(move || {
        std::thread::sleep(time);
        stop.stop();
    });
    let seen = attached.collect();
    waiting.join().expect("it only sleeps");
    seen
}

fn is_of_a_poll(update: &Update) -> bool {
    matches!(update, Update::SlowPoll(_) | Update::Stall(_))
}

fn slow_polls(seen: &[Update]) -> usize {
    seen.iter().filter(|update| matches!(update, Update::SlowPoll(_))).count()
}

/// Each of them is where `service` says it blocks, whole.
fn check(run: &Run, function: &str, future: &str) {
    assert!(!run.slow_polls.is_empty(), "{:?}", run.coverage);
    for poll in &run.slow_polls {
        assert_eq!(poll.blocking_line.as_deref().map(at), Some(service::line_of("sleeps here")), "{poll:#?}");
        assert!(poll.function.as_deref().is_some_and(|name| name.contains(function)), "{poll:#?}");
        assert!(poll.future.as_deref().is_some_and(|name| name.contains(future)), "{poll:#?}");
        assert_eq!(poll.syscall.as_ref().map(|call| call.name.as_str()), Some("clock_nanosleep"), "{poll:#?}");
        assert_eq!(poll.cause.as_deref(), Some("blocking-call"), "{poll:#?}");
        assert!(poll.stack_complete == Some(true) && poll.duration_ns >= 100_000_000, "{poll:#?}");
    }
}

/// The line of a place in this folder.
fn at(place: &str) -> u32 {
    let (file, line) = place.rsplit_once(':').expect("file:line");
    assert!(file.ends_with("tests/it/service.rs"), "{place}");
    line.parse().expect("a number")
}

#[test]
fn a_task_that_sleeps_on_a_worker_is_found_and_idle_workers_are_not() {
    let service = Service::start("sleeps multi");
    let run = seen_of(&service, |seen| slow_polls(seen) >= 3);
    check(&run, "nap", "sleeper");
    assert_eq!((run.ended, run.slow_polls_are), (Ended::Done, Completeness::AtLeast));
    assert_eq!(run.started_at, STARTED_AT);
    assert_eq!(run.slow_polls_total, run.slow_polls.len() as u64);
    let ids: Vec<u64> = run.slow_polls.iter().map(|poll| poll.id).collect();
    assert!(ids.windows(2).all(|two| two[0] != two[1]) && run.coverage.looks_per_s.is_some_and(|looks| looks > 1.0));
}

#[test]
fn so_is_one_on_a_runtime_of_one_thread_and_the_future_given_to_block_on() {
    for how in ["sleeps current", "sleeps root"] {
        let run = seen_of(&Service::start(how), |seen| slow_polls(seen) >= 2);
        check(&run, "nap", "sleeper");
    }
}

#[test]
fn a_stripped_program_is_refused_or_named_from_another_copy_of_its_build() {
    let folder = tempfile::tempdir().expect("a folder");
    let stripped = folder.path().join("stripped");
    let strip = Command::new("strip").arg("-o").arg(&stripped).arg(service::program()).status();
    if !strip.is_ok_and(|status| status.success()) {
        return eprintln!("SKIP: `strip` is not here");
    }
    let service = Service::start_program(&stripped, "sleeps multi");
    let refused = Target::open(service.pid(), &[]).map(|_| ()).expect_err("it has no names");
    let Obstacle::NoNames { build_id, .. } = &refused else { panic!("{refused}") };
    assert!(refused.to_string().contains("were stripped from `stripped`"), "{refused}");
    let Some(build_id) = build_id else { return eprintln!("SKIP: the linker gives no build-ids here") };
    assert!(refused.to_string().contains(&format!("build-id {build_id}) with `--symbols FILE`")), "{refused}");
    let target = Target::open(service.pid(), &[service::program()]).expect("it is named by that");
    assert_eq!(target.build_id(), Some(build_id.as_str()));
    let run = seen_of_target(target, |seen| slow_polls(seen) >= 2);
    check(&run, "nap", "sleeper");
}

#[test]
fn what_sleeps_on_the_blocking_pool_or_waits_for_events_holds_up_nothing() {
    let seen = seen_for(&Service::start("pool multi"), Duration::from_secs(2));
    assert!(!seen.iter().any(is_of_a_poll), "{seen:#?}");
    assert!(matches!(seen.last(), Some(Update::End(Ended::Done, None))));
}

#[test]
fn what_goes_on_is_told_before_it_ends_and_the_process_end_is_an_end() {
    let mut service = Service::start("hangs multi");
    let target = Target::open(service.pid(), &[]).expect("it may be looked at");
    let attached = Attached::to(target, settings(), STARTED_AT).expect("threads can be started");
    let start = attached.start().clone();
    let mut seen = Vec::new();
    for update in attached {
        if matches!(update, Update::Stall(_)) {
            service.kill();
        }
        seen.push(update);
    }
    let run = run_of(start, seen);
    assert_eq!(run.ended, Ended::Gone);
    // It was killed in the middle of it: the end of that is its own.
    let all: Vec<_> = run.slow_polls.iter().chain(&run.stalls_open).collect();
    let [stall] = &all[..] else { panic!("one: {all:#?}") };
    assert_eq!(stall.blocking_line.as_deref().map(at), Some(service::line_of("hangs here")));
    assert_eq!(stall.id, 1);
}

#[test]
fn one_that_nobody_waits_for_has_ended_all_the_same() {
    let mut service = Service::start("hangs multi");
    let attached = Attached::to(Target::open(service.pid(), &[]).expect("it may be looked at"), settings(), STARTED_AT);
    let mut attached = attached.expect("threads can be started");
    // A zombie: it keeps its number.
    service.kill_unnoticed();
    let last = attached.by_ref().last();
    assert!(matches!(last, Some(Update::End(Ended::Gone, None))), "{last:?}");
}

#[test]
fn one_that_is_stopped_waits_for_nothing() {
    let service = Service::start("pool multi");
    service.send(libc::SIGSTOP);
    let seen = seen_for(&service, Duration::from_secs(1));
    service.send(libc::SIGCONT);
    assert!(!seen.iter().any(is_of_a_poll), "{seen:#?}");
}

#[test]
fn the_process_does_not_notice() {
    let service = Service::start("counts multi");
    let run = seen_of(&service, |seen| slow_polls(seen) >= 5);
    assert!(run.slow_polls.len() >= 5, "{:?}", run.coverage);
    let told = service.ends();
    assert_eq!(told, "interrupted 0", "no call of it was interrupted");
}
