//! What one thread, of this process or of another of the same user, is doing: its state and system call, its stack, the
//! task poll that it is in, and the line of the user's code that blocks.
//!
//! Linux on x86-64. Elsewhere it compiles and answers `Unsupported`.

pub mod address;
pub mod capture;
pub mod maps;
pub mod memory;
pub mod poll;
pub mod signal;
pub mod symbolize;
pub mod syscall;
pub mod thread;
pub mod unwind;
