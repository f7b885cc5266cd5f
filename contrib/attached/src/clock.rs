//! The one clock of all programs on a machine, and what a thread has been through.

/// `CLOCK_MONOTONIC`, in nanoseconds.
pub fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time may be written to.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// How often this thread gave up its CPU, and how often it was taken from it.
pub fn switches() -> [i64; 2] {
    // SAFETY: numbers, of which 0 is one.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the usage may be written to.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
    [usage.ru_nvcsw, usage.ru_nivcsw]
}

/// The kernel's number of this thread.
pub fn tid() -> i32 {
    // SAFETY: it only tells.
    unsafe { libc::gettid() }
}
