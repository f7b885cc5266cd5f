//! An input and all the files that it is, one after the other, while it is followed.
//!
//! Nothing here waits, and nothing here is async: a tail calls it where blocking is allowed, and waits by itself (`wake_sources`).
//!
//! Each file knows only those that come after it: `rotation` (what takes the name; `name` is what was last found there),
//! `generations` (the files that it is at once, and what becomes of one that was cut), `evidence` (what was handed out of which
//! file), `series` (renamed files and copies, by their names), `generation` (one file: looked at, read, compared), `buffer`
//! (bytes become lines); beside them `events`, `read_settings` and `error`.
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
//! # What is recorded
//!
//! Every line that was whole in a file of that name is handed out once, or a possible loss is recorded. A file that was cut
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
//!   With inotify such files are opened while they have the name, and that one could not be is recorded as a loss; rather one too
//!   many than one too few: a file that takes the name twice in between counts as missed once.
//! - They were written and taken away again between two looks, and all that was read before is still there.
//! - They were rewritten, and the last 256 bytes before the place up to which it was read are what they were.
//! - They were written into a file that lost its name more than five seconds ago and did not grow since; or that was, besides, one
//!   of more than 256 such files, and its inode was given to another one, which begins with the same lines.
//!
//! Two files that changed names within one tick, faster than they could be opened, may come in the wrong order if one was deleted.
//! `tests/model.rs` holds all this against random histories.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::confirm::InputEvidence;
use super::file::{Identity, Version, hides_its_length, open_file, special_kind};
use super::inotify::{Inotify, NameWatch};
use super::sink::LineBatch;
use super::tag::{tag, tagged};
pub use error::InputError;
pub use events::{Event, EventKind, EventSummary, Events};
use evidence::Allowance;
pub(crate) use evidence::KEPT_OPEN;
use generation::Generation;
use generations::{ChunkRead, Generations};
pub use read_settings::{LARGEST_MAX_LINE, MAX_LINE, ReadSettings, SMALLEST_MAX_LINE, Watch};
use rotation::Rotation;

mod buffer;
mod error;
mod events;
mod evidence;
mod generation;
mod generations;
mod name;
mod read_settings;
mod rotation;
mod series;
#[cfg(test)]
mod tests;

/// How much one look at a file reads at most, and what all inputs together read ahead at most, unless they are very many.
const CHUNK: usize = 256 << 10;
const SMALLEST_CHUNK: usize = 16 << 10;
const AHEAD: usize = 16 << 20;

/// What a look at an input found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Bytes; there may be more.
    Data,
    /// No new data.
    Nothing,
    /// Its end. What [`Input::next_lines`] still has is the last.
    End,
}

/// What is known of an input in which nothing new was found.
#[derive(Debug)]
pub(super) struct IdleInput {
    /// For how long.
    pub(super) duration: Duration,
    /// What was seen of it last, if one file is all that it is, and its name is that file's: then it need not be looked at
    /// before that is another.
    pub(super) version: Option<Version>,
}

/// An open input and how far it was read.
#[derive(Debug)]
pub struct Input {
    reading: ReadSettings,
    tag: Option<String>,
    /// How much one look reads at most.
    chunk: usize,
    generations: Generations,
    rotation: Rotation,
    /// Whether no more is looked for than was seen.
    is_last_round: bool,
}

impl Input {
    /// Opens an input. Blocking, but never on a FIFO.
    ///
    /// # Errors
    /// When it cannot be opened, or is neither a regular file nor a FIFO.
    pub(crate) fn open(path: &Path, reading: ReadSettings) -> Result<Input, InputError> {
        let named_at = SystemTime::now();
        let file = open_regular_or_fifo(path)?;
        let max_line = reading.longest_line();
        let generations = Generations::new(path, (file, named_at), max_line, reading.follow, reading.events.clone())?;
        Ok(Input {
            tag: reading.tag.then(|| tag(path)),
            chunk: SMALLEST_CHUNK.min(max_line),
            reading,
            generations,
            rotation: Rotation::new(),
            is_last_round: false,
        })
    }

    /// Inputs that are merged together: what all of them read ahead stays bounded, and what they keep open.
    pub(super) fn together(inputs: &mut [Input], output: Identity) {
        let chunk = (AHEAD / inputs.len().max(1)).clamp(SMALLEST_CHUNK, CHUNK);
        let allowance = Allowance::new();
        for input in inputs {
            input.chunk = chunk.min(input.reading.longest_line());
            input.generations.share(&allowance);
            input.rotation.output = Some(output);
        }
    }

    /// Has inotify wake its tail when it changes, and open what takes its name; where that cannot be, that is recorded.
    pub(super) fn watch_by(&mut self, inotify: &Inotify) {
        match inotify.watch(self.path()) {
            Ok(watch) => self.rotation.watch = Some(watch),
            Err(error) => self.record(EventKind::NotWatched { why: error.to_string() }),
        }
    }

    /// Which file it is: device and inode.
    pub(crate) fn identity(&self) -> (u64, u64) {
        self.generations.newest().identity
    }

    /// The input's path, as it was given.
    pub(crate) fn path(&self) -> &Path {
        self.generations.path()
    }

    /// The FIFO that it is, if it is one.
    pub(crate) fn fifo(&self) -> Option<&Arc<File>> {
        Some(self.generations.newest()).filter(|file| file.is_stream()).map(Generation::file)
    }

    /// Lines longer than the maximum so far; they were split.
    pub(crate) fn long_lines(&self) -> u64 {
        self.generations.long_lines()
    }

    /// For whom a look found nothing: what is to be known to wait for a change.
    pub(super) fn idle(&self) -> IdleInput {
        let file = self.generations.newest();
        let is_all = self.generations.open.len() == 1 && self.rotation.is_name_fine() && !file.is_stream();
        IdleInput { duration: self.generations.idle_for(), version: is_all.then(|| file.version()) }
    }

    /// What inotify sees of it.
    pub(super) fn name_watch(&self) -> Option<&NameWatch> {
        self.rotation.watch.as_ref()
    }

    /// Where what happens to it is recorded.
    pub(super) fn events(&self) -> &Events {
        &self.reading.events
    }

    pub(super) fn record(&self, kind: EventKind) {
        self.generations.record(kind);
    }

    /// Records what was seen and is left unread.
    pub(super) fn record_unread(&self) {
        self.generations.record_unread();
    }

    /// The next whole lines that were read already, with their newlines; so many at most. All are to be taken before the next
    /// look. No system call.
    pub(crate) fn next_lines(&mut self, most: usize) -> Option<LineBatch> {
        let lines = self.generations.next_lines(most)?;
        Some(match &self.tag {
            Some(tag) => tagged(tag, &lines),
            None => lines,
        })
    }

    /// Reads on, up to a chunk: first what the last round saw, then, when nothing is left of that, what a new one sees. After
    /// `closed`, or when it is not followed, one round is the last; a FIFO that is not followed ends with its writers. Blocking.
    ///
    /// # Errors
    /// When it cannot be looked at or read; it ends there.
    pub(crate) fn look(&mut self, closed: bool) -> Result<Look, InputError> {
        if self.read()? {
            return Ok(Look::Data);
        }
        if !self.is_last_round {
            if self.reading.follow {
                self.rotation.look(&mut self.generations)?;
            }
            self.generations.look(closed)?;
            self.is_last_round = closed || (!self.reading.follow && self.fifo().is_none());
            if self.read()? {
                return Ok(Look::Data);
            }
        }
        if self.is_last_round {
            self.generations.leave_all();
            return Ok(Look::End);
        }
        self.generations.rest_a_while();
        Ok(Look::Nothing)
    }

    /// Reads a chunk of what was seen; whether there was any.
    fn read(&mut self) -> Result<bool, InputError> {
        let read = self.generations.read(self.chunk)?;
        self.is_last_round |= read == ChunkRead::End && !self.reading.follow;
        Ok(read == ChunkRead::Bytes)
    }

    /// What a confirmation compares the output with: all lines that were read whole, handed out or not.
    pub(super) fn evidence(self) -> InputEvidence {
        self.generations.evidence()
    }
}

/// Opens what can be followed, and refuses all else.
fn open_regular_or_fifo(path: &Path) -> Result<File, InputError> {
    let failed = |operation| move |error| InputError::io(operation, path, error);
    let refused = |kind| InputError::NotAFile { path: path.to_owned(), kind };
    // Asked twice: opening a socket fails without saying that it is one, opening a device may have effects, and what was
    // asked about may be gone at the open.
    special_kind(&path.metadata().map_err(failed("open"))?).map_or(Ok(()), |kind| Err(refused(kind)))?;
    let file = open_file(path).map_err(failed("open"))?;
    let metadata = file.metadata().map_err(failed("look at"))?;
    special_kind(&metadata).map_or(Ok(()), |kind| Err(refused(kind)))?;
    if metadata.is_file() && metadata.len() == 0 && hides_its_length(&file).map_err(failed("read"))? {
        return Err(refused("file whose length the kernel does not tell, as in /proc"));
    }
    Ok(file)
}
