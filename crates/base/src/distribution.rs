//! A distribution of durations, as plain data.

use std::time::Duration;

use crate::duration::to_ns;

/// The highest value that has a bucket of its own: one hour, in nanoseconds.
pub const HIGHEST_NS: u64 = 3_600_000_000_000;

/// How many values fell between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
// Not `non_exhaustive`: the one who reads histograms makes buckets.
pub struct Bucket {
    /// The lowest value of the bucket, in nanoseconds.
    pub low_ns: u64,
    /// The highest value of the bucket, in nanoseconds.
    pub high_ns: u64,
    /// Values in it; never 0.
    pub count: u64,
}

impl Bucket {
    fn holds(&self, ns: u64) -> bool {
        (self.low_ns..=self.high_ns).contains(&ns.clamp(1, HIGHEST_NS))
    }
}

/// Durations from 1 ns to 1 h in HdrHistogram's buckets, and what the buckets cannot hold.
///
/// Its fields are the histogram's own whole numbers, in nanoseconds, as their names say; its methods take and give [`Duration`]s.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Distribution {
    /// Significant digits to which the values in one bucket agree: 3 or 2.
    pub digits: u8,
    /// The buckets that hold something, lowest first.
    pub buckets: Vec<Bucket>,
    /// The exact sum, in nanoseconds.
    pub sum_ns: u64,
    /// The exact minimum, in nanoseconds; `None` when empty. After [`Distribution::since`]: see there.
    pub min_ns: Option<u64>,
    /// The exact maximum, in nanoseconds; `None` when empty. After [`Distribution::since`]: see there.
    pub max_ns: Option<u64>,
    /// Values outside 1 ns to 1 h. They are in the first or the last bucket.
    pub clamped: u64,
}

impl Distribution {
    /// These buckets, lowest first, the exact sum of their values, and the exact least and greatest of them, if there is one.
    pub fn new(
        digits: u8,
        buckets: Vec<Bucket>,
        sum_ns: u64,
        extremes_ns: Option<(u64, u64)>,
        clamped: u64,
    ) -> Distribution {
        let (min_ns, max_ns) = extremes_ns.unzip();
        Distribution { digits, buckets, sum_ns, min_ns, max_ns, clamped }
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.count).sum()
    }

    /// All values, added up, exactly.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// The exact minimum, as [`Distribution::min_ns`] has it; `None` when empty.
    pub fn min(&self) -> Option<Duration> {
        self.min_ns.map(Duration::from_nanos)
    }

    /// The exact maximum, as [`Distribution::max_ns`] has it; `None` when empty.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pollscope_base::{Bucket, Distribution};
    /// let buckets = vec![Bucket { low_ns: 2_000, high_ns: 2_001, count: 3 }];
    /// let distribution = Distribution::new(3, buckets, 6_002, Some((2_000, 2_001)), 0);
    /// assert_eq!(distribution.max(), Some(Duration::from_nanos(2_001)));
    /// assert_eq!(distribution.mean(), Some(Duration::from_nanos(2_000)));
    /// ```
    pub fn max(&self) -> Option<Duration> {
        self.max_ns.map(Duration::from_nanos)
    }

    /// The mean, to the nanosecond below it; `None` when empty.
    pub fn mean(&self) -> Option<Duration> {
        self.sum_ns.checked_div(self.count()).map(Duration::from_nanos)
    }

    /// The highest value of the bucket in which the fraction `q` (0 to 1) of all values is reached; `None` when empty.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pollscope_base::{Bucket, Distribution};
    /// let bucket = |low_ns, high_ns, count| Bucket { low_ns, high_ns, count };
    /// let buckets = vec![bucket(1_000, 1_007, 98), bucket(2_000, 2_007, 1), bucket(4_000, 4_015, 1)];
    /// let distribution = Distribution::new(3, buckets, 104_100, Some((1_000, 4_001)), 0);
    /// assert_eq!(distribution.quantile(0.99), Some(Duration::from_nanos(2_007)));
    /// ```
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let rank = ((q.clamp(0.0, 1.0) * self.count() as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.buckets.iter().find(|bucket| {
            seen += bucket.count;
            seen >= rank
        });
        found.map(|bucket| Duration::from_nanos(bucket.high_ns))
    }

    /// How many values are at least that long, counting a bucket that holds it in full: never too few.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pollscope_base::{Bucket, Distribution};
    /// let buckets = [100, 104, 108].map(|low_ns| Bucket { low_ns, high_ns: low_ns + 3, count: 5 }).to_vec();
    /// let distribution = Distribution::new(3, buckets, 1_560, Some((100, 108)), 0);
    /// assert_eq!(distribution.count_from(Duration::from_nanos(106)), 10);
    /// ```
    pub fn count_from(&self, least: Duration) -> u64 {
        let ns = to_ns(least);
        self.buckets.iter().filter(|bucket| bucket.high_ns >= ns).map(|bucket| bucket.count).sum()
    }

    /// What came after `earlier`, an older state of the same distribution.
    ///
    /// Counts and sums are exact. The extremes are exact when they were reached in between; otherwise they are the
    /// bounds of the outermost bucket that grew.
    ///
    /// ```
    /// use pollscope_base::{Bucket, Distribution};
    /// let bucket = |ns| Bucket { low_ns: ns, high_ns: ns, count: 1 };
    /// let of = |buckets, sum_ns, min_ns| Distribution::new(3, buckets, sum_ns, Some((min_ns, 500)), 0);
    /// let earlier = of(vec![bucket(500)], 500, 500);
    /// let since = of(vec![bucket(10), bucket(500)], 510, 10).since(&earlier);
    /// assert_eq!((since.count(), since.sum_ns, since.max_ns), (1, 10, Some(10)));
    /// ```
    pub fn since(&self, earlier: &Distribution) -> Distribution {
        let mut old = earlier.buckets.iter().peekable();
        let mut buckets = Vec::new();
        for bucket in &self.buckets {
            while old.next_if(|o| o.low_ns < bucket.low_ns).is_some() {}
            let before = old.next_if(|o| o.low_ns == bucket.low_ns).map_or(0, |o| o.count);
            if bucket.count > before {
                buckets.push(Bucket { count: bucket.count - before, ..*bucket });
            }
        }
        // A state that was read while a value was recorded can have its bucket and not yet its extreme.
        let new = |now: Option<u64>, before: Option<u64>, bucket: &Bucket| {
            now.filter(|&ns| now != before && bucket.holds(ns))
        };
        let min_ns = buckets.first().map(|b| new(self.min_ns, earlier.min_ns, b).unwrap_or(b.low_ns));
        let max_ns = buckets.last().map(|b| {
            new(self.max_ns, earlier.max_ns, b).unwrap_or(self.max_ns.map_or(b.high_ns, |max| max.min(b.high_ns)))
        });
        Distribution {
            digits: self.digits,
            buckets,
            sum_ns: self.sum_ns.saturating_sub(earlier.sum_ns),
            min_ns,
            max_ns,
            clamped: self.clamped.saturating_sub(earlier.clamped),
        }
    }
}
