//! A recording: what was seen of a service, a process or a scenario, as plain data.
//!
//! Everything either makes one or reads one. It holds no handle, no clock and no path into a running process, so a report can be
//! made at any time, of any recording. What is not known is `None`, never 0. [`wire`] is its JSON twin.

mod cause;
mod fine;
mod letters;
mod maybe;
mod merge;
pub(crate) mod paged;
mod profile;
pub mod read;
mod seen;
pub(crate) mod shared;
mod slow_poll;
mod subject;
mod verdicts;
mod waits;
pub mod wire;

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::message::Message;

pub use crate::dist::{Dist, MAX_NS};
pub use cause::Cause;
pub use fine::Fine;
pub use maybe::MaybeU64;
pub use merge::{Confirmation, InputEvent, InputEvents, Merge, Missing, Verdict, Written};
pub use pollscope_base::Lines;
pub use profile::{Profile, ProfilePlace, ThreadState};
pub use seen::{place, seen};
pub use shared::{Shared, Text};
pub use slow_poll::{Detail, Frame, Holder, Kind, Place, Precision, Quota, SlowPoll, Span, Syscall};
pub use subject::{RuntimeInfo, ScenarioRun, Subject, Target, is_label, is_of_other_threads, other_threads};
pub use verdicts::{Finding, Gate, GateVerdict};
pub use waits::{Blame, Charge, Ledger, Waiter};

/// What was seen: one or more runs, and what they mean.
#[derive(Debug, Clone)]
pub struct Recording {
    /// Where and with what it was made.
    pub environment: Environment,
    /// What was asked; `None` of a service or a process.
    pub scenario: Option<ScenarioInfo>,
    /// In the order in which they began.
    pub runs: Vec<Run>,
    /// What [`crate::findings`] made of the runs.
    pub findings: Vec<Finding>,
    /// The scenario's expectations and the user's gates, each with its verdict.
    pub gates: Vec<Gate>,
}

impl Recording {
    /// What it is called: the scenario's name, or that of the first run's service or process.
    pub fn name(&self) -> &str {
        let of_run = || self.runs.first().map_or("empty", |run| run.subject.name().unwrap_or(&run.group));
        self.scenario.as_ref().map_or_else(of_run, |scenario| &scenario.name)
    }

    /// Why something is not known of slow polls that could be, each reason once, with the modes that it is of if not of all.
    pub(crate) fn missing(&self) -> Vec<String> {
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        let whys =
            self.runs.iter().flat_map(|run| run.coverage.missing.iter().map(|why| (why.as_str(), run.group.as_str())));
        for (why, mode) in whys {
            match reasons.iter_mut().find(|(known, _)| *known == why) {
                Some((_, modes)) if modes.contains(&mode) => {}
                Some((_, modes)) => modes.push(mode),
                None => reasons.push((why, vec![mode])),
            }
        }
        let is_of_all = |modes: &[&str]| self.runs.iter().all(|run| modes.contains(&run.group.as_str()));
        let said = |(why, modes): (&str, Vec<&str>)| match is_of_all(&modes) {
            true => why.to_owned(),
            false => format!("{}: {why}", modes.join(", ")),
        };
        reasons.into_iter().map(said).collect()
    }
}

/// The machine and the build of the instrument.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Environment {
    /// pollscope's version.
    pub pollscope: String,
    /// The version of Tokio that the lab was built with; `None` where the lab did not make the recording.
    #[serde(default)]
    pub tokio: Option<String>,
    /// Operating system and architecture, such as `linux x86_64`.
    pub os: String,
    /// The kernel's release; `None` where the system did not tell.
    pub kernel: Option<String>,
    /// Processors that this process may use; `None` where the system did not tell.
    pub cpus: Option<u64>,
    /// The clock that durations were read from.
    pub clock: String,
    /// Whether the lab's build had `--cfg tokio_unstable`; like the next two, `None` where the lab did not make the recording.
    #[serde(default)]
    pub tokio_unstable: Option<bool>,
    /// Whether console-subscriber was compiled in (and so tokio's `tracing` feature was on).
    #[serde(default)]
    pub console_compiled: Option<bool>,
    /// Whether console-subscriber was recording.
    #[serde(default)]
    pub console_on: Option<bool>,
    /// The command line as it was typed, paths included; with `--redact`, without the values.
    #[serde(deserialize_with = "wire::bounded::list::<_, _, 10_000>")]
    pub command: Vec<String>,
}

/// The question that a scenario asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScenarioInfo {
    /// As its file, or the command line, has it.
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

/// One stretch of time of one subject.
#[derive(Debug, Clone)]
pub struct Run {
    /// What gates, comparison and reports put runs together by: a mode of the lab, the label of a service.
    pub group: String,
    /// What was looked at.
    pub subject: Subject,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// From the subject's start, or the first look at it, to the last, in nanoseconds.
    pub elapsed_ns: u64,
    /// How it ended.
    pub ended: Ended,
    /// Why it ended early, in words; `None` for one that ran to its end, or where nobody knows.
    pub ended_why: Option<Message>,
    /// What the instrument could see.
    pub coverage: Coverage,
    /// What became of the lines; `None` for a subject that merges nothing.
    pub merge: Option<Merge>,
    /// What went wrong with inputs and output; each a whole sentence.
    pub errors: Vec<Message>,
    /// What happened to the inputs while they were followed.
    pub input_events: InputEvents,
    /// Poll durations; `None` where polls are not seen one by one, as from outside.
    pub polls: Option<Dist>,
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
    /// How long closures waited for a thread of the blocking pool: from the call of `spawn_blocking` to the closure's start. Empty
    /// when there was none.
    pub pool_wait: Option<Dist>,
    /// The sum of all poll durations; `None` where polls are not seen one by one.
    pub loop_busy_ns: Option<u64>,
    /// The part of all workers' time that polls took, where it is not [`Run::loop_busy_ns`] that tells.
    pub busy_share: Option<BusyShare>,
    /// Merged bytes a second; `None` for a subject that merges nothing.
    pub throughput_bytes_per_s: Option<u64>,
    /// CPU time outside the kernel of the runtime's threads and of those that write for it; `None` where the system did not tell.
    /// Neither the simulation nor the instruments are in it, nor in the next three.
    pub cpu_user_ns: Option<u64>,
    /// CPU time in the kernel.
    pub cpu_system_ns: Option<u64>,
    /// How often these threads gave up the CPU, as they blocked.
    pub context_switches_voluntary: Option<u64>,
    /// How often the CPU was taken from them.
    pub context_switches_involuntary: Option<u64>,
    /// What counted as slow (`>=`).
    pub slow_poll_threshold_ns: u64,
    /// Slow polls: all, counted exactly, or those that were seen. See `slow_polls_are`.
    pub slow_polls_total: u64,
    /// Whether there may have been more.
    pub slow_polls_are: Completeness,
    /// Slow polls that are not in `slow_polls`, for want of room.
    pub slow_polls_dropped: u64,
    /// Slow-poll lines printed and held back by the rate limit; `None` where nobody prints lines.
    pub slow_poll_lines: Option<Lines>,
    /// The slow polls, in the order in which they ended.
    pub slow_polls: Vec<SlowPoll>,
    /// Polls that were late already and had not ended when the run did. They are not in the total.
    pub stalls_open: Vec<SlowPoll>,
    /// Polls by spawn site, most time first; `None` where polls are not seen one by one.
    pub sites: Option<Vec<Site>>,
    /// Who waited for whom; `None` where that cannot be seen.
    pub ledger: Option<Ledger>,
    /// The blocking pool at the end of the run; `None` where it cannot be seen.
    pub pool: Option<Pool>,
    /// The run in slices.
    pub intervals: Vec<Interval>,
    /// The time around polls that took very long, again and more finely.
    pub fine: Vec<Fine>,
    /// Where loops' threads were at looks that come as time passes; `None` where nobody looks from outside.
    pub profile: Option<Box<Profile>>,
    /// What tokio-metrics reported, by name.
    pub runtime_metrics: Option<BTreeMap<String, f64>>,
}

impl Run {
    /// A run of which nothing is known yet but what it is of.
    pub fn unknown(group: &str, subject: Subject, started_at: &str) -> Run {
        Run {
            group: group.to_owned(),
            subject,
            started_at: started_at.to_owned(),
            elapsed_ns: 0,
            ended: Ended::Torn,
            ended_why: None,
            coverage: Coverage::default(),
            merge: None,
            errors: Vec::new(),
            input_events: InputEvents::default(),
            polls: None,
            schedule_latency: None,
            lag: None,
            lag_raw: None,
            response_time: None,
            unanswered: None,
            write_latency: None,
            busy_stretches: None,
            pool_wait: None,
            loop_busy_ns: None,
            busy_share: None,
            throughput_bytes_per_s: None,
            cpu_user_ns: None,
            cpu_system_ns: None,
            context_switches_voluntary: None,
            context_switches_involuntary: None,
            slow_poll_threshold_ns: 0,
            slow_polls_total: 0,
            slow_polls_are: Completeness::AtLeast,
            slow_polls_dropped: 0,
            slow_poll_lines: None,
            slow_polls: Vec::new(),
            stalls_open: Vec::new(),
            sites: None,
            ledger: None,
            pool: None,
            intervals: Vec::new(),
            fine: Vec::new(),
            profile: None,
            runtime_metrics: None,
        }
    }

    /// A time, since 1970, as [`started_at`](Run::started_at) has it; one that is not known, or that no calendar of these has, is 1970.
    ///
    /// ```
    /// use pollscope_record::recording::Run;
    /// use std::time::Duration;
    /// assert_eq!(Run::written(Some(Duration::from_millis(1_764_467_555_123))), "2025-11-30T01:52:35.123Z");
    /// assert_eq!(Run::written(Some(Duration::MAX)), "1970-01-01T00:00:00.000Z");
    /// ```
    pub fn written(since_1970: Option<Duration>) -> String {
        const LAST: Duration = Duration::from_secs(253_402_300_799);
        let since = since_1970.filter(|since| *since < LAST).unwrap_or_default();
        humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
    }

    /// When it began, from 1970 on, UTC; `None` where that is not told as it should be, or was before.
    pub fn started(&self) -> Option<Duration> {
        humantime::parse_rfc3339_weak(&self.started_at).ok()?.duration_since(UNIX_EPOCH).ok()
    }

    /// Why it ended early; `None` for one that ran to its end.
    pub fn early_end(&self) -> Option<&str> {
        let by_itself = match self.ended {
            Ended::Done => return None,
            Ended::Interrupted => "interrupted",
            Ended::Gone => "the process is gone",
            Ended::Torn => "the recording breaks off",
        };
        Some(self.ended_why.as_deref().unwrap_or(by_itself))
    }

    /// Its group, and its round if it has one: `naive, round 2`.
    pub fn label(&self) -> String {
        self.subject.round().map_or_else(|| self.group.clone(), |round| format!("{}, round {round}", self.group))
    }

    /// CPU time of the threads that it is known of, in and outside the kernel.
    pub fn cpu_ns(&self) -> Option<u64> {
        Some(self.cpu_user_ns?.saturating_add(self.cpu_system_ns?))
    }

    /// Context switches of these threads, voluntary or not.
    pub fn context_switches(&self) -> Option<u64> {
        Some(self.context_switches_voluntary?.saturating_add(self.context_switches_involuntary?))
    }

    /// The time that all workers together had, in nanoseconds; `None` where their number is not known, or no time passed.
    pub fn available_ns(&self) -> Option<f64> {
        let available = self.elapsed_ns as f64 * self.subject.workers()? as f64;
        (available > 0.0).then_some(available)
    }

    /// What was measured in it as a whole: a distribution that is added to a run belongs here, or reading does not bound it.
    pub(crate) fn dists(&self) -> impl Iterator<Item = &Dist> {
        let measured = [
            &self.polls,
            &self.schedule_latency,
            &self.lag,
            &self.lag_raw,
            &self.response_time,
            &self.write_latency,
            &self.busy_stretches,
            &self.pool_wait,
        ];
        measured.into_iter().flatten()
    }

    /// Its spawn sites; none where they are not known.
    pub fn known_sites(&self) -> &[Site] {
        self.sites.as_deref().unwrap_or_default()
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// It ran to its end.
    Done,
    /// Somebody ended it early.
    Interrupted,
    /// The process that was looked at ended.
    Gone,
    /// The recording breaks off; how the run ended is not known.
    Torn,
}

/// Whether a list has all that there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Completeness {
    /// All, counted exactly.
    All,
    /// Those that were seen.
    AtLeast,
}

/// The part of all workers' time that polls took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BusyShare {
    /// From 0 to 1.
    pub value: f64,
    /// What it was found by.
    pub how: BusyBy,
}

/// What a [`BusyShare`] was found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BusyBy {
    /// The durations of all polls.
    Polls,
    /// The part of all looks that saw a poll.
    Looks,
    /// The workers' time on the CPU.
    Cpu,
}

/// What the instrument saw, and where it was blind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
    /// How often a second each thread was looked at; `None` where every poll is seen.
    #[serde(default)]
    pub looks_per_s: Option<f64>,
}

/// The threads of the blocking pool, and what waits for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Threads.
    pub threads: Option<u64>,
    /// Those that run a closure.
    pub busy: Option<u64>,
    /// Closures that wait for a thread.
    pub queued: Option<u64>,
    /// The most that waited at once.
    pub queued_most: Option<u64>,
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
    /// Polls that ended in it; `None` where polls are not seen one by one.
    #[serde(deserialize_with = "wire::bounded::present")]
    pub polls: Option<Dist>,
    /// Timer firings in it, corrected.
    pub lag: Option<Dist>,
    /// The sum of `polls`.
    #[serde(deserialize_with = "wire::bounded::present")]
    pub busy_ns: Option<u64>,
    /// The longest busy stretch that ended in it, to within its bucket; `None` where none did, or that is not known.
    pub longest_stretch_ns: Option<u64>,
    /// What waited to be polled at its beginning; `None` where nobody looked.
    pub queued: Option<Queued>,
    /// The blocking pool at its beginning; `None` where nobody looked.
    #[serde(default)]
    pub pool: Option<Pool>,
    /// Slow polls that ended in it; `None` where they are not known by interval.
    #[serde(default)]
    pub slow: Option<u64>,
}

/// Tasks that are ready and wait in a queue, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// In the runtime's global queue, where what other threads wake waits.
    pub global: u64,
    /// In the workers' own queues, all together; `None` where the build cannot see it.
    pub local: Option<u64>,
}

impl Interval {
    /// Makes one of this interval and the one after it.
    ///
    /// ```
    /// use pollscope_record::recording::{Dist, Interval};
    /// let interval = |start_ns, longest_stretch_ns| {
    ///     let mut polls = Dist::empty(3);
    ///     polls.record(10);
    ///     let (polls, busy_ns) = (Some(polls), Some(10));
    ///     Interval { start_ns, polls, lag: None, busy_ns, longest_stretch_ns, queued: None, pool: None, slow: Some(0) }
    /// };
    /// let mut joined = interval(0, None);
    /// joined.join(&interval(100, Some(25)));
    /// assert_eq!((joined.start_ns, joined.busy_ns, joined.slow), (0, Some(20), Some(0)));
    /// assert_eq!((joined.polls.unwrap().count(), joined.longest_stretch_ns), (2, Some(25)));
    /// ```
    pub fn join(&mut self, next: &Interval) {
        add(&mut self.polls, next.polls.as_ref());
        add(&mut self.lag, next.lag.as_ref());
        let sum = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_add(b?));
        self.busy_ns = sum(self.busy_ns, next.busy_ns);
        self.slow = sum(self.slow, next.slow);
        self.longest_stretch_ns = self.longest_stretch_ns.max(next.longest_stretch_ns);
    }
}

/// Adds what is known of both, or keeps what is known of one.
fn add(dist: &mut Option<Dist>, more: Option<&Dist>) {
    match (&mut *dist, more) {
        (Some(dist), Some(more)) => dist.add(more),
        (None, more) => *dist = more.cloned(),
        (Some(_), None) => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture;

    #[test]
    fn what_one_mode_misses_is_told_of_that_mode() {
        let mut recording = fixture::recording();
        let modes: Vec<String> = recording.runs.iter().map(|run| run.group.clone()).collect();
        assert_eq!(modes, ["naive", "offloaded"]);
        for (run, whys) in recording.runs.iter_mut().zip([&["no names", "late"][..], &["late", "late"]]) {
            run.coverage.missing = whys.iter().map(|why| (*why).to_owned()).collect();
        }
        assert_eq!(recording.missing(), ["naive: no names", "late"]);
    }
}
