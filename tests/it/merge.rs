//! `pollscope merge` with real files: growing, finished, cut, and of any content.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Folder, assert_ends, finish, send, stdout, wait_until};

const MODES: &[&str] = &["naive", "offloaded", "spawn-blocking", "tokio-fs"];

fn json(folder: &Folder) -> Value {
    serde_json::from_slice(&folder.read("json")).expect("it is JSON")
}

fn merge_of(recording: &Value) -> &Value {
    &recording["runs"][0]["merge"]
}

/// `<name> 1` to `<name> n`, each with its newline.
fn numbered(name: &str, lines: usize) -> String {
    (1..=lines).map(|number| format!("{name} {number}\n")).collect()
}

/// The lines of `merged` that begin with `<name> `, as they follow one another.
fn part_of(merged: &[u8], name: &str) -> String {
    let merged = std::str::from_utf8(merged).expect("text");
    let mut part = String::new();
    for line in merged.split_inclusive('\n').filter(|line| line.split(' ').next() == Some(name)) {
        part.push_str(line);
    }
    part
}

fn follow(folder: &Folder, inputs: &[String], more: &[&str]) -> Child {
    let fixed = ["--follow", "-o", "out", "--interval", "5ms", "--json", "json"];
    let args = ["merge"].into_iter().chain(inputs.iter().map(String::as_str)).chain(fixed).chain(more.iter().copied());
    folder.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

/// Appends the text in pieces that know nothing of lines, so that a reader sees every kind of unfinished line.
fn append_in_pieces(path: &Path, text: &str, seed: usize) {
    let mut file = File::options().append(true).open(path).expect("it opens");
    let (mut rest, mut size) = (text.as_bytes(), seed);
    while !rest.is_empty() {
        size = size * 31 % 97 + 1;
        let (piece, left) = rest.split_at(size.min(rest.len()));
        file.write_all(piece).expect("written");
        rest = left;
        if size.is_multiple_of(4) {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn growing_files_are_followed_until_ctrl_c() {
    for mode in MODES {
        let folder = Folder::new();
        let names: Vec<String> = (0..5).map(|index| format!("input{index}")).collect();
        let paths: Vec<PathBuf> = names.iter().map(|name| folder.write(name, numbered(name, 3))).collect();
        let child = follow(&folder, &names, &["--mode", mode]);
        wait_until("the output", || folder.path("out").exists());
        let all: Vec<String> = names.iter().map(|name| numbered(name, 500)).collect();
        thread::scope(|scope| {
            for (seed, (path, (name, all))) in paths.iter().zip(names.iter().zip(&all)).enumerate() {
                let new = &all[numbered(name, 3).len()..];
                scope.spawn(move || append_in_pieces(path, new, seed));
            }
        });
        // At once: what was appended before the signal is still read.
        send(&child, Signal::INT);
        let output = finish(child);
        assert_ends(&output, 0, &["stopping: finishing and checking"]);
        let merged = folder.read("out");
        for (name, all) in names.iter().zip(&all) {
            assert!(part_of(&merged, name) == *all, "{mode}: {name} is not whole or not in order");
        }
        assert_eq!(merged.len(), all.iter().map(String::len).sum::<usize>(), "{mode}: nothing else is in it");
        let recording = json(&folder);
        let merge = merge_of(&recording);
        assert_eq!((&merge["verdict"], &merge["inputs"], &merge["lines"]), (&"ok".into(), &5.into(), &2_500.into()));
    }
}

#[test]
fn a_line_is_delivered_when_it_is_whole() {
    let folder = Folder::new();
    let path = folder.write("a", "whole\nhal");
    let child = follow(&folder, &["a".to_owned()], &[]);
    wait_until("the whole line", || fs::read(folder.path("out")).is_ok_and(|out| out == b"whole\n"));
    let mut file = File::options().append(true).open(&path).expect("it opens");
    thread::sleep(Duration::from_millis(50));
    assert_eq!(folder.read("out"), b"whole\n", "half a line is not delivered");
    file.write_all(b"f\nlast").expect("written");
    wait_until("the completed line", || folder.read("out") == b"whole\nhalf\n");
    send(&child, Signal::TERM);
    assert_ends(&finish(child), 0, &[]);
    assert_eq!(folder.read("out"), b"whole\nhalf\nlast\n", "what is left at the end is delivered");
    assert_eq!(merge_of(&json(&folder))["unterminated"], 1);
}

#[test]
fn finished_files_of_any_content() {
    for mode in MODES {
        let folder = Folder::new();
        folder.write("empty", "");
        folder.write("newlines", "\n\n\n");
        folder.write("odd", b"\0\n\r\n\xff\xfe\n\xef\xbb\xbfbom\n\0\0\0\nlast without newline");
        folder.write("long", [vec![b'x'; 1 << 20], b"\nshort\n".to_vec()].concat());
        folder.write("many", numbered("many", 2_000));
        let output = folder.run(&format!("merge empty newlines odd long many -o out --json json --mode {mode}"));
        assert_ends(&output, 0, &[]);
        let recording = json(&folder);
        let merge = merge_of(&recording);
        assert_eq!((&merge["verdict"], &merge["inputs"], &merge["lines"]), (&"ok".into(), &5.into(), &2_011.into()));
        assert_eq!(merge["unterminated"], 1);
        let merged = folder.read("out");
        assert_eq!(part_of(&lines_of_text(&merged), "many"), numbered("many", 2_000));
        let names = ["newlines", "odd", "long", "many"];
        let inputs: usize = names.iter().map(|name| folder.read(name).len()).sum();
        assert_eq!(merged.len(), inputs + 1, "one newline was added");
        assert!(stdout(&output).contains("merge ok"), "{}", stdout(&output));
    }
}

/// Without the lines that are not UTF-8.
fn lines_of_text(bytes: &[u8]) -> Vec<u8> {
    let lines = bytes.split_inclusive(|&byte| byte == b'\n').filter(|line| std::str::from_utf8(line).is_ok());
    lines.flatten().copied().collect()
}

#[test]
fn nothing_but_empty_files() {
    let folder = Folder::new();
    folder.write("a", "");
    folder.write("b", "");
    assert_ends(&folder.run("merge a b -o out --json json"), 0, &[]);
    assert_eq!(folder.read("out"), b"");
    assert_eq!(merge_of(&json(&folder))["verdict"], "ok");
}

#[test]
fn append_keeps_what_was_there_and_confirms_its_part() {
    for mode in MODES {
        let folder = Folder::new();
        folder.write("a", numbered("a", 3));
        folder.write("out", "old\na 1\n");
        let line = format!("merge a -o out --append --json json --mode {mode}");
        assert_ends(&folder.run(&line), 0, &[]);
        assert_eq!(folder.read("out"), b"old\na 1\na 1\na 2\na 3\n");
        let recording = json(&folder);
        let merge = merge_of(&recording);
        assert_eq!((&merge["verdict"], &merge["lines"]), (&"ok".into(), &3.into()));
        // And again, and into a new file.
        assert_ends(&folder.run(&line), 0, &[]);
        assert_eq!(folder.read("out"), format!("old\na 1\n{}", numbered("a", 3).repeat(2)).as_bytes());
        assert_ends(&folder.run("merge a -o new --append"), 0, &[]);
        assert_eq!(folder.read("new"), numbered("a", 3).as_bytes());
    }
}

#[test]
fn appending_to_half_a_line_is_not_confirmed() {
    let folder = Folder::new();
    folder.write("a", "1\n");
    folder.write("out", "half");
    let output = folder.run("merge a -o out --append");
    assert_ends(&output, 3, &[]);
    assert!(stdout(&output).contains("glued"), "{}", stdout(&output));
}

#[test]
fn force_replaces_what_was_there() {
    for mode in MODES {
        let folder = Folder::new();
        folder.write("a", numbered("a", 3));
        folder.write("out", numbered("old", 100));
        assert_ends(&folder.run(&format!("merge a -o out --force --json json --mode {mode}")), 0, &[]);
        assert_eq!(folder.read("out"), numbered("a", 3).as_bytes());
        assert_eq!(merge_of(&json(&folder))["verdict"], "ok");
    }
}

#[test]
fn what_cannot_be_read_again_is_not_confirmed() {
    let folder = Folder::new();
    folder.write("a", "1\n");
    for existing in ["--append", "--force"] {
        let output = folder.run(&format!("merge a -o /dev/null {existing}"));
        assert_ends(&output, 3, &[]);
        assert!(stdout(&output).contains("unverifiable"), "{}", stdout(&output));
    }
}

#[test]
fn a_cut_input_is_a_named_loss_and_all_go_on() {
    for mode in MODES {
        let folder = Folder::new();
        let names = ["cut", "whole"].map(str::to_owned);
        for name in &names {
            folder.write(name, numbered(name, 100));
        }
        let child = follow(&folder, &names, &["--mode", mode]);
        let both = names.iter().map(|name| numbered(name, 100).len()).sum::<usize>();
        wait_until("all lines", || fs::read(folder.path("out")).is_ok_and(|out| out.len() == both));
        File::options().write(true).open(folder.path("cut")).expect("it opens").set_len(0).expect("cut");
        append_in_pieces(&folder.path("cut"), "cut anew\n", 1);
        let new = numbered("whole", 200).split_off(numbered("whole", 100).len());
        append_in_pieces(&folder.path("whole"), &new, 1);
        wait_until("what came after the cut", || {
            folder.read("out").ends_with(b"cut anew\n") || folder.read("out").len() > both + 9
        });
        send(&child, Signal::INT);
        let output = finish(child);
        let loss = "input `cut` was cut to ";
        assert_ends(&output, 3, &[loss, "lines may be lost"]);
        assert_eq!(part_of(&folder.read("out"), "whole"), numbered("whole", 200), "{mode}");
        assert_eq!(part_of(&folder.read("out"), "cut"), format!("{}cut anew\n", numbered("cut", 100)), "{mode}");
        let recording = json(&folder);
        let merge = merge_of(&recording);
        assert_eq!(merge["verdict"], "unverifiable");
        assert_eq!(recording["runs"][0]["input_events"]["possible_losses"], 1);
        assert!(stdout(&output).contains("may have cost lines"), "{}", stdout(&output));
    }
}

#[test]
fn a_line_beyond_the_limit_is_split() {
    let folder = Folder::new();
    folder.write("long", [vec![b'x'; 2_500], b"\nshort\n".to_vec()].concat());
    folder.write("a", numbered("a", 10));
    let output = folder.run("merge long -o out --max-line 1000");
    let pieces = ["x".repeat(1_000), "x".repeat(1_000), "x".repeat(500), "short".to_owned()].map(|line| line + "\n");
    assert_eq!(folder.read("out"), pieces.concat().as_bytes());
    assert_ends(&output, 0, &[]);
}

#[test]
fn a_file_that_never_stops_growing_ends_all_the_same() {
    let folder = Folder::new();
    folder.write("grows", numbered("grows", 1_000));
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let path = folder.path("grows");
    let writer = thread::spawn(move || {
        let mut file = File::options().append(true).open(path).expect("it opens");
        let mut number = 1_000;
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            number += 1;
            file.write_all(format!("grows {number}\n").as_bytes()).expect("written");
            thread::sleep(Duration::from_micros(200));
        }
    });
    let output = folder.run("merge grows -o out --json json");
    drop(stop);
    writer.join().expect("it wrote");
    assert_ends(&output, 0, &[]);
    assert_eq!(merge_of(&json(&folder))["verdict"], "ok");
    let (merged, grown) = (folder.read("out"), folder.read("grows"));
    assert!(merged.len() >= numbered("grows", 1_000).len());
    assert!(grown.starts_with(&merged), "it is the beginning of what there is now");
}
