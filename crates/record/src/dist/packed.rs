//! Buckets in as few bytes as a file has for them: of each, how many empty ones are before it, and its count.
//!
//! Numbers are written seven bits a byte, the lowest first. A real recording's buckets take two bytes each so, and 24 as they are.

/// Buckets by index, ascending.
#[derive(Debug, Clone, Default)]
pub(super) struct Packed(Box<[u8]>);

impl Packed {
    /// Index and count of each.
    pub(super) fn iter(&self) -> Unpacking<'_> {
        Unpacking { bytes: &self.0, next: 0 }
    }

    /// How many bytes.
    pub(super) fn size(&self) -> usize {
        self.0.len()
    }
}

/// Packs one bucket after the other.
#[derive(Debug, Default)]
pub(super) struct Packing {
    bytes: Vec<u8>,
    /// Behind those that are in `bytes`.
    next: u64,
    /// Of which there may be more.
    last: Option<(u64, u64)>,
}

impl Packing {
    /// Adds to the last bucket, or a bucket behind it.
    pub(super) fn add(&mut self, index: u64, count: u64) {
        match &mut self.last {
            Some((last, sum)) if *last == index => *sum = sum.saturating_add(count),
            _ => {
                self.flush();
                self.last = Some((index, count));
            }
        }
    }

    fn flush(&mut self) {
        if let Some((index, count)) = self.last.take() {
            debug_assert!(index >= self.next && count > 0);
            write(&mut self.bytes, index - self.next);
            write(&mut self.bytes, count);
            self.next = index + 1;
        }
    }

    /// How many bytes so far, but for the last bucket's.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn finish(mut self) -> Packed {
        self.flush();
        Packed(self.bytes.into())
    }
}

/// Index and count of each bucket.
#[derive(Debug, Clone)]
pub(super) struct Unpacking<'a> {
    bytes: &'a [u8],
    next: u64,
}

impl Iterator for Unpacking<'_> {
    type Item = (u64, u64);

    #[inline(always)]
    fn next(&mut self) -> Option<(u64, u64)> {
        let index = self.next + read(&mut self.bytes)?;
        self.next = index + 1;
        Some((index, read(&mut self.bytes)?))
    }
}

/// Both, in one; equal indices become one bucket.
pub(super) fn merged(a: &Packed, b: &Packed) -> Packed {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    let mut packing = Packing::default();
    loop {
        let (index, count) = match (a.peek().copied(), b.peek().copied()) {
            (None, None) => return packing.finish(),
            (Some(of_a), Some(of_b)) if of_a.0 == of_b.0 => (of_a.0, of_a.1.saturating_add(of_b.1)),
            (Some(of_a), Some(of_b)) => of_a.min(of_b),
            (of_a, of_b) => of_a.or(of_b).expect("one of them"),
        };
        a.next_if(|next| next.0 == index);
        b.next_if(|next| next.0 == index);
        packing.add(index, count);
    }
}

/// All of them in one. However many they are, each is read once, and what they come to is written once: counts are added up in the
/// places of a window of indices, one window after the other.
pub(super) fn sum<'p>(all: impl Iterator<Item = &'p Packed>) -> Packed {
    let mut rests: Vec<Unpacking<'_>> = all.map(Packed::iter).collect();
    let mut heads: Vec<Option<(u64, u64)>> = rests.iter_mut().map(Iterator::next).collect();
    let mut window = vec![0_u64; WINDOW as usize];
    let mut packing = Packing::default();
    while let Some(start) = heads.iter().flatten().map(|(index, _)| *index).min() {
        let mut behind = 0;
        for (head, rest) in heads.iter_mut().zip(&mut rests) {
            while let Some((index, count)) = *head
                && index - start < WINDOW
            {
                let at = (index - start) as usize;
                window[at] = window[at].saturating_add(count);
                behind = behind.max(at + 1);
                *head = rest.next();
            }
        }
        for (at, count) in window[..behind].iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            packing.add(start + at as u64, std::mem::take(count));
        }
    }
    packing.finish()
}

/// How many indices are added up at a time.
const WINDOW: u64 = 1 << 14;

// Inlined: it is done for each bucket of each line of a log, and this crate is built for its size.
#[inline(always)]
pub(super) fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[inline(always)]
fn read(bytes: &mut &[u8]) -> Option<u64> {
    // Nearly all are less than 128.
    if let Some((byte @ ..0x80, rest)) = bytes.split_first() {
        *bytes = rest;
        return Some((*byte).into());
    }
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            break;
        }
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(buckets: &[(u64, u64)]) -> Packed {
        let mut packing = Packing::default();
        buckets.iter().for_each(|(index, count)| packing.add(*index, *count));
        packing.finish()
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        let buckets = [(0, 1), (1, u64::MAX), (130, 127), (131, 128), (1 << 40, 3)];
        assert_eq!(packed(&buckets).iter().collect::<Vec<_>>(), buckets);
        assert_eq!(packed(&[]).iter().next(), None);
        assert_eq!(packed(&[(3, 1), (3, 2), (4, 1)]).iter().collect::<Vec<_>>(), [(3, 3), (4, 1)]);
        assert_eq!(packed(&buckets[..1]).size(), 2);
    }

    #[test]
    fn a_sum_is_what_merging_one_after_the_other_makes() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut one = || {
            let mut indices: Vec<u64> = (0..random.usize(..200)).map(|_| random.u64(..5 * WINDOW)).collect();
            indices.sort_unstable();
            packed(&indices.iter().map(|index| (*index, 1 + index % 300)).collect::<Vec<_>>())
        };
        let all: Vec<Packed> =
            (0..20).map(|_| one()).chain([packed(&[(1 << 40, u64::MAX)]), packed(&[(1 << 40, 7)])]).collect();
        let merged = all.iter().fold(Packed::default(), |sum, next| merged(&sum, next));
        assert!(sum(all.iter()).iter().eq(merged.iter()));
        assert_eq!(sum(std::iter::empty()).iter().next(), None);
    }

    #[test]
    fn merged_buckets_are_in_order_and_equal_ones_add_up() {
        let (a, b) = (packed(&[(1, 2), (5, u64::MAX), (9, 1)]), packed(&[(0, 7), (5, 3)]));
        for both in [merged(&a, &b), merged(&b, &a)] {
            assert_eq!(both.iter().collect::<Vec<_>>(), [(0, 7), (1, 2), (5, u64::MAX), (9, 1)]);
        }
    }
}
