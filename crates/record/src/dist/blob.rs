//! An HdrHistogram as bytes: V2 with DEFLATE, the encoding that every implementation of it reads.
//!
//! What is read may come from anywhere. It is decoded here, and not by hdrhistogram: that makes room for all that forty bytes ask
//! for, and negates a count of -2⁶³.

use std::fmt;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::bufread::ZlibDecoder;
use flate2::write::ZlibEncoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2SerializeError, V2Serializer};

use super::packed::Packing;
use super::{Dist, MAX_NS, Storage, units};

const COMPRESSED: u32 = 0x1c84_9314;
const PLAIN: u32 = 0x1c84_9313;
/// The cookie, and the length of what follows.
const OUTER: usize = 8;
/// The cookie, the payload's length, the offset, the digits, the lowest and the highest value, the ratio.
const HEADER: usize = 40;
/// Buckets that there can be: those of five digits up to an hour.
const MOST_BUCKETS: u64 = 4 << 20;
/// How many bytes of counts are read at a time.
const BUFFER: usize = 4 << 10;
/// A count takes at most so many bytes.
const LONGEST_COUNT: u64 = 9;

/// Why bytes are no distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobError {
    /// Shorter than it says.
    Torn,
    /// Another encoding: its first four bytes.
    Encoding(u32),
    /// It cannot be inflated.
    Compression,
    /// It says of itself what cannot be.
    Header(&'static str),
    /// The counts are not as the header says.
    Counts,
    /// It holds more than there is room for.
    Large,
}

impl fmt::Display for BlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlobError::Torn => f.write_str("the histogram ends early"),
            BlobError::Encoding(cookie) => {
                write!(f, "the histogram's encoding is not V2 with DEFLATE (it begins with 0x{cookie:08x})")
            }
            BlobError::Compression => f.write_str("the histogram cannot be inflated"),
            BlobError::Header(what) => write!(f, "the histogram's header is not to be believed: {what}"),
            BlobError::Counts => f.write_str("the histogram's counts do not fit its header"),
            BlobError::Large => f.write_str("the histograms hold far more than their text does"),
        }
    }
}

impl std::error::Error for BlobError {}

/// The histogram's bytes, as small as DEFLATE makes them: hdrhistogram's own compress less, and a day has 86,400 of them.
///
/// # Errors
/// When a count is 2⁶³ or more.
pub fn encode(dist: &Dist) -> Result<Vec<u8>, V2SerializeError> {
    let mut encoder = ZlibEncoder::new(vec![0; OUTER], Compression::best());
    encoder.write_all(&encode_uncompressed(dist)?)?;
    let mut bytes = encoder.finish()?;
    let length = u32::try_from(bytes.len() - OUTER).map_err(|_| V2SerializeError::UsizeTypeTooSmall)?;
    bytes[..OUTER / 2].copy_from_slice(&COMPRESSED.to_be_bytes());
    bytes[OUTER / 2..OUTER].copy_from_slice(&length.to_be_bytes());
    Ok(bytes)
}

/// The same without DEFLATE, which any implementation reads as well.
pub(crate) fn encode_uncompressed(dist: &Dist) -> Result<Vec<u8>, V2SerializeError> {
    let mut bytes = Vec::new();
    V2Serializer::new().serialize(&histogram(dist), &mut bytes)?;
    Ok(bytes)
}

fn histogram(dist: &Dist) -> Histogram<u64> {
    let mut histogram =
        Histogram::new_with_bounds(1, MAX_NS, dist.digits()).expect("1 ns to 1 h at 1 to 5 digits is valid");
    for bucket in dist.buckets() {
        histogram.record_n(bucket.low_ns, bucket.count).expect("no bucket is beyond 1 h");
    }
    histogram
}

/// What [`encode`] made. Exact but for the bounds, the sum and what was clamped, which the bytes do not tell: the bounds are those
/// of the outermost buckets, and the sum is taken from the buckets' middles.
///
/// ```
/// use pollscope_record::dist::{Dist, blob};
/// let mut dist = Dist::empty(3);
/// dist.record(503_123_456);
/// let decoded = blob::decode(&blob::encode(&dist).unwrap()).unwrap();
/// assert!(decoded.buckets().eq(dist.buckets()));
/// assert_eq!(blob::decode(b"no histogram"), Err(blob::BlobError::Encoding(0x6e6f2068)));
/// ```
///
/// # Errors
/// See [`BlobError`]. Nothing that the bytes say makes it take more memory than its buckets do.
pub fn decode(bytes: &[u8]) -> Result<Dist, BlobError> {
    decode_at_most(bytes, usize::MAX)
}

/// [`decode`] of what takes at most so many bytes: a few bytes inflate to millions of buckets.
pub(crate) fn decode_at_most(bytes: &[u8], most: usize) -> Result<Dist, BlobError> {
    let (header, counts) = open(bytes)?;
    if header.low != 1 {
        return Err(BlobError::Header("its lowest value is not 1"));
    }
    gather(&header, counts, most, |_, low_ns, _, _| match low_ns {
        0..=MAX_NS => Ok(low_ns),
        _ => Err(BlobError::Header("values beyond an hour")),
    })
}

/// What any implementation of HdrHistogram made, whatever its lowest and highest value. A bucket's values are counted where its
/// highest one belongs, so that percentiles stay those of the histogram; the bounds and the sum are as [`decode`] has them. Values
/// beyond 1 h are counted there, and in `clamped`.
///
/// ```
/// use hdrhistogram::{Histogram, serialization::{Serializer, V2DeflateSerializer}};
/// use pollscope_record::dist::{MAX_NS, blob};
/// let mut histogram = Histogram::<u64>::new_with_bounds(1_000, 4 * MAX_NS, 3).unwrap();
/// [1_700, 2 * MAX_NS].iter().for_each(|ns| histogram.record(*ns).unwrap());
/// let mut bytes = Vec::new();
/// V2DeflateSerializer::new().serialize(&histogram, &mut bytes).unwrap();
///
/// let dist = blob::decode_any(&bytes).unwrap();
/// assert_eq!((dist.count(), dist.clamped), (2, 1));
/// assert_eq!(dist.quantile_ns(0.5), Some(histogram.value_at_quantile(0.5)));
/// assert!(blob::decode(&bytes).is_err());
/// ```
///
/// # Errors
/// As [`decode`], but for the bounds.
pub fn decode_any(bytes: &[u8]) -> Result<Dist, BlobError> {
    decode_any_at_most(bytes, usize::MAX)
}

/// [`decode_any`] of what takes at most so many bytes.
pub(crate) fn decode_any_at_most(bytes: &[u8], most: usize) -> Result<Dist, BlobError> {
    let (header, counts) = open(bytes)?;
    gather(&header, counts, most, |dist, low_ns, high_ns, count| {
        dist.clamped += if low_ns > MAX_NS { count } else { 0 };
        Ok(high_ns.min(MAX_NS))
    })
}

/// The buckets, each counted where `place` puts it, given its lowest and highest value and its count.
fn gather(
    header: &Header,
    counts: Counts<'_>,
    most: usize,
    place: impl Fn(&mut Dist, u64, u64, u64) -> Result<u64, BlobError>,
) -> Result<Dist, BlobError> {
    match counts {
        Counts::Plain(bytes) => gather_from(header, bytes, most, place),
        Counts::Inflated(stream) => {
            let bytes = Bytes { from: stream.take(header.length), buffer: [0; BUFFER], at: 0, end: 0 };
            gather_from(header, bytes, most, place)
        }
    }
}

fn gather_from(
    header: &Header,
    counts: impl Source,
    most: usize,
    place: impl Fn(&mut Dist, u64, u64, u64) -> Result<u64, BlobError>,
) -> Result<Dist, BlobError> {
    let mut dist = Dist::empty(header.digits);
    let mut packing = Packing::default();
    each_bucket(header, counts, |low_ns, high_ns, count| {
        packing.add(super::index(header.digits, place(&mut dist, low_ns, high_ns, count)?), count);
        if packing.size() > most {
            return Err(BlobError::Large);
        }
        dist.sum_ns = dist.sum_ns.saturating_add(low_ns.midpoint(high_ns).saturating_mul(count));
        dist.min_ns = dist.min_ns.or(Some(low_ns));
        dist.max_ns = Some(high_ns);
        Ok(())
    })?;
    dist.storage = Storage::Packed(packing.finish());
    // The last bucket is counted only now.
    if dist.size() > most { Err(BlobError::Large) } else { Ok(dist) }
}

/// What is behind a header.
enum Counts<'a> {
    /// As many bytes as the header says, or fewer.
    Plain(&'a [u8]),
    Inflated(ZlibDecoder<&'a [u8]>),
}

/// The header, if it can be believed, and what is behind it.
fn open(bytes: &[u8]) -> Result<(Header, Counts<'_>), BlobError> {
    let word = |at: usize| bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_be_bytes);
    match word(0).ok_or(BlobError::Torn)? {
        COMPRESSED => {
            let length = word(4).ok_or(BlobError::Torn)? as usize;
            let compressed = bytes.get(OUTER..).and_then(|rest| rest.get(..length)).ok_or(BlobError::Torn)?;
            let mut stream = ZlibDecoder::new(compressed);
            let mut header = [0; HEADER];
            stream.read_exact(&mut header).map_err(|_| BlobError::Compression)?;
            Ok((check(&header)?, Counts::Inflated(stream)))
        }
        PLAIN => {
            let (header, counts) = bytes.split_first_chunk().ok_or(BlobError::Torn)?;
            let header = check(header)?;
            let length = usize::try_from(header.length).unwrap_or(usize::MAX).min(counts.len());
            Ok((header, Counts::Plain(&counts[..length])))
        }
        other => Err(BlobError::Encoding(other)),
    }
}

/// Calls with the lowest and the highest value and the count of each bucket that holds something, by their values.
fn each_bucket(
    header: &Header,
    mut counts: impl Source,
    mut take: impl FnMut(u64, u64, u64) -> Result<(), BlobError>,
) -> Result<(), BlobError> {
    let half = units(header.digits) / 2;
    let (mut index, mut total) = (0u64, 0u64);
    let mut left = header.length;
    while let Some(count) = next_count(&mut counts, &mut left)? {
        // A negative count is that many buckets that hold nothing.
        let taken = if count < 0 { count.unsigned_abs() } else { 1 };
        if taken > header.buckets - index {
            return Err(BlobError::Counts);
        }
        if count > 0 {
            let shift = (index >> half.ilog2()).saturating_sub(1);
            let (place, zeros) = (index - shift * half, shift + u64::from(header.low.ilog2()));
            if zeros > place.leading_zeros().min(63).into() {
                return Err(BlobError::Counts);
            }
            let low = place << zeros;
            total = total.checked_add(count.unsigned_abs()).ok_or(BlobError::Counts)?;
            take(low, low | ((1 << zeros) - 1), count.unsigned_abs())?;
        }
        index += taken;
    }
    if left > 0 { Err(BlobError::Counts) } else { Ok(()) }
}

/// Bytes one after the other.
trait Source {
    fn next(&mut self) -> Result<Option<u8>, BlobError>;
}

impl Source for &[u8] {
    #[inline(always)]
    fn next(&mut self) -> Result<Option<u8>, BlobError> {
        Ok(self.split_off_first().copied())
    }
}

/// What is read many bytes at a time.
struct Bytes<R> {
    from: R,
    buffer: [u8; BUFFER],
    at: usize,
    end: usize,
}

impl<R: Read> Source for Bytes<R> {
    #[inline(always)]
    fn next(&mut self) -> Result<Option<u8>, BlobError> {
        if self.at == self.end {
            self.at = 0;
            self.end = self.from.read(&mut self.buffer).map_err(|_| BlobError::Counts)?;
            if self.end == 0 {
                return Ok(None);
            }
        }
        self.at += 1;
        Ok(Some(self.buffer[self.at - 1]))
    }
}

/// The next number: zigzag, seven bits a byte, the lowest first, and eight bits in the ninth; `None` at the end.
#[inline(always)]
fn next_count(bytes: &mut impl Source, left: &mut u64) -> Result<Option<i64>, BlobError> {
    let mut number = 0u64;
    for place in 0..LONGEST_COUNT {
        let byte = match bytes.next()? {
            Some(byte) => byte,
            None if place == 0 => return Ok(None),
            None => return Err(BlobError::Counts),
        };
        *left -= 1;
        let is_last = place + 1 == LONGEST_COUNT || byte < 0x80;
        let bits = if place + 1 == LONGEST_COUNT { byte } else { byte & 0x7f };
        number |= u64::from(bits) << (7 * place);
        if is_last {
            break;
        }
    }
    Ok(Some((number >> 1) as i64 ^ -((number & 1) as i64)))
}

/// What a header says that can be believed.
struct Header {
    digits: u8,
    /// The lowest value that differs from 0; at least 1.
    low: u64,
    /// Of the counts, in bytes.
    length: u64,
    /// How many there can be.
    buckets: u64,
}

fn check(header: &[u8; HEADER]) -> Result<Header, BlobError> {
    let u32_at = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let u64_at = |at: usize| u64::from(u32_at(at)) << 32 | u64::from(u32_at(at + 4));
    if u32_at(0) != PLAIN {
        return Err(BlobError::Encoding(u32_at(0)));
    }
    let (length, offset, digits, low, high) = (u32_at(4), u32_at(8), u32_at(12), u64_at(16), u64_at(24));
    let digits = u8::try_from(digits).ok().filter(|digits| (1..=5).contains(digits));
    let digits = digits.ok_or(BlobError::Header("not 1 to 5 significant digits"))?;
    if offset != 0 {
        return Err(BlobError::Header("its buckets are shifted"));
    }
    if low == 0 {
        return Err(BlobError::Header("its lowest value is 0"));
    }
    if high > i64::MAX as u64 || high / 2 < low {
        return Err(BlobError::Header("its highest value is impossible"));
    }
    let units = units(digits);
    let magnitudes = u64::from((64 - high.leading_zeros()).saturating_sub(units.trailing_zeros())) + 2;
    let buckets = magnitudes * (units / 2);
    if buckets > MOST_BUCKETS {
        return Err(BlobError::Header("too many buckets"));
    }
    if u64::from(length) > buckets * LONGEST_COUNT {
        return Err(BlobError::Header("more counts than buckets"));
    }
    Ok(Header { digits, low, length: length.into(), buckets })
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

    use super::*;

    fn dist(digits: u8) -> Dist {
        let mut dist = Dist::empty(digits);
        let mut random = fastrand::Rng::with_seed(u64::from(digits));
        for _ in 0..1_000 {
            let power = random.u32(1..41);
            dist.record(random.u64(1..=1 << power));
        }
        dist.record(MAX_NS);
        dist
    }

    /// A header that says so, compressed, and nothing behind it.
    fn hostile(length: u32, digits: u32, low: u64, high: u64) -> Vec<u8> {
        made(length, digits, low, high, &[])
    }

    fn made(length: u32, digits: u32, low: u64, high: u64, counts: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        [PLAIN, length, 0, digits].iter().for_each(|word| plain.extend(word.to_be_bytes()));
        [low, high, 1f64.to_bits()].iter().for_each(|word| plain.extend(word.to_be_bytes()));
        plain.extend(counts);
        let mut compressed = ZlibEncoder::new(Vec::new(), Compression::best());
        compressed.write_all(&plain).unwrap();
        let compressed = compressed.finish().unwrap();
        let outer = [COMPRESSED, compressed.len() as u32];
        outer.iter().flat_map(|word| word.to_be_bytes()).chain(compressed).collect()
    }

    #[test]
    fn every_bucket_comes_back() {
        for digits in 1..=5 {
            let dist = dist(digits);
            let bytes = encode(&dist).unwrap();
            let decoded = decode(&bytes).unwrap();
            assert!(decoded.buckets().eq(dist.buckets()) && decoded.digits() == digits);
            assert!(decoded.sum_ns.abs_diff(dist.sum_ns) < dist.sum_ns / 20);
            let theirs: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
            assert_eq!(theirs, histogram(&dist), "as any other implementation reads it");
        }
        assert_eq!(decode(&encode(&Dist::empty(3)).unwrap()), Ok(Dist::empty(3)));
    }

    #[test]
    fn a_count_has_63_bits() {
        let mut most = Dist::empty(3);
        most.put(1, i64::MAX as u64);
        assert_eq!(decode(&encode(&most).unwrap()).unwrap().count(), i64::MAX as u64);
        most.put(1, 1);
        assert!(encode(&most).is_err());
    }

    #[test]
    fn what_a_header_asks_for_is_not_given_before_it_is_believed() {
        let blobs = [
            hostile(u32::MAX, 3, 1, MAX_NS),
            hostile(0, 5, 1, i64::MAX as u64),
            hostile(0, 0, 1, MAX_NS),
            hostile(0, 6, 1, MAX_NS),
            hostile(0, 3, 0, MAX_NS),
            hostile(0, 3, 1, 1),
            hostile(0, 3, 1, u64::MAX),
        ];
        for blob in blobs {
            assert!(blob.len() < 60 && matches!(decode(&blob), Err(BlobError::Header(_))), "{:?}", decode(&blob));
            assert_eq!(decode(&blob), decode_any(&blob));
        }
        assert_eq!(decode(&hostile(9, 3, 1, MAX_NS)), Err(BlobError::Counts), "no counts behind the header");
    }

    #[test]
    fn any_bounds_give_the_histogram_s_own_percentiles() {
        for (low, high, digits) in [(1, 1_000_000, 2), (1_000, MAX_NS, 3), (1 << 20, 1 << 55, 1), (3, 40 * MAX_NS, 4)] {
            let mut histogram = Histogram::<u64>::new_with_bounds(low, high, digits).unwrap();
            let mut random = fastrand::Rng::with_seed(high);
            for _ in 0..1_000 {
                let power = random.u32(1..=high.min(MAX_NS).ilog2());
                histogram.record(random.u64(0..=1 << power)).unwrap();
            }
            let mut bytes = Vec::new();
            V2DeflateSerializer::new().serialize(&histogram, &mut bytes).unwrap();
            let dist = decode_any(&bytes).unwrap();
            assert_eq!((dist.count(), dist.clamped), (1_000, 0));
            for q in (1..=40).map(|n| f64::from(n) / 40.0) {
                // A bucket that holds the hour itself may reach beyond it.
                assert_eq!(dist.shown_quantile_ns(q), Some(histogram.value_at_quantile(q)), "{low} {high} {q}");
            }
            assert_eq!(dist.max_ns, Some(histogram.max()));
        }
        assert!(decode_any(&hostile(0, 3, 1 << 62, i64::MAX as u64)).is_err());
    }

    #[test]
    fn any_header_and_any_counts_have_an_answer() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut read = 0;
        for _ in 0..1_000 {
            let [power, reach] = [random.u32(0..62), random.u32(0..62)];
            let low = random.u64(1..=1 << power);
            let high = random.u64(low..=low.max(1 << reach).saturating_mul(2).min(i64::MAX as u64));
            // Mostly small counts and short gaps; now and then a huge one.
            let counts: Vec<u8> = (0..random.usize(0..60))
                .map(|_| if random.u8(..20) == 0 { random.u8(..) } else { random.u8(..64) })
                .collect();
            let blob = made(counts.len() as u32, random.u32(1..=3), low, high, &counts);
            let _ = decode(&blob);
            read += u32::from(decode_any(&blob).is_ok_and(|dist| dist.count() > 0));
        }
        assert!(read > 100, "{read} of them are histograms");
    }

    #[test]
    fn torn_and_foreign_bytes_are_refused() {
        let whole = encode(&dist(3)).unwrap();
        for end in 0..whole.len() {
            assert!(decode(&whole[..end]).is_err(), "{end}");
        }
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..2_000 {
            let mut changed = whole.clone();
            let at = random.usize(..changed.len());
            changed[at] ^= 1 << random.u32(..8);
            // Whatever it is now, there is an answer.
            let _ = (decode(&changed), decode_any(&changed));
        }
    }

    /// The number whose negative is none: found by fuzzing.
    #[test]
    fn the_least_of_all_counts_is_refused() {
        assert_eq!(decode(&made(9, 3, 1, MAX_NS, &[0xff; 9])), Err(BlobError::Counts));
    }

    #[test]
    fn what_inflates_beyond_its_room_is_refused() {
        let bytes = encode(&dist(3)).unwrap();
        let most = decode(&bytes).unwrap().size();
        assert!(decode_at_most(&bytes, most).is_ok());
        assert_eq!(decode_at_most(&bytes, most - 1), Err(BlobError::Large));
    }
}
