//! The merge pipeline: growing files, tailed concurrently into one.
//!
//! Reading is off the loop in every mode; only the write side differs. Nothing here knows what measures it.

pub mod confirm;
pub mod fifo;
mod file;
pub mod generate;
mod idle_watcher;
mod inotify;
pub mod input;
pub mod merge;
pub mod pieces;
pub mod sink;
pub mod tag;
pub mod tail;
mod waiting;

pub use file::folder_of;
