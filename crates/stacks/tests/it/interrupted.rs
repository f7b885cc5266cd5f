//! Calls that a signal would end early: never of a thread that is blocked when it is looked at; now and then of one that blocks
//! just when the signal arrives.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pollscope_stacks::signal::{SampleError, Sampler};
use pollscope_stacks::thread::{State, ThreadRef, read_state};

use crate::running;

/// For so long the calls block.
const BLOCK: Duration = Duration::from_micros(200);
/// For so long threads are sampled, each.
const LENGTH: Duration = Duration::from_millis(200);

/// The error that a call ended with; 0 for none.
fn errno(result: i64) -> i32 {
    if result < 0 { io::Error::last_os_error().raw_os_error().unwrap() } else { 0 }
}

fn time(duration: Duration) -> libc::timespec {
    libc::timespec { tv_sec: duration.as_secs().cast_signed(), tv_nsec: duration.subsec_nanos().into() }
}

type Blocking = (&'static str, fn(Duration) -> i32);

/// Each with a time limit that ends it anyway; of whole milliseconds where the kernel takes no less.
const CALLS: [Blocking; 5] = [
    ("nanosleep", |limit| {
        let time = time(limit);
        // SAFETY: the kernel reads `time`, and writes nothing without a second place.
        errno(unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) }.into())
    }),
    ("poll", |limit| {
        let limit = limit.as_millis().max(1) as i32;
        // SAFETY: no files, so nothing is read or written.
        errno(unsafe { libc::poll(std::ptr::null_mut(), 0, limit) }.into())
    }),
    ("epoll_wait", |limit| {
        let limit = limit.as_millis().max(1) as i32;
        // SAFETY: `event` has room for the one event that is asked for; the file is closed at the end.
        unsafe {
            let epoll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            let mut event = libc::epoll_event { events: 0, u64: 0 };
            let error = errno(libc::epoll_wait(epoll, &raw mut event, 1, limit).into());
            libc::close(epoll);
            error
        }
    }),
    ("futex", |limit| {
        let (word, time) = (0u32, time(limit));
        // SAFETY: the kernel compares `word` with 0, and reads `time`.
        errno(unsafe { libc::syscall(libc::SYS_futex, &raw const word, libc::FUTEX_WAIT, 0, &raw const time) })
    }),
    ("recv", |limit| {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(limit)).unwrap();
        socket.recv(&mut [0]).unwrap_err().raw_os_error().unwrap()
    }),
];

/// What a thread counts of itself.
#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    calls: AtomicU64,
    interrupted: AtomicU64,
}

/// Starts a thread that computes for so long and makes the call, again and again.
fn alternate(
    call: fn(Duration) -> i32,
    compute: Duration,
    limit: Duration,
) -> (ThreadRef, Arc<Counts>, JoinHandle<()>) {
    let counts = Arc::new(Counts::default());
    let (tell, hear) = channel();
    let theirs = Arc::clone(&counts);
    let handle = std::thread::spawn(move || {
        tell.send(ThreadRef::current()).unwrap();
        while !theirs.stop.load(Relaxed) {
            let start = Instant::now();
            while start.elapsed() < compute {
                std::hint::spin_loop();
            }
            theirs.interrupted.fetch_add(u64::from(call(limit) == libc::EINTR), Relaxed);
            theirs.calls.fetch_add(1, Relaxed);
        }
    });
    (hear.recv().unwrap(), counts, handle)
}

/// Samples it as often as can be, until it is told to stop, and stopped: (samples, those that interrupted a call, unknown).
fn sample(thread: &ThreadRef, counts: &Counts, handle: JoinHandle<()>) -> (u64, u64, u64) {
    let sampler = Sampler::install().unwrap();
    let (mut samples, mut interrupting, mut unknown) = (0, 0, 0);
    let start = Instant::now();
    while start.elapsed() < LENGTH {
        match sampler.sample(thread, Duration::from_secs(1)) {
            Ok(sample) => {
                samples += 1;
                interrupting += u64::from(sample.interrupted_call());
            }
            Err(SampleError::TimedOut | SampleError::NotOnCpu | SampleError::Unreadable) => unknown += 1,
            Err(SampleError::NotRunning) => {}
            Err(error) => panic!("{error}"),
        }
    }
    counts.stop.store(true, Relaxed);
    handle.join().unwrap();
    (samples, interrupting, unknown)
}

#[test]
fn no_call_of_a_blocked_thread() {
    let _one = running::one();
    let sampler = Sampler::install().unwrap();
    for (name, call) in CALLS {
        let (tell, hear) = channel();
        let handle = std::thread::spawn(move || {
            tell.send(ThreadRef::current()).unwrap();
            call(LENGTH)
        });
        let thread = hear.recv().unwrap();
        // Where it blocks, and for how long it does, is seen first: it is not about to begin or to end.
        let is_blocked = || matches!(read_state(&thread), Ok(State::InSyscall { .. }));
        let (mut looks, mut blocked) = (0, 0);
        while !handle.is_finished() {
            blocked = if is_blocked() { blocked + 1 } else { 0 };
            if (10..1_000).contains(&blocked) {
                let sampled = sampler.sample(&thread, Duration::from_secs(1));
                looks += u32::from(sampled.is_err_and(|error| error == SampleError::NotRunning));
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        assert_ne!(handle.join().unwrap(), libc::EINTR, "{name}");
        assert!(looks > 0, "{name}");
    }
}

/// The moment between looking and the signal's arrival: how often it hits is printed, and no more than the sampler knows of.
#[test]
fn a_call_that_begins_as_the_signal_arrives() {
    let _one = running::one();
    for compute in [20, 500, 5_000].map(Duration::from_micros) {
        for (name, call) in CALLS {
            let (thread, counts, handle) = alternate(call, compute, BLOCK);
            let (samples, interrupting, unknown) = sample(&thread, &counts, handle);
            let (calls, interrupted) = (counts.calls.load(Relaxed), counts.interrupted.load(Relaxed));
            println!(
                "{name} after {compute:?} of computing: {interrupted} of {calls} calls interrupted by {samples} samples, \
                 {interrupting} by the samples' own account, {unknown} without one"
            );
            assert!(interrupted <= interrupting + unknown, "{name}: the sampler knows of all");
        }
    }
}
