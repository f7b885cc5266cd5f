//! A service's own time, cut into slices: what stands for rounds where a side has a recording or two.
//!
//! The beginning of a recording is not typical, and neither is what was recorded without load. So a stretch is compared that begins
//! with the load, without its first tenth, and ends with it.

use std::time::Duration;

use super::Side;
use crate::recording::{Dist, Interval, Run, Subject};

/// Of a stretch, so much is its warm-up: caches fill, connections are made.
const WARM_UP: u64 = 10;
/// The shortest warm-up, and the longest, in nanoseconds.
const WARM_UP_NS: [u64; 2] = [2_000_000_000, 30_000_000_000];
/// An interval with fewer polls a second than the middle one's by this factor is one without load.
const IDLE: f64 = 0.1;
/// Slices of a side; a longer recording has longer ones.
const MOST_SLICES: usize = 600;

/// A short time of a service, as long as an interval or a few.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    pub(super) elapsed_ns: u64,
    /// The time of all workers; that of one where their number is not known.
    pub(super) available_ns: u64,
    pub(super) polls: Dist,
    pub(super) busy_ns: u64,
    /// `None` where slow polls are not known by interval.
    pub(super) slow: Option<u64>,
    pub(super) lag: Option<Dist>,
    /// The logarithms of the longest polls of its intervals, in nanoseconds, added up.
    pub(super) longest_ln: f64,
    /// How many intervals that had a poll.
    pub(super) intervals: u64,
}

impl Slice {
    fn of(interval: &Interval, end_ns: u64, workers: u64) -> Option<Slice> {
        let polls = interval.polls.clone()?;
        let elapsed_ns = end_ns.checked_sub(interval.start_ns).filter(|elapsed| *elapsed > 0)?;
        Some(Slice {
            elapsed_ns,
            available_ns: elapsed_ns.saturating_mul(workers),
            busy_ns: interval.busy_ns?,
            slow: interval.slow,
            lag: interval.lag.clone(),
            longest_ln: polls.max_ns.map_or(0.0, |ns| (ns.max(1) as f64).ln()),
            intervals: u64::from(polls.max_ns.is_some()),
            polls,
        })
    }

    /// Makes one of this slice and the one after it.
    fn join(&mut self, next: &Slice) {
        for (sum, more) in [
            (&mut self.elapsed_ns, next.elapsed_ns),
            (&mut self.available_ns, next.available_ns),
            (&mut self.busy_ns, next.busy_ns),
            (&mut self.intervals, next.intervals),
        ] {
            *sum = sum.saturating_add(more);
        }
        self.longest_ln += next.longest_ln;
        self.polls.add(&next.polls);
        self.slow = self.slow.zip(next.slow).map(|(a, b)| a.saturating_add(b));
        match (&mut self.lag, &next.lag) {
            (Some(lag), Some(more)) => lag.add(more),
            (lag, _) => *lag = None,
        }
    }

    fn polls_per_s(&self) -> f64 {
        self.polls.count() as f64 / self.elapsed_ns as f64 * 1e9
    }
}

/// What is compared of a side.
#[derive(Debug)]
pub(super) struct Stretch {
    /// In the order of time; of several recordings, one after the other.
    pub(super) slices: Vec<Slice>,
    /// How long all of it was.
    pub(super) recorded_ns: u64,
}

impl Stretch {
    /// `None` where a run is no service's, or has no intervals of which the polls are known.
    fn of(side: &Side) -> Option<Stretch> {
        let mut stretch = Stretch { slices: Vec::new(), recorded_ns: 0 };
        for run in &side.runs {
            stretch.slices.extend(under_load(slices(run)?));
            stretch.recorded_ns = stretch.recorded_ns.saturating_add(run.elapsed_ns);
        }
        (!side.runs.is_empty()).then_some(stretch)
    }

    /// Of both sides, in slices of as many intervals.
    pub(super) fn of_both(a: &Side, b: &Side) -> Option<[Stretch; 2]> {
        let mut both = [Stretch::of(a)?, Stretch::of(b)?];
        let most = both.iter().map(|stretch| stretch.slices.len()).max().unwrap_or(0);
        let each = most.div_ceil(MOST_SLICES).max(1);
        both.iter_mut().for_each(|stretch| stretch.slices = joined(&stretch.slices, each));
        Some(both)
    }

    /// One slice a recording; `None` where one had no load, or knows nothing.
    pub(super) fn of_recordings(side: &Side) -> Option<Stretch> {
        let each = |run: &&Run| {
            let slices = under_load(slices(run)?);
            joined(&slices, slices.len().max(1)).pop()
        };
        let recorded_ns = side.runs.iter().map(|run| run.elapsed_ns).fold(0, u64::saturating_add);
        Some(Stretch { slices: side.runs.iter().map(each).collect::<Option<_>>()?, recorded_ns })
    }

    pub(super) fn compared_ns(&self) -> u64 {
        self.slices.iter().map(|slice| slice.elapsed_ns).fold(0, u64::saturating_add)
    }
}

/// Whether none of them began before another had ended, as far as is known: starts of a service, and not processes side by side.
pub(super) fn are_one_after_the_other(runs: &[&Run]) -> bool {
    let mut times: Vec<_> = runs
        .iter()
        .filter_map(|run| {
            let start = run.started()?;
            Some((start, start.saturating_add(Duration::from_nanos(run.elapsed_ns))))
        })
        .collect();
    times.sort_unstable();
    times.windows(2).all(|pair| pair[0].1 <= pair[1].0)
}

/// Whether it is a service's run of which polls are known by interval.
pub(super) fn is_known_by_time(run: &Run) -> bool {
    matches!(run.subject, Subject::Service(_)) && run.intervals.iter().any(|interval| interval.polls.is_some())
}

/// The intervals of a service's run; `None` where their polls are not known.
fn slices(run: &Run) -> Option<Vec<Slice>> {
    let Subject::Service(_) = run.subject else { return None };
    let workers = run.subject.workers().unwrap_or(1).max(1);
    let ends = run.intervals.iter().skip(1).map(|next| next.start_ns).chain([run.elapsed_ns]);
    let slices: Vec<Slice> =
        run.intervals.iter().zip(ends).filter_map(|(interval, end_ns)| Slice::of(interval, end_ns, workers)).collect();
    (!slices.is_empty() && slices.iter().any(|slice| slice.intervals > 0)).then_some(slices)
}

/// What is left when the ends without load, and the warm-up, are left out.
fn under_load(mut slices: Vec<Slice>) -> Vec<Slice> {
    let middle = |of: fn(&Slice) -> f64| {
        let mut all: Vec<f64> = slices.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(0.0)
    };
    let (load, length) = (IDLE * middle(Slice::polls_per_s), 0.5 * middle(|slice| slice.elapsed_ns as f64));
    // A service ends in the middle of an interval.
    let is_loaded = |slice: &Slice| slice.polls_per_s() >= load && slice.elapsed_ns as f64 >= length;
    let end = slices.iter().rposition(is_loaded).map_or(0, |last| last + 1);
    slices.truncate(end);
    let start = slices.iter().position(is_loaded).unwrap_or(0);
    slices.drain(..start);
    let all_ns: u64 = slices.iter().map(|slice| slice.elapsed_ns).sum();
    let [least, most] = WARM_UP_NS;
    let warm_up_ns = (all_ns / WARM_UP).clamp(least, most);
    let mut passed_ns = 0;
    let is_cold = |slice: &&Slice| {
        let is_cold = passed_ns < warm_up_ns;
        passed_ns += slice.elapsed_ns;
        is_cold
    };
    let cold = slices.iter().take_while(is_cold).count();
    slices.drain(..cold);
    slices
}

/// Slices of so many intervals each; what is left over at the end is part of the last.
fn joined(slices: &[Slice], each: usize) -> Vec<Slice> {
    let whole = (slices.len() / each).max(1);
    let mut joined: Vec<Slice> = Vec::with_capacity(whole);
    for (index, slice) in slices.iter().enumerate() {
        match joined.last_mut().filter(|_| index % each > 0 || index / each >= whole) {
            Some(last) => last.join(slice),
            None => joined.push(slice.clone()),
        }
    }
    joined
}
