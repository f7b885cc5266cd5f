//! What a signal does, as the kernel keeps it, and the handler that was there before ours.

use std::io;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

/// The kernel's own `sigaction`. The C library's has no place for all of it: what it puts back differs from what was there.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) handler: libc::sighandler_t,
    flags: u64,
    restorer: usize,
    mask: u64,
}

impl Action {
    const NONE: Action = Action { handler: libc::SIG_DFL, flags: 0, restorer: 0, mask: 0 };

    /// What is installed for a signal.
    pub(super) fn of(signal: i32) -> io::Result<Action> {
        let mut action = Action::NONE;
        // SAFETY: nothing is installed; the kernel only writes to `action`, which has the layout of its own.
        unsafe { exchange(signal, ptr::null(), &raw mut action) }.map(|()| action)
    }

    /// Whether it is a function that runs on the alternate stack and does not block the signals of these bits meanwhile.
    pub(super) fn is_interruptible_on_alternate_stack(&self, signals: u64) -> bool {
        let is_function = ![libc::SIG_DFL, libc::SIG_IGN].contains(&self.handler);
        is_function && self.flags & libc::SA_ONSTACK as u64 != 0 && self.mask & signals == 0
    }

    /// Installs it as it is.
    ///
    /// # Safety
    /// The kernel gave it, and its handler is still there. If it has none, no signal is pending.
    pub(super) unsafe fn install(&self, signal: i32) -> io::Result<()> {
        // SAFETY: the caller's promise; the kernel only reads.
        unsafe { exchange(signal, self, ptr::null_mut()) }
    }
}

/// # Safety
/// As `rt_sigaction`; each pointer is null or valid.
unsafe fn exchange(signal: i32, new: *const Action, old: *mut Action) -> io::Result<()> {
    // SAFETY: the caller's promise.
    match unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, new, old, size_of::<u64>()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The address of a handler, and above all addresses, whether it takes more than the signal's number: one word, so that a
/// handler that is late never sees half of it.
pub(super) struct Chain(AtomicU64);

const TAKES_INFO: u64 = 1 << 63;

impl Chain {
    pub(super) const fn new() -> Chain {
        Chain(AtomicU64::new(libc::SIG_DFL as u64))
    }

    pub(super) fn set(&self, action: &Action) {
        let takes_info = action.flags & libc::SA_SIGINFO as u64 != 0;
        self.0.store(action.handler as u64 | if takes_info { TAKES_INFO } else { 0 }, Ordering::Release);
    }

    /// Gives a signal that was not sent from here to the handler that was there before.
    pub(super) fn pass_on(&self, signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        let word = self.0.load(Ordering::Acquire);
        match (word & !TAKES_INFO) as libc::sighandler_t {
            libc::SIG_DFL | libc::SIG_IGN => {}
            address if word & TAKES_INFO != 0 => {
                // SAFETY: the one who installed it with SA_SIGINFO promised the kernel a function of this signature.
                let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) =
                    unsafe { mem::transmute(address) };
                handler(signal, info, context);
            }
            address => {
                // SAFETY: the one who installed it without SA_SIGINFO promised the kernel a function of this signature.
                let handler: extern "C" fn(i32) = unsafe { mem::transmute(address) };
                handler(signal);
            }
        }
    }
}
