//! Stacks of real threads, compared with what the threads themselves say.
#![cfg(supported)]

mod adversary;
mod blocked;
mod broken;
mod calls;
mod deep;
mod holder;
mod interrupted;
mod look;
mod perf;
mod pointers;
mod process;
mod running;
mod support;
mod tokio_worker;
mod unloaded;
mod watched;
