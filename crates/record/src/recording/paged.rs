//! A recording as a page has it: compressed, its histograms apart from its JSON, in letters.
//!
//! A page's own scripts do not read it. Compressed are, one after the other: the lengths of three runs of bytes, each in four with
//! the highest first; these runs, see [`Histograms`]; and the JSON, in which a distribution has only what its histogram does not tell.

use std::io::{self, BufRead, BufReader, Read, Seek, Write};

use flate2::Compression;
use flate2::bufread::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::Recording;
use super::letters::{Letters, spell};
use super::read::{FREE, Plain, ReadError, Source};
use super::wire;
use crate::dist::apart::Histograms;

const TOO_LARGE: &str = "it takes far more memory than its text";

/// # Errors
/// When it cannot be written as JSON.
pub(crate) fn write(recording: &Recording) -> serde_json::Result<String> {
    let (json, histograms) = wire::apart(Some(Histograms::default()), || wire::to_compact_json(recording));
    let (histograms, json) = (histograms.unwrap_or_default(), json?);
    let parts = histograms.parts();
    let lengths =
        parts.map(|part| u32::try_from(part.len()).expect("no recording has 4 GB of histograms").to_be_bytes());
    let [heads, gaps, counts] = parts;
    Ok(compressed(&[lengths.as_flattened(), heads, gaps, counts, json.as_bytes()]))
}

/// Bytes as a page has them.
pub(crate) fn compressed(parts: &[&[u8]]) -> String {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    parts.iter().for_each(|part| encoder.write_all(part).expect("a vector takes all"));
    spell(&encoder.finish().expect("a vector takes all"))
}

/// A file in which such a recording begins at a byte.
pub(crate) struct Paged<'f, F>(Plain<'f, F>);

impl<F: BufRead + Seek> Paged<'_, F> {
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn at(file: &mut F, start: u64) -> io::Result<Paged<'_, F>> {
        Plain::at(file, start).map(Paged)
    }
}

impl<F: BufRead + Seek> Source for Paged<'_, F> {
    type Reader<'a>
        = BufReader<Inflated<&'a mut F>>
    where
        Self: 'a;

    fn length(&self) -> u64 {
        self.0.length()
    }

    fn open(&mut self) -> Result<(Self::Reader<'_>, Option<Histograms>), ReadError> {
        let most = FREE + self.0.length();
        let (file, _) = self.0.open()?;
        let mut reader = BufReader::with_capacity(64 << 10, Inflated::of(file, most));
        let mut lengths = [[0; 4]; 3];
        for length in &mut lengths {
            reader.read_exact(length).map_err(read_error)?;
        }
        let lengths = lengths.map(u32::from_be_bytes);
        // Each takes as much again when it is read.
        if lengths.iter().map(|length| u64::from(*length)).sum::<u64>() > most / 2 {
            return Err(ReadError::Format(TOO_LARGE.to_owned()));
        }
        let mut parts = lengths.map(|length| Vec::with_capacity(length as usize));
        for (part, length) in parts.iter_mut().zip(lengths) {
            (&mut reader).take(length.into()).read_to_end(part).map_err(read_error)?;
            if part.len() < length as usize {
                return Err(ReadError::Torn);
            }
        }
        Ok((reader, Some(Histograms::of(parts))))
    }
}

fn read_error(error: io::Error) -> ReadError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ReadError::Torn,
        io::ErrorKind::InvalidData => ReadError::Format(error.to_string()),
        _ => ReadError::Io(error),
    }
}

/// What letters inflate to, up to a limit.
pub(crate) struct Inflated<R> {
    from: ZlibDecoder<BufReader<Letters<R>>>,
    left: u64,
}

impl<R: BufRead> Inflated<R> {
    fn of(file: R, most: u64) -> Inflated<R> {
        Inflated { from: ZlibDecoder::new(BufReader::with_capacity(16 << 10, Letters::of(file))), left: most }
    }
}

impl<R: BufRead> Read for Inflated<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
        let count = match self.from.read(into) {
            Ok(count) => count,
            // The page ends early, which whoever reads notices.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => {
                return Err(invalid("the page's recording cannot be inflated"));
            }
            Err(error) => return Err(error),
        };
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| invalid(TOO_LARGE))?;
        Ok(count)
    }
}
