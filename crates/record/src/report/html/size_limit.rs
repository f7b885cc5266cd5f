//! What of a recording is in its page, when all of it would be too much: fewer stacks, fewer slow polls, fewer places of wall-clock
//! profiles, coarser intervals.

mod places;

use std::collections::BTreeSet;
use std::ops::Deref;

use super::longest::longest;
use crate::recording::{Dist, Frame, Interval, Kind, Recording, Run, Shared, SlowPoll};
use crate::units::plural;

/// Bytes of JSON a run up to which all slow polls are in a page as they are.
const ALL_SLOW_POLLS: usize = 50_000;
/// Bytes of JSON that they may take in all: compressed, an eighth of it.
const SLOW_POLLS: usize = 1 << 19;
/// The least that one takes.
const SLOW_POLL: usize = 520;
/// Intervals that a recording's runs may have in all.
const INTERVALS: usize = 1_000;
/// Compressed bytes of a recording up to which its intervals may take what its runs leave: so a page of twelve runs of a scenario takes
/// 400 KB at most.
const RECORDING: usize = 130_000;
/// Compressed bytes that intervals may take however much the runs do.
const INTERVAL_BYTES: usize = 6_000;
/// Slow polls that scripts show in all.
const SHOWN: usize = 1_000;

/// What was left out.
pub(super) struct LeftOut {
    /// The rest; `None` when nothing was.
    pub(super) recording: Option<Recording>,
    /// Stacks of slow polls that are there but for them.
    pub(super) stacks: u64,
    /// Slow polls.
    pub(super) slow_polls: u64,
    /// Places of wall-clock profiles.
    pub(super) places: u64,
    pub(super) intervals: Coarser,
}

/// What became of the intervals' histograms. Whatever that is, their count, bounds and sum stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Histograms {
    Whole,
    /// They have so many at most.
    Digits(u8),
    /// Two buckets for each doubling.
    Rough,
}

/// How intervals were made smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Coarser {
    pub(super) histograms: Histograms,
    /// How many became one; 1 when all are there.
    pub(super) joined: usize,
}

pub(super) fn fit(recording: &Recording) -> LeftOut {
    let kept = kept(&recording.runs);
    let (coarser, intervals) = intervals_that_fit(&recording.runs);
    let (places, profiles) = places::that_fit(&recording.runs);
    let mut left_out = LeftOut { recording: None, stacks: 0, slow_polls: 0, places, intervals: coarser };
    if kept.is_none() && places == 0 && coarser == (Coarser { histograms: Histograms::Whole, joined: 1 }) {
        return left_out;
    }
    let mut runs = Vec::new();
    for (((index, run), intervals), profile) in recording.runs.iter().enumerate().zip(intervals).zip(profiles) {
        let part = |at: usize| kept.as_ref().map_or(Part::Whole, |kept| kept[index][at]);
        let mut slow_polls = Vec::new();
        let mut stacks = 0;
        for (at, poll) in run.slow_polls.iter().enumerate() {
            match part(at) {
                Part::Whole => slow_polls.push(poll.clone()),
                Part::WithoutStack => {
                    stacks += 1;
                    slow_polls.push(without_stack(poll));
                }
                Part::Nothing => {}
            }
        }
        let dropped = (run.slow_polls.len() - slow_polls.len()) as u64;
        let slow_polls_dropped = run.slow_polls_dropped + dropped;
        let mut run = Run { slow_polls, slow_polls_dropped, intervals, profile, ..without_lists(run) };
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

fn without_stack(poll: &SlowPoll) -> SlowPoll {
    let kind = Kind { stack: Shared::default(), stack_complete: None, ..(*poll.kind).clone() };
    SlowPoll { kind: kind.into(), ..poll.clone() }
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

/// The runs with what scripts show of them: the longest slow polls, and every n intervals as one where they are many.
pub(super) fn for_scripts(runs: &[Run]) -> Vec<Run> {
    let shown = longest(places(runs).map(|(poll, place)| (poll.duration_ns, place)), SHOWN);
    let shown: BTreeSet<(usize, usize)> = shown.into_iter().collect();
    let size = fewest_joined(runs);
    let of_run = |(index, run): (usize, &Run)| {
        let polls = run.slow_polls.iter().enumerate().filter(|(at, _)| shown.contains(&(index, *at)));
        let slow_polls = polls.map(|(_, poll)| poll.clone()).collect();
        Run { slow_polls, intervals: joined(&run.intervals, size), ..without_lists(run) }
    };
    runs.iter().enumerate().map(of_run).collect()
}

/// How many intervals have to become one for them to be few.
fn fewest_joined(runs: &[Run]) -> usize {
    runs.iter().map(|run| run.intervals.len()).sum::<usize>().div_ceil(INTERVALS).max(1)
}

/// Each run's intervals, made coarser until they are few and small enough, and how: their histograms first, since all else of them is
/// then still there.
fn intervals_that_fit(runs: &[Run]) -> (Coarser, Vec<Vec<Interval>>) {
    let room = RECORDING.saturating_sub(runs.iter().map(run_size).sum()).max(INTERVAL_BYTES);
    let all = |Coarser { histograms, joined: size }: Coarser| -> Vec<Vec<Interval>> {
        let of_run = |run: &Run| joined(&run.intervals, size).into_iter().map(|one| histograms.of(one)).collect();
        runs.iter().map(of_run).collect()
    };
    let most = runs.iter().map(|run| run.intervals.len()).max().unwrap_or_default();
    let mut coarser = Coarser { histograms: Histograms::Whole, joined: fewest_joined(runs) };
    loop {
        let intervals = all(coarser);
        let is_least = coarser.histograms == Histograms::Rough && coarser.joined >= most;
        if is_least || intervals.iter().flatten().map(interval_size).sum::<usize>() <= room {
            return (coarser, intervals);
        }
        match coarser.histograms {
            Histograms::Whole => coarser.histograms = Histograms::Digits(2),
            Histograms::Digits(2) => coarser.histograms = Histograms::Digits(1),
            Histograms::Digits(_) => coarser.histograms = Histograms::Rough,
            Histograms::Rough => coarser.joined *= 2,
        }
    }
}

/// About how many compressed bytes a run takes without its intervals.
fn run_size(run: &Run) -> usize {
    let sites = run.known_sites().iter().map(|site| 20 + dist_size(&site.polls));
    let polls = run.slow_polls.iter().map(|poll| size(poll) / 8);
    500 + run.dists().map(dist_size).chain(sites).chain(polls).sum::<usize>()
}

/// About how many compressed bytes an interval takes.
fn interval_size(interval: &Interval) -> usize {
    let dists = [interval.polls.as_ref(), interval.lag.as_ref()];
    25 + dists.into_iter().flatten().map(dist_size).sum::<usize>()
}

/// About how many compressed bytes a distribution takes.
fn dist_size(dist: &Dist) -> usize {
    15 + dist.buckets().count() * 2 / 3
}

impl Histograms {
    /// An interval with such histograms.
    fn of(self, mut interval: Interval) -> Interval {
        for dist in [&mut interval.polls, &mut interval.lag] {
            *dist = dist.take().map(|dist| match self {
                Histograms::Digits(most) if most < dist.digits() => dist.with_digits(most),
                Histograms::Rough => dist.rough(),
                Histograms::Whole | Histograms::Digits(_) => dist,
            });
        }
        interval
    }
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
        fine: run.fine.clone(),
        profile: None,
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
