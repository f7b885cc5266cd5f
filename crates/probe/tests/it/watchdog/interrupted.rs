//! Calls that a signal would end early, in the polls of tasks that are looked at.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use pollscope_probe::Probe;

use super::{BLOCK, slow_polls, watching};
use crate::support::{LONG, current_thread, multi_thread, spawn, spin};

/// The error that a call ended with; 0 for none.
fn errno(result: i64) -> i32 {
    if result < 0 { io::Error::last_os_error().raw_os_error().unwrap() } else { 0 }
}

type Blocking = (&'static str, fn(Duration) -> i32);

/// Calls that a signal would end early, each with a time limit that ends it anyway.
const CALLS: [Blocking; 5] = [
    ("nanosleep", |limit| {
        let time = libc::timespec { tv_sec: 0, tv_nsec: limit.subsec_nanos().into() };
        // SAFETY: the kernel reads `time`, and writes nothing without a second place.
        errno(unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) }.into())
    }),
    ("poll", |limit| {
        // SAFETY: no files, so nothing is read or written.
        errno(unsafe { libc::poll(std::ptr::null_mut(), 0, limit.subsec_millis().cast_signed()) }.into())
    }),
    ("epoll_wait", |limit| {
        // SAFETY: `event` has room for the one event that is asked for; the file is closed at the end.
        unsafe {
            let epoll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            let mut event = libc::epoll_event { events: 0, u64: 0 };
            let error = errno(libc::epoll_wait(epoll, &raw mut event, 1, limit.subsec_millis().cast_signed()).into());
            libc::close(epoll);
            error
        }
    }),
    ("futex", |limit| {
        let (word, time) = (0u32, libc::timespec { tv_sec: 0, tv_nsec: limit.subsec_nanos().into() });
        // SAFETY: the kernel compares `word` with 0, and reads `time`.
        errno(unsafe { libc::syscall(libc::SYS_futex, &raw const word, libc::FUTEX_WAIT, 0, &raw const time) })
    }),
    ("recv", |limit| {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(limit)).unwrap();
        socket.recv(&mut [0]).unwrap_err().raw_os_error().unwrap()
    }),
];

#[test]
fn no_call_is_interrupted() {
    let (runtime, probe) = multi_thread(2, watching());
    for (name, call) in CALLS {
        let error = runtime.block_on(async { spawn(&probe, async move { call(BLOCK) }).await.unwrap() });
        assert_ne!(error, libc::EINTR, "{name}");
    }
    drop(runtime);
    let looked_at = slow_polls(&probe).iter().filter(|poll| poll.evidence.captures > 0).count();
    assert!(looked_at > 0);
}

/// Polls that compute and block by turns, looked at as early and as often as can be. A thread that blocks in the microseconds in
/// which the signal is on its way is interrupted: how often is printed.
#[test]
fn threads_that_compute_and_block_by_turns() {
    const LENGTH: Duration = Duration::from_millis(30);
    const LIMIT: Duration = Duration::from_millis(1);
    for (name, call) in CALLS {
        let (calls, interrupted) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut looks = 0;
        for flavour in [current_thread, |probe| multi_thread(2, probe)] {
            let (runtime, probe) = flavour(Probe::builder().slow_poll_threshold(LIMIT));
            for compute_us in [50, 500, 3_000] {
                let (calls, interrupted) = (Arc::clone(&calls), Arc::clone(&interrupted));
                let poll = async move {
                    let start = Instant::now();
                    while start.elapsed() < LENGTH {
                        spin(compute_us);
                        interrupted.fetch_add(u64::from(call(LIMIT) == libc::EINTR), Relaxed);
                        calls.fetch_add(1, Relaxed);
                    }
                };
                runtime.block_on(async { spawn(&probe, poll).await.unwrap() });
            }
            drop(runtime);
            probe.flush(LONG);
            looks += probe.snapshot().slow_polls.iter().map(|poll| poll.evidence.captures).sum::<u32>();
        }
        let (calls, interrupted) = (calls.load(Relaxed), interrupted.load(Relaxed));
        println!("{name}: {interrupted} of {calls} calls interrupted by {looks} looks");
        assert!(interrupted < calls, "{name}: {interrupted} of {calls}");
    }
}
