//! A sum of bytes that shows later whether a file still has them.

/// The sum of bytes that came in any portions. It is fast, and no protection against somebody who wants other bytes to have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checksum {
    sum: u64,
    /// The last bytes, fewer than eight, with zeros after them.
    rest: [u8; 8],
    len: u64,
}

impl Checksum {
    /// Of no bytes.
    pub(super) fn new() -> Checksum {
        Checksum { sum: 0x9E37_79B9_7F4A_7C15, rest: [0; 8], len: 0 }
    }

    /// Adds the next bytes.
    pub(super) fn add(&mut self, mut bytes: &[u8]) {
        let within = (self.len % 8) as usize;
        self.len += bytes.len() as u64;
        if within > 0 {
            let (first, others) = bytes.split_at(bytes.len().min(8 - within));
            self.rest[within..within + first.len()].copy_from_slice(first);
            bytes = others;
            if within + first.len() < 8 {
                return;
            }
            self.take(self.rest);
        }
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.take(*word));
        self.rest = [0; 8];
        self.rest[..rest.len()].copy_from_slice(rest);
    }

    fn take(&mut self, word: [u8; 8]) {
        // The halves of a product by an odd number: each bit of the word changes about half of the sum's.
        let product = u128::from(self.sum ^ u64::from_le_bytes(word)) * 0xA076_1D64_78BD_642F;
        self.sum = (product as u64 ^ (product >> 64) as u64).wrapping_add(0xE703_7ED1_A0B4_28DB);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(portions: impl IntoIterator<Item = &'a [u8]>) -> Checksum {
        let mut sum = Checksum::new();
        portions.into_iter().for_each(|portion| sum.add(portion));
        sum
    }

    #[test]
    fn portions_do_not_matter_and_bytes_do() {
        let all: Vec<u8> = (0..1_000u32).map(|i| (i * i % 251) as u8).collect();
        for size in [1, 2, 3, 7, 8, 9, 64, 999] {
            assert_eq!(of(all.chunks(size)), of([&all[..]]), "portions of {size}");
        }
        let mut other = all.clone();
        for place in 0..all.len() {
            other[place] ^= 1;
            assert_ne!(of([&other[..]]), of([&all[..]]), "byte {place}");
            other[place] ^= 1;
        }
        assert_ne!(of([&[0u8; 8][..]]), of([&[0u8; 9][..]]));
    }

    #[test]
    fn zeros_are_no_fixed_point() {
        let sums: std::collections::HashSet<u64> = (1..100).map(|words| of([&vec![0; 8 * words][..]]).sum).collect();
        assert_eq!(sums.len(), 99);
    }
}
