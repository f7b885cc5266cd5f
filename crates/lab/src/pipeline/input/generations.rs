//! The files that an input consists of at one time, the oldest first: reads them, and handles those that were cut, rewritten or left.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::error::InputError;
use super::events::{EventKind, Events};
use super::evidence::{Account, Allowance, Stretch};
use super::generation::{FileLook, FileRead, Generation, Mark};
use super::series::{self, Between, Listing};
use crate::pipeline::clock;
use crate::pipeline::confirm::InputEvidence;
use crate::pipeline::file::Identity;
use crate::pipeline::planted::{Planted, is_planted};
use crate::pipeline::sink::LineBatch;

/// How long to look at a file that lost its name after it last grew.
pub(super) const LINGER: Duration = Duration::from_secs(5);
/// The most files that an input consists of at one time: older ones are read to their ends and left.
const MOST_AT_ONCE: usize = 32;

/// The result of reading a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkRead {
    /// It read bytes.
    Bytes,
    /// Everything that the last look saw is read.
    Nothing,
    /// The same, and all writers closed the FIFO.
    End,
}

/// The files that an input consists of, and how far each was read.
#[derive(Debug)]
pub(super) struct Generations {
    path: PathBuf,
    events: Events,
    max_line: usize,
    /// The oldest first; the last one had the name at the last look.
    pub(super) open: VecDeque<Generation>,
    /// The number of files so far; a file's number is its place among all.
    count: usize,
    /// When a look last saw that the newest has the name.
    pub(super) named_at: SystemTime,
    grew_at: Instant,
    /// The last lines, without a newline in the file, of files that were left.
    ready: VecDeque<LineBatch>,
    /// The number of lines that exceeded the maximum in files that were left.
    long_lines: u64,
    account: Account,
}

impl Generations {
    /// Begins with a file that had the name at the given time.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub(super) fn new(
        path: &Path,
        (file, named_at): (File, SystemTime),
        max_line: usize,
        is_followed: bool,
        events: Events,
    ) -> Result<Generations, InputError> {
        let mut generations = Generations {
            path: path.to_owned(),
            events,
            max_line,
            open: VecDeque::with_capacity(1),
            count: 0,
            named_at,
            grew_at: clock::instant(),
            ready: VecDeque::new(),
            long_lines: 0,
            account: Account::new(path, is_followed),
        };
        let file = generations.generation(file)?;
        generations.push(file);
        Ok(generations)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file that has the name, as of the last look.
    pub(super) fn newest(&self) -> &Generation {
        self.open.back().expect("an input has a file")
    }

    /// The time without new data.
    pub(super) fn idle_for(&self) -> Duration {
        // A file without a name is not watched, and can grow at any moment.
        if self.open.len() > 1 { Duration::ZERO } else { clock::since(self.grew_at) }
    }

    /// The number of lines so far that exceeded the maximum and were split.
    pub(super) fn long_lines(&self) -> u64 {
        self.long_lines + self.open.iter().map(|file| file.buffer.long_lines()).sum::<u64>()
    }

    /// Shares the bound on open files with other inputs.
    pub(super) fn share(&mut self, allowance: &Allowance) {
        self.account.share(allowance);
    }

    pub(super) fn record(&self, kind: EventKind) {
        self.events.record(&self.path, kind);
    }

    /// Records what a look saw and no read got.
    pub(super) fn record_unread(&self) {
        for file in self.open.iter().filter(|file| file.has_unread() && !file.is_stream()) {
            self.record(EventKind::LeftUnread { offset: file.offset(), len: file.len() });
        }
    }

    /// Whether a file is one of its present or former files.
    fn is_known(&self, identity: Identity, file: &File) -> bool {
        self.position(identity).is_some() || self.account.has_finished(identity, file)
    }

    /// Finds by other names the files that had the name after the newest and before `file`, or before now.
    pub(super) fn before(&self, file: Option<&File>, listing: &Listing) -> Between {
        let is_known = |identity, file: &File| self.is_known(identity, file);
        series::between(&self.path, (self.newest(), self.named_at, listing), file, is_known)
    }

    // Lines.

    /// The next complete lines that were already read, with their newlines; at most `most`.
    pub(super) fn next_lines(&mut self, most: usize) -> Option<LineBatch> {
        if let Some(lines) = self.ready.pop_front() {
            return Some(lines);
        }
        let (lines, stretch) = self.open.iter_mut().find_map(|file| {
            let from = file.buffer.at();
            let lines = file.buffer.next_lines(most)?;
            Some((lines, Stretch::of(file, from, file.buffer.at())))
        })?;
        self.account.hand_out(stretch, &lines.bytes);
        Some(lines)
    }

    /// Makes the rest after a file's last newline its last line.
    fn take_rest(&mut self, index: usize) {
        let file = &mut self.open[index];
        let from = file.buffer.at();
        if let Some(lines) = file.buffer.take_rest() {
            let stretch = Stretch::of(file, from, file.buffer.at()).without_newline();
            self.account.hand_out(stretch, &lines.bytes);
            self.ready.push_back(lines);
        }
    }

    /// The evidence that a confirmation compares the output with: all complete lines that were read, handed out or not.
    pub(super) fn evidence(self) -> InputEvidence {
        self.account.evidence(self.open)
    }

    // Reads and looks.

    /// Reads a chunk of the oldest file of which a look saw more than is read.
    ///
    /// # Errors
    /// When it cannot be looked at or read.
    pub(super) fn read(&mut self, chunk: usize) -> Result<ChunkRead, InputError> {
        let mut end = ChunkRead::Nothing;
        while let Some(index) = self.open.iter().position(Generation::has_unread) {
            self.end_copies(index);
            let file = &mut self.open[index];
            match file.read(chunk) {
                Err(error) => return Err(self.failed("read", error)),
                Ok(FileRead::Bytes(_)) => {
                    self.grew_at = clock::instant();
                    return Ok(ChunkRead::Bytes);
                }
                Ok(FileRead::Nothing) => {}
                Ok(FileRead::End) => end = ChunkRead::End,
                Ok(FileRead::Rewritten) => {
                    let (offset, len) = (file.offset(), file.len_now());
                    let index = self.restart(index, |copy| EventKind::Rewritten { offset, len, copy })?;
                    // Its new content may be younger than what the looks saw of the files before it.
                    for older in (0..index).rev() {
                        self.look_at(older, false)?;
                    }
                }
            }
        }
        Ok(end)
    }

    /// Makes what copies have after their last newlines lines, before a younger file is read. Whoever cuts a log made the copy before, and
    /// nobody completes its last line: that may have been copied while it was written.
    fn end_copies(&mut self, before: usize) {
        let is_at_end = |index: &usize| self.open[*index].is_copy;
        for index in (0..before).filter(is_at_end).collect::<Vec<_>>() {
            self.take_rest(index);
        }
    }

    /// Looks how far to read each file: the newest first, for the reason in the [input](super)'s documentation.
    ///
    /// # Errors
    /// When one cannot be looked at.
    pub(super) fn look(&mut self, closely: bool) -> Result<(), InputError> {
        (0..self.open.len()).rev().try_for_each(|index| self.look_at(index, closely))
    }

    fn look_at(&mut self, index: usize, closely: bool) -> Result<(), InputError> {
        let file = &mut self.open[index];
        let offset = file.offset();
        match file.look(closely) {
            Ok(FileLook::Same) => {}
            Ok(FileLook::Cut { len }) => {
                self.restart(index, |copy| EventKind::Cut { offset, len, copy })?;
            }
            Ok(FileLook::Rewritten) => {
                let len = file.len_now();
                self.restart(index, |copy| EventKind::Rewritten { offset, len, copy })?;
            }
            Err((operation, error)) => return Err(self.failed(operation, error)),
        }
        Ok(())
    }

    /// Looks at a file that is new, or whose content was just compared.
    fn look_afresh(&mut self, index: usize) -> Result<(), InputError> {
        match self.open[index].look(false) {
            // The next round finds what happened to it meanwhile.
            Ok(_) => Ok(()),
            Err((operation, error)) => Err(self.failed(operation, error)),
        }
    }

    fn failed(&self, operation: &'static str, error: io::Error) -> InputError {
        InputError::io(operation, &self.path, error)
    }

    // Cuts and copies.

    /// Handles a file that no longer has what was read of it: reads its new content from the beginning, and before that the rest of the
    /// old content from a copy, if there is one. Looks at both. Returns the index of the older one among the files.
    fn restart(
        &mut self,
        mut index: usize,
        event: impl FnOnce(Option<PathBuf>) -> EventKind,
    ) -> Result<usize, InputError> {
        let mark = self.open[index].mark();
        let copy = self.copy_of(index, &mark);
        if let Some((_, copy)) = &copy {
            if let Some(overwritten) = self.position(copy.identity) {
                self.drop_overwritten(overwritten);
                index -= usize::from(overwritten < index);
            }
            self.account.is_in_copy(&self.open[index], copy);
        } else {
            self.take_rest(index);
            self.long_lines += self.open[index].buffer.long_lines();
            self.account.is_lost(&self.open[index], "it was cut or rewritten while it was followed");
        }
        let buffer = self.open[index].restart();
        let event = event(copy.as_ref().map(|(path, _)| path.clone()));
        if is_planted(Planted::NeedlessLoss) {
            self.record(event.clone());
        }
        self.record(event);
        self.look_afresh(index)?;
        if let Some((_, mut copy)) = copy {
            copy.go_on_with(mark, buffer);
            copy.is_copy = true;
            self.count += 1;
            self.open.insert(index, copy);
            self.look_afresh(index)?;
        }
        Ok(index)
    }

    /// A copy that has what was read of a file, up to the mark, and the copy's name.
    fn copy_of(&self, index: usize, mark: &Mark) -> Option<(PathBuf, Generation)> {
        let number = self.open[index].number;
        // A file is no copy of itself; a former file can be a copy if its content has changed.
        let known = |file: &Generation| (file.identity, file.number == number || file.mark().identifies(file.file()));
        let known: Vec<(Identity, bool)> = self.open.iter().map(known).chain(self.account.finished()).collect();
        let new = |file| Generation::new(file, self.count, self.max_line).ok();
        series::copy(&self.path, mark, self.named_at, &known, new)
    }

    /// Removes a file that a copy was written over.
    fn drop_overwritten(&mut self, index: usize) {
        self.take_rest(index);
        let file = self.open.remove(index).expect("it was found there");
        self.long_lines += file.buffer.long_lines();
        self.account.is_overwritten(&file);
    }

    // Files that come and go.

    pub(super) fn position(&self, identity: Identity) -> Option<usize> {
        self.open.iter().position(|file| file.identity == identity)
    }

    /// Goes on looking at a file for a while, even if it did not grow.
    pub(super) fn linger(&mut self, index: usize) {
        self.open[index].grew_at = clock::instant();
    }

    /// The same for the newest: even if it was idle for long, its writer may not know yet that it lost its name.
    pub(super) fn linger_at_newest(&mut self) {
        self.linger(self.open.len() - 1);
    }

    /// Makes an older file the newest: it has the name again.
    pub(super) fn make_newest(&mut self, index: usize) {
        let file = self.open.remove(index).expect("it was found there");
        self.open.push_back(file);
    }

    /// Adds a file that has the name, or had it after the newest; if it is a former file, goes on where it was left.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub(super) fn add(&mut self, file: File) -> Result<(), InputError> {
        let mut file = self.generation(file)?;
        if let Some(before) = self.account.last_of(file.identity) {
            if before.mark.is_in(file.file()) {
                file.go_on_at(before.mark.clone());
            } else if before.kept.is_some() {
                // Only a file that was kept open is certainly the same.
                let (offset, len) = (before.mark.offset, file.len_now());
                self.record(EventKind::Rewritten { offset, len, copy: None });
            }
        }
        self.push(file);
        self.grew_at = clock::instant();
        Ok(())
    }

    fn generation(&self, file: File) -> Result<Generation, InputError> {
        Generation::new(file, self.count, self.max_line).map_err(|error| self.failed("look at", error))
    }

    fn push(&mut self, file: Generation) {
        self.count += 1;
        self.open.push_back(file);
    }

    /// After a round that found nothing new, with all files read to their ends: leaves files without a name that did not grow for a
    /// while, and the oldest if there are too many, and frees memory.
    pub(super) fn rest_a_while(&mut self) {
        while self.open.len() > 1 && (self.open.len() > MOST_AT_ONCE || clock::since(self.open[0].grew_at) >= LINGER) {
            self.leave_oldest();
        }
        self.open.iter_mut().for_each(|file| file.buffer.rest_a_while());
    }

    /// Leaves all files: the input has ended.
    pub(super) fn leave_all(&mut self) {
        while !self.open.is_empty() {
            self.leave_oldest();
        }
    }

    fn leave_oldest(&mut self) {
        self.take_rest(0);
        if let Some(file) = self.open.pop_front() {
            self.long_lines += file.buffer.long_lines();
            self.account.finish(&file);
        }
    }
}
