//! A child process whose threads do known things, and count them where the test reads it.

use std::hint::black_box;
use std::io::{self, Read as _};
use std::process::Child;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use pollscope_stacks::capture::{Capture, Capturer};
use pollscope_stacks::maps::Maps;
use pollscope_stacks::memory;
use pollscope_stacks::process::Process;
use pollscope_stacks::thread::ThreadRef;

use crate::process::{child, tell};
use crate::support::{PATIENCE, capture_in, name, spawn};

/// How often the thread came round.
pub(super) static ROUNDS: AtomicU64 = AtomicU64::new(0);
/// How many of the child's calls ended with `EINTR`.
pub(super) static INTERRUPTED: AtomicU64 = AtomicU64::new(0);

#[inline(never)]
fn burn_outer() -> u64 {
    burn_inner() + black_box(1)
}

#[inline(never)]
fn burn_inner() -> u64 {
    let mut sum = 0_u64;
    loop {
        ROUNDS.fetch_add(1, Relaxed);
        let mut words: Vec<String> = (0..20).map(|number| format!("{number} {sum}")).collect();
        words.sort();
        sum = sum.wrapping_mul(31).wrapping_add(black_box(words.concat().len() as u64));
        if black_box(sum) == 1 {
            return sum;
        }
    }
}

/// Blocks a while, and counts if it was interrupted.
#[inline(never)]
fn nap(by_poll: bool) {
    let time = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    let result = if by_poll {
        // SAFETY: no files, so nothing is read or written.
        unsafe { libc::poll(std::ptr::null_mut(), 0, 1) }
    } else {
        // SAFETY: a valid time, and nowhere to put what remains of it.
        unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) }
    };
    let is_interrupted = result != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINTR);
    INTERRUPTED.fetch_add(u64::from(is_interrupted), Relaxed);
}

#[inline(never)]
fn one_place() -> u64 {
    nap(false);
    black_box(1)
}

#[inline(never)]
fn other_place() -> u64 {
    nap(true);
    black_box(2)
}

#[inline(never)]
fn both_places() -> u64 {
    let one = one_place();
    let other = black_box(other_place());
    ROUNDS.fetch_add(1, Relaxed);
    one + other
}

/// Until the test ends, whatever happens to it.
fn until_input_ends() {
    while io::stdin().read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
        INTERRUPTED.fetch_add(1, Relaxed);
    }
    std::process::exit(0);
}

#[test]
#[ignore = "what a child process of the other tests does"]
fn a_thread_burns() {
    let burning = spawn(|| _ = black_box(burn_outer()));
    tell(&burning.thread, &burning.truth);
    until_input_ends();
}

/// Touches fresh memory, of a size that is no huge page's.
#[inline(never)]
fn touch_pages() {
    const PAGE: usize = 4096;
    loop {
        let mut memory = memmap2::MmapMut::map_anon(256 * PAGE).expect("memory");
        memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
        ROUNDS.fetch_add(black_box(1), Relaxed);
    }
}

#[test]
#[ignore = "what a child process of the other tests does"]
fn a_thread_touches_pages() {
    let touching = spawn(touch_pages);
    tell(&touching.thread, &touching.truth);
    until_input_ends();
}

#[test]
#[ignore = "what a child process of the other tests does"]
fn a_thread_returns_again_and_again() {
    let returning = spawn(|| {
        loop {
            black_box(both_places());
        }
    });
    tell(&returning.thread, &returning.truth);
    until_input_ends();
}

#[test]
#[ignore = "what a child process of the other tests does"]
fn a_thread_waits() {
    let waiting = spawn(until_input_ends);
    tell(&waiting.thread, &waiting.truth);
    waiting.handle.join().unwrap();
}

/// A child, as the test sees it.
pub(super) struct Seen {
    child: Child,
    pub(super) thread: ThreadRef,
    /// How much higher the child's addresses are than those of the same program here.
    moved_by: u64,
}

impl Seen {
    /// Runs one of those above.
    pub(super) fn run(role: &str) -> Seen {
        let (child, thread, _) = child(&format!("perf::child::{role}"), false);
        let moved_by = header(&thread.process).wrapping_sub(header(&Process::current()));
        Seen { child, thread, moved_by }
    }

    /// One of its counts.
    pub(super) fn count(&self, of: &AtomicU64) -> u64 {
        let mut bytes = [0; 8];
        let address = (of.as_ptr() as u64).wrapping_add(self.moved_by);
        assert_eq!(memory::read(&self.thread.process, address, &mut bytes), bytes.len());
        u64::from_ne_bytes(bytes)
    }

    /// Waits until it came round so often from now on.
    #[track_caller]
    pub(super) fn wait_for_rounds(&self, more: u64) {
        let (begin, before) = (Instant::now(), self.count(&ROUNDS));
        while self.count(&ROUNDS) < before + more {
            assert!(begin.elapsed() < PATIENCE, "the child does not go on");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Waits until the thread waits for input, which does not come.
    #[track_caller]
    pub(super) fn wait_until_it_waits(&self) -> Capture {
        capture_in(&mut Capturer::new(), &self.thread, "read")
    }

    /// The function that an address of the child is in.
    pub(super) fn function(&self, address: u64) -> Option<&'static str> {
        name(address.wrapping_sub(self.moved_by))
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Where this program's file begins in a process.
fn header(process: &Process) -> u64 {
    let program = std::env::current_exe().unwrap();
    let maps = Maps::read(process).unwrap();
    let of_program = |path: &Option<_>| path.as_ref() == Some(&program);
    maps.all()
        .iter()
        .find(|mapping| of_program(&mapping.path))
        .and_then(|mapping| mapping.header)
        .expect("it is mapped")
}
