//! A call on the output that never returns. The process may be beyond ending then, but its report must be out: within the time of
//! grace after one signal, at once after two.

use std::fs::File;
use std::process::Command;
use std::time::{Duration, Instant};

use pollscope::pipeline::sink::Mode;
use rustix::process::Signal;
use serde_json::Value;

use super::disk::{Call, Disk, Fault, Plan};
use super::{End, Tally, disk, skip};
use crate::support::{Folder, finish, send, wait_until};

/// What a loaded machine may add to a deadline.
const SLACK: Duration = Duration::from_secs(4);

/// What hangs, and which call of its kind.
const HANGS: [(&str, Call, u64); 4] = [
    ("open never returns", Call::Create, 1),
    ("write never returns", Call::Write, 2),
    ("sync never returns", Call::Sync, 1),
    ("close never returns", Call::Flush, 1),
];

/// How it is asked to end.
#[derive(Debug, Clone, Copy)]
enum Asked {
    /// By one signal: the report is out when the time of grace is over.
    Once,
    /// By two: it does not wait for that.
    Twice,
}

/// Runs a command whose output is `victim` on the disk, in which one call hangs, and ends it by signals: what came of it.
fn hang(
    folder: &Folder,
    disk: &Disk,
    command: &mut Command,
    (call, at): (Call, u64),
    asked: Asked,
) -> Result<End, String> {
    disk.reset(Plan { call, fault: Fault::Hang, at, more: 0 });
    let _ = std::fs::remove_file(folder.path("json"));
    let grace = match asked {
        Asked::Once => Duration::from_millis(300),
        Asked::Twice => Duration::from_secs(50),
    };
    command.args(["--json", "json", "--grace", &format!("{}ms", grace.as_millis())]);
    // Files, as a pipe would not end before the process does.
    let to = |name| File::create(folder.path(name)).expect("a file");
    let child = command.stdout(to("stdout")).stderr(to("stderr")).spawn().expect("it starts");
    wait_until("the call that hangs", || disk.faults() > 0);
    std::thread::sleep(Duration::from_millis(50));
    let asked_at = Instant::now();
    send(&child, Signal::TERM);
    let deadline = match asked {
        Asked::Once => grace + SLACK,
        Asked::Twice => {
            // Two signals of which the first was not yet taken are one.
            let said = || std::fs::read_to_string(folder.path("stderr")).expect("it is there");
            wait_until("word of the first signal", || said().contains("stopping"));
            send(&child, Signal::TERM);
            SLACK
        }
    };
    let text = |name| String::from_utf8_lossy(&folder.read(name)).into_owned();
    let recording = || serde_json::from_slice::<Value>(&std::fs::read(folder.path("json")).ok()?).ok();
    let is_out = || text("stdout").contains("\n  more: ") && recording().is_some();
    while !is_out() && asked_at.elapsed() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let (was_out, stdout, recording) = (is_out(), text("stdout"), recording());
    disk.heal();
    let output = finish(child);
    if !was_out {
        return Err(format!("SILENT: no report within {deadline:?}: {stdout}{}", text("stderr")));
    }
    let run = &recording.expect("JSON")["runs"][0];
    if run["merge"]["verdict"] != "unverifiable" || !stdout.contains("the workload was abandoned") {
        return Err(format!("SILENT: it says {}: {stdout}", run["merge"]));
    }
    if output.status.code() != Some(143) {
        return Err(format!("{}, and not 143: {}", output.status, text("stderr")));
    }
    Ok(End::Reported)
}

/// Every call that can hang, in one mode: what came of each.
fn in_mode(mode: Mode) -> Result<Tally, String> {
    let folder = Folder::new();
    folder.write("a", "a1\na2\na3\n");
    let mut tally = Tally::default();
    // `merge` never syncs, and has no workers to give tasks to.
    let out = (mode != Mode::BlockInPlace).then(|| disk(&folder.path("."), "out")).transpose()?;
    for (out, (name, call, at)) in out.iter().flat_map(|out| HANGS.map(|hang| (out, hang))) {
        for asked in [Asked::Once, Asked::Twice].into_iter().filter(|_| call != Call::Sync) {
            let mut command = folder.command(["merge", "a", "-o", "disk/out", "--batch", "1", "--mode", mode.as_str()]);
            tally.count(name, mode, hang(&folder, out, &mut command, (call, at), asked));
        }
    }
    drop(out);
    let folder = Folder::new();
    let merged = disk(&folder.path("."), "merged")?;
    for (name, call, at) in HANGS {
        let flavor = if mode == Mode::BlockInPlace { "multi_thread" } else { "current_thread" };
        let mut command = folder.command(["run", "merge", "--rounds", "1", "--mode", mode.as_str()]);
        command.args(["--set", "merge.sink.sync_every=2", "--set", &format!("runtime.flavor={flavor}")]);
        // The inputs are on this disk too, and so is the folder that is removed at the end.
        command.env("TMPDIR", folder.path("disk"));
        tally.count(name, mode, hang(&folder, &merged, &mut command, (call, at), Asked::Once));
    }
    Ok(tally)
}

#[test]
fn a_call_that_never_returns_keeps_no_report_back() {
    // Each in a thread with a disk of its own.
    let threads: Vec<_> = Mode::ALL.into_iter().map(|mode| std::thread::spawn(move || in_mode(mode))).collect();
    let mut all = Tally::default();
    for thread in threads {
        match thread.join().expect("no panic") {
            Ok(tally) => all.0.extend(tally.0),
            Err(why) => return skip("a disk that hangs", &why),
        }
    }
    println!("{}", all.table());
    all.assert_all(End::Reported);
}
