//! The merge pipeline: growing files, tailed concurrently into one.
//!
//! Every mode reads off the loop; the modes differ only in how they write. Nothing here knows the instruments.

mod arrivals;
mod checksum;
mod clock;
pub mod confirm;
pub(crate) mod fifo;
mod file;
mod idle_watcher;
mod inotify;
pub mod input;
#[cfg(test)]
mod long_line;
pub mod merge;
mod planted;
pub mod simulation;
pub mod sink;
mod tag;
pub mod tail;
mod wake_sources;

pub use file::folder_of;
