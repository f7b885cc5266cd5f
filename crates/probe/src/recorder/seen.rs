//! What a probe saw, as a recording has it.

use pollscope_base::duration::to_ns;
use pollscope_record::recording::Waiter;
use pollscope_record::recording::{
    self, Blame, Completeness, Coverage, Detail, Dist, Interval, Kind, Ledger, Pool, Run, RuntimeInfo, Subject, Target,
    Text,
};

use crate::snapshot::{BlockingPool, Polling, Runtime, Site, SlowPoll, Snapshot};

impl From<&Snapshot> for Coverage {
    /// What was seen, and where it was blind.
    fn from(snapshot: &Snapshot) -> Coverage {
        let owned = |phrases: &[&str]| phrases.iter().map(|&phrase| phrase.to_owned()).collect();
        let limits = snapshot.capture_notes.iter().map(ToString::to_string);
        Coverage {
            source: snapshot.coverage.source.as_str().to_owned(),
            sees: owned(&snapshot.coverage.sees),
            blind_to: owned(&snapshot.coverage.blind_to),
            missing: limits.chain(snapshot.coverage.missing.iter().map(ToString::to_string)).collect(),
            looks_per_s: None,
        }
    }
}

impl From<&SlowPoll> for recording::SlowPoll {
    fn from(poll: &SlowPoll) -> recording::SlowPoll {
        let (blame, nobody_waited) = Blame::or_nobody(poll.blame.map(Blame::from));
        let kind = Kind {
            nobody_waited,
            task_name: poll.task_name.as_deref().map(Text::from),
            spawned_at: Some(format!("{}:{}", poll.spawned_at.file(), poll.spawned_at.line()).into()),
            worker: poll.worker.map(|worker| worker as u64),
            ..Kind::default()
        };
        let waits = Detail {
            blame,
            worst_waiter: poll.blame.and_then(|blame| blame.worst).map(|waited| {
                let span = poll.waiter_span.as_deref().map(recording::Span::from).map(Box::new);
                Box::new(Waiter { span, ..waited.into() })
            }),
            ..Detail::default()
        };
        let start = recording::SlowPoll {
            id: poll.id,
            task_id: poll.task_id.into(),
            start_ns: to_ns(poll.start),
            duration_ns: to_ns(poll.duration),
            detail: waits.boxed(),
            ..recording::SlowPoll::of(kind)
        };
        recording::seen(&poll.evidence, start)
    }
}

impl From<&Site> for recording::Site {
    fn from(site: &Site) -> recording::Site {
        recording::Site {
            spawned_at: recording::place(&site.spawned_at).to_owned(),
            task_name: site.task_name.as_deref().map(str::to_owned),
            polls: Dist::from(&site.polls),
            slow: site.slow,
        }
    }
}

/// What of a run is known from a snapshot of the whole of it, but for its lists.
///
/// ```
/// use pollscope_probe::{Probe, record_of};
/// use pollscope_record::recording::{Run, Subject, Target};
///
/// let mut runtime = tokio::runtime::Builder::new_current_thread();
/// let probe = Probe::builder().install(&mut runtime)?;
/// runtime.build()?.block_on(probe.watch(async {}));
/// let start = Run::unknown("api", Subject::Service(Target::default()), "2026-01-01T00:00:00Z");
/// let run = record_of(&probe.snapshot(), start);
/// assert_eq!((run.polls.unwrap().count(), run.slow_polls_total), (1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn record_of(snapshot: &Snapshot, start: Run) -> Run {
    let polls = Dist::from(&snapshot.polls);
    Run {
        elapsed_ns: to_ns(snapshot.at),
        coverage: Coverage::from(snapshot),
        loop_busy_ns: Some(polls.sum_ns),
        polls: Some(polls),
        schedule_latency: snapshot.schedule_latency.as_ref().map(Dist::from),
        busy_stretches: Some(Dist::from(&snapshot.busy_stretches)),
        slow_poll_threshold_ns: to_ns(snapshot.slow_poll_threshold),
        slow_polls_total: snapshot.slow_polls_total,
        slow_polls_are: Completeness::All,
        slow_polls_dropped: snapshot.slow_polls_dropped,
        slow_poll_lines: Some(snapshot.lines),
        sites: Some(snapshot.sites.iter().map(recording::Site::from).collect()),
        ledger: snapshot.ledger.as_ref().map(Ledger::from),
        subject: match start.subject {
            Subject::Service(target) => Subject::Service(Target { runtimes: runtimes(snapshot), ..target }),
            other => other,
        },
        ..start
    }
}

/// The runtimes that have the probe; none if one is of a kind that has no name, as how many workers there are is not known then.
pub(super) fn runtimes(snapshot: &Snapshot) -> Vec<RuntimeInfo> {
    let of = |runtime: &Runtime| Some(RuntimeInfo { flavor: runtime.flavor?.to_owned(), workers: runtime.workers });
    snapshot.runtimes.iter().map(of).collect::<Option<_>>().unwrap_or_default()
}

/// How full the blocking pools are.
pub(super) fn pool(pool: &BlockingPool) -> Pool {
    Pool { threads: Some(pool.threads), busy: Some(pool.busy()), queued: Some(pool.queued), queued_most: None }
}

/// A poll that goes on, of which `id` is the number.
pub(super) fn stall(polling: &Polling, id: u64, now_ns: u64) -> recording::SlowPoll {
    let duration_ns = to_ns(polling.elapsed);
    let poll = SlowPoll {
        id,
        task_id: polling.task_id,
        task_name: polling.task_name.clone(),
        spawned_at: polling.spawned_at,
        worker: polling.worker,
        thread_name: polling.thread_name.clone(),
        start: std::time::Duration::from_nanos(now_ns.saturating_sub(duration_ns)),
        duration: polling.elapsed,
        evidence: polling.evidence.clone(),
        blame: None,
        waiter_span: None,
    };
    recording::SlowPoll::from(&poll)
}

/// What happened since the snapshot before.
///
/// ```
/// use pollscope_probe::{Probe, interval_of};
///
/// let mut runtime = tokio::runtime::Builder::new_current_thread();
/// let probe = Probe::builder().install(&mut runtime)?;
/// let before = probe.snapshot();
/// runtime.build()?.block_on(probe.watch(async {}));
/// let interval = interval_of(&before, &probe.snapshot());
/// assert_eq!((interval.polls.unwrap().count(), interval.slow), (1, Some(0)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn interval_of(before: &Snapshot, now: &Snapshot) -> Interval {
    let polls = Dist::from(&now.polls.since(&before.polls));
    Interval {
        start_ns: to_ns(before.at),
        busy_ns: Some(polls.sum_ns),
        polls: Some(polls),
        lag: None,
        longest_stretch_ns: now.busy_stretches.since(&before.busy_stretches).max_ns,
        queued: None,
        pool: before.blocking_pool.as_ref().map(pool),
        slow: Some(now.slow_polls_total.saturating_sub(before.slow_polls_total)),
    }
}
