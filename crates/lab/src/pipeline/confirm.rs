//! Whether a merged file holds what its inputs hold.
//!
//! [`confirm`] reads the files again, after the merge, and decides two things exactly:
//!
//! - the output has the inputs' lines, each as often as the inputs have it together, and no other line;
//! - each input's lines occur in the output in their order (as a subsequence, for each input by itself).
//!
//! What it does not decide is whether one interleaving gives every input its order *at the same time*, without two inputs
//! claiming the same copy of a line: for inputs whose lines do not say where they come from that is NP-complete. It only
//! makes a difference where inputs share lines; where every line is in one input only, the two conditions are exact.
//! A correct merge always passes. With [`ConfirmSettings::tags`] each line of the output says which input it is from, and then both
//! conditions are exact, whatever the inputs share: each input's lines are in the output in their order, and nothing else is.
//!
//! A line is its bytes up to the newline: carriage returns, NULs, invalid UTF-8 and empty lines count. An input's last
//! line may lack its newline; it is delivered with one and is the same line. The output's last line may not. With
//! [`ConfirmSettings::max_line`] a longer line of an input is as many lines as it has pieces; that is what is counted.
//!
//! # What is counted
//!
//! | count | unit | meaning |
//! |---|---|---|
//! | lost | lines | for each line of the inputs: the copies in the inputs beyond those in the output |
//! | duplicated | lines | for each line of the inputs: the copies in the output beyond those in the inputs |
//! | torn | output lines | no line of any input, but a piece of one, or a whole one glued to a piece or to another whole one (`confirm/torn.rs` has the exact definition and its bounds); or without a newline at the output's end; or glued to what the file held before this merge |
//! | foreign | output lines | no line of any input, and not torn; with tags also a line without a tag, or with one of no input |
//! | reordered | inputs | not in order in the output, though none of their lines is lost |
//!
//! A torn line delivers nothing: the line that it was made of is lost too. A flipped byte is one lost line and one foreign one.
//!
//! # Verdicts
//!
//! *Ok* needs every count to be zero and every file to have been read as it was. *Failed* names file, line and byte of the
//! first damaged output line, of a lost line, and of a line that is out of order, as far as there are any. *Unverifiable*
//! means that the evidence is gone or has changed: then the counts mean nothing, whatever they are. No inputs at
//! all is unverifiable, since there is nothing to hold the output against; empty inputs and an empty output are ok.
//!
//! An input rewritten in place, to the same length or more, cannot be told from a merge that went wrong: it fails.
//!
//! # Memory and time
//!
//! Memory depends on the number of inputs, not on that of lines. A first pass (`confirm/follow.rs`) reads all inputs and the
//! output side by side, once, and is all that a clean merge takes: 2 MB of sums, some 300 bytes for every input, and up to 16
//! MiB read ahead of all inputs together, or 1 KiB of each where that is more. An output that only ends early needs no more
//! memory, but another reading. Only for other differences does a second pass (`confirm/count.rs`) count lines, those alone
//! that may differ, in a table of at most 1.8 million different ones (86 MB); where there are more, they are taken in turns,
//! each with a reading of its own. Foreign lines take up to some 36 MB more, for at most 256 of them. Every line costs a
//! constant time in each reading, however many inputs there are. At most 64 inputs are open at once.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

use super::tag::tag;
use evidence::EvidenceError;
pub use evidence::{ConfirmSettings, InputEvidence, OutputEvidence, Part, PartFile};
use first_pass::{FirstPass, follow};
use inputs::Inputs;
use lines::{HashKey, LineOrigin, Place};
use output::{Damage, MergedFile};
use pollscope_record::message::Message;
use pollscope_record::recording::{Confirmation, Merge, Missing, Verdict};
use second_pass::{EachOf, LostLine, SecondPass, count, count_rest};
use torn::Suspects;

mod evidence;
mod first_pass;
mod inputs;
mod lines;
mod output;
pub mod present;
mod second_pass;
#[cfg(test)]
mod tests;
mod torn;

/// Finds out what became of every line; the module says how, and what each count means.
///
/// It blocks: call it where that is allowed. Nobody may be writing to the output meanwhile.
///
/// ```
/// # use std::{fs, os::unix::fs::MetadataExt};
/// use pollscope_lab::pipeline::confirm::{ConfirmSettings, InputEvidence, OutputEvidence, confirm};
/// use pollscope_record::recording::Verdict;
/// # let dir = tempfile::tempdir()?;
/// let (input, output) = (dir.path().join("a.log"), dir.path().join("merged.log"));
/// fs::write(&input, "one\ntwo\n")?;
/// fs::write(&output, "one\n")?;
/// let (i, o) = (fs::metadata(&input)?, fs::metadata(&output)?);
///
/// let inputs = [InputEvidence::whole(input, i.len(), i.dev(), i.ino(), false)];
/// let output = OutputEvidence { path: output, start: 0, dev: o.dev(), ino: o.ino() };
/// let merge = confirm(&inputs, &output, &ConfirmSettings::default());
/// assert_eq!((merge.verdict, merge.lost), (Verdict::Failed, 1));
/// assert!(merge.reason.unwrap().ends_with("a.log` is not in the output"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn confirm(inputs: &[InputEvidence], output: &OutputEvidence, how: &ConfirmSettings) -> Merge {
    examine(inputs, output, how).merge
}

/// [`confirm`], and what is missing of which input.
pub fn examine(inputs: &[InputEvidence], output: &OutputEvidence, how: &ConfirmSettings) -> Confirmation {
    examine_within(inputs, output, how, second_pass::MOST)
}

/// With tables of at most `most` different lines.
fn examine_within(
    inputs: &[InputEvidence],
    output: &OutputEvidence,
    how: &ConfirmSettings,
    most: usize,
) -> Confirmation {
    let mut merge = Merge {
        bytes: inputs.iter().fold(0, |sum, input| sum.saturating_add(input.bytes())),
        unterminated: inputs.iter().map(InputEvidence::unterminated).sum(),
        ..Merge::unverifiable(inputs.len() as u64, Message::text(""))
    };
    match compare(inputs, output, how, most, &mut merge) {
        Ok(Judgement { differences, missing, ends_early }) => {
            merge.verdict = if differences.is_empty() { Verdict::Ok } else { Verdict::Failed };
            merge.reason = Message::join(differences);
            Confirmation { merge, missing, ends_early }
        }
        Err(EvidenceError(reason)) => {
            merge.reason = Some(reason);
            Confirmation { merge, missing: Vec::new(), ends_early: false }
        }
    }
}

struct Judgement {
    /// Each kind of difference in a sentence.
    differences: Vec<Message>,
    missing: Vec<Missing>,
    ends_early: bool,
}

/// Fills in the counts.
fn compare(
    inputs: &[InputEvidence],
    output: &OutputEvidence,
    how: &ConfirmSettings,
    most: usize,
    merge: &mut Merge,
) -> Result<Judgement, EvidenceError> {
    if inputs.is_empty() {
        return Err(EvidenceError::new(&output.path, "there were no inputs to hold it against"));
    }
    let is_output = |part: &Part| (part.dev, part.ino) == (output.dev, output.ino) && part.to > output.start;
    let overlaps = |input: &&InputEvidence| input.parts.iter().any(is_output);
    if let Some(input) = inputs.iter().find(overlaps) {
        let cause = Message::text("it is also the input ").and_path(&input.path);
        return Err(EvidenceError::because(&output.path, &cause));
    }
    let key = HashKey::random();
    let tags = how.tags.then(|| {
        inputs
            .iter()
            .enumerate()
            .map(|(index, input)| (tag(&input.path).into_bytes(), LineOrigin::input(index)))
            .collect()
    });
    let mut reading = Inputs::new(inputs, &key, how);
    let opened = MergedFile::new(output)?;
    let found = Passes::look(&mut reading, &opened, &key, tags.as_ref(), most)?;
    opened.unchanged()?;
    merge.lines = found.followed.lines;
    merge.long_lines = found.followed.long_lines;
    merge.lost = found.counted.lost;
    merge.duplicated = found.counted.duplicated;
    merge.reordered = found.reordered().count() as u64;
    let torn = found.suspects.torn().len() as u64;
    merge.torn = found.followed.cut + torn;
    merge.foreign = found.counted.foreign - torn;
    let differences =
        [found.describe_damage(&opened)?, found.describe_lost(inputs), found.describe_reordered(inputs, &opened)];
    let differences: Vec<Message> = differences.into_iter().flatten().collect();
    if differences.is_empty() && !found.is_clean {
        return Err(opened.changed("it, or an input, was changed while it was checked"));
    }
    let missing = found.missing(inputs);
    Ok(Judgement { differences, ends_early: !missing.is_empty() && found.followed.ends_early, missing })
}

/// What both passes found.
struct Passes {
    followed: FirstPass,
    counted: SecondPass,
    suspects: Suspects,
    /// Whether the first pass found no difference.
    is_clean: bool,
}

impl Passes {
    fn look(
        inputs: &mut Inputs,
        output: &MergedFile,
        key: &HashKey,
        tags: Option<&HashMap<Vec<u8>, LineOrigin>>,
        most: usize,
    ) -> Result<Passes, EvidenceError> {
        let followed = follow(inputs, |each| output.each_line(key, tags, |line, cut, _| each(line, cut)))?;
        let is_stuck = followed.inputs.iter().any(|input| input.stuck.is_some());
        let is_clean = !is_stuck && followed.cut == 0 && followed.sieve.uneven().1 == 0;
        let mut counted = SecondPass::default();
        let mut suspects = Suspects::default();
        if !is_clean {
            let mut each_line = |each: &mut EachOf<'_>| output.each_line(key, tags, each);
            counted = match followed.ends_early {
                true => count_rest(inputs, &followed, &mut each_line)?,
                false => count(inputs, &followed, most, &mut each_line)?,
            };
            suspects = Suspects::new(std::mem::take(&mut counted.candidates));
            look_again(inputs, &mut suspects)?;
        }
        Ok(Passes { followed, counted, suspects, is_clean })
    }

    /// The inputs that are not in order, each with the line at which that shows.
    fn reordered(&self) -> impl Iterator<Item = (usize, Place)> {
        let stuck = |input: usize| self.followed.inputs[input].stuck.map(|(_, place)| (input, place));
        let is_whole = |input: &usize| self.counted.losses.get(*input).is_none_or(|loss| loss.first.is_none());
        (0..self.followed.inputs.len()).filter(is_whole).filter_map(stuck)
    }

    fn describe_damage(&self, output: &MergedFile) -> Result<Option<Message>, EvidenceError> {
        let both = [self.followed.first_cut, self.counted.first];
        let Some((place, damage)) = both.into_iter().flatten().min_by_key(|(place, _)| *place) else { return Ok(None) };
        let what = match damage {
            Damage::Glued => "is torn: it is glued to what the file held before",
            Damage::Unterminated => "is torn: it has no newline",
            Damage::Duplicated => "is a copy more than the inputs have",
            Damage::Foreign if self.suspects.torn().contains(&place.line) => {
                "is torn: it is made of pieces of the inputs"
            }
            Damage::Foreign => "is in no input",
        };
        let place = Place { line: place.line + output.lines_before()?, ..place };
        Ok(Some(describe(place, output.path()).and_text(" ").and_text(what)))
    }

    /// Which of several equal lines is the lost one cannot be known. A line at which an input got stuck is the best guess;
    /// else it is the first.
    fn describe_lost(&self, inputs: &[InputEvidence]) -> Option<Message> {
        let losses = || inputs.iter().zip(&self.counted.losses);
        let stuck = losses().find_map(|(input, loss)| Some((input, loss.stuck?)));
        let (input, lost) = stuck.or_else(|| losses().find_map(|(input, loss)| Some((input, loss.first?))))?;
        let LostLine { place, copies, .. } = lost;
        let place = describe(place, &input.path);
        Some(match copies.expected {
            1 => place.and_text(" is not in the output"),
            expected => place.and_text(format!(" is in the output {} of {expected} times", copies.seen)),
        })
    }

    fn describe_reordered(&self, inputs: &[InputEvidence], output: &MergedFile) -> Option<Message> {
        let (input, place) = self.reordered().next()?;
        let place = describe(place, &inputs[input].path).and_text(" is out of order: in ").and_path(output.path());
        Some(place.and_text(" it does not follow the lines before it"))
    }

    fn missing(&self, inputs: &[InputEvidence]) -> Vec<Missing> {
        let each = inputs.iter().zip(&self.followed.inputs).zip(&self.counted.losses);
        let missing = each.filter_map(|((input, progress), loss)| {
            let (number, Place { line, byte }) = loss.from?;
            let (input, lines, of) = (input.path.clone(), loss.missing, progress.lines);
            Some(Missing { input, lines, of, line, byte, to_the_end: number + lines == of })
        });
        missing.collect()
    }
}

/// Holds the inputs' lines against those of the output that are none of them.
fn look_again(inputs: &mut Inputs, suspects: &mut Suspects) -> Result<(), EvidenceError> {
    for input in 0..inputs.len() {
        if !suspects.is_open() {
            break;
        }
        inputs.each_delivered(input, |line| {
            suspects.look_at(line);
            if suspects.is_open() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
    }
    Ok(())
}

fn describe(place: Place, path: &Path) -> Message {
    Message::text(format!("line {} (byte {}) of ", place.line, place.byte)).and_path(path)
}
