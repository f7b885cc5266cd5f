//! pollscope finds what blocks a Tokio event loop.
//!
//! A scenario becomes a recording, a recording becomes findings, findings become pages.

pub mod args;
pub mod block;
pub mod blockers;
mod cause;
pub mod cmd;
pub mod compare;
pub mod dist;
mod doctor;
pub mod environment;
pub mod escape;
pub mod exit;
pub mod explain;
pub mod export;
pub mod findings;
#[cfg(test)]
mod fixture;
pub mod gate;
pub mod interval_log;
pub mod limits;
pub mod meter;
pub mod pipeline;
pub mod pooled;
pub mod recording;
pub mod redact;
pub mod report;
pub mod ring;
pub mod run;
pub mod scenario;
pub mod shutdown;
mod snippet;
pub mod stderr;
pub mod tasks;
pub mod units;
mod width;
pub mod witness;
