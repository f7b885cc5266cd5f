//! A signal handler of the host's own, on the alternate stack, as a profiler has it; benchmarks use it as well.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Takes more than a thousand bytes of the stack, for most of the time between two signals.
extern "C" fn theirs(_: libc::c_int) {
    let mut locals = black_box([1_u8; 1_100]);
    let start = Instant::now();
    while start.elapsed() < Duration::from_micros(400) {
        locals[0] = locals[0].wrapping_add(1);
        black_box(&mut locals);
    }
}

/// Has the handler called a thousand times a second, on the alternate stack; `is_alone_there`: no other one runs meanwhile.
pub(crate) fn profile(is_alone_there: bool) {
    // SAFETY: the handler does what a handler may; all pointers are to values that live long enough, and are only read or written to.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = theirs as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_ONSTACK | libc::SA_RESTART;
        if is_alone_there {
            libc::sigfillset(&raw mut action.sa_mask);
        }
        assert_eq!(libc::sigaction(libc::SIGPROF, &raw const action, std::ptr::null_mut()), 0);
        let often = libc::timeval { tv_sec: 0, tv_usec: 1_000 };
        let timer = libc::itimerval { it_interval: often, it_value: often };
        assert_eq!(libc::setitimer(libc::ITIMER_PROF, &raw const timer, std::ptr::null_mut()), 0);
    }
}
