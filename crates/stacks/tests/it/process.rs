//! Threads of another process.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use pollscope_stacks::capture::{CaptureError, Capturer};
use pollscope_stacks::process::Process;
use pollscope_stacks::thread::{self, StateError, ThreadRef};

use crate::support::{capture_in, spawn, truth};

/// Runs what is below in a process of its own, and reads the line that it writes.
pub(crate) fn child(role: &str, on_main_thread: bool) -> (Child, ThreadRef, Vec<u64>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([role, "--exact", "--ignored", "--nocapture"])
        .envs(on_main_thread.then_some((ON_MAIN_THREAD, "1")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(child.stdout.as_mut().unwrap())
        .lines()
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once("stack: ")?.1.to_owned()))
        .expect("the child tells");
    let mut numbers = line.split(' ').map(|number| number.parse().unwrap());
    let tid = numbers.next().unwrap() as u32;
    let thread = Process::open(child.id()).unwrap().thread(tid);
    (child, thread, numbers.collect())
}

pub(crate) fn tell(thread: &ThreadRef, truth: &[u64]) {
    let numbers: Vec<String> = truth.iter().map(u64::to_string).collect();
    println!("stack: {} {}", thread.tid, numbers.join(" "));
}

#[test]
#[ignore = "what a child process of the other tests does"]
fn a_thread_reads() {
    let blocked = spawn(|| drop(std::io::stdin().read(&mut [0])));
    tell(&blocked.thread, &blocked.truth);
    blocked.handle.join().unwrap();
}

/// Runs on the main thread, before `main`: tests never do.
extern "C" fn before_main() {
    if std::env::var_os(ON_MAIN_THREAD).is_some() {
        let found = truth();
        tell(&ThreadRef::current(), &found);
        drop(std::io::stdin().read(&mut [0]));
        std::process::exit(0);
    }
}

const ON_MAIN_THREAD: &str = "POLLSCOPE_STACKS_TEST_ON_MAIN_THREAD";

#[used]
// SAFETY: the section holds pointers to functions of this type, which the C library calls before `main`.
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

/// Functions of the child are at other addresses than ours, so only addresses are compared.
#[track_caller]
fn check(on_main_thread: bool) -> ThreadRef {
    let (mut child, thread, truth) = child("process::a_thread_reads", on_main_thread);
    let mut capturer = Capturer::new();
    let first = capture_in(&mut capturer, &thread, "read");
    let frames: Vec<u64> = first.stack.frames.iter().map(|frame| frame.raw()).collect();
    assert!(first.stack.is_complete(), "{:?}", first.stack.end);
    assert!(frames.ends_with(&truth[1..]), "{frames:#x?}\ntruth: {truth:#x?}");
    assert!(first.syscall.as_ref().unwrap().path().unwrap().to_str().unwrap().starts_with("pipe:["));
    for _ in 0..100 {
        assert_eq!(capture_in(&mut capturer, &thread, "read"), first);
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    let is_gone =
        |error: &CaptureError| matches!(error, CaptureError::State(error) if error.why == StateError::NotFound);
    assert!(capturer.capture(&thread).is_err_and(|error| is_gone(&error)));
    assert_eq!(thread::read_wchan(&thread).map_err(|error| error.why), Err(StateError::NotFound));
    thread
}

#[test]
fn a_thread_of_another_process() {
    let thread = check(false);
    assert_ne!(thread.process.pid(), thread.tid);
}

#[test]
fn the_main_thread_of_another_process() {
    let thread = check(true);
    assert_eq!(thread.process.pid(), thread.tid);
}

#[test]
fn a_program_that_is_not_ours() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let thread = Process::open(child.id()).unwrap().thread(child.id());
    let capture = capture_in(&mut Capturer::new(), &thread, "read");
    assert!(capture.stack.is_complete(), "{:?}", capture.stack);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_main_thread_of_this_process() {
    // Of the test program it waits for the tests, unless it runs this one.
    let main = Process::current().thread(std::process::id());
    if ThreadRef::current() == main {
        return;
    }
    let mut capturer = Capturer::new();
    let capture = capture_in(&mut capturer, &main, "futex");
    assert!(capture.stack.is_complete(), "{:?}", capture.stack);
}

#[test]
#[ignore = "what a child process of the other tests does"]
fn a_thread_spins() {
    let blocked = spawn(|| {
        let mut sum = 0_u64;
        loop {
            let mut words: Vec<String> = (0..20).map(|number| format!("{number} {sum}")).collect();
            words.sort();
            sum = sum
                .wrapping_add(words.concat().len() as u64)
                .wrapping_add(std::time::Instant::now().elapsed().as_nanos() as u64);
        }
    });
    tell(&blocked.thread, &blocked.truth);
    // Ends with the test, whatever happens to it.
    drop(std::io::stdin().read(&mut [0]));
    std::process::exit(0);
}

#[test]
fn a_process_that_is_stopped_anywhere() {
    const ROUNDS: usize = 300;
    let (mut child, thread, truth) = child("process::a_thread_spins", false);
    let pid = child.id().cast_signed();
    let mut capturer = Capturer::new();
    let (mut complete, mut right, mut guessed) = (0, 0, 0);
    for round in 0..ROUNDS {
        // SAFETY: a signal to a child of this process that was not waited for yet.
        unsafe { libc::kill(pid, libc::SIGSTOP) };
        let capture = loop {
            match capturer.capture(&thread) {
                Ok(capture) if thread::read_status(&thread).is_ok_and(|status| status.letter == 'T') => break capture,
                _ => std::thread::yield_now(),
            }
        };
        let frames: Vec<u64> = capture.stack.frames.iter().map(|frame| frame.raw()).collect();
        complete += usize::from(capture.stack.is_complete());
        right += usize::from(frames.ends_with(&truth[1..]));
        guessed += usize::from(capture.stack.guessed.is_some());
        if !capture.stack.is_complete() || !frames.ends_with(&truth[1..]) {
            eprintln!("{capture:x?}");
        }
        // SAFETY: as above.
        unsafe { libc::kill(pid, libc::SIGCONT) };
        std::thread::sleep(std::time::Duration::from_micros(round as u64 * 7 % 1000));
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    eprintln!("{complete} {right} {guessed}");
    assert_eq!((complete, right), (ROUNDS, ROUNDS));
}
