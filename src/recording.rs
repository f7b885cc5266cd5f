//! A recording: what one execution of a scenario measured, as plain data.
//!
//! Everything either makes one or reads one. It holds no handle, no clock and no path into a running
//! process, so a report can be made at any time, of any recording. [`wire`] is its JSON twin.

pub mod wire;

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// The highest value that a [`Dist`] can hold: one hour, in nanoseconds.
pub const MAX_NS: u64 = 3_600_000_000_000;

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
#[derive(Debug, Clone)]
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
    /// The command line.
    pub command: Vec<String>,
}

/// The question that was asked.
#[derive(Debug, Clone)]
pub struct ScenarioInfo {
    /// Its name.
    pub name: String,
    /// Why it exists, in prose.
    pub why: String,
    /// The seed of everything random in it.
    pub seed: u64,
    /// Every setting, as it was used, as text by dotted key.
    pub settings: BTreeMap<String, String>,
    /// The keys of those that the command line gave another value than the scenario.
    pub changed: Vec<String>,
}

/// One mode, run once.
#[derive(Debug, Clone)]
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
    pub errors: Vec<String>,
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
    /// What counted as slow (`>=`).
    pub slow_poll_threshold_ns: u64,
    /// All slow polls, counted exactly.
    pub slow_polls_total: u64,
    /// Slow polls that are not in `slow_polls`, for want of room.
    pub slow_polls_dropped: u64,
    /// Slow-poll lines printed and held back by the rate limit.
    pub slow_poll_lines: Lines,
    /// The slow polls, in the order in which they ended.
    pub slow_polls: Vec<SlowPoll>,
    /// Polls by spawn site, most time first.
    pub sites: Vec<Site>,
    /// The run in slices.
    pub intervals: Vec<Interval>,
    /// What tokio-metrics reported, by name.
    pub runtime_metrics: Option<BTreeMap<String, f64>>,
}

/// Which runtime was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// `current_thread` or `multi_thread`.
    pub flavor: String,
    /// Worker threads.
    pub workers: u64,
}

/// What the instrument saw, and where it was blind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// `hooks`, `wrappers` or `attached`.
    pub source: String,
    /// Each a short phrase.
    pub sees: Vec<String>,
    /// Each a short phrase.
    pub blind_to: Vec<String>,
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
    /// Lines in the inputs.
    pub lines: u64,
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

/// Whether the output holds every input's lines, in order, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// Slow-poll lines printed and held back; together they equal the slow polls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lines {
    /// Printed.
    pub printed: u64,
    /// Held back by the rate limit, or because a buffer was full.
    pub suppressed: u64,
}

/// One poll that lasted at least the threshold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlowPoll {
    /// From 1, in the order in which they ended.
    pub id: u64,
    /// Tokio's task id; `None` for the future given to `block_on`.
    pub task_id: Option<u64>,
    /// The task's name, where it has one.
    pub task_name: Option<String>,
    /// `file:line` of the spawn.
    pub spawned_at: String,
    /// The worker's index; `None` for a thread that is not a worker.
    pub worker: Option<u64>,
    /// Since the run's start.
    pub start_ns: u64,
    /// How long the poll lasted.
    pub duration_ns: u64,
    /// Time on the CPU; `None` where it is not known.
    pub cpu_ns: Option<u64>,
    /// Where most of its time went: `blocking-call`, `lock`, `cpu`, `page-fault`, `preempted`, `suspended`,
    /// `block-in-place` or `panic`; `None` where it is not known.
    pub cause: Option<String>,
    /// The system call that it was in.
    pub syscall: Option<Syscall>,
    /// `file:line` of the innermost frame of the user's code.
    pub blocking_line: Option<String>,
    /// That frame's function.
    pub function: Option<String>,
    /// Innermost first, up to the poll.
    pub stack: Vec<Frame>,
    /// Whether the stack was followed to the thread's first frame; `None` when there is none.
    pub stack_complete: Option<bool>,
    /// Who waited for it; `None` where that cannot be seen.
    pub blame: Option<Blame>,
}

/// A system call that a slow poll was in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syscall {
    /// Its name.
    pub name: String,
    /// The file descriptor that it works on.
    pub fd: Option<i64>,
    /// Where that leads.
    pub path: Option<String>,
    /// How many bytes it was asked for.
    pub bytes: Option<u64>,
    /// All of it in one line: `write(fd 9 "/var/log/merged", 64 bytes)`.
    pub text: String,
}

/// One frame of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The function.
    pub function: Option<String>,
    /// Its source file.
    pub file: Option<String>,
    /// The line in it.
    pub line: Option<u64>,
}

/// Who waited while a slow poll held its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blame {
    /// Tasks that were ready before it ended and ran after it on the same thread.
    pub tasks: u64,
    /// How long they waited for it, added up, in nanoseconds.
    pub wait_ns: u64,
}

/// All polls of the tasks spawned at one place.
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone)]
pub struct Interval {
    /// Since the run's start.
    pub start_ns: u64,
    /// Polls that ended in it.
    pub polls: Dist,
    /// Timer firings in it, corrected.
    pub lag: Option<Dist>,
    /// The sum of `polls`.
    pub busy_ns: u64,
}

/// A diagnosis.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// As it was written.
    pub expr: String,
    /// How it went.
    pub verdict: GateVerdict,
    /// The value on its left side; `None` where it was not measured.
    pub value: Option<f64>,
}

/// How an expectation went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateVerdict {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// What it speaks of was not measured, or not well enough.
    Inconclusive,
}

/// A distribution of durations: an HDR histogram in nanoseconds, and what its buckets cannot hold.
#[derive(Debug, Clone)]
pub struct Dist {
    /// 1 ns to 1 h.
    pub histogram: Histogram<u64>,
    /// The exact minimum; `None` when empty.
    pub min_ns: Option<u64>,
    /// The exact maximum; `None` when empty.
    pub max_ns: Option<u64>,
    /// The exact sum.
    pub sum_ns: u64,
    /// Values outside 1 ns to 1 h, counted at the bound they passed.
    pub clamped: u64,
}

/// An exact copy: the probe's buckets are the histogram's.
impl From<&pollscope_probe::Distribution> for Dist {
    fn from(distribution: &pollscope_probe::Distribution) -> Dist {
        let mut dist = Dist::empty(distribution.digits);
        for bucket in &distribution.buckets {
            dist.histogram.record_n(bucket.low_ns, bucket.count).expect("the probe clamps to the histogram's range");
        }
        dist.min_ns = distribution.min_ns;
        dist.max_ns = distribution.max_ns;
        dist.sum_ns = distribution.sum_ns;
        dist.clamped = distribution.clamped;
        dist
    }
}

impl Dist {
    /// An empty distribution of `digits` (1 to 5) significant digits.
    ///
    /// # Panics
    /// When `digits` is outside 1 to 5.
    pub fn empty(digits: u8) -> Dist {
        let histogram = Histogram::new_with_bounds(1, MAX_NS, digits).expect("1 ns to 1 h at 1 to 5 digits is valid");
        Dist { histogram, min_ns: None, max_ns: None, sum_ns: 0, clamped: 0 }
    }

    /// Counts one value.
    ///
    /// ```
    /// use pollscope::recording::Dist;
    /// let mut dist = Dist::empty(3);
    /// dist.record(503_123_456);
    /// assert_eq!((dist.count(), dist.max_ns), (1, Some(503_123_456)));
    /// ```
    pub fn record(&mut self, ns: u64) {
        let clamped = ns.clamp(1, MAX_NS);
        self.clamped += u64::from(clamped != ns);
        self.histogram.record(clamped).expect("clamped to the histogram's range");
        self.min_ns = Some(self.min_ns.map_or(ns, |min| min.min(ns)));
        self.max_ns = Some(self.max_ns.map_or(ns, |max| max.max(ns)));
        self.sum_ns = self.sum_ns.saturating_add(ns);
    }

    /// Adds another distribution's values.
    pub fn add(&mut self, other: &Dist) {
        self.histogram.add(&other.histogram).expect("every distribution covers 1 ns to 1 h");
        self.min_ns = [self.min_ns, other.min_ns].into_iter().flatten().min();
        self.max_ns = self.max_ns.max(other.max_ns);
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.clamped += other.clamped;
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The value below or at which the fraction `q` (0 to 1) of all values lies; `None` when empty.
    /// It is the highest value of its bucket, so it may pass the exact maximum by the bucket's width.
    pub fn quantile_ns(&self, q: f64) -> Option<u64> {
        (!self.histogram.is_empty()).then(|| self.histogram.value_at_quantile(q))
    }

    /// [`Dist::quantile_ns`] for people: never above the exact maximum, which would puzzle a reader.
    pub fn shown_quantile_ns(&self, q: f64) -> Option<u64> {
        self.quantile_ns(q).map(|ns| ns.min(self.max_ns.unwrap_or(ns)))
    }

    /// The mean, from the exact sum; `None` when empty.
    pub fn mean_ns(&self) -> Option<u64> {
        self.sum_ns.checked_div(self.count())
    }
}
