//! What one thread, of this process or of another of the same user, is doing: its state and system call, its stack, the
//! task poll that it is in, and the line of the user's code that blocks.
//!
//! - [`process`] is which process; it is made once, and handed to all that follows.
//! - [`thread`] reads what the kernel tells of a thread; [`syscall`] makes its system call readable.
//! - [`capture`] gives all of it for a blocked thread, with the whole stack: no signal, no pause, no privilege.
//! - [`signal`] asks a running thread of this process for its registers and stack, if one installs that.
//! - [`perf`] samples a running thread of any process, and tells when a thread comes to an instruction, by the kernel's perf events.
//! - [`sample`] is what was copied of a running thread, by whomever.
//! - [`handler_stack`] is what that needs to know of the thread.
//! - [`unwind`] walks from registers to every caller; [`memory`] and [`maps`] are what it walks on.
//! - [`look`] is all of it for one thread: state, call and stack, named, with the cause, as plain data.
//! - [`holder`] is who has the lock that a thread waits for.
//! - [`tasks`] is all tasks of a process, and what each waits for.
//! - [`core_file`] is what a process left when it ended: its memory and its threads are looked at as those of one that runs.
//! - [`seccomp`] is which calls all of them leave out under a filter that may not expect them.
//! - [`schedule`] has a thread that looks at others get a CPU soon when it wakes.
//! - [`usage`] is what a thread used: CPU time and context switches.
//! - [`quota`] is what a CPU quota did to the process.
//! - [`fault`] is a page that comes late, [`long_copy`] a call that computes, [`quota::limited`] a quota of its own: for tests and for
//!   programs that prove what they see.
//!
//! It names threads by the kernel's ids, prints nothing, starts no thread, and installs nothing unless asked to. It does
//! not look at what system calls read or write: of their arguments, only paths, addresses and times.
//!
//! Linux on x86-64. Elsewhere it compiles and answers `Unsupported`; see [`SUPPORTED`].

pub mod address;
pub mod capture;
pub mod core_file;
mod elf_head;
pub mod fault;
pub mod handler_stack;
pub mod holder;
pub mod long_copy;
pub mod look;
pub mod maps;
pub mod memory;
pub mod perf;
pub mod poll;
mod proc_file;
pub mod process;
pub mod quota;
mod registers;
pub mod sample;
pub mod schedule;
pub mod seccomp;
pub mod signal;
pub mod symbolize;
pub mod syscall;
pub mod task;
pub mod tasks;
pub mod thread;
pub mod unwind;
pub mod usage;
mod wait;

/// Whether threads can be looked at on the platform that this was compiled for.
///
/// ```
/// use pollscope_stacks::thread::{StateError, ThreadRef, read_state};
/// let state = read_state(&ThreadRef::current());
/// let is_unsupported = state.is_err_and(|error| error.why == StateError::Unsupported);
/// assert_eq!(is_unsupported, !pollscope_stacks::SUPPORTED);
/// ```
pub const SUPPORTED: bool = cfg!(supported);
