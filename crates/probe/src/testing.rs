//! For your own tests: that nothing in a future holds up its event loop.
//!
//! | | use it in | runtime | what it sees |
//! |---|---|---|---|
//! | [`assert_responsive`] | a plain `#[test]` | a current-thread one of its own | every poll of the future and, with `--cfg tokio_unstable`, of every task that is spawned on that runtime |
//! | [`responsive`] | a `#[tokio::test]`, or any async code | the one that it is in | polls of that one future: hooks cannot be given to a runtime that runs. What it joins or selects is part of it, what it spawns is not |
//!
//! Neither sees closures on the blocking pool, which hold up nobody, or tasks of a `LocalSet` other than as a part of the future
//! that drives it. Without the cfg a spawned task is not seen, and its blocking passes: check
//! [`TOKIO_UNSTABLE`](crate::TOKIO_UNSTABLE) where that matters.
//!
//! # Machines that are busy
//!
//! A machine that runs many tests takes the CPU away, and a duration alone cannot tell. So a poll fails a test only for what its
//! code did. These do not count, and are mentioned when another fails:
//!
//! - one whose cause is [`Cause::Suspended`];
//! - one that would not have been slow without the time that it was ready to run and had no CPU; where that time is not known, one
//!   whose cause is [`Cause::Preempted`] or [`Cause::Throttled`].
//!
//! So a call that blocks for 200 ms fails at a threshold of 20 ms although the machine kept it waiting for longer than that.
//!
//! Both need what the watchdog sees: [`CAPTURE`](crate::CAPTURE). What stays is what takes longer when others use the same
//! disk, cache or host, which no guest is told: take a threshold far above what the code needs, and far below what it must
//! never do. 100 ms is asyncio's, and catches a blocking call that matters.

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};

use pollscope_base::Cause;

use crate::lines::details;
use crate::probe::Probe;
use crate::snapshot::{SlowPoll, Snapshot};

/// Slow polls named in a failure.
const NAMED: usize = 5;
/// How long a failure waits for what is still being found out of its slow polls.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a future on a current-thread runtime of its own, with time and I/O if Tokio has them, and returns its output. Fails
/// when a poll lasted `threshold` or longer, with the line that blocked: see the [module](self) for what is seen and what counts.
///
/// ```
/// use std::time::Duration;
/// use pollscope_probe::testing::assert_responsive;
///
/// let sum = assert_responsive(Duration::from_secs(1), async {
///     let part = tokio::spawn(async { 20 });
///     part.await.unwrap() + 22
/// });
/// assert_eq!(sum, 42);
/// ```
///
/// A blocking call makes it fail:
///
/// ```should_panic
/// # use std::time::Duration;
/// # use pollscope_probe::testing::assert_responsive;
/// assert_responsive(Duration::from_millis(20), async {
///     std::thread::sleep(Duration::from_millis(200)); // rather than tokio::time::sleep
/// });
/// ```
///
/// # Panics
/// When a poll was slow; when the future panics; in a runtime, where [`responsive`] is for; when the threshold is 0, or the runtime
/// or a thread of the probe's cannot be started.
#[track_caller]
pub fn assert_responsive<F: Future>(threshold: Duration, future: F) -> F::Output {
    assert!(
        Handle::try_current().is_err(),
        "cannot start a runtime within a runtime: await `testing::responsive` here, or make this a plain `#[test]`"
    );
    assert_responsive_on(Builder::new_current_thread(), threshold, future)
}

/// The same on a runtime of one's choice.
#[track_caller]
pub(crate) fn assert_responsive_on<F: Future>(mut builder: Builder, threshold: Duration, future: F) -> F::Output {
    let probe = install(threshold, builder.enable_all());
    let runtime = builder.build().unwrap_or_else(|error| panic!("cannot start a runtime: {error}"));
    let output = runtime.block_on(probe.watch(future));
    // What is still spawned polls no more.
    drop(runtime);
    if let Some(failure) = failure(&probe, Location::caller()) {
        panic!("{failure}");
    }
    output
}

/// Awaits a future in the runtime that is there, and returns its output. Fails when one of its polls lasted `threshold` or longer,
/// with the line that blocked: see the [module](self) for what is seen and what counts. After a slow poll it blocks until what is
/// known of it is there, for at most ten seconds.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use std::time::Duration;
/// use pollscope_probe::testing::responsive;
///
/// let both = responsive(Duration::from_secs(1), async { 20 + 22 }).await;
/// assert_eq!(both, 42);
/// # });
/// ```
///
/// A blocking call makes it fail:
///
/// ```should_panic
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # use std::time::Duration;
/// # use pollscope_probe::testing::responsive;
/// responsive(Duration::from_millis(20), async {
///     std::thread::sleep(Duration::from_millis(200));
/// })
/// .await;
/// # });
/// ```
///
/// # Panics
/// At the call, when the threshold is 0 or a thread of the probe's cannot be started; when it is awaited, for a slow poll, or as
/// the future does.
#[track_caller]
pub fn responsive<F: Future>(threshold: Duration, future: F) -> impl Future<Output = F::Output> {
    let called_at = Location::caller();
    // A runtime that is never built: the probe sees what it watches, and no hook calls it.
    let probe = install(threshold, &mut Builder::new_current_thread());
    let watched = probe.watch(future);
    async move {
        let output = watched.await;
        if let Some(failure) = failure(&probe, called_at) {
            panic!("{failure}");
        }
        output
    }
}

#[track_caller]
fn install(threshold: Duration, builder: &mut Builder) -> Probe {
    let probe = Probe::builder().slow_poll_threshold(threshold).install(builder);
    probe.unwrap_or_else(|error| panic!("{error}"))
}

/// What is wrong; `None` when nothing is. Waits only when something was slow.
fn failure(probe: &Probe, at: &Location) -> Option<String> {
    if probe.snapshot().slow_polls_total == 0 {
        return None;
    }
    probe.flush(PATIENCE);
    sentence(&probe.snapshot(), at)
}

fn sentence(snapshot: &Snapshot, at: &Location) -> Option<String> {
    let (excused, failed): (Vec<&SlowPoll>, Vec<&SlowPoll>) =
        snapshot.slow_polls.iter().partition(|poll| is_excused(poll, snapshot.slow_poll_threshold));
    let count = failed.len() as u64 + snapshot.slow_polls_dropped;
    if count == 0 {
        return None;
    }
    let polls = if count == 1 { "poll" } else { "polls" };
    let threshold = snapshot.slow_poll_threshold;
    let mut text = format!("{count} slow {polls} of {threshold:?} or more in the future at {at}:\n");
    for poll in failed.iter().take(NAMED) {
        text += &format!("{poll}\n{}", details(poll));
    }
    let more = count.saturating_sub(failed.len().min(NAMED) as u64);
    if more > 0 {
        text += &format!("and {more} more\n");
    }
    if !excused.is_empty() {
        text += &format!("not counted, as the machine kept them from a CPU: {}\n", excused.len());
    }
    for note in &snapshot.capture_notes {
        text += &format!("note: {note}\n");
    }
    Some(text)
}

/// Whether the machine is to blame, as far as is known.
fn is_excused(poll: &SlowPoll, threshold: Duration) -> bool {
    match (poll.evidence.cause, poll.evidence.run_delay) {
        (Some(Cause::Suspended), _) => true,
        // Being preempted does not excuse a call that blocked long enough by itself.
        (_, Some(without_cpu)) => poll.duration.saturating_sub(without_cpu) < threshold,
        (cause, None) => matches!(cause, Some(Cause::Preempted | Cause::Throttled)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Clock;
    use crate::shared::Shared;
    use pollscope_base::Evidence;

    const MS: u64 = 1_000_000;

    fn evidence(cause: Option<Cause>, run_delay_ms: Option<u64>) -> Evidence {
        let mut evidence = Evidence::default();
        (evidence.cause, evidence.run_delay) = (cause, run_delay_ms.map(Duration::from_millis));
        evidence
    }

    fn snapshot(polls: &[(u64, Option<Cause>, Option<u64>)]) -> Snapshot {
        let mut snapshot = Arc::new(Shared::new(Clock::manual(), 100 * MS, 10)).snapshot();
        snapshot.slow_polls_total = polls.len() as u64;
        snapshot.slow_polls = polls
            .iter()
            .map(|&(ms, cause, run_delay_ms)| SlowPoll {
                id: 1,
                task_id: Some(7),
                task_name: None,
                spawned_at: Location::caller(),
                worker: Some(0),
                thread_name: None,
                start: Duration::ZERO,
                duration: Duration::from_millis(ms),
                evidence: evidence(cause, run_delay_ms),
                blame: None,
                waiter_span: None,
            })
            .collect();
        snapshot
    }

    fn said(polls: &[(u64, Option<Cause>, Option<u64>)]) -> Option<String> {
        sentence(&snapshot(polls), Location::caller())
    }

    #[test]
    fn what_the_machine_did_is_not_the_code_s_fault() {
        for excused in [
            (300, Some(Cause::Preempted), Some(250)),
            (300, Some(Cause::Preempted), None),
            (300, Some(Cause::Throttled), Some(250)),
            (300, Some(Cause::Throttled), None),
            (300, Some(Cause::Suspended), None),
            (300, Some(Cause::Suspended), Some(0)),
            (150, Some(Cause::Cpu), Some(51)),
        ] {
            assert_eq!(said(&[excused]), None, "{excused:?}");
        }
        for failed in [
            (100, Some(Cause::Cpu), Some(0)),
            (150, Some(Cause::Cpu), Some(50)),
            (300, Some(Cause::Lock), None),
            (100, None, None),
            (400, Some(Cause::Preempted), Some(250)),
        ] {
            assert!(said(&[failed]).is_some(), "{failed:?}");
        }
    }

    #[test]
    fn a_failure_names_five_and_counts_the_others() {
        let mut polls = vec![(200, Some(Cause::Lock), None); 7];
        polls.push((300, Some(Cause::Preempted), None));
        let text = said(&polls).unwrap();
        assert!(text.starts_with("7 slow polls of 100ms or more in the future at "), "{text}");
        assert_eq!(text.matches("Executing <Task 7, spawned at ").count(), NAMED, "{text}");
        assert!(text.contains("\nand 2 more\n") && text.contains(" a CPU: 1\n"), "{text}");
    }

    #[test]
    fn polls_that_were_not_kept_fail_too() {
        let mut snapshot = snapshot(&[]);
        snapshot.slow_polls_dropped = 1;
        assert!(sentence(&snapshot, Location::caller()).unwrap().contains("\nand 1 more\n"));
    }
}
