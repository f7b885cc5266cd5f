//! The histograms of a recording beside the text that they belong to, in its order.
//!
//! Each by itself, in base64 within the text, hardly shrinks any more. Together, all gaps between buckets and then all counts, they
//! take two thirds of that when they are compressed: most are as small as those around them.

use super::packed::{self, Packing};
use super::{Dist, MAX_NS, Storage, blob::BlobError};

/// Histograms, one after the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Histograms {
    /// Of each its digits, and how many buckets it has.
    heads: Bytes,
    /// Of each bucket how many empty ones are before it.
    gaps: Bytes,
    counts: Bytes,
}

/// Bytes that are read from the front.
#[derive(Debug, Clone, Default)]
struct Bytes {
    all: Vec<u8>,
    at: usize,
}

impl Bytes {
    fn of(all: Vec<u8>) -> Bytes {
        Bytes { all, at: 0 }
    }

    fn next(&mut self) -> Result<u64, BlobError> {
        let mut number = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = *self.all.get(self.at).ok_or(BlobError::Torn)?;
            self.at += 1;
            let bits = u64::from(byte & 0x7f);
            number |= bits << shift;
            if number >> shift != bits {
                return Err(BlobError::Counts);
            }
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(BlobError::Counts)
    }
}

impl Histograms {
    /// What [`Histograms::parts`] gave.
    pub(crate) fn of([heads, gaps, counts]: [Vec<u8>; 3]) -> Histograms {
        Histograms { heads: Bytes::of(heads), gaps: Bytes::of(gaps), counts: Bytes::of(counts) }
    }

    pub(crate) fn parts(&self) -> [&[u8]; 3] {
        [&self.heads, &self.gaps, &self.counts].map(|bytes| &*bytes.all)
    }

    /// Puts a histogram behind the others.
    pub(crate) fn put(&mut self, dist: &Dist) {
        let (mut next, mut buckets) = (0, 0);
        for bucket in dist.buckets() {
            let index = super::index(dist.digits, bucket.low_ns);
            packed::write(&mut self.gaps.all, index - next);
            packed::write(&mut self.counts.all, bucket.count);
            (next, buckets) = (index + 1, buckets + 1);
        }
        self.heads.all.push(dist.digits);
        packed::write(&mut self.heads.all, buckets);
    }

    /// The next histogram, whose buckets take at most so many bytes. Its bounds, its sum and what was clamped are not in it.
    ///
    /// # Errors
    /// There is no such histogram, or none that can be.
    pub(crate) fn take(&mut self, most: usize) -> Result<Dist, BlobError> {
        let digits = u8::try_from(self.heads.next()?).ok().filter(|digits| (1..=5).contains(digits));
        let digits = digits.ok_or(BlobError::Header("not 1 to 5 significant digits"))?;
        let last = super::index(digits, MAX_NS);
        let mut packing = Packing::default();
        let mut next = 0u64;
        for _ in 0..self.heads.next()? {
            let (index, count) = (next.checked_add(self.gaps.next()?), self.counts.next()?);
            let index = index.filter(|index| *index <= last && count > 0).ok_or(BlobError::Counts)?;
            packing.add(index, count);
            next = index + 1;
            if packing.size() > most {
                return Err(BlobError::Large);
            }
        }
        let dist = Dist { storage: Storage::Packed(packing.finish()), ..Dist::empty(digits) };
        // Whoever asks for a count adds them up.
        let total = dist.buckets().try_fold(0u64, |total, bucket| total.checked_add(bucket.count));
        total.ok_or(BlobError::Counts)?;
        if dist.size() > most { Err(BlobError::Large) } else { Ok(dist) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dist(digits: u8) -> Dist {
        let mut dist = Dist::empty(digits);
        let mut random = fastrand::Rng::with_seed(digits.into());
        for _ in 0..500 {
            let power = random.u32(1..41);
            dist.record(random.u64(1..=1 << power));
        }
        dist.record(MAX_NS);
        dist
    }

    #[test]
    fn every_bucket_comes_back_in_order() {
        let dists = [dist(3), Dist::empty(2), dist(1), dist(5)];
        let mut histograms = Histograms::default();
        dists.iter().for_each(|dist| histograms.put(dist));
        let mut read = Histograms::of(histograms.parts().map(<[u8]>::to_vec));
        for dist in &dists {
            let taken = read.take(usize::MAX).unwrap();
            assert!(taken.buckets().eq(dist.buckets()) && taken.digits() == dist.digits());
        }
        assert_eq!(read.take(usize::MAX), Err(BlobError::Torn), "there are no more");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let take = |heads: &[u8], gaps: &[u8], counts: &[u8]| {
            Histograms::of([heads, gaps, counts].map(<[u8]>::to_vec)).take(100)
        };
        assert!(take(&[3, 1], &[7], &[1]).is_ok());
        for digits in [0, 6, 0x7f] {
            assert!(matches!(take(&[digits, 0], &[], &[]), Err(BlobError::Header(_))));
        }
        assert_eq!(take(&[3, 1], &[7], &[0]), Err(BlobError::Counts), "a bucket of nothing");
        assert_eq!(take(&[3, 1], &[0xff, 0xff, 0xff, 0x7f], &[1]), Err(BlobError::Counts), "more than an hour");
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(take(&[3, 2], &[0, 0], &[most, most].concat()), Err(BlobError::Counts), "more than can be counted");
        assert_eq!(take(&[3, 1], &[0xff; 12], &[1]), Err(BlobError::Counts), "no number");
        assert_eq!(take(&[3, 1], &most, &[1]), Err(BlobError::Counts), "a place beyond all");
        assert_eq!(take(&[3, 2], &[7], &[1, 1]), Err(BlobError::Torn));
        assert_eq!(take(&[3, 0x7f], &[0; 0x7f], &[1; 0x7f]), Err(BlobError::Large));
    }
}
