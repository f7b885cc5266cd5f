//! Random merges, of lines with tags and without: clean ones never raise an alarm, and spoiled ones always do, with the
//! counts of the definitions.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Write;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use fastrand::Rng;
use rustix::fs::{MemfdFlags, memfd_create};

use super::super::{ConfirmSettings, InputEvidence, OutputEvidence, examine_within};
use super::{Counts, NONE, counts};
use crate::pipeline::long_line::pieces;
use crate::pipeline::tag::tag;
use pollscope_record::recording::{Confirmation, Verdict};

type Line = Vec<u8>;

/// A line of the output: its input, its number there (a long line is several), and its bytes with the tag.
#[derive(Clone)]
struct Sent {
    input: usize,
    line: usize,
    bytes: Line,
}

/// Inputs and a clean merge of them; in memory, since thousands of files keep a disk busy for a minute.
struct Case {
    seed: u64,
    how: ConfirmSettings,
    files: Vec<File>,
    evidence: Vec<InputEvidence>,
    inputs: Vec<Vec<Line>>,
    /// Each input's lines as the merge delivers them.
    due: Vec<Vec<Sent>>,
    /// The clean merge.
    sent: Vec<Sent>,
}

fn in_memory(bytes: &[u8]) -> (File, InputEvidence) {
    let mut file = File::from(memfd_create("random", MemfdFlags::CLOEXEC).unwrap());
    file.write_all(bytes).unwrap();
    let (path, m) = (format!("/proc/self/fd/{}", file.as_raw_fd()).into(), file.metadata().unwrap());
    let unterminated = bytes.last().is_some_and(|last| *last != b'\n');
    (file, InputEvidence::whole(path, m.len(), m.dev(), m.ino(), unterminated))
}

fn text<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Vec<u8> {
    lines.into_iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect()
}

impl Case {
    /// With every other seed, no line is in two inputs; with the others, most lines are.
    fn random(seed: u64, tags: bool, rng: &mut Rng) -> Case {
        let words: [&[u8]; 9] = [b"", b"x", b"y", b"xy", b"x\r", b"\xff", b"\0", b"xyx", b"xyxyx\xff"];
        let line = |input: usize, rng: &mut Rng| match seed % 2 {
            0 => [format!("{input}-").as_bytes(), words[rng.usize(..words.len())]].concat(),
            _ => words[rng.usize(..words.len())].to_vec(),
        };
        let how = ConfirmSettings { tags, max_line: rng.bool().then(|| NonZeroUsize::new(rng.usize(2..5)).unwrap()) };
        let (mut inputs, mut files, mut evidence, mut due) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for input in 0..rng.usize(1..5) {
            let lines: Vec<Line> = (0..rng.usize(..7)).map(|_| line(input, rng)).collect();
            let mut bytes = text(&lines);
            // An empty and unterminated last line is no line.
            if rng.bool() && lines.last().is_some_and(|last| !last.is_empty()) {
                bytes.pop();
            }
            let (file, known) = in_memory(&bytes);
            let tag = if tags { tag(&known.path) + "\t" } else { String::new() };
            let each = lines.iter().enumerate().flat_map(|(number, line)| {
                let of_line = |piece| Sent { input, line: number, bytes: [tag.as_bytes(), piece].concat() };
                pieces(line, how.max_line).map(of_line).collect::<Vec<_>>()
            });
            due.push(each.collect::<Vec<_>>());
            inputs.push(lines);
            files.push(file);
            evidence.push(known);
        }
        let mut sent = Vec::new();
        let mut next = vec![0; inputs.len()];
        while let Some(input) = rng.choice((0..next.len()).filter(|i| next[*i] < due[*i].len()).collect::<Vec<_>>()) {
            sent.push(due[input][next[input]].clone());
            next[input] += 1;
        }
        Case { seed, how, files, evidence, inputs, due, sent }
    }

    fn clean(&self) -> Vec<u8> {
        text(self.sent.iter().map(|sent| &sent.bytes))
    }

    /// Checks that tables of a few lines at a time give the same result as one table of all.
    fn examine(&self, output: &[u8]) -> Confirmation {
        let (_file, InputEvidence { path, parts }) = in_memory(output);
        let output = OutputEvidence { path, start: 0, dev: parts[0].dev, ino: parts[0].ino };
        let most = if self.seed.is_multiple_of(3) { usize::MAX } else { self.seed as usize % 3 };
        examine_within(&self.evidence, &output, &self.how, most)
    }

    /// Checks the result against the definitions; returns whether the merge is ok.
    #[track_caller]
    fn check(&self, output: &[u8], what: &str) -> bool {
        let expected = self.define(output);
        let confirmation = self.examine(output);
        let merge = &confirmation.merge;
        let what = || {
            let inputs: Vec<String> = self.inputs.iter().map(|lines| text(lines).escape_ascii().to_string()).collect();
            let (how, seed, output) = (&self.how, self.seed, output.escape_ascii());
            format!("{what}, seed {seed}, {how:?}: {confirmation:?}\n{inputs:?}\n{output}\n{expected:?}")
        };
        let mut found = counts(merge);
        // Other tests tell torn and foreign lines apart.
        found.foreign += std::mem::take(&mut found.torn);
        assert_eq!(found, expected, "{}", what());
        let verdict = if expected == NONE { Verdict::Ok } else { Verdict::Failed };
        assert_eq!((merge.verdict, merge.reason.is_none()), (verdict, verdict == Verdict::Ok), "{}", what());
        assert_eq!(confirmation.missing.iter().map(|missing| missing.lines).sum::<u64>(), merge.lost, "{}", what());
        assert_eq!(merge.lines, self.due.iter().map(|due| due.len() as u64).sum::<u64>(), "{}", what());
        let most = self.how.max_line.map_or(usize::MAX, NonZeroUsize::get);
        let long = self.inputs.iter().flatten().filter(|line| line.len() > most).count();
        assert_eq!(merge.long_lines, long as u64, "{}", what());
        verdict == Verdict::Ok
    }

    /// The definitions of the counts, as plainly as possible; torn lines count as foreign.
    fn define(&self, output: &[u8]) -> Counts {
        let (whole, cut) = lines_of(output);
        let count = |lines: &mut dyn Iterator<Item = &Line>| {
            lines.fold(HashMap::<Line, u64>::new(), |mut all, line| {
                *all.entry(line.clone()).or_default() += 1;
                all
            })
        };
        let expected = count(&mut self.due.iter().flatten().map(|sent| &sent.bytes));
        let seen = count(&mut whole.iter());
        let of = |counts: &HashMap<Line, u64>, line: &Line| counts.get(line).copied().unwrap_or(0);
        let lost = |line: &Line| of(&expected, line).saturating_sub(of(&seen, line));
        let is_reordered = |due: &&Vec<Sent>| {
            let mut rest = whole.iter();
            let is_found = due.iter().all(|sent| rest.any(|line| *line == sent.bytes));
            !is_found && due.iter().all(|sent| lost(&sent.bytes) == 0)
        };
        Counts {
            lost: expected.keys().map(lost).sum(),
            duplicated: expected.keys().map(|line| of(&seen, line).saturating_sub(of(&expected, line))).sum(),
            reordered: self.due.iter().filter(is_reordered).count() as u64,
            torn: 0,
            foreign: whole.iter().filter(|line| of(&expected, line) == 0).count() as u64 + u64::from(cut),
        }
    }

    /// Whether some interleaving of the inputs is the output, by trying all.
    fn is_interleaving(&self, output: &[u8]) -> bool {
        let mut states = HashSet::from([vec![0; self.due.len()]]);
        for line in lines_of(output).0 {
            let mut next = HashSet::new();
            for state in states {
                for (input, due) in self.due.iter().enumerate() {
                    if due.get(state[input]).is_some_and(|sent| sent.bytes == line) {
                        let mut moved = state.clone();
                        moved[input] += 1;
                        next.insert(moved);
                    }
                }
            }
            states = next;
        }
        states.contains(&self.due.iter().map(Vec::len).collect::<Vec<_>>())
    }
}

/// The lines with newlines, and whether the text ends with one without.
fn lines_of(output: &[u8]) -> (Vec<Line>, bool) {
    let (mut whole, mut cut) = (Vec::new(), false);
    for line in output.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => whole.push(line.to_vec()),
            None => cut = true,
        }
    }
    (whole, cut)
}

#[test]
fn clean_merges_raise_no_alarm() {
    for tags in [false, true] {
        for seed in 0..10_000 {
            let case = Case::random(seed, tags, &mut Rng::with_seed(seed));
            assert!(case.check(&case.clean(), "clean"), "seed {seed}");
        }
    }
}

/// Spoils the lines of a clean merge; `None` if the case has nothing to spoil in this way.
type Mutant = fn(&Case, &mut Vec<Sent>, &mut Rng) -> Option<()>;

fn pick(lines: &[Sent], rng: &mut Rng) -> Option<usize> {
    rng.choice(0..lines.len())
}

/// A random one of the lines for which this is true.
fn pick_of(lines: &[Sent], rng: &mut Rng, is: impl Fn(&Sent) -> bool) -> Option<usize> {
    rng.choice((0..lines.len()).filter(|at| is(&lines[*at])).collect::<Vec<_>>())
}

/// The mutation that can be harmless: equal lines change places, or another input has the line that is out of place.
const MOVED: &str = "lines of an input swapped";

const MUTANTS: &[(&str, Mutant)] = &[
    ("a line dropped", |_, lines, rng| {
        let at = pick(lines, rng)?;
        lines.remove(at);
        Some(())
    }),
    ("a line duplicated", |_, lines, rng| {
        let line = lines[pick(lines, rng)?].clone();
        lines.insert(rng.usize(..=lines.len()), line);
        Some(())
    }),
    (MOVED, |case, lines, rng| {
        let input = rng.usize(..case.inputs.len());
        let a = pick_of(lines, rng, |sent| sent.input == input)?;
        let b = pick_of(lines, rng, |sent| sent.input == input)?;
        lines.swap(a, b);
        Some(())
    }),
    ("a line torn", |_, lines, rng| {
        let at = pick(lines, rng)?;
        let cut = rng.choice(0..lines[at].bytes.len())?;
        let rest = lines[at].bytes.split_off(cut);
        // With or without the part that was torn off.
        if rng.bool() {
            lines.insert(at + 1, Sent { bytes: rest, ..lines[at] });
        }
        Some(())
    }),
    ("two lines glued", |_, lines, rng| {
        let at = rng.choice(1..lines.len())?;
        let second = lines.remove(at);
        lines[at - 1].bytes.extend(second.bytes);
        Some(())
    }),
    ("one byte flipped", |_, lines, rng| {
        let at = pick(lines, rng)?;
        let byte = rng.choice(0..lines[at].bytes.len())?;
        // Not to a newline, which would tear the line.
        let flipped = lines[at].bytes[byte] ^ 1 << rng.u8(..8);
        lines[at].bytes[byte] = if flipped == b'\n' { b'?' } else { flipped };
        Some(())
    }),
    ("a foreign line", |_, lines, rng| {
        let foreign = Sent { input: 0, line: 0, bytes: b"foreign".to_vec() };
        lines.insert(rng.usize(..=lines.len()), foreign);
        Some(())
    }),
    ("lossy UTF-8", |_, lines, rng| {
        let at = pick_of(lines, rng, |sent| str::from_utf8(&sent.bytes).is_err())?;
        lines[at].bytes = String::from_utf8_lossy(&lines[at].bytes).into_owned().into_bytes();
        Some(())
    }),
    ("a carriage return stripped", |_, lines, rng| {
        let at = pick_of(lines, rng, |sent| sent.bytes.ends_with(b"\r"))?;
        lines[at].bytes.pop();
        Some(())
    }),
    ("an empty line dropped", |case, lines, rng| {
        let at = pick_of(lines, rng, |sent| case.inputs[sent.input][sent.line].is_empty())?;
        lines.remove(at);
        Some(())
    }),
    ("an unterminated tail lost", |case, lines, rng| {
        let is_tail = |sent: &Sent| {
            case.evidence[sent.input].parts[0].unterminated && sent.line + 1 == case.inputs[sent.input].len()
        };
        let tail = pick_of(lines, rng, is_tail)?;
        let (input, line) = (lines[tail].input, lines[tail].line);
        lines.retain(|sent| (sent.input, sent.line) != (input, line));
        Some(())
    }),
    ("a whole input missing", |_, lines, rng| {
        let missing = lines[pick(lines, rng)?].input;
        lines.retain(|sent| sent.input != missing);
        Some(())
    }),
    ("a previous run's output before this one's", |_, lines, rng| {
        let previous: Vec<Sent> = lines[..rng.choice(0..lines.len())? + 1].to_vec();
        lines.splice(..0, previous);
        Some(())
    }),
    ("one copy of a line of several inputs dropped", |case, lines, rng| {
        let has = |input: usize, line: &Line| case.inputs[input].contains(line);
        let is_shared = |sent: &Sent| {
            let line = &case.inputs[sent.input][sent.line];
            (0..case.inputs.len()).any(|other| other != sent.input && has(other, line))
        };
        let at = pick_of(lines, rng, is_shared)?;
        lines.remove(at);
        Some(())
    }),
    ("a piece of a split line dropped", |case, lines, rng| {
        let most = case.how.max_line?.get();
        let at = pick_of(lines, rng, |sent| case.inputs[sent.input][sent.line].len() > most)?;
        lines.remove(at);
        Some(())
    }),
];

/// Tries mutants until so many were caught.
const EACH: usize = 1_000;

/// A mutant that the definitions call a clean merge is no mutant: it must pass.
fn catch(name: &str, tags: bool, mutate: impl Fn(&Case, &mut Rng) -> Option<Vec<u8>>) {
    let (mut caught, mut equivalent) = (0, 0);
    for seed in 0..40 * EACH as u64 {
        let mut rng = Rng::with_seed(seed);
        let case = Case::random(seed, tags, &mut rng);
        let Some(output) = mutate(&case, &mut rng) else { continue };
        let is_ok = case.check(&output, name);
        let is_interleaving = case.is_interleaving(&output);
        assert!(is_ok || !is_interleaving, "{name}, seed {seed}: no correct merge raises an alarm");
        // The verdict is exact if no two inputs share a line. Pieces may be shared.
        let is_exact = tags || (seed % 2 == 0 && case.how.max_line.is_none());
        assert!(is_ok == is_interleaving || !is_exact, "{name}, seed {seed}: it is no merge of these");
        *if is_ok { &mut equivalent } else { &mut caught } += 1;
        if caught == EACH {
            assert!(equivalent == 0 || name == MOVED, "{name}: only moving lines can be no harm");
            return;
        }
    }
    panic!("{name}: only {caught} caught, {equivalent} equivalent");
}

fn catch_all(tags: bool) {
    for (name, mutate) in MUTANTS {
        catch(name, tags, |case, rng| {
            let mut lines = case.sent.clone();
            mutate(case, &mut lines, rng)?;
            Some(text(lines.iter().map(|sent| &sent.bytes)))
        });
    }
    catch("the end cut off", tags, |case, rng| {
        let clean = case.clean();
        let end = rng.choice(0..clean.len())?;
        Some(clean[..end].to_vec())
    });
}

#[test]
fn every_mutant_is_caught() {
    catch_all(false);
}

#[test]
fn every_mutant_with_tags_is_caught() {
    catch_all(true);
}

/// The sixteenth mutation: the input differs from what the output was made of.
#[test]
fn an_input_that_grew_or_changed_is_never_ok() {
    for tags in [false, true] {
        let mut seen = HashMap::from([("failed", 0), ("unverifiable", 0)]);
        for seed in 0.. {
            let mut rng = Rng::with_seed(seed);
            let mut case = Case::random(seed, tags, &mut rng);
            let input = rng.usize(..case.inputs.len());
            let clean = case.clean();
            let (file, part) = (&case.files[input], &mut case.evidence[input].parts[0]);
            let Some(at) = rng.choice(0..part.to as usize).map(|at| at as u64) else { continue };
            let (mut byte, is_last) = ([0], at + 1 == part.to);
            file.read_exact_at(&mut byte, at).unwrap();
            let (output, verdict) = match rng.u8(..4) {
                0 => {
                    file.set_len(at).unwrap();
                    (clean, Verdict::Unverifiable)
                }
                1 => {
                    part.ino += 1;
                    (clean, Verdict::Unverifiable)
                }
                2 => {
                    let other = if byte == *b"?" { b"!" } else { b"?" };
                    file.write_all_at(other, at).unwrap();
                    (clean, if is_last && byte == *b"\n" { Verdict::Unverifiable } else { Verdict::Failed })
                }
                // It grew before the merge read it to its end, but the evidence does not say so.
                _ => ([clean, b"grown\n".to_vec()].concat(), Verdict::Failed),
            };
            let found = case.examine(&output).merge;
            assert_eq!(found.verdict, verdict, "seed {seed}: {found:?}");
            assert!(found.reason.is_some(), "seed {seed}");
            *seen.get_mut(found.verdict.as_str()).unwrap() += 1;
            if seen.values().all(|caught| *caught >= EACH) {
                break;
            }
        }
    }
}
