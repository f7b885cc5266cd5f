//! A distribution of durations, as plain data.

use crate::histogram::HIGHEST_NS;

/// How many values fell between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// How many values.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.count).sum()
    }

    /// The highest value of the bucket in which the fraction `q` (0 to 1) of all values is reached; `None` when empty.
    ///
    /// ```
    /// let (mut writer, reader) = pollscope_probe::histogram::pair();
    /// (1..=100).for_each(|ms| writer.record(ms * 1_000_000));
    /// let p99 = reader.read().quantile_ns(0.99).unwrap();
    /// assert!((99_000_000..99_100_000).contains(&p99));
    /// ```
    pub fn quantile_ns(&self, q: f64) -> Option<u64> {
        let rank = ((q.clamp(0.0, 1.0) * self.count() as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.buckets.iter().find(|bucket| {
            seen += bucket.count;
            seen >= rank
        });
        found.map(|bucket| bucket.high_ns)
    }

    /// How many values are at least `ns` nanoseconds, counting a bucket that holds `ns` in full: never too few.
    ///
    /// ```
    /// let (mut writer, reader) = pollscope_probe::histogram::pair();
    /// (1..=100).for_each(|ms| writer.record(ms * 1_000_000));
    /// assert_eq!(reader.read().count_from(91_000_000), 10);
    /// ```
    pub fn count_from(&self, ns: u64) -> u64 {
        self.buckets.iter().filter(|bucket| bucket.high_ns >= ns).map(|bucket| bucket.count).sum()
    }

    /// What came after `earlier`, an older state of the same distribution.
    ///
    /// Counts and sums are exact. The extremes are exact when they were reached in between; otherwise they are the
    /// bounds of the outermost bucket that grew.
    ///
    /// ```
    /// let (mut writer, reader) = pollscope_probe::histogram::pair();
    /// writer.record(5_000_000);
    /// let earlier = reader.read();
    /// writer.record(10);
    /// let since = reader.read().since(&earlier);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extreme_that_was_read_late_belongs_to_no_later_interval() {
        let (mut writer, reader) = crate::histogram::pair();
        writer.record(500);
        let mut torn = reader.read();
        (torn.min_ns, torn.max_ns) = (Some(2_000), Some(400));
        let nothing = reader.read().since(&torn);
        assert_eq!((nothing.count(), nothing.min_ns, nothing.max_ns), (0, None, None));
        writer.record(1_000);
        torn.max_ns = None;
        let since = reader.read().since(&torn);
        assert_eq!((since.count(), since.min_ns, since.max_ns), (1, Some(1_000), Some(1_000)));
    }

    #[test]
    fn extremes_beyond_the_buckets_are_exact_in_between() {
        let (mut writer, reader) = crate::histogram::pair();
        writer.record(5);
        let earlier = reader.read();
        writer.record(0);
        writer.record(HIGHEST_NS * 2);
        let since = reader.read().since(&earlier);
        assert_eq!((since.count(), since.clamped), (2, 2));
        assert_eq!((since.min_ns, since.max_ns), (Some(0), Some(HIGHEST_NS * 2)));
    }
}
