//! What a probe saw, as plain data.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use pollscope_base::escape::Escaped;
use pollscope_base::{Blame, CaptureNote, Charge, Coverage, Distribution, Evidence, Ledger, Lines, Span};

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
    /// Late busy stretches that are over and were told of: see [`LateStretch`].
    pub late_stretches_total: u64,
    /// Those that are not in `late_stretches`, for want of room.
    pub late_stretches_dropped: u64,
    /// The first 64 of them, in the order in which they were told.
    pub late_stretches: Vec<LateStretch>,
    /// All slow polls.
    pub slow_polls_total: u64,
    /// Polls under way that have lasted for at least the threshold: those in `polling` whose `elapsed` is that long. Each is counted
    /// in `slow_polls_total` once, when it ends.
    pub stalls_open: u64,
    /// Stalls of which nobody was told by [`on_stall`](crate::ProbeBuilder::on_stall), lines and events, as they found no room: 32
    /// wait while a callback or a writer blocks.
    pub stalls_untold: u64,
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
    /// What of the ledger's charges is with none of `slow_polls`, all together: who waited for slow polls that are not listed, or
    /// whose own `blame` is `None`, and who was added between the two readings, while polls went on. So the `blame` of all
    /// `slow_polls` and this add up to the ledger's charges, always. `None` where the ledger is.
    pub charged_unlisted: Option<Charge>,
    /// The polls that were under way.
    pub polling: Vec<Polling>,
    /// The runtimes that have the probe, as they were when the last of them first waited for events; empty before that.
    pub runtimes: Vec<Runtime>,
    /// The blocking pools of the runtimes that have the probe, all together, at this moment; `None` in a build without
    /// `--cfg tokio_unstable`, and while none of these runtimes is known to be there.
    pub blocking_pool: Option<BlockingPool>,
    /// How often a blocking pool was full for at least [`slow_poll_threshold`](Snapshot::slow_poll_threshold): at every look,
    /// closures were queued and none of its threads was idle. `None` in a build without `--cfg tokio_unstable`.
    pub pool_saturations: Option<u64>,
    /// Named tasks that count as unnamed, because the table of names is full.
    pub names_refused: u64,
    /// Panics of callbacks, and of what subscribes to events, caught.
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
        let saturations = self.pool_saturations.zip(earlier.pool_saturations);
        let total = self.slow_polls_total.saturating_sub(earlier.slow_polls_total);
        let slow_polls: Vec<SlowPoll> = self.slow_polls.iter().skip(earlier.slow_polls.len()).cloned().collect();
        let ledger = ledgers.map(|(now, before)| now.since(before));
        let stretches = self.late_stretches_total.saturating_sub(earlier.late_stretches_total);
        let late_stretches: Vec<LateStretch> =
            self.late_stretches.iter().skip(earlier.late_stretches.len()).cloned().collect();
        Snapshot {
            late_stretches_total: stretches,
            late_stretches_dropped: stretches.saturating_sub(late_stretches.len() as u64),
            late_stretches,
            polls: self.polls.since(&earlier.polls),
            schedule_latency: latency.map(|(now, before)| now.since(before)),
            busy_stretches: self.busy_stretches.since(&earlier.busy_stretches),
            slow_polls_total: total,
            slow_polls_dropped: total.saturating_sub(slow_polls.len() as u64),
            lines: Lines {
                printed: self.lines.printed.saturating_sub(earlier.lines.printed),
                suppressed: self.lines.suppressed.saturating_sub(earlier.lines.suppressed),
            },
            sites: sites.collect(),
            stalls_untold: self.stalls_untold.saturating_sub(earlier.stalls_untold),
            charged_unlisted: ledger.as_ref().map(|ledger| unlisted(ledger, &slow_polls)),
            ledger,
            pool_saturations: saturations.map(|(now, before)| now.saturating_sub(before)),
            names_refused: self.names_refused.saturating_sub(earlier.names_refused),
            callback_panics: self.callback_panics.saturating_sub(earlier.callback_panics),
            slow_polls,
            ..self.clone()
        }
    }
}

/// A runtime that has the probe.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Runtime {
    /// `current_thread` or `multi_thread`; `None` of a kind that is newer than this probe.
    pub flavor: Option<&'static str>,
    /// Its worker threads; 1 of a `current_thread` runtime.
    pub workers: u64,
}

/// What of the ledger's charges is with none of these slow polls.
pub(crate) fn unlisted(ledger: &Ledger, slow_polls: &[SlowPoll]) -> Charge {
    let mut rest = Charge::new(None, None);
    for charge in &ledger.charges {
        rest.tasks += charge.tasks;
        rest.wait += charge.wait;
        rest.late_tasks += charge.late_tasks;
        rest.wait_most += charge.wait_most;
    }
    for blame in slow_polls.iter().filter_map(|poll| poll.blame) {
        rest.tasks = rest.tasks.saturating_sub(blame.tasks);
        rest.wait = rest.wait.saturating_sub(blame.wait);
        rest.late_tasks = rest.late_tasks.saturating_sub(blame.late_tasks);
        rest.wait_most = rest.wait_most.saturating_sub(blame.wait_most);
    }
    rest
}

/// A worker that did not park for long, while no poll of it was known to be slow.
///
/// Of polls that are seen there are many short ones: it lasted at least ten times the threshold, and 100 ms. Where they are not seen, as
/// without `--cfg tokio_unstable` those of tasks that are not watched, it is one that looks at its thread showed at work for the loop for
/// more than half of it; and, if it lasted for at least the threshold but not ten times that, in one wait for half of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LateStretch {
    /// The worker.
    pub worker: usize,
    /// When it began, from the installation on.
    pub start: Duration,
    /// How long it lasted at least.
    pub duration: Duration,
    /// The polls meanwhile, of all threads; `None` where they are not seen.
    pub polls: Option<u64>,
    /// What looks at its thread showed: of one poll, or of several.
    pub evidence: Evidence,
}

/// One poll that lasted at least the threshold.
///
/// Its `Display` is one line in the shape of asyncio's debug mode:
/// `Executing <Task 7 writer, spawned at src/main.rs:88, worker 0> took 0.503 seconds`. It has the
/// spawn site as the compiler was given it; lines and events show it from the folder on that was given as `source_root`, as they do
/// the places that evidence names.
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
    /// The worker's index; `None` for a thread that is no worker of a runtime with the probe, as far as that is known.
    pub worker: Option<usize>,
    /// The name of its thread, where that is no worker of a runtime with the probe and has one: the one that is in `block_on`, or one
    /// of a runtime that another builder made, with a watched future.
    pub thread_name: Option<Arc<str>>,
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
    /// Who waited for it; `None` in a build that does not see wake-to-poll times. `None` also where its thread had 64 more slow polls before
    /// all of them were known: [`Snapshot::charged_unlisted`] counts them. A snapshot adds who is found out after the poll was
    /// delivered; a callback gets those that are known when for 150 ms no further one was found.
    pub blame: Option<Blame>,
    /// Whose request the one was that waited longest, [`Blame::worst`]: the outermost span that it entered when it was polled, if it
    /// entered one alone; `None` where that is not so, or not known yet, and in builds that keep no spans.
    pub waiter_span: Option<Arc<Span>>,
}

impl fmt::Display for SlowPoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.executing(self.spawned_at.file().into()).fmt(f)
    }
}

impl SlowPoll {
    /// Its line, with the file of its spawn site as it is to be shown.
    pub(crate) fn executing<'a>(&'a self, file: Cow<'a, str>) -> impl fmt::Display + 'a {
        let task = TaskName {
            task_id: self.task_id,
            name: self.task_name.as_deref(),
            file,
            line: self.spawned_at.line(),
            worker: self.worker,
            thread: self.thread_name.as_deref(),
        };
        Executing { task, words: "took", time: self.duration }
    }
}

/// A task that is polled, and for how long, in words.
struct Executing<'a> {
    task: TaskName<'a>,
    words: &'static str,
    time: Duration,
}

impl fmt::Display for Executing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Executing {} {} {:.3} seconds", self.task, self.words, self.time.as_secs_f64())
    }
}

/// A task as asyncio would name it: `<Task 7 writer, spawned at src/main.rs:88, worker 0>`.
pub(crate) struct TaskName<'a> {
    pub(crate) task_id: Option<u64>,
    pub(crate) name: Option<&'a str>,
    /// Where it was spawned.
    pub(crate) file: Cow<'a, str>,
    pub(crate) line: u32,
    pub(crate) worker: Option<usize>,
    /// The name of a thread that is no worker.
    pub(crate) thread: Option<&'a str>,
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
        write!(f, ", spawned at {}:{}", Escaped(&self.file), self.line)?;
        if let Some(worker) = self.worker {
            write!(f, ", worker {worker}")?;
        } else if let Some(thread) = self.thread {
            write!(f, ", thread {}", Escaped(thread))?;
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

/// What a blocking pool is at: where closures of `spawn_blocking` run, and whatever `tokio::fs` does.
///
/// ```
/// # use pollscope_probe::Probe;
/// let mut runtime = tokio::runtime::Builder::new_current_thread();
/// let probe = Probe::builder().install(&mut runtime)?;
/// let runtime = runtime.enable_time().build()?;
/// runtime.block_on(async { tokio::time::sleep(std::time::Duration::from_millis(2)).await });
/// match probe.snapshot().blocking_pool {
///     Some(pool) => assert_eq!((pool.threads, pool.busy(), pool.queued), (0, 0, 0)),
///     None => assert!(!pollscope_probe::TOKIO_UNSTABLE),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct BlockingPool {
    /// Its threads, busy or idle; without workers of the runtime. Tokio adds one for a closure that finds none idle, up to
    /// the limit that [`max_blocking_threads`](tokio::runtime::Builder::max_blocking_threads) sets, which cannot be read.
    pub threads: u64,
    /// Those that wait for a closure.
    pub idle: u64,
    /// Closures that wait for a thread.
    pub queued: u64,
}

impl BlockingPool {
    /// Its threads that run a closure.
    pub fn busy(&self) -> u64 {
        self.threads.saturating_sub(self.idle)
    }
}

/// A poll that is under way.
///
/// Its `Display` is one line like a slow poll's:
/// `Executing <Task 7 writer, spawned at src/main.rs:88, worker 0> still runs after 1.000 seconds`.
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
    /// The worker's index; `None` for a thread that is no worker of a runtime with the probe, as far as that is known.
    pub worker: Option<usize>,
    /// The name of its thread, where that is no such worker and has one.
    pub thread_name: Option<Arc<str>>,
    /// For how long already, without the polls that ran within it.
    pub elapsed: Duration,
    /// What was seen of it so far, once it is slow: it is told anew as the poll grows older by a quarter, and when names are there.
    pub evidence: Evidence,
}

impl fmt::Display for Polling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.executing(self.spawned_at.file().into()).fmt(f)
    }
}

impl Polling {
    /// Its line, with the file of its spawn site as it is to be shown.
    pub(crate) fn executing<'a>(&'a self, file: Cow<'a, str>) -> impl fmt::Display + 'a {
        let task = TaskName {
            task_id: self.task_id,
            name: self.task_name.as_deref(),
            file,
            line: self.spawned_at.line(),
            worker: self.worker,
            thread: self.thread_name.as_deref(),
        };
        Executing { task, words: "still runs after", time: self.elapsed }
    }
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
            thread_name: Some("actix\n-rt".into()),
            start: Duration::ZERO,
            duration: Duration::from_micros(503_400),
            evidence: Evidence::default(),
            blame: None,
            waiter_span: None,
        };
        let line = poll.to_string();
        assert!(line.starts_with(r"Executing <Task root a\u{1b}[2J\nb\u{202e}\u{200b}, spawned at "), "{line}");
        assert!(line.ends_with(", thread actix\\n-rt> took 0.503 seconds"), "{line}");
    }
}
