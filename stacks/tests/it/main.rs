//! Stacks of real threads, compared with what the threads themselves say.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod adversary;
mod blocked;
mod broken;
mod interrupted;
mod process;
mod running;
mod support;
mod tokio_worker;
