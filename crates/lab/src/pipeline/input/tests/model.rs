//! Random histories: files are written, renamed, cut and replaced, and an input looks at them in between.
//!
//! A failure names its seed: `POLLSCOPE_MODEL_SEED=7` runs that history and prints it; `POLLSCOPE_MODEL_SEEDS=100000` runs more.

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{env, fs, thread};

use fastrand::Rng;
use tempfile::TempDir;

use super::super::generations::LINGER;
use super::super::{EventKind, Input, Look, ReadSettings, SMALLEST_MAX_LINE, Watch};
use super::world::{Told, Watched, World};
use crate::pipeline::clock::virtual_clock;
use crate::pipeline::confirm::{ConfirmSettings, OutputEvidence, PartFile, confirm};
use crate::pipeline::inotify::Inotify;
use crate::pipeline::planted::{Planted, plant};
use pollscope_record::recording::Verdict;

#[test]
fn every_line_of_a_log_is_handed_out_or_recorded_as_lost() {
    check_all(6_000, |seed| check(seed, Watched::ByLooks));
}

#[test]
fn every_line_of_a_watched_log_is_handed_out_or_recorded_as_lost() {
    check_all(3_000, |seed| check(seed, Watched::ByEvents));
}

/// That histories find a fault that is planted, and how it shows.
fn check_finds(fault: Planted, watch: Watched, how: &str) {
    plant(Some(fault));
    let found = (0..6_000).find_map(|seed| check(seed, watch).err().filter(|failure| failure.contains(how)));
    plant(None);
    assert!(found.is_some(), "{fault:?} is not found");
}

#[test]
fn faults_in_following_by_events_are_found() {
    check_finds(Planted::MaskedArrival, Watched::ByEvents, "losses of files were recorded, and there are");
    check_finds(Planted::FolderReplaced, Watched::ByEvents, "losses of files were recorded, and there are");
    check_finds(Planted::Overflow, Watched::ByEvents, "losses of files were recorded, and there are");
    check_finds(Planted::StillFolder, Watched::ByEvents, "losses of files were recorded, and there are");
    check_finds(Planted::NeedlessLoss, Watched::ByEvents, "losses in place were recorded, and");
    check_finds(Planted::Hole, Watched::ByEvents, "verdict: Failed");
}

#[test]
fn faults_in_following_by_looks_are_found() {
    check_finds(Planted::ExactClock, Watched::ByLooks, "was handed out 0 times");
    check_finds(Planted::NoBirths, Watched::ByLooks, "was handed out 0 times");
    check_finds(Planted::NeedlessLoss, Watched::ByLooks, "losses of files were recorded, and");
    check_finds(Planted::GoneBetweenLooks, Watched::ByLooks, "losses of files were recorded, and there are");
}

fn check_all(seeds: u64, check: impl Fn(u64) -> Result<(), String> + Sync) {
    let asked = |name| env::var(name).ok().map(|value| value.parse().expect("it is a number"));
    let (first, seeds) = match (asked("POLLSCOPE_MODEL_SEED"), asked("POLLSCOPE_MODEL_SEEDS")) {
        (Some(seed), _) => (seed, seed + 1),
        (None, more) => (0, more.unwrap_or(seeds)),
    };
    let (next, failures) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let check_some = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            if let Err(failure) = check(seed) {
                failures.lock().unwrap().push((seed, failure));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(check_some);
        }
    });
    let failures = failures.into_inner().unwrap();
    let Some((shortest, failure)) = failures.iter().min_by_key(|(_, failure)| failure.len()) else { return };
    let failed: Vec<u64> = failures.iter().map(|(seed, _)| *seed).collect();
    let run = seeds.saturating_sub(first);
    panic!("{} of {run} histories: {failed:?}; the shortest, seed {shortest}: {failure}", failed.len());
}

/// A folder in memory, if there is one.
fn folder() -> TempDir {
    let in_memory = Path::new("/dev/shm");
    tempfile::tempdir_in(in_memory).or_else(|_| tempfile::tempdir()).unwrap()
}

/// The input, and what it handed out.
struct Reader {
    input: Input,
    handed_out: Vec<Vec<u8>>,
    /// How often the input looked at the name before.
    looks: u64,
    is_watched: bool,
}

fn check(seed: u64, watch: Watched) -> Result<(), String> {
    let mut rng = Rng::with_seed(seed);
    let folder = folder();
    let max_line = if rng.u8(..4) == 0 { SMALLEST_MAX_LINE } else { 64 };
    let is_link = rng.u8(..5) == 0;
    let has_births = rng.u8(..3) > 0;
    virtual_clock::begin(Duration::from_millis(rng.u64(1..=10)), has_births, !seed.is_multiple_of(8));
    let mut world = World::new(folder.path(), is_link, (watch, has_births), max_line);
    let mut reader = Reader::open(&world, max_line, watch);
    let failed = |world: &World, reader: &Reader, failure: String| {
        let mut all = failure;
        let lines: Vec<String> = reader.handed_out.iter().map(|line| line.escape_ascii().to_string()).collect();
        let told = reader.input.events().so_far().events;
        write!(all, "\n{:#?}\nhanded out: {lines:#?}\ntold: {told:#?}", world.actions).unwrap();
        all
    };
    for _ in 0..rng.u64(10..40) {
        world.wait(Duration::from_micros(if rng.u8(..4) == 0 { rng.u64(..60_000) } else { rng.u64(..500) }));
        act(&mut world, &mut rng);
        reader.meets_events(&mut world, &mut rng);
        if rng.bool() {
            reader.look(&mut world, &mut rng)?;
        }
        if rng.u8(..60) == 0 && world.is_readable() {
            world.actions.push("restart".to_owned());
            reader.check(&world, false).map_err(|failure| failed(&world, &reader, failure))?;
            world.begin_again();
            reader = Reader::open(&world, max_line, watch);
        }
    }
    while reader.looked(&mut world, &mut rng, true)? != Look::End {}
    world.was_looked_at();
    reader.check(&world, true).map_err(|failure| failed(&world, &reader, failure))?;
    let told = failed(&world, &reader, String::new());
    reader.confirm(&world, folder.path()).map_err(|failure| failure + &told)?;
    virtual_clock::end();
    Ok(())
}

fn act(world: &mut World, rng: &mut Rng) {
    let any = rng.usize(..);
    let done = match rng.u8(..43) {
        action @ 0..=17 => write(world, rng, action, any),
        action @ (18..=26 | 34..=37 | 39) => rotate(world, rng, action, any),
        action @ (27..=33 | 38 | 40) => change_in_place(world, rng, action),
        _ => return,
    };
    world.actions.push(done);
}

/// Writes on; returns what was done.
fn write(world: &mut World, rng: &mut Rng, action: u8, any: usize) -> String {
    match action {
        0..=9 => {
            let lines = rng.usize(1..4);
            (0..lines).for_each(|_| world.write_line(None, rng.usize(3..12)));
            format!("write {lines} lines")
        }
        10..=12 => {
            world.write_piece(rng.usize(3..30));
            "write a piece".to_owned()
        }
        13 => {
            let newlines = rng.usize(1..3);
            world.write_newlines(newlines);
            format!("write {newlines} newlines")
        }
        14 => {
            let longer_than = rng.usize(60..200);
            world.write_line(None, longer_than);
            format!("write a line longer than {longer_than}")
        }
        15..=17 => {
            world.write_line(Some(any), 3);
            "write into any file".to_owned()
        }
        _ => unreachable!("the caller knows"),
    }
}

/// Gives the name to another file, or takes it away; returns what was done.
fn rotate(world: &mut World, rng: &mut Rng, action: u8, any: usize) -> String {
    match action {
        18..=21 => {
            world.rotate();
            world.create();
            "rotate and create".to_owned()
        }
        22 => {
            world.rotate();
            "rotate".to_owned()
        }
        23 => {
            world.rotate_twice();
            "rotate twice".to_owned()
        }
        24 => {
            world.delete();
            "delete".to_owned()
        }
        25 => {
            world.delete();
            world.create();
            "delete and create".to_owned()
        }
        26 => {
            world.replace();
            "replace".to_owned()
        }
        39 => {
            world.replace_folder();
            "replace the folder".to_owned()
        }
        34 => {
            let by_folder = rng.bool();
            world.obstruct(by_folder);
            format!("obstruct, by a folder: {by_folder}")
        }
        35 | 36 if !world.is_readable() => {
            world.create();
            "create".to_owned()
        }
        35..=37 => {
            world.switch_back(any);
            "switch the link back".to_owned()
        }
        _ => unreachable!("the caller knows"),
    }
}

/// Copies, cuts or rewrites the file that has the name; returns what was done.
fn change_in_place(world: &mut World, rng: &mut Rng, action: u8) -> String {
    match action {
        // What is read again would be another file's.
        _ if world.has_holes() => "leave it as it is".to_owned(),
        27 => {
            world.cut(0);
            "cut to nothing".to_owned()
        }
        28 => {
            let to = rng.usize(..1_000);
            world.cut(to);
            format!("cut to {to} thousandths")
        }
        29..=31 => {
            let (in_between, over) = (rng.usize(..2), rng.bool());
            world.copytruncate(in_between, over);
            format!("copy and cut, {in_between} lines in between, over the old copy: {over}")
        }
        32 | 33 => {
            let longer = rng.bool();
            world.rewrite(longer);
            format!("rewrite, longer: {longer}")
        }
        40 => {
            (0..20).for_each(|_| world.write_line(None, 20));
            let is_punched = world.punch(rng.usize(..1_000));
            format!("write 20 lines and punch a hole: {is_punched}")
        }
        38 => {
            world.back_up();
            "back up".to_owned()
        }
        _ => unreachable!("the caller knows"),
    }
}

thread_local! {
    /// One for all histories of a thread: to close one takes the kernel several milliseconds.
    static INOTIFY: Inotify = Inotify::without_thread().unwrap();
}

impl Reader {
    fn open(world: &World, max_line: usize, watch: Watched) -> Reader {
        let max_line = NonZeroUsize::new(max_line).unwrap();
        let how = ReadSettings { max_line, ..ReadSettings::following(Watch::Inotify) };
        let mut input = Input::open(&world.path(), how).unwrap();
        let is_watched = watch == Watched::ByEvents;
        if is_watched {
            INOTIFY.with(|inotify| {
                inotify.forget();
                input.watch_by(inotify);
            });
        }
        Reader { input, handed_out: Vec::new(), looks: 0, is_watched }
    }

    /// The thread that reads events comes in time, or it does not; or events are lost.
    fn meets_events(&self, world: &mut World, rng: &mut Rng) {
        if !self.is_watched {
            return;
        }
        if rng.u8(..40) == 0 {
            world.actions.push("lose events".to_owned());
            INOTIFY.with(Inotify::lose_events);
            world.lose_events();
        } else if rng.bool()
            && let Some(watch) = &self.input.rotation.watch
        {
            watch.read();
            world.was_drained();
        }
    }

    fn look(&mut self, world: &mut World, rng: &mut Rng) -> Result<(), String> {
        let looks = if rng.bool() { 1 + rng.usize(..3) } else { usize::MAX };
        if rng.u8(..8) == 0 {
            world.actions.push("be quiet".to_owned());
            world.be_quiet();
            self.input.generations.open.iter_mut().for_each(|file| file.grew_at -= LINGER);
        }
        for look in 1..=looks {
            if self.looked(world, rng, false)? == Look::Nothing {
                world.actions.push(format!("look {look} times: nothing more"));
                world.was_looked_at();
                return Ok(());
            }
        }
        world.actions.push(format!("look {looks} times"));
        Ok(())
    }

    fn looked(&mut self, world: &mut World, rng: &mut Rng, closed: bool) -> Result<Look, String> {
        let looked = self.input.look(closed).map_err(|error| error.to_string())?;
        if std::mem::replace(&mut self.looks, self.input.rotation.looks) != self.looks {
            world.was_name_looked_at(closed);
        }
        while let Some(lines) = self.input.next_lines(rng.usize(1..5)) {
            let bytes = lines.bytes.strip_suffix(b"\n").ok_or("lines end with a newline")?;
            let before = self.handed_out.len();
            self.handed_out.extend(bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
            assert_eq!((self.handed_out.len() - before) as u64, lines.count);
        }
        Ok(looked)
    }

    fn check(&self, world: &World, is_complete: bool) -> Result<(), String> {
        let told = self.input.events().so_far();
        let is_of_name = |kind: &EventKind| matches!(kind, EventKind::Missed | EventKind::Unseen { .. });
        let of_names = told.events.iter().filter(|event| is_of_name(&event.kind)).count() as u64;
        world.check(&self.handed_out, Told { of_names, in_place: told.possible_losses - of_names }, is_complete)
    }

    /// Checks that the evidence fits what was handed out, or says that it is gone.
    fn confirm(self, world: &World, folder: &Path) -> Result<(), String> {
        let output = folder.join("out");
        let lines: Vec<u8> = self.handed_out.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect();
        fs::write(&output, lines).unwrap();
        let metadata = output.metadata().unwrap();
        let output = OutputEvidence { path: output, start: 0, dev: metadata.dev(), ino: metadata.ino() };
        let how = ConfirmSettings { max_line: Some(self.input.reading.max_line), tags: false };
        let evidence = self.input.evidence();
        let is_gone = evidence.parts.iter().any(|part| matches!(part.file, PartFile::Gone(_)));
        let parts = format!("{evidence:#?}");
        let merge = confirm(&[evidence], &output, &how);
        match merge.verdict {
            Verdict::Ok => Ok(()),
            Verdict::Unverifiable if is_gone || world.has_holes() => Ok(()),
            _ => Err(format!("{merge:?}\n{parts}")),
        }
    }
}
