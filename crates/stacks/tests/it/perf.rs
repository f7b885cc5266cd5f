//! What perf events tell of a thread of another process. Where they are not for everyone, the tests say so and pass.

mod breakpoint;
mod child;
mod forbidden;
mod samples;

use pollscope_stacks::perf::{Hindrance, PerfError};

/// What was opened, unless the machine, the kernel or the container has no such thing.
#[track_caller]
fn unless_forbidden<T>(opened: Result<T, PerfError>) -> Option<T> {
    let error = match opened {
        Ok(opened) => return Some(opened),
        Err(error) => error,
    };
    match error.why {
        Hindrance::Paranoid(_)
        | Hindrance::Denied
        | Hindrance::Filtered
        | Hindrance::NoPerf
        | Hindrance::NoBreakpoints
        | Hindrance::BreakpointsTaken
        | Hindrance::NoLockedMemory => eprintln!("SKIP: {error}"),
        _ => panic!("{error}"),
    }
    None
}

/// As the kernel gives times of events.
fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel only writes to `time`.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) }, 0);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}
