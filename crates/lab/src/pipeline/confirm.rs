//! Decides whether a merged file has what its inputs have.
//!
//! [`confirm`] reads the files again, after the merge, and decides two things exactly:
//!
//! - the output has the inputs' lines, each as often as all inputs together have it, and no other line;
//! - each input's lines are in the output in their order (as a subsequence, for each input by itself).
//!
//! It does not decide whether one interleaving gives every input its order *at the same time*, without two inputs that
//! claim the same copy of a line: if lines do not say which input they are from, that is NP-complete. It matters only if
//! inputs share lines; if every line is in one input only, the two conditions are exact. A correct merge always passes.
//! With [`ConfirmSettings::tags`] each line of the output says which input it is from, and both conditions are always exact.
//!
//! A line is its bytes up to the newline: carriage returns, NULs, invalid UTF-8 and empty lines count. An input's last
//! line may lack its newline; the merge delivers it with one, and it is the same line. The output's last line may not. With
//! [`ConfirmSettings::max_line`] a longer line of an input counts as many lines as it has pieces.
//!
//! # What is counted
//!
//! | count | unit | meaning |
//! |---|---|---|
//! | lost | lines | of each line of the inputs: the copies that the output has too few |
//! | duplicated | lines | of each line of the inputs: the copies that the output has too many |
//! | torn | output lines | no line of any input, but a piece of one, or a complete one glued to a piece or to another complete one (`confirm/torn.rs` has the exact definition and its bounds); or without a newline at the output's end; or glued to what the file had before this merge |
//! | foreign | output lines | no line of any input, and not torn; with tags, also a line without an input's tag |
//! | reordered | inputs | not in order in the output, although none of their lines is lost |
//!
//! A torn line delivers nothing: the line that it was made of counts as lost, too. A flipped byte makes one lost line and one foreign line.
//!
//! # Verdicts
//!
//! *Ok* means that every count is zero and every file is as it was when it was merged. *Failed* names file, line and byte of
//! the first damaged output line, of a lost line, and of a line that is out of order, if there are such lines. *Unverifiable*
//! means that the evidence is gone or has changed; then the counts mean nothing. Without inputs a merge is unverifiable, since
//! there is nothing to compare the output with; empty inputs and an empty output are ok.
//!
//! A merge that seems to have failed is compared once more with sums of what was read: if an input was changed in place since, the
//! merge is unverifiable. `pollscope confirm` has no such sums: there, it fails.
//!
//! # Memory and time
//!
//! Memory depends on the number of inputs, not on the number of lines. A first pass (`confirm/first_pass.rs`) reads all inputs and
//! the output side by side, once. A clean merge needs no more: 2 MB of sums, some 300 bytes for every input, and up to 16 MiB read
//! ahead of all inputs together, or 1 KiB of each if that is more. An output that only ends early needs no more memory, but another
//! reading. For other differences a second pass (`confirm/second_pass.rs`) counts the lines that may differ, in a table of at most
//! 1.8 million different lines (86 MB); if there are more, it takes them in turns, each with a reading of its own. Foreign lines take
//! up to some 36 MB more, for at most 256 of them. Every line takes constant time in each reading, however many inputs there are. At
//! most 64 inputs are open at once.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

use super::tag::tag;
use evidence::EvidenceError;
pub use evidence::{ConfirmSettings, InputEvidence, OutputEvidence, Part, PartChecksum, PartFile};
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

/// Confirms a merge; the module's documentation says how, and what each count means.
///
/// It blocks, and nobody may write to the output meanwhile.
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

/// Confirms a merge as [`confirm`] does, and says what is missing of which input.
pub fn examine(inputs: &[InputEvidence], output: &OutputEvidence, how: &ConfirmSettings) -> Confirmation {
    examine_within(inputs, output, how, second_pass::MOST)
}

/// Does it with tables of at most `most` different lines.
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
    /// A sentence for each kind of difference.
    differences: Vec<Message>,
    missing: Vec<Missing>,
    ends_early: bool,
}

/// Compares the output with the inputs, and fills in the counts of `merge`.
fn compare(
    inputs: &[InputEvidence],
    output: &OutputEvidence,
    how: &ConfirmSettings,
    most: usize,
    merge: &mut Merge,
) -> Result<Judgement, EvidenceError> {
    if inputs.is_empty() {
        return Err(EvidenceError::new(&output.path, "there are no inputs to compare it with"));
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
    if !differences.is_empty() {
        // Then either the merge went wrong, or an input is not what it was.
        reading.are_as_read()?;
    }
    if differences.is_empty() && !found.is_clean {
        return Err(opened.changed("it or an input changed while it was checked"));
    }
    let missing = found.missing(inputs);
    Ok(Judgement { differences, ends_early: !missing.is_empty() && found.followed.ends_early, missing })
}

/// The results of both passes.
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

    /// The inputs that are not in order, each with the first line that is out of order.
    fn reordered(&self) -> impl Iterator<Item = (usize, Place)> {
        let stuck = |input: usize| self.followed.inputs[input].stuck.map(|(_, place)| (input, place));
        let is_whole = |input: &usize| self.counted.losses.get(*input).is_none_or(|loss| loss.first.is_none());
        (0..self.followed.inputs.len()).filter(is_whole).filter_map(stuck)
    }

    fn describe_damage(&self, output: &MergedFile) -> Result<Option<Message>, EvidenceError> {
        let both = [self.followed.first_cut, self.counted.first];
        let Some((place, damage)) = both.into_iter().flatten().min_by_key(|(place, _)| *place) else { return Ok(None) };
        let what = match damage {
            Damage::Glued => "is torn: it is glued to what the file had before",
            Damage::Unterminated => "is torn: it has no newline",
            Damage::Duplicated => "is one copy more than the inputs have",
            Damage::Foreign if self.suspects.torn().contains(&place.line) => {
                "is torn: it is made of pieces of the inputs"
            }
            Damage::Foreign => "is in no input",
        };
        let place = Place { line: place.line + output.lines_before()?, ..place };
        Ok(Some(describe(place, output.path()).and_text(" ").and_text(what)))
    }

    /// Of several equal lines, nobody can tell which is lost. A line at which an input got stuck is the best guess; otherwise it is
    /// the first.
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

/// Compares the inputs' lines with the foreign lines of the output.
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
