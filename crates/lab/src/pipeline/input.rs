//! An input, and all the files that have its name, one after the other, while it is followed.
//!
//! Nothing here waits or is async: a tail calls it where blocking is allowed, and waits by itself (`wake_sources`).
//!
//! Each module knows only those after it: `rotation` (which files take the name; `name` is what the last look found there, `gap` what
//! times prove),
//! `generations` (the files that the input consists of now, and what happens when one is cut), `evidence` (what was handed out of
//! which file), `series` (renamed files and copies, by their names), `generation` (one file: looked at, read, compared), `buffer`
//! (bytes become lines); beside them `events`, `read_settings` and `error`.
//!
//! # Order
//!
//! A writer that goes on to a new file has written everything to the old one before. So each round looks at the newest file's
//! length first and at the oldest's last, and then reads them from the oldest to the newest, each up to that length. A line of the
//! new file is then never read before a line that was in the old file when it was written. The old file is looked at for some
//! seconds more, since a writer can learn late that its file was renamed. Its late lines keep their order, but may come before older
//! lines of the new file. A last line without a newline comes when the file is left, since its writer may still complete it.
//!
//! # What is recorded
//!
//! Every complete line of a file of that name is handed out once, or a possible loss is recorded. A file that was cut or
//! rewritten is read again from its beginning: the lines that it still has come again, and no others. Before that, a copy
//! of it is read to its end, if there is one in the name's folder with a name made from the input's.
//!
//! # What cannot be known
//!
//! Lines are lost without a record only where a file left no trace:
//!
//! - It had the name only between two looks, within one tick of the clock (4 to 10 ms), and was deleted, and no event told of it:
//!   inotify does not watch its folder, or another computer wrote it. Everything else is recorded: with inotify, each taking of the
//!   name of which the file was not opened, lost events, and a folder that was replaced; without, whatever times do not exclude.
//!   That records too many losses rather than too few.
//! - The lines were written and removed between two looks, and everything read before is still there.
//! - The file was rewritten, and the last 256 bytes before the end of what was read are the same as before.
//! - The lines were written to a file that had lost its name and not grown for more than five seconds; or that was one of more than
//!   256 such files, and its inode now belongs to another file, which begins with the same lines.
//!
//! `tests/model.rs` checks all this against random histories.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pollscope_base::reason;

use super::clock;
use super::confirm::InputEvidence;
use super::file::{Identity, Version, hides_its_length, open_file, special_kind};
use super::inotify::{Inotify, NameWatch};
use super::sink::LineBatch;
use super::tag::{tag, tagged};
pub use error::InputError;
pub use events::{Event, EventKind, EventSummary, Events, Unseen};
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
mod gap;
mod generation;
mod generations;
mod name;
mod read_settings;
mod rotation;
mod series;
#[cfg(test)]
mod tests;

/// The most bytes that one look at a file reads, and that all inputs together read ahead, unless there are very many.
const CHUNK: usize = 256 << 10;
const SMALLEST_CHUNK: usize = 16 << 10;
const AHEAD: usize = 16 << 20;

/// What a look at an input found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// It read bytes; there may be more.
    Data,
    /// There is no new data.
    Nothing,
    /// The input has ended. [`Input::next_lines`] has the last lines.
    End,
}

/// What a tail needs to know to wait after a look that found nothing new.
#[derive(Debug)]
pub(super) struct IdleInput {
    /// The time without new data.
    pub(super) duration: Duration,
    /// The last version, if the input is one file and its name is that file's: then the next look can wait for another version.
    pub(super) version: Option<Version>,
}

/// An open input and how far it was read.
#[derive(Debug)]
pub struct Input {
    reading: ReadSettings,
    tag: Option<String>,
    /// The most bytes that one look reads.
    chunk: usize,
    generations: Generations,
    rotation: Rotation,
    /// Whether to look for no more than the last look saw.
    is_last_round: bool,
}

impl Input {
    /// Opens an input. Blocking, but never on a FIFO.
    ///
    /// # Errors
    /// When it cannot be opened, or is not a regular file or a FIFO.
    pub(crate) fn open(path: &Path, reading: ReadSettings) -> Result<Input, InputError> {
        let named_at = clock::now();
        let file = open_regular_or_fifo(path)?;
        let max_line = reading.longest_line();
        let generations = Generations::new(path, (file, named_at), max_line, reading.follow, reading.events.clone())?;
        let mut rotation = Rotation::new();
        if reading.follow {
            rotation.begin(&generations);
        }
        Ok(Input {
            tag: reading.tag.then(|| tag(path)),
            chunk: SMALLEST_CHUNK.min(max_line),
            reading,
            generations,
            rotation,
            is_last_round: false,
        })
    }

    /// Prepares inputs to be merged together: bounds what all of them read ahead and keep open.
    pub(super) fn together(inputs: &mut [Input], output: Identity) {
        let chunk = (AHEAD / inputs.len().max(1)).clamp(SMALLEST_CHUNK, CHUNK);
        let allowance = Allowance::new();
        for input in inputs {
            input.chunk = chunk.min(input.reading.longest_line());
            input.generations.share(&allowance);
            input.rotation.output = Some(output);
        }
    }

    /// Makes inotify open files that take its name and, if it is watched so, wake its tail when it changes. Records it if inotify
    /// cannot.
    pub(super) fn watch_by(&mut self, inotify: &Inotify) {
        let is_waking = self.reading.watch == Watch::Inotify;
        let not_watched = |error: io::Error| EventKind::NotWatched { why: reason(&error) };
        match inotify.watch(self.path(), self.identity()) {
            Ok(watch) => {
                if is_waking && let Err(error) = watch.watch_file() {
                    self.record(not_watched(error));
                }
                self.rotation.watches_files = is_waking;
                self.rotation.watch = Some(watch);
            }
            Err(error) if is_waking => self.record(not_watched(error)),
            Err(_) => {}
        }
    }

    /// Its device and inode.
    pub(crate) fn identity(&self) -> (u64, u64) {
        self.generations.newest().identity
    }

    /// Its path, as given.
    pub(crate) fn path(&self) -> &Path {
        self.generations.path()
    }

    /// Its open file, if it is a FIFO.
    pub(crate) fn fifo(&self) -> Option<&Arc<File>> {
        Some(self.generations.newest()).filter(|file| file.is_stream()).map(Generation::file)
    }

    /// The number of lines so far that exceeded the maximum and were split.
    pub(crate) fn long_lines(&self) -> u64 {
        self.generations.long_lines()
    }

    /// What its tail needs to know to wait for a change.
    pub(super) fn idle(&self) -> IdleInput {
        let file = self.generations.newest();
        let is_all = self.generations.open.len() == 1 && self.rotation.is_name_fine() && !file.is_stream();
        IdleInput { duration: self.generations.idle_for(), version: is_all.then(|| file.version()) }
    }

    /// The watch by inotify that wakes its tail, if any.
    pub(super) fn name_watch(&self) -> Option<&NameWatch> {
        self.rotation.watch.as_ref().filter(|_| self.reading.watch == Watch::Inotify)
    }

    /// The events that record what happens to it.
    pub(super) fn events(&self) -> &Events {
        &self.reading.events
    }

    pub(super) fn record(&self, kind: EventKind) {
        self.generations.record(kind);
    }

    /// Records what a look saw and no read got.
    pub(super) fn record_unread(&self) {
        self.generations.record_unread();
    }

    /// The next complete lines that were already read, with their newlines; at most `most`. Take all of them before the next
    /// look. Makes no system call.
    pub(crate) fn next_lines(&mut self, most: usize) -> Option<LineBatch> {
        let lines = self.generations.next_lines(most)?;
        Some(match &self.tag {
            Some(tag) => tagged(tag, &lines),
            None => lines,
        })
    }

    /// Reads the next chunk: first what the last round of looks saw, then what a new round sees. With `closed`, or if it is not
    /// followed, that round is the last; a FIFO that is not followed ends with its writers. Blocking.
    ///
    /// # Errors
    /// When it cannot be looked at or read; then it ends.
    pub(crate) fn look(&mut self, closed: bool) -> Result<Look, InputError> {
        if self.read()? {
            return Ok(Look::Data);
        }
        if !self.is_last_round {
            if self.reading.follow {
                self.rotation.look(&mut self.generations, closed)?;
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

    /// Reads a chunk of what a look saw; returns whether there was any.
    fn read(&mut self) -> Result<bool, InputError> {
        let read = self.generations.read(self.chunk)?;
        self.is_last_round |= read == ChunkRead::End && !self.reading.follow;
        Ok(read == ChunkRead::Bytes)
    }

    /// The evidence that a confirmation compares the output with: all complete lines that were read, handed out or not.
    pub(super) fn evidence(self) -> InputEvidence {
        self.generations.evidence()
    }
}

/// Opens a regular file or a FIFO, and refuses everything else.
fn open_regular_or_fifo(path: &Path) -> Result<File, InputError> {
    let failed = |operation| move |error| InputError::io(operation, path, error);
    let refused = |kind| InputError::NotAFile { path: path.to_owned(), kind };
    // Checked twice: the error of opening a socket does not say that it is one, opening a device can have effects, and another
    // file can take the name before the open.
    special_kind(&path.metadata().map_err(failed("open"))?).map_or(Ok(()), |kind| Err(refused(kind)))?;
    let file = open_file(path).map_err(failed("open"))?;
    let metadata = file.metadata().map_err(failed("look at"))?;
    special_kind(&metadata).map_or(Ok(()), |kind| Err(refused(kind)))?;
    if metadata.is_file() && metadata.len() == 0 && hides_its_length(&file).map_err(failed("read"))? {
        return Err(refused("file whose length the kernel does not tell, as in /proc"));
    }
    Ok(file)
}
