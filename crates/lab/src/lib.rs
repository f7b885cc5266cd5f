//! The lab: the same work done in several ways, and what each way costs everybody else on the loop.
//!
//! A [`scenario`] says what is tried. [`run`] runs it: a [`pipeline`] that merges growing files, or tasks that [`block`], beside
//! [`witness`]es that feel what the loop's other users feel. A recording of it comes out.

mod blocking_tasks;
mod cost;
pub mod limits;
pub mod pipeline;
pub mod run;
pub mod scenario;
pub mod shutdown;
pub mod spawner;
mod witness;
