//! Each thing that can happen to a followed log, once: what is delivered of it, and what is said.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::{WATCHES, append, follow, lines, make_room, recording, rotated};
use crate::support::{Folder, assert_ends, finish, send, stderr, stdout, wait_until};

/// What happens to `a.log`, which holds `1` and `2` that were merged, and what must come of it.
struct Fault {
    name: &'static str,
    happens: fn(&Folder, &Path),
    /// The lines of `a.log` in the output, in their order.
    delivers: &'static [&'static [u8]],
    /// What is said of it, and whether that is a possible loss.
    says: &'static str,
    is_loss: bool,
}

const NONE: &str = "";

/// Nothing shows from outside that a log was looked at, which is done every 5 ms.
const LOOKED_AT: Duration = Duration::from_millis(300);

const FAULTS: &[Fault] = &[
    Fault {
        name: "half a line now, the rest later",
        happens: |_, log| {
            append(log, "hal");
            thread::sleep(Duration::from_millis(30));
            append(log, "f\n");
        },
        delivers: &[b"1", b"2", b"half"],
        says: NONE,
        is_loss: false,
    },
    Fault {
        name: "odd bytes",
        happens: |_, log| append(log, b"\xff\xfe\n\0\n\r\n\n\xef\xbb\xbfbom\n"),
        delivers: &[b"1", b"2", b"\xff\xfe", b"\0", b"\r", b"", b"\xef\xbb\xbfbom"],
        says: NONE,
        is_loss: false,
    },
    Fault {
        name: "renamed",
        happens: |_, log| {
            append(log, "3\n");
            fs::rename(log, rotated(log, 1)).expect("renamed");
            append(log, "4\n");
        },
        delivers: &[b"1", b"2", b"3", b"4"],
        says: NONE,
        is_loss: false,
    },
    Fault {
        name: "renamed twice",
        happens: |_, log| {
            fs::rename(log, rotated(log, 1)).expect("renamed");
            append(log, "3\n");
            make_room(log);
            fs::rename(log, rotated(log, 1)).expect("renamed");
            append(log, "4\n");
        },
        delivers: &[b"1", b"2", b"3", b"4"],
        says: NONE,
        is_loss: false,
    },
    Fault {
        name: "renamed, and its writer learns it late",
        happens: |_, log| {
            fs::rename(log, rotated(log, 1)).expect("renamed");
            append(log, "");
            thread::sleep(Duration::from_millis(100));
            append(&rotated(log, 1), "3\n");
        },
        delivers: &[b"1", b"2", b"3"],
        says: NONE,
        is_loss: false,
    },
    Fault {
        name: "deleted",
        happens: |_, log| {
            append(log, "3\n");
            fs::remove_file(log).expect("removed");
        },
        delivers: &[b"1", b"2", b"3"],
        says: NONE,
        is_loss: false,
    },
    Fault {
        name: "deleted and made again",
        happens: |_, log| {
            append(log, "3\n");
            fs::remove_file(log).expect("removed");
            append(log, "4\n");
        },
        delivers: &[b"1", b"2", b"3", b"4"],
        says: "is another file now",
        is_loss: false,
    },
    Fault {
        name: "cut",
        happens: |_, log| {
            fs::write(log, "").expect("cut");
            thread::sleep(LOOKED_AT);
            append(log, "3\n");
        },
        delivers: &[b"1", b"2", b"3"],
        says: "was cut to 0 bytes after 4 were read",
        is_loss: true,
    },
    Fault {
        name: "copied and cut",
        happens: |_, log| {
            append(log, "3\n");
            fs::copy(log, rotated(log, 1)).expect("copied");
            fs::write(log, "").expect("cut");
            append(log, "4\n");
        },
        delivers: &[b"1", b"2", b"3", b"4"],
        says: "may be lost",
        is_loss: true,
    },
    Fault {
        name: "rewritten with the same size",
        happens: |_, log| {
            // One call: who looks between a cut and a write sees a file that was cut.
            File::options().write(true).open(log).and_then(|mut file| file.write_all(b"3\n4\n")).expect("written");
        },
        delivers: &[b"1", b"2", b"3", b"4"],
        says: "was rewritten after 4 bytes were read",
        is_loss: true,
    },
    Fault {
        name: "rewritten with more",
        happens: |_, log| fs::write(log, "3\n4\n5\n").expect("written"),
        delivers: &[b"1", b"2", b"3", b"4", b"5"],
        says: "may be lost",
        is_loss: true,
    },
    Fault {
        name: "a link that is switched",
        happens: |folder, log| {
            fs::rename(log, folder.path("target1")).expect("renamed");
            folder.write("target2", "4\n");
            symlink("target1", log).expect("linked");
            append(log, "3\n");
            thread::sleep(Duration::from_millis(100));
            symlink("target2", folder.path("link")).expect("linked");
            fs::rename(folder.path("link"), log).expect("switched");
        },
        delivers: &[b"1", b"2", b"3", b"4"],
        says: "is another file now",
        is_loss: false,
    },
    Fault {
        name: "a folder in its place, and back",
        happens: |folder, log| {
            fs::rename(log, folder.path("elsewhere")).expect("renamed");
            fs::create_dir(log).expect("made");
            append(&folder.path("elsewhere"), "3\n");
            wait_until("the line of the file that is elsewhere", || folder.read("out").ends_with(b"3\n"));
            thread::sleep(LOOKED_AT);
            fs::remove_dir(log).expect("removed");
            append(log, "4\n");
        },
        delivers: &[b"1", b"2", b"3", b"4"],
        says: "cannot be read now: it is a directory",
        is_loss: false,
    },
    Fault {
        name: "a link to the output",
        happens: |folder, log| {
            fs::rename(log, folder.path("elsewhere")).expect("renamed");
            symlink("out", log).expect("linked");
            thread::sleep(Duration::from_millis(100));
            append(&folder.path("elsewhere"), "3\n");
        },
        delivers: &[b"1", b"2", b"3"],
        says: "cannot be read now: it is the output",
        is_loss: false,
    },
];

#[test]
fn every_line_of_a_log_is_merged_or_recorded_as_lost() {
    thread::scope(|scope| {
        for watch in WATCHES {
            scope.spawn(move || FAULTS.iter().for_each(|fault| check(fault, watch)));
        }
    });
}

fn check(fault: &Fault, watch: &str) {
    let name = format!("{} ({watch})", fault.name);
    let folder = Folder::new();
    let log = folder.write("a.log", "1\n2\n");
    folder.write("other", "other 1\n");
    let child = follow(&folder, &["a.log", "other"], watch);
    let merged = || folder.read("out");
    wait_until(&format!("what there was: {name}"), || {
        folder.path("out").exists() && lines(&merged()).len() == 3 && merged().ends_with(b"\n")
    });
    (fault.happens)(&folder, &log);
    append(&folder.path("other"), "other 2\n");
    let of_log = |merged: &[u8]| {
        let of_log = lines(merged).into_iter().filter(|line| !line.starts_with(b"other"));
        of_log.map(|line| line.escape_ascii().to_string()).collect::<Vec<_>>()
    };
    let all = fault.delivers.iter().map(|line| line.escape_ascii().to_string()).collect::<Vec<_>>();
    wait_until(&format!("all lines: {name}"), || of_log(&merged()).len() >= all.len());
    wait_until(&format!("the other's lines: {name}"), || merged().windows(8).any(|part| part == b"other 2\n"));
    send(&child, Signal::INT);
    let output = finish(child);
    let losses = &recording(&folder)["input_events"]["possible_losses"];
    let said = stderr(&output);
    assert_eq!(of_log(&merged()), all, "{name}\n{said}");
    assert!(said.contains(fault.says), "{name}: no `{}` in\n{said}", fault.says);
    assert_eq!(losses.as_u64().unwrap_or(0) > 0, fault.is_loss, "{name}\n{said}");
    assert_ends(&output, if fault.is_loss { 3 } else { 0 }, &[]);
    let verdict = if fault.is_loss { "unverifiable" } else { "ok" };
    assert_eq!(recording(&folder)["merge"]["verdict"], verdict, "{name}");
}

#[test]
fn a_hole_in_what_was_read_makes_a_merge_unverifiable_and_not_failed() {
    for watch in WATCHES {
        let folder = Folder::new();
        let text = format!("{}\n", "z".repeat(99)).repeat(2_000);
        let log = folder.write("a.log", &text);
        let child = follow(&folder, &["a.log"], watch);
        wait_until("the first lines", || folder.path("out").exists() && folder.read("out").len() == text.len());
        File::options().write(true).open(&log).and_then(|mut file| file.write_all(&[0; 131_072])).expect("emptied");
        append(&log, "last\n");
        wait_until("the last line", || folder.read("out").ends_with(b"last\n"));
        send(&child, Signal::INT);
        let output = finish(child);
        assert_ends(&output, 3, &[]);
        let merge = &recording(&folder)["merge"];
        assert_eq!(merge["verdict"], "unverifiable", "{merge}");
        assert!(merge["reason"].as_str().is_some_and(|why| why.contains("changed in place")), "{merge}");
        assert_eq!(
            (&merge["lost"], &merge["written_lines"], &merge["long_lines"]),
            (&Value::Null, &2_001.into(), &0.into())
        );
        assert!(stdout(&output).contains("2,001 lines and"), "{}", stdout(&output));
    }
}

#[test]
fn what_comes_twice_is_told_apart_from_what_may_be_lost() {
    for watch in WATCHES {
        let folder = Folder::new();
        let log = folder.write("a.log", "0123456789012345678901234\n".repeat(1_000));
        let child = follow(&folder, &["a.log"], watch);
        wait_until("the first lines", || folder.path("out").exists() && folder.read("out").len() == 26_000);
        File::options().write(true).open(&log).and_then(|file| file.set_len(13_005)).expect("cut");
        wait_until("the lines that come again", || folder.read("out").len() == 39_000);
        append(&log, "TAIL\n");
        wait_until("the last line", || folder.read("out").ends_with(b"TAIL\n"));
        send(&child, Signal::INT);
        let output = finish(child);
        let said = "what it kept comes twice, at most 13,005 bytes; lines may be lost: those written after byte 26,000 and before that";
        assert_ends(&output, 3, &[said]);
        let events = &recording(&folder)["input_events"];
        assert_eq!((&events["possible_repeats"], &events["repeated_bytes_at_most"]), (&1.into(), &13_005.into()));
        assert_eq!(events["events"][0]["may_repeat"], true);
    }
}

#[test]
fn a_merge_syncs_its_output_if_asked_to() {
    let traced = |args: &[&str]| {
        let folder = Folder::new();
        folder.write("a.log", "1\n");
        let merge = folder.command(["merge", "a.log", "-o", "out"]);
        let mut command = std::process::Command::new("strace");
        command.args(["-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", "trace"]).arg(merge.get_program());
        command.args(merge.get_args()).args(args).current_dir(folder.path("."));
        let output = command.output().ok()?;
        assert!(output.status.success(), "{}", stderr(&output));
        Some(String::from_utf8_lossy(&folder.read("trace")).matches("fsync(").count())
    };
    let Some(unasked) = traced(&[]) else { return println!("SKIP: there is no strace") };
    assert_eq!((unasked, traced(&["--sync"])), (0, Some(1)));
}
