//! Every fault of an input: how `merge` and `confirm` answer it, or what they still do with it.
//!
//! Each kind has a row here, or a line that names the test of it:
//! - a fault while it is read (`EIO`, a read that never returns): `faults/reading.rs`;
//! - half a line now, the rest later, lines that are appended until the end, cut, rewritten: `merge.rs`;
//! - any content in every mode: `merge.rs`; a line beyond the limit, to the byte: `merge.rs`, `confirm.rs`;
//! - the output is an input by bind mount and in every mode: `faults/places.rs`;
//! - names that are hard to show: `cli/arguments.rs`; thousands of inputs of `confirm`: `confirm.rs`.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::peak;
use crate::support::{DEADLINE, Folder, assert_ends, finish, send, stderr, stdout, wait_until};

const MIB: u64 = 1 << 20;

/// Every line is refused with the code and the words, before anything is written.
#[track_caller]
fn refused<'a>(folder: &Folder, code: i32, rows: impl IntoIterator<Item = (&'a str, &'a [&'a str])>) {
    let before = folder.names();
    for (line, says) in rows {
        let output = folder.run(line);
        eprintln!("pollscope {line}\n{}", stderr(&output));
        assert_ends(&output, code, says);
        assert!(output.stdout.is_empty(), "{line}: {}", stdout(&output));
        assert_eq!(folder.names(), before, "{line}: it left something behind");
    }
}

/// A folder with all that is no input, besides the inputs `a` and `b`, and their merge, `merged`.
fn obstacles() -> Folder {
    let folder = Folder::new();
    folder.write("a", "a1\na2\n");
    folder.write("b", "b1\n");
    folder.write("merged", "a1\nb1\na2\n");
    fs::create_dir(folder.path("folder")).expect("a folder");
    folder.fifo("fifo");
    symlink("a", folder.path("link")).expect("a link");
    symlink("nowhere", folder.path("dangling")).expect("a link");
    symlink("loop", folder.path("loop")).expect("a link");
    fs::hard_link(folder.path("a"), folder.path("hard")).expect("a hard link");
    folder
}

#[test]
fn what_is_no_input_is_refused() {
    let folder = obstacles();
    let _socket = std::os::unix::net::UnixListener::bind(folder.path("socket")).expect("a socket");
    let name = "n".repeat(300);
    let (merge_long, confirm_long) = (format!("merge {name} -o out"), format!("confirm {name} -o merged"));
    let long = format!("cannot open input `{name}`: File name too long");
    let cannot_open = "cannot open input `";
    let rows: &[(&str, &[&str])] = &[
        // ENOENT
        ("merge a missing -o out", &["cannot open input `missing`: No such file", "name a file that exists"]),
        ("merge dangling -o out", &["cannot open input `dangling`: No such file", "name a file that exists"]),
        ("confirm dangling -o merged", &["cannot open input `dangling`: No such file", "name a file that exists"]),
        // ELOOP
        ("merge loop -o out", &[cannot_open, "`loop`: Too many levels of symbolic links"]),
        ("confirm loop -o merged", &[cannot_open, "`loop`: Too many levels of symbolic links"]),
        // ENAMETOOLONG
        (&merge_long, &[&long]),
        (&confirm_long, &[&long]),
        // ENOTDIR
        ("merge a/b -o out", &["cannot open input `a/b`: Not a directory"]),
        ("confirm a/b -o merged", &["cannot open input `a/b`: Not a directory"]),
        // No file; of FIFOs, folders and /proc `confirm.rs` has those of `confirm`.
        ("merge folder -o out", &["cannot follow input `folder`: it is a directory", "name regular files or FIFOs"]),
        ("merge folder/ -o out", &["cannot follow input `folder/`: it is a directory"]),
        ("merge socket -o out", &["cannot follow input `socket`: it is a socket", "name regular files or FIFOs"]),
        ("confirm socket -o merged", &["cannot confirm with input `socket`: it is a socket", "name regular files"]),
        ("merge /dev/zero -o out", &["cannot follow input `/dev/zero`: it is a device", "name regular files or FIFOs"]),
        ("confirm /dev/zero -o merged", &["cannot confirm with input `/dev/zero`: it is a device"]),
        (
            "merge /proc/self/status -o out",
            &["cannot follow input `/proc/self/status`: it is a file whose length the kernel does not tell", "name"],
        ),
        // Twice; of `confirm` in `confirm.rs`, too.
        ("merge a a -o out", &["cannot merge input `a` twice: `a` is the same file; name it once"]),
        ("merge a ./a -o out", &["cannot merge input `a` twice: `./a` is the same file"]),
        ("merge a link -o out", &["cannot merge input `a` twice: `link` is the same file"]),
        ("merge a b hard -o out", &["cannot merge input `a` twice: `hard` is the same file"]),
        ("merge fifo ./fifo -o out", &["cannot merge input `fifo` twice: `./fifo` is the same file"]),
        ("confirm a link -o merged", &["cannot confirm with input `a` twice: `link` is the same file; name it once"]),
        // The output; its other names of `merge` are in `cli/arguments.rs`.
        ("merge a b -o hard --append", &["cannot write output `hard`: it is the same file as input `a`; name another"]),
        ("confirm a b -o hard", &["cannot confirm output `hard`: it is the same file as input `a`"]),
        ("confirm a b -o ./b", &["cannot confirm output `./b`: it is the same file as input `b`"]),
    ];
    refused(&folder, 1, rows.iter().copied());
    assert_eq!((folder.read("a"), folder.read("b")), (b"a1\na2\n".to_vec(), b"b1\n".to_vec()));
}

#[test]
fn an_input_that_only_others_may_read() {
    let probe = Command::new("setpriv").args(["--reuid", "65534", "--clear-groups", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        println!("SKIP: no right to become another user with setpriv");
        return;
    }
    let folder = obstacles();
    folder.shell("chmod 600 a; chmod 644 b merged; cp \"$POLLSCOPE_BIN\" bin; chmod 755 bin; chmod 777 .");
    fs::create_dir(folder.path("closed")).expect("a folder");
    folder.write("closed/c", "c1\n");
    folder.shell("chmod 700 closed");
    let as_other = "setpriv --reuid 65534 --clear-groups ./bin";
    for (command, input) in
        [("merge b a -o out", "a"), ("confirm b a -o merged", "a"), ("merge closed/c -o out", "closed/c")]
    {
        let output = folder.shell(&format!("{as_other} {command}"));
        let denied = format!("cannot open input `{input}`: Permission denied");
        assert_ends(&output, 1, &[&denied, "make it readable for this user"]);
        assert!(!folder.path("out").exists());
    }
    let output = folder.shell(&format!("chmod 755 .; {as_other} merge b -o out"));
    assert_ends(&output, 1, &["cannot create output `out`: Permission denied", "write elsewhere"]);
}

#[test]
fn odd_arguments() {
    let folder = obstacles();
    let size = "cannot read `";
    let max_line = "write a length from 16 to 64MiB, such as `4096`, `64KiB` or `1MiB`";
    let batch = "write a number of lines, from 1 to 1000000";
    let interval = "the interval must be from 1ms to 1h";
    let rows: &[(&str, &str)] = &[
        ("--max-line 0", "a line must have at least one byte"),
        ("--max-line 15", max_line),
        ("--max-line 67108865", max_line),
        ("--max-line 99999999999999999999999", size),
        ("--max-line 1.5MiB", "write a whole number and a unit, such as `512B`, `64KiB` or `2MiB`"),
        ("--max-line 16XB", size),
        ("--max-line -1", "unexpected argument '-1'"),
        ("--max-line", "a value is required for '--max-line <BYTES>'"),
        ("--follow --watch fanotify", "unknown way; choose one of `inotify`, `poll`"),
        ("--follow --watch", "a value is required for '--watch <HOW>'"),
        ("--watch poll", "--follow"),
        ("--follow --watch poll --watch poll", "cannot be used multiple times"),
        ("--batch 0", batch),
        ("--batch 1000001", batch),
        ("--batch 99999999999999999999999", batch),
        ("--batch 1e3", batch),
        ("--batch \u{661}", batch),
        ("--batch -5", "unexpected argument '-5'"),
        ("--interval 0s", interval),
        ("--interval 999us", interval),
        ("--interval 61m", interval),
        ("--interval 5", "cannot read `5` as a duration"),
        ("--interval 99999999999999h", "cannot read `99999999999999h` as a duration"),
        ("--interval NaNs", "cannot read `NaNs` as a duration"),
        ("--interval infs", "cannot read `infs` as a duration"),
        ("--interval 1h1ns", "cannot read `1h1ns` as a duration"),
        ("--interval -5ms", "unexpected argument '-5'"),
        ("--grace 2h", "it must be from 0s to 1h"),
        ("--grace 5", "cannot read `5` as a duration"),
        ("--grace forever", "such as `100ms`"),
        ("--grace -1s", "unexpected argument '-1'"),
    ];
    for (arguments, says) in rows {
        let line = format!("merge a -o out {arguments}");
        let asked: &[&str] = &["error: ", says];
        refused(&folder, 2, [(line.as_str(), asked)]);
    }
    // The extremes are fine.
    for arguments in ["--max-line 16", "--max-line 64MiB", "--batch 1", "--batch 1000000", "--interval 1ms --grace 0"] {
        assert_ends(&folder.run(&format!("merge a b -o out --force {arguments}")), 0, &[]);
    }
}

fn verdict(folder: &Folder, name: &str) -> Value {
    let recording: Value = serde_json::from_slice(&folder.read(name)).expect("it is JSON");
    recording["runs"][0]["merge"].clone()
}

/// Content that other tools stumble over, delivered byte for byte, and confirmed.
#[test]
fn content_is_not_judged() {
    let rows: &[(&str, &[u8], &[u8])] = &[
        ("an unterminated last line", b"whole\nhalf", b"whole\nhalf\n"),
        ("nothing but half a line", b"half", b"half\n"),
        ("a last line that is only a carriage return", b"1\n\r", b"1\n\r\n"),
        ("no lines", b"", b""),
        ("one empty line", b"\n", b"\n"),
        ("empty lines", b"\n\n1\n\n\n2\n\n", b"\n\n1\n\n\n2\n\n"),
        ("invalid UTF-8", b"\xff\xfe\n\xc3\n\xa4\n\xed\xa0\x80\n", b"\xff\xfe\n\xc3\n\xa4\n\xed\xa0\x80\n"),
        ("NUL", b"\0\n\0\0\0\na\0b\n\0", b"\0\n\0\0\0\na\0b\n\0\n"),
        ("CR and CRLF", b"a\rb\r\nc\r\r\n\r\n", b"a\rb\r\nc\r\r\n\r\n"),
        ("a BOM, and one in the middle", b"\xef\xbb\xbf1\n\xef\xbb\xbf\n", b"\xef\xbb\xbf1\n\xef\xbb\xbf\n"),
        ("UTF-16", b"1\0\n\0\x0a\x0a\0", b"1\0\n\0\x0a\x0a\0\n"),
        ("tabs, as in tags", b"in\t1\n\t\n", b"in\t1\n\t\n"),
        ("escape sequences", b"\x1b[2J\n\x07\x08\n", b"\x1b[2J\n\x07\x08\n"),
        ("the same line again and again", b"x\nx\nx\nx\n", b"x\nx\nx\nx\n"),
    ];
    for &(name, content, merged) in rows {
        let folder = Folder::new();
        folder.write("in", content);
        let output = folder.run("merge in -o out --json json");
        assert_ends(&output, 0, &[]);
        assert_eq!(folder.read("out"), merged, "{name}");
        let unterminated = u64::from(merged.len() > content.len());
        let merge = verdict(&folder, "json");
        assert_eq!((&merge["verdict"], &merge["unterminated"]), (&"ok".into(), &unterminated.into()), "{name}");
        assert_ends(&folder.run("confirm in -o out"), 0, &[]);
        assert_ends(&folder.run("merge in -o tagged --tag"), 0, &[]);
        assert_ends(&folder.run("confirm in -o tagged --tag"), 0, &[]);
        assert!(!stdout(&output).contains('\u{1b}'), "{name}");
    }
}

fn peak_of(folder: &Folder, line: &str) -> u64 {
    let mut command = folder.command(line.split(' '));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let (status, peak) = peak::wait(&mut child, DEADLINE).expect("it ends");
    assert!(status.success(), "{line}: {status}");
    peak
}

/// One line of 300 MiB is split, counted, confirmed, and never held as a whole.
#[test]
fn a_line_of_300_mib_takes_little_memory() {
    const LONG: u64 = 300 * MIB;
    let folder = Folder::new();
    folder.write("short", "short\n");
    // Full of NUL, and without a newline.
    File::create(folder.path("long")).and_then(|file| file.set_len(LONG)).expect("made");
    let base = peak_of(&folder, "merge short -o small");
    let merge = peak_of(&folder, "merge long short -o out --json json");
    let base_confirm = peak_of(&folder, "confirm short -o small");
    let confirm = peak_of(&folder, "confirm long short -o out --max-line 1MiB");
    println!(
        "peaks: merge {} MiB, of little {}; confirm {}, of little {}",
        merge / MIB,
        base / MIB,
        confirm / MIB,
        base_confirm / MIB
    );
    assert!(merge < base + 64 * MIB && confirm < base_confirm + 64 * MIB);
    let merged = verdict(&folder, "json");
    assert_eq!((&merged["verdict"], &merged["lines"], &merged["long_lines"]), (&"ok".into(), &301.into(), &1.into()));
    assert_eq!(fs::metadata(folder.path("out")).expect("there").len(), LONG + 300 + 6);
}

#[test]
fn a_fifo_is_read_until_its_writers_are_gone() {
    let folder = Folder::new();
    let fifo = folder.fifo("fifo");
    folder.write("a", "a1\n");
    let mut command = folder.command("merge fifo a -o out --json json".split(' '));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut writer = File::options().write(true).open(fifo).expect("somebody reads");
    writer.write_all(b"f1\nhal").expect("written");
    wait_until("the first line", || fs::read(folder.path("out")).is_ok_and(|out| out.len() == 6));
    writer.write_all(b"f").expect("written");
    drop(writer);
    assert_ends(&finish(child), 0, &[]);
    let out = folder.read("out");
    assert!(out == b"f1\na1\nhalf\n" || out == b"a1\nf1\nhalf\n", "{}", String::from_utf8_lossy(&out));
}

#[test]
fn a_fifo_that_nobody_writes_to_is_waited_for_until_ctrl_c() {
    for more in ["", " --follow", " --follow --watch poll"] {
        let folder = Folder::new();
        folder.fifo("fifo");
        folder.write("a", "a1\n");
        let line = format!("merge fifo a -o out --json json --grace 20s{more}");
        let mut command = folder.command(line.split(' '));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        wait_until("the other input", || fs::read(folder.path("out")).is_ok_and(|out| out == b"a1\n"));
        std::thread::sleep(Duration::from_millis(200));
        assert!(child.try_wait().expect("it is ours").is_none(), "it waits");
        let asked = Instant::now();
        send(&child, Signal::INT);
        // What is followed has no other end.
        assert_ends(&finish(child), if more.is_empty() { 130 } else { 0 }, &["stopping"]);
        assert!(asked.elapsed() < Duration::from_secs(20), "it does not wait for the time of grace");
        assert_eq!(verdict(&folder, "json")["lines"], 1);
    }
}

#[test]
fn thousands_of_inputs_need_a_limit_that_allows_them() {
    let folder = Folder::new();
    fs::create_dir(folder.path("in")).expect("a folder");
    let mut total = 0;
    for index in 0..5_000 {
        let line = format!("{index}\n");
        total += line.len() as u64;
        folder.write(format!("in/{index}"), line);
    }
    let merge = "\"$POLLSCOPE_BIN\" merge in/* -o out --json json";
    let refused = folder.shell(&format!("ulimit -n 1024; {merge}"));
    assert_ends(&refused, 1, &["cannot have 5067 files open at once: the limit is 1024; raise it", "use fewer inputs"]);
    assert_eq!(folder.names(), ["in"], "nothing was made");
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    if hard.is_some_and(|hard| hard < 8_000) {
        println!("SKIP: the hard limit on open files is {hard:?}");
        return;
    }
    assert_ends(&folder.shell(&format!("ulimit -Sn 1024; {merge}")), 0, &[]);
    assert_eq!(fs::metadata(folder.path("out")).expect("there").len(), total);
    let merge = verdict(&folder, "json");
    assert_eq!((&merge["verdict"], &merge["inputs"], &merge["lines"]), (&"ok".into(), &5_000.into(), &5_000.into()));
}

/// Where it can have too few threads it says so before anything starts: Tokio panics in the middle without one.
#[test]
fn too_few_threads_are_noticed_first() {
    let limited =
        |limit: u32, then: &str| format!("setpriv --reuid 65534 --clear-groups prlimit --nproc={limit} {then}");
    let folder = Folder::new();
    if !folder.shell(&limited(1, "true")).status.success() {
        println!("SKIP: no right to become another user with setpriv, or no `prlimit`");
        return;
    }
    folder.write("a", "a1\n");
    folder.shell("chmod 644 a; cp \"$POLLSCOPE_BIN\" bin; chmod 755 bin; chmod 777 .");
    let mut worked = 0;
    for limit in 1..=17 {
        let output = folder.shell(&limited(limit, "./bin merge a -o out --json json"));
        if output.status.success() {
            worked += 1;
            assert_eq!(folder.read("out"), b"a1\n");
            fs::remove_file(folder.path("out")).expect("removed");
            fs::remove_file(folder.path("json")).expect("removed");
        } else {
            assert_ends(&output, 1, &["error: cannot ", "Resource temporarily unavailable"]);
            assert_eq!(folder.names(), ["a", "bin"], "{limit} threads");
        }
    }
    println!("{worked} of 17 limits allowed it");
}
