//! What `merge --follow` promises of files that are rotated, cut and replaced while they are read.
//!
//! `POLLSCOPE_TAILS_RUNS=20` repeats the runs with a busy writer, and prints a row for each.

mod cases;
mod driver;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Folder, assert_ends, finish, pid, run, send, wait_until};

const WATCHES: [&str; 2] = ["poll", "inotify"];
/// How many lines a busy writer writes, and how many a second.
const LINES: u64 = 30_000;
const RATE: u64 = 7_000;
const BETWEEN_ROTATIONS: Duration = Duration::from_millis(400);

fn follow(folder: &Folder, inputs: &[&str], watch: &str) -> Child {
    let mut command = folder.command(["merge", "--follow", "-o", "out", "--json", "json", "--interval", "5ms"]);
    command.args(["--watch", watch]).args(inputs);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

fn recording(folder: &Folder) -> Value {
    let recording: Value = serde_json::from_slice(&folder.read("json")).expect("it is JSON");
    recording["runs"][0].clone()
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.strip_suffix(b"\n").map(|all| all.split(|&byte| byte == b'\n').collect()).unwrap_or_default()
}

fn append(path: &Path, bytes: impl AsRef<[u8]>) {
    let mut file = File::options().append(true).create(true).open(path).expect("it opens");
    file.write_all(bytes.as_ref()).expect("written");
}

/// `a.log` is `a.log.1` then, and that `a.log.2`.
fn rotated(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn make_room(path: &Path) {
    for number in (1..20).rev() {
        let _ = fs::rename(rotated(path, number), rotated(path, number + 1));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rotation {
    Rename,
    CopyAndCut,
}

/// A line of a busy writer; no beginning of one is another.
fn line(name: &str, number: u64) -> String {
    format!("{name} {number:05} {}", "x".repeat(number as usize % 60))
}

/// Writes its lines, each in a write of its own, and rotates the file meanwhile.
fn write_busily(path: &Path, name: &str, rotation: Rotation) {
    let (start, mut rotations) = (Instant::now(), 0);
    let open = || File::options().append(true).create(true).open(path).expect("it opens");
    let mut file = open();
    let mut copying: Option<thread::JoinHandle<()>> = None;
    for number in 0..LINES {
        file.write_all((line(name, number) + "\n").as_bytes()).expect("written");
        while start.elapsed() < Duration::from_micros(number * 1_000_000 / RATE) {
            thread::sleep(Duration::from_millis(1));
        }
        if start.elapsed() > BETWEEN_ROTATIONS * (rotations + 1) {
            rotations += 1;
            // One at a time, as it does: two would write to one copy.
            copying.take().into_iter().for_each(|copying| copying.join().expect("copied"));
            make_room(path);
            match rotation {
                Rotation::Rename => {
                    fs::rename(path, rotated(path, 1)).expect("renamed");
                    file = open();
                }
                Rotation::CopyAndCut => {
                    // As logrotate does it, besides the writer.
                    let path = path.to_owned();
                    copying = Some(thread::spawn(move || {
                        fs::copy(&path, rotated(&path, 1)).expect("copied");
                        File::options().write(true).open(&path).and_then(|file| file.set_len(0)).expect("cut");
                    }));
                }
            }
        }
    }
}

/// What a merge made of a busy writer's lines.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Damage {
    /// Also those that were cut short.
    lost: u64,
    duplicated: u64,
    reordered: u64,
    /// Beginnings of the line that comes next.
    cut_short: u64,
    torn: u64,
}

fn damage(merged: &[u8], names: &[&str]) -> Damage {
    let mut damage = Damage::default();
    let mut next = vec![0; names.len()];
    let mut seen = vec![vec![false; LINES as usize]; names.len()];
    for text in lines(merged) {
        let text = std::str::from_utf8(text).unwrap_or_default();
        let mut parts = text.split(' ');
        let name = parts.next().and_then(|name| names.iter().position(|known| *known == name));
        let number = parts.next().and_then(|number| number.parse().ok()).filter(|number| *number < LINES);
        match name.zip(number).filter(|&(name, number)| text == line(names[name], number)) {
            Some((name, number)) => {
                damage.duplicated += u64::from(std::mem::replace(&mut seen[name][number as usize], true));
                damage.reordered += u64::from(number < next[name]);
                next[name] = number + 1;
            }
            None if names.iter().zip(&next).any(|(name, next)| line(name, *next).starts_with(text)) => {
                damage.cut_short += 1;
            }
            None => damage.torn += 1,
        }
    }
    damage.lost = seen.iter().flatten().filter(|seen| !**seen).count() as u64;
    damage
}

fn busy_run(watch: &str, rotation: Rotation) -> (Damage, Value, std::process::Output) {
    let folder = Folder::new();
    let names = ["a", "b"];
    let inputs = names.map(|name| folder.write(format!("{name}.log"), ""));
    let child = follow(&folder, &["a.log", "b.log"], watch);
    wait_until("the output", || folder.path("out").exists());
    thread::scope(|scope| {
        for (path, name) in inputs.iter().zip(names) {
            scope.spawn(move || write_busily(path, name, rotation));
        }
    });
    // The last copy may still be made.
    thread::sleep(Duration::from_millis(50));
    send(&child, Signal::INT);
    let output = finish(child);
    (damage(&folder.read("out"), &names), recording(&folder), output)
}

/// So many runs for each way to watch, some at the same time.
fn busy_runs(rotation: Rotation, check: impl Fn(&Damage, &Value, &std::process::Output) + Sync) {
    let runs = std::env::var("POLLSCOPE_TAILS_RUNS").map_or(1, |runs| runs.parse().expect("it is a number"));
    thread::scope(|scope| {
        for watch in WATCHES {
            let check = &check;
            scope.spawn(move || {
                for run in 1..=runs {
                    let (damage, recording, output) = busy_run(watch, rotation);
                    let (verdict, events) = (&recording["merge"]["verdict"], &recording["input_events"]);
                    println!("{rotation:?} {watch} {run}: {damage:?} {verdict} {}", events["possible_losses"]);
                    check(&damage, &recording, &output);
                }
            });
        }
    });
}

#[test]
fn a_busy_log_that_is_renamed_loses_nothing() {
    busy_runs(Rotation::Rename, |damage, recording, output| {
        assert_ends(output, 0, &[]);
        assert_eq!(*damage, Damage::default());
        assert_eq!(recording["merge"]["verdict"], "ok");
        assert_eq!(recording["merge"]["lines"], 2 * LINES);
    });
}

#[test]
fn a_busy_log_that_is_copied_and_cut_loses_nothing_silently() {
    busy_runs(Rotation::CopyAndCut, |damage, recording, output| {
        assert_ends(output, 3, &["was cut to", "lines written after the copy may be lost"]);
        assert_eq!((damage.duplicated, damage.reordered, damage.torn), (0, 0, 0), "{damage:?}");
        assert_eq!(recording["merge"]["verdict"], "unverifiable");
        let possible_losses = recording["input_events"]["possible_losses"].as_u64().expect("a number");
        assert!(possible_losses > 0, "{recording}");
        // A line that goes on in the next page is seen half written, also by who copies it.
        assert!(damage.cut_short <= possible_losses, "{damage:?} {possible_losses}");
    });
}

#[test]
fn a_line_that_was_copied_half_written_keeps_its_place() {
    for watch in WATCHES {
        let folder = Folder::new();
        let log = folder.write("a.log", "1\n2\n");
        let child = follow(&folder, &["a.log"], watch);
        wait_until("the first lines", || folder.path("out").exists() && folder.read("out") == b"1\n2\n");
        append(&log, "3\n4 hal");
        fs::copy(&log, rotated(&log, 1)).expect("copied");
        fs::write(&log, "5\n").expect("cut and written");
        wait_until("the last line", || folder.read("out").ends_with(b"5\n"));
        send(&child, Signal::INT);
        assert_ends(&finish(child), 3, &["lines written after the copy may be lost"]);
        let out = folder.read("out");
        assert_eq!(String::from_utf8_lossy(&out), "1\n2\n3\n4 hal\n5\n", "{watch}");
    }
}

/// 10,000,000 lines of 1,000 inputs. It prints what it took: `cargo test --release --test it
/// tails::ten_million -- --ignored --nocapture`.
#[test]
#[ignore = "it writes a quarter of a gigabyte"]
fn ten_million_lines_of_a_thousand_inputs() {
    let folder = Folder::new();
    let names: Vec<String> = (0..1_000).map(|number| format!("input{number:03}")).collect();
    let mut total = 0;
    for name in &names {
        let text: String = (0..10_000).map(|number| format!("{name} {number}\n")).collect();
        total += text.len() as u64;
        folder.write(name, text);
    }
    let start = Instant::now();
    let mut command = folder.command(["merge", "-o", "out", "--json", "json"]);
    let mut child = command.args(&names).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let status = format!("/proc/{}/status", pid(&child).as_raw_nonzero());
    let (mut peak, mut merged) = (String::new(), None);
    while child.try_wait().expect("it can be waited for").is_none() {
        let now = fs::read_to_string(&status).unwrap_or_default();
        if let Some(line) = now.lines().find(|line| line.starts_with("VmHWM")) {
            peak = line.to_owned();
        }
        if fs::metadata(folder.path("out")).is_ok_and(|out| out.len() == total) {
            merged.get_or_insert_with(|| (start.elapsed(), peak.clone()));
        }
        thread::sleep(Duration::from_millis(5));
    }
    let took = start.elapsed();
    assert_ends(&finish(child), 0, &[]);
    println!("{took:?} with the confirmation, merged after {merged:?}; {peak}");
    let merge = &recording(&folder)["merge"];
    assert_eq!((&merge["verdict"], &merge["lines"]), (&"ok".into(), &10_000_000.into()));
    let mut next: HashMap<String, u64> = HashMap::new();
    for line in folder.read("out").split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let (name, number) = std::str::from_utf8(line).expect("text").split_once(' ').expect("two words");
        let next = next.entry(name.to_owned()).or_default();
        assert_eq!(number.parse(), Ok(*next), "{name}");
        *next += 1;
    }
    assert!(next.len() == 1_000 && next.values().all(|next| *next == 10_000));
}

#[test]
fn what_was_appended_before_the_close_is_merged_with_its_unterminated_last_line() {
    for watch in WATCHES {
        let folder = Folder::new();
        let log = folder.write("a.log", "1\n");
        let child = follow(&folder, &["a.log"], watch);
        wait_until("the first line", || folder.path("out").exists() && folder.read("out") == b"1\n");
        append(&log, "2\nlast");
        send(&child, Signal::INT);
        assert_ends(&finish(child), 0, &[]);
        assert_eq!(folder.read("out"), b"1\n2\nlast\n");
        let merge = &recording(&folder)["merge"];
        assert_eq!((&merge["verdict"], &merge["unterminated"]), (&"ok".into(), &1.into()));
    }
}

#[test]
fn a_fifo_ends_with_its_writers_and_is_confirmed() {
    let folder = Folder::new();
    let fifo = folder.fifo("a");
    let mut command = folder.command(["merge", "a", "-o", "out", "--json", "json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    append(&fifo, "1\n2\nlast");
    assert_ends(&finish(child), 0, &[]);
    assert_eq!(folder.read("out"), b"1\n2\nlast\n");
    assert_eq!(recording(&folder)["merge"]["verdict"], "ok");
}

#[test]
fn a_followed_fifo_has_one_writer_after_the_other() {
    for watch in WATCHES {
        let folder = Folder::new();
        let fifo = folder.fifo("a");
        let child = follow(&folder, &["a"], watch);
        for writer in 1..=3 {
            append(&fifo, format!("{writer}\n"));
            wait_until("its line", || {
                folder.path("out").exists() && folder.read("out").ends_with(format!("{writer}\n").as_bytes())
            });
        }
        send(&child, Signal::INT);
        assert_ends(&finish(child), 0, &[]);
        assert_eq!(folder.read("out"), b"1\n2\n3\n");
        assert_eq!(recording(&folder)["merge"]["verdict"], "ok");
    }
}

/// The program as a user without rights, or as one who may not be told of changes.
fn follow_as(folder: &Folder, program: &str, before: &[&str]) -> Child {
    let follow = folder.command(["merge", "--follow", "-o", "out", "--json", "json", "--interval", "5ms", "a.log"]);
    let mut command = Command::new(program);
    command.args(before).arg(follow.get_program()).args(follow.get_args());
    command.current_dir(folder.path(".")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("it starts")
}

#[test]
fn a_log_that_may_not_be_read_after_its_rotation_is_waited_for() {
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let is_possible = run(Command::new("setpriv").args(nobody).arg("true")).status.success();
    if !is_possible || !rustix::process::geteuid().is_root() {
        return println!("SKIP: only root can become another user, with `setpriv`");
    }
    let folder = Folder::new();
    fs::set_permissions(folder.path("."), PermissionsExt::from_mode(0o777)).expect("set");
    let log = folder.write("a.log", "1\n");
    // The program may be where others may not go.
    fs::copy(env!("CARGO_BIN_EXE_pollscope"), folder.path("program")).expect("copied");
    let program = folder.path("program").into_os_string().into_string().expect("text");
    let args = ["merge", "--follow", "-o", "out", "--json", "json", "--interval", "5ms", "a.log"];
    let mut command = Command::new("setpriv");
    command.args(nobody).arg(program).args(args).current_dir(folder.path("."));
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    wait_until("the first line", || folder.path("out").exists() && folder.read("out") == b"1\n");
    fs::rename(&log, rotated(&log, 1)).expect("renamed");
    fs::write(folder.path("new"), "2\n").expect("written");
    fs::set_permissions(folder.path("new"), PermissionsExt::from_mode(0o600)).expect("set");
    fs::rename(folder.path("new"), &log).expect("renamed");
    thread::sleep(Duration::from_millis(200));
    fs::set_permissions(&log, PermissionsExt::from_mode(0o644)).expect("set");
    wait_until("the line that may be read now", || folder.read("out") == b"1\n2\n");
    send(&child, Signal::INT);
    assert_ends(&finish(child), 0, &["cannot be read now: Permission denied", "is back"]);
    assert_eq!(recording(&folder)["merge"]["verdict"], "ok");
}

#[test]
fn who_may_not_be_told_of_changes_looks() {
    for limit in ["max_inotify_instances", "max_inotify_watches"] {
        let script = format!("echo 0 > /proc/sys/user/{limit} && exec \"$0\" \"$@\"");
        let is_possible = run(Command::new("unshare").args(["-Ur", "sh", "-c", &script, "true"])).status.success();
        if !is_possible {
            return println!("SKIP: inotify cannot be limited ({limit}), which takes user namespaces");
        }
        let folder = Folder::new();
        let log = folder.write("a.log", "1\n");
        let child = follow_as(&folder, "unshare", &["-Ur", "sh", "-c", &script]);
        wait_until("the first line", || folder.path("out").exists() && folder.read("out") == b"1\n");
        fs::rename(&log, rotated(&log, 1)).expect("renamed");
        append(&log, "2\n");
        wait_until("the second line", || folder.read("out") == b"1\n2\n");
        send(&child, Signal::INT);
        assert_ends(&finish(child), 0, &["cannot be watched by inotify", "it is looked at instead"]);
        assert_eq!(recording(&folder)["merge"]["verdict"], "ok", "{limit}");
    }
}
