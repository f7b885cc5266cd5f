//! Looks at threads of another process: the same as at the own ones, and nothing that it notices.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pollscope_base::{Cause, Evidence};
use pollscope_stacks::look::{Early, Look, Looker, NamedLook, NamedSeen, Namer, Observation, SyscallSamples};
use pollscope_stacks::process::Process;
use pollscope_stacks::thread::{ThreadRef, read_state};

use crate::support::{PATIENCE, spawn};

/// Runs one of those below in a process of its own; which thread of it is to be looked at.
fn child(role: &str) -> (Child, ThreadRef) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([role, "--exact", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines().map_while(Result::ok);
    let tid = lines.find_map(|line| line.split_once("thread: ")?.1.parse().ok()).expect("the child tells");
    let process = Process::open(child.id()).unwrap();
    (child, process.thread(tid))
}

#[test]
#[ignore = "what a child process of the other tests does"]
fn a_thread_waits_for_input() {
    let blocked = spawn(|| drop(std::io::stdin().read(&mut [0])));
    println!("thread: {}", blocked.thread.tid);
    blocked.handle.join().unwrap();
}

#[test]
#[ignore = "what a child process of the other tests does"]
fn a_thread_computes() {
    let blocked = spawn(|| {
        loop {
            std::hint::black_box(());
        }
    });
    println!("thread: {}", blocked.thread.tid);
    // Ends with the test, whatever happens to it.
    drop(std::io::stdin().read(&mut [0]));
    std::process::exit(0);
}

#[track_caller]
fn look_until(looker: &mut Looker, thread: &ThreadRef, is_seen: impl Fn(&Look) -> bool) -> Look {
    let begin = Instant::now();
    loop {
        match looker.look(thread, 100) {
            Some(look) if is_seen(&look) => return look,
            other if begin.elapsed() > PATIENCE => panic!("not seen: {other:?}"),
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

#[test]
fn a_blocked_thread_of_another_process_has_its_line_its_call_and_its_cause() {
    let (mut child, thread) = child("look::a_thread_waits_for_input");
    let (mut looker, mut namer) = (Looker::new(thread.process), Namer::new(thread.process, Vec::new(), false));
    looker.prepare();
    let look = look_until(&mut looker, &thread, |look| look.off_cpu.is_some());
    let mut samples = SyscallSamples::default();
    samples.count(&thread, &read_state(&thread).unwrap());
    let named = namer.name(&look);
    let seen = [NamedSeen { named: named.clone(), looks: 1, ns: 50 }];
    let suspended = Default::default();
    let observation = Observation {
        seen: &seen,
        early: Early::default(),
        samples: &samples,
        split: None,
        quota: None,
        throttled: None,
        suspended,
        duration_ns: 50,
    };
    let evidence = observation.evidence();
    assert_eq!(evidence.cause, Some(Cause::BlockingCall));
    let call = evidence.call.unwrap();
    assert!(call.name == "read" && call.path.unwrap().starts_with("pipe:["));
    let line = evidence.blocking_line.unwrap();
    assert!(line.contains("tests/it/look.rs:"), "{line}");
    assert_eq!((evidence.stack_complete, evidence.captures), (Some(true), 1));
    let mut evidence = named.evidence();
    evidence.captures = 1;
    assert!(evidence.sentence(Duration::from_nanos(50)).unwrap().starts_with("blocked in read("));
    assert_eq!((looker.take_limits(), namer.take_limits()), (Vec::new(), Vec::new()));
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert!(looker.look(&thread, 200).is_none());
    assert_eq!(looker.take_limits(), [], "that it ended is no limit");
}

#[test]
fn a_stack_that_is_named_again_has_the_same_names_and_its_own_call() {
    let (mut child, thread) = child("look::a_thread_waits_for_input");
    let first = look_until(&mut Looker::new(thread.process), &thread, |look| look.call.is_some());
    let mut namer = Namer::new(thread.process, Vec::new(), false);
    let named = namer.name(&first);
    let call = first.call.clone().map(|call| pollscope_base::Call { bytes: Some(77), ..call });
    let again = namer.name(&Look { call, at_ns: 200, ..first.clone() });
    assert_eq!((again.look.call.and_then(|call| call.bytes), again.look.at_ns), (Some(77), 200));
    assert_eq!((&again.stack, &again.blocking_line), (&named.stack, &named.blocking_line));
    // The same frames of a stack that is not whole say less.
    let mut part = first;
    let stack = part.stack.as_mut().expect("it was copied");
    stack.left_out = Some(pollscope_stacks::unwind::LeftOut { after: 1, count: 9 });
    assert_ne!(namer.name(&part).stack, named.stack);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_running_thread_of_another_process_is_left_alone() {
    let (mut child, thread) = child("look::a_thread_computes");
    let mut looker = Looker::new(thread.process);
    assert!(!looker.can_sample());
    let look = look_until(&mut looker, &thread, |look| look.off_cpu.is_none());
    assert!(look.stack.is_none() && look.call.is_none() && !look.is_unanswered);
    assert_eq!(NamedLook::unnamed(&look).evidence(), Evidence::default());
    assert_eq!(looker.take_limits(), []);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}
