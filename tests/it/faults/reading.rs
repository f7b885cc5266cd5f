//! An input that cannot be read, or whose read never returns: the others go on, and the report is written, within the time of
//! grace where it must be asked for.

use std::fs::{self, File};
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use fuser::Errno;
use pollscope::pipeline::sink::Mode;
use rustix::process::Signal;
use serde_json::Value;

use super::disk::{Call, Disk, Fault, Plan};
use super::{End, Tally, disk, skip};
use crate::support::{Folder, finish, run, send, stderr, stdout, wait_until};

/// What a loaded machine may add to a deadline.
const SLACK: Duration = Duration::from_secs(4);
const GRACE: Duration = Duration::from_millis(500);

fn lines(name: &str, count: usize) -> String {
    (0..count).map(|line| format!("{name} {line} {}\n", "x".repeat(line % 200))).collect()
}

/// A folder with the inputs `disk/in`, whose reads go wrong, and `b`.
fn inputs(folder: &Folder) -> Result<Disk, String> {
    folder.write("b", lines("b", 300));
    let disk = disk(&folder.path("."), "in")?;
    // It takes several reads, of any size.
    folder.write("disk/in", lines("in", 6_000));
    Ok(disk)
}

/// What the output holds of an input.
fn part(folder: &Folder, name: &str) -> String {
    let out = String::from_utf8(folder.read("out")).expect("text");
    let own = |line: &&str| line.split(' ').next() == Some(name);
    out.split_inclusive('\n').filter(own).collect()
}

/// One merge in which the `at`-th read goes wrong; `None` when it did not come so far.
fn unreadable(
    folder: &Folder,
    disk: &Disk,
    mode: Mode,
    fault: Fault,
    at: u64,
    more: u64,
) -> Option<Result<End, String>> {
    for name in ["out", "json"] {
        let _ = fs::remove_file(folder.path(name));
    }
    disk.plan(Plan { call: Call::Read, fault, at, more });
    let mut command = folder.command(["merge", "disk/in", "b", "-o", "out", "--json", "json", "--mode", mode.as_str()]);
    let output = run(&mut command);
    if disk.heal() == 0 {
        return None;
    }
    Some(judge(folder, &stderr(&output), output.status.code()))
}

fn judge(folder: &Folder, said: &str, code: Option<i32>) -> Result<End, String> {
    let Ok(json) = fs::read(folder.path("json")) else {
        // Before anything was made.
        let is_refused =
            code == Some(1) && said.contains("`disk/in`: Input/output error") && !folder.path("out").exists();
        return if is_refused { Ok(End::Reported) } else { Err(format!("no report: {code:?}: {said}")) };
    };
    let run = &serde_json::from_slice::<Value>(&json).map_err(|error| error.to_string())?["runs"][0];
    let (merge, errors) = (&run["merge"], run["errors"].as_array().expect("a list"));
    if part(folder, "b") != lines("b", 300) {
        return Err("SILENT: the other input did not go on".to_owned());
    }
    let own = part(folder, "in");
    if !lines("in", 6_000).starts_with(&own) || said.contains("panicked") {
        return Err(format!("SILENT: wrong lines, or a panic: {code:?}: {merge}: {said}"));
    }
    let named = "disk/in`: Input/output error";
    match (merge["verdict"].as_str(), code) {
        (Some("ok"), Some(0)) if own.len() == lines("in", 6_000).len() && errors.is_empty() => Ok(End::Survived),
        // Not even for the confirmation, where it stays so.
        (Some("failed" | "unverifiable"), Some(1)) if said.contains(&format!("error: cannot read input `{named}")) => {
            Ok(End::Reported)
        }
        // It was read, but not once more.
        (Some("unverifiable"), Some(3)) if merge["reason"].as_str().is_some_and(|why| why.contains(named)) => {
            Ok(End::Reported)
        }
        (_, code) => Err(format!("SILENT: {code:?}: {merge}: {said}")),
    }
}

#[test]
fn an_input_that_cannot_be_read_is_named_and_the_others_go_on() {
    let folder = Folder::new();
    let disk = match inputs(&folder) {
        Ok(disk) => disk,
        Err(why) => return skip("an input that cannot be read", &why),
    };
    let faults = [
        ("read: EIO once", Fault::Error(Errno::EIO), 0, End::Reported),
        ("read: EIO from then on", Fault::Error(Errno::EIO), u64::MAX, End::Reported),
        ("read: half of it, once", Fault::Short, 0, End::Survived),
        ("read: 100 ms late", Fault::Late(Duration::from_millis(100)), 0, End::Survived),
    ];
    let (mut tally, mut wrong) = (Tally::default(), Vec::new());
    for (name, fault, more, expected) in faults {
        for mode in Mode::ALL.into_iter().filter(|&mode| mode != Mode::BlockInPlace) {
            // What is read is the same in every mode: only one has all of them.
            let last = if mode == Mode::Offloaded { 1_000 } else { 2 };
            for at in 1..=last {
                let Some(end) = unreadable(&folder, &disk, mode, fault, at, more) else { break };
                if end != Ok(expected) {
                    wrong.push(format!("{mode}: {name} at read {at}: {end:?}"));
                }
                tally.count(name, mode, end);
            }
        }
    }
    println!("{}", tally.table());
    let injected = tally.0.len();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), injected, wrong.join("\n"));
    folder.write("merged", lines("in", 6_000) + &lines("b", 300));
    for at in 1..=3 {
        disk.plan(Plan { call: Call::Read, fault: Fault::Error(Errno::EIO), at, more: u64::MAX });
        let output = folder.run("confirm disk/in b -o merged");
        let said = format!("{} {}", stdout(&output), stderr(&output));
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        // Refused before, or given up in the middle.
        let code = output.status.code();
        assert!(code == Some(if at == 1 { 1 } else { 3 }), "read {at}: {code:?}: {said}");
        assert!(said.contains("`disk/in`: Input/output error"), "read {at}: {said}");
    }
}

/// A read need not give all that was asked for and is there.
#[test]
fn reads_that_are_always_short_cost_no_line() {
    let folder = Folder::new();
    let disk = match inputs(&folder) {
        Ok(disk) => disk,
        Err(why) => return skip("an input whose reads are short", &why),
    };
    let mut tally = Tally::default();
    for at in 1..=3 {
        let Some(end) = unreadable(&folder, &disk, Mode::Offloaded, Fault::Short, at, u64::MAX) else { break };
        tally.count("read: half of it, from then on", Mode::Offloaded, end);
    }
    tally.assert_all(End::Survived);
}

/// One merge in which a read hangs while it follows or not: what came of it.
fn hangs(mode: Mode, follow: bool, at: u64) -> Result<Result<End, String>, String> {
    let folder = Folder::new();
    let disk = inputs(&folder)?;
    disk.plan(Plan { call: Call::Read, fault: Fault::Hang, at, more: 0 });
    let mut command = folder.command(["merge", "disk/in", "b", "-o", "out", "--json", "json", "--interval", "5ms"]);
    command.args(["--mode", mode.as_str(), "--grace", &format!("{}ms", GRACE.as_millis())]);
    command.args(follow.then_some("--follow"));
    // Files, as a pipe would not end before the process does.
    let to = |name| File::create(folder.path(name)).expect("a file");
    let child = command.stdout(to("stdout")).stderr(Stdio::from(to("stderr"))).spawn().expect("it starts");
    wait_until("the read that hangs", || disk.faults() > 0);
    // The other input goes on.
    let mut expected = lines("b", 300);
    wait_until("the other input", || folder.path("out").exists() && part(&folder, "b") == expected);
    if follow {
        File::options()
            .append(true)
            .open(folder.path("b"))
            .and_then(|mut b| b.write_all(b"b more\n"))
            .expect("written");
        expected.push_str("b more\n");
        wait_until("what was appended to the other", || part(&folder, "b") == expected);
    }
    let asked = Instant::now();
    send(&child, Signal::TERM);
    let recording = || serde_json::from_slice::<Value>(&fs::read(folder.path("json")).ok()?).ok();
    while recording().is_none() && asked.elapsed() < GRACE + SLACK {
        std::thread::sleep(Duration::from_millis(5));
    }
    let recording = recording();
    disk.heal();
    let output = finish(child);
    let said = String::from_utf8_lossy(&folder.read("stderr")).into_owned();
    let Some(recording) = recording else { return Ok(Err(format!("SILENT: no report in time: {said}"))) };
    let merge = &recording["runs"][0]["merge"];
    if merge["verdict"] != "unverifiable" || output.status.code() != Some(143) || !said.contains("not finished within")
    {
        return Ok(Err(format!("{}: {merge}: {said}", output.status)));
    }
    Ok(Ok(End::Reported))
}

#[test]
fn a_read_that_never_returns_holds_up_neither_the_others_nor_the_report() {
    let modes = Mode::ALL.into_iter().filter(|&mode| mode != Mode::BlockInPlace);
    // Each in a thread with a disk of its own.
    let threads = modes.flat_map(|mode| [(mode, false, 1), (mode, true, 3)]).map(|(mode, follow, at)| {
        let name = if follow { "a read never returns, following" } else { "a read never returns" };
        (name, mode, std::thread::spawn(move || hangs(mode, follow, at)))
    });
    let mut tally = Tally::default();
    for (name, mode, thread) in threads.collect::<Vec<_>>() {
        match thread.join().expect("what is said above does not hold") {
            Ok(end) => tally.count(name, mode, end),
            Err(why) => return skip("a read that never returns", &why),
        }
    }
    println!("{}", tally.table());
    tally.assert_all(End::Reported);
}
