//! The first pass: every input and the output once, all side by side.
//!
//! Each input waits for its next line, and an output line moves all inputs on that wait for it: so each input is found as a
//! subsequence as early as possible. Beside that, a [`Sieve`] finds where the output has lines more or less often than the
//! inputs. Of each input only the place and what was read ahead are in memory.

use super::evidence::EvidenceError;
use super::inputs::{Cursor, Inputs};
use super::lines::{ByLine, Line, LineHash, Place};
use super::output::Damage;

/// The result of the first pass.
pub(super) struct FirstPass {
    pub(super) inputs: Vec<InputProgress>,
    /// The number of lines in the inputs; each piece of a split line counts.
    pub(super) lines: u64,
    /// The number of lines that were split.
    pub(super) long_lines: u64,
    /// The number of output lines that are certainly torn: glued or unterminated.
    pub(super) cut: u64,
    /// The first such line.
    pub(super) first_cut: Option<(Place, Damage)>,
    pub(super) sieve: Sieve,
    /// Whether the output has what was found of the inputs and nothing else, apart from cut lines: then the rest of each input
    /// is what is lost of it. An output that was not written to its end looks like that.
    pub(super) ends_early: bool,
}

/// The part of an input that was found in the output.
#[derive(Default)]
pub(super) struct InputProgress {
    /// The number of its lines.
    pub(super) lines: u64,
    /// The number of lines that were found, in order.
    pub(super) found: u64,
    /// The next line, at which it got stuck; `None` if all were found.
    pub(super) stuck: Option<(LineHash, Place)>,
}

/// Reads the inputs and the output once.
pub(super) fn follow(
    inputs: &mut Inputs,
    mut each_line: impl FnMut(
        &mut dyn FnMut(Line, Option<Damage>) -> Result<(), EvidenceError>,
    ) -> Result<(), EvidenceError>,
) -> Result<FirstPass, EvidenceError> {
    let cursors = inputs.cursors();
    let sieve = Sieve::new(inputs.bytes());
    let mut front =
        SideBySide { inputs, cursors, waiting: WaitingInputs::default(), progress: Vec::new(), sieve, long_lines: 0 };
    front.progress.resize_with(front.cursors.len(), InputProgress::default);
    front.waiting.next.resize(front.cursors.len(), None);
    for input in 0..front.cursors.len() {
        front.wait_for_next(input)?;
    }
    let (mut cut, mut first_cut) = (0, None);
    each_line(&mut |line, damage| {
        if let Some(damage) = damage {
            cut += 1;
            first_cut.get_or_insert((line.place, damage));
            return Ok(());
        }
        front.sieve.take(line.hash);
        front.move_on(line.hash)
    })?;
    let rest = front.read_the_rest()?;
    let SideBySide { progress, sieve, long_lines, .. } = front;
    let ends_early = sieve == rest;
    let lines = progress.iter().map(|progress| progress.lines).sum();
    Ok(FirstPass { inputs: progress, lines, long_lines, cut, first_cut, sieve, ends_early })
}

struct SideBySide<'a, 'e> {
    inputs: &'a mut Inputs<'e>,
    cursors: Vec<Cursor>,
    waiting: WaitingInputs,
    progress: Vec<InputProgress>,
    sieve: Sieve,
    long_lines: u64,
}

impl SideBySide<'_, '_> {
    fn wait_for_next(&mut self, input: usize) -> Result<(), EvidenceError> {
        let next = self.read(input)?;
        self.progress[input].stuck = next.map(|line| (line.hash, line.place));
        if let Some(line) = next {
            self.waiting.add(input, line.hash);
        }
        Ok(())
    }

    fn read(&mut self, input: usize) -> Result<Option<Line>, EvidenceError> {
        let next = self.inputs.next(&mut self.cursors[input])?;
        if let Some(line) = &next {
            self.sieve.put(line.hash);
            self.long_lines += u64::from(line.is_long);
        }
        Ok(next)
    }

    fn move_on(&mut self, line: LineHash) -> Result<(), EvidenceError> {
        let mut next = self.waiting.first.remove(&line);
        while let Some(input) = next {
            next = self.waiting.next[input].take();
            self.progress[input].found += 1;
            self.wait_for_next(input)?;
        }
        Ok(())
    }

    /// Reads the rest of the inputs, to count it and to see that it is unchanged.
    fn read_the_rest(&mut self) -> Result<Sieve, EvidenceError> {
        let mut rest = Sieve::new(self.inputs.bytes());
        for input in 0..self.cursors.len() {
            if let Some((stuck, _)) = self.progress[input].stuck {
                rest.put(stuck);
                while let Some(line) = self.read(input)? {
                    rest.put(line.hash);
                }
            }
            self.progress[input].lines = self.cursors[input].read();
        }
        Ok(rest)
    }
}

/// The inputs by the line that they wait for. A line moves on only inputs that have it, so there are at most as many moves as
/// the inputs have lines.
#[derive(Default)]
struct WaitingInputs {
    /// One of the inputs that wait for a line.
    first: ByLine<usize>,
    /// For each input, another one that waits for the same line.
    next: Vec<Option<usize>>,
}

impl WaitingInputs {
    fn add(&mut self, input: usize, line: LineHash) {
        self.next[input] = self.first.insert(line, input);
    }
}

/// Finds where the output has lines as often as the inputs, without a table of all lines.
///
/// Each line belongs to one of at most 2¹⁶ buckets, by its hash. Each bucket is the sum (modulo 2¹²⁸) of the hashes of the
/// inputs' lines minus that of the output's, so it is 0 if both have the same lines equally often. Otherwise it is 0 only by
/// chance: with odds of 2⁻¹²⁸ if some line's copies differ by an odd number, and of 2ᵏ times that if all differ by multiples of
/// 2ᵏ. That is below 1 in 10²⁶ as long as there are fewer than 2⁴⁰ copies of a line.
#[derive(PartialEq, Eq)]
pub(super) struct Sieve {
    bits: u32,
    sums: Vec<u128>,
}

impl Sieve {
    /// A sieve for lines of `bytes` bytes together: it takes 1 MB for many, less for few.
    fn new(bytes: u64) -> Sieve {
        let bits = (bytes / 32).max(1).ilog2().clamp(4, 16);
        Sieve { bits, sums: vec![0; 1 << bits] }
    }

    pub(super) fn bucket(&self, line: LineHash) -> usize {
        line.first_bits(self.bits)
    }

    fn put(&mut self, line: LineHash) {
        let bucket = self.bucket(line);
        let sum = &mut self.sums[bucket];
        *sum = sum.wrapping_add(line.number());
    }

    fn take(&mut self, line: LineHash) {
        let bucket = self.bucket(line);
        let sum = &mut self.sums[bucket];
        *sum = sum.wrapping_sub(line.number());
    }

    /// The number of each uneven bucket among the uneven ones, and how many those are.
    pub(super) fn uneven(&self) -> (Vec<Option<u32>>, u32) {
        let mut count = 0;
        let number = |sum: &u128| {
            (*sum != 0).then(|| {
                count += 1;
                count - 1
            })
        };
        let numbers = self.sums.iter().map(number).collect();
        (numbers, count)
    }
}
