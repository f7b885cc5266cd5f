//! What is compared, and from which change on it matters.

use super::slice::Slice;
use crate::recording::{BusyBy, Completeness, Dist, Run, Subject};
use crate::units::{format_bytes, format_count, format_ns, format_percent};

/// Something that two sides are compared in.
#[derive(Debug, PartialEq)]
pub struct Metric {
    /// In the JSON, as gates call it.
    pub key: &'static str,
    /// In reports.
    pub name: &'static str,
    /// What its values are counted in.
    pub unit: Unit,
    /// Whether more is better.
    pub more_is_better: bool,
    /// Whether it is what a fix costs rather than what it is for.
    pub is_price: bool,
    /// A smaller change does not matter, whatever its significance: a factor above 1.
    pub least_ratio: f64,
    /// Nor does one by less than this, in the metric's unit.
    pub least: f64,
    pub(super) of: Of,
    pub(super) load: Load,
}

/// What more load does to a metric, whatever the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// It makes it worse: tasks wait for each other.
    Worsens,
    /// It comes with the polls: twice the polls are twice as much.
    Adds,
}

/// What a metric's values are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// Events in a round.
    Count,
    /// Bytes a second.
    BytesPerSecond,
    /// A fraction, 0 to 1.
    Fraction,
}

impl Unit {
    /// The end of the key in the JSON.
    pub fn suffix(self) -> &'static str {
        match self {
            Unit::Ns => "ns",
            Unit::Count => "count",
            Unit::BytesPerSecond => "bytes_per_s",
            Unit::Fraction => "fraction",
        }
    }

    /// A value for people.
    ///
    /// ```
    /// use pollscope_record::compare::Unit;
    /// assert_eq!(Unit::Ns.show(161e6), "161 ms");
    /// assert_eq!(Unit::Count.show(5.5), "5.5");
    /// assert_eq!(Unit::Count.show(11_908.3), "11,908");
    /// ```
    pub fn show(self, value: f64) -> String {
        match self {
            Unit::Ns => format_ns(value.round() as u64),
            Unit::Count if value.fract() == 0.0 || value >= 100.0 => format_count(value.round() as u64),
            Unit::Count => format!("{value:.1}"),
            Unit::BytesPerSecond => format!("{}/s", format_bytes(value.round() as u64)),
            Unit::Fraction => format_percent(value),
        }
    }
}

/// Where a metric is in a run.
#[derive(Debug, PartialEq)]
pub(super) enum Of {
    /// A quantile of a distribution; of 1, its exact maximum.
    Quantile(DistOf, f64),
    Slow,
    Throughput,
    Busy,
    Elapsed,
    Cpu,
    ContextSwitches,
    /// The geometric mean of each second's longest poll: only of a service's slices.
    Longest,
    /// Slow polls by time: likewise.
    SlowRate,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum DistOf {
    Polls,
    ScheduleLatency,
    Lag,
    ResponseTime,
    WriteLatency,
}

impl DistOf {
    /// Of a slice only what intervals know.
    pub(super) fn of_slice(self, slice: &Slice) -> Option<&Dist> {
        match self {
            DistOf::Polls => Some(&slice.polls),
            DistOf::Lag => slice.lag.as_ref(),
            DistOf::ScheduleLatency | DistOf::ResponseTime | DistOf::WriteLatency => None,
        }
    }

    pub(super) fn of(self, run: &Run) -> Option<&Dist> {
        match self {
            DistOf::Polls => run.polls.as_ref(),
            DistOf::ScheduleLatency => run.schedule_latency.as_ref(),
            DistOf::Lag => run.lag.as_ref(),
            DistOf::ResponseTime => run.response_time.as_ref(),
            DistOf::WriteLatency => run.write_latency.as_ref(),
        }
    }
}

/// Tails vary more from run to run than middles, and a maximum is a single event.
const MIDDLE: f64 = 1.1;
const TAIL: f64 = 1.25;
const SINGLE_EVENT: f64 = 1.5;
/// Tokio's timer counts in milliseconds: half of one is nothing that a lag can show.
const TIMER_NS: f64 = 500_000.0;

const fn time(key: &'static str, name: &'static str, of: DistOf, quantile: f64) -> Metric {
    let least_ratio = if quantile == 1.0 {
        SINGLE_EVENT
    } else if quantile > 0.5 {
        TAIL
    } else {
        MIDDLE
    };
    let (of, load) = (Of::Quantile(of, quantile), Load::Worsens);
    Metric { key, name, unit: Unit::Ns, more_is_better: false, is_price: false, least_ratio, least: 0.0, of, load }
}

const fn lag(key: &'static str, name: &'static str, quantile: f64) -> Metric {
    Metric { least: TIMER_NS, ..time(key, name, DistOf::Lag, quantile) }
}

const fn price(metric: Metric) -> Metric {
    Metric { is_price: true, ..metric }
}

const fn total(key: &'static str, name: &'static str, unit: Unit, of: Of) -> Metric {
    let more_is_better = matches!(unit, Unit::BytesPerSecond);
    let load = Load::Adds;
    Metric { key, name, unit, more_is_better, is_price: true, least_ratio: MIDDLE, least: 0.0, of, load }
}

/// Everything that is compared: what the loop's users feel, what blocks them, then what it costs.
pub static METRICS: [Metric; 14] = [
    time("response_time.p99", "response p99", DistOf::ResponseTime, 0.99),
    lag("lag.p99", "loop lag p99", 0.99),
    lag("lag.max", "loop lag max a round", 1.0),
    time("schedule_latency.p99", "schedule latency p99", DistOf::ScheduleLatency, 0.99),
    time("polls.p99", "poll time p99", DistOf::Polls, 0.99),
    time("polls.max", "poll time max a round", DistOf::Polls, 1.0),
    Metric { is_price: false, least: 1.0, ..total("slow_polls", "slow polls a round", Unit::Count, Of::Slow) },
    price(time("write_latency.p50", "write latency p50", DistOf::WriteLatency, 0.5)),
    price(time("write_latency.p99", "write latency p99", DistOf::WriteLatency, 0.99)),
    total("throughput", "throughput", Unit::BytesPerSecond, Of::Throughput),
    total("busy", "loop busy", Unit::Fraction, Of::Busy),
    total("elapsed", "elapsed", Unit::Ns, Of::Elapsed),
    total("cpu", "CPU time", Unit::Ns, Of::Cpu),
    total("context_switches", "context switches", Unit::Count, Of::ContextSwitches),
];

/// What a slow poll more or less a minute is: a hiccup.
const A_MINUTE: f64 = 1.0;

/// What is compared of services, whose recordings are of any length: what does not grow with it. In the same order.
pub static SERVICE_METRICS: [Metric; 6] = [
    lag("lag.p99", "loop lag p99", 0.99),
    time("schedule_latency.p99", "schedule latency p99", DistOf::ScheduleLatency, 0.99),
    time("polls.p99", "poll time p99", DistOf::Polls, 0.99),
    Metric { of: Of::Longest, ..time("polls.max_of_interval", "longest poll in 1 s", DistOf::Polls, 1.0) },
    Metric {
        is_price: false,
        least_ratio: SINGLE_EVENT,
        least: A_MINUTE,
        ..total("slow_polls_per_min", "slow polls a minute", Unit::Count, Of::SlowRate)
    },
    total("busy", "loop busy", Unit::Fraction, Of::Busy),
];

impl Metric {
    /// Its value in a run; `None` where it was not measured, or, but for counts, is 0.
    pub fn value(&self, run: &Run) -> Option<f64> {
        let value = match self.of {
            Of::Slow => return (run.slow_polls_are == Completeness::All).then_some(run.slow_polls_total as f64),
            Of::Quantile(dist, 1.0) => dist.of(run)?.max_ns? as f64,
            Of::Quantile(dist, quantile) => dist.of(run)?.shown_quantile_ns(quantile)? as f64,
            Of::Throughput => run.throughput_bytes_per_s? as f64,
            Of::Busy => {
                let (busy_ns, available_ns) = busy(run)?;
                busy_ns / available_ns
            }
            // How long a service is looked at is not its doing.
            Of::Elapsed => matches!(run.subject, Subject::Scenario(_)).then_some(run.elapsed_ns as f64)?,
            Of::Cpu => run.cpu_ns()? as f64,
            Of::ContextSwitches => run.context_switches()? as f64,
            Of::Longest | Of::SlowRate => return None,
        };
        (value > 0.0 && value.is_finite()).then_some(value)
    }
}

/// How long workers were in polls, in nanoseconds, by the sum of all polls or by looks; and how long they could have been. What clocks
/// say is something else: a poll that blocks is on no CPU.
pub(super) fn busy(run: &Run) -> Option<(f64, f64)> {
    let available_ns = run.available_ns()?;
    let by_looks = || {
        let share = run.busy_share.filter(|share| share.how != BusyBy::Cpu)?;
        Some(share.value * available_ns)
    };
    let busy_ns = run.loop_busy_ns.map(|ns| ns as f64).or_else(by_looks)?;
    Some((busy_ns, available_ns))
}
