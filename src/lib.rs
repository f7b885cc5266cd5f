//! pollscope finds what blocks a Tokio event loop.
//!
//! A scenario becomes a recording, a recording becomes findings, findings become pages.

pub mod findings;
pub mod gate;
pub mod pipeline;
pub mod recording;
pub mod report;
pub mod scenario;
mod snippet;
pub mod units;
