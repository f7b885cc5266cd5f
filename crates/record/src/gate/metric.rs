//! What a gate can speak of, and the names of it all.

use std::ops::Range;

use crate::recording::{Dist, Merge, Run, Verdict};

/// A quantity in one group, or in every group.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Metric {
    pub(super) group: Option<Group>,
    pub(super) quantity: Quantity,
    /// Where the gate names the quantity.
    pub(super) span: Range<usize>,
}

/// The group that a gate names, and where it does.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) span: Range<usize>,
}

/// Something that a run measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Quantity {
    Dist(DistName, Stat),
    Count(CountName),
    Verdict,
    Busy,
    Throughput,
}

/// What a quantity is counted in, and so what it can be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Duration,
    Count,
    Bytes,
    BytesPerSecond,
    Fraction,
    Verdict,
}

impl Unit {
    pub(super) fn describe(self) -> &'static str {
        match self {
            Unit::Duration => "a duration, such as `10ms`",
            Unit::Count => "a number, such as `3`",
            Unit::Bytes => "a size, such as `64KiB`",
            Unit::BytesPerSecond => "bytes a second, such as `1MB/s`",
            Unit::Fraction => "a percentage, such as `50%`",
            Unit::Verdict => "a verdict: `ok`, `failed` or `unverifiable`",
        }
    }
}

impl Quantity {
    pub(super) fn unit(self) -> Unit {
        match self {
            Quantity::Dist(_, Stat::Count) => Unit::Count,
            Quantity::Dist(..) => Unit::Duration,
            Quantity::Count(CountName::MergeBytes) => Unit::Bytes,
            Quantity::Count(_) => Unit::Count,
            Quantity::Verdict => Unit::Verdict,
            Quantity::Busy => Unit::Fraction,
            Quantity::Throughput => Unit::BytesPerSecond,
        }
    }
}

/// A distribution of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DistName {
    Polls,
    ScheduleLatency,
    Lag,
    LagRaw,
    ResponseTime,
    WriteLatency,
    BusyStretches,
}

impl DistName {
    pub(super) fn of(self, run: &Run) -> Option<&Dist> {
        match self {
            DistName::Polls => run.polls.as_ref(),
            DistName::ScheduleLatency => run.schedule_latency.as_ref(),
            DistName::Lag => run.lag.as_ref(),
            DistName::LagRaw => run.lag_raw.as_ref(),
            DistName::ResponseTime => run.response_time.as_ref(),
            DistName::WriteLatency => run.write_latency.as_ref(),
            DistName::BusyStretches => run.busy_stretches.as_ref(),
        }
    }
}

pub(super) const DISTS: [(&str, DistName); 7] = [
    ("polls", DistName::Polls),
    ("schedule_latency", DistName::ScheduleLatency),
    ("lag", DistName::Lag),
    ("lag_raw", DistName::LagRaw),
    ("response_time", DistName::ResponseTime),
    ("write_latency", DistName::WriteLatency),
    ("busy_stretches", DistName::BusyStretches),
];

/// One number of a distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stat {
    Count,
    Min,
    Quantile(f64),
    Max,
    Mean,
}

pub(super) const STATS: [(&str, Stat); 8] = [
    ("count", Stat::Count),
    ("min", Stat::Min),
    ("p50", Stat::Quantile(0.5)),
    ("p90", Stat::Quantile(0.9)),
    ("p99", Stat::Quantile(0.99)),
    ("p999", Stat::Quantile(0.999)),
    ("max", Stat::Max),
    ("mean", Stat::Mean),
];

/// An exact counter of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CountName {
    SlowPolls,
    SlowPollsDropped,
    MergeInputs,
    MergeLines,
    MergeBytes,
    MergeLost,
    MergeDuplicated,
    MergeReordered,
    MergeTorn,
    MergeForeign,
}

impl CountName {
    pub(super) fn of(self, run: &Run) -> Option<u64> {
        let merge = |count: fn(&Merge) -> u64| run.merge.as_ref().map(count);
        match self {
            CountName::SlowPolls => Some(run.slow_polls_total),
            CountName::SlowPollsDropped => Some(run.slow_polls_dropped),
            CountName::MergeInputs => merge(|merge| merge.inputs),
            CountName::MergeLines => merge(|merge| merge.lines),
            CountName::MergeBytes => merge(|merge| merge.bytes),
            CountName::MergeLost => merge(|merge| merge.lost),
            CountName::MergeDuplicated => merge(|merge| merge.duplicated),
            CountName::MergeReordered => merge(|merge| merge.reordered),
            CountName::MergeTorn => merge(|merge| merge.torn),
            CountName::MergeForeign => merge(|merge| merge.foreign),
        }
    }
}

/// Everything that has no statistics.
pub(super) const SINGLES: [(&str, Quantity); 13] = [
    ("slow_polls", Quantity::Count(CountName::SlowPolls)),
    ("slow_polls_dropped", Quantity::Count(CountName::SlowPollsDropped)),
    ("merge.verdict", Quantity::Verdict),
    ("merge.inputs", Quantity::Count(CountName::MergeInputs)),
    ("merge.lines", Quantity::Count(CountName::MergeLines)),
    ("merge.bytes", Quantity::Count(CountName::MergeBytes)),
    ("merge.lost", Quantity::Count(CountName::MergeLost)),
    ("merge.duplicated", Quantity::Count(CountName::MergeDuplicated)),
    ("merge.reordered", Quantity::Count(CountName::MergeReordered)),
    ("merge.torn", Quantity::Count(CountName::MergeTorn)),
    ("merge.foreign", Quantity::Count(CountName::MergeForeign)),
    ("busy", Quantity::Busy),
    ("throughput", Quantity::Throughput),
];

pub(super) const VERDICTS: [(&str, Verdict); 3] =
    [("ok", Verdict::Ok), ("failed", Verdict::Failed), ("unverifiable", Verdict::Unverifiable)];

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

pub(super) const OPS: [(&str, Op); 6] = [
    ("<=", Op::LessOrEqual),
    (">=", Op::GreaterOrEqual),
    ("==", Op::Equal),
    ("!=", Op::NotEqual),
    ("<", Op::Less),
    (">", Op::Greater),
];

impl Op {
    pub(super) fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Op::Less => left < right,
            Op::LessOrEqual => left <= right,
            Op::Greater => left > right,
            Op::GreaterOrEqual => left >= right,
            Op::Equal => left == right,
            Op::NotEqual => left != right,
        }
    }
}

/// What the left side is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Right {
    /// In the unit of the left side: nanoseconds, bytes, a fraction.
    Number(f64),
    Verdict(Verdict),
    /// A factor and another metric of the same unit.
    Times(f64, Metric),
}
