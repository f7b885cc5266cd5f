//! A system call in plain words.

use pollscope_base::{Call, Cause};

use crate::syscall::{Peer, Syscall};

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
