//! The first pass: every input and the output once, all side by side.
//!
//! Each input waits for its next line; an output line moves on all that wait for it, which finds each input as a subsequence
//! as early as it can be. Beside that runs a [`Sieve`], which tells later where lines are not as often in the output as in
//! the inputs. Of an input only its place and what was read ahead is kept.

use super::evidence::EvidenceError;
use super::inputs::{Cursor, Inputs};
use super::lines::{ByLine, Line, LineHash, Place};
use super::output::Damage;

/// What the first pass found.
pub(super) struct FirstPass {
    pub(super) inputs: Vec<InputProgress>,
    /// Lines in the inputs; of those that were split, each piece.
    pub(super) lines: u64,
    /// Lines that were split.
    pub(super) long_lines: u64,
    /// Lines of the output that are torn for certain: glued or unterminated.
    pub(super) cut: u64,
    /// The first of these.
    pub(super) first_cut: Option<(Place, Damage)>,
    pub(super) sieve: Sieve,
    /// Whether the output holds what was followed of the inputs and nothing else, but for lines that are cut: then what is
    /// left of each input is what is lost of it. So ends an output that was not written to its end.
    pub(super) ends_early: bool,
}

/// How far an input was found in the output.
#[derive(Default)]
pub(super) struct InputProgress {
    /// Its lines.
    pub(super) lines: u64,
    /// How many of them were found, in order.
    pub(super) found: u64,
    /// The one after these.
    pub(super) stuck: Option<(LineHash, Place)>,
}

/// Reads everything once.
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

    /// What is left of the inputs that the output does not show: it counts, and must be as it was.
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

/// By the line that they wait for: the inputs that this line would move on. A line moves on only inputs that have it, so
/// there are at most as many moves as the inputs have lines.
#[derive(Default)]
struct WaitingInputs {
    /// One of them.
    first: ByLine<usize>,
    /// For each input another one that waits for the same line.
    next: Vec<Option<usize>>,
}

impl WaitingInputs {
    fn add(&mut self, input: usize, line: LineHash) {
        self.next[input] = self.first.insert(line, input);
    }
}

/// Where lines are in the inputs and in the output equally often, without a table of all lines.
///
/// Lines are dealt to at most 2¹⁶ buckets by their hash. Each bucket is the sum (modulo 2¹²⁸) of the hashes of the inputs'
/// lines minus that of the output's, so that it is 0 when both have the same lines equally often. It is 0 otherwise by chance:
/// the odds are 2⁻¹²⁸ when some line's copies differ by an odd number, and 2ᵏ times that when all differ by multiples of 2ᵏ,
/// which is below 1 in 10²⁶ as long as there are fewer than 2⁴⁰ copies of a line.
#[derive(PartialEq, Eq)]
pub(super) struct Sieve {
    bits: u32,
    sums: Vec<u128>,
}

impl Sieve {
    /// For lines of so many bytes together: 1 MB for many, less for few.
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

    /// For each bucket that is not even, its number among those.
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
