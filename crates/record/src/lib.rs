//! What is known of an async service, as plain data, and all that is made of it.
//!
//! A [`recording`] says what was seen. [`findings`] say what it means, [`gate`]s whether it is as expected, [`compare`] what
//! became better or worse, and [`report`] shows it. All of it is pure: the same recording gives the same text. Nothing here reads a
//! clock, a thread or a file but [`saved`], which reads what it is given.

// What only reports need is there without them, too.
#![cfg_attr(not(feature = "report"), allow(dead_code, unused_imports, rustdoc::broken_intra_doc_links))]

mod advice;
pub mod answer;
mod blockers;
pub mod by_group;
pub mod compare;
pub mod cut;
pub mod dist;
pub mod escape;
pub mod feed;
pub mod findings;
#[cfg(any(test, feature = "fixture"))]
pub mod fixture;
pub mod gate;
pub mod growing;
pub mod interval_log;
pub mod live;
mod loops_time;
mod merge_words;
pub mod message;
pub mod recording;
pub mod redact;
#[cfg(feature = "report")]
pub mod report;
#[cfg(feature = "report")]
pub mod saved;
pub mod snippet;
pub mod tasks;
pub mod together;
pub mod units;
pub mod width;
pub mod wording;
