//! Polls with very much of the stack below them.

use std::hint::black_box;
use std::thread;

use pollscope_probe::Cause;

use super::{BLOCK, is, must, run, watching};
use crate::support::{current_thread, eventually, multi_thread, spin};

fn at(line: u32) -> Option<String> {
    Some(format!("tests/it/watchdog/deep.rs:{line}"))
}

/// Calls something with 8 KiB of the stack for each level.
#[inline(never)]
fn down(levels: usize, call: &mut dyn FnMut() -> u32) -> u32 {
    let mut bytes = [0_u8; 8 << 10];
    black_box(&mut bytes);
    let answer = if levels == 0 { call() } else { down(levels - 1, call) };
    answer + black_box(u32::from(bytes[levels % bytes.len()]))
}

#[test]
fn blocking_far_down_the_stack() {
    for flavour in [current_thread, |probe| multi_thread(2, probe)] {
        eventually(|| {
            let (runtime, probe) = flavour(watching());
            let task = async { down(120, &mut || (thread::sleep(BLOCK), line!()).1) };
            let (line, poll) = run(&runtime, &probe, task)?;
            must(is(&poll, Cause::BlockingCall, Some("clock_nanosleep")), "cause and call", &poll)?;
            must(poll.evidence.blocking_line == at(line), "line", &poll)?;
            must(poll.evidence.stack_complete == Some(true), "a complete stack", &poll)?;
            must(poll.evidence.stack.len() > 120, "every frame", &poll)
        });
    }
}

#[test]
fn computing_far_down_the_stack() {
    eventually(|| {
        let (runtime, probe) = multi_thread(2, watching());
        let compute = || {
            spin(BLOCK.as_micros() as u64);
            0
        };
        let ((), poll) = run(&runtime, &probe, async move {
            down(120, &mut { compute });
        })?;
        let line = poll.evidence.blocking_line.as_deref();
        must(line.is_some_and(|line| line.starts_with("tests/it/support.rs:")), "line", &poll)?;
        must(poll.evidence.stack_complete == Some(true), "a complete stack", &poll)
    });
}

/// Deeper than what is copied: what is known is right, and the rest is said to be missing.
#[test]
fn blocking_further_down_than_is_followed() {
    let block = || {
        eventually(|| {
            let (runtime, probe) = current_thread(watching());
            let (line, poll) = run(&runtime, &probe, async { down(2_000, &mut || (thread::sleep(BLOCK), line!()).1) })?;
            let evidence = &poll.evidence;
            must(is(&poll, Cause::BlockingCall, Some("clock_nanosleep")), "cause and call", &poll)?;
            must(evidence.blocking_line == at(line), "line", &poll)?;
            must(evidence.stack_complete == Some(false), "an incomplete stack", &poll)?;
            let last = evidence.stack.last().and_then(|frame| frame.function.as_deref());
            must(last.is_some_and(|last| last.contains("deeper than the 8 MiB")), "why", last)?;
            must(probe.snapshot().capture_notes.is_empty(), "nothing in the way of the line", probe.snapshot())
        });
    };
    thread::Builder::new().stack_size(64 << 20).spawn(block).unwrap().join().unwrap();
}
