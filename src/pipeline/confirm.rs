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
//! A correct merge always passes.
//!
//! A line is its bytes up to the newline: carriage returns, NULs, invalid UTF-8 and empty lines count. An input's last
//! line may lack its newline; it is delivered with one and is the same line. The output's last line may not.
//!
//! # What is counted
//!
//! | count | unit | meaning |
//! |---|---|---|
//! | lost | lines | for each line of the inputs: the copies in the inputs beyond those in the output |
//! | duplicated | lines | for each line of the inputs: the copies in the output beyond those in the inputs |
//! | torn | output lines | no line of any input, but a piece of one, or a whole one glued to a piece or to another whole one (`confirm/torn.rs` has the exact definition and its bounds); or without a newline at the output's end; or glued to what the file held before this merge |
//! | foreign | output lines | no line of any input, and not torn |
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
//! The files are streamed, one open at a time. What stays in memory is 16 bytes for every line of the inputs, up to about
//! 100 for every different one, and some 20 MB for at most 256 foreign lines. Every line costs a constant time, however many inputs
//! there are.

use std::collections::HashMap;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::escape::escape_path;
use crate::recording::{Merge, Verdict};
use evidence::{Changed, Opened, read_input};
use lines::{Key, Place};
use torn::Suspects;

mod evidence;
mod lines;
#[cfg(test)]
mod tests;
mod torn;

/// What the merge read of one input.
#[derive(Debug, Clone)]
pub struct InputEvidence {
    /// The input, as it was named.
    pub path: PathBuf,
    /// What was merged of it, in that order: one part, unless other files took the input's place while it was followed. Every
    /// part ends with a whole line.
    pub parts: Vec<Part>,
}

/// Lines of one file.
#[derive(Debug, Clone)]
pub struct Part {
    /// How to read them again.
    pub file: PartFile,
    /// The device that the file was on.
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
    /// Where the lines begin, in bytes.
    pub from: u64,
    /// Where they end. What was appended later is not looked at.
    pub to: u64,
    /// Whether the last line had no newline; it was delivered with one.
    pub unterminated: bool,
}

/// Where a part of an input can be read again.
#[derive(Debug, Clone)]
pub enum PartFile {
    /// By this name, if it is still the file with that device and inode.
    Named(PathBuf),
    /// It was kept open, as its name is another file's now.
    Kept(Arc<File>),
    /// Nowhere, and why: "it was cut to 10 bytes".
    Gone(String),
}

impl InputEvidence {
    /// An input that was one file all the time, read from its beginning.
    pub fn whole(path: PathBuf, len: u64, dev: u64, ino: u64, unterminated: bool) -> InputEvidence {
        let part = Part { file: PartFile::Named(path.clone()), dev, ino, from: 0, to: len, unterminated };
        InputEvidence { path, parts: vec![part] }
    }

    /// How many bytes were merged of it.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(part.to.saturating_sub(part.from)))
    }

    fn unterminated(&self) -> u64 {
        self.parts.iter().filter(|part| part.unterminated).count() as u64
    }
}

/// What the merge wrote to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputEvidence {
    /// Where it is.
    pub path: PathBuf,
    /// Where this merge's part begins: 0, or the length that the file had when it was opened to append.
    pub start: u64,
    /// The device that it was on.
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
}

/// Finds out what became of every line; the module says how, and what each count means.
///
/// It blocks: call it where that is allowed. Nobody may be writing to the output meanwhile.
///
/// ```
/// # use std::{fs, os::unix::fs::MetadataExt};
/// use pollscope::pipeline::confirm::{InputEvidence, OutputEvidence, confirm};
/// use pollscope::recording::Verdict;
/// # let dir = tempfile::tempdir()?;
/// let (input, output) = (dir.path().join("a.log"), dir.path().join("merged.log"));
/// fs::write(&input, "one\ntwo\n")?;
/// fs::write(&output, "one\n")?;
/// let (i, o) = (fs::metadata(&input)?, fs::metadata(&output)?);
///
/// let inputs = [InputEvidence::whole(input, i.len(), i.dev(), i.ino(), false)];
/// let merge = confirm(&inputs, &OutputEvidence { path: output, start: 0, dev: o.dev(), ino: o.ino() });
/// assert_eq!((merge.verdict, merge.lost), (Verdict::Failed, 1));
/// assert!(merge.reason.unwrap().ends_with("a.log` is not in the output"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn confirm(inputs: &[InputEvidence], output: &OutputEvidence) -> Merge {
    let mut merge = Merge {
        verdict: Verdict::Unverifiable,
        reason: None,
        inputs: inputs.len() as u64,
        lines: 0,
        bytes: inputs.iter().fold(0, |sum, input| sum.saturating_add(input.bytes())),
        lost: 0,
        duplicated: 0,
        reordered: 0,
        torn: 0,
        foreign: 0,
        unterminated: inputs.iter().map(InputEvidence::unterminated).sum(),
    };
    match compare(inputs, output, &mut merge) {
        Ok(differences) if differences.is_empty() => merge.verdict = Verdict::Ok,
        Ok(differences) => {
            merge.verdict = Verdict::Failed;
            merge.reason = Some(differences.join("; "));
        }
        Err(Changed(reason)) => merge.reason = Some(reason),
    }
    merge
}

/// Fills in the counts, and says each kind of difference in a sentence.
fn compare(inputs: &[InputEvidence], output: &OutputEvidence, merge: &mut Merge) -> Result<Vec<String>, Changed> {
    if inputs.is_empty() {
        return Err(Changed::new(&output.path, "there were no inputs to hold it against"));
    }
    let is_output = |part: &Part| (part.dev, part.ino) == (output.dev, output.ino) && part.to > output.start;
    let overlaps = |input: &&InputEvidence| input.parts.iter().any(is_output);
    if let Some(input) = inputs.iter().find(overlaps) {
        return Err(Changed::new(&output.path, format!("it is also the input `{}`", escape_path(&input.path))));
    }
    let mut ledger = Ledger::read(inputs)?;
    merge.lines = ledger.inputs.iter().map(|input| input.hashes.len() as u64).sum();

    let opened = Opened::new(output)?;
    let mut found = ledger.follow(&opened)?;
    if found.foreign > 0 {
        ledger.look_again(&mut found.suspects)?;
    }
    let torn = found.suspects.torn().len() as u64;
    merge.lost = ledger.known.values().map(|copies| copies.expected.saturating_sub(copies.seen)).sum();
    merge.duplicated = found.duplicated;
    merge.reordered = ledger.inputs.iter().filter(|input| ledger.is_reordered(input)).count() as u64;
    merge.torn = found.cut + torn;
    merge.foreign = found.foreign - torn;

    let differences = [found.describe(&opened)?, ledger.describe_lost()?, ledger.describe_reordered(&opened)?];
    opened.unchanged()?;
    Ok(differences.into_iter().flatten().collect())
}

/// How often a line should be in the output, and how often it is.
#[derive(Default)]
struct Copies {
    expected: u64,
    seen: u64,
}

struct Input<'a> {
    evidence: &'a InputEvidence,
    hashes: Vec<u128>,
    /// How many of them were found in the output, in order.
    found: usize,
}

/// What the inputs hold, and how much of it the output has shown.
struct Ledger<'a> {
    key: Key,
    inputs: Vec<Input<'a>>,
    known: HashMap<u128, Copies>,
}

impl Ledger<'_> {
    fn read(inputs: &[InputEvidence]) -> Result<Ledger<'_>, Changed> {
        let mut ledger = Ledger { key: Key::random(), inputs: Vec::new(), known: HashMap::new() };
        for evidence in inputs {
            let mut hashes = Vec::new();
            read_input(evidence, &ledger.key, |line, _| {
                hashes.push(line.hash);
                ControlFlow::Continue(())
            })?;
            for hash in &hashes {
                ledger.known.entry(*hash).or_default().expected += 1;
            }
            ledger.inputs.push(Input { evidence, hashes, found: 0 });
        }
        Ok(ledger)
    }

    /// Reads the output once, counts every line, and follows each input through it.
    fn follow(&mut self, output: &Opened) -> Result<Found, Changed> {
        let mut waiting = Waiting::default();
        for (index, input) in self.inputs.iter().enumerate() {
            waiting.add(index, input);
        }
        let mut found = Found::default();
        let mut glued = output.begins_within_a_line;
        let mut lines = output.lines()?;
        while let Some(line) = lines.next(&self.key).map_err(|e| output.changed(e))? {
            if std::mem::take(&mut glued) {
                found.damaged(line.place, Damage::Glued);
            } else if !line.terminated {
                found.damaged(line.place, Damage::Unterminated);
            } else if let Some(copies) = self.known.get_mut(&line.hash) {
                copies.seen += 1;
                if copies.seen > copies.expected {
                    found.damaged(line.place, Damage::Duplicated);
                }
                for index in waiting.0.remove(&line.hash).unwrap_or_default() {
                    self.inputs[index].found += 1;
                    waiting.add(index, &self.inputs[index]);
                }
            } else {
                found.suspects.push(line.place.line, lines.bytes());
                found.damaged(line.place, Damage::Foreign);
            }
        }
        Ok(found)
    }

    /// Holds the inputs' lines against those of the output that are none of them.
    fn look_again(&self, suspects: &mut Suspects) -> Result<(), Changed> {
        for input in &self.inputs {
            read_input(input.evidence, &self.key, |_, bytes| {
                if !suspects.is_open() {
                    return ControlFlow::Break(());
                }
                if let Some(bytes) = bytes {
                    suspects.look_at(bytes);
                }
                ControlFlow::Continue(())
            })?;
        }
        Ok(())
    }

    fn is_lost(&self, hash: u128) -> bool {
        self.known.get(&hash).is_some_and(|copies| copies.seen < copies.expected)
    }

    fn is_reordered(&self, input: &Input) -> bool {
        input.found < input.hashes.len() && !input.hashes.iter().any(|hash| self.is_lost(*hash))
    }

    /// Which of several equal lines is the lost one cannot be known. A line at which an input got stuck is the best guess;
    /// else it is the first.
    fn describe_lost(&self) -> Result<Option<String>, Changed> {
        let stuck = |input: &Input| input.hashes.get(input.found).and_then(|h| self.is_lost(*h).then_some(input.found));
        let first = |input: &Input| input.hashes.iter().position(|hash| self.is_lost(*hash));
        let guess = self.inputs.iter().find_map(|input| stuck(input).map(|line| (input, line)));
        let guess = guess.or_else(|| self.inputs.iter().find_map(|input| first(input).map(|line| (input, line))));
        let Some((input, line)) = guess else { return Ok(None) };
        let place = self.locate(input, line)?;
        let Copies { expected, seen } = self.known[&input.hashes[line]];
        Ok(Some(match expected {
            1 => format!("{place} is not in the output"),
            _ => format!("{place} is in the output {seen} of {expected} times"),
        }))
    }

    fn describe_reordered(&self, output: &Opened) -> Result<Option<String>, Changed> {
        let Some(input) = self.inputs.iter().find(|input| self.is_reordered(input)) else { return Ok(None) };
        let place = self.locate(input, input.found)?;
        let output = escape_path(output.path());
        Ok(Some(format!("{place} is out of order: in `{output}` it does not follow the lines before it")))
    }

    /// Says where line `index` (from 0) of an input is. Only its hash was kept, so the input is read again.
    fn locate(&self, input: &Input, index: usize) -> Result<String, Changed> {
        let mut place = None;
        read_input(input.evidence, &self.key, |line, _| {
            if line.place.line <= index as u64 {
                return ControlFlow::Continue(());
            }
            place = (line.hash == input.hashes[index]).then_some(line.place);
            ControlFlow::Break(())
        })?;
        let path = &input.evidence.path;
        let place = place.ok_or_else(|| Changed::new(path, "it was rewritten while it was checked"))?;
        Ok(describe(place, path))
    }
}

/// By the line that they wait for: the inputs that this line would move on. A line moves on only inputs that have it, so
/// there are at most as many moves as the inputs have lines.
#[derive(Default)]
struct Waiting(HashMap<u128, Vec<usize>>);

impl Waiting {
    fn add(&mut self, index: usize, input: &Input) {
        if let Some(next) = input.hashes.get(input.found) {
            self.0.entry(*next).or_default().push(index);
        }
    }
}

/// What is wrong with a line of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    /// It is glued to what the file held before this merge.
    Glued,
    /// It is the last one, and has no newline.
    Unterminated,
    Duplicated,
    /// It is no line of any input.
    Foreign,
}

/// What is wrong with the output's lines.
#[derive(Default)]
struct Found {
    first: Option<(Place, Damage)>,
    /// Torn for certain: glued or unterminated.
    cut: u64,
    duplicated: u64,
    /// Lines of no input, torn or not.
    foreign: u64,
    suspects: Suspects,
}

impl Found {
    fn damaged(&mut self, place: Place, damage: Damage) {
        self.first.get_or_insert((place, damage));
        *match damage {
            Damage::Glued | Damage::Unterminated => &mut self.cut,
            Damage::Duplicated => &mut self.duplicated,
            Damage::Foreign => &mut self.foreign,
        } += 1;
    }

    fn describe(&self, output: &Opened) -> Result<Option<String>, Changed> {
        let Some((place, damage)) = self.first else { return Ok(None) };
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
        Ok(Some(format!("{} {what}", describe(place, output.path()))))
    }
}

fn describe(place: Place, path: &Path) -> String {
    format!("line {} (byte {}) of `{}`", place.line, place.byte, escape_path(path))
}
