//! Rotates logs in every way that is known here, under the built program, and counts what it lost without a word.
//!
//! `cargo test --test it tails::driver -- --ignored --nocapture` prints a row for each way; `POLLSCOPE_TAILS_RUNS=5` has more of each.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use nix::mount::{MsFlags, mount};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::{WATCHES, append, lines, make_room, rotated};
use crate::faults::disk::Disk;
use crate::faults::private_mounts;
use crate::support::{finish, pollscope, send, wait_until};

/// How often a log is rotated in one run.
const ROTATIONS: usize = 12;

/// A log and its writer.
struct Log {
    /// `a.log` in its folder.
    path: PathBuf,
    rng: Rng,
    written: u64,
    rotations: usize,
}

impl Log {
    /// Writes some lines into a file, each of which is its own.
    fn write(&mut self, path: &Path) {
        for _ in 0..self.rng.u64(1..5) {
            self.written += 1;
            append(path, format!("{} {}\n", self.written, "x".repeat(self.rng.usize(..40))));
        }
    }

    fn write_on(&mut self) {
        self.write(&self.path.clone());
    }

    fn pause(&mut self) {
        if self.rng.bool() {
            thread::sleep(Duration::from_micros(self.rng.u64(..20_000)));
        }
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }

    fn rename(&self) {
        make_room(&self.path);
        let _ = fs::rename(&self.path, rotated(&self.path, 1));
    }

    fn cut(&self, len: u64) {
        File::options().write(true).open(&self.path).and_then(|file| file.set_len(len)).expect("cut");
    }

    fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

type Way = (&'static str, fn(&mut Log, Option<&Child>));

/// What one rotation is, and may be done while the program is stopped.
const WAYS: &[Way] = &[
    ("renamed", |log, _| {
        log.rename();
        log.write_on();
    }),
    ("renamed, created late", |log, _| {
        log.rename();
        log.pause();
        log.write_on();
    }),
    ("renamed twice", |log, _| {
        for _ in 0..2 {
            log.rename();
            log.write_on();
        }
    }),
    ("one deleted between two", |log, _| {
        log.rename();
        log.write_on();
        log.remove();
        log.write_on();
    }),
    ("deleted and created", |log, _| {
        log.remove();
        log.write_on();
    }),
    ("came and went", |log, _| {
        log.rename();
        log.write_on();
        log.remove();
        log.pause();
    }),
    ("replaced by renaming", |log, _| {
        let new = log.beside("new");
        log.write(&new);
        fs::rename(new, &log.path).expect("renamed");
    }),
    ("copied and cut", |log, _| {
        make_room(&log.path);
        let _ = fs::copy(&log.path, rotated(&log.path, 1));
        log.write_on();
        log.cut(0);
    }),
    ("cut", |log, _| log.cut(0)),
    ("cut to half", |log, _| {
        let len = fs::metadata(&log.path).expect("it is there").len();
        log.cut(len / 2);
    }),
    ("numbers that count up", |log, _| {
        let _ = fs::rename(&log.path, rotated(&log.path, log.rotations));
        log.write_on();
    }),
    ("dates", |log, _| {
        let _ = fs::rename(&log.path, log.beside(&format!("a.log-202611{:02}", log.rotations)));
        log.write_on();
    }),
    ("moved to another folder", |log, _| {
        let _ = fs::rename(&log.path, log.beside("../away").join(log.rotations.to_string()));
        log.write_on();
    }),
    ("the folder replaced", |log, _| {
        let folder = log.path.parent().expect("it has one").to_owned();
        fs::rename(&folder, folder.with_file_name(format!("logs.{}", log.rotations))).expect("renamed");
        fs::create_dir(&folder).expect("made");
        log.write_on();
        log.rename();
        log.write_on();
    }),
    ("a link switched", |log, _| {
        let (target, link) = (log.beside(&format!("target{}", log.rotations)), log.beside("link"));
        log.write(&target);
        symlink(&target, &link).expect("linked");
        fs::rename(link, &log.path).expect("switched");
    }),
    ("written late", |log, _| {
        log.rename();
        log.write_on();
        log.write(&rotated(&log.path, 1));
    }),
    ("more events than there is room for", |log, program| {
        if log.rotations != ROTATIONS / 2 {
            return log.rename();
        }
        program.into_iter().for_each(|program| send(program, Signal::STOP));
        for _ in 0..9_000 {
            fs::write(log.beside("other"), "").expect("written");
            fs::remove_file(log.beside("other")).expect("removed");
        }
        log.rename();
        log.write_on();
        log.remove();
        program.into_iter().for_each(|program| send(program, Signal::CONT));
    }),
];

/// What a merge made of it.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    runs: u64,
    /// Runs that lost lines, and those of them that said ok.
    lost: u64,
    silent: u64,
    /// Runs that were called failed, with all lines there once.
    called_failed: u64,
    ok: u64,
    /// Runs with nothing lost that were not ok.
    doubted: u64,
}

fn run(around: &Path, way: &Way, watch: &str, seed: u64) -> (u64, u64, String) {
    let folder = TempDir::new_in(around).expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("logs")).expect("made");
    fs::create_dir(at("away")).expect("made");
    let (path, rng) = (at("logs").join("a.log"), Rng::with_seed(seed));
    let mut log = Log { path: path.clone(), rng, written: 0, rotations: 0 };
    log.write_on();
    let interval = if seed.is_multiple_of(2) { "5ms" } else { "50ms" };
    let mut command = pollscope();
    command.args(["merge", "--follow", "-o", "out", "--json", "json", "--interval", interval, "--watch", watch]);
    command.arg("logs/a.log").current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().expect("it starts");
    let merged = || fs::read(at("out")).unwrap_or_default();
    wait_until("the first line", || !merged().is_empty());
    for rotation in 1..=ROTATIONS {
        log.rotations = rotation;
        (way.1)(&mut log, Some(&child));
        log.pause();
        if path.exists() || log.rng.bool() {
            log.write_on();
        }
        log.pause();
    }
    append(&path, "END\n");
    wait_until("the last line", || merged().ends_with(b"END\n") || merged().windows(5).any(|part| part == b"\nEND\n"));
    send(&child, Signal::INT);
    finish(child);
    let merged = merged();
    let mut seen: HashMap<u64, u64> = HashMap::new();
    for line in lines(&merged) {
        let number = std::str::from_utf8(line).ok().and_then(|line| line.split(' ').next()?.parse().ok());
        *seen.entry(number.unwrap_or(0)).or_default() += 1;
    }
    let lost = (1..=log.written).filter(|number| !seen.contains_key(number)).count() as u64;
    let twice = seen.iter().filter(|(number, count)| **number > 0 && **count > 1).count() as u64;
    let json: Value = serde_json::from_slice(&fs::read(at("json")).expect("a report")).expect("JSON");
    (lost, twice, json["runs"][0]["merge"]["verdict"].as_str().unwrap_or_default().to_owned())
}

/// Folders on file systems of different kinds; two are kept in a folder of its own, one of them as long as its disk is.
fn places(own: &Path) -> (Vec<(&'static str, PathBuf)>, Option<Disk>) {
    let memory = Path::new("/dev/shm").is_dir().then(|| ("memory", PathBuf::from("/dev/shm")));
    let mut places: Vec<_> = [("disk", std::env::temp_dir())].into_iter().chain(memory).collect();
    match overlay(own) {
        Ok(overlay) => places.push(("overlay", overlay)),
        Err(why) => println!("SKIP: an overlay: {why}"),
    }
    let disk = fuse(own).map_err(|why| println!("SKIP: FUSE: {why}")).ok();
    places.extend(disk.iter().map(|_| ("FUSE", own.join("fuse"))));
    (places, disk)
}

/// A disk of which no call goes wrong; its files have no time of birth.
fn fuse(own: &Path) -> Result<Disk, String> {
    if !Path::new("/dev/fuse").exists() {
        return Err("there is no /dev/fuse".to_owned());
    }
    private_mounts()?;
    let at = own.join("fuse");
    fs::create_dir(&at).expect("made");
    Disk::mount(&at, "").map_err(|error| error.to_string())
}

/// A folder over another one, for this thread and those that it starts.
fn overlay(own: &Path) -> Result<PathBuf, String> {
    private_mounts()?;
    let [lower, upper, work, merged] = ["lower", "upper", "work", "merged"].map(|name| own.join(name));
    for folder in [&lower, &upper, &work, &merged] {
        fs::create_dir(folder).expect("made");
    }
    let how = format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let (kind, none) = (Some("overlay"), MsFlags::empty());
    mount(kind, &merged, kind, none, Some(how.as_str())).map_err(|error| error.to_string())?;
    Ok(merged)
}

#[test]
#[ignore = "it takes minutes"]
fn nothing_is_lost_silently_however_a_log_is_rotated() {
    let each = std::env::var("POLLSCOPE_TAILS_RUNS").map_or(5, |runs| runs.parse().expect("it is a number"));
    let own = TempDir::new_in(if Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() });
    let own = own.expect("a folder");
    let (places, _disk) = places(own.path());
    let mut all = Tally::default();
    println!(
        "| way | place | watch | runs | ok | lost | lost silently | called failed | doubted |\n|---|---|---|---|---|---|---|---|---|"
    );
    for way in WAYS {
        for (place, around) in &places {
            for watch in WATCHES {
                let tally = runs(way, around, watch, each);
                println!(
                    "| {} | {place} | {watch} | {} | {} | {} | {} | {} | {} |",
                    way.0, tally.runs, tally.ok, tally.lost, tally.silent, tally.called_failed, tally.doubted
                );
                all.runs += tally.runs;
                all.silent += tally.silent;
                all.called_failed += tally.called_failed;
            }
        }
    }
    println!("{} runs, {} silent losses, {} sound merges called failed", all.runs, all.silent, all.called_failed);
    assert_eq!((all.silent, all.called_failed), (0, 0), "of {} runs", all.runs);
}

fn runs(way: &Way, around: &Path, watch: &str, each: u64) -> Tally {
    let mut tally = Tally::default();
    let ended: Vec<_> = thread::scope(|scope| {
        let started: Vec<_> = (0..each).map(|seed| scope.spawn(move || run(around, way, watch, seed))).collect();
        started.into_iter().map(|run| run.join().expect("it ends")).collect()
    });
    for (lost, twice, verdict) in ended {
        tally.runs += 1;
        tally.ok += u64::from(verdict == "ok");
        tally.lost += u64::from(lost > 0);
        tally.silent += u64::from((lost > 0 || twice > 0) && verdict == "ok");
        tally.called_failed += u64::from(lost == 0 && twice == 0 && verdict == "failed");
        tally.doubted += u64::from(lost == 0 && twice == 0 && verdict != "ok");
    }
    tally
}
