//! The merge pipeline: growing files tailed into one.

pub mod confirm;
pub mod sink;
