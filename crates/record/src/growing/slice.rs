//! An interval as a line of a recording that grows has it: with when it ended, and histograms that are not compressed. There are 86,400 a
//! day, and to inflate them would take most of the time of reading them.

use serde::{Deserialize, Serialize};

use crate::recording::wire::{OfInterval, bounded};
use crate::recording::{Dist, Interval, Pool, Queued};

#[derive(Serialize)]
pub(super) struct WrittenSlice<'a> {
    start_ns: u64,
    end_ns: u64,
    polls: Option<OfInterval<'a>>,
    lag: Option<OfInterval<'a>>,
    busy_ns: Option<u64>,
    longest_stretch_ns: Option<u64>,
    queued: Option<Queued>,
    pool: Option<Pool>,
    slow: Option<u64>,
}

impl<'a> WrittenSlice<'a> {
    pub(super) fn of(interval: &'a Interval, end_ns: u64) -> WrittenSlice<'a> {
        WrittenSlice {
            start_ns: interval.start_ns,
            end_ns,
            polls: interval.polls.as_ref().map(OfInterval),
            lag: interval.lag.as_ref().map(OfInterval),
            busy_ns: interval.busy_ns,
            longest_stretch_ns: interval.longest_stretch_ns,
            queued: interval.queued,
            pool: interval.pool,
            slow: interval.slow,
        }
    }
}

/// The same as it is read.
#[derive(Deserialize)]
pub(super) struct ReadSlice {
    start_ns: u64,
    pub(super) end_ns: u64,
    #[serde(deserialize_with = "bounded::present")]
    polls: Option<Dist>,
    lag: Option<Dist>,
    #[serde(deserialize_with = "bounded::present")]
    busy_ns: Option<u64>,
    longest_stretch_ns: Option<u64>,
    queued: Option<Queued>,
    pool: Option<Pool>,
    slow: Option<u64>,
}

impl ReadSlice {
    pub(super) fn interval(self) -> Interval {
        Interval {
            start_ns: self.start_ns,
            polls: self.polls,
            lag: self.lag,
            busy_ns: self.busy_ns,
            longest_stretch_ns: self.longest_stretch_ns,
            queued: self.queued,
            pool: self.pool,
            slow: self.slow,
        }
    }
}
