//! A system call in plain words.

use pollscope_base::{Call, Cause};

use crate::process::Process;
use crate::syscall::{Peer, Syscall};
use crate::wait::FutexWait;

/// The system call of that number in plain words, of a thread of a process that does not go on; for one that goes on, a look says it.
///
/// ```
/// use pollscope_stacks::{look::call_of, process::Process};
/// # if pollscope_stacks::SUPPORTED {
/// assert_eq!(call_of(&Process::current(), 202, [0; 6]).name, "futex");
/// # }
/// ```
pub fn call_of(process: &Process, number: u64, args: [u64; 6]) -> Call {
    let mut syscall = Syscall::new(number, &args);
    syscall.locate(process);
    call(&syscall)
}

/// Where the futex is that a thread waits at in a system call, as x86-64 numbers those; `None` of a call that is no such wait.
///
/// ```
/// use pollscope_stacks::look::futex_of;
/// assert_eq!(futex_of(202, [0x7f00, 0x80, 2, 0, 0, 0]), Some(0x7f00));
/// assert_eq!(futex_of(202, [0x7f00, 0x81, 1, 0, 0, 0]), None, "it wakes");
/// ```
pub fn futex_of(number: u64, args: [u64; 6]) -> Option<u64> {
    FutexWait::of_call(number, args).map(|wait| wait.address)
}

pub(super) fn call(syscall: &Syscall) -> Call {
    Call {
        name: syscall.name.map_or_else(|| format!("syscall {}", syscall.number), str::to_owned),
        fd: syscall.fd(),
        path: syscall.path().map(|path| path.display().to_string()),
        peer: syscall.peer().map(Peer::plain),
        bytes: syscall.bytes,
        text: syscall.to_string(),
    }
}

/// What being in a call is.
pub(super) fn off_cpu(call: &Call) -> Cause {
    if call.name == "futex" { Cause::Lock } else { Cause::BlockingCall }
}
