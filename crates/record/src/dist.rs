//! A distribution of durations: the buckets of an HDR histogram, and what they cannot hold.
//!
//! Only buckets that hold something are kept: a recording has hundreds of distributions, most of them nearly empty, and a whole
//! histogram takes a quarter of a megabyte. Those that were read are kept packed, as they seldom change.

pub(crate) mod apart;
pub mod blob;
mod packed;

pub use pollscope_base::{Bucket, HIGHEST_NS as MAX_NS};

use packed::{Packed, Packing, Unpacking};

/// A distribution of durations in nanoseconds, in the buckets of an HdrHistogram from 1 ns to 1 h.
#[derive(Debug, Clone)]
pub struct Dist {
    /// Significant digits of a bucket's values, 1 to 5.
    digits: u8,
    /// Those that are not empty, by their values.
    storage: Storage,
    /// The exact minimum; `None` when empty.
    pub min_ns: Option<u64>,
    /// The exact maximum; `None` when empty.
    pub max_ns: Option<u64>,
    /// The exact sum.
    pub sum_ns: u64,
    /// Values outside 1 ns to 1 h, counted at the bound they passed.
    pub clamped: u64,
}

/// The same buckets, in two forms.
#[derive(Debug, Clone)]
enum Storage {
    /// To add to.
    Loose(Vec<Bucket>),
    Packed(Packed),
}

impl PartialEq for Dist {
    fn eq(&self, other: &Dist) -> bool {
        let rest = |dist: &Dist| (dist.digits, dist.min_ns, dist.max_ns, dist.sum_ns, dist.clamped);
        rest(self) == rest(other) && self.buckets().eq(other.buckets())
    }
}

impl Eq for Dist {}

/// An exact copy: the probe's buckets are the histogram's.
impl From<&pollscope_base::Distribution> for Dist {
    fn from(distribution: &pollscope_base::Distribution) -> Dist {
        let mut dist = Dist::empty(distribution.digits);
        for bucket in &distribution.buckets {
            dist.put(bucket.low_ns, bucket.count);
        }
        dist.min_ns = distribution.min_ns;
        dist.max_ns = distribution.max_ns;
        dist.sum_ns = distribution.sum_ns;
        dist.clamped = distribution.clamped;
        dist
    }
}

impl Dist {
    /// An empty distribution of `digits` (1 to 5) significant digits.
    ///
    /// # Panics
    /// When `digits` is outside 1 to 5.
    pub fn empty(digits: u8) -> Dist {
        assert!((1..=5).contains(&digits), "a histogram has 1 to 5 significant digits, not {digits}");
        Dist { digits, storage: Storage::Loose(Vec::new()), min_ns: None, max_ns: None, sum_ns: 0, clamped: 0 }
    }

    /// Counts one value.
    ///
    /// ```
    /// use pollscope_record::recording::Dist;
    /// let mut dist = Dist::empty(3);
    /// dist.record(503_123_456);
    /// assert_eq!((dist.count(), dist.max_ns), (1, Some(503_123_456)));
    /// ```
    pub fn record(&mut self, ns: u64) {
        let clamped = ns.clamp(1, MAX_NS);
        self.clamped += u64::from(clamped != ns);
        self.put(clamped, 1);
        self.min_ns = Some(self.min_ns.map_or(ns, |min| min.min(ns)));
        self.max_ns = Some(self.max_ns.map_or(ns, |max| max.max(ns)));
        self.sum_ns = self.sum_ns.saturating_add(ns);
    }

    /// Adds to the bucket of a value. Cheapest in the order of values.
    fn put(&mut self, ns: u64, count: u64) {
        if count == 0 {
            return;
        }
        let (low_ns, high_ns) = bounds(self.digits, ns);
        let buckets = self.loose();
        let place = match buckets.last() {
            Some(last) if last.low_ns >= low_ns => buckets.binary_search_by_key(&low_ns, |bucket| bucket.low_ns),
            _ => Err(buckets.len()),
        };
        match place {
            Ok(at) => buckets[at].count = buckets[at].count.saturating_add(count),
            Err(at) => buckets.insert(at, Bucket { low_ns, high_ns, count }),
        }
    }

    /// The buckets, to add to.
    fn loose(&mut self) -> &mut Vec<Bucket> {
        if let Storage::Packed(_) = self.storage {
            self.storage = Storage::Loose(self.buckets().collect());
        }
        match &mut self.storage {
            Storage::Loose(buckets) => buckets,
            Storage::Packed(_) => unreachable!("it was loosened above"),
        }
    }

    /// Adds another distribution's values.
    pub fn add(&mut self, other: &Dist) {
        match (&self.storage, &other.storage) {
            (Storage::Packed(ours), Storage::Packed(theirs)) if self.digits == other.digits => {
                self.storage = Storage::Packed(packed::merged(ours, theirs));
            }
            (Storage::Packed(ours), _) => {
                let mut theirs = Packing::default();
                other.buckets().for_each(|bucket| theirs.add(index(self.digits, bucket.low_ns), bucket.count));
                self.storage = Storage::Packed(packed::merged(ours, &theirs.finish()));
            }
            _ => other.buckets().for_each(|bucket| self.put(bucket.low_ns, bucket.count)),
        }
        self.add_rest(other);
    }

    /// What is not in buckets.
    fn add_rest(&mut self, other: &Dist) {
        self.min_ns = [self.min_ns, other.min_ns].into_iter().flatten().min();
        self.max_ns = self.max_ns.max(other.max_ns);
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.clamped += other.clamped;
    }

    /// Adds the values of many, all of the same digits and read from files.
    pub(crate) fn add_all(&mut self, others: &[Dist]) {
        let all = std::iter::once(&*self).chain(others);
        let packed: Option<Vec<&Packed>> =
            all.map(|dist| dist.packed().filter(|_| dist.digits == self.digits)).collect();
        let Some(packed) = packed else { return others.iter().for_each(|other| self.add(other)) };
        self.storage = Storage::Packed(packed::sum(packed.into_iter()));
        others.iter().for_each(|other| self.add_rest(other));
    }

    fn packed(&self) -> Option<&Packed> {
        if let Storage::Packed(packed) = &self.storage { Some(packed) } else { None }
    }

    /// Its values in buckets of so many digits.
    pub(crate) fn with_digits(self, digits: u8) -> Dist {
        if self.digits == digits {
            return self;
        }
        let packed = Storage::Packed(Packed::default());
        let mut values = Dist { storage: packed, ..Dist::empty(digits) };
        values.add(&self);
        values
    }

    /// The same values in two buckets for each doubling, each counted at the lower end of its bucket.
    pub(crate) fn rough(&self) -> Dist {
        let mut rough = Dist::empty(1);
        for bucket in self.buckets() {
            let shift = bucket.low_ns.max(1).ilog2().saturating_sub(1);
            rough.put(bucket.low_ns >> shift << shift, bucket.count);
        }
        rough.add_rest(self);
        rough
    }

    /// Significant digits of a bucket's values.
    pub fn digits(&self) -> u8 {
        self.digits
    }

    /// The buckets that hold something, by their values.
    pub fn buckets(&self) -> Buckets<'_> {
        Buckets(match &self.storage {
            Storage::Loose(buckets) => Form::Loose(buckets.iter()),
            Storage::Packed(packed) => Form::Packed(self.digits, packed.iter()),
        })
    }

    /// How many bytes its buckets take, beside what every distribution does.
    pub(crate) fn size(&self) -> usize {
        match &self.storage {
            Storage::Loose(buckets) => size_of_val(&**buckets),
            Storage::Packed(packed) => packed.size(),
        }
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        match &self.storage {
            Storage::Loose(buckets) => buckets.iter().map(|bucket| bucket.count).sum(),
            Storage::Packed(packed) => packed.iter().map(|(_, count)| count).sum(),
        }
    }

    /// How many values share the bucket of `ns`.
    pub fn count_at(&self, ns: u64) -> u64 {
        let bucket = self.buckets().find(|bucket| (bucket.low_ns..=bucket.high_ns).contains(&ns));
        bucket.map_or(0, |bucket| bucket.count)
    }

    /// The value below or at which the fraction `q` (0 to 1) of all values lies; `None` when empty.
    /// It is the highest value of its bucket, so it may pass the exact maximum by the bucket's width; of `q` 0, the lowest.
    pub fn quantile_ns(&self, q: f64) -> Option<u64> {
        let rank = ((q.clamp(0.0, 1.0) * self.count() as f64).ceil() as u64).max(1);
        let mut below = 0;
        let reaches = |bucket: &Bucket| {
            below += bucket.count;
            below >= rank
        };
        let bucket = self.buckets().find(reaches).or_else(|| self.buckets().last())?;
        Some(if q == 0.0 { bucket.low_ns } else { bucket.high_ns })
    }

    /// [`Dist::quantile_ns`] for people: never above the exact maximum, which would puzzle a reader.
    pub fn shown_quantile_ns(&self, q: f64) -> Option<u64> {
        self.quantile_ns(q).map(|ns| ns.min(self.max_ns.unwrap_or(ns)))
    }

    /// The mean, from the exact sum; `None` when empty.
    pub fn mean_ns(&self) -> Option<u64> {
        self.sum_ns.checked_div(self.count())
    }
}

/// The bucket of a value, as HdrHistogram has them: of width 1 up to twice the least number with that many digits, rounded
/// up to a power of two, and of twice the width from each further power of two on.
fn bounds(digits: u8, ns: u64) -> (u64, u64) {
    let shift = shift(digits, ns);
    let low = ns >> shift << shift;
    (low, low + ((1 << shift) - 1))
}

/// A bucket's width, as a power of two.
fn shift(digits: u8, ns: u64) -> u32 {
    let units = units(digits);
    (64 - (ns | (units - 1)).leading_zeros()) - units.trailing_zeros()
}

/// How many buckets of width 1 there are.
fn units(digits: u8) -> u64 {
    // Asked for each bucket.
    const UNITS: [u64; 6] = {
        let mut units = [0; 6];
        let mut digits = 0;
        while digits < units.len() {
            units[digits] = (2 * 10u64.pow(digits as u32)).next_power_of_two();
            digits += 1;
        }
        units
    };
    UNITS[usize::from(digits)]
}

/// Which bucket a value is in, from 0.
fn index(digits: u8, ns: u64) -> u64 {
    let shift = shift(digits, ns);
    u64::from(shift) * (units(digits) / 2) + (ns >> shift)
}

/// The bucket of an index.
fn bucket(digits: u8, index: u64, count: u64) -> Bucket {
    let half = units(digits) / 2;
    let shift = (index / half).saturating_sub(1);
    let low_ns = (index - shift * half) << shift;
    Bucket { low_ns, high_ns: low_ns + ((1 << shift) - 1), count }
}

/// The buckets of a [`Dist`] that hold something, by their values.
#[derive(Debug, Clone)]
pub struct Buckets<'a>(Form<'a>);

#[derive(Debug, Clone)]
enum Form<'a> {
    Loose(std::slice::Iter<'a, Bucket>),
    Packed(u8, Unpacking<'a>),
}

impl Iterator for Buckets<'_> {
    type Item = Bucket;

    fn next(&mut self) -> Option<Bucket> {
        match &mut self.0 {
            Form::Loose(buckets) => buckets.next().copied(),
            Form::Packed(digits, packed) => packed.next().map(|(index, count)| bucket(*digits, index, count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;

    /// Values of every magnitude, among them all edges of buckets.
    fn values() -> Vec<u64> {
        let edges = (0..42).flat_map(|power| [(1u64 << power) - 1, 1 << power, (1 << power) + 1]);
        let mut random = fastrand::Rng::with_seed(7);
        let mut power = fastrand::Rng::with_seed(8);
        let random = std::iter::repeat_with(move || random.u64(1..=1 << power.u32(1..42))).take(5_000);
        edges.chain(random).chain([MAX_NS]).filter(|ns| (1..=MAX_NS).contains(ns)).collect()
    }

    #[test]
    fn what_is_rough_is_within_half_of_what_it_was() {
        let mut whole = Dist::empty(3);
        values().into_iter().for_each(|ns| whole.record(ns));
        let rough = whole.rough();
        assert_eq!((rough.count(), rough.sum_ns, rough.max_ns), (whole.count(), whole.sum_ns, whole.max_ns));
        assert!(rough.buckets().count() <= 2 * 42, "{}", rough.buckets().count());
        for q in (0..=100).map(|percent| f64::from(percent) / 100.0) {
            let low =
                |dist: &Dist| dist.buckets().find(|bucket| Some(bucket.high_ns) >= dist.quantile_ns(q)).unwrap().low_ns;
            assert!(low(&rough) <= low(&whole) && 3 * low(&rough) >= 2 * low(&whole), "{q}");
        }
    }

    #[test]
    fn buckets_and_quantiles_are_those_of_hdrhistogram() {
        for digits in 1..=5 {
            let mut dist = Dist::empty(digits);
            let mut histogram = Histogram::<u64>::new_with_bounds(1, MAX_NS, digits).unwrap();
            for ns in values() {
                dist.record(ns);
                histogram.record(ns).unwrap();
                let bounds = (histogram.lowest_equivalent(ns), histogram.highest_equivalent(ns));
                let (low_ns, high_ns) = bounds;
                assert_eq!(bucket(digits, index(digits, ns), 1), Bucket { low_ns, high_ns, count: 1 });
                assert_eq!(super::bounds(digits, ns), bounds, "{ns} at {digits} digits");
            }
            assert_eq!(dist.count(), histogram.len());
            for q in (0..=20).map(|n| f64::from(n) / 20.0).chain([0.99, 0.999, 0.9999]) {
                assert_eq!(dist.quantile_ns(q), Some(histogram.value_at_quantile(q)), "{q} at {digits} digits");
            }
            assert_eq!(dist.count_at(MAX_NS), histogram.count_at(MAX_NS));
        }
    }

    #[test]
    fn sums_are_as_if_all_had_been_recorded_in_one() {
        let (mut all, mut odd, mut even) = (Dist::empty(3), Dist::empty(3), Dist::empty(3));
        for (index, ns) in values().into_iter().enumerate() {
            all.record(ns);
            if index % 2 == 1 { odd.record(ns) } else { even.record(ns) }
        }
        odd.add(&even);
        assert_eq!(odd, all);
        assert_eq!(Dist::empty(3).quantile_ns(0.5), None);
    }

    #[test]
    fn what_is_beyond_an_hour_is_clamped_and_counted() {
        let mut dist = Dist::empty(2);
        dist.record(0);
        dist.record(2 * MAX_NS);
        assert_eq!((dist.count(), dist.clamped), (2, 2));
        assert_eq!((dist.min_ns, dist.max_ns), (Some(0), Some(2 * MAX_NS)));
    }
}
