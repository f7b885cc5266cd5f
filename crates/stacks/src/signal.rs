//! Where a running thread of this process is: its registers and the innermost part of its stack, copied by the thread
//! itself in a signal handler.
//!
//! The handler only copies; it takes no lock, allocates nothing, and unwinds nothing. Anyone who asked unwinds the copy.
//!
//! **A signal is sent only to a thread that was just seen running, and for half a millisecond before did not block but for a disk,
//! which no signal interrupts.** A blocked one would see its system call fail with `EINTR`: `nanosleep`, `poll`, `epoll_wait` and waits with a timeout do, whatever
//! `SA_RESTART` says, and its code may not expect that. So would one that was woken and waits for a CPU: it must have run since.
//! What remains is the moment between looking and the arrival of the signal, a few microseconds: a thread that blocks just then,
//! after half a millisecond of running, is interrupted. [`RegistersAndStack::interrupted_call`] tells.
//!
//! No signal is sent to a thread unless the stack on which its handlers run is known to have [room](crate::handler_stack): the handler takes at
//! most 2 KiB of it below the kernel's own frame, blocks every other signal meanwhile, and comes on top of no other handler on a
//! small stack.
//!
//! Nothing is installed unless it is asked for. When the last [`Sampler`] is dropped, what was there before for the signal is
//! there again, unless
//! - a thread was sent a signal that it has not taken yet: without a handler it would end the process;
//! - the process has a [filter](crate::seccomp) of system calls since;
//! - somebody installed another handler meanwhile: who did so may call ours, or put it back.
//!
//! Then ours stays, is used by the next [`Sampler`], and removed with that one if it can be.

#[cfg(supported)]
mod action;
#[cfg(supported)]
mod room;
#[cfg(supported)]
mod slot;

use std::fmt;
use std::io;
use std::time::Duration;

use pollscope_base::reason;

use crate::memory;
use crate::process::Process;
use crate::sample::Copied;
use crate::thread::{ReadError, ThreadRef};
use crate::unwind::Registers;

/// How many signals there are.
#[cfg(supported)]
const SIGNALS: usize = 64;

/// A signal in a mask, as the kernel writes it.
#[cfg(supported)]
fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// How much of a stack [`Sampler::sample`] copies at most, in bytes, from the stack pointer on: enough for nearly all.
pub const MOST: usize = 16 << 10;
/// How much is copied without memory that is taken for it: a panic that prints its backtrace has frames of many kilobytes.
pub const MOST_DEEP: usize = 256 << 10;
/// A whole stack of the default size of a thread.
pub const MOST_WHOLE: usize = 2 << 20;

#[cfg(not(supported))]
type CopiedStack = Vec<u8>;
#[cfg(supported)]
use slot::CopiedStack;

/// A running thread's registers and the innermost part of its stack.
#[derive(Debug, Clone)]
pub struct RegistersAndStack {
    /// All of them, at the instruction that was interrupted.
    pub registers: Registers,
    process: Process,
    /// The stack from the stack pointer on.
    stack: CopiedStack,
    /// How much of it was asked for, in bytes.
    most: usize,
}

impl RegistersAndStack {
    /// How much of the stack was copied, in bytes.
    pub fn stack_len(&self) -> usize {
        self.stack.len()
    }

    /// Whether the signal ended a system call that had just begun, which gave `EINTR` to the thread's code. One that the kernel
    /// begins again by itself is none.
    pub fn interrupted_call(&self) -> bool {
        const RAX: u16 = 0;
        const EINTR: u64 = 4;
        const SYSCALL: [u8; 2] = [0x0f, 0x05];
        let mut code = [0; SYSCALL.len()];
        let before = self.registers.pc().and_then(|pc| pc.checked_sub(SYSCALL.len() as u64));
        self.registers.get(RAX) == Some(EINTR.wrapping_neg())
            && before.is_some_and(|pc| memory::read(&self.process, pc, &mut code) == code.len())
            && code == SYSCALL
    }
}

impl<'a> From<&'a RegistersAndStack> for Copied<'a> {
    fn from(sample: &'a RegistersAndStack) -> Copied<'a> {
        let RegistersAndStack { registers, process, stack, most } = sample;
        Copied { registers: *registers, process: *process, stack, most: *most }
    }
}

/// Why the handler is not installed.
#[derive(Debug)]
pub enum InstallError {
    /// Not Linux on x86-64.
    Unsupported,
    /// Every real-time signal has a handler already.
    NoSignalFree,
    /// The kernel refused.
    Refused(io::Error),
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InstallError::Unsupported => f.write_str("cannot sample running threads: only on Linux on x86-64"),
            InstallError::NoSignalFree => {
                f.write_str("cannot sample running threads: every real-time signal is in use")
            }
            InstallError::Refused(error) => write!(f, "cannot install a signal handler: {}", reason(error)),
        }
    }
}

impl std::error::Error for InstallError {}

/// Why there is no sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SampleError {
    /// The thread's state could not be read.
    State(ReadError),
    /// It is of another process.
    Foreign,
    /// It does not run, or blocked a moment ago. A blocked thread needs no signal: see [`crate::capture`].
    NotRunning,
    /// It blocks the signal.
    Masked,
    /// It has not taken the last signal yet.
    Pending,
    /// Somebody installed another handler for the signal, who would not know what to do with it.
    Displaced,
    /// The stack on which its handlers run has no room that is known: see [`handler_stack`](crate::handler_stack).
    NoRoom,
    /// It has a seccomp filter, which may end the process for it: see [`seccomp`](crate::seccomp).
    Filtered,
    /// The signal could not be sent: its queue is full, or the kernel forbids it.
    NotSent,
    /// It was ready to run, but not on a CPU for long enough to be sent a signal.
    NotOnCpu,
    /// It did not take the signal in time: see [`Sampler::late`].
    TimedOut,
    /// The handler ran, but could not read the stack.
    Unreadable,
}

impl fmt::Display for SampleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SampleError::State(error) => return error.fmt(f),
            SampleError::Foreign => "cannot sample the thread: it is of another process",
            SampleError::NotRunning => "cannot sample the thread: it is not running",
            SampleError::Masked => "cannot sample the thread: it blocks the signal",
            SampleError::Pending => "cannot sample the thread: it has not taken the last signal yet",
            SampleError::Displaced => "cannot sample threads: the signal's handler was replaced",
            SampleError::NoRoom => "cannot sample the thread: the stack of its signal handlers is too small",
            SampleError::Filtered => "cannot sample the thread: it has a seccomp filter",
            SampleError::NotSent => "cannot sample the thread: the signal could not be sent",
            SampleError::NotOnCpu => "cannot sample the thread: it was not on a CPU for long enough",
            SampleError::TimedOut => "cannot sample the thread: it did not take the signal in time",
            SampleError::Unreadable => "cannot sample the thread: its stack could not be read",
        })
    }
}

impl std::error::Error for SampleError {}

/// Samples running threads of this process, one at a time. A process has one handler for all of them; it is removed with the
/// last one, which can take up to 20 ms.
///
/// ```
/// # #[cfg(supported)] {
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use std::time::Duration;
/// use pollscope_stacks::{capture::Capturer, signal::Sampler, thread::ThreadRef};
/// static STOP: AtomicBool = AtomicBool::new(false);
/// let (tell, hear) = std::sync::mpsc::channel();
/// let busy = std::thread::spawn(move || {
///     tell.send(ThreadRef::current()).unwrap();
///     while !STOP.load(Ordering::Relaxed) {}
/// });
/// let thread = hear.recv().unwrap();
/// let sampler = Sampler::install().unwrap();
/// let sample = loop {
///     if let Ok(sample) = sampler.sample(&thread, Duration::from_secs(1)) { break sample; }
/// };
/// assert!(Capturer::new().unwind_sample(&sample).unwrap().is_complete());
/// let handled = || std::fs::read_to_string("/proc/self/status").unwrap().lines().find(|l| l.starts_with("SigCgt")).unwrap().to_owned();
/// let during = handled();
/// drop(sampler);
/// assert_ne!(handled(), during);
/// # STOP.store(true, Ordering::Relaxed);
/// # busy.join().unwrap();
/// # }
/// ```
#[derive(Debug)]
pub struct Sampler {
    /// The number of the real-time signal.
    signal: i32,
}

/// How long a sampler that is dropped waits for threads to take their signals.
const LAST_SIGNAL: Duration = Duration::from_millis(20);

impl Drop for Sampler {
    fn drop(&mut self) {
        os::release(LAST_SIGNAL);
    }
}

impl Sampler {
    /// Installs the handler for a real-time signal that has none, unless it is there already.
    ///
    /// # Errors
    /// See [`InstallError`].
    pub fn install() -> Result<Sampler, InstallError> {
        os::install(None).map(|signal| Sampler { signal })
    }

    /// Installs the handler for this signal, unless it is there already, for whichever signal: see [`Sampler::signal`]. A
    /// handler of somebody else is called for every signal that was not sent from here.
    ///
    /// # Errors
    /// See [`InstallError`].
    pub fn install_for(signal: i32) -> Result<Sampler, InstallError> {
        os::install(Some(signal)).map(|signal| Sampler { signal })
    }

    /// Drops it, with more patience than [`Drop`] has, which waits for 20 ms: for the last sampler to be able to remove the handler,
    /// each thread that was sent a signal must have taken it, and on a busy machine that is when it gets a CPU. Whether nothing
    /// of this sampler is left, because it was removed or belongs to others.
    ///
    /// ```
    /// # #[cfg(supported)] {
    /// use pollscope_stacks::signal::Sampler;
    /// assert!(Sampler::install().unwrap().remove(std::time::Duration::from_secs(1)));
    /// # }
    /// ```
    pub fn remove(self, patience: Duration) -> bool {
        let removed = os::release(patience);
        std::mem::forget(self);
        removed
    }

    /// The number of the signal that is used.
    pub fn signal(&self) -> i32 {
        self.signal
    }

    /// Has a running thread of the own process copy its registers and stack. Waits at most about `timeout` for it.
    ///
    /// # Errors
    /// See [`SampleError`].
    pub fn sample(&self, thread: &ThreadRef, timeout: Duration) -> Result<RegistersAndStack, SampleError> {
        os::sample(self.signal, thread, timeout, MOST)
    }

    /// The same with this much of the stack, in bytes, for one that is deep: it holds the thread up for some ten microseconds for
    /// [`MOST_DEEP`], and for a third of a millisecond for [`MOST_WHOLE`].
    ///
    /// # Errors
    /// See [`SampleError`].
    pub fn sample_up_to(
        &self,
        most: usize,
        thread: &ThreadRef,
        timeout: Duration,
    ) -> Result<RegistersAndStack, SampleError> {
        os::sample(self.signal, thread, timeout, most)
    }
}

impl Sampler {
    /// The answer of a thread of which [`Sampler::sample`] was [`SampleError::TimedOut`], if it came since: a thread that is long in the
    /// kernel takes its signal when it leaves it. Whatever the thread's code was in when the time was over, it still was when it
    /// answered: it cannot go on without taking the signal. Asking another thread gives it up.
    pub fn late(&self, thread: &ThreadRef) -> Option<RegistersAndStack> {
        os::late(thread)
    }

    /// Gives up what [`Sampler::late`] would give.
    pub fn forget(&self, thread: &ThreadRef) {
        os::forget(thread);
    }
}

#[cfg(not(supported))]
mod os {
    use super::*;

    pub(super) fn install(_signal: Option<i32>) -> Result<i32, InstallError> {
        Err(InstallError::Unsupported)
    }

    pub(super) fn release(_patience: Duration) -> bool {
        true
    }

    pub(super) fn late(_thread: &ThreadRef) -> Option<RegistersAndStack> {
        None
    }

    pub(super) fn forget(_thread: &ThreadRef) {}

    pub(super) fn sample(
        _signal: i32,
        thread: &ThreadRef,
        _timeout: Duration,
        _most: usize,
    ) -> Result<RegistersAndStack, SampleError> {
        Err(SampleError::State(thread.unreadable(crate::thread::StateError::Unsupported)))
    }
}

#[cfg(supported)]
#[path = "signal/linux.rs"]
mod os;
