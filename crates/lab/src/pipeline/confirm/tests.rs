//! Every way in which a merge is known to go wrong, made by hand and at random.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::output::MergedFile;
use super::{ConfirmSettings, InputEvidence, OutputEvidence, Part, PartFile, confirm, examine};
use pollscope_record::recording::{Merge, Verdict};

mod random;

/// Input files `0`, `1`, … and an output `out`, with the evidence that a merge keeps.
struct Bench {
    dir: TempDir,
    inputs: Vec<InputEvidence>,
    output: OutputEvidence,
}

impl Bench {
    fn new(inputs: &[&[u8]], output: &[u8]) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| -> (PathBuf, fs::Metadata) {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            let metadata = fs::metadata(&path).unwrap();
            (path, metadata)
        };
        let inputs = inputs.iter().enumerate().map(|(index, bytes)| {
            let (path, m) = write(&index.to_string(), bytes);
            let unterminated = bytes.last().is_some_and(|last| *last != b'\n');
            InputEvidence::whole(path, m.len(), m.dev(), m.ino(), unterminated)
        });
        let inputs = inputs.collect();
        let (path, m) = write("out", output);
        Bench { inputs, output: OutputEvidence { path, start: 0, dev: m.dev(), ino: m.ino() }, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn confirm(&self) -> Merge {
        confirm(&self.inputs, &self.output, &ConfirmSettings::default())
    }

    #[track_caller]
    fn unverifiable(&self, reason: &str) {
        let merge = self.confirm();
        assert_eq!(merge.verdict, Verdict::Unverifiable, "{merge:?}");
        assert!(without_folder(&merge, self.dir.path()).contains(reason), "{merge:?}");
    }
}

fn without_folder(merge: &Merge, folder: &Path) -> String {
    merge.reason.clone().unwrap_or_default().replace(&format!("{}/", folder.display()), "")
}

/// The expected counts of a merge that went wrong.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    lost: u64,
    duplicated: u64,
    reordered: u64,
    torn: u64,
    foreign: u64,
}

const NONE: Counts = Counts { lost: 0, duplicated: 0, reordered: 0, torn: 0, foreign: 0 };

fn counts(merge: &Merge) -> Counts {
    let Merge { lost, duplicated, reordered, torn, foreign, .. } = *merge;
    Counts { lost, duplicated, reordered, torn, foreign }
}

#[track_caller]
fn fails(bench: &Bench, expected: Counts, reason: &str) {
    let merge = bench.confirm();
    assert_eq!((merge.verdict, counts(&merge)), (Verdict::Failed, expected), "{merge:?}");
    assert_eq!(without_folder(&merge, bench.dir.path()), reason);
}

const A: &[u8] = b"a-1 one\na-2 two\na-3 three\n";
const B: &[u8] = b"b-1 eins\nb-2 zwei\n";
const CLEAN: &[u8] = b"a-1 one\nb-1 eins\na-2 two\na-3 three\nb-2 zwei\n";

#[track_caller]
fn mutant(output: &[u8], expected: Counts, reason: &str) {
    fails(&Bench::new(&[A, B], output), expected, reason);
}

#[test]
fn a_clean_merge_is_ok() {
    let merge = Bench::new(&[A, B], CLEAN).confirm();
    assert_eq!((merge.verdict, &merge.reason, counts(&merge)), (Verdict::Ok, &None, NONE));
    assert_eq!((merge.inputs, merge.lines, merge.bytes, merge.unterminated), (2, 5, 44, 0));
}

#[test]
fn a_dropped_line_is_lost() {
    let output = b"a-1 one\nb-1 eins\na-3 three\nb-2 zwei\n";
    mutant(output, Counts { lost: 1, ..NONE }, "line 2 (byte 8) of `0` is not in the output");
}

#[test]
fn a_duplicated_line_is_named_where_it_stands() {
    let output = b"a-1 one\nb-1 eins\na-2 two\nb-1 eins\na-3 three\nb-2 zwei\n";
    mutant(output, Counts { duplicated: 1, ..NONE }, "line 4 (byte 25) of `out` is one copy more than the inputs have");
}

#[test]
fn swapped_lines_are_reordered() {
    let output = b"a-1 one\nb-1 eins\na-3 three\na-2 two\nb-2 zwei\n";
    let reason = "line 3 (byte 16) of `0` is out of order: in `out` it does not follow the lines before it";
    mutant(output, Counts { reordered: 1, ..NONE }, reason);
}

#[test]
fn a_torn_line_is_found_from_either_side() {
    let counts = || Counts { lost: 1, torn: 1, ..NONE };
    for torn in ["a-2 t", "2 two", "-2 t"] {
        let output = format!("a-1 one\nb-1 eins\n{torn}\na-3 three\nb-2 zwei\n");
        let reason = "line 3 (byte 17) of `out` is torn: it is made of pieces of the inputs; \
                      line 2 (byte 8) of `0` is not in the output";
        mutant(output.as_bytes(), counts(), reason);
    }
    let reason = "line 5 (byte 35) of `out` is torn: it has no newline; line 2 (byte 9) of `1` is not in the output";
    mutant(&CLEAN[..CLEAN.len() - 1], counts(), reason);
    mutant(&CLEAN[..CLEAN.len() - 3], counts(), reason);
    let split = b"a-1 one\nb-1\n eins\na-2 two\na-3 three\nb-2 zwei\n";
    let reason = "line 2 (byte 8) of `out` is torn: it is made of pieces of the inputs; \
                  line 1 (byte 0) of `1` is not in the output";
    mutant(split, Counts { lost: 1, torn: 2, ..NONE }, reason);
}

#[test]
fn glued_lines_are_torn() {
    let output = b"a-1 one\nb-1 einsa-2 two\na-3 three\nb-2 zwei\n";
    let reason = "line 2 (byte 8) of `out` is torn: it is made of pieces of the inputs; \
                  line 2 (byte 8) of `0` is not in the output";
    mutant(output, Counts { lost: 2, torn: 1, ..NONE }, reason);
}

#[test]
fn a_flipped_byte_is_one_lost_and_one_foreign() {
    let output = b"a-1 one\nb-1 eins\na-2 tvo\na-3 three\nb-2 zwei\n";
    let reason = "line 3 (byte 17) of `out` is in no input; line 2 (byte 8) of `0` is not in the output";
    mutant(output, Counts { lost: 1, foreign: 1, ..NONE }, reason);
}

#[test]
fn a_foreign_line_is_named() {
    let output = b"a-1 one\nb-1 eins\na-2 two\nWARN: hello\na-3 three\nb-2 zwei\n";
    mutant(output, Counts { foreign: 1, ..NONE }, "line 4 (byte 25) of `out` is in no input");
    let empty = b"a-1 one\n\nb-1 eins\na-2 two\na-3 three\nb-2 zwei\n";
    mutant(empty, Counts { foreign: 1, ..NONE }, "line 2 (byte 8) of `out` is in no input");
}

#[test]
fn lossy_utf8_is_foreign() {
    let input = b"good\nbad \xff\xfe bytes\nnul \0\n";
    let lossy = String::from_utf8_lossy(input);
    let reason = "line 2 (byte 5) of `out` is in no input; line 2 (byte 5) of `0` is not in the output";
    fails(&Bench::new(&[input], lossy.as_bytes()), Counts { lost: 1, foreign: 1, ..NONE }, reason);
    assert_eq!(Bench::new(&[input], input).confirm().verdict, Verdict::Ok);
}

#[test]
fn a_stripped_carriage_return_is_torn() {
    let reason = "line 1 (byte 0) of `out` is torn: it is made of pieces of the inputs; \
                  line 1 (byte 0) of `0` is not in the output";
    let bench = Bench::new(&[b"one\r\ntwo\r\n"], b"one\ntwo\n");
    fails(&bench, Counts { lost: 2, torn: 2, ..NONE }, reason);
    assert_eq!(Bench::new(&[b"one\r\n\r\n"], b"one\r\n\r\n").confirm().verdict, Verdict::Ok);
}

#[test]
fn a_dropped_empty_line_is_lost() {
    let bench = Bench::new(&[b"one\n\ntwo\n\n"], b"one\ntwo\n\n");
    let reason = "line 2 (byte 4) of `0` is in the output 1 of 2 times";
    fails(&bench, Counts { lost: 1, ..NONE }, reason);
    let bench = Bench::new(&[b"one\n\n"], b"one\n");
    fails(&bench, Counts { lost: 1, ..NONE }, "line 2 (byte 4) of `0` is not in the output");
}

#[test]
fn an_unterminated_tail_is_delivered_with_a_newline() {
    let merge = Bench::new(&[b"one\ntail"], b"one\ntail\n").confirm();
    assert_eq!((merge.verdict, merge.unterminated, merge.lines), (Verdict::Ok, 1, 2));
    let lost = "line 2 (byte 4) of `0` is not in the output";
    fails(&Bench::new(&[b"one\ntail"], b"one\n"), Counts { lost: 1, ..NONE }, lost);
    let reason = format!("line 2 (byte 4) of `out` is torn: it has no newline; {lost}");
    fails(&Bench::new(&[b"one\ntail"], b"one\ntail"), Counts { lost: 1, torn: 1, ..NONE }, &reason);
}

#[test]
fn a_whole_input_that_is_missing_is_lost() {
    let reason = "line 1 (byte 0) of `1` is not in the output";
    mutant(A, Counts { lost: 2, ..NONE }, reason);
    mutant(b"", Counts { lost: 5, ..NONE }, "line 1 (byte 0) of `0` is not in the output");
}

#[test]
fn a_previous_runs_output_belongs_only_before_the_start() {
    let twice = [CLEAN, CLEAN].concat();
    let mut bench = Bench::new(&[A, B], &twice);
    let reason = "line 6 (byte 44) of `out` is one copy more than the inputs have";
    fails(&bench, Counts { duplicated: 5, ..NONE }, reason);
    bench.output.start = CLEAN.len() as u64;
    assert_eq!(bench.confirm().verdict, Verdict::Ok);

    let mut bench = Bench::new(&[A, B], &[b"older 1\nolder 2\n", CLEAN].concat());
    fails(&bench, Counts { foreign: 2, ..NONE }, "line 1 (byte 0) of `out` is in no input");
    bench.output.start = 8;
    fails(&bench, Counts { foreign: 1, ..NONE }, "line 2 (byte 8) of `out` is in no input");
    bench.output.start = 16;
    assert_eq!(bench.confirm().verdict, Verdict::Ok);
}

#[test]
fn a_line_glued_to_what_the_file_held_before_is_torn() {
    let mut bench = Bench::new(&[b"one\ntwo\n"], b"older\nhalf a lineone\ntwo\n");
    bench.output.start = 17;
    let reason = "line 2 (byte 17) of `out` is torn: it is glued to what the file had before; \
                  line 1 (byte 0) of `0` is not in the output";
    fails(&bench, Counts { lost: 1, torn: 1, ..NONE }, reason);
}

#[test]
fn identical_lines_in_several_inputs_are_counted_together() {
    let inputs: [&[u8]; 3] = [b"x\nx\ny\n", b"x\ny\nx\n", b"y\n\n"];
    assert_eq!(Bench::new(&inputs, b"x\nx\ny\nx\ny\nx\ny\n\n").confirm().verdict, Verdict::Ok);
    let reason = "line 1 (byte 0) of `0` is in the output 3 of 4 times";
    fails(&Bench::new(&inputs, b"x\nx\ny\ny\nx\ny\n\n"), Counts { lost: 1, ..NONE }, reason);
    let reason = "line 8 (byte 14) of `out` is one copy more than the inputs have";
    fails(&Bench::new(&inputs, b"x\nx\ny\nx\ny\nx\ny\ny\n\n"), Counts { duplicated: 1, ..NONE }, reason);
}

#[test]
fn of_equal_lines_the_one_where_an_input_got_stuck_is_named() {
    let reason = "line 5 (byte 8) of `0` is in the output 2 of 3 times";
    fails(&Bench::new(&[b"x\na\nx\nb\nx\n"], b"x\na\nx\nb\n"), Counts { lost: 1, ..NONE }, reason);
}

#[test]
fn lines_longer_than_a_block_are_compared_whole() {
    let long = "0123456789abcdef".repeat(20_000);
    let input = format!("{long}\nshort\n{long}!\n");
    assert_eq!(Bench::new(&[input.as_bytes()], input.as_bytes()).confirm().verdict, Verdict::Ok);
    let flipped = input.replace("f\nshort", "F\nshort");
    let reason = "line 1 (byte 0) of `out` is in no input; line 1 (byte 0) of `0` is not in the output";
    fails(&Bench::new(&[input.as_bytes()], flipped.as_bytes()), Counts { lost: 1, foreign: 1, ..NONE }, reason);
}

#[test]
fn nothing_is_ok_only_if_there_was_something_to_read() {
    assert_eq!(Bench::new(&[b"", b""], b"").confirm().verdict, Verdict::Ok);
    Bench::new(&[], b"").unverifiable("there are no inputs");
    Bench::new(&[], b"one\n").unverifiable("there are no inputs");
}

#[test]
fn an_input_that_changed_is_unverifiable() {
    let bench = || Bench::new(&[A, B], CLEAN);

    let shrunk = bench();
    fs::write(shrunk.path("1"), &B[..9]).unwrap();
    shrunk.unverifiable("with `1`: it has shrunk from 18 to 9 bytes since the merge");

    let replaced = bench();
    fs::rename(replaced.path("0"), replaced.path("0.1")).unwrap();
    fs::write(replaced.path("0"), A).unwrap();
    replaced.unverifiable("with `0`: another file has taken its name since the merge");

    let removed = bench();
    fs::remove_file(removed.path("0")).unwrap();
    removed.unverifiable("with `0`: No such file or directory");

    let folder = bench();
    fs::remove_file(folder.path("0")).unwrap();
    fs::create_dir(folder.path("0")).unwrap();
    folder.unverifiable("with `0`: it is not a regular file");

    let rewritten = bench();
    fs::write(rewritten.path("1"), b"another text of it").unwrap();
    rewritten.unverifiable("with `1`: it was rewritten since the merge");
}

#[test]
fn an_input_that_grew_is_confirmed_up_to_where_it_was_read() {
    let grown = Bench::new(&[A, b"b-1 eins\nb-2 zw"], b"a-1 one\nb-1 eins\na-2 two\na-3 three\nb-2 zw\n");
    fs::write(grown.path("1"), [B, b"b-3 drei\n"].concat()).unwrap();
    let merge = grown.confirm();
    assert_eq!((merge.verdict, merge.lines, merge.unterminated), (Verdict::Ok, 5, 1), "{merge:?}");
}

#[test]
fn an_input_that_is_gone_is_unverifiable_even_if_nothing_was_read_of_it() {
    let bench = Bench::new(&[A, b""], A);
    fs::remove_file(bench.path("1")).unwrap();
    bench.unverifiable("with `1`: No such file or directory");
}

/// An input of two files: `older` was renamed and kept open, and `0` followed it.
fn rotated(first: &[u8], second: &[u8], output: &[u8]) -> Bench {
    let mut bench = Bench::new(&[second], output);
    fs::write(bench.path("older"), first).unwrap();
    let file = fs::File::open(bench.path("older")).unwrap();
    let m = file.metadata().unwrap();
    let unterminated = !first.ends_with(b"\n");
    let older = Part {
        file: PartFile::Kept(Arc::new(file)),
        dev: m.dev(),
        ino: m.ino(),
        from: 0,
        to: m.len(),
        unterminated,
        checksum: None,
    };
    fs::rename(bench.path("older"), bench.path("older.1")).unwrap();
    bench.inputs[0].parts.insert(0, older);
    bench
}

#[test]
fn the_parts_of_an_input_follow_one_another() {
    let merge = rotated(b"one\ntwo", b"three\nfour", b"one\ntwo\nthree\nfour\n").confirm();
    assert_eq!((merge.verdict, merge.inputs, merge.lines, merge.unterminated), (Verdict::Ok, 1, 4, 2), "{merge:?}");
    let reason = "line 4 (byte 6) of `0` is not in the output";
    fails(&rotated(b"one\ntwo", b"three\nfour", b"one\ntwo\nthree\n"), Counts { lost: 1, ..NONE }, reason);
    let reason = "line 3 (byte 0) of `0` is out of order: in `out` it does not follow the lines before it";
    let bench = rotated(b"one\ntwo\n", b"three\n", b"three\none\ntwo\n");
    fails(&bench, Counts { reordered: 1, ..NONE }, reason);

    let mut from_within = rotated(b"not this\none\n", b"two\nnor this\n", b"one\ntwo\n");
    from_within.inputs[0].parts[0].from = 9;
    from_within.inputs[0].parts[1].to = 4;
    assert_eq!(from_within.confirm().verdict, Verdict::Ok);

    let mut gone = rotated(b"one\n", b"two\n", b"one\ntwo\n");
    gone.inputs[0].parts[0].file = PartFile::Gone("it was cut to 10 bytes".to_owned());
    gone.unverifiable("with `0`: it was cut to 10 bytes");
}

#[test]
fn what_is_missing_is_said_of_those_that_got_stuck() {
    let bench = Bench::new(&[b"x\na\n", b"x\nb\nx\n", b"c\nd\n"], b"x\na\nx\nb\nd\n");
    let confirmation = examine(&bench.inputs, &bench.output, &ConfirmSettings::default());
    let missing = confirmation.missing.iter();
    let missing: Vec<_> =
        missing.map(|m| (m.input.file_name().unwrap(), m.lines, m.of, m.line, m.to_the_end)).collect();
    assert_eq!(missing, [("1".as_ref(), 1, 3, 3, true), ("2".as_ref(), 1, 2, 1, false)]);
    assert!(!confirmation.ends_early);

    let bench = Bench::new(&[A, B], &CLEAN[..20]);
    let confirmation = examine(&bench.inputs, &bench.output, &ConfirmSettings::default());
    assert!(confirmation.ends_early, "{confirmation:?}");
    assert_eq!((confirmation.merge.lost, confirmation.merge.torn, confirmation.missing.len()), (3, 1, 2));
}

#[test]
fn an_output_that_changed_is_unverifiable() {
    let bench = || Bench::new(&[A, B], CLEAN);

    let replaced = bench();
    fs::rename(replaced.path("out"), replaced.path("out.1")).unwrap();
    fs::write(replaced.path("out"), CLEAN).unwrap();
    replaced.unverifiable("with `out`: another file has taken its name since the merge");

    let removed = bench();
    fs::remove_file(removed.path("out")).unwrap();
    removed.unverifiable("with `out`: No such file or directory");

    let mut shrunk = bench();
    shrunk.output.start = 45;
    shrunk.unverifiable("with `out`: it has shrunk from 45 to 44 bytes since the merge began");

    let mut device = bench();
    device.output.path = PathBuf::from("/dev/null");
    device.unverifiable("it is not a regular file");

    let mut input = bench();
    fs::copy(input.path("out"), input.path("0")).unwrap();
    input.output.path = input.path("0");
    (input.output.dev, input.output.ino) = (input.inputs[0].parts[0].dev, input.inputs[0].parts[0].ino);
    input.unverifiable("with `0`: it is also the input `0`");
}

#[test]
fn an_output_that_changes_meanwhile_is_noticed() {
    let bench = Bench::new(&[A, B], CLEAN);
    let Ok(opened) = MergedFile::new(&bench.output) else { panic!("the output is as it was") };
    assert!(opened.unchanged().is_ok());
    fs::write(bench.path("out"), [CLEAN, b"more\n"].concat()).unwrap();
    assert!(opened.unchanged().is_err());
}

#[test]
fn a_fifo_is_not_waited_for() {
    let mut bench = Bench::new(&[A, B], CLEAN);
    let fifo = bench.path("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let metadata = fs::metadata(&fifo).unwrap();
    (bench.output.dev, bench.output.ino, bench.output.path) = (metadata.dev(), metadata.ino(), fifo);
    bench.unverifiable("with `fifo`: it is not a regular file");
}

#[test]
fn a_thousand_inputs_need_neither_handles_nor_time() {
    let texts: Vec<String> = (0..1000).map(|i| format!("same\n{i} a\nsame\n{i} b\n")).collect();
    let inputs: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
    let column = |line: usize| texts.iter().flat_map(move |t| [t.lines().nth(line).unwrap(), "\n"]).collect::<String>();
    let output: String = (0..4).map(column).collect();
    assert_eq!(Bench::new(&inputs, output.as_bytes()).confirm().verdict, Verdict::Ok);
}

#[test]
fn the_second_look_is_bounded() {
    let foreign: String = (0..super::torn::MOST + 10).map(|i| format!("foreign {i}\n")).collect();
    let torn = "a-2 t\n";
    let late = Bench::new(&[A], &[A, foreign.as_bytes(), torn.as_bytes()].concat()).confirm();
    assert_eq!((late.torn, late.foreign), (0, super::torn::MOST as u64 + 11));
    let early = Bench::new(&[A], &[A, torn.as_bytes(), foreign.as_bytes()].concat()).confirm();
    assert_eq!((early.torn, early.foreign), (1, super::torn::MOST as u64 + 10));
}
