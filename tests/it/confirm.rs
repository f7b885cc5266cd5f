//! `pollscope confirm`: a merged file held against its inputs as they are now.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::peak;
use crate::support::{DEADLINE, Folder, assert_ends, finish, run, send, stderr, stdout, wait_until};

/// `<name> 1` to `<name> n`, each with its newline.
fn numbered(name: &str, lines: usize) -> String {
    (1..=lines).map(|number| format!("{name} {number}\n")).collect()
}

/// A folder with the inputs `a` and `b` of 100 lines each, and `out`, a merge of them: `a 1`, `b 1`, `a 2`, …
fn merged() -> Folder {
    let folder = Folder::new();
    folder.write("a", numbered("a", 100));
    folder.write("b", numbered("b", 100));
    folder.write("out", (1..=100).map(|number| format!("a {number}\nb {number}\n")).collect::<String>());
    folder
}

/// What is said on stdout, in one line without the indents of wrapped text.
#[track_caller]
fn says(folder: &Folder, line: &str, code: i32) -> String {
    let output = folder.run(line);
    assert_ends(&output, code, &[]);
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
    stdout(&output).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn answer(folder: &Folder, line: &str) -> Value {
    serde_json::from_slice(&folder.run(line).stdout).expect("it is JSON")
}

#[test]
fn a_whole_merge_is_ok() {
    let folder = merged();
    let said = says(&folder, "confirm a b -o out", 0);
    assert_eq!(said, "pollscope confirm out ✓ merge ok: 2 inputs, 200 lines, 984 B, each whole, once, in order");
    let ok = answer(&folder, "confirm a b -o out --json -");
    assert_eq!((&ok["schema"], &ok["merge"]["verdict"]), (&"pollscope.confirmation/1".into(), &"ok".into()));
    assert_eq!(
        (&ok["missing"], &ok["ends_early"], &ok["output"]),
        (&Value::Array(Vec::new()), &false.into(), &"out".into())
    );
}

#[test]
fn what_merge_wrote_is_confirmed_in_all_its_ways() {
    let folder = merged();
    folder.write("tail", "unfinished");
    assert_ends(&folder.run("merge a b tail -o new"), 0, &[]);
    assert!(says(&folder, "confirm a b tail -o new", 0).contains("(1 input ended without a newline)"));
    folder.write("grown", "before\n");
    assert_ends(&folder.run("merge a -o grown --append"), 0, &[]);
    says(&folder, "confirm a -o grown --skip 7", 0);
    let said = says(&folder, "confirm a -o grown", 3);
    assert!(said.contains("line 1 (byte 0) of `grown` is in no input") && said.contains("with `--skip`"), "{said}");
}

#[test]
fn a_merge_that_was_cut_short_says_what_is_missing_of_which_input() {
    let folder = merged();
    let out = folder.read("out");
    folder.write("cut", &out[..300]);
    let said = says(&folder, "confirm a b -o cut", 3);
    for text in [
        "✗ merge failed: 2 inputs, 200 lines, 984 B; 137 lost and 1 torn",
        "line 64 (byte 297) of `cut` is torn: it has no newline",
        "missing 68 of 100 lines of `a`: all from line 33 (byte 151) on",
        "69 of 100 lines of `b`: all from line 32 (byte 146) on",
        "the output ends early, as after a merge that was killed; what it holds is right but for the torn line",
    ] {
        assert!(said.contains(text), "no `{text}` in:\n{said}");
    }
    let json = answer(&folder, "confirm a b -o cut --json -");
    assert_eq!((&json["ends_early"], &json["missing"][1]["input"]), (&true.into(), &"b".into()));
    assert_eq!((&json["missing"][1]["line"], &json["missing"][1]["to_the_end"]), (&32.into(), &true.into()));

    folder.write("empty", "");
    let said = says(&folder, "confirm a b -o empty", 3);
    assert!(said.contains("missing all 100 lines of `a` all 100 lines of `b`"), "{said}");
    assert!(said.contains("the output has nothing of these inputs"), "{said}");
    let dropped: Vec<u8> = out.split_inclusive(|b| *b == b'\n').filter(|l| *l != b"b 7\n").flatten().copied().collect();
    folder.write("dropped", dropped);
    let said = says(&folder, "confirm a b -o dropped", 3);
    assert!(said.contains("missing 1 of 100 lines of `b`, the first at line 7 (byte 24)"), "{said}");
}

#[test]
fn only_the_first_inputs_are_listed() {
    let folder = Folder::new();
    let names: Vec<String> = (1..=9).map(|index| format!("in{index}")).collect();
    names.iter().for_each(|name| drop(folder.write(name, numbered(name, 3))));
    folder.write("out", numbered("in1", 3));
    let said = says(&folder, &format!("confirm {} -o out", names.join(" ")), 3);
    assert!(said.contains("all 3 lines of `in6` 9 lines of 3 more inputs"), "{said}");
}

#[test]
fn a_killed_merge_leaves_whole_lines_and_at_most_one_torn_one() {
    let folder = Folder::new();
    let names = ["a", "b", "c"];
    names.iter().for_each(|name| drop(folder.write(name, numbered(name, 300_000))));
    let mut command = folder.command("merge a b c -o out --batch 100 --quiet".split(' '));
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    wait_until("some lines", || fs::metadata(folder.path("out")).is_ok_and(|out| out.len() > 100_000));
    send(&child, Signal::KILL);
    finish(child);
    let json = answer(&folder, "confirm a b c -o out --json -");
    if json["merge"]["verdict"] == "ok" {
        println!("SKIP: it was done before it was killed");
        return;
    }
    let merge = &json["merge"];
    assert_eq!((&json["ends_early"], &merge["foreign"], &merge["duplicated"]), (&true.into(), &0.into(), &0.into()));
    assert!(merge["torn"].as_u64().is_some_and(|torn| torn <= 1), "{merge}");
    let missing = json["missing"].as_array().expect("a list");
    assert!(missing.iter().all(|missing| missing["to_the_end"] == true), "{missing:?}");
    assert_eq!(
        missing.iter().map(|missing| missing["lines"].as_u64().unwrap()).sum::<u64>(),
        merge["lost"].as_u64().unwrap()
    );
}

/// Each input by itself is in the output, and no line is there too often; but not even both together explain it.
#[test]
fn tags_decide_what_shared_lines_leave_open() {
    let folder = Folder::new();
    folder.write("p", "1\n2\n");
    folder.write("q", "1\n2\n");
    folder.write("out", "1\n2\n2\n1\n");
    says(&folder, "confirm p q -o out", 0);
    folder.write("tagged", "p\t1\np\t2\nq\t2\nq\t1\n");
    let said = says(&folder, "confirm p q -o tagged --tag", 3);
    assert!(said.contains("1 reordered; line 2 (byte 2) of `q` is out of order"), "{said}");
    folder.write("right", "p\t1\nq\t1\nq\t2\np\t2\n");
    says(&folder, "confirm p q -o right --tag", 0);
    folder.write("other", "p\t1\nq\t1\nq\t2\nq\t2\n");
    let said = says(&folder, "confirm p q -o other --tag", 3);
    assert!(said.contains("1 lost and 1 duplicated; line 4 (byte 12) of `other` is one copy more"), "{said}");
    folder.write("unknown", "p\t1\nq\t1\np\t2\nq\t2\nr\t1\n1\n");
    assert!(says(&folder, "confirm p q -o unknown --tag", 3).contains("1 torn and 1 foreign"));
}

#[test]
fn long_lines_are_held_against_their_pieces() {
    let folder = Folder::new();
    folder.write("a", "abcdefgh\nabcd\n\nabcde");
    folder.write("out", "abcd\nefgh\nabcd\n\nabcd\ne\n");
    let said = says(&folder, "confirm a -o out --max-line 4", 0);
    assert!(said.contains("1 input, 6 lines") && said.contains("2 lines longer than the limit, split"), "{said}");
    let json = answer(&folder, "confirm a -o out --max-line 4B --json -");
    assert_eq!(json["merge"]["long_lines"], 2);
    says(&folder, "confirm a -o out", 3);
    folder.write("short", "abcd\nabcd\n\nabcd\ne\n");
    let said = says(&folder, "confirm a -o short --max-line 4", 3);
    assert!(said.contains("line 1 (byte 4) of `a` is not in the output"), "{said}");
}

#[test]
fn tags_are_paths_made_safe() {
    let folder = Folder::new();
    let odd = "t\tn\n\\\u{1b}";
    folder.write(odd, "1\n");
    folder.write("out", "t\\tn\\n\\\\\\u{1b}\t1\n");
    let output = run(&mut folder.command(["confirm", odd, "-o", "out", "--tag"]));
    assert_ends(&output, 0, &[]);
}

#[test]
fn what_cannot_be_confirmed() {
    let folder = merged();
    fs::create_dir(folder.path("folder")).expect("a folder");
    folder.fifo("fifo");
    symlink("a", folder.path("to-a")).expect("a link");
    fs::hard_link(folder.path("a"), folder.path("hard")).expect("a hard link");
    let before = folder.names();
    let cases: &[(&str, &[&str])] = &[
        ("confirm a missing -o out", &["cannot open input `missing`: No such file", "name a file that exists"]),
        ("confirm a -o missing", &["cannot open output `missing`: No such file", "name a file that exists"]),
        ("confirm folder -o out", &["cannot confirm with input `folder`: it is a directory", "name regular files"]),
        ("confirm a -o folder", &["cannot confirm with output `folder`: it is a directory"]),
        ("confirm fifo -o out", &["cannot confirm with input `fifo`: it is a FIFO"]),
        ("confirm a -o fifo", &["cannot confirm with output `fifo`: it is a FIFO"]),
        ("confirm a -o /dev/null", &["cannot confirm with output `/dev/null`: it is a device"]),
        ("confirm /proc/self/status -o out", &["whose length the kernel does not tell"]),
        ("confirm a out -o out", &["cannot confirm output `out`: it is the same file as input `out`"]),
        ("confirm a -o to-a", &["cannot confirm output `to-a`: it is the same file as input `a`"]),
        ("confirm a b ./a -o out", &["cannot confirm with input `a` twice: `./a` is the same file; name it once"]),
        ("confirm a hard -o out", &["cannot confirm with input `a` twice: `hard`"]),
        ("confirm a b -o out --skip 985", &["cannot skip 985 bytes of output `out`: it has only 984"]),
        ("confirm a b -o out --json out", &["cannot write report `out`: it would replace `out`"]),
        ("confirm a b -o out --json a", &["cannot write report `a`: it would replace `a`"]),
    ];
    for (line, says) in cases {
        let output = folder.run(line);
        assert_ends(&output, 1, says);
        assert!(output.stdout.is_empty(), "{line}: {}", stdout(&output));
    }
    assert_eq!(folder.names(), before);
    assert_ends(&folder.run("confirm a b -o out --json no/such"), 110, &["make its folder first"]);
}

#[test]
fn it_fits_a_narrow_page_and_a_dumb_terminal() {
    let folder = merged();
    folder.write("cut", &folder.read("out")[..300]);
    for columns in ["60", "100"] {
        let output = run(folder.command("confirm a b -o cut".split(' ')).env("COLUMNS", columns));
        let width: usize = columns.parse().expect("a number");
        assert!(stdout(&output).lines().all(|line| line.chars().count() <= width), "{}", stdout(&output));
    }
    let output = run(folder.command("confirm a b -o cut".split(' ')).env("TERM", "dumb"));
    assert!(stdout(&output).is_ascii() && stdout(&output).contains("FAIL merge failed"), "{}", stdout(&output));
    let output = run(&mut folder.command("confirm a b -o cut --color always".split(' ')));
    assert!(stdout(&output).contains('\u{1b}'));
}

/// A table of all lines would take some 100 MB.
#[test]
fn memory_does_not_grow_with_the_lines() {
    let folder = Folder::new();
    let names = ["a", "b", "c", "d"];
    let all: Vec<String> = names.iter().map(|name| numbered(name, 250_000)).collect();
    names.iter().zip(&all).for_each(|(name, lines)| drop(folder.write(name, lines)));
    let out = all.concat();
    folder.write("whole", &out);
    folder.write("cut", &out[..out.len() / 2]);
    folder.write("dropped", out.replacen("c 77\n", "", 1));
    for (file, code) in [("whole", 0), ("cut", 3), ("dropped", 3)] {
        let mut command = folder.command(["confirm", "a", "b", "c", "d", "-o", file]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let (status, peak) = peak::wait(&mut child, DEADLINE).expect("it ends");
        assert_eq!(status.code(), Some(code), "{file}");
        assert!(peak < 48 << 20, "{file}: {peak} bytes");
    }
}

#[test]
fn very_many_inputs_need_few_open_files() {
    let folder = Folder::new();
    fs::create_dir(folder.path("in")).expect("a folder");
    let mut output = String::new();
    for line in 1..=3 {
        for index in 0..5_000 {
            output += &format!("{index} {line}\n");
        }
    }
    for index in 0..5_000 {
        folder.write(format!("in/{index}"), numbered(&index.to_string(), 3));
    }
    folder.write("out", &output);
    let confirm = "ulimit -n 100; \"$POLLSCOPE_BIN\" confirm in/* -o";
    assert_ends(&folder.shell(&format!("{confirm} out")), 0, &[]);
    folder.write("cut", &output[..output.len() / 2]);
    let cut = folder.shell(&format!("{confirm} cut"));
    assert_ends(&cut, 3, &[]);
    assert!(stdout(&cut).contains("the output ends early"), "{}", stdout(&cut));
    let tags = "sed 's/^\\([0-9]*\\) /in\\/\\1\\t\\1 /' out > tagged";
    assert_ends(&folder.shell(&format!("{tags}; {confirm} tagged --tag")), 0, &[]);
}
