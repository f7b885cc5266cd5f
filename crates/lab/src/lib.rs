//! The lab: the same work done in several ways, and what each way costs everybody else on the loop.
//!
//! A [`scenario`] says what to try. [`run`] runs it: a [`pipeline`] that merges growing files, or tasks that block, beside witnesses
//! that feel what the loop's other users feel. The result is a recording.

mod blocking_tasks;
mod cost;
pub mod limits;
pub mod pipeline;
pub mod run;
pub mod scenario;
pub mod shutdown;
pub mod spawner;
mod witness;
