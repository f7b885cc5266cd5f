//! What is known of a service, gathered from its feed. Pure.

use std::collections::VecDeque;

use pollscope_record::feed::Update;
use pollscope_record::growing::Fed;
use pollscope_record::live::Live;

use super::places::{Places, WINDOW_NS};
use crate::recording::{Interval, Run, SlowPoll, Subject};

/// Where the feed is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Status {
    /// No line came yet, and why.
    #[default]
    Waiting,
    /// It goes on.
    Goes,
    /// It ended, and the service goes on.
    Ended,
    /// The service is gone; how it ended, where that is known.
    Gone(Option<String>),
}

/// An interval that is over.
#[derive(Debug, Clone, Copy)]
struct Slice {
    end_ns: u64,
    lasted_ns: u64,
    polls: Option<u64>,
    busy_ns: Option<u64>,
}

/// From outside, one that is looked at once has said what it does by now: names are known by then.
const ENOUGH_MOMENTS: u64 = 2;

/// What a look from outside comes to, as far as it does.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Seen {
    /// The workers of its runtimes; `None` where they are not known.
    pub(crate) workers: Option<u64>,
    /// The part of their time that polls took; `None` where it is not known.
    pub(crate) busy_share: Option<f64>,
}

/// All that is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) name: String,
    pub(crate) pid: Option<u64>,
    pub(crate) threshold_ns: u64,
    /// What is known only because it was seen, if it is looked at from outside.
    pub(crate) seen: Option<Seen>,
    pub(crate) status: Status,
    pub(crate) live: Option<Live>,
    pub(crate) places: Places,
    /// Slow polls so far: counted exactly, or those that were seen.
    pub(crate) slow: u64,
    /// Intervals of the window.
    slices: VecDeque<Slice>,
    /// Intervals so far.
    pub(crate) intervals: u64,
    /// How often it was told what is so.
    moments: u64,
    /// Why something is not known.
    pub(crate) missing: Vec<String>,
}

impl State {
    /// A line of the feed.
    pub(crate) fn take(&mut self, fed: Fed) {
        match fed {
            Fed::Head(head) => {
                let status = std::mem::take(&mut self.status);
                *self = State {
                    name: head.subject.name().unwrap_or(&head.group).to_owned(),
                    pid: head.subject.target().and_then(|target| target.pid),
                    threshold_ns: head.slow_poll_threshold_ns,
                    seen: matches!(head.subject, Subject::Process(_)).then(Seen::default),
                    missing: head.coverage.missing,
                    status,
                    ..State::default()
                };
                self.status = Status::Goes;
            }
            Fed::Update(Update::SlowPoll(poll), _) => self.slow_poll(&poll),
            Fed::Update(Update::Interval(interval), end_ns) => self.interval(&interval, end_ns),
            Fed::Update(Update::Known(known), _) => self.known(*known),
            Fed::Update(Update::Note(note), _) => self.missing.push(note),
            Fed::Update(Update::End(..), _) => self.status = Status::Ended,
            Fed::Live(live) => {
                self.live = Some(*live);
                self.moments += 1;
            }
            Fed::Beside(fed) => self.of_others(*fed),
            Fed::Update(Update::Stall(_) | Update::Fine(_), _) | Fed::Refused(_) => {}
        }
    }

    /// Of threads that the probe samples: where they block is shown, and what is counted exactly stays that.
    fn of_others(&mut self, fed: Fed) {
        match fed {
            Fed::Update(Update::SlowPoll(poll), _) => self.places.add(&poll),
            Fed::Update(Update::Note(note), _) => self.missing.push(note),
            _ => {}
        }
    }

    fn known(&mut self, known: Run) {
        self.threshold_ns = known.slow_poll_threshold_ns;
        if let Some(seen) = &mut self.seen {
            let busy_share = known.busy_share.map(|share| share.value);
            *seen = Seen { workers: known.subject.workers(), busy_share };
        }
        self.missing = known.coverage.missing;
    }

    fn slow_poll(&mut self, poll: &SlowPoll) {
        self.places.add(poll);
        // There are no intervals that count them.
        self.slow += u64::from(self.seen.is_some());
        // Its moment is past.
        if let Some(live) = &mut self.live {
            live.stalls.retain(|stall| stall.id == 0 || stall.id != poll.id);
        }
    }

    fn interval(&mut self, interval: &Interval, end_ns: Option<u64>) {
        let end_ns = end_ns.unwrap_or(interval.start_ns);
        self.slow += interval.slow.unwrap_or_default();
        self.intervals += 1;
        self.slices.push_back(Slice {
            end_ns,
            lasted_ns: end_ns.saturating_sub(interval.start_ns),
            polls: interval.polls.as_ref().map(|polls| polls.count()),
            busy_ns: interval.busy_ns,
        });
        while self.slices.front().is_some_and(|slice| slice.end_ns + WINDOW_NS < end_ns) {
            self.slices.pop_front();
        }
    }

    /// Whether as much is known as one frame is to show: before the first interval is over, there are no rates.
    pub(crate) fn is_enough(&self) -> bool {
        if self.seen.is_some() { self.moments >= ENOUGH_MOMENTS } else { self.intervals > 0 }
    }

    /// Polls a second in the last interval.
    pub(crate) fn polls_per_s(&self) -> Option<f64> {
        let last = self.slices.back().filter(|last| last.lasted_ns > 0)?;
        Some(last.polls? as f64 * 1e9 / last.lasted_ns as f64)
    }

    /// The part of all workers' time that polls took in the window, those that go on included. A poll counts when it ends: one that
    /// began before the window is at most all of it.
    pub(crate) fn busy_share(&self) -> Option<f64> {
        if let Some(seen) = self.seen {
            return seen.busy_share;
        }
        let live = self.live.as_ref()?;
        let workers = live.workers.iter().filter(|worker| worker.worker.is_some()).count() as f64;
        let lasted_ns = self.slices.iter().map(|slice| slice.lasted_ns).sum::<u64>() as f64;
        let ended_ns = self.slices.iter().map(|slice| slice.busy_ns).sum::<Option<u64>>()? as f64;
        let open_ns = live.stalls.iter().map(|stall| (stall.duration_ns as f64).min(lasted_ns)).sum::<f64>();
        (workers * lasted_ns > 0.0).then(|| ((ended_ns + open_ns) / (workers * lasted_ns)).min(1.0))
    }

    /// Polls that go on, the longest first.
    pub(crate) fn stalls(&self) -> Vec<&SlowPoll> {
        let mut stalls: Vec<&SlowPoll> = self.live.iter().flat_map(|live| &live.stalls).collect();
        stalls.sort_by_key(|stall| std::cmp::Reverse(stall.duration_ns));
        stalls
    }

    /// The feed's clock: nanoseconds since its run began.
    pub(crate) fn now_ns(&self) -> u64 {
        let last = self.slices.back().map_or(0, |slice| slice.end_ns);
        self.live.as_ref().map_or(last, |live| live.at_ns.max(last))
    }
}

#[cfg(test)]
mod tests {
    use pollscope_record::live::{State as Doing, Worker};

    use super::*;
    use crate::fixture::dist;
    use crate::top::places::{Sort, Window};

    const MS: u64 = 1_000_000;

    fn interval(start_ms: u64, polls: u64, busy_ms: u64) -> Fed {
        let polls = dist(3, &[(polls, MS, MS)]);
        let interval = Interval {
            start_ns: start_ms * MS,
            polls: Some(polls),
            lag: None,
            busy_ns: Some(busy_ms * MS),
            longest_stretch_ns: None,
            queued: None,
            pool: None,
            slow: Some(1),
        };
        Fed::Update(Update::Interval(Box::new(interval)), Some((start_ms + 1_000) * MS))
    }

    #[test]
    fn rates_are_of_the_window_and_never_more_than_can_be() {
        let mut state = State::default();
        assert_eq!((state.polls_per_s(), state.busy_share()), (None, None), "unknown");
        let worker = |worker| Worker { worker, state: Doing::Parked, ..Worker::default() };
        let live = Live { workers: vec![worker(Some(0)), worker(Some(1)), worker(None)], ..Live::default() };
        state.take(Fed::Live(Box::new(live)));
        (0..30).for_each(|second| state.take(interval(second * 1_000, 50, 500)));
        assert_eq!((state.polls_per_s(), state.busy_share(), state.slow), (Some(50.0), Some(0.25), 30));
        assert_eq!(state.now_ns(), 30_000 * MS);
        state.take(interval(30_000, 1, 90_000));
        assert_eq!(state.busy_share(), Some(1.0));
    }

    #[test]
    fn what_is_sampled_beside_has_its_places_and_is_in_no_count() {
        let mut state = State::default();
        state.take(interval(0, 50, 500));
        let poll =
            || Fed::Update(Update::SlowPoll(Box::new(SlowPoll { id: 1, duration_ns: 5, ..SlowPoll::default() })), None);
        let rows = |state: &State| {
            state.places.rows(MS, &[], Window::All, Sort::Time).iter().map(|row| row.sum.polls).sum::<u64>()
        };
        state.take(poll());
        state.take(Fed::Beside(Box::new(poll())));
        state.take(Fed::Beside(Box::new(Fed::Update(Update::Note("sampled".to_owned()), None))));
        assert_eq!((rows(&state), state.slow), (2, 1), "one is the interval's count");
        assert_eq!(state.missing, ["sampled"]);
        state.take(Fed::Beside(Box::new(Fed::Update(
            Update::End(pollscope_record::recording::Ended::Done, None),
            None,
        ))));
        assert_ne!(state.status, Status::Ended);
    }

    #[test]
    fn a_stall_that_ended_is_none_any_more() {
        let mut state = State::default();
        let stall = |id, duration_ns| SlowPoll { id, duration_ns, ..SlowPoll::default() };
        let live = Live { stalls: vec![stall(1, 5), stall(0, 7), stall(2, 9)], ..Live::default() };
        state.take(Fed::Live(Box::new(live)));
        assert_eq!(state.stalls().iter().map(|stall| stall.id).collect::<Vec<_>>(), [2, 0, 1]);
        state.take(Fed::Update(Update::SlowPoll(Box::new(stall(2, 10))), None));
        assert_eq!(state.stalls().iter().map(|stall| stall.id).collect::<Vec<_>>(), [0, 1]);
    }
}
