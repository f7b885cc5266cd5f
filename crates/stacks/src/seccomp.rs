//! Which system calls are made where a seccomp filter may not expect them.
//!
//! A filter can end the process for a call that it does not know, and nobody can ask it beforehand. So, once one is seen, the calls that
//! few programs make are not made any more: [`memory`](crate::memory) is read through `/proc/PID/mem`, no
//! [signal](crate::signal) is sent, and no thread's [schedule](crate::schedule) is changed; unless the program [says](permit) that its
//! filter knows them. A filter cannot be taken off again, so neither is this.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

static IS_FILTERED: AtomicBool = AtomicBool::new(false);
static IS_PERMITTED: AtomicBool = AtomicBool::new(false);

/// Says that the filter of this process, if it has one, lets all calls through that are made here, or refuses them with an error: for
/// the whole process, and for good.
///
/// ```
/// use pollscope_stacks::seccomp;
/// seccomp::permit();
/// assert!(seccomp::may_call());
/// ```
pub fn permit() {
    IS_PERMITTED.store(true, Relaxed);
}

/// Whether calls may be made that a filter may not expect, as far as was seen.
pub fn may_call() -> bool {
    !IS_FILTERED.load(Relaxed) || IS_PERMITTED.load(Relaxed)
}

/// Looks whether the calling thread has a filter, and says whether those calls may be made.
pub fn look() -> bool {
    if may_call() && !IS_PERMITTED.load(Relaxed) {
        note(std::fs::read_to_string("/proc/thread-self/status").ok().and_then(|status| mode(&status)));
    }
    may_call()
}

/// The same of a thread of which the mode was read: its calls are made in a signal handler.
#[cfg(supported)]
pub(crate) fn may_call_from(mode: Option<u8>) -> bool {
    note(mode);
    may_call()
}

fn note(mode: Option<u8>) {
    /// `SECCOMP_MODE_DISABLED`.
    const NONE: u8 = 0;
    if mode.is_some_and(|mode| mode != NONE) {
        IS_FILTERED.store(true, Relaxed);
    }
}

/// The mode of a thread's filter in its `status`; `None` where the kernel has none, or the file says nothing of it.
pub(crate) fn mode(status: &str) -> Option<u8> {
    status.lines().find_map(|line| line.strip_prefix("Seccomp:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_is_read_and_not_mistaken_for_the_number_of_filters() {
        assert_eq!(mode("NoNewPrivs:\t1\nSeccomp_filters:\t3\nSeccomp:\t2\n"), Some(2));
        assert_eq!(mode("Seccomp:\t0\nSeccomp_filters:\t0\n"), Some(0));
        assert_eq!(mode("Seccomp_filters:\t3\n"), None);
    }
}
