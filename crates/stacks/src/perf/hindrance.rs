//! What is in the way of a perf event.

use std::fmt;
use std::io;

use pollscope_base::reason;

use crate::thread::ThreadRef;

/// What a perf event is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// Samples of a thread that runs: [`CpuSampler`](super::CpuSampler).
    Samples,
    /// To see when a thread comes to an instruction: [`Breakpoint`](super::Breakpoint).
    Breakpoint,
}

/// What is in the way of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hindrance {
    /// Not Linux on x86-64.
    Unsupported,
    /// The kernel closes perf events to users: this level is above 2.
    Paranoid(i32),
    /// The kernel does not let this user look at the process: it is another user's, or not dumpable.
    Denied,
    /// A seccomp filter, as containers have one by default, forbids it, or [may](crate::seccomp) end this process for it.
    Filtered,
    /// The kernel has no perf events of this kind, or a sandbox hides them.
    NoPerf,
    /// The machine has no hardware breakpoints that could be used: some virtual ones have none.
    NoBreakpoints,
    /// Each of the CPU's four breakpoints is in use on the thread.
    BreakpointsTaken,
    /// The thread ended.
    NoThread,
    /// This process, or the system, has no file descriptor left.
    NoDescriptor,
    /// This user's share of memory that the kernel holds for perf events is in use: a [`CpuSampler`](super::CpuSampler) takes 68 KiB.
    NoLockedMemory,
    /// The address is not one of a program.
    NotCode,
    /// The kernel refused with this error number.
    Refused(i32),
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hindrance::Paranoid(level) => {
                return write!(
                    f,
                    "the kernel closes perf events to users: set `kernel.perf_event_paranoid`, which is {level}, to 2"
                );
            }
            Hindrance::Refused(errno) => {
                return write!(f, "the kernel refuses: {}", reason(io::Error::from_raw_os_error(*errno)));
            }
            Hindrance::Unsupported => "only on Linux on x86-64",
            Hindrance::Denied => "permission denied: run as the same user",
            Hindrance::Filtered => "a seccomp filter forbids `perf_event_open`: allow it, or look from the host",
            Hindrance::NoPerf => "the kernel has no perf events for it, or a sandbox hides them: look from the host",
            Hindrance::NoBreakpoints => "the machine has no hardware breakpoints",
            Hindrance::BreakpointsTaken => "its hardware breakpoints are all in use: end the debugger that has them",
            Hindrance::NoThread => "the thread ended",
            Hindrance::NoDescriptor => "too many open files",
            Hindrance::NoLockedMemory => {
                "this user's memory for perf events is in use: raise `kernel.perf_event_mlock_kb`, or `ulimit -l`"
            }
            Hindrance::NotCode => "the address is not one of a program",
        })
    }
}

/// A perf event that could not be had, and why.
///
/// ```
/// use pollscope_stacks::perf::{Hindrance, PerfError, Wanted};
/// let error = PerfError { tid: 7, wanted: Wanted::Samples, why: Hindrance::Paranoid(3) };
/// let advice = "set `kernel.perf_event_paranoid`, which is 3, to 2";
/// assert_eq!(error.to_string(), format!("cannot sample thread `7`: the kernel closes perf events to users: {advice}"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PerfError {
    /// The thread, as the kernel counts.
    pub tid: u32,
    /// What it was for.
    pub wanted: Wanted,
    /// Why.
    pub why: Hindrance,
}

impl PerfError {
    pub(super) fn of(thread: &ThreadRef, wanted: Wanted) -> impl Fn(Hindrance) -> PerfError {
        let tid = thread.tid;
        move |why| PerfError { tid, wanted, why }
    }
}

impl fmt::Display for PerfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PerfError { tid, wanted, why } = self;
        match wanted {
            Wanted::Samples => write!(f, "cannot sample thread `{tid}`: {why}"),
            Wanted::Breakpoint => write!(f, "cannot set a breakpoint for thread `{tid}`: {why}"),
        }
    }
}

impl std::error::Error for PerfError {}
