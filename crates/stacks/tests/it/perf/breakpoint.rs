//! When a function of another process returns.

use std::time::{Duration, Instant};

use pollscope_stacks::capture::{CaptureError, Capturer};
use pollscope_stacks::perf::{Breakpoint, Hindrance, Hit};
use pollscope_stacks::thread::{read_schedule, read_status};

use super::child::{INTERRUPTED, Seen};
use super::{now_ns, unless_forbidden};
use crate::support::PATIENCE;

/// Where the child's function of this name returns to, and the stack pointer there.
#[track_caller]
fn return_of(child: &Seen, capturer: &mut Capturer, function: &str) -> (u64, u64) {
    let begin = Instant::now();
    loop {
        match capturer.capture_with_pointers(&child.thread) {
            Ok((capture, pointers)) => {
                let is_meant = |address| child.function(address).is_some_and(|name| name.contains(function));
                let index = capture.stack.frames.iter().position(|frame| is_meant(frame.lookup()));
                if let Some(index) = index {
                    assert!(capture.stack.is_complete());
                    let returns_to = capture.stack.returns_to(index).unwrap();
                    let is_its_caller = child.function(returns_to).is_some_and(|name| name.contains("both_places"));
                    assert!(is_its_caller, "{returns_to:x}");
                    return (returns_to, pointers.get(index + 1).unwrap());
                }
            }
            Err(CaptureError::Running | CaptureError::Torn) => {}
            Err(error) => panic!("{error}"),
        }
        assert!(begin.elapsed() < PATIENCE, "never seen in {function}");
        std::thread::sleep(Duration::from_micros(300));
    }
}

#[track_caller]
fn wait_until_it_fires(breakpoint: &mut Breakpoint) -> Hit {
    let begin = Instant::now();
    loop {
        if let Some(hit) = breakpoint.fired() {
            return hit;
        }
        assert!(begin.elapsed() < PATIENCE, "it does not fire");
        std::thread::sleep(Duration::from_micros(100));
    }
}

#[test]
fn it_fires_once_each_time_that_it_is_armed() {
    const TIMES: u64 = 100;
    let child = Seen::run("a_thread_returns_again_and_again");
    let mut capturer = Capturer::new();
    let (one, sp) = return_of(&child, &mut capturer, "one_place");
    assert_eq!(return_of(&child, &mut capturer, "one_place"), (one, sp), "the loop calls it from one place");
    let Some(mut breakpoint) = unless_forbidden(Breakpoint::open(&child.thread, one)) else { return };
    assert_eq!(breakpoint.address(), one);
    child.wait_for_rounds(5);
    assert_eq!((breakpoint.fired(), breakpoint.hits()), (None, 0), "it was not armed");
    let mut last_ns = now_ns();
    for time in 1..=TIMES {
        let armed_ns = now_ns();
        breakpoint.arm().unwrap();
        let hit = wait_until_it_fires(&mut breakpoint);
        assert!(armed_ns <= hit.time_ns && hit.time_ns <= now_ns(), "{armed_ns} {hit:?}");
        assert!(last_ns < hit.time_ns);
        assert_eq!(hit.sp, Some(sp), "the call that was seen on the stack has its frame there");
        last_ns = hit.time_ns;
        if time.is_multiple_of(10) {
            // It comes there again meanwhile.
            child.wait_for_rounds(3);
        }
        assert_eq!((breakpoint.fired(), breakpoint.hits()), (Some(hit), time), "once");
    }
    assert_eq!(child.count(&INTERRUPTED), 0);
}

#[test]
fn it_is_disarmed_armed_twice_and_moved() {
    let child = Seen::run("a_thread_returns_again_and_again");
    let mut capturer = Capturer::new();
    let (one, _) = return_of(&child, &mut capturer, "one_place");
    let (other, _) = return_of(&child, &mut capturer, "other_place");
    assert_ne!(one, other);
    let Some(mut breakpoint) = unless_forbidden(Breakpoint::open(&child.thread, one)) else { return };
    for round in 0..20 {
        breakpoint.arm().unwrap();
        breakpoint.disarm();
        let before = (breakpoint.fired(), breakpoint.hits());
        child.wait_for_rounds(2);
        assert_eq!((breakpoint.fired(), breakpoint.hits()), before, "{round}: it was disarmed");

        // However often it is told so: each hit is asked for once.
        for _ in 0..5 {
            breakpoint.arm().unwrap();
        }
        let hits = breakpoint.hits();
        child.wait_for_rounds(3);
        let hit = wait_until_it_fires(&mut breakpoint);
        child.wait_for_rounds(2);
        assert_eq!((breakpoint.fired(), breakpoint.hits()), (Some(hit), hits + 1), "{round}");

        breakpoint.move_to(if round % 2 == 0 { other } else { one }).unwrap();
        assert_eq!(breakpoint.fired(), None);
    }
    // Nobody comes to where the file begins.
    breakpoint.move_to(one & !0xfff_ffff).unwrap();
    breakpoint.arm().unwrap();
    child.wait_for_rounds(3);
    assert_eq!(breakpoint.fired(), None);
    let error = breakpoint.move_to(u64::MAX).unwrap_err();
    assert_eq!(error.why, Hindrance::NotCode);
    assert_eq!(child.count(&INTERRUPTED), 0);
}

#[test]
fn a_thread_that_waits_is_not_woken() {
    let child = Seen::run("a_thread_waits");
    let returns_to = child.wait_until_it_waits().stack.returns_to(2).unwrap();
    let switches = || {
        let status = read_status(&child.thread).unwrap();
        (status.voluntary_switches, status.involuntary_switches, read_schedule(&child.thread).unwrap().slices)
    };
    let before = switches();
    for _ in 0..50 {
        let Some(mut breakpoint) = unless_forbidden(Breakpoint::open(&child.thread, returns_to)) else { return };
        for _ in 0..5 {
            breakpoint.arm().unwrap();
            assert_eq!(breakpoint.fired(), None);
            breakpoint.disarm();
        }
        breakpoint.arm().unwrap();
    }
    assert_eq!(switches(), before);
    assert_eq!(child.count(&INTERRUPTED), 0);
}

#[test]
fn there_are_only_so_many_of_a_thread() {
    /// What a CPU of this architecture has.
    const MOST: usize = 4;
    let child = Seen::run("a_thread_waits");
    let returns_to = child.wait_until_it_waits().stack.returns_to(0).unwrap();
    let open = || Breakpoint::open(&child.thread, returns_to);
    let mut held = Vec::new();
    let error = loop {
        match open() {
            Ok(opened) => held.push(opened),
            Err(error) => break error,
        }
        assert!(held.len() <= MOST);
    };
    if error.why != Hindrance::BreakpointsTaken {
        assert!(unless_forbidden(Err::<(), _>(error)).is_none() && held.is_empty());
        return;
    }
    if held.pop().is_some() {
        assert!(open().is_ok(), "one was given back");
    }
}

#[test]
fn when_the_thread_ends_it_never_fires_and_cannot_be_armed_again() {
    let child = Seen::run("a_thread_returns_again_and_again");
    let (one, _) = return_of(&child, &mut Capturer::new(), "one_place");
    let Some(mut breakpoint) = unless_forbidden(Breakpoint::open(&child.thread, one)) else { return };
    breakpoint.arm().unwrap();
    wait_until_it_fires(&mut breakpoint);
    let thread = child.thread;
    drop(child);
    assert_eq!(breakpoint.arm().unwrap_err().why, Hindrance::NoThread);
    assert_eq!(breakpoint.fired(), None);
    assert_eq!(Breakpoint::open(&thread, one).unwrap_err().why, Hindrance::NoThread);
}
