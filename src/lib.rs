//! pollscope finds what blocks a Tokio event loop.
//!
//! A scenario becomes a recording, a recording becomes findings, findings become pages.

pub mod args;
pub mod cmd;
pub mod config;
mod doctor;
pub mod environment;
pub mod exit;
pub mod explain;
pub mod export;
pub mod init;
pub mod service;
mod signal_mask;
pub mod stderr;
mod top;

pub use pollscope_lab::{limits, pipeline, run, scenario, shutdown, spawner};
#[cfg(test)]
use pollscope_record::fixture;
pub use pollscope_record::{
    answer, by_group, compare, cut, dist, escape, findings, gate, growing, interval_log, recording, redact, report,
    saved, snippet, together, units, width,
};
