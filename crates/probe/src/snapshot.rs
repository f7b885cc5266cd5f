//! What a probe saw, as plain data.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use pollscope_base::escape::Escaped;
use pollscope_base::redact::redacted_source;
use pollscope_base::{Blame, CaptureNote, Coverage, Distribution, Evidence, Ledger, Lines};

use crate::clock::ClockSource;

/// What a probe saw from its installation on, or, after [`Snapshot::since`], in between.
///
/// Once the runtime is shut down everything agrees: `polls` has as many values as all `sites` together, and
/// `slow_polls_total` is the sum of their `slow`. While workers poll, a poll that ends during the reading can be
/// in one and not yet in the other.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// When it was taken, from the installation on.
    pub at: Duration,
    /// Which clock it is measured with now.
    pub clock: ClockSource,
    /// What counts as a slow poll (`>=`).
    pub slow_poll_threshold: Duration,
    /// How long polls lasted, to three significant digits: a poll's own time, without that of polls that ran within it.
    pub polls: Distribution,
    /// Wake to poll start, to two significant digits; `None` where this build cannot see it.
    pub schedule_latency: Option<Distribution>,
    /// From a worker's unpark to its next park, or to the end of a watched `block_on` future: how long it ran without
    /// waiting for events, to two significant digits. It still looked for events in between, every 61 polls by default. A worker that
    /// `block_in_place` hands to another thread counts there. Blind spot: where an unwatched `block_on` returns and is
    /// called again on one thread without a park in between, the time outside it is in the stretch.
    pub busy_stretches: Distribution,
    /// All slow polls.
    pub slow_polls_total: u64,
    /// Slow polls that are not in `slow_polls`, for want of room.
    pub slow_polls_dropped: u64,
    /// Slow polls in the order in which they ended, up to the number that the builder was told to keep.
    pub slow_polls: Vec<SlowPoll>,
    /// Lines written of slow polls. Once [`crate::Probe::flush`] returned `true`, they add up to the slow polls.
    pub lines: Lines,
    /// Polls by spawn site, most time first.
    pub sites: Vec<Site>,
    /// Who waited for slow polls, by spawn site; `None` where wake-to-poll times cannot be seen. The `wait` of all its charges
    /// and its `unattributed` add up to the sum of `schedule_latency`.
    pub ledger: Option<Ledger>,
    /// The polls that were under way.
    pub polling: Vec<Polling>,
    /// Named tasks that count as unnamed, because the table of names is full.
    pub names_refused: u64,
    /// Panics of the slow-poll callback, and of what subscribes to its events, caught.
    pub callback_panics: u64,
    /// Why something is missing from what is known of slow polls, each reason once, at most 16; since the installation, also
    /// in a difference. Empty when nothing was in the way, or no poll was late yet.
    pub capture_notes: Vec<CaptureNote>,
    /// What this build can and cannot see.
    pub coverage: Coverage,
}

impl Snapshot {
    /// What came after `earlier`, an older snapshot of the same probe. Pure: neither snapshot is touched.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// # let probe = pollscope_probe::Probe::builder().install(&mut runtime).unwrap();
    /// let earlier = probe.snapshot();
    /// let task = probe.watch(async { std::thread::sleep(Duration::from_millis(1)) });
    /// runtime.build().unwrap().block_on(task);
    /// let since = probe.snapshot().since(&earlier);
    /// assert_eq!(since.polls.count(), 1);
    /// ```
    pub fn since(&self, earlier: &Snapshot) -> Snapshot {
        let site_before = |site: &Site| earlier.sites.iter().find(|e| e.spawned_at == site.spawned_at);
        let sites = self.sites.iter().filter_map(|site| {
            let since = match site_before(site) {
                None => site.clone(),
                Some(before) => Site {
                    polls: site.polls.since(&before.polls),
                    slow: site.slow.saturating_sub(before.slow),
                    ..site.clone()
                },
            };
            // A poll can be counted in one interval, and as slow in the next.
            (since.polls.count() > 0 || since.slow > 0).then_some(since)
        });
        let ledgers = self.ledger.as_ref().zip(earlier.ledger.as_ref());
        let latency = self.schedule_latency.as_ref().zip(earlier.schedule_latency.as_ref());
        let total = self.slow_polls_total.saturating_sub(earlier.slow_polls_total);
        let slow_polls: Vec<SlowPoll> = self.slow_polls.iter().skip(earlier.slow_polls.len()).cloned().collect();
        Snapshot {
            polls: self.polls.since(&earlier.polls),
            schedule_latency: latency.map(|(now, before)| now.since(before)),
            busy_stretches: self.busy_stretches.since(&earlier.busy_stretches),
            slow_polls_total: total,
            slow_polls_dropped: total.saturating_sub(slow_polls.len() as u64),
            slow_polls,
            lines: Lines {
                printed: self.lines.printed.saturating_sub(earlier.lines.printed),
                suppressed: self.lines.suppressed.saturating_sub(earlier.lines.suppressed),
            },
            sites: sites.collect(),
            ledger: ledgers.map(|(now, before)| now.since(before)),
            names_refused: self.names_refused.saturating_sub(earlier.names_refused),
            callback_panics: self.callback_panics.saturating_sub(earlier.callback_panics),
            ..self.clone()
        }
    }
}

/// One poll that lasted at least the threshold.
///
/// Its `Display` is one line in the shape of asyncio's debug mode:
/// `Executing <Task 7 writer, spawned at src/main.rs:88, worker 0> took 0.503 seconds`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SlowPoll {
    /// From 1, in the order in which the polls ended; unique within a probe.
    pub id: u64,
    /// Tokio's task id; `None` for the future given to `block_on`.
    pub task_id: Option<u64>,
    /// The name given to [`crate::Probe::spawn`] or [`crate::Watch::named`].
    pub task_name: Option<Arc<str>>,
    /// Where the task was spawned, or the future watched.
    #[cfg_attr(feature = "serde", serde(serialize_with = "pollscope_base::place::serialize"))]
    pub spawned_at: &'static Location<'static>,
    /// The worker's index; `None` for a thread that is not a worker.
    pub worker: Option<usize>,
    /// When it began, from the installation on.
    pub start: Duration,
    /// How long it lasted, without the polls that ran within it.
    pub duration: Duration,
    /// What was seen of it while it ran; all unknown without the feature `capture`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pollscope_probe::Probe;
    ///
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().slow_poll_threshold(Duration::from_millis(10)).install(&mut runtime)?;
    /// runtime.build()?.block_on(probe.watch(async { std::thread::sleep(Duration::from_millis(20)) }));
    ///
    /// let slow = &probe.snapshot().slow_polls[0];
    /// if let Some(after) = slow.evidence.captured_after {
    ///     assert!((Duration::from_millis(10)..slow.duration).contains(&after));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub evidence: Evidence,
    /// Who waited for it; `None` in a build that does not see wake-to-poll times.
    pub blame: Option<Blame>,
}

impl fmt::Display for SlowPoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.executing(false).fmt(f)
    }
}

impl SlowPoll {
    /// Its line, with or without the folders of its spawn site.
    pub(crate) fn executing(&self, redacted: bool) -> impl fmt::Display + '_ {
        Executing(self, redacted)
    }
}

struct Executing<'a>(&'a SlowPoll, bool);

impl fmt::Display for Executing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Executing(poll, redacted) = *self;
        let task = TaskName {
            task_id: poll.task_id,
            name: poll.task_name.as_deref(),
            spawned_at: poll.spawned_at,
            worker: poll.worker,
            redacted,
        };
        write!(f, "Executing {task} took {:.3} seconds", poll.duration.as_secs_f64())
    }
}

/// A task as asyncio would name it: `<Task 7 writer, spawned at src/main.rs:88, worker 0>`.
pub(crate) struct TaskName<'a> {
    pub(crate) task_id: Option<u64>,
    pub(crate) name: Option<&'a str>,
    pub(crate) spawned_at: &'static Location<'static>,
    pub(crate) worker: Option<usize>,
    /// Whether the folders of the spawn site are hidden.
    pub(crate) redacted: bool,
}

impl fmt::Display for TaskName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.task_id {
            Some(id) => write!(f, "<Task {id}")?,
            None => f.write_str("<Task root")?,
        }
        if let Some(name) = self.name {
            write!(f, " {}", Escaped(name))?;
        }
        let file = self.spawned_at.file();
        let file = if self.redacted { redacted_source(file) } else { file.into() };
        write!(f, ", spawned at {}:{}", Escaped(&file), self.spawned_at.line())?;
        if let Some(worker) = self.worker {
            write!(f, ", worker {worker}")?;
        }
        f.write_str(">")
    }
}

/// All polls of the tasks spawned at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Site {
    /// `file:line`, in one row for all that is spawned on that line; `None` for the sites beyond the table's size, all together.
    pub spawned_at: Option<String>,
    /// The name, where all its tasks share one.
    pub task_name: Option<Arc<str>>,
    /// Their polls, to two significant digits.
    pub polls: Distribution,
    /// How many of them were slow, exactly.
    pub slow: u64,
}

/// A poll that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Polling {
    /// Tokio's task id; `None` for the future given to `block_on`.
    pub task_id: Option<u64>,
    /// Its name, where it has one.
    pub task_name: Option<Arc<str>>,
    /// Where the task was spawned, or the future watched.
    #[cfg_attr(feature = "serde", serde(serialize_with = "pollscope_base::place::serialize"))]
    pub spawned_at: &'static Location<'static>,
    /// For how long already.
    pub elapsed: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_break_the_line() {
        let poll = SlowPoll {
            id: 1,
            task_id: None,
            task_name: Some("a\x1b[2J\nb\u{202e}\u{200b}".into()),
            spawned_at: Location::caller(),
            worker: None,
            start: Duration::ZERO,
            duration: Duration::from_micros(503_400),
            evidence: Evidence::default(),
            blame: None,
        };
        let line = poll.to_string();
        assert!(line.starts_with(r"Executing <Task root a\u{1b}[2J\nb\u{202e}\u{200b}, spawned at "), "{line}");
        assert!(line.ends_with("> took 0.503 seconds"), "{line}");
    }
}
