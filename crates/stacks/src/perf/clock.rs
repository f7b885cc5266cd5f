//! The clock of perf events.

/// Now, in nanoseconds of the clock by which perf events have their times: `CLOCK_MONOTONIC`, which `Instant` counts by as well.
/// Where there are no perf events, by any clock that goes on.
///
/// ```
/// let before = pollscope_stacks::perf::now_ns();
/// assert!(pollscope_stacks::perf::now_ns() >= before);
/// ```
pub fn now_ns() -> u64 {
    #[cfg(supported)]
    {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the kernel writes one `timespec`. It has this clock since before it had threads.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
        time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
    }
    #[cfg(not(supported))]
    {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        pollscope_base::duration::to_ns(START.get_or_init(std::time::Instant::now).elapsed())
    }
}
