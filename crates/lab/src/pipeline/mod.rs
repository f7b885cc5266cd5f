//! The merge pipeline: growing files, tailed concurrently into one.
//!
//! Reading is off the loop in every mode; only the write side differs. Nothing here knows what measures it.

use std::path::Path;

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

/// The folder that a name is in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
