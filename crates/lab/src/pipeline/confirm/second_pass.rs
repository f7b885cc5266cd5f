//! The second pass, after the first one found a difference: counts how often each line is in the inputs and in the output.
//!
//! It counts only lines of the sieve's uneven buckets, in a table of at most [`MOST`] different lines. If there are more, it
//! takes them in turns, bucket after bucket, and reads all files in each turn.

use std::ops::{ControlFlow, Range};

use super::evidence::EvidenceError;
use super::first_pass::{FirstPass, InputProgress, Sieve};
use super::inputs::Inputs;
use super::lines::{ByLine, Line, LineHash, Place};
use super::output::Damage;
use super::torn::Candidates;

/// The most different lines to count at once: a table of 2²¹ places takes one more before it grows beyond 86 MB.
pub(super) const MOST: usize = (1 << 21) / 8 * 7 - 1;

/// How often a line should be in the output, and how often it is there.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Copies {
    pub(super) expected: u64,
    pub(super) seen: u64,
    /// How many of the lost copies were already charged to an input.
    charged: u64,
}

impl Copies {
    fn lost(self) -> u64 {
        self.expected.saturating_sub(self.seen)
    }
}

/// A line that is lost.
#[derive(Debug, Clone, Copy)]
pub(super) struct LostLine {
    pub(super) place: Place,
    pub(super) copies: Copies,
    /// Its number in its input, from 0.
    number: u64,
}

/// The lines that an input lost.
#[derive(Default)]
pub(super) struct Loss {
    /// How many are missing. If several inputs have a line, nobody can tell which of them lost it: it counts for one that the first
    /// pass did not find up to there.
    pub(super) missing: u64,
    /// The number of the first one in the input, from 0, and its place.
    pub(super) from: Option<(u64, Place)>,
    /// The input's first line of which the output has fewer copies than the inputs.
    pub(super) first: Option<LostLine>,
    /// The line at which the input got stuck, if that is such a line.
    pub(super) stuck: Option<LostLine>,
}

/// The result of the second pass.
#[derive(Default)]
pub(super) struct SecondPass {
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    /// The number of lines of no input, torn or not.
    pub(super) foreign: u64,
    /// The first damaged line, apart from cut ones.
    pub(super) first: Option<(Place, Damage)>,
    pub(super) candidates: Candidates,
    /// By input.
    pub(super) losses: Vec<Loss>,
}

/// Takes a line of the output, its damage if it is cut, and its bytes.
pub(super) type EachOf<'a> = dyn FnMut(Line, Option<Damage>, Option<&[u8]>) -> Result<(), EvidenceError> + 'a;

/// Reads the output once.
pub(super) type EachLine<'a> = dyn FnMut(&mut EachOf<'_>) -> Result<(), EvidenceError> + 'a;

/// Counts in tables of at most `most` different lines.
pub(super) fn count(
    inputs: &mut Inputs,
    followed: &FirstPass,
    most: usize,
    each_line: &mut EachLine,
) -> Result<SecondPass, EvidenceError> {
    let mut counted = SecondPass::default();
    counted.losses.resize_with(inputs.len(), Loss::default);
    let (numbers, uneven) = followed.sieve.uneven();
    let room = usize::try_from(followed.lines).unwrap_or(most).min(most) + 1;
    let table = ByLine::with_capacity_and_hasher(room, Default::default());
    let mut turn = BucketRange { sieve: &followed.sieve, numbers: &numbers, now: 0..uneven, most, table };
    while !turn.now.is_empty() {
        turn.expect(inputs, followed.lines)?;
        turn.see(&mut counted, each_line)?;
        turn.settle(&mut counted, inputs, &followed.inputs)?;
        turn.table.clear();
        // As many buckets as fitted are likely to fit again.
        let buckets = turn.now.end - turn.now.start;
        turn.now = turn.now.end..uneven.min(turn.now.end.saturating_add(buckets));
    }
    Ok(counted)
}

/// For an output that ends early: the rest of the inputs is lost, so this counts only the lines that a message names.
pub(super) fn count_rest(
    inputs: &mut Inputs,
    followed: &FirstPass,
    each_line: &mut EachLine,
) -> Result<SecondPass, EvidenceError> {
    let stuck = followed.inputs.iter().filter_map(|input| input.stuck);
    let mut table: ByLine<Copies> = stuck.map(|(line, _)| (line, Copies::default())).collect();
    if table.is_empty() {
        return Ok(SecondPass::default());
    }
    for input in 0..inputs.len() {
        inputs.each_line(input, |_, line| {
            if let Some(copies) = table.get_mut(&line.hash) {
                copies.expected += 1;
            }
            ControlFlow::Continue(())
        })?;
    }
    each_line(&mut |line, cut, _| {
        if let Some(copies) = table.get_mut(&line.hash).filter(|_| cut.is_none()) {
            copies.seen += 1;
        }
        Ok(())
    })?;
    let loss = |input: &InputProgress| match input.stuck {
        None => Loss::default(),
        Some((line, place)) => {
            let lost = Some(LostLine { place, copies: table[&line], number: input.found });
            Loss { missing: input.lines - input.found, from: Some((input.found, place)), first: lost, stuck: lost }
        }
    };
    let losses: Vec<Loss> = followed.inputs.iter().map(loss).collect();
    let lost = losses.iter().map(|loss| loss.missing).sum();
    Ok(SecondPass { lost, losses, ..SecondPass::default() })
}

/// The buckets of one turn, and their lines.
struct BucketRange<'a> {
    sieve: &'a Sieve,
    /// The number of each uneven bucket among the uneven ones.
    numbers: &'a [Option<u32>],
    /// The numbers of the buckets of this turn.
    now: Range<u32>,
    most: usize,
    table: ByLine<Copies>,
}

impl BucketRange<'_> {
    fn has(&self, line: LineHash) -> bool {
        self.numbers[self.sieve.bucket(line)].is_some_and(|number| self.now.contains(&number))
    }

    /// Counts the inputs' lines, of which there are `lines`, and leaves buckets for later turns whenever the table is too large.
    fn expect(&mut self, inputs: &mut Inputs, lines: u64) -> Result<(), EvidenceError> {
        let mut read: u64 = 0;
        for input in 0..inputs.len() {
            inputs.each_line(input, |_, line| {
                read += 1;
                if self.has(line.hash) {
                    self.table.entry(line.hash).or_default().expected += 1;
                    while self.table.len() > self.most && self.now.len() > 1 {
                        self.shrink(read as f64 / lines.max(1) as f64);
                    }
                }
                ControlFlow::Continue(())
            })?;
        }
        Ok(())
    }

    /// Leaves as many buckets for later that the others fit, if the remaining lines are like the `share` that was read.
    fn shrink(&mut self, share: f64) {
        let buckets = self.now.end - self.now.start;
        let stay = (f64::from(buckets) * (share * 0.95).min(0.5)) as u32;
        self.now.end = self.now.start + stay.max(1);
        let (sieve, numbers, now) = (self.sieve, self.numbers, self.now.clone());
        let stays = |line: LineHash| numbers[sieve.bucket(line)].is_some_and(|number| now.contains(&number));
        // Into an empty table, as one with removed entries grows before it is full.
        let kept: Vec<_> = self.table.drain().filter(|(line, _)| stays(*line)).collect();
        self.table.extend(kept);
    }

    /// Counts the output's lines.
    fn see(&mut self, counted: &mut SecondPass, each_line: &mut EachLine) -> Result<(), EvidenceError> {
        each_line(&mut |line, cut, bytes| {
            if cut.is_some() || !self.has(line.hash) {
                return Ok(());
            }
            let damage = match self.table.get_mut(&line.hash) {
                Some(copies) => {
                    copies.seen += 1;
                    if copies.seen <= copies.expected {
                        return Ok(());
                    }
                    counted.duplicated += 1;
                    Damage::Duplicated
                }
                None => {
                    counted.foreign += 1;
                    counted.candidates.offer(line.place.line, bytes);
                    Damage::Foreign
                }
            };
            if counted.first.is_none_or(|(first, _)| line.place < first) {
                counted.first = Some((line.place, damage));
            }
            Ok(())
        })
    }

    /// Charges the lost lines to inputs: first to inputs in which they come after what the first pass found.
    fn settle(
        &mut self,
        counted: &mut SecondPass,
        inputs: &mut Inputs,
        progress: &[InputProgress],
    ) -> Result<(), EvidenceError> {
        let mut open: u64 = self.table.values().map(|copies| copies.lost()).sum();
        counted.lost += open;
        for followed in [false, true] {
            if open == 0 {
                break;
            }
            for (input, progress) in progress.iter().enumerate() {
                let loss = &mut counted.losses[input];
                inputs.each_line(input, |number, line| {
                    if !self.has(line.hash) {
                        return ControlFlow::Continue(());
                    }
                    let Some(copies) = self.table.get_mut(&line.hash).filter(|copies| copies.lost() > 0) else {
                        return ControlFlow::Continue(());
                    };
                    loss.note(number, line.place, *copies, progress);
                    if (number < progress.found) == followed && copies.charged < copies.lost() {
                        copies.charged += 1;
                        open -= 1;
                        loss.miss(number, line.place);
                    }
                    ControlFlow::Continue(())
                })?;
            }
        }
        Ok(())
    }
}

impl Loss {
    fn note(&mut self, number: u64, place: Place, copies: Copies, progress: &InputProgress) {
        let lost = LostLine { place, copies, number };
        if self.first.is_none_or(|first| number < first.number) {
            self.first = Some(lost);
        }
        if number == progress.found {
            self.stuck = Some(lost);
        }
    }

    fn miss(&mut self, number: u64, place: Place) {
        self.missing += 1;
        if self.from.is_none_or(|(first, _)| number < first) {
            self.from = Some((number, place));
        }
    }
}
