//! When polls were: from their start to their end, which may be many intervals before the one in which they ended.
//!
//! An interval knows the longest poll that ended in it. Where that is a slow poll that is listed, it is drawn where it was, and
//! the interval has the longest of its other polls.

use crate::recording::{Interval, Run, SlowPoll};

/// From when to when a poll, or the longest of several, was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
    pub(super) ns: u64,
}

impl Span {
    pub(super) fn of(poll: &SlowPoll) -> Span {
        Span { from_ns: poll.start_ns, to_ns: end(poll), ns: poll.duration_ns }
    }
}

fn end(poll: &SlowPoll) -> u64 {
    poll.start_ns.saturating_add(poll.duration_ns)
}

/// Of each interval the longest poll that ended in it and is not among the listed slow ones; `None` where there was none.
pub(super) fn others(run: &Run) -> Vec<Option<u64>> {
    let listed = listed(run);
    let near = |at: usize| &listed[at.saturating_sub(1)..(at + 2).min(listed.len())];
    let other = |(at, interval): (usize, &Interval)| {
        let longest = interval.worst_poll()?;
        // Both are of one poll, to within a bucket of a histogram. Its interval may be read a moment before or after its end.
        let is_listed = |listed: &u64| *listed > 0 && listed.abs_diff(longest) <= longest / 50;
        if longest < run.slow_poll_threshold_ns || !near(at).iter().any(is_listed) {
            return Some(longest);
        }
        let buckets = interval.polls.as_ref()?.buckets();
        buckets.filter(|bucket| bucket.high_ns < run.slow_poll_threshold_ns).last().map(|bucket| bucket.high_ns)
    };
    run.intervals.iter().enumerate().map(other).collect()
}

/// By interval, the longest listed slow poll that ended in it; 0 where none did.
fn listed(run: &Run) -> Vec<u64> {
    let mut longest = vec![0; run.intervals.len()];
    for poll in &run.slow_polls {
        let after = run.intervals.partition_point(|interval| interval.start_ns <= end(poll));
        if let Some(found) = longest.get_mut(after.saturating_sub(1)) {
            *found = poll.duration_ns.max(*found);
        }
    }
    longest
}

/// The same as spans, at most `most`: several intervals in a row are one where they are more. A poll that is longer than its
/// interval began before it.
pub(super) fn other_spans(run: &Run, most: usize) -> Vec<Span> {
    let others = others(run);
    moments(run, most, &others)
        .map(|(from, to, ns)| Span { from_ns: from.min(to.saturating_sub(ns)), to_ns: to, ns })
        .collect()
}

/// The worst lags, by when the timer fired.
pub(super) fn lag_spans(run: &Run, most: usize) -> Vec<Span> {
    let lags: Vec<Option<u64>> = run.intervals.iter().map(Interval::worst_lag).collect();
    moments(run, most, &lags).map(|(from_ns, to_ns, ns)| Span { from_ns, to_ns, ns }).collect()
}

/// From when to when, and the greatest between; several intervals together where they are many.
fn moments(run: &Run, most: usize, values: &[Option<u64>]) -> impl Iterator<Item = (u64, u64, u64)> {
    let size = run.intervals.len().div_ceil(most).max(1);
    let starts: Vec<u64> = run.intervals.chunks(size).map(|chunk| chunk[0].start_ns).collect();
    let ends: Vec<u64> = starts.iter().skip(1).copied().chain([run.elapsed_ns]).collect();
    let worst: Vec<Option<u64>> = values.chunks(size).map(|chunk| chunk.iter().flatten().max().copied()).collect();
    starts.into_iter().zip(ends).zip(worst).filter_map(|((from, to), worst)| Some((from, to.max(from), worst?)))
}

impl Interval {
    pub(super) fn worst_poll(&self) -> Option<u64> {
        self.polls.as_ref()?.max_ns
    }

    pub(super) fn worst_lag(&self) -> Option<u64> {
        self.lag.as_ref()?.max_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, MS};

    const S: u64 = 1_000 * MS;

    /// Four intervals of a second; in the third a poll of 2 s ended at 3 s, and one of 5 ms.
    fn run() -> Run {
        let mut run = fixture::run("naive");
        let interval = |start: u64, dists: &[(u64, u64, u64)]| Interval {
            start_ns: start,
            polls: Some(fixture::dist(3, dists)),
            lag: None,
            busy_ns: None,
            pool: None,
            slow: None,
            longest_stretch_ns: None,
            queued: None,
        };
        let short = (3, MS, MS);
        run.intervals =
            vec![interval(0, &[short]), interval(S, &[]), interval(2 * S, &[(1, 5 * MS, 5 * MS), (1, 2 * S, 2 * S)])];
        run.intervals.push(interval(3 * S, &[short]));
        run.elapsed_ns = 4 * S;
        run.slow_poll_threshold_ns = 100 * MS;
        run.slow_polls = vec![SlowPoll { id: 1, start_ns: S, duration_ns: 2 * S, ..SlowPoll::default() }];
        run
    }

    fn rounded(ns: u64) -> u64 {
        (ns + MS / 2) / MS
    }

    #[test]
    fn an_interval_has_the_longest_of_its_other_polls() {
        let run = run();
        let ms = |values: Vec<Option<u64>>| values.into_iter().map(|value| value.map(rounded)).collect::<Vec<_>>();
        assert_eq!(ms(others(&run)), [Some(1), None, Some(5), Some(1)]);
        assert_eq!(Span::of(&run.slow_polls[0]), Span { from_ns: S, to_ns: 3 * S, ns: 2 * S });
    }

    #[test]
    fn a_slow_poll_that_is_not_listed_was_before_the_end_of_its_interval() {
        let mut run = run();
        run.slow_polls.clear();
        let spans = other_spans(&run, 110);
        let longest = spans.iter().max_by_key(|span| span.ns).expect("a span");
        assert_eq!((rounded(longest.from_ns), rounded(longest.to_ns)), (1_000, 3_000));
        assert_eq!(other_spans(&run, 2).len(), 2);
    }
}
