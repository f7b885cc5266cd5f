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
//!   were not found out. So are `cpu_ns`, `cause`, `syscall`, `blocking_line`, `stack_complete` and `blame` of a slow poll of which
//!   only the duration is known; its `stack` is then empty.
//! - `gates[].verdict` is `pass`, `fail` or `inconclusive`.
//!
//! # A distribution
//!
//! | key | meaning |
//! |---|---|
//! | `count` | how many values |
//! | `min_ns`, `max_ns` | exact |
//! | `mean_ns` | from the exact sum, rounded down |
//! | `p50_ns`, `p90_ns`, `p99_ns`, `p999_ns` | read off the histogram: the highest value of the bucket that the fraction falls in, so it may pass `max_ns` by the bucket's width |
//! | `clamped` | values outside 1 ns to 1 h, which the histogram holds at the bound that they passed |
//! | `histogram` | base64 (standard alphabet, padded) of an HdrHistogram in nanoseconds, in the encoding V2 with DEFLATE that every HdrHistogram implementation reads |
//!
//! In an empty distribution `count` is 0 and all but `clamped` and `histogram` are `null`.
//!
//! # What holds
//!
//! `slow_polls_total` = the sum of `sites[].slow` = the length of `slow_polls` + `slow_polls_dropped` = `slow_poll_lines.printed` +
//! `slow_poll_lines.suppressed`; and `polls.count` = the sum of `sites[].polls.count`. Slow polls are counted exactly, not
//! read off the histogram, which agrees to within the bucket that holds the threshold.
//!
//! # Example
//!
//! One poll of 503 ms, in a run that merged nothing and whose build saw no schedule latency. Histograms are shortened.
//!
#![doc = "```json"]
#![doc = include_str!("wire/example.json")]
#![doc = "```"]

use std::collections::BTreeMap;
use std::io;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer};
use serde::ser::Error;
use serde::{Serialize, Serializer};

use super::{Dist, GateVerdict, Recording, Verdict};

#[cfg(test)]
mod tests;

/// The format's name and version: the value of the key `schema`.
pub const SCHEMA: &str = "pollscope.recording/1";

/// The JSON of a recording, indented, with a newline at its end.
///
/// # Errors
/// When a histogram cannot be encoded: one of its counts is 2⁶³ or more.
pub fn to_json(recording: &Recording) -> serde_json::Result<String> {
    let mut json = serde_json::to_string_pretty(&Document::from(recording))?;
    json.push('\n');
    Ok(json)
}

/// Writes what [`to_json`] returns, and flushes.
///
/// # Errors
/// What the writer says; or a histogram cannot be encoded, see [`to_json`].
pub fn write_json(recording: &Recording, mut writer: impl io::Write) -> io::Result<()> {
    writer.write_all(to_json(recording)?.as_bytes())?;
    writer.flush()
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    environment: Environment<'a>,
    scenario: ScenarioInfo<'a>,
    runs: Vec<Run<'a>>,
    findings: Vec<Finding<'a>>,
    gates: Vec<Gate<'a>>,
}

impl<'a> From<&'a Recording> for Document<'a> {
    fn from(recording: &'a Recording) -> Document<'a> {
        Document {
            schema: SCHEMA,
            environment: (&recording.environment).into(),
            scenario: (&recording.scenario).into(),
            runs: all(&recording.runs),
            findings: all(&recording.findings),
            gates: all(&recording.gates),
        }
    }
}

/// Converts every element.
fn all<'a, T, U: From<&'a T>>(list: &'a [T]) -> Vec<U> {
    list.iter().map(U::from).collect()
}

#[derive(Serialize)]
struct Environment<'a> {
    pollscope: &'a str,
    tokio: &'a str,
    os: &'a str,
    kernel: Option<&'a str>,
    cpus: Option<u64>,
    clock: &'a str,
    tokio_unstable: bool,
    console_compiled: bool,
    console_on: bool,
    command: &'a [String],
}

impl<'a> From<&'a super::Environment> for Environment<'a> {
    fn from(environment: &'a super::Environment) -> Environment<'a> {
        Environment {
            pollscope: &environment.pollscope,
            tokio: &environment.tokio,
            os: &environment.os,
            kernel: environment.kernel.as_deref(),
            cpus: environment.cpus,
            clock: &environment.clock,
            tokio_unstable: environment.tokio_unstable,
            console_compiled: environment.console_compiled,
            console_on: environment.console_on,
            command: &environment.command,
        }
    }
}

#[derive(Serialize)]
struct ScenarioInfo<'a> {
    name: &'a str,
    why: &'a str,
    seed: u64,
    settings: &'a BTreeMap<String, String>,
    changed: &'a [String],
}

impl<'a> From<&'a super::ScenarioInfo> for ScenarioInfo<'a> {
    fn from(scenario: &'a super::ScenarioInfo) -> ScenarioInfo<'a> {
        ScenarioInfo {
            name: &scenario.name,
            why: &scenario.why,
            seed: scenario.seed,
            settings: &scenario.settings,
            changed: &scenario.changed,
        }
    }
}

#[derive(Serialize)]
struct Run<'a> {
    mode: &'a str,
    round: u32,
    runtime: RuntimeInfo<'a>,
    started_at: &'a str,
    elapsed_ns: u64,
    interrupted: Option<&'a str>,
    errors: &'a [String],
    coverage: Coverage<'a>,
    merge: Option<Merge<'a>>,
    polls: Distribution<'a>,
    schedule_latency: Option<Distribution<'a>>,
    lag: Option<Distribution<'a>>,
    lag_raw: Option<Distribution<'a>>,
    response_time: Option<Distribution<'a>>,
    unanswered: Option<u64>,
    write_latency: Option<Distribution<'a>>,
    busy_stretches: Option<Distribution<'a>>,
    loop_busy_ns: u64,
    throughput_bytes_per_s: Option<u64>,
    slow_poll_threshold_ns: u64,
    slow_polls_total: u64,
    slow_polls_dropped: u64,
    slow_poll_lines: Lines,
    slow_polls: Vec<SlowPoll<'a>>,
    sites: Vec<Site<'a>>,
    intervals: Vec<Interval<'a>>,
    runtime_metrics: Option<&'a BTreeMap<String, f64>>,
}

impl<'a> From<&'a super::Run> for Run<'a> {
    fn from(run: &'a super::Run) -> Run<'a> {
        let distribution = |dist: &'a Option<Dist>| dist.as_ref().map(Distribution::from);
        Run {
            mode: &run.mode,
            round: run.round,
            runtime: RuntimeInfo { flavor: &run.runtime.flavor, workers: run.runtime.workers },
            started_at: &run.started_at,
            elapsed_ns: run.elapsed_ns,
            interrupted: run.interrupted.as_deref(),
            errors: &run.errors,
            coverage: (&run.coverage).into(),
            merge: run.merge.as_ref().map(Merge::from),
            polls: (&run.polls).into(),
            schedule_latency: distribution(&run.schedule_latency),
            lag: distribution(&run.lag),
            lag_raw: distribution(&run.lag_raw),
            response_time: distribution(&run.response_time),
            unanswered: run.unanswered,
            write_latency: distribution(&run.write_latency),
            busy_stretches: distribution(&run.busy_stretches),
            loop_busy_ns: run.loop_busy_ns,
            throughput_bytes_per_s: run.throughput_bytes_per_s,
            slow_poll_threshold_ns: run.slow_poll_threshold_ns,
            slow_polls_total: run.slow_polls_total,
            slow_polls_dropped: run.slow_polls_dropped,
            slow_poll_lines: run.slow_poll_lines.into(),
            slow_polls: all(&run.slow_polls),
            sites: all(&run.sites),
            intervals: all(&run.intervals),
            runtime_metrics: run.runtime_metrics.as_ref(),
        }
    }
}

#[derive(Serialize)]
struct RuntimeInfo<'a> {
    flavor: &'a str,
    workers: u64,
}

#[derive(Serialize)]
struct Coverage<'a> {
    source: &'a str,
    sees: &'a [String],
    blind_to: &'a [String],
}

impl<'a> From<&'a super::Coverage> for Coverage<'a> {
    fn from(coverage: &'a super::Coverage) -> Coverage<'a> {
        Coverage { source: &coverage.source, sees: &coverage.sees, blind_to: &coverage.blind_to }
    }
}

#[derive(Serialize)]
struct Merge<'a> {
    verdict: &'static str,
    reason: Option<&'a str>,
    inputs: u64,
    lines: Option<u64>,
    bytes: u64,
    lost: Option<u64>,
    duplicated: Option<u64>,
    reordered: Option<u64>,
    torn: Option<u64>,
    foreign: Option<u64>,
    unterminated: u64,
}

impl<'a> From<&'a super::Merge> for Merge<'a> {
    fn from(merge: &'a super::Merge) -> Merge<'a> {
        let counted = |count: u64| (merge.verdict != Verdict::Unverifiable).then_some(count);
        Merge {
            verdict: merge.verdict.as_str(),
            reason: merge.reason.as_deref(),
            inputs: merge.inputs,
            lines: counted(merge.lines),
            bytes: merge.bytes,
            lost: counted(merge.lost),
            duplicated: counted(merge.duplicated),
            reordered: counted(merge.reordered),
            torn: counted(merge.torn),
            foreign: counted(merge.foreign),
            unterminated: merge.unterminated,
        }
    }
}

#[derive(Serialize)]
struct Lines {
    printed: u64,
    suppressed: u64,
}

impl From<super::Lines> for Lines {
    fn from(lines: super::Lines) -> Lines {
        Lines { printed: lines.printed, suppressed: lines.suppressed }
    }
}

#[derive(Serialize)]
struct SlowPoll<'a> {
    id: u64,
    task_id: Option<u64>,
    task_name: Option<&'a str>,
    spawned_at: &'a str,
    worker: Option<u64>,
    start_ns: u64,
    duration_ns: u64,
    cpu_ns: Option<u64>,
    cause: Option<&'a str>,
    syscall: Option<Syscall<'a>>,
    blocking_line: Option<&'a str>,
    function: Option<&'a str>,
    stack: Vec<Frame<'a>>,
    stack_complete: Option<bool>,
    blame: Option<Blame>,
}

#[derive(Serialize)]
struct Syscall<'a> {
    name: &'a str,
    fd: Option<i64>,
    path: Option<&'a str>,
    bytes: Option<u64>,
    text: &'a str,
}

#[derive(Serialize)]
struct Frame<'a> {
    function: Option<&'a str>,
    file: Option<&'a str>,
    line: Option<u64>,
}

#[derive(Serialize)]
struct Blame {
    tasks: u64,
    wait_ns: u64,
}

impl<'a> From<&'a super::SlowPoll> for SlowPoll<'a> {
    fn from(poll: &'a super::SlowPoll) -> SlowPoll<'a> {
        SlowPoll {
            id: poll.id,
            task_id: poll.task_id,
            task_name: poll.task_name.as_deref(),
            spawned_at: &poll.spawned_at,
            worker: poll.worker,
            start_ns: poll.start_ns,
            duration_ns: poll.duration_ns,
            cpu_ns: poll.cpu_ns,
            cause: poll.cause.as_deref(),
            syscall: poll.syscall.as_ref().map(Syscall::from),
            blocking_line: poll.blocking_line.as_deref(),
            function: poll.function.as_deref(),
            stack: poll.stack.iter().map(Frame::from).collect(),
            stack_complete: poll.stack_complete,
            blame: poll.blame.map(|super::Blame { tasks, wait_ns }| Blame { tasks, wait_ns }),
        }
    }
}

impl<'a> From<&'a super::Syscall> for Syscall<'a> {
    fn from(call: &'a super::Syscall) -> Syscall<'a> {
        Syscall { name: &call.name, fd: call.fd, path: call.path.as_deref(), bytes: call.bytes, text: &call.text }
    }
}

impl<'a> From<&'a super::Frame> for Frame<'a> {
    fn from(frame: &'a super::Frame) -> Frame<'a> {
        Frame { function: frame.function.as_deref(), file: frame.file.as_deref(), line: frame.line }
    }
}

#[derive(Serialize)]
struct Site<'a> {
    spawned_at: &'a str,
    task_name: Option<&'a str>,
    polls: Distribution<'a>,
    slow: u64,
}

impl<'a> From<&'a super::Site> for Site<'a> {
    fn from(site: &'a super::Site) -> Site<'a> {
        let polls = (&site.polls).into();
        Site { spawned_at: &site.spawned_at, task_name: site.task_name.as_deref(), polls, slow: site.slow }
    }
}

#[derive(Serialize)]
struct Interval<'a> {
    start_ns: u64,
    polls: Distribution<'a>,
    lag: Option<Distribution<'a>>,
    busy_ns: u64,
}

impl<'a> From<&'a super::Interval> for Interval<'a> {
    fn from(interval: &'a super::Interval) -> Interval<'a> {
        let lag = interval.lag.as_ref().map(Distribution::from);
        Interval { start_ns: interval.start_ns, polls: (&interval.polls).into(), lag, busy_ns: interval.busy_ns }
    }
}

#[derive(Serialize)]
struct Finding<'a> {
    code: &'a str,
    mode: &'a str,
    sentence: &'a str,
    advice: &'a str,
    at: Option<&'a str>,
}

impl<'a> From<&'a super::Finding> for Finding<'a> {
    fn from(finding: &'a super::Finding) -> Finding<'a> {
        Finding {
            code: &finding.code,
            mode: &finding.mode,
            sentence: &finding.sentence,
            advice: &finding.advice,
            at: finding.at.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct Gate<'a> {
    expr: &'a str,
    verdict: &'static str,
    value: Option<f64>,
}

impl<'a> From<&'a super::Gate> for Gate<'a> {
    fn from(gate: &'a super::Gate) -> Gate<'a> {
        let verdict = match gate.verdict {
            GateVerdict::Pass => "pass",
            GateVerdict::Fail => "fail",
            GateVerdict::Inconclusive => "inconclusive",
        };
        Gate { expr: &gate.expr, verdict, value: gate.value }
    }
}

#[derive(Serialize)]
struct Distribution<'a> {
    count: u64,
    min_ns: Option<u64>,
    p50_ns: Option<u64>,
    p90_ns: Option<u64>,
    p99_ns: Option<u64>,
    p999_ns: Option<u64>,
    max_ns: Option<u64>,
    mean_ns: Option<u64>,
    clamped: u64,
    #[serde(serialize_with = "encode")]
    histogram: &'a Histogram<u64>,
}

impl<'a> From<&'a Dist> for Distribution<'a> {
    fn from(dist: &'a Dist) -> Distribution<'a> {
        Distribution {
            count: dist.count(),
            min_ns: dist.min_ns,
            p50_ns: dist.quantile_ns(0.5),
            p90_ns: dist.quantile_ns(0.9),
            p99_ns: dist.quantile_ns(0.99),
            p999_ns: dist.quantile_ns(0.999),
            max_ns: dist.max_ns,
            mean_ns: dist.mean_ns(),
            clamped: dist.clamped,
            histogram: &dist.histogram,
        }
    }
}

fn encode<S: Serializer>(histogram: &Histogram<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut bytes).map_err(S::Error::custom)?;
    serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
}
