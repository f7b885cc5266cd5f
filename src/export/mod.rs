//! Lets other tools observe a run.

pub mod console;
pub mod prometheus;
