//! The files that an input is at once, the oldest first: reading them, and what becomes of those that were cut, rewritten or
//! left.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::error::InputError;
use super::events::{EventKind, Events};
use super::evidence::{Account, Allowance, Stretch};
use super::generation::{FileLook, FileRead, Generation, Mark};
use super::series;
use crate::pipeline::confirm::InputEvidence;
use crate::pipeline::file::Identity;
use crate::pipeline::sink::LineBatch;

/// How long a file that lost its name is looked at after it grew.
pub(super) const LINGER: Duration = Duration::from_secs(5);
/// How many files an input may be at once: those before are read to their end and left.
const MOST_AT_ONCE: usize = 32;

/// What the reading of a chunk came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkRead {
    /// Bytes.
    Bytes,
    /// Nothing is left of what was seen.
    Nothing,
    /// The same, and all writers have closed the FIFO.
    End,
}

/// The files that an input is, and how far each was read.
#[derive(Debug)]
pub(super) struct Generations {
    path: PathBuf,
    events: Events,
    max_line: usize,
    /// The oldest first; the last is the one that had the name when last looked at.
    pub(super) open: VecDeque<Generation>,
    /// How many there were so far; a file's number is its place among all.
    count: usize,
    /// When the newest was last seen to have the name.
    pub(super) named_at: SystemTime,
    grew_at: Instant,
    /// The last lines of files that were left without a newline.
    ready: VecDeque<LineBatch>,
    /// Lines longer than the maximum in files that were left.
    long_lines: u64,
    account: Account,
}

impl Generations {
    /// Begins with a file that was seen to have the name then.
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
            grew_at: Instant::now(),
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

    /// The file that has the name, as far as is known.
    pub(super) fn newest(&self) -> &Generation {
        self.open.back().expect("an input has a file")
    }

    /// How long nothing new was found.
    pub(super) fn idle_for(&self) -> Duration {
        // A file without a name is not watched, and may grow any moment.
        if self.open.len() > 1 { Duration::ZERO } else { self.grew_at.elapsed() }
    }

    /// Lines longer than the maximum so far; they were split.
    pub(super) fn long_lines(&self) -> u64 {
        self.long_lines + self.open.iter().map(|file| file.buffer.long_lines()).sum::<u64>()
    }

    /// What is kept open is bounded for several inputs together.
    pub(super) fn share(&mut self, allowance: &Allowance) {
        self.account.share(allowance);
    }

    pub(super) fn record(&self, kind: EventKind) {
        self.events.record(&self.path, kind);
    }

    /// Records what was seen and is left unread.
    pub(super) fn record_unread(&self) {
        for file in self.open.iter().filter(|file| file.has_unread() && !file.is_stream()) {
            self.record(EventKind::LeftUnread { offset: file.offset(), len: file.len() });
        }
    }

    /// The files that it is and was.
    pub(super) fn known(&self) -> Vec<Identity> {
        self.open.iter().map(|file| file.identity).chain(self.account.identities()).collect()
    }

    /// Files that had the name after the newest and before `file`, by other names, the oldest first.
    pub(super) fn before(&self, file: &File) -> Vec<(PathBuf, File)> {
        series::between(&self.path, (self.newest(), self.named_at), file, &self.known())
    }

    // Handing out.

    /// The next whole lines that were read already, with their newlines; so many at most.
    pub(super) fn next_lines(&mut self, most: usize) -> Option<LineBatch> {
        if let Some(lines) = self.ready.pop_front() {
            return Some(lines);
        }
        let (lines, stretch) = self.open.iter_mut().find_map(|file| {
            let from = file.buffer.at();
            let lines = file.buffer.next_lines(most)?;
            Some((lines, Stretch::of(file, from, file.buffer.at())))
        })?;
        self.account.hand_out(stretch);
        Some(lines)
    }

    /// What is left of a file after its last newline is its last line.
    fn take_rest(&mut self, index: usize) {
        let file = &mut self.open[index];
        let from = file.buffer.at();
        if let Some(lines) = file.buffer.take_rest() {
            let stretch = Stretch::of(file, from, file.buffer.at()).without_newline();
            self.ready.push_back(lines);
            self.account.hand_out(stretch);
        }
    }

    /// What a confirmation compares the output with: all lines that were read whole, handed out or not.
    pub(super) fn evidence(self) -> InputEvidence {
        self.account.evidence(self.open)
    }

    // Reading.

    /// Reads a chunk of the oldest file that has something that was seen.
    ///
    /// # Errors
    /// When it cannot be looked at or read.
    pub(super) fn read(&mut self, chunk: usize) -> Result<ChunkRead, InputError> {
        let mut end = ChunkRead::Nothing;
        while let Some(index) = self.open.iter().position(Generation::has_unread) {
            let file = &mut self.open[index];
            match file.read(chunk) {
                Err(error) => return Err(self.failed("read", error)),
                Ok(FileRead::Bytes(_)) => {
                    self.grew_at = Instant::now();
                    return Ok(ChunkRead::Bytes);
                }
                Ok(FileRead::Nothing) => {}
                Ok(FileRead::End) => end = ChunkRead::End,
                Ok(FileRead::Rewritten) => {
                    let offset = file.offset();
                    let index = self.restart(index, |copy| EventKind::Rewritten { offset, copy })?;
                    // What it holds now may be later than all that was seen of those before it.
                    for older in (0..index).rev() {
                        self.look_at(older, false)?;
                    }
                }
            }
        }
        Ok(end)
    }

    /// Looks how far each may be read: the newest first, as the [input](super) says.
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
                self.restart(index, |copy| EventKind::Rewritten { offset, copy })?;
            }
            Err((operation, error)) => return Err(self.failed(operation, error)),
        }
        Ok(())
    }

    /// Looks at a file of which nothing was read, or what was read was just found to be there.
    fn look_afresh(&mut self, index: usize) -> Result<(), InputError> {
        match self.open[index].look(false) {
            // What happened to it since, the next round finds.
            Ok(_) => Ok(()),
            Err((operation, error)) => Err(self.failed(operation, error)),
        }
    }

    fn failed(&self, operation: &'static str, error: io::Error) -> InputError {
        InputError::io(operation, &self.path, error)
    }

    // Cuts and copies.

    /// What was read of a file is not there any more: what it holds now is read from its beginning; before it, the rest of
    /// what it held, from a copy, if there is one. Both are looked at. Where the older of them is among the files then.
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
        self.record(event(copy.as_ref().map(|(path, _)| path.clone())));
        self.look_afresh(index)?;
        if let Some((_, mut copy)) = copy {
            copy.go_on_with(mark, buffer);
            self.count += 1;
            self.open.insert(index, copy);
            self.look_afresh(index)?;
        }
        Ok(index)
    }

    /// A copy that has what was read of a file, up to the mark, and the name by which it was found.
    fn copy_of(&self, index: usize, mark: &Mark) -> Option<(PathBuf, Generation)> {
        let number = self.open[index].number;
        // A file is no copy of itself; another one is, if it is not what it was.
        let known = |file: &Generation| (file.identity, file.number == number || file.mark().identifies(file.file()));
        let known: Vec<(Identity, bool)> = self.open.iter().map(known).chain(self.account.finished()).collect();
        let new = |file| Generation::new(file, self.count, self.max_line).ok();
        series::copy(&self.path, mark, self.named_at, &known, new)
    }

    /// Leaves a file that a copy was written over.
    fn drop_overwritten(&mut self, index: usize) {
        self.take_rest(index);
        let file = self.open.remove(index).expect("it was found there");
        self.long_lines += file.buffer.long_lines();
        self.account.is_overwritten(&file);
    }

    // Coming and going.

    pub(super) fn position(&self, identity: Identity) -> Option<usize> {
        self.open.iter().position(|file| file.identity == identity)
    }

    /// A file is looked at for a while more, although it did not grow.
    pub(super) fn linger(&mut self, index: usize) {
        self.open[index].grew_at = Instant::now();
    }

    /// The same, of the newest: however long it was quiet, its writer may not know yet that its name is another's.
    pub(super) fn linger_at_newest(&mut self) {
        self.linger(self.open.len() - 1);
    }

    /// An older file has the name again.
    pub(super) fn make_newest(&mut self, index: usize) {
        let file = self.open.remove(index).expect("it was found there");
        self.open.push_back(file);
    }

    /// Takes on a file that has the name or had it after the newest; it goes on where it was left, if it is one of those before.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub(super) fn add(&mut self, file: File) -> Result<(), InputError> {
        let mut file = self.generation(file)?;
        if let Some(before) = self.account.last_of(file.identity) {
            if before.mark.is_in(file.file()) {
                file.go_on_at(before.mark.clone());
            } else if before.kept.is_some() {
                // Only of one that was kept open it is certain that it is the same.
                self.record(EventKind::Rewritten { offset: before.mark.offset, copy: None });
            }
        }
        self.push(file);
        self.grew_at = Instant::now();
        Ok(())
    }

    fn generation(&self, file: File) -> Result<Generation, InputError> {
        Generation::new(file, self.count, self.max_line).map_err(|error| self.failed("look at", error))
    }

    fn push(&mut self, file: Generation) {
        self.count += 1;
        self.open.push_back(file);
    }

    /// Nothing new was found: leaves files without a name that did not grow for a while, and the oldest of too many, and gives
    /// memory back. All were just read to their ends.
    pub(super) fn rest_a_while(&mut self) {
        while self.open.len() > 1 && (self.open.len() > MOST_AT_ONCE || self.open[0].grew_at.elapsed() >= LINGER) {
            self.leave_oldest();
        }
        self.open.iter_mut().for_each(|file| file.buffer.rest_a_while());
    }

    /// Nothing more comes.
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
