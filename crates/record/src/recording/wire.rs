//! The JSON twin of a recording: the format `pollscope.recording/1`, and how one is written.
//!
//! This is the format's specification. Keys may be added to it; none is renamed, and each keeps its meaning and its unit.
//!
//! - A key that ends in `_ns` is a whole number of nanoseconds. `start_ns` counts from the run's start.
//! - `null` means unknown: not measured, not visible to this build, or not there. It never means 0, and 0 never means unknown.
//! - A place in the source is text, `file:line`.
//! - A float that is not a finite number is `null`, since JSON has none: serde_json sees to that.
//!
//! # The document
//!
//! `schema`, [`environment`](super::Environment), [`scenario`](super::ScenarioInfo), `runs`, `findings` and `gates`, with the
//! keys of the types of the same name in [`crate::recording`], which say what each means. Where the JSON says more or less:
//!
//! - `merge.verdict` is `ok`, `failed` or `unverifiable`. In an unverifiable merge the counts of lines are `null`: they
//!   were not found out. So are `cpu_ns`, `run_delay_ns`, `off_cpu_ns`, `cause`, `syscall`, `blocking_line`, `stack_complete`, `blame` and `worst_waiter` of a slow poll of which
//!   only the duration is known; its `stack` is then empty.
//! - `environment.command` is pollscope's own command line, and `settings` has the output's path. Nothing else that a process was
//!   told, its environment held or a file contained is in a recording: names, paths and places only; `--redact` hides the paths.
//! - `coverage.missing` says why something of slow polls is `null`, each reason once; it is empty when nothing was in the way.
//! - `intervals[].queued` is what somebody outside of the loop found at one moment, the interval's beginning; the first has `null`.
//! - `gates[].verdict` is `pass`, `fail` or `inconclusive`.
//!
//! # A distribution
//!
//! | key | meaning |
//! |---|---|
//! | `count` | how many values |
//! | `min_ns`, `max_ns` | exact |
//! | `sum_ns` | exact |
//! | `mean_ns` | from the exact sum, rounded down |
//! | `p50_ns`, `p90_ns`, `p99_ns`, `p999_ns` | read off the histogram: the highest value of the bucket that the fraction falls in, so it may pass `max_ns` by the bucket's width |
//! | `clamped` | values outside 1 ns to 1 h, which the histogram holds at the bound that they passed |
//! | `histogram` | base64 (standard alphabet, padded) of an HdrHistogram in nanoseconds, in the encoding V2 with DEFLATE that every HdrHistogram implementation reads |
//!
//! In an empty distribution `count` is 0 and all but `clamped`, `sum_ns` and `histogram` are `null`.
//!
//! # What holds
//!
//! `slow_polls_total` = the sum of `sites[].slow` = the length of `slow_polls` + `slow_polls_dropped` = `slow_poll_lines.printed` +
//! `slow_poll_lines.suppressed`; the sum of `ledger.charges[].wait_ns` + `ledger.unattributed_ns` = the sum of the schedule latency;
//! `cpu_ns` + `run_delay_ns` + `off_cpu_ns` = `duration_ns` of a slow poll; and `polls.count` = the sum of `sites[].polls.count`. Slow polls are counted exactly, not
//! read off the histogram, which agrees to within the bucket that holds the threshold.
//!
//! # Example
//!
//! One poll of 503 ms, in a run that merged nothing and whose build saw no schedule latency. Histograms are shortened.
//!
#![doc = "```json"]
#![doc = include_str!("wire/example.json")]
#![doc = "```"]

use std::io;

use serde::{Deserialize, Serialize};

use super::{Environment, Finding, Gate, Recording, Run, ScenarioInfo};

pub(crate) mod bounded;
mod dist;
mod merge;

#[cfg(test)]
mod tests;

/// The format's name and version: the value of the key `schema`.
pub const SCHEMA: &str = "pollscope.recording/1";

/// The JSON Schema (draft 2020-12) of the format: what `pollscope schema` prints. A key that the first version had is required;
/// one that was added since is described, and may be missing.
pub const JSON_SCHEMA: &str = include_str!("schema.json");

/// The JSON of a recording, indented, with a newline at its end.
///
/// # Errors
/// When a histogram cannot be encoded: one of its counts is 2⁶³ or more.
pub fn to_json(recording: &Recording) -> serde_json::Result<String> {
    let mut json = serde_json::to_string_pretty(&Written::from(recording))?;
    json.push('\n');
    Ok(json)
}

/// The JSON of a recording on one line, for a place within another document.
///
/// # Errors
/// As [`to_json`].
pub fn to_compact_json(recording: &Recording) -> serde_json::Result<String> {
    serde_json::to_string(&Written::from(recording))
}

/// Writes what [`to_json`] returns, and flushes.
///
/// # Errors
/// What the writer says; or a histogram cannot be encoded, see [`to_json`].
pub fn write_json(recording: &Recording, mut writer: impl io::Write) -> io::Result<()> {
    writer.write_all(to_json(recording)?.as_bytes())?;
    writer.flush()
}

/// Reads what [`to_json`] wrote, and nothing behind it. What it says is not checked: see [`super::read`], which is for files.
///
/// # Errors
/// When it is not JSON, not a recording, or one of another version.
pub fn from_json(reader: impl io::Read) -> serde_json::Result<Recording> {
    let mut json = serde_json::Deserializer::from_reader(reader);
    let Document { schema: _, environment, scenario, runs, findings, gates } = Document::deserialize(&mut json)?;
    Ok(Recording { environment, scenario, runs, findings, gates })
}

#[derive(Serialize)]
struct Written<'a> {
    schema: &'static str,
    environment: &'a Environment,
    scenario: &'a ScenarioInfo,
    runs: &'a [Run],
    findings: &'a [Finding],
    gates: &'a [Gate],
}

impl<'a> From<&'a Recording> for Written<'a> {
    fn from(recording: &'a Recording) -> Written<'a> {
        let Recording { environment, scenario, runs, findings, gates } = recording;
        Written { schema: SCHEMA, environment, scenario, runs, findings, gates }
    }
}

#[derive(Deserialize)]
struct Document {
    #[expect(dead_code, reason = "its value decides whether the rest is read")]
    schema: Schema,
    environment: Environment,
    scenario: ScenarioInfo,
    #[serde(deserialize_with = "bounded::list::<_, _, 100_000>")]
    runs: Vec<Run>,
    #[serde(deserialize_with = "bounded::list::<_, _, 100_000>")]
    findings: Vec<Finding>,
    #[serde(deserialize_with = "bounded::list::<_, _, 100_000>")]
    gates: Vec<Gate>,
}

/// The first key, so that nothing of another version is read.
struct Schema;

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Schema, D::Error> {
        let schema = String::deserialize(deserializer)?;
        if schema == SCHEMA {
            return Ok(Schema);
        }
        let shown: String = schema.chars().take(60).collect();
        Err(serde::de::Error::custom(format_args!("its schema is `{shown}`, and this pollscope reads `{SCHEMA}`")))
    }
}
