//! A distribution in the JSON: its figures, for those who read JSON, and the histogram, from which they come. Where histograms stand
//! apart, only what they do not tell is in the JSON.

use std::cell::RefCell;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::bounded;
use crate::dist::apart::Histograms;
use crate::dist::{Dist, blob};

thread_local! {
    /// Where histograms are put and taken from when they stand apart: serde passes nothing down to where they are written and read.
    static APART: RefCell<Option<Histograms>> = const { RefCell::new(None) };
}

/// Writes or reads with histograms that stand apart, or with each in its place where there are none; gives back what they are then.
pub(crate) fn apart<T>(histograms: Option<Histograms>, of: impl FnOnce() -> T) -> (T, Option<Histograms>) {
    let before = APART.replace(histograms);
    let done = of();
    (done, APART.replace(before))
}

/// What a histogram that stands apart does not tell.
#[derive(Serialize, Deserialize)]
struct Rest {
    min_ns: Option<u64>,
    max_ns: Option<u64>,
    sum_ns: u64,
    clamped: u64,
}

#[derive(Serialize)]
struct Written {
    count: u64,
    min_ns: Option<u64>,
    p50_ns: Option<u64>,
    p90_ns: Option<u64>,
    p99_ns: Option<u64>,
    p999_ns: Option<u64>,
    max_ns: Option<u64>,
    mean_ns: Option<u64>,
    sum_ns: u64,
    clamped: u64,
    histogram: String,
}

/// What is not read can be computed from what is.
#[derive(Deserialize)]
struct Read {
    count: u64,
    #[serde(deserialize_with = "super::bounded::present")]
    min_ns: Option<u64>,
    #[serde(deserialize_with = "super::bounded::present")]
    max_ns: Option<u64>,
    sum_ns: u64,
    clamped: u64,
    histogram: String,
}

impl Serialize for Dist {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_apart = APART.with_borrow_mut(|apart| apart.as_mut().map(|histograms| histograms.put(self)).is_some());
        if is_apart {
            let Dist { min_ns, max_ns, sum_ns, clamped, .. } = *self;
            return Rest { min_ns, max_ns, sum_ns, clamped }.serialize(serializer);
        }
        Written::of(self, &blob::encode(self).map_err(ser::Error::custom)?).serialize(serializer)
    }
}

/// The distribution of an interval, of which a day has 86,400: its histogram has two digits, and is written as it is where that is
/// short, as it is then read in far less time.
pub(crate) struct OfInterval<'a>(pub(crate) &'a Dist);

impl Serialize for OfInterval<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// More significant digits are for the whole run.
        const DIGITS: u8 = 2;
        /// A histogram of so many bytes is short.
        const SHORT: usize = 500;
        let dist = self.0.clone().with_digits(self.0.digits().min(DIGITS));
        let mut bytes = blob::encode_uncompressed(&dist).map_err(ser::Error::custom)?;
        if bytes.len() > SHORT {
            bytes = blob::encode(&dist).map_err(ser::Error::custom)?;
        }
        Written::of(&dist, &bytes).serialize(serializer)
    }
}

impl Written {
    fn of(dist: &Dist, histogram: &[u8]) -> Written {
        Written {
            count: dist.count(),
            min_ns: dist.min_ns,
            p50_ns: dist.quantile_ns(0.5),
            p90_ns: dist.quantile_ns(0.9),
            p99_ns: dist.quantile_ns(0.99),
            p999_ns: dist.quantile_ns(0.999),
            max_ns: dist.max_ns,
            mean_ns: dist.mean_ns(),
            sum_ns: dist.sum_ns,
            clamped: dist.clamped,
            histogram: BASE64_STANDARD.encode(histogram),
        }
    }
}

impl<'de> Deserialize<'de> for Dist {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Dist, D::Error> {
        if APART.with_borrow(Option::is_some) {
            return Rest::deserialize(deserializer)?.dist().map_err(de::Error::custom);
        }
        Read::deserialize(deserializer)?.dist().map_err(de::Error::custom)
    }
}

impl Read {
    fn dist(self) -> Result<Dist, String> {
        let bytes = BASE64_STANDARD.decode(self.histogram).map_err(|_| "a histogram is not base64".to_owned())?;
        let dist = blob::decode_at_most(&bytes, bounded::left()).map_err(|error| error.to_string())?;
        let count = dist.count();
        if count != self.count {
            return Err(format!("a distribution's count is {}, and its histogram holds {count}", self.count));
        }
        let Read { min_ns, max_ns, sum_ns, clamped, .. } = self;
        Rest { min_ns, max_ns, sum_ns, clamped }.of(dist)
    }
}

impl Rest {
    fn dist(self) -> Result<Dist, String> {
        let next = |apart: &mut Option<Histograms>| apart.as_mut().map(|histograms| histograms.take(bounded::left()));
        let dist = APART.with_borrow_mut(next).ok_or("it has no histograms")?;
        self.of(dist.map_err(|error| error.to_string())?)
    }

    /// With its histogram.
    fn of(self, mut dist: Dist) -> Result<Dist, String> {
        bounded::take_allocation::<de::value::Error>(dist.size()).map_err(|error| error.to_string())?;
        let has_some = dist.count() > 0;
        // No more is asked: what was read while it was written can have a value and not yet its extreme.
        if self.min_ns.is_some() != has_some || self.max_ns.is_some() != has_some || self.min_ns > self.max_ns {
            return Err("a distribution's minimum and maximum cannot be".to_owned());
        }
        (dist.min_ns, dist.max_ns, dist.sum_ns, dist.clamped) = (self.min_ns, self.max_ns, self.sum_ns, self.clamped);
        Ok(dist)
    }
}
