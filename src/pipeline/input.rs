//! An input and all the files that it is, one after the other, while it is followed.
//!
//! Nothing here waits, and nothing here is async: a tail calls it where blocking is allowed.
//!
//! # Order
//!
//! A writer that goes from one file to the next has written all of the old one before the first line of the new one. So
//! in each round the newest file's length is looked at first and the oldest's last, and then they are read from the oldest to
//! the newest, each as far as was seen: no line of the new file is read before one that was in the old file when it was written.
//! The old file is looked at for some seconds more, as a writer may learn late that its file was renamed. What it writes then
//! comes in its order, but perhaps before lines of the new file that are older; and a last line without its newline comes when the
//! file is left, in case it is still completed.
//!
//! # What is told
//!
//! Every line that was whole in a file of that name is handed out once, or a possible loss is told. A file that was cut
//! or rewritten is read again from its beginning: lines that it still has come again, and only these. A copy made
//! before that, in the name's folder and with a name made from it, is read to its end first.
//!
//! # What cannot be known
//!
//! Lines are missing silently only where a file left no trace of them:
//!
//! - It had the name between two looks only, and cannot be found: it was deleted, has a name that is not made from the input's (`a.log`
//!   and `a.log.1`, `a.log-20261122`), belongs to a link that was switched and back, came into being in the same tick of the clock (4 to 10
//!   ms) as the last look and the file before it was deleted, or is on a file system that does not say when
//!   files came into being; or nothing has taken the name since. Of one that begins as a longer one does, the other is taken for a copy.
//!   With inotify such files are opened while they have the name, and that one could not be is told as a loss; rather one too
//!   many than one too few: a file that takes the name twice in between counts as missed once.
//! - They were written and taken away again between two looks, and all that was read before is still there.
//! - They were rewritten, and the last 256 bytes before the place up to which it was read are what they were.
//! - They were written into a file that lost its name more than five seconds ago and did not grow since; or that was, besides, one
//!   of more than 256 such files, and its inode was given to another one, which begins with the same lines.
//!
//! Two files that changed names within one tick, faster than they could be opened, may come in the wrong order if one was deleted.
//! `tests/model.rs` holds all this against random histories.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::OFlags;

use super::changes::{Changes, Taken, Watched};
use super::confirm::{InputEvidence, Part, PartFile};
use super::lookout::Lookout;
use super::sink::Lines;
use super::tag::{tag, tagged};
use crate::escape::escape_path;
pub use event::{Event, Events, Told, What};
use generation::{Found, Generation, holds};
pub(super) use generation::{Identity, Seen, identity};

mod buffer;
mod event;
mod generation;
mod series;
#[cfg(test)]
mod tests;

/// How much one look at a file reads at most, and what all inputs together read ahead at most, unless they are very many.
const CHUNK: usize = 256 << 10;
const SMALLEST_CHUNK: usize = 16 << 10;
const AHEAD: usize = 16 << 20;
/// How long a line may be to be merged whole, in bytes without its newline, unless set.
pub const MAX_LINE: NonZeroUsize = NonZeroUsize::new(1 << 20).unwrap();
/// The least that a maximum may be set to, in bytes.
pub const SMALLEST_MAX_LINE: usize = 16;
/// The most that it may be set to, in bytes.
pub const LARGEST_MAX_LINE: usize = 64 << 20;
/// How long a file that lost its name is looked at after it grew.
const LINGER: Duration = Duration::from_secs(5);
/// How long nothing has the name before that is told.
const LONG_MISSING: Duration = Duration::from_secs(1);
/// How many files an input may be at once: those before are read to their end and left.
const MOST_AT_ONCE: usize = 32;
/// How many files that lost their names are kept open until the merge is confirmed, for all inputs together.
pub const KEPT_OPEN: usize = 256;

/// Why an input could not be followed to its end.
#[derive(Debug, Clone)]
pub enum InputError {
    /// It could not be opened, looked at or read.
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        error: Arc<io::Error>,
    },
    /// It is neither a regular file nor a FIFO.
    NotAFile {
        /// What was named.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InputError::Io { operation, path, error } => {
                write!(f, "cannot {operation} input `{}`: {error}", escape_path(path))?;
                match error.kind() {
                    io::ErrorKind::NotFound => f.write_str("; name a file that exists, even if it is still empty"),
                    io::ErrorKind::PermissionDenied => f.write_str("; make it readable for this user"),
                    _ if *operation == "open" => f.write_str("; name a file that can be opened"),
                    _ => f.write_str("; what was read of it is in the output, the rest is not"),
                }
            }
            InputError::NotAFile { path, kind } => {
                write!(f, "cannot follow input `{}`: it is a {kind}; name regular files or FIFOs", escape_path(path))
            }
        }
    }
}

impl std::error::Error for InputError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            InputError::Io { error, .. } => Some(&**error),
            InputError::NotAFile { .. } => None,
        }
    }
}

/// What a look at an input found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    /// Bytes; there may be more.
    Data,
    /// No new data.
    Nothing,
    /// Its end. What [`Input::next_lines`] still has is the last.
    End,
}

/// How inputs are read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Whether to go on at their ends, and with the files that take their places.
    pub follow: bool,
    /// The longest line that is merged whole, in bytes without its newline; at least [`SMALLEST_MAX_LINE`]. A longer one is
    /// merged in [pieces](super::pieces).
    pub max_line: NonZeroUsize,
    /// Whether each line is given its input's [tag](super::tag).
    pub tag: bool,
    /// How it is noticed that they changed.
    pub watch: Watch,
    /// Who is told what befalls them.
    pub events: Events,
}

impl Reading {
    /// To the inputs' present ends.
    pub fn once() -> Reading {
        Reading { follow: false, max_line: MAX_LINE, tag: false, watch: Watch::Poll, events: Events::from_now() }
    }

    /// On at the inputs' ends, and with the files that take their places.
    pub fn following(watch: Watch) -> Reading {
        Reading { follow: true, watch, ..Reading::once() }
    }
}

/// How it is noticed that an input changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// By inotify, and by looking now and then; an input that the kernel does not watch is looked at more often.
    Inotify,
    /// By looking.
    Poll,
}

/// How many more files may be kept open until the merge is confirmed.
#[derive(Debug, Clone)]
struct Room(Arc<AtomicUsize>);

/// An open input and how far it was read.
#[derive(Debug)]
pub struct Input {
    path: PathBuf,
    reading: Reading,
    tag: Option<String>,
    max_line: usize,
    /// How much one look reads at most.
    chunk: usize,
    /// The oldest first; the last is the one that had the name when last looked at.
    files: VecDeque<(usize, Generation)>,
    /// Those that are read to their ends; a file's number is its place among all.
    left: Vec<Left>,
    numbers: usize,
    /// What was handed out, in that order.
    marks: Vec<Mark>,
    /// The last lines of files that were left without a newline.
    ready: VecDeque<Lines>,
    name: Name,
    /// When the newest file was last seen to have the name.
    named_at: SystemTime,
    changes: Option<Watched>,
    lookout: Lookout,
    room: Room,
    /// The output: it must not become an input.
    output: Option<Identity>,
    /// Whether no more is looked for than was seen.
    is_last_round: bool,
    long_lines: u64,
    grew_at: Instant,
}

/// What was last said of the name.
#[derive(Debug, PartialEq, Eq)]
enum Name {
    Fine,
    /// Since when, and whether that was told: between a renaming and what comes after it there is always a moment without.
    Missing(Instant, bool),
    Unreadable(String),
}

/// A file that was read to its end.
#[derive(Debug)]
struct Left {
    number: usize,
    identity: Identity,
    mark: (u64, Vec<u8>),
    kept: Option<Arc<File>>,
    evidence: PartFile,
}

/// Lines that were handed out of one file.
#[derive(Debug)]
struct Mark {
    number: usize,
    epoch: u32,
    from: u64,
    to: u64,
    identity: Identity,
    unterminated: bool,
    /// Whether the last of them is a piece of a line that goes on: it was delivered with a newline that the file has not.
    is_within_line: bool,
    gone: Option<String>,
}

impl Input {
    /// Opens an input. Blocking, but never on a FIFO.
    ///
    /// # Errors
    /// When it cannot be opened, or is neither a regular file nor a FIFO.
    pub fn open(path: &Path, reading: Reading) -> Result<Input, InputError> {
        let failed = |operation, error| InputError::Io { operation, path: path.to_owned(), error: Arc::new(error) };
        // Asked twice: opening a socket fails without saying that it is one, opening a device may have effects, and what was
        // asked about may be gone at the open.
        let named_at = SystemTime::now();
        refuse_special(path, &path.metadata().map_err(|error| failed("open", error))?)?;
        let file = open_file(path).map_err(|error| failed("open", error))?;
        let metadata = file.metadata().map_err(|error| failed("look at", error))?;
        refuse_special(path, &metadata)?;
        if metadata.is_file()
            && metadata.len() == 0
            && hides_its_length(&file).map_err(|error| failed("read", error))?
        {
            let kind = "file whose length the kernel does not tell, as in /proc";
            return Err(InputError::NotAFile { path: path.to_owned(), kind });
        }
        let max_line = reading.max_line.get().max(SMALLEST_MAX_LINE);
        let file = Generation::new(file, max_line).map_err(|error| failed("look at", error))?;
        Ok(Input {
            path: path.to_owned(),
            chunk: SMALLEST_CHUNK.min(max_line),
            tag: reading.tag.then(|| tag(path)),
            max_line,
            reading,
            files: VecDeque::from([(0, file)]),
            left: Vec::new(),
            numbers: 1,
            marks: Vec::new(),
            ready: VecDeque::new(),
            name: Name::Fine,
            named_at,
            changes: None,
            lookout: Lookout::default(),
            room: Room(Arc::new(AtomicUsize::new(KEPT_OPEN))),
            output: None,
            is_last_round: false,
            long_lines: 0,
            grew_at: Instant::now(),
        })
    }

    /// Which file it is: device and inode.
    pub fn identity(&self) -> (u64, u64) {
        self.current().identity
    }

    /// The input's path, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The FIFO that it is, if it is one.
    pub fn fifo(&self) -> Option<&Arc<File>> {
        Some(self.current()).filter(|file| file.is_stream()).map(Generation::file)
    }

    /// What was seen of it last, if one file is all that it is, and its name is that file's: then it need not be looked at before
    /// that is another.
    pub(super) fn seen(&self) -> Option<Seen> {
        let file = self.current();
        (self.files.len() == 1 && self.name == Name::Fine && !file.is_stream()).then(|| file.seen())
    }

    /// How long nothing new was found.
    pub fn idle_for(&self) -> Duration {
        // A file without a name is not watched, and may grow any moment.
        if self.files.len() > 1 { Duration::ZERO } else { self.grew_at.elapsed() }
    }

    /// Lines longer than the maximum so far; they were split.
    pub fn long_lines(&self) -> u64 {
        self.long_lines + self.files.iter().map(|(_, file)| file.buffer.long_lines()).sum::<u64>()
    }

    /// Inputs that are merged together: what all of them read ahead stays bounded, and what they keep open.
    pub(super) fn together(inputs: &mut [Input], output: Identity) {
        let chunk = (AHEAD / inputs.len().max(1)).clamp(SMALLEST_CHUNK, CHUNK);
        let room = Room(Arc::new(AtomicUsize::new(KEPT_OPEN)));
        let lookout = Lookout::default();
        for input in inputs {
            input.chunk = chunk.min(input.max_line);
            input.room = room.clone();
            input.lookout = lookout.clone();
            input.output = Some(output);
        }
    }

    /// Who looks at it while it is idle.
    pub(super) fn lookout(&self) -> &Lookout {
        &self.lookout
    }

    /// Who tells it of changes.
    pub(super) fn changes(&self) -> Option<&Watched> {
        self.changes.as_ref()
    }

    /// From now on it is told when it changes, and which files take its name; where that cannot be, that is said.
    pub(super) fn be_told_by(&mut self, changes: &Changes) {
        match changes.watch(&self.path) {
            Ok(watched) => self.changes = Some(watched),
            Err(error) => self.tell(What::NotWatched { why: error.to_string() }),
        }
    }

    /// Tells what was seen and is left unread.
    pub(super) fn tell_unread(&self) {
        for (_, file) in self.files.iter().filter(|(_, file)| file.has_unread() && !file.is_stream()) {
            self.tell(What::LeftUnread { offset: file.offset(), len: file.len() });
        }
    }

    fn current(&self) -> &Generation {
        &self.files.back().expect("an input has a file").1
    }

    fn failed(&self, operation: &'static str, error: io::Error) -> InputError {
        InputError::Io { operation, path: self.path.clone(), error: Arc::new(error) }
    }

    /// Who is told what befalls it.
    pub(super) fn events(&self) -> &Events {
        &self.reading.events
    }

    pub(super) fn tell(&self, what: What) {
        self.reading.events.tell(&self.path, what);
    }

    /// The next whole lines that were read already, with their newlines; so many at most. All are to be taken before the next
    /// look. No system call.
    pub fn next_lines(&mut self, most: usize) -> Option<Lines> {
        let lines = self.untagged(most)?;
        Some(match &self.tag {
            Some(tag) => tagged(tag, &lines),
            None => lines,
        })
    }

    fn untagged(&mut self, most: usize) -> Option<Lines> {
        if let Some(lines) = self.ready.pop_front() {
            return Some(lines);
        }
        let files = self.files.iter_mut();
        let (lines, mark) = files.into_iter().find_map(|(number, file)| {
            let from = file.buffer.at();
            let lines = file.buffer.next_lines(most)?;
            Some((lines, Mark::of(*number, file, from, file.buffer.at())))
        })?;
        self.mark(mark);
        Some(lines)
    }

    fn mark(&mut self, mark: Mark) {
        if mark.from == mark.to {
            return;
        }
        match self.marks.last_mut() {
            Some(last) if last.goes_on_with(&mark) => {
                last.to = mark.to;
                (last.unterminated, last.is_within_line) = (mark.unterminated, mark.is_within_line);
            }
            _ => self.marks.push(mark),
        }
    }

    /// Reads on, up to a chunk: first what the last round saw, then, when nothing is left of that, what a new one sees. After
    /// `closed`, or when it is not followed, one round is the last; a FIFO that is not followed ends with its writers. Blocking.
    ///
    /// # Errors
    /// When it cannot be looked at or read; it ends there.
    pub fn look(&mut self, closed: bool) -> Result<Looked, InputError> {
        if self.read()? {
            return Ok(Looked::Data);
        }
        if !self.is_last_round {
            self.round(closed)?;
            self.is_last_round = closed || (!self.reading.follow && self.fifo().is_none());
            if self.read()? {
                return Ok(Looked::Data);
            }
        }
        if self.is_last_round {
            while let Some((number, file)) = self.files.pop_front() {
                self.leave(number, file);
            }
            return Ok(Looked::End);
        }
        self.leave_the_quiet();
        for (_, file) in &mut self.files {
            file.buffer.rest_a_while();
        }
        Ok(Looked::Nothing)
    }

    /// Reads a chunk of the oldest file that has something that was seen; whether one has.
    fn read(&mut self) -> Result<bool, InputError> {
        while let Some(index) = self.files.iter().position(|(_, file)| file.has_unread()) {
            let file = &mut self.files[index].1;
            match file.read(self.chunk) {
                Err(error) => return Err(self.failed("read", error)),
                Ok(Found::Bytes(_)) => {
                    self.grew_at = Instant::now();
                    return Ok(true);
                }
                Ok(Found::Nothing) => {}
                Ok(Found::End) => self.is_last_round |= !self.reading.follow,
                Ok(Found::Rewritten) => {
                    let offset = file.offset();
                    let index = self.restart(index, |copy| What::Rewritten { offset, copy })?;
                    // What it holds now may be later than all that was seen of those before it.
                    for older in (0..index).rev() {
                        self.look_at(older, false)?;
                    }
                }
            }
        }
        Ok(false)
    }

    /// Looks which file has the name now, and how far each may be read.
    fn round(&mut self, closed: bool) -> Result<(), InputError> {
        if self.reading.follow {
            self.look_at_name()?;
        }
        // The newest first, as the module says.
        for index in (0..self.files.len()).rev() {
            self.look_at(index, closed)?;
        }
        Ok(())
    }

    fn look_at(&mut self, index: usize, closely: bool) -> Result<(), InputError> {
        let file = &mut self.files[index].1;
        let offset = file.offset();
        match file.look(closely) {
            Ok(generation::Looked::Same) => {}
            Ok(generation::Looked::Cut { len }) => {
                self.restart(index, |copy| What::Cut { offset, len, copy })?;
            }
            Ok(generation::Looked::Rewritten) => {
                self.restart(index, |copy| What::Rewritten { offset, copy })?;
            }
            Err((operation, error)) => return Err(self.failed(operation, error)),
        }
        Ok(())
    }

    /// What was read of a file is not there any more: what it holds now is read from its beginning; before it, the rest of
    /// what it held, from a copy, if there is one. Both are looked at. Where the older of them is among the files then.
    fn restart(&mut self, mut index: usize, what: impl FnOnce(Option<PathBuf>) -> What) -> Result<usize, InputError> {
        let (number, file) = &self.files[index];
        let (number, epoch, mark) = (*number, file.epoch, file.mark());
        let long_lines = file.buffer.long_lines();
        // A file is no copy of itself; another one is, if it is not what it was.
        let is_as_it_was = |file: &File, mark: &(u64, Vec<u8>)| mark.0 > 0 && holds(file, mark);
        let known = |(other, file): &(usize, Generation)| {
            (file.identity, *other == number || is_as_it_was(file.file(), &file.mark()))
        };
        let left = |left: &Left| (left.identity, left.kept.as_ref().is_none_or(|kept| is_as_it_was(kept, &left.mark)));
        let known: Vec<(Identity, bool)> = self.files.iter().map(known).chain(self.left.iter().map(left)).collect();
        let copy = series::copy(&self.path, &mark, self.named_at, &known, self.max_line);
        if let Some((_, copy)) = &copy
            && let Some(overwritten) = self.files.iter().position(|(_, file)| file.identity == copy.identity)
        {
            self.take_rest(overwritten);
            let (number, file) = self.files.remove(overwritten).expect("it was found there");
            self.long_lines += file.buffer.long_lines();
            for mark in self.marks.iter_mut().filter(|mark| mark.number == number) {
                mark.gone.get_or_insert_with(|| "a copy was written over it".to_owned());
            }
            index -= usize::from(overwritten < index);
        }
        let why = copy.is_none().then(|| "it was cut or rewritten while it was followed".to_owned());
        if copy.is_none() {
            self.take_rest(index);
            self.long_lines += long_lines;
        }
        let numbers = self.numbers;
        for mark in self.marks.iter_mut().filter(|mark| (mark.number, mark.epoch) == (number, epoch)) {
            match &copy {
                Some((_, copy)) => (mark.number, mark.epoch, mark.identity) = (numbers, copy.epoch, copy.identity),
                None => mark.gone.clone_from(&why),
            }
        }
        let buffer = self.files[index].1.restart();
        self.tell(what(copy.as_ref().map(|(path, _)| path.clone())));
        self.look_anew(index)?;
        if let Some((_, mut copy)) = copy {
            copy.go_on_with(mark, buffer);
            self.files.insert(index, (numbers, copy));
            self.numbers += 1;
            self.look_anew(index)?;
        }
        Ok(index)
    }

    /// Looks at a file of which nothing was read, or what was read was just found to be there.
    fn look_anew(&mut self, index: usize) -> Result<(), InputError> {
        match self.files[index].1.look(false) {
            // What happened to it since, the next round finds.
            Ok(_) => Ok(()),
            Err((operation, error)) => Err(self.failed(operation, error)),
        }
    }

    /// The files that it is and was.
    fn known(&self) -> Vec<Identity> {
        self.files.iter().map(|(_, file)| file.identity).chain(self.left.iter().map(|left| left.identity)).collect()
    }

    /// What is left of a file after its last newline is its last line.
    fn take_rest(&mut self, index: usize) {
        let (number, file) = &mut self.files[index];
        let from = file.buffer.at();
        if let Some(lines) = file.buffer.take_rest() {
            let mark = Mark { unterminated: true, ..Mark::of(*number, file, from, file.buffer.at()) };
            self.ready.push_back(lines);
            self.mark(mark);
        }
    }

    fn look_at_name(&mut self) -> Result<(), InputError> {
        let taken = self.changes.as_ref().map(Watched::take).unwrap_or_default();
        self.adopt_taken(taken)?;
        let now = SystemTime::now();
        let name = match self.path.metadata() {
            Ok(metadata) if identity(&metadata) == self.identity() => Name::Fine,
            Ok(metadata) => match refuse_special(&self.path, &metadata) {
                Err(InputError::NotAFile { kind, .. }) => Name::Unreadable(format!("it is a {kind}")),
                _ if Some(identity(&metadata)) == self.output => Name::Unreadable("it is the output".to_owned()),
                _ => match open_file(&self.path) {
                    Ok(file) => {
                        self.adopt(file, true)?;
                        Name::Fine
                    }
                    Err(error) => Name::of(&error),
                },
            },
            Err(error) => Name::of(&error),
        };
        if name == Name::Fine {
            self.named_at = now;
        }
        self.name = match (std::mem::replace(&mut self.name, Name::Fine), name) {
            (Name::Missing(since, false), Name::Missing(..)) if since.elapsed() >= LONG_MISSING => {
                self.tell(What::Missing);
                Name::Missing(since, true)
            }
            (before @ Name::Missing(..), Name::Missing(..)) => before,
            (Name::Unreadable(before), Name::Unreadable(why)) if before == why => Name::Unreadable(why),
            (_, Name::Unreadable(why)) => {
                self.tell(What::Unreadable { why: why.clone() });
                Name::Unreadable(why)
            }
            (Name::Missing(_, true) | Name::Unreadable(_), Name::Fine) => {
                self.tell(What::Back);
                Name::Fine
            }
            (_, name) => name,
        };
        Ok(())
    }

    /// Takes on what took the name and was told of. Of several it is not sure in which order they were opened; some may have
    /// been opened too late, and are found by other names.
    fn adopt_taken(&mut self, taken: Taken) -> Result<(), InputError> {
        let Taken { mut files, mut missed } = taken;
        if files.len() as u64 + missed > 1
            && let Ok(newest) = open_file(&self.path)
        {
            files.sort_by_key(|file| file.metadata().and_then(|metadata| metadata.created()).ok());
            let which = |file: &File| file.metadata().ok().map(|metadata| identity(&metadata));
            let (current, known) = (self.current(), self.known());
            let between = series::between(&self.path, (current, self.named_at), &newest, &known);
            // From the newest on, each before the one that came after it.
            let mut next = files.len();
            for (path, file) in between.into_iter().rev() {
                if let Some(place) = files.iter().position(|told| which(told) == which(&file)) {
                    next = place;
                } else if !files.iter().any(|told| generation::is_copy_of(&file, told)) {
                    self.tell(What::FoundBetween { path });
                    missed = missed.saturating_sub(1);
                    files.insert(next, file);
                }
            }
        }
        for file in files {
            self.adopt(file, false)?;
        }
        for _ in 0..missed {
            self.tell(What::Missed);
        }
        Ok(())
    }

    /// Takes a file on that has or had the name, unless it is one that is known. With `has_name`, it is the one that has it now.
    fn adopt(&mut self, file: File, has_name: bool) -> Result<(), InputError> {
        let Ok(metadata) = file.metadata() else { return Ok(()) };
        let found = identity(&metadata);
        if refuse_special(&self.path, &metadata).is_err() || Some(found) == self.output {
            return Ok(());
        }
        if let Some(known) = self.files.iter().position(|(_, file)| file.identity == found) {
            // It had the name until just now.
            self.files[known].1.grew_at = Instant::now();
            if has_name && known + 1 < self.files.len() {
                // A link that was switched back.
                self.files.back_mut().expect("an input has a file").1.grew_at = Instant::now();
                let file = self.files.remove(known).expect("it was found there");
                self.files.push_back(file);
                self.tell(What::Replaced);
            }
            return Ok(());
        }
        // However long it was quiet: its writer may not know yet that its name is another's.
        self.files.back_mut().expect("an input has a file").1.grew_at = Instant::now();
        if has_name {
            let known = self.known();
            for (path, between) in series::between(&self.path, (self.current(), self.named_at), &file, &known) {
                self.tell(What::FoundBetween { path });
                self.add(between)?;
            }
        }
        self.add(file)?;
        self.tell(What::Replaced);
        if let Some(changes) = &self.changes {
            changes.watch_file();
        }
        Ok(())
    }

    fn add(&mut self, file: File) -> Result<(), InputError> {
        let mut file = Generation::new(file, self.max_line).map_err(|error| self.failed("look at", error))?;
        match self.left.iter().rfind(|left| left.identity == file.identity) {
            Some(left) if file.holds(&left.mark) => file.go_on_at(left.mark.clone()),
            // Only of one that was kept open it is certain that it is the same.
            Some(Left { mark: (offset, _), kept: Some(_), .. }) => {
                self.tell(What::Rewritten { offset: *offset, copy: None });
            }
            _ => {}
        }
        self.files.push_back((self.numbers, file));
        self.numbers += 1;
        self.grew_at = Instant::now();
        Ok(())
    }

    /// Leaves files without a name that did not grow for a while, and the oldest of too many. All were just read to their ends.
    fn leave_the_quiet(&mut self) {
        while self.files.len() > 1
            && (self.files.len() > MOST_AT_ONCE || self.files[0].1.grew_at.elapsed() >= LINGER)
            && let Some((number, file)) = self.files.pop_front()
        {
            self.leave(number, file);
        }
    }

    fn leave(&mut self, number: usize, file: Generation) {
        self.files.push_front((number, file));
        self.take_rest(0);
        let (number, file) = self.files.pop_front().expect("it was just put there");
        self.long_lines += file.buffer.long_lines();
        let kept = (self.reading.follow && self.room.take()).then(|| Arc::clone(file.file()));
        self.left.push(Left::of(number, &file, kept, &self.path));
    }

    /// What a confirmation compares the output with: all lines that were read whole, handed out or not.
    pub(super) fn evidence(mut self) -> InputEvidence {
        while let Some((number, file)) = self.files.pop_front() {
            let rest = Mark::of(number, &file, file.buffer.at(), file.buffer.whole_to());
            self.mark(Mark { is_within_line: false, ..rest });
            let kept = Some(Arc::clone(file.file()));
            self.left.push(Left::of(number, &file, kept, &self.path));
        }
        if self.marks.is_empty()
            && let Some(last) = self.left.last()
        {
            let identity = last.identity;
            let (number, epoch) = (last.number, 0);
            self.marks.push(Mark {
                number,
                epoch,
                from: 0,
                to: 0,
                identity,
                unterminated: false,
                is_within_line: false,
                gone: None,
            });
        }
        let has_name = self.path.metadata().ok().map(|metadata| identity(&metadata));
        let parts = self.marks.iter().map(|mark| {
            let left = self.left.iter().find(|left| left.number == mark.number);
            let file = match (&mark.gone, left) {
                (Some(why), _) => PartFile::Gone(why.clone()),
                (None, None) => PartFile::Gone("it was not read to its end".to_owned()),
                (None, Some(left)) => {
                    left.part_file(&self.path, !self.reading.follow || has_name == Some(left.identity))
                }
            };
            let Mark { from, to, unterminated, is_within_line, identity: (dev, ino), .. } = *mark;
            let unterminated = unterminated || is_within_line;
            Part { file, dev, ino, from, to, unterminated }
        });
        InputEvidence { parts: parts.collect(), path: self.path.clone() }
    }
}

impl Left {
    fn of(number: usize, file: &Generation, kept: Option<Arc<File>>, path: &Path) -> Left {
        Left { number, identity: file.identity, mark: file.mark(), kept, evidence: file.evidence(path) }
    }

    fn part_file(&self, path: &Path, has_name: bool) -> PartFile {
        match (&self.evidence, &self.kept) {
            (PartFile::Named(_), Some(kept)) if !holds(kept, &self.mark) => {
                PartFile::Gone("a file that it was has been cut or rewritten since it was read".to_owned())
            }
            (PartFile::Named(_), Some(kept)) if !has_name => PartFile::Kept(Arc::clone(kept)),
            (PartFile::Named(_), None) if !has_name => match series::find(path, self.identity) {
                Some(path) => PartFile::Named(path),
                None => PartFile::Gone("a file that it was is gone, and was one of too many to keep open".to_owned()),
            },
            (evidence, _) => evidence.clone(),
        }
    }
}

impl Mark {
    fn of(number: usize, file: &Generation, from: u64, to: u64) -> Mark {
        Mark {
            number,
            epoch: file.epoch,
            from,
            to,
            identity: file.identity,
            unterminated: false,
            is_within_line: file.buffer.is_within_line(),
            gone: None,
        }
    }

    fn goes_on_with(&self, next: &Mark) -> bool {
        (self.number, self.epoch, self.to) == (next.number, next.epoch, next.from) && !self.unterminated
    }
}

impl Name {
    fn of(error: &io::Error) -> Name {
        match error.kind() {
            io::ErrorKind::NotFound => Name::Missing(Instant::now(), false),
            _ => Name::Unreadable(error.to_string()),
        }
    }
}

impl Room {
    fn take(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

/// Opens a file to read; never waits, even if it is a FIFO.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32).open(path)
}

/// Refuses what is neither a regular file nor a FIFO.
fn refuse_special(path: &Path, metadata: &Metadata) -> Result<(), InputError> {
    let kind = match metadata.file_type() {
        kind if kind.is_file() || kind.is_fifo() => return Ok(()),
        kind if kind.is_dir() => "directory",
        kind if kind.is_socket() => "socket",
        _ => "device",
    };
    Err(InputError::NotAFile { path: path.to_owned(), kind })
}

/// Whether a file that says it is empty is not. It would be taken for one without new data, for ever.
fn hides_its_length(file: &File) -> io::Result<bool> {
    let read = file.read_at(&mut [0], 0)?;
    // It may have grown since it was asked.
    Ok(read > 0 && file.metadata()?.len() == 0)
}
