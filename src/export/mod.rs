//! Other tools' ways to look at a run.

pub mod console;
pub mod prometheus;
