//! Random histories: files are written, renamed, cut and replaced, and an input looks at them in between.
//!
//! A failure names its seed: `POLLSCOPE_MODEL_SEED=7` runs that history and prints it; `POLLSCOPE_MODEL_SEEDS=100000` runs more.

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use fastrand::Rng;
use tempfile::TempDir;

use super::super::generations::LINGER;
use super::super::{Input, Look, ReadSettings, SMALLEST_MAX_LINE, Watch};
use super::world::World;
use crate::pipeline::confirm::{ConfirmSettings, OutputEvidence, PartFile, confirm};
use crate::pipeline::inotify::{Inotify, NameWatch};
use pollscope_record::recording::Verdict;

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn every_line_of_a_log_is_handed_out_or_recorded_as_lost() {
    check_all(6_000, |seed| check(seed, false));
}

#[test]
fn every_line_of_a_watched_log_is_handed_out_or_recorded_as_lost() {
    check_all(600, |seed| check(seed, true));
}

fn check_all(seeds: u64, check: impl Fn(u64) -> Result<(), String> + Sync) {
    let asked = |name| env::var(name).ok().map(|value| value.parse().expect("it is a number"));
    let (first, seeds) = match (asked("POLLSCOPE_MODEL_SEED"), asked("POLLSCOPE_MODEL_SEEDS")) {
        (Some(seed), _) => (seed, seed + 1),
        (None, more) => (0, more.unwrap_or(seeds)),
    };
    let next = AtomicU64::new(first);
    let check_some = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            check(seed).unwrap_or_else(|failure| {
                next.store(seeds, Ordering::Relaxed);
                panic!("seed {seed}: {failure}");
            });
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(check_some);
        }
    });
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
    /// The watch of a file whose event comes last: by then all earlier events have come, too.
    marker: Option<(Inotify, NameWatch, PathBuf)>,
}

fn check(seed: u64, is_watched: bool) -> Result<(), String> {
    let mut rng = Rng::with_seed(seed);
    let folder = folder();
    let max_line = if rng.u8(..4) == 0 { SMALLEST_MAX_LINE } else { 64 };
    let is_link = rng.u8(..5) == 0;
    let mut world = World::new(folder.path(), is_link, is_watched, max_line);
    let mut reader = Reader::open(&world, max_line, is_watched);
    let failed = |world: &World, reader: &Reader, failure: String| {
        let mut all = failure;
        let lines: Vec<String> = reader.handed_out.iter().map(|line| line.escape_ascii().to_string()).collect();
        let told = reader.input.events().so_far().events;
        write!(all, "\n{:#?}\nhanded out: {lines:#?}\ntold: {told:#?}", world.actions).unwrap();
        all
    };
    for _ in 0..rng.u64(10..40) {
        act(&mut world, &mut rng);
        reader.catch_up()?;
        if rng.bool() {
            reader.look(&mut world, &mut rng)?;
        }
        if rng.u8(..60) == 0 && world.is_readable() {
            world.actions.push("restart".to_owned());
            reader.check(&world, false).map_err(|failure| failed(&world, &reader, failure))?;
            world.begin_again();
            reader = Reader::open(&world, max_line, is_watched);
        }
    }
    while reader.looked(&mut rng, true)? != Look::End {}
    world.was_looked_at();
    reader.check(&world, true).map_err(|failure| failed(&world, &reader, failure))?;
    let told = failed(&world, &reader, String::new());
    reader.confirm(folder.path()).map_err(|failure| failure + &told)
}

fn act(world: &mut World, rng: &mut Rng) {
    let any = rng.usize(..);
    let done = match rng.u8(..40) {
        action @ 0..=17 => write(world, rng, action, any),
        action @ (18..=26 | 34..=37) => rotate(world, rng, action, any),
        action @ (27..=33 | 38) => change_in_place(world, rng, action),
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
        38 => {
            world.back_up();
            "back up".to_owned()
        }
        _ => unreachable!("the caller knows"),
    }
}

/// A user has few inotify instances, and one comes back only when its thread has noticed the end.
fn inotify() -> Inotify {
    let start = Instant::now();
    loop {
        match Inotify::start() {
            Err(_) if start.elapsed() < DEADLINE => thread::yield_now(),
            inotify => return inotify.unwrap(),
        }
    }
}

impl Reader {
    fn open(world: &World, max_line: usize, is_watched: bool) -> Reader {
        let watch = if is_watched { Watch::Inotify } else { Watch::Poll };
        let max_line = NonZeroUsize::new(max_line).unwrap();
        let mut input =
            Input::open(&world.path(), ReadSettings { max_line, ..ReadSettings::following(watch) }).unwrap();
        let marker = is_watched.then(|| {
            let inotify = inotify();
            // Before anything is watched: inotify reports it once for each time that it is created from then on.
            let path = world.path().with_file_name("marker");
            fs::write(&path, "").unwrap();
            input.watch_by(&inotify);
            let watch = inotify.watch(&path).unwrap();
            (inotify, watch, path)
        });
        Reader { input, handed_out: Vec::new(), marker }
    }

    /// Waits until the thread has the events of everything that was done.
    fn catch_up(&self) -> Result<(), String> {
        let Some((_, watch, path)) = &self.marker else { return Ok(()) };
        fs::remove_file(path).unwrap();
        fs::write(path, "").unwrap();
        let start = Instant::now();
        while watch.take().files.is_empty() {
            if start.elapsed() > DEADLINE {
                return Err("the thread gets no event".to_owned());
            }
            thread::yield_now();
        }
        Ok(())
    }

    fn look(&mut self, world: &mut World, rng: &mut Rng) -> Result<(), String> {
        let looks = if rng.bool() { 1 + rng.usize(..3) } else { usize::MAX };
        if rng.u8(..8) == 0 {
            world.actions.push("be quiet".to_owned());
            world.be_quiet();
            self.input.generations.open.iter_mut().for_each(|file| file.grew_at -= LINGER);
        }
        for look in 1..=looks {
            if self.looked(rng, false)? == Look::Nothing {
                world.actions.push(format!("look {look} times: nothing more"));
                world.was_looked_at();
                return Ok(());
            }
        }
        world.actions.push(format!("look {looks} times"));
        Ok(())
    }

    fn looked(&mut self, rng: &mut Rng, closed: bool) -> Result<Look, String> {
        let looked = self.input.look(closed).map_err(|error| error.to_string())?;
        while let Some(lines) = self.input.next_lines(rng.usize(1..5)) {
            let bytes = lines.bytes.strip_suffix(b"\n").ok_or("lines end with a newline")?;
            let before = self.handed_out.len();
            self.handed_out.extend(bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
            assert_eq!((self.handed_out.len() - before) as u64, lines.count);
        }
        Ok(looked)
    }

    fn check(&self, world: &World, is_complete: bool) -> Result<(), String> {
        let losses = self.input.events().so_far().possible_losses;
        world.check(&self.handed_out, losses, is_complete)
    }

    /// Checks that the evidence fits what was handed out, or says that it is gone.
    fn confirm(self, folder: &Path) -> Result<(), String> {
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
            Verdict::Unverifiable if is_gone => Ok(()),
            _ => Err(format!("{merge:?}\n{parts}")),
        }
    }
}
