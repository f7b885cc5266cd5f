//! Random merges: clean ones never raise an alarm, and spoiled ones always do.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

use fastrand::Rng;
use rustix::fs::{MemfdFlags, memfd_create};

use super::super::{How, InputEvidence, OutputEvidence, Part, confirm};
use super::counts;
use crate::recording::{Merge, Verdict};

type Line = Vec<u8>;

/// Inputs and a clean merge of them; each output line remembers its input.
struct Case {
    inputs: Vec<Vec<Line>>,
    unterminated: Vec<bool>,
    output: Vec<(usize, Line)>,
}

impl Case {
    /// With `tags`, no line is in two inputs; without, most are.
    fn random(rng: &mut Rng, tags: bool) -> Case {
        let words: [&[u8]; 8] = [b"", b"x", b"y", b"xy", b"x\r", b"\xff", b"\0", b"xyx"];
        let line = |input: usize, rng: &mut Rng| match tags {
            true => format!("{input}-{}", rng.u8(..6)).into_bytes(),
            false => words[rng.usize(..words.len())].to_vec(),
        };
        let mut inputs: Vec<Vec<Line>> = Vec::new();
        for input in 0..rng.usize(1..5) {
            inputs.push((0..rng.usize(..7)).map(|_| line(input, rng)).collect());
        }
        // A last line that is empty and unterminated would not be there at all.
        let unterminated = inputs.iter().map(|i| rng.bool() && i.last().is_some_and(|last| !last.is_empty())).collect();
        let mut output = Vec::new();
        let mut next = vec![0; inputs.len()];
        loop {
            let open: Vec<usize> = (0..inputs.len()).filter(|i| next[*i] < inputs[*i].len()).collect();
            let Some(input) = rng.choice(open) else { break };
            output.push((input, inputs[input][next[input]].clone()));
            next[input] += 1;
        }
        Case { inputs, unterminated, output }
    }

    fn lines(&self) -> Vec<Line> {
        self.output.iter().map(|(_, line)| line.clone()).collect()
    }

    /// Confirms files in memory: thousands of cases would keep a disk busy for a minute.
    fn confirm(&self, output: &[u8]) -> Merge {
        let mut files = Vec::new();
        let mut evidence = |bytes: &[u8], unterminated: bool| {
            let mut file = File::from(memfd_create("random", MemfdFlags::CLOEXEC).unwrap());
            file.write_all(bytes).unwrap();
            let (path, m) = (format!("/proc/self/fd/{}", file.as_raw_fd()).into(), file.metadata().unwrap());
            files.push(file);
            InputEvidence::whole(path, m.len(), m.dev(), m.ino(), unterminated)
        };
        let input = |(lines, unterminated): (&Vec<Line>, &bool)| {
            let bytes = text(lines);
            evidence(&bytes[..bytes.len() - usize::from(*unterminated)], *unterminated)
        };
        let inputs: Vec<InputEvidence> = self.inputs.iter().zip(&self.unterminated).map(input).collect();
        let InputEvidence { path, parts } = evidence(output, false);
        let Part { dev, ino, .. } = parts[0];
        confirm(&inputs, &OutputEvidence { path, start: 0, dev, ino }, &How::default())
    }

    #[track_caller]
    fn check(&self, output: &[u8], ok: bool, what: &str) {
        let merge = self.confirm(output);
        let verdict = if ok { Verdict::Ok } else { Verdict::Failed };
        assert_eq!(merge.verdict, verdict, "{what}: {merge:?}\n{:?}\n{}", self.inputs, output.escape_ascii());
        assert_eq!(merge.verdict == Verdict::Ok, counts(&merge) == super::NONE, "{what}: {merge:?}");
        assert_eq!(merge.verdict == Verdict::Ok, merge.reason.is_none(), "{what}: {merge:?}");
    }

    /// The definition, written down as plainly as it goes: equal as multisets, and every input a subsequence.
    fn is_equivalent(&self, output: &[Line]) -> bool {
        let mut expected: Vec<&Line> = self.inputs.iter().flatten().collect();
        let mut found: Vec<&Line> = output.iter().collect();
        expected.sort();
        found.sort();
        expected == found && self.inputs.iter().all(|input| is_subsequence(input, output))
    }

    /// Whether some interleaving of the inputs is the output, by trying them all.
    fn is_interleaving(&self, output: &[Line]) -> bool {
        let mut states = HashSet::from([vec![0; self.inputs.len()]]);
        for line in output {
            let mut next = HashSet::new();
            for state in states {
                for (index, input) in self.inputs.iter().enumerate() {
                    if input.get(state[index]) == Some(line) {
                        let mut moved = state.clone();
                        moved[index] += 1;
                        next.insert(moved);
                    }
                }
            }
            states = next;
        }
        states.contains(&self.inputs.iter().map(Vec::len).collect::<Vec<_>>())
    }
}

fn is_subsequence(input: &[Line], output: &[Line]) -> bool {
    let mut output = output.iter();
    input.iter().all(|line| output.any(|other| other == line))
}

fn text(lines: &[Line]) -> Vec<u8> {
    lines.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect()
}

#[test]
fn clean_interleavings_raise_no_alarm() {
    for seed in 0..2000 {
        let case = Case::random(&mut Rng::with_seed(seed), seed % 2 == 0);
        case.check(&text(&case.lines()), true, &format!("seed {seed}"));
    }
}

/// Spoils lines; `None` when the case has nothing that could be spoiled so.
type Mutation = fn(&mut Vec<Line>, &mut Rng) -> Option<()>;

fn pick(lines: &[Line], rng: &mut Rng) -> Option<usize> {
    rng.choice(0..lines.len())
}

/// Mutations whose result is never a correct merge, because the lines are no longer the same.
const ALWAYS_WRONG: &[(&str, Mutation)] = &[
    ("dropped", |lines, rng| {
        let at = pick(lines, rng)?;
        lines.remove(at);
        Some(())
    }),
    ("duplicated", |lines, rng| {
        let line = lines[pick(lines, rng)?].clone();
        lines.insert(rng.usize(..=lines.len()), line);
        Some(())
    }),
    ("torn", |lines, rng| {
        let at = pick(lines, rng)?;
        let len = lines[at].len();
        lines[at].truncate(rng.choice(0..len)?);
        Some(())
    }),
    ("split", |lines, rng| {
        let at = pick(lines, rng)?;
        let cut = rng.usize(..=lines[at].len());
        let rest = lines[at].split_off(cut);
        lines.insert(at + 1, rest);
        Some(())
    }),
    ("glued", |lines, rng| {
        let at = rng.choice(1..lines.len())?;
        let second = lines.remove(at);
        lines[at - 1].extend(second);
        Some(())
    }),
    ("flipped", |lines, rng| {
        let at = pick(lines, rng)?;
        let byte = rng.choice(0..lines[at].len())?;
        // Not a newline: that would be the mutation `split`.
        lines[at][byte] ^= if lines[at][byte] ^ 1 == b'\n' { 2 } else { 1 };
        Some(())
    }),
    ("foreign", |lines, rng| {
        lines.insert(rng.usize(..=lines.len()), b"foreign".to_vec());
        Some(())
    }),
    ("lossy", |lines, _| {
        let at = lines.iter().position(|line| str::from_utf8(line).is_err())?;
        lines[at] = String::from_utf8_lossy(&lines[at]).into_owned().into_bytes();
        Some(())
    }),
    ("CR stripped", |lines, _| {
        let at = lines.iter().position(|line| line.ends_with(b"\r"))?;
        lines[at].pop();
        Some(())
    }),
    ("empty line dropped", |lines, _| {
        let at = lines.iter().position(Vec::is_empty)?;
        lines.remove(at);
        Some(())
    }),
    ("previous output", |lines, _| {
        let first = lines.first()?.clone();
        *lines = [lines.clone(), lines.clone()].concat();
        lines.push(first);
        Some(())
    }),
];

#[test]
fn every_mutation_of_the_lines_is_caught() {
    for (name, mutate) in ALWAYS_WRONG {
        let mut caught = 0;
        for seed in 0..10_000 {
            let mut rng = Rng::with_seed(seed);
            let case = Case::random(&mut rng, seed % 2 == 0);
            let mut lines = case.lines();
            if mutate(&mut lines, &mut rng).is_none() {
                continue;
            }
            case.check(&text(&lines), false, &format!("{name}, seed {seed}"));
            caught += 1;
            if caught == 500 {
                break;
            }
        }
        assert_eq!(caught, 500, "{name}");
    }
}

#[test]
fn a_lost_newline_and_a_missing_input_are_caught() {
    let mut caught = HashMap::from([("newline", 0), ("input", 0)]);
    for seed in 0..1500 {
        let mut rng = Rng::with_seed(seed);
        let case = Case::random(&mut rng, seed % 2 == 0);
        let output = text(&case.lines());
        // A last line that is empty leaves no line at all without its newline, but it is missing all the same.
        if let Some((_, start)) = output.split_last() {
            case.check(start, false, &format!("newline, seed {seed}"));
            *caught.get_mut("newline").unwrap() += 1;
        }
        let missing = rng.usize(..case.inputs.len());
        if !case.inputs[missing].is_empty() {
            let rest: Vec<Line> = case.output.iter().filter(|(i, _)| *i != missing).map(|(_, l)| l.clone()).collect();
            case.check(&text(&rest), false, &format!("input, seed {seed}"));
            *caught.get_mut("input").unwrap() += 1;
        }
    }
    assert!(caught.values().all(|n| *n >= 500), "{caught:?}");
}

/// Moving lines can yield another correct merge, when equal lines change places or other inputs supply them.
#[test]
fn moved_lines_are_caught_unless_the_file_is_equivalent() {
    let (mut wrong, mut equivalent) = (0, 0);
    for seed in 0..4000 {
        let mut rng = Rng::with_seed(seed);
        let case = Case::random(&mut rng, seed % 2 == 0);
        let mut lines = case.lines();
        let Some(input) = rng.choice(0..case.inputs.len()) else { continue };
        let own: Vec<usize> = (0..lines.len()).filter(|at| case.output[*at].0 == input).collect();
        let (Some(a), Some(b)) = (rng.choice(&own), rng.choice(&own)) else { continue };
        lines.swap(*a, *b);
        let ok = case.is_equivalent(&lines);
        case.check(&text(&lines), ok, &format!("swap, seed {seed}"));
        if seed % 2 == 0 {
            assert_eq!(ok, case.is_interleaving(&lines), "seed {seed}: with tags it is exact");
        } else {
            assert!(ok || !case.is_interleaving(&lines), "seed {seed}: no correct merge raises an alarm");
        }
        *if ok { &mut equivalent } else { &mut wrong } += 1;
    }
    assert!(wrong >= 500 && equivalent >= 500, "{wrong} wrong, {equivalent} equivalent");
}
