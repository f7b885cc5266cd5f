//! Bytes as letters that mean nothing to HTML: 13 bits in two of 91. Base64 has 12 bits in two.

use std::io::{self, BufRead, Read};

const BITS: u32 = 13;
const COUNT: u16 = 91;
/// All that ASCII shows but a blank and what HTML gives a meaning.
const LETTERS: [u8; COUNT as usize] = {
    let mut letters = [0; COUNT as usize];
    let (mut at, mut next) = (0, b'!');
    while at < letters.len() {
        if !matches!(next, b'<' | b'>' | b'&') {
            letters[at] = next;
            at += 1;
        }
        next += 1;
    }
    letters
};
/// What each letter stands for; of other bytes, more than any.
const VALUES: [u16; 256] = {
    let mut values = [u16::MAX; 256];
    let mut at = 0;
    while at < LETTERS.len() {
        values[LETTERS[at] as usize] = at as u16;
        at += 1;
    }
    values
};

pub(super) fn spell(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 5 / 4);
    let (mut bits, mut count) = (0u32, 0);
    let mut pair = |bits: u32| {
        let value = bits as u16 & ((1 << BITS) - 1);
        text.extend([value / COUNT, value % COUNT].map(|letter| char::from(LETTERS[usize::from(letter)])));
    };
    for byte in bytes {
        bits |= u32::from(*byte) << count;
        count += 8;
        if count >= BITS {
            pair(bits);
            bits >>= BITS;
            count -= BITS;
        }
    }
    if count > 0 {
        pair(bits);
    }
    text
}

/// What [`spell`] spelled, up to a `<`, with perhaps a zero behind it.
pub(super) struct Letters<R> {
    from: R,
    bits: u32,
    count: u32,
}

impl<R: BufRead> Letters<R> {
    pub(super) fn of(from: R) -> Letters<R> {
        Letters { from, bits: 0, count: 0 }
    }

    /// The next letter's value; `None` at the end.
    fn next(&mut self) -> io::Result<Option<u16>> {
        let Some(byte) = self.from.fill_buf()?.first().copied().filter(|byte| *byte != b'<') else { return Ok(None) };
        self.from.consume(1);
        let value = Some(VALUES[usize::from(byte)]).filter(|value| *value < COUNT);
        value.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a byte of it is no letter"))
    }
}

impl<R: BufRead> Read for Letters<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut written = 0;
        loop {
            while self.count >= 8 {
                let Some(place) = into.get_mut(written) else { return Ok(written) };
                *place = self.bits as u8;
                written += 1;
                self.bits >>= 8;
                self.count -= 8;
            }
            let Some(first) = self.next()? else { return Ok(written) };
            let Some(second) = self.next()? else { return Ok(written) };
            self.bits |= u32::from(first * COUNT + second) << self.count;
            self.count += BITS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        Letters::of(text.as_bytes()).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn bytes_come_back() {
        let mut random = fastrand::Rng::with_seed(4);
        for length in 0..300 {
            let bytes: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
            let text = spell(&bytes);
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>&".contains(&byte)), "{text}");
            assert!(text.len() <= length * 16 / 13 + 2);
            let read = read(&format!("{text}</script>{text}")).unwrap();
            assert!(read.starts_with(&bytes) && read[length..].iter().all(|byte| *byte == 0), "{length}");
            assert!(read.len() <= length + 1);
        }
    }

    #[test]
    fn any_text_has_an_answer() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..1_000 {
            let text: String = (0..random.usize(0..40)).map(|_| char::from(random.u8(0x21..0x7f))).collect();
            let end = text.find('<').unwrap_or(text.len());
            assert_eq!(read(&text).is_ok(), !text[..end].contains(['>', '&']), "{text}");
        }
        for other in [" ", "\n", "\0", "é"] {
            assert!(read(&format!("ab{other}cd")).is_err());
        }
    }
}
