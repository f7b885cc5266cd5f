//! A recording: what one execution of a scenario measured, as plain data.
//!
//! Everything either makes one or reads one. It holds no handle, no clock and no path into a running
//! process, so a report can be made at any time, of any recording. [`wire`] is its JSON twin.

mod cause;
pub mod read;
mod seen;
mod shared;
pub mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use crate::dist::{Dist, MAX_NS};
pub use cause::Cause;
pub use pollscope_base::Lines;
pub use seen::place;
pub use shared::{Shared, Text};

/// One execution of a scenario: every mode, every round.
#[derive(Debug, Clone)]
pub struct Recording {
    /// Where and with what it was made.
    pub environment: Environment,
    /// What was asked.
    pub scenario: ScenarioInfo,
    /// One entry a mode and round, in the order in which they ran.
    pub runs: Vec<Run>,
    /// What [`crate::findings`] made of the runs.
    pub findings: Vec<Finding>,
    /// The scenario's expectations and the user's gates, each with its verdict.
    pub gates: Vec<Gate>,
}

/// The machine and the build.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Environment {
    /// pollscope's version.
    pub pollscope: String,
    /// Tokio's version.
    pub tokio: String,
    /// Operating system and architecture, such as `linux x86_64`.
    pub os: String,
    /// The kernel's release; `None` where it could not be asked.
    pub kernel: Option<String>,
    /// Processors that this process may use; `None` where it could not be asked.
    pub cpus: Option<u64>,
    /// The clock that durations were read from.
    pub clock: String,
    /// Whether the build had `--cfg tokio_unstable`.
    pub tokio_unstable: bool,
    /// Whether console-subscriber was compiled in (and so tokio's `tracing` feature was on).
    pub console_compiled: bool,
    /// Whether console-subscriber was recording.
    pub console_on: bool,
    /// The command line as it was typed, paths included; with `--redact`, without the values.
    #[serde(deserialize_with = "wire::bounded::list::<_, _, 10_000>")]
    pub command: Vec<String>,
}

/// The question that was asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScenarioInfo {
    /// Its name.
    pub name: String,
    /// Why it exists, in prose.
    pub why: String,
    /// The seed of everything random in it.
    pub seed: u64,
    /// Every setting, as it was used, as text by dotted key.
    #[serde(deserialize_with = "wire::bounded::map::<_, _, 10_000>")]
    pub settings: BTreeMap<String, String>,
    /// The keys of those that the command line gave another value than the scenario.
    #[serde(default, deserialize_with = "wire::bounded::list::<_, _, 10_000>")]
    pub changed: Vec<String>,
}

/// One mode, run once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// `naive`, `offloaded`, …
    pub mode: String,
    /// From 1.
    pub round: u32,
    /// Which runtime was measured.
    pub runtime: RuntimeInfo,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// From the runtime's start to the end of its workload, in nanoseconds.
    pub elapsed_ns: u64,
    /// Which polls the instrument could see.
    pub coverage: Coverage,
    /// What became of the lines; `None` for a workload that merges nothing.
    pub merge: Option<Merge>,
    /// Why the run ended early; `None` for one that ran to its end.
    pub interrupted: Option<String>,
    /// What went wrong with inputs and output; each a whole sentence.
    #[serde(deserialize_with = "wire::bounded::list::<_, _, 10_000>")]
    pub errors: Vec<String>,
    /// What befell the inputs while they were followed.
    #[serde(default)]
    pub input_events: InputEvents,
    /// Poll durations.
    pub polls: Dist,
    /// Wake to poll start; `None` where the build could not see it.
    pub schedule_latency: Option<Dist>,
    /// How late a periodic timer fired, corrected for coordinated omission.
    pub lag: Option<Dist>,
    /// The same without the correction: one value for every time that the timer fired.
    pub lag_raw: Option<Dist>,
    /// What an outside client saw, from the intended send time.
    pub response_time: Option<Dist>,
    /// Requests of that client that got no answer.
    pub unanswered: Option<u64>,
    /// From a line's appearance in its input to the end of its write.
    pub write_latency: Option<Dist>,
    /// From a worker's unpark to its next park: how long it went without being idle.
    pub busy_stretches: Option<Dist>,
    /// The sum of all poll durations.
    pub loop_busy_ns: u64,
    /// Merged bytes a second; `None` for a workload that merges nothing.
    pub throughput_bytes_per_s: Option<u64>,
    /// CPU time outside the kernel of the runtime's threads and of those that write for it; `None` where it could not be asked.
    /// Neither the simulation nor the instruments are in it, nor in the next three.
    pub cpu_user_ns: Option<u64>,
    /// CPU time in the kernel.
    pub cpu_system_ns: Option<u64>,
    /// How often these threads gave up the CPU, as they blocked.
    pub context_switches_voluntary: Option<u64>,
    /// How often the CPU was taken from them.
    pub context_switches_involuntary: Option<u64>,
    /// How long closures waited for a thread of the blocking pool: from the call of `spawn_blocking` to the closure's start. Empty
    /// when there was none.
    #[serde(default, deserialize_with = "wire::bounded::waits")]
    pub pool_wait: Option<Dist>,
    /// What counted as slow (`>=`).
    pub slow_poll_threshold_ns: u64,
    /// All slow polls, counted exactly.
    pub slow_polls_total: u64,
    /// Slow polls that are not in `slow_polls`, for want of room.
    pub slow_polls_dropped: u64,
    /// Slow-poll lines printed and held back by the rate limit.
    pub slow_poll_lines: Lines,
    /// The slow polls, in the order in which they ended.
    #[serde(deserialize_with = "wire::bounded::list::<_, _, 10_000_000>")]
    pub slow_polls: Vec<SlowPoll>,
    /// Polls by spawn site, most time first.
    #[serde(deserialize_with = "wire::bounded::list::<_, _, 100_000>")]
    pub sites: Vec<Site>,
    /// Who waited for whom; `None` where that cannot be seen.
    pub ledger: Option<Ledger>,
    /// The run in slices.
    #[serde(deserialize_with = "wire::bounded::list::<_, _, 10_000_000>")]
    pub intervals: Vec<Interval>,
    /// What tokio-metrics reported, by name.
    #[serde(deserialize_with = "wire::bounded::metrics")]
    pub runtime_metrics: Option<BTreeMap<String, f64>>,
}

impl Run {
    /// CPU time of the threads that it is known of, in and outside the kernel.
    pub fn cpu_ns(&self) -> Option<u64> {
        Some(self.cpu_user_ns?.saturating_add(self.cpu_system_ns?))
    }

    /// Context switches of these threads, voluntary or not.
    pub fn context_switches(&self) -> Option<u64> {
        Some(self.context_switches_voluntary?.saturating_add(self.context_switches_involuntary?))
    }
}

/// Which runtime was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeInfo {
    /// `current_thread` or `multi_thread`.
    pub flavor: String,
    /// Worker threads.
    pub workers: u64,
}

/// What the instrument saw, and where it was blind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// `hooks`, `wrappers` or `attached`.
    pub source: String,
    /// Each a short phrase.
    #[serde(deserialize_with = "wire::bounded::list::<_, _, 1_000>")]
    pub sees: Vec<String>,
    /// Each a short phrase.
    #[serde(deserialize_with = "wire::bounded::list::<_, _, 1_000>")]
    pub blind_to: Vec<String>,
    /// Why something is not known of slow polls that could be, or a mode did not have what it is named after; each a sentence.
    /// Empty when nothing was in the way.
    #[serde(default, deserialize_with = "wire::bounded::list::<_, _, 1_000>")]
    pub missing: Vec<String>,
}

/// What befell the inputs of a merge while they were followed: rotated, cut, gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputEvents {
    /// The first thousand, in their order.
    #[serde(deserialize_with = "wire::bounded::list::<_, _, 10_000>")]
    pub events: Vec<InputEvent>,
    /// How many came after these.
    pub dropped: u64,
    /// How many of all may have cost lines: then the merge is not ok, even if all that was read is in the output.
    pub possible_losses: u64,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputEvent {
    /// When it was noticed, in nanoseconds since the merge's start.
    pub at_ns: u64,
    /// What it was, in a word.
    pub event: String,
    /// A whole sentence, with the input.
    pub text: String,
    /// Whether lines may have been lost by it.
    pub may_lose: bool,
}

/// What became of the lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// Never ok by default.
    pub verdict: Verdict,
    /// Why the verdict is not ok: file, line and byte of the first difference, or what changed.
    pub reason: Option<String>,
    /// Inputs read.
    pub inputs: u64,
    /// Lines in the inputs; of a line that was split, each piece.
    pub lines: u64,
    /// Lines of the inputs that were longer than the merge takes, and split.
    pub long_lines: u64,
    /// Bytes in the inputs.
    pub bytes: u64,
    /// Lines of the inputs that the output lacks.
    pub lost: u64,
    /// Copies in the output beyond those in the inputs.
    pub duplicated: u64,
    /// Inputs whose lines are all there, in another order.
    pub reordered: u64,
    /// Output lines that are a piece of an input's line.
    pub torn: u64,
    /// Output lines that belong to no input.
    pub foreign: u64,
    /// Inputs whose last line had no newline; it was delivered with one.
    pub unterminated: u64,
}

impl Merge {
    /// A merge of which nothing is known but why; the counts are none.
    pub fn unverifiable(inputs: u64, reason: String) -> Merge {
        Merge {
            verdict: Verdict::Unverifiable,
            reason: Some(reason),
            inputs,
            lines: 0,
            long_lines: 0,
            bytes: 0,
            lost: 0,
            duplicated: 0,
            reordered: 0,
            torn: 0,
            foreign: 0,
            unterminated: 0,
        }
    }
}

/// What became of a merge, and of each of its inputs: what `pollscope confirm` says. A recording has the merge alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// What became of the lines.
    pub merge: Merge,
    /// The inputs that the output lacks lines of.
    pub missing: Vec<Missing>,
    /// Whether the output is what it should be up to where it ends, but for lines that are torn.
    pub ends_early: bool,
}

/// What an output lacks of an input. Which of several inputs that have a lost line lacks it cannot be known: it is said to
/// be one of which the output shows least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The input, as it was named.
    pub input: PathBuf,
    /// How many lines.
    pub lines: u64,
    /// Of how many.
    pub of: u64,
    /// The first of them, from 1.
    pub line: u64,
    /// Where that begins, in bytes from 0.
    pub byte: u64,
    /// Whether all lines from that one on are missing.
    pub to_the_end: bool,
}

/// Whether the output holds every input's lines, in order, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It does.
    Ok,
    /// It does not.
    Failed,
    /// The evidence changed, or cannot be read again.
    Unverifiable,
}

impl Verdict {
    /// The word used in reports and in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Failed => "failed",
            Verdict::Unverifiable => "unverifiable",
        }
    }
}

/// One poll that lasted at least the threshold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlowPoll {
    /// From 1, in the order in which they ended.
    pub id: u64,
    /// Tokio's task id; `None` for the future given to `block_on`.
    #[serde(deserialize_with = "wire::bounded::present")]
    pub task_id: Option<u64>,
    /// The task's name, where it has one.
    #[serde(deserialize_with = "wire::bounded::present")]
    pub task_name: Option<Text>,
    /// `file:line` of the spawn.
    pub spawned_at: Text,
    /// The worker's index; `None` for a thread that is not a worker.
    #[serde(deserialize_with = "wire::bounded::present")]
    pub worker: Option<u64>,
    /// Since the run's start.
    pub start_ns: u64,
    /// How long the poll lasted.
    pub duration_ns: u64,
    /// Time on the CPU; `None` where it is not known.
    #[serde(deserialize_with = "wire::bounded::present")]
    pub cpu_ns: Option<u64>,
    /// Time ready to run, without a CPU; `None` where it is not known.
    pub run_delay_ns: Option<u64>,
    /// The rest of its time, off the CPU; `None` where it is not known.
    pub off_cpu_ns: Option<u64>,
    /// Where most of its time went: `blocking-call`, `lock`, `cpu`, `page-fault`, `preempted`, `suspended`,
    /// `block-in-place` or `panic`; `None` where it is not known.
    #[serde(deserialize_with = "wire::bounded::present")]
    pub cause: Option<Cause>,
    /// The system call that it was in.
    #[serde(deserialize_with = "wire::bounded::present")]
    pub syscall: Option<Shared<Syscall>>,
    /// `file:line` of the innermost frame of the user's code.
    #[serde(deserialize_with = "wire::bounded::present")]
    pub blocking_line: Option<Text>,
    /// That frame's function.
    pub function: Option<Text>,
    /// Innermost first, up to the poll.
    #[serde(deserialize_with = "shared::stack")]
    pub stack: Shared<[Frame]>,
    /// Whether the stack was followed to the thread's first frame; `None` when there is none.
    #[serde(deserialize_with = "wire::bounded::present")]
    pub stack_complete: Option<bool>,
    /// Who waited for it; `None` where that cannot be seen.
    #[serde(deserialize_with = "wire::bounded::present")]
    pub blame: Option<Blame>,
    /// Of the tasks that were ready before it ended and ran after it on the same thread, the one that waited longest for it;
    /// `None` where there was none, or it cannot be seen. In a box, as a file may hold very many slow polls without one.
    pub worst_waiter: Option<Box<Waiter>>,
}

/// A task that waited, from its wake to its poll.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    /// Tokio's task id.
    pub task_id: u64,
    /// `file:line` of the spawn.
    pub spawned_at: String,
    /// When it became ready, since the run's start.
    pub ready_ns: u64,
    /// When it was polled, since the run's start.
    pub polled_ns: u64,
}

/// A system call that a slow poll was in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Syscall {
    /// Its name.
    pub name: Text,
    /// The file descriptor that it works on.
    pub fd: Option<i64>,
    /// Where that leads.
    pub path: Option<Text>,
    /// How many bytes it was asked for.
    pub bytes: Option<u64>,
    /// All of it in one line: `write(fd 9 "/var/log/merged", 64 bytes)`.
    pub text: Text,
}

/// One frame of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Frame {
    /// The function.
    #[serde(deserialize_with = "wire::bounded::present")]
    pub function: Option<Text>,
    /// Its source file.
    #[serde(deserialize_with = "wire::bounded::present")]
    pub file: Option<Text>,
    /// The line in it.
    #[serde(deserialize_with = "wire::bounded::present")]
    pub line: Option<u64>,
}

/// Who waited while a slow poll held its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blame {
    /// Tasks that had to wait for it and ran after it on the same thread: those that were ready before it ended, and the late
    /// ones.
    pub tasks: u64,
    /// How long those that were ready waited for it, added up, in nanoseconds.
    pub wait_ns: u64,
    /// Of `tasks`, those that waited for a timer or a socket, at which the loop looked again only after the poll. When their
    /// events came cannot be known.
    pub late_tasks: u64,
    /// How long all of `tasks` waited at most, in nanoseconds.
    pub wait_most_ns: u64,
    /// Of `tasks`, the one that became ready during the poll and ran right after it, on a multi-thread runtime: no other worker
    /// takes what is in the LIFO slot.
    pub lifo_tasks: u64,
}

/// Who waited for whom, by spawn site. All that tasks waited for the loop is in it: what was charged and `unattributed_ns` add
/// up to the sum of the schedule latency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The longest waits first.
    #[serde(deserialize_with = "wire::bounded::list::<_, _, 100_000>")]
    pub charges: Vec<Charge>,
    /// What tasks waited otherwise, in nanoseconds: for polls that were not slow, or, on a multi-thread runtime, for a slow poll
    /// on another worker than the one that ran them in the end.
    pub unattributed_ns: u64,
}

/// What tasks of one spawn site waited for slow polls of another, or of the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// `file:line` of the slow polls' tasks, or `other`.
    pub culprit: Text,
    /// `file:line` of the tasks that waited, or `other`.
    pub waiter: Text,
    /// How many had to wait; one that waited for two slow polls counts twice.
    pub tasks: u64,
    /// How long those that were ready waited, in nanoseconds.
    pub wait_ns: u64,
    /// Of `tasks`, the late ones: see [`Blame`].
    pub late_tasks: u64,
    /// How long all of them waited at most, in nanoseconds.
    pub wait_most_ns: u64,
}

/// All polls of the tasks spawned at one place.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Site {
    /// `file:line`, or `other` for the sites beyond the table's size.
    pub spawned_at: String,
    /// The name, where all its tasks share one.
    pub task_name: Option<String>,
    /// Their polls, to two significant digits.
    pub polls: Dist,
    /// How many of them were slow, exactly.
    pub slow: u64,
}

/// A slice of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Interval {
    /// Since the run's start.
    pub start_ns: u64,
    /// Polls that ended in it.
    pub polls: Dist,
    /// Timer firings in it, corrected.
    pub lag: Option<Dist>,
    /// The sum of `polls`.
    pub busy_ns: u64,
    /// The longest busy stretch that ended in it, to within its bucket; `None` where none did, or that is not known.
    pub longest_stretch_ns: Option<u64>,
    /// What waited to be polled at its beginning; `None` where nobody looked.
    pub queued: Option<Queued>,
}

/// Tasks that are ready and wait in a queue, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// In the runtime's global queue, where what other threads wake waits.
    pub global: u64,
    /// In the workers' own queues, all together; `None` where the build cannot see it.
    pub local: Option<u64>,
}

impl Run {
    /// What was measured in it as a whole: a distribution that is added to a run belongs here, or reading does not bound it.
    pub(crate) fn dists(&self) -> impl Iterator<Item = &Dist> {
        let measured = [
            &self.schedule_latency,
            &self.lag,
            &self.lag_raw,
            &self.response_time,
            &self.write_latency,
            &self.busy_stretches,
            &self.pool_wait,
        ];
        measured.into_iter().flatten().chain([&self.polls])
    }
}

impl Interval {
    /// Makes one of this interval and the one after it.
    ///
    /// ```
    /// use pollscope_record::recording::{Dist, Interval};
    /// let interval = |start_ns, longest_stretch_ns| {
    ///     let mut polls = Dist::empty(3);
    ///     polls.record(10);
    ///     Interval { start_ns, polls, lag: None, busy_ns: 10, longest_stretch_ns, queued: None }
    /// };
    /// let mut joined = interval(0, None);
    /// joined.join(&interval(100, Some(25)));
    /// assert_eq!((joined.start_ns, joined.polls.count(), joined.busy_ns), (0, 2, 20));
    /// assert_eq!(joined.longest_stretch_ns, Some(25));
    /// ```
    pub fn join(&mut self, next: &Interval) {
        self.polls.add(&next.polls);
        self.busy_ns = self.busy_ns.saturating_add(next.busy_ns);
        match (&mut self.lag, &next.lag) {
            (Some(lag), Some(more)) => lag.add(more),
            (none, more) => *none = none.take().or_else(|| more.clone()),
        }
        self.longest_stretch_ns = self.longest_stretch_ns.max(next.longest_stretch_ns);
    }
}

/// A diagnosis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Such as `PS001`; stable.
    pub code: String,
    /// The mode that it was found in.
    pub mode: String,
    /// What was found.
    pub sentence: String,
    /// What to do.
    pub advice: String,
    /// `file:line`, where one is to blame.
    pub at: Option<String>,
}

/// An expectation and how it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// As it was written.
    pub expr: String,
    /// How it went.
    pub verdict: GateVerdict,
    /// The value on its left side; `None` where it was not measured.
    pub value: Option<f64>,
}

/// How an expectation went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateVerdict {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// What it speaks of was not measured, or not well enough.
    Inconclusive,
}
