//! The JSON twin of a recording: the format `pollscope.recording/2`, and how one is written. Version 1 is read as well.
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
//!   were not found out. So are `cpu_ns`, `run_delay_ns`, `off_cpu_ns`, `cause`, `stack_complete`, `blame` and `worst_waiter` of a
//!   slow poll of which only the duration is known; its `places` are then empty.
//! - `subject.kind` is `scenario`, `service` or `process`. Of a process that was looked at from outside, `polls`, `sites`,
//!   `schedule_latency`, `ledger` and `blame` are `null`, and `slow_polls_are` is `at_least`.
//! - A slow poll's `places` are where it was seen, most time first; a place's `stack` is a number in the run's `stacks`.
//! - `start_is` and `end_is` are `exact`, or `{"within_ns": n}`.
//! - `environment.command` is pollscope's own command line, and `settings` has the output's path. Nothing else of what a process was
//!   given, its environment held or a file contained is in a recording: names, paths, places and the addresses of sockets only; `--redact` hides
//!   paths and addresses.
//! - `coverage.missing` says why something of slow polls is `null`, each reason once; it is empty when nothing was in the way.
//! - `profile` is there only of a process that was looked at from outside; its `frames` has each frame once, and a place's `stack` is numbers
//!   of those. `looks` are all, whatever they found; of places on a CPU, samples are counted, each of which stands for as much time as a look.
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
//! Where the source is hooks: `slow_polls_total` = the sum of `sites[].slow` = the length of `slow_polls` + `slow_polls_dropped` = `slow_poll_lines.printed` +
//! `slow_poll_lines.suppressed`; the sum of `ledger.charges[].wait_ns` + `ledger.unattributed_ns` = the sum of the schedule latency;
//! `cpu_ns` + `run_delay_ns` + `off_cpu_ns` = `duration_ns` of a slow poll; and `polls.count` = the sum of `sites[].polls.count`. Slow polls are counted exactly, not
//! read off the histogram, which agrees to within the bucket that holds the threshold.
//!
//! # Example
//!
//! One poll of 503 ms, in a run that merged nothing and whose build saw no schedule latency. Histograms are shortened.
//!
//! # While it grows
//!
//! A service that records itself writes lines, in a file or several whose names are in the order of time. Each line is an object of one
//! key, and is written at once:
//!
//! | key | what it is |
//! |---|---|
//! | `recording` | the first line of each file: `schema`, `environment`, and of the run `group`, `subject`, `started_at`, `coverage`, `slow_poll_threshold_ns` and `slow_polls_are`; `segment` is which file of the run it is, from 1 |
//! | `known` | all that is known of the run by now, without its lists; the next takes its place |
//! | `interval` | as in `intervals`, but histograms are not compressed (V2 without DEFLATE); `end_ns` is when it ended |
//! | `fine` | as in `fine`: what comes after the lines of this kind before it, near a poll that took very long |
//! | `stack` | `id` and `frames`, once in each file, before what refers to it |
//! | `kind` | `id`, and what slow polls have in common, once in each file: as in `slow_polls` `task_name`, `spawned_at`, `future`, `runtime`, `worker`, `cause`, `stack_complete`, of `places` the first, without `looks` and `share_ns`, and `blame` where nobody waited |
//! | `slow_poll`, `stall` | `kind`, and as in `slow_polls` what it has of its own; what is not there is that of the kind, or not known. `clocks_ns` are `cpu_ns` and `run_delay_ns`, `seen` are `looks` and `share_ns` of the first place, `more_places` are the others; without an `id` it has the one after that of the `slow_poll` before. A slow poll that was a stall has its `id` |
//! | `note` | as in `coverage.missing` |
//! | `beside` | a line of a second run, told beside the first: a `recording`, `known`, `interval`, `slow_poll`, `stall`, `note` or `end`. Its `stack` and `kind` lines are the file's, and each `slow_poll` has its `id` |
//! | `end` | `ended`, and `why` it ended early; of its run nothing comes after it |
//!
//! A line without its newline is left out, and one with another key is passed over and counted. Of a run without `end`, what was counted is
//! told up to the last interval, and what was not written since is `null`.
//!
//! # In a page
//!
//! A page that `--html` writes has the document compressed, with its histograms apart from it and without the figures that follow from
//! them: that form is pollscope's own, and may change. `pollscope report page.html --format json` gives the document.
//!
//! # Version 1
//!
//! `mode`, `round` and `runtime` are now in `subject` and `group`, `interrupted` in `ended` and `ended_why`, and what a slow poll's
//! `blocking_line`, `function`, `syscall` and `stack` were is in its first place.
//!
#![doc = "```json"]
#![doc = include_str!("wire/example.json")]
#![doc = "```"]

use std::cell::Cell;
use std::io;

use serde::{Deserialize, Serialize};

use crate::escape;

use super::{Environment, Finding, Gate, Recording, Run, ScenarioInfo, SlowPoll};

pub(crate) mod bounded;
mod dist;
mod merge;
pub(crate) mod stacks;
mod v1;
mod v2;

#[cfg(test)]
mod tests;

pub(crate) use dist::{OfInterval, apart};
pub(crate) use v2::{WithoutLists, WrittenBlame, WrittenPlace};

/// The format's name and version: the value of the key `schema`.
pub const SCHEMA: &str = "pollscope.recording/2";
/// The version before, which is still read.
const SCHEMA_1: &str = "pollscope.recording/1";

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
    Ok(escape::json(json))
}

/// The JSON of a recording on one line, for a place within another document.
///
/// # Errors
/// As [`to_json`].
pub fn to_compact_json(recording: &Recording) -> serde_json::Result<String> {
    serde_json::to_string(&Written::from(recording)).map(escape::json)
}

/// Writes what [`to_json`] returns, and flushes.
///
/// # Errors
/// What the writer says; or a histogram cannot be encoded, see [`to_json`].
pub fn write_json(recording: &Recording, mut writer: impl io::Write) -> io::Result<()> {
    writer.write_all(to_json(recording)?.as_bytes())?;
    writer.flush()
}

/// Reads what [`to_json`] wrote, or an earlier version of pollscope, and nothing behind it. What it says is not checked: see
/// [`super::read`], which is for files.
///
/// # Errors
/// When it is not JSON, not a recording, or one of a later version.
pub fn from_json(reader: impl io::Read) -> serde_json::Result<Recording> {
    let mut json = serde_json::Deserializer::from_reader(reader);
    let before = VERSION.get();
    let read = Document::deserialize(&mut json);
    VERSION.set(before);
    let Document { schema: _, environment, scenario, runs, findings, gates } = read?;
    Ok(Recording { environment, scenario, runs, findings, gates })
}

#[derive(Serialize)]
struct Written<'a> {
    schema: &'static str,
    environment: &'a Environment,
    scenario: &'a Option<ScenarioInfo>,
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
    #[serde(deserialize_with = "bounded::present")]
    scenario: Option<ScenarioInfo>,
    #[serde(deserialize_with = "bounded::list::<_, _, 100_000>")]
    runs: Vec<Run>,
    #[serde(deserialize_with = "bounded::list::<_, _, 100_000>")]
    findings: Vec<Finding>,
    #[serde(deserialize_with = "bounded::list::<_, _, 100_000>")]
    gates: Vec<Gate>,
}

/// The format's versions that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

thread_local! {
    /// The version of the document that is being read: serde passes nothing down to where runs are read.
    static VERSION: Cell<Version> = const { Cell::new(Version::Two) };
}

/// The first key, so that nothing of a later version is read.
pub(crate) struct Schema;

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Schema, D::Error> {
        let schema = String::deserialize(deserializer)?;
        let version = match schema.as_str() {
            SCHEMA_1 => Version::One,
            SCHEMA => Version::Two,
            _ => {
                let shown: String = schema.chars().take(60).collect();
                return Err(serde::de::Error::custom(format_args!(
                    "its schema is `{shown}`, and this pollscope reads `{SCHEMA}` and earlier ones"
                )));
            }
        };
        VERSION.set(version);
        Ok(Schema)
    }
}

impl<'de> Deserialize<'de> for Run {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Run, D::Error> {
        match VERSION.get() {
            Version::One => v1::Run1::deserialize(from).map(Run::from),
            Version::Two => v2::Run2::read(from),
        }
    }
}

impl<'de> Deserialize<'de> for SlowPoll {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<SlowPoll, D::Error> {
        match VERSION.get() {
            Version::One => v1::SlowPoll1::deserialize(from)?.poll(),
            Version::Two => {
                let poll = v2::SlowPoll2::deserialize(from)?;
                stacks::next_poll();
                poll.poll()
            }
        }
    }
}
