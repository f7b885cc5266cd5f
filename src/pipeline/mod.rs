//! The merge pipeline: growing files, tailed concurrently into one.
//!
//! Reading is off the loop in every mode; only the write side differs. Nothing here knows what measures it.

mod changes;
pub mod confirm;
pub mod fifo;
pub mod generate;
pub mod input;
mod lookout;
pub mod merge;
pub mod pieces;
pub mod sink;
pub mod tag;
pub mod tail;
