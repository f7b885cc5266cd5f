//! What happened at 03:12: the part of a recording between two times.
//!
//! A part is a recording. It has the slow polls that overlap the time that is asked for, whole, and the intervals that overlap it or
//! them, whole: so it begins a little earlier and ends a little later, which it says. Polls, busy time and lag are the sums of its
//! intervals. What was measured of a run as a whole, and not by interval, is not known of the part: it is `None`, and it is said.
//! Gates that were judged are left out, as they were judged of all of it.
//!
//! Times are those of [`Run::started_at`], a wall clock that was read once, and of offsets by a clock that never jumps. So within a
//! run no time comes twice or is missing, whatever was done to the wall clock since the run began: its times are what the wall clock
//! said then, and go on from there.

mod moment;
#[cfg(test)]
mod tests;

use std::time::{Duration, UNIX_EPOCH};

use pollscope_base::duration::to_ns;

pub use moment::Moment;

use crate::findings::findings;
use crate::recording::{Completeness, Dist, Ended, InputEvents, Interval, Recording, Run, SlowPoll};
use crate::units::plural;

/// How long a part around a moment is, unless it is said: a minute to each side.
pub const AROUND: Duration = Duration::from_secs(120);

/// Which part is asked for; without anything, all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// From when on.
    pub from: Option<Moment>,
    /// Until when.
    pub to: Option<Moment>,
    /// In the middle of it, in place of both.
    pub around: Option<Moment>,
    /// How long it is, from `from` on or around `around`.
    pub length: Option<Duration>,
}

/// From one moment to another, since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// From when on.
    pub from: Duration,
    /// Until when.
    pub to: Duration,
}

/// Why there is no such part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CutError {
    /// No run says when it began, as a time.
    #[error("it does not say when it began")]
    NoTimes,
    /// The part would end before it begins.
    #[error("the part would end at {to}, before it begins at {from}; name a later end", from = shown(*.0), to = shown(*.1))]
    Backwards(Duration, Duration),
    /// Nothing was recorded then.
    #[error("nothing was recorded from {asked}; it has {has}", asked = words(*.asked), has = all(.has))]
    Nothing {
        /// What was asked for.
        asked: Span,
        /// When its runs were, in their order.
        has: Vec<Span>,
    },
}

impl Window {
    /// The times that are asked for, of a recording that was from its first run's start to its last run's end. A time of day is
    /// the last such that the recording has; where the part ends, the first from where it begins.
    ///
    /// # Errors
    /// See [`CutError`].
    pub fn span(&self, recording: &Recording) -> Result<Span, CutError> {
        let runs = || recording.runs.iter().filter_map(span_of);
        let ends = runs().map(|run| run.from).min().zip(runs().map(|run| run.to).max());
        let (from, to) = ends.ok_or(CutError::NoTimes)?;
        let recorded = Span { from, to };
        let asked = match (self.around, self.from, self.to) {
            (Some(around), _, _) => {
                let half = self.length.unwrap_or(AROUND) / 2;
                let middle = around.latest(recorded, half);
                Span { from: middle.saturating_sub(half), to: middle.saturating_add(half) }
            }
            (None, Some(from), to) => {
                let from = from.latest(recorded, Duration::ZERO);
                let to = to.map(|to| to.first_from(from, recorded));
                let lasts = self.length.map(|length| from.saturating_add(length));
                Span { from, to: to.or(lasts).unwrap_or(recorded.to) }
            }
            (None, None, Some(to)) => {
                let last = to.latest(recorded, Duration::ZERO);
                // One that lies before the beginning is of the next day.
                let to = if last > recorded.from { last } else { to.first_from(recorded.from, recorded) };
                Span { from: recorded.from, to }
            }
            (None, None, None) => recorded,
        };
        if asked.to <= asked.from { Err(CutError::Backwards(asked.from, asked.to)) } else { Ok(asked) }
    }
}

/// When a run was; `None` where it does not say so.
fn span_of(run: &Run) -> Option<Span> {
    let from = run.started()?;
    Some(Span { from, to: from.saturating_add(Duration::from_nanos(run.elapsed_ns)) })
}

/// The part of a recording between two times.
///
/// # Errors
/// [`CutError::Nothing`] when it has nothing of that time.
///
/// ```
/// use pollscope_record::cut::{Moment, Window, cut};
/// # use pollscope_record::recording::wire;
/// # let json = include_bytes!("../tests/fixtures/schema-2/process.json");
/// # let recording = wire::from_json(&json[..]).unwrap();
/// // Of a recording whose only run began at 08:00:00 and took 30 s:
/// let window = Window { from: Some(Moment::parse("08:00:10").unwrap()), ..Window::default() };
/// let span = window.span(&recording).unwrap();
/// let part = cut(recording, span).unwrap();
/// assert!(part.runs[0].elapsed_ns <= 20_000_000_000 && part.gates.is_empty());
/// ```
pub fn cut(recording: Recording, asked: Span) -> Result<Recording, CutError> {
    let has: Vec<Span> = recording.runs.iter().filter_map(span_of).collect();
    let all = recording.runs.len() as u64;
    let mut runs: Vec<Run> = recording.runs.into_iter().filter_map(|run| part(run, asked)).collect();
    let left_out = all - runs.len() as u64;
    let Some(first) = runs.first_mut() else { return Err(CutError::Nothing { asked, has }) };
    if left_out > 0 {
        let lie = if left_out == 1 { "lies" } else { "lie" };
        let said = format!("{} {lie} outside of {}, and {lie} not in this part", plural(left_out, "run"), words(asked));
        first.coverage.missing.push(said);
    }
    Ok(Recording { findings: findings(&runs), runs, gates: Vec::new(), ..recording })
}

/// What of a run is in the part; `None` if that is nothing.
fn part(mut run: Run, asked: Span) -> Option<Run> {
    let whole = span_of(&run)?;
    if asked.to <= whole.from || asked.from >= whole.to {
        return None;
    }
    let since = |at: Duration| to_ns(at.saturating_sub(whole.from)).min(run.elapsed_ns);
    let asked_ns = (since(asked.from), since(asked.to));
    if asked_ns == (0, run.elapsed_ns) {
        return Some(run);
    }
    let overlaps = |poll: &SlowPoll| poll.start_ns < asked_ns.1 && end_ns(poll) > asked_ns.0;
    run.slow_polls.retain(overlaps);
    run.stalls_open.retain(overlaps);
    let ends = interval_ends(&run);
    let part_ns = whole_intervals(&run.intervals, &ends, whole_polls(&run, asked_ns));
    let mut kept = ends.iter().map(|end| *end > part_ns.0);
    run.intervals.retain(|interval| kept.next().is_some_and(|kept| kept) && interval.start_ns < part_ns.1);
    let is_to_the_end = part_ns.1 >= run.elapsed_ns;
    let from = whole.from.saturating_add(Duration::from_nanos(part_ns.0));
    forget_the_rest(&mut run, is_to_the_end);
    sum_up(&mut run);
    shift(&mut run, part_ns);
    run.started_at = shown(from);
    let is = Span { from, to: whole.from.saturating_add(Duration::from_nanos(part_ns.1)) };
    run.coverage.missing.push(format!(
        "this is the part from {}: slow polls and intervals that overlap {} are in it whole",
        words(is),
        words(Span { from: whole.from.max(asked.from), to: whole.to.min(asked.to) })
    ));
    run.coverage.missing.push(
        "schedule latency, response times, spawn sites, the ledger of who waited, CPU time and what became of lines are known of whole \
         runs only, not of this part"
            .to_owned(),
    );
    Some(run)
}

fn end_ns(poll: &SlowPoll) -> u64 {
    poll.start_ns.saturating_add(poll.duration_ns)
}

/// The part, made so long that its slow polls are whole, and the wait of who waited longest for each.
fn whole_polls(run: &Run, mut part_ns: (u64, u64)) -> (u64, u64) {
    for poll in run.slow_polls.iter().chain(&run.stalls_open) {
        let ready_ns = poll.worst_waiter().map_or(u64::MAX, |waiter| waiter.ready_ns);
        part_ns = (part_ns.0.min(poll.start_ns).min(ready_ns), part_ns.1.max(end_ns(poll)));
    }
    (part_ns.0, part_ns.1.min(run.elapsed_ns))
}

/// Of each interval, when it ended.
fn interval_ends(run: &Run) -> Vec<u64> {
    let next = run.intervals.iter().skip(1).map(|next| next.start_ns).chain([run.elapsed_ns]);
    next.take(run.intervals.len()).collect()
}

/// The part, made so long that its intervals are whole.
fn whole_intervals(intervals: &[Interval], ends: &[u64], part_ns: (u64, u64)) -> (u64, u64) {
    let overlapping = intervals.iter().zip(ends).filter(|(of, end)| of.start_ns < part_ns.1 && **end > part_ns.0);
    overlapping.fold(part_ns, |(from, to), (interval, end)| (from.min(interval.start_ns), to.max(*end)))
}

/// What is known only of the run as a whole, and of its end.
fn forget_the_rest(run: &mut Run, is_to_the_end: bool) {
    (run.schedule_latency, run.lag_raw, run.response_time, run.unanswered) = (None, None, None, None);
    (run.write_latency, run.busy_stretches, run.pool_wait) = (None, None, None);
    (run.busy_share, run.profile, run.throughput_bytes_per_s, run.merge) = (None, None, None, None);
    (run.cpu_user_ns, run.cpu_system_ns) = (None, None);
    (run.context_switches_voluntary, run.context_switches_involuntary) = (None, None);
    (run.sites, run.ledger, run.slow_poll_lines, run.runtime_metrics) = (None, None, None, None);
    if !is_to_the_end {
        (run.ended, run.ended_why, run.pool) = (Ended::Done, None, None);
    }
}

/// What is known by interval, and by slow poll.
fn sum_up(run: &mut Run) {
    let intervals = &run.intervals;
    let sum = |of: fn(&Interval) -> Option<u64>| {
        let first = intervals.first().and_then(of)?;
        intervals[1..].iter().try_fold(first, |sum, interval| Some(sum.saturating_add(of(interval)?)))
    };
    let dist = |of: fn(&Interval) -> Option<&Dist>| {
        let mut all = intervals.first().and_then(of)?.clone();
        intervals[1..].iter().try_for_each(|interval| of(interval).map(|more| all.add(more)))?;
        Some(all)
    };
    let (polls, lag) = (dist(|interval| interval.polls.as_ref()), dist(|interval| interval.lag.as_ref()));
    (run.loop_busy_ns, run.polls, run.lag) = (sum(|interval| interval.busy_ns), polls, lag);
    run.slow_polls_total = run.slow_polls.len() as u64;
    if run.slow_polls_dropped > 0 {
        run.slow_polls_are = Completeness::AtLeast;
        let (dropped, are) =
            (plural(run.slow_polls_dropped, "slow poll"), if run.slow_polls_dropped == 1 { "is" } else { "are" });
        run.coverage
            .missing
            .push(format!("{dropped} of the whole run {are} not listed: some may have been in this part"));
        run.slow_polls_dropped = 0;
    }
}

/// All times since the part's start.
fn shift(run: &mut Run, (from_ns, to_ns): (u64, u64)) {
    let earlier = |ns: &mut u64| *ns = ns.saturating_sub(from_ns);
    run.elapsed_ns = to_ns - from_ns;
    for poll in run.slow_polls.iter_mut().chain(&mut run.stalls_open) {
        earlier(&mut poll.start_ns);
        if let Some(waiter) = poll.detail.as_mut().and_then(|detail| detail.worst_waiter.as_mut()) {
            earlier(&mut waiter.ready_ns);
            earlier(&mut waiter.polled_ns);
        }
    }
    run.intervals.iter_mut().for_each(|interval| earlier(&mut interval.start_ns));
    run.fine.retain(|fine| fine.start_ns < to_ns && fine.end_ns > from_ns);
    for fine in &mut run.fine {
        earlier(&mut fine.start_ns);
        earlier(&mut fine.end_ns);
    }
    let InputEvents { events, dropped, .. } = &mut run.input_events;
    events.retain(|event| (from_ns..to_ns).contains(&event.at_ns));
    events.iter_mut().for_each(|event| earlier(&mut event.at_ns));
    let count = |is: fn(&crate::recording::InputEvent) -> bool| events.iter().filter(|event| is(event)).count() as u64;
    let (lose, repeat) = (count(|event| event.may_lose), count(|event| event.may_repeat));
    if std::mem::take(dropped) > 0 {
        run.coverage
            .missing
            .push("not all that happened to the inputs is listed: some may have been in this part".to_owned());
    }
    (run.input_events.possible_losses, run.input_events.possible_repeats) = (lose, repeat);
    run.input_events.repeated_bytes_at_most = None;
}

/// `2026-03-01T03:10:00Z`, with as many digits as it takes.
fn shown(at: Duration) -> String {
    // The last second that the format knows; a recording may say anything.
    let at = UNIX_EPOCH + at.min(Duration::from_secs(253_402_300_799));
    let shown = humantime::format_rfc3339_nanos(at).to_string();
    let seconds = shown.trim_end_matches('Z').trim_end_matches("000");
    format!("{}Z", seconds.trim_end_matches('.'))
}

/// A span in words, such as `2026-03-01T03:10:00Z to 2026-03-01T03:15:00Z`.
pub fn words(span: Span) -> String {
    format!("{} to {}", shown(span.from), shown(span.to))
}

/// What is said of many runs: the first and the last, and what all come to.
fn all(spans: &[Span]) -> String {
    match spans {
        [] => "no run that says when it began".to_owned(),
        [only] => words(*only),
        [first, second] => format!("{}, and {}", words(*first), words(*second)),
        [first, .., last] => {
            format!("{} runs, the first from {}, the last from {}", spans.len(), words(*first), words(*last))
        }
    }
}
