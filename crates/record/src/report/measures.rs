//! The durations that reports show of each mode, and the percentiles that they give of them.

use crate::by_group::ByGroup;
use crate::recording::Dist;
use crate::units::{format_bytes, format_count, format_ns, format_ratio};

/// Its name, and a mode's distribution of it; `None` where it was not measured.
pub(super) type Measure = (&'static str, fn(&ByGroup<'_>) -> Option<Dist>);

/// The loop lag as the timer saw it stands below the corrected one.
pub(super) const RAW_LAG: &str = "raw";

pub(super) const MEASURES: [Measure; 7] = [
    ("poll time", |mode| mode.polls.clone()),
    ("schedule latency", |mode| mode.schedule_latency.clone()),
    ("loop lag", |mode| mode.lag.clone()),
    (RAW_LAG, |mode| mode.lag_raw.clone()),
    ("response time", |mode| mode.response_time.clone()),
    ("write latency", |mode| mode.write_latency.clone()),
    ("pool wait", |mode| mode.pool_wait.clone()),
];

/// A single value of a mode.
pub(super) struct Figure {
    pub(super) name: &'static str,
    /// `None` where it is not known.
    pub(super) of: fn(&ByGroup<'_>) -> Option<f64>,
    pub(super) show: fn(f64) -> String,
    pub(super) best: Best,
}

/// Which of several values is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Best {
    Least,
    Most,
    /// More is neither better nor worse.
    None,
}

/// How many times worse each value is than the best of them: `best`, `1.94x`; empty where that is not known, and all of them
/// where the best is 0 or there is no other.
pub(super) fn factors(values: &[Option<f64>], best: Best) -> Vec<String> {
    let known = || values.iter().flatten().copied();
    let of_all = match best {
        Best::Least => known().reduce(f64::min),
        Best::Most => known().reduce(f64::max),
        Best::None => None,
    };
    let Some(of_all) = of_all.filter(|best| *best > 0.0 && known().count() > 1) else {
        return vec![String::new(); values.len()];
    };
    let factor = |value: f64| match best {
        _ if value == of_all => BEST.to_owned(),
        Best::Most if value <= 0.0 => String::new(),
        Best::Most => format_ratio(of_all / value),
        _ => format_ratio(value / of_all),
    };
    values.iter().map(|value| value.map_or(String::new(), factor)).collect()
}

/// What is said of the best instead of a factor.
pub(super) const BEST: &str = "best";
/// Above a column of factors.
pub(super) const VS_BEST: &str = "vs best";
/// Below such a column.
pub(super) const VS_BEST_IS: &str = "vs best: how many times the best mode's p99";

/// What a mode costs, besides latencies.
pub(super) const PRICE: [Figure; 6] = [
    Figure {
        name: "throughput",
        of: |mode| Some(mode.throughput_bytes_per_s()? as f64),
        show: |bytes| format!("{}/s", format_bytes(bytes as u64)),
        best: Best::Most,
    },
    Figure { name: "elapsed", of: |mode| Some(mode.elapsed_ns() as f64), show: nanos, best: Best::Least },
    Figure { name: "CPU time", of: |mode| Some(mode.cpu_ns()? as f64), show: nanos, best: Best::Least },
    Figure {
        name: "  in kernel, about",
        of: |mode| Some(mode.cpu_system_ns()? as f64),
        show: nanos,
        best: Best::Least,
    },
    Figure {
        name: "context switches",
        of: |mode| Some(mode.context_switches()? as f64),
        show: whole,
        best: Best::Least,
    },
    Figure {
        name: "  involuntary",
        of: |mode| Some(mode.involuntary_switches()? as f64),
        show: whole,
        best: Best::Least,
    },
];

pub(super) fn nanos(ns: f64) -> String {
    format_ns(ns as u64)
}

pub(super) fn whole(count: f64) -> String {
    format_count(count as u64)
}

/// A percentile, which needs enough values above it to be one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Percentile {
    pub(super) label: &'static str,
    quantile: f64,
    /// One value in so many lies above it.
    one_in: u64,
}

pub(super) const P50: Percentile = Percentile { label: "p50", quantile: 0.5, one_in: 2 };
pub(super) const P90: Percentile = Percentile { label: "p90", quantile: 0.9, one_in: 10 };
pub(super) const P99: Percentile = Percentile { label: "p99", quantile: 0.99, one_in: 100 };
pub(super) const P999: Percentile = Percentile { label: "p99.9", quantile: 0.999, one_in: 1_000 };
pub(super) const P9999: Percentile = Percentile { label: "p99.99", quantile: 0.999_9, one_in: 10_000 };

impl Percentile {
    /// `None` where there are too few values: it would be the maximum under another name.
    pub(super) fn of(self, dist: &Dist) -> Option<u64> {
        dist.shown_quantile_ns(self.quantile).filter(|_| dist.count() >= self.one_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_is_how_many_times_worse_than_the_best() {
        let values = [Some(4.0), None, Some(1.0), Some(2.0)];
        assert_eq!(factors(&values, Best::Least), ["4.00x", "", "best", "2.00x"]);
        assert_eq!(factors(&values, Best::Most), ["best", "", "4.00x", "2.00x"]);
        for (values, best) in
            [([Some(4.0), Some(0.0)], Best::Least), ([Some(4.0), None], Best::Most), ([Some(1.0); 2], Best::None)]
        {
            assert_eq!(factors(&values, best), ["", ""]);
        }
        assert_eq!(factors(&[Some(4.0), Some(0.0)], Best::Most), ["best", ""]);
    }

    #[test]
    fn a_percentile_needs_as_many_values_as_it_speaks_of() {
        for percentile in [P50, P90, P99, P999, P9999] {
            assert!((percentile.quantile - (1.0 - 1.0 / percentile.one_in as f64)).abs() < 1e-12, "{percentile:?}");
            let mut dist = Dist::empty(5);
            (1..percentile.one_in).for_each(|ns| dist.record(ns));
            assert_eq!(percentile.of(&dist), None, "{percentile:?}");
            dist.record(percentile.one_in);
            assert_eq!(percentile.of(&dist), Some(percentile.one_in - 1), "{percentile:?}");
        }
        assert_eq!(P50.of(&Dist::empty(3)), None);
    }
}
