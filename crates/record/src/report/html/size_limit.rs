//! What of a recording is in its page, when all of it would be too much: fewer stacks, fewer slow polls, fewer intervals.

use std::ops::Deref;

use super::longest::longest;
use crate::recording::{Frame, Interval, Recording, Run, SlowPoll};
use crate::units::plural;

/// Bytes of JSON a run up to which all slow polls are in a page as they are: a page of two runs, as scenarios have them, is to take
/// 400 KB at most.
const ALL_SLOW_POLLS: usize = 50_000;
/// Bytes that they may take in all.
const SLOW_POLLS: usize = 3 << 18;
/// The least that one takes.
const SLOW_POLL: usize = 520;
/// Intervals that a recording's runs may have in all.
const INTERVALS: usize = 1_000;
/// Bytes that those may take.
const INTERVAL_BYTES: usize = 3 << 19;

/// What was left out.
pub(super) struct LeftOut {
    /// The rest; `None` when nothing was.
    pub(super) recording: Option<Recording>,
    /// Stacks of slow polls that are there but for them.
    pub(super) stacks: u64,
    /// Slow polls.
    pub(super) slow_polls: u64,
    /// How many intervals became one; 1 when all are there.
    pub(super) intervals_joined: usize,
}

pub(super) fn fit(recording: &Recording) -> LeftOut {
    let kept = kept(&recording.runs);
    let (intervals_joined, intervals) = joined_to_fit(&recording.runs);
    let mut left_out = LeftOut { recording: None, stacks: 0, slow_polls: 0, intervals_joined };
    if kept.is_none() && intervals_joined == 1 {
        return left_out;
    }
    let mut runs = Vec::new();
    for ((index, run), intervals) in recording.runs.iter().enumerate().zip(intervals) {
        let part = |at: usize| kept.as_ref().map_or(Part::Whole, |kept| kept[index][at]);
        let mut slow_polls = Vec::new();
        let mut stacks = 0;
        for (at, poll) in run.slow_polls.iter().enumerate() {
            match part(at) {
                Part::Whole => slow_polls.push(poll.clone()),
                Part::WithoutStack => {
                    stacks += 1;
                    slow_polls.push(SlowPoll { stack: Vec::new().into(), stack_complete: None, ..poll.clone() });
                }
                Part::Nothing => {}
            }
        }
        let dropped = (run.slow_polls.len() - slow_polls.len()) as u64;
        let slow_polls_dropped = run.slow_polls_dropped + dropped;
        let mut run = Run { slow_polls, slow_polls_dropped, intervals, ..without_lists(run) };
        if stacks > 0 {
            run.coverage.missing.push(format!(
                "the stacks of {} are not in the page that has this recording: each is the same as that of another",
                plural(stacks, "slow poll")
            ));
        }
        left_out.stacks += stacks;
        left_out.slow_polls += dropped;
        runs.push(run);
    }
    left_out.recording = Some(Recording { runs, ..parts(recording) });
    left_out
}

/// A recording but for its slow polls and intervals, for what needs only their totals: it takes no time, however many there are.
/// Where polls are not seen one by one, the longest slow poll stays.
pub(super) fn totals(recording: &Recording) -> Recording {
    let totals = |run: &Run| {
        let longest = run.slow_polls.iter().filter(|_| run.polls.is_none()).max_by_key(|poll| poll.duration_ns);
        Run { slow_polls: longest.cloned().into_iter().collect(), ..without_lists(run) }
    };
    Recording { runs: recording.runs.iter().map(totals).collect(), ..parts(recording) }
}

/// What stays of a slow poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    WithoutStack,
    Nothing,
}

/// What stays of each run's slow polls; `None` when everything does. Of equal stacks of a mode one stays. If that is not enough, half of
/// the room is for the longest polls, and the rest for every n-th.
fn kept(runs: &[Run]) -> Option<Vec<Vec<Part>>> {
    let mut room = SLOW_POLLS.min(ALL_SLOW_POLLS * runs.len());
    let mut polls = runs.iter().flat_map(|run| &run.slow_polls);
    if polls.all(|poll| take(&mut room, size(poll) + stack_size(poll), 0)) {
        return None;
    }
    let all = || places(runs);
    let total: usize = all().map(|(poll, _)| size(poll)).sum();
    let longest = longest(all().map(|(poll, place)| (poll.duration_ns, place)), SLOW_POLLS / SLOW_POLL);
    let mut keep = Keep::nothing(runs);
    let for_sample = if total > SLOW_POLLS { SLOW_POLLS / 2 } else { 0 };
    for (index, at) in longest {
        keep.try_one(index, at, for_sample);
    }
    for (_, (index, at)) in all().step_by(total.div_ceil(SLOW_POLLS / 2)) {
        keep.try_one(index, at, 0);
    }
    Some(keep.parts)
}

/// All slow polls, each with its run and its place in it.
fn places(runs: &[Run]) -> impl Iterator<Item = (&SlowPoll, (usize, usize))> {
    let runs = runs.iter().map(|run| run.slow_polls.iter().enumerate()).enumerate();
    runs.flat_map(|(index, polls)| polls.map(move |(at, poll)| (poll, (index, at))))
}

struct Keep<'a> {
    runs: &'a [Run],
    parts: Vec<Vec<Part>>,
    room: usize,
    /// Stacks that stay, each with its mode.
    stacks: Vec<(&'a str, &'a [Frame])>,
}

impl<'a> Keep<'a> {
    fn nothing(runs: &'a [Run]) -> Keep<'a> {
        let parts = runs.iter().map(|run| vec![Part::Nothing; run.slow_polls.len()]).collect();
        Keep { runs, parts, room: SLOW_POLLS, stacks: Vec::new() }
    }

    /// Keeps a slow poll if that leaves at least `rest` of the room.
    fn try_one(&mut self, index: usize, at: usize, rest: usize) {
        let (run, poll) = (&self.runs[index], &self.runs[index].slow_polls[at]);
        if self.parts[index][at] != Part::Nothing {
            return;
        }
        let stack = (run.group.as_str(), &*poll.stack);
        let is_new = poll.stack.is_empty() || !self.stacks.contains(&stack);
        if take(&mut self.room, size(poll) + if is_new { stack_size(poll) } else { 0 }, rest) {
            self.parts[index][at] = if is_new { Part::Whole } else { Part::WithoutStack };
            self.stacks.extend(is_new.then_some(stack));
        }
    }
}

/// Takes from `room` what leaves at least `rest` of it.
fn take(room: &mut usize, size: usize, rest: usize) -> bool {
    let fits = *room >= rest + size;
    *room -= if fits { size } else { 0 };
    fits
}

/// About how many bytes of JSON a slow poll takes without its stack: writing a million of them to find out would take too long.
fn size(poll: &SlowPoll) -> usize {
    let call = poll.syscall.as_ref().map_or(0, |call| 90 + call.name.len() + call.text.len() + length(&call.path));
    let texts = [&poll.task_name, &poll.blocking_line, &poll.function].map(length);
    SLOW_POLL + length(&poll.spawned_at) + length(&poll.cause) + texts.iter().sum::<usize>() + call
}

fn stack_size(poll: &SlowPoll) -> usize {
    poll.stack.iter().map(|frame| 50 + length(&frame.function) + length(&frame.file)).sum()
}

fn length(text: &Option<impl Deref<Target = str>>) -> usize {
    text.as_deref().map_or(4, |text| text.len() + 2)
}

/// Each run's intervals, put together until they are few and small enough, and how many became one.
fn joined_to_fit(runs: &[Run]) -> (usize, Vec<Vec<Interval>>) {
    let count = runs.iter().map(|run| run.intervals.len()).sum::<usize>();
    let mut size = count.div_ceil(INTERVALS).max(1);
    loop {
        let all: Vec<Vec<Interval>> = runs.iter().map(|run| joined(&run.intervals, size)).collect();
        if size >= count || all.iter().flatten().map(interval_size).sum::<usize>() <= INTERVAL_BYTES {
            return (size, all);
        }
        size *= 2;
    }
}

/// About how many bytes of JSON an interval takes.
fn interval_size(interval: &Interval) -> usize {
    let dists = [interval.polls.as_ref(), interval.lag.as_ref()];
    60 + dists.into_iter().flatten().map(|dist| 250 + 3 * dist.buckets().count()).sum::<usize>()
}

/// Every `size` intervals as one.
fn joined(intervals: &[Interval], size: usize) -> Vec<Interval> {
    let join = |chunk: &[Interval]| {
        let mut joined = chunk[0].clone();
        for interval in &chunk[1..] {
            joined.join(interval);
        }
        joined
    };
    intervals.chunks(size).map(join).collect()
}

/// A run but for its long lists.
fn without_lists(run: &Run) -> Run {
    Run {
        group: run.group.clone(),
        subject: run.subject.clone(),
        started_at: run.started_at.clone(),
        elapsed_ns: run.elapsed_ns,
        coverage: run.coverage.clone(),
        merge: run.merge.clone(),
        ended: run.ended,
        ended_why: run.ended_why.clone(),
        errors: run.errors.clone(),
        input_events: run.input_events.clone(),
        polls: run.polls.clone(),
        schedule_latency: run.schedule_latency.clone(),
        lag: run.lag.clone(),
        lag_raw: run.lag_raw.clone(),
        response_time: run.response_time.clone(),
        unanswered: run.unanswered,
        write_latency: run.write_latency.clone(),
        busy_stretches: run.busy_stretches.clone(),
        loop_busy_ns: run.loop_busy_ns,
        busy_share: run.busy_share,
        throughput_bytes_per_s: run.throughput_bytes_per_s,
        cpu_user_ns: run.cpu_user_ns,
        cpu_system_ns: run.cpu_system_ns,
        context_switches_voluntary: run.context_switches_voluntary,
        context_switches_involuntary: run.context_switches_involuntary,
        pool_wait: run.pool_wait.clone(),
        slow_poll_threshold_ns: run.slow_poll_threshold_ns,
        slow_polls_total: run.slow_polls_total,
        slow_polls_are: run.slow_polls_are,
        slow_polls_dropped: run.slow_polls_dropped,
        slow_poll_lines: run.slow_poll_lines,
        slow_polls: Vec::new(),
        stalls_open: run.stalls_open.clone(),
        sites: run.sites.clone(),
        ledger: run.ledger.clone(),
        pool: run.pool,
        intervals: Vec::new(),
        runtime_metrics: run.runtime_metrics.clone(),
    }
}

/// A recording but for its runs.
fn parts(recording: &Recording) -> Recording {
    Recording {
        environment: recording.environment.clone(),
        scenario: recording.scenario.clone(),
        runs: Vec::new(),
        findings: recording.findings.clone(),
        gates: recording.gates.clone(),
    }
}
