//! Keeps account of what was handed out of which file, for a confirmation to compare the output with.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::generation::{Generation, Mark};
use super::series;
use crate::pipeline::checksum::Checksum;
use crate::pipeline::confirm::{InputEvidence, Part, PartChecksum, PartFile};
use crate::pipeline::file::{Identity, identity};

/// The most files that lost their names to keep open until the merge is confirmed, of all inputs together.
pub(crate) const KEPT_OPEN: usize = 256;

/// The number of files that may still be kept open until the merge is confirmed. The inputs of a merge share one allowance.
#[derive(Debug, Clone)]
pub(super) struct Allowance(Arc<AtomicUsize>);

impl Allowance {
    pub(super) fn new() -> Allowance {
        Allowance(Arc::new(AtomicUsize::new(KEPT_OPEN)))
    }

    fn take(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

/// The lines that were handed out, and the files that were read to their ends.
#[derive(Debug)]
pub(super) struct Account {
    path: PathBuf,
    is_followed: bool,
    allowance: Allowance,
    /// In the order in which the lines were handed out.
    stretches: Vec<Stretch>,
    finished: Vec<FinishedFile>,
}

/// Consecutive lines of one file that were handed out.
#[derive(Debug)]
pub(super) struct Stretch {
    /// The generation's number, and its epoch.
    number: usize,
    epoch: u32,
    identity: Identity,
    from: u64,
    to: u64,
    unterminated: bool,
    /// Whether the last of them is a piece of a line that goes on: it was delivered with a newline that the file does not have.
    is_within_line: bool,
    /// Why the file no longer has them, if so.
    gone: Option<String>,
    /// Of the file's bytes.
    checksum: Checksum,
}

impl Stretch {
    pub(super) fn of(file: &Generation, from: u64, to: u64) -> Stretch {
        Stretch {
            checksum: Checksum::new(),
            number: file.number,
            epoch: file.epoch,
            identity: file.identity,
            from,
            to,
            unterminated: false,
            is_within_line: file.buffer.is_within_line(),
            gone: None,
        }
    }

    /// Its last line has no newline in the file.
    pub(super) fn without_newline(self) -> Stretch {
        Stretch { unterminated: true, ..self }
    }

    /// Whether its lines are from a generation in its present epoch.
    fn is_of(&self, file: &Generation) -> bool {
        (self.number, self.epoch) == (file.number, file.epoch)
    }

    fn goes_on_with(&self, next: &Stretch) -> bool {
        (self.number, self.epoch, self.to) == (next.number, next.epoch, next.from) && !self.unterminated
    }
}

/// A file that was read to its end.
#[derive(Debug)]
pub(super) struct FinishedFile {
    number: usize,
    identity: Identity,
    pub(super) mark: Mark,
    pub(super) kept: Option<Arc<File>>,
    evidence: PartFile,
}

impl FinishedFile {
    fn of(file: &Generation, kept: Option<Arc<File>>, path: &Path) -> FinishedFile {
        let (number, identity, mark) = (file.number, file.identity, file.mark());
        FinishedFile { number, identity, mark, kept, evidence: file.evidence(path) }
    }

    fn part_file(&self, path: &Path, has_name: bool) -> PartFile {
        match (&self.evidence, &self.kept) {
            (PartFile::Named(_), Some(kept)) if !self.mark.is_in(kept) => {
                PartFile::Gone("one of its files was cut or rewritten after it was read".to_owned())
            }
            (PartFile::Named(_), Some(kept)) if !has_name => PartFile::Kept(Arc::clone(kept)),
            (PartFile::Named(_), None) if !has_name => match series::find(path, self.identity) {
                Some(path) => PartFile::Named(path),
                None => PartFile::Gone("one of its files is gone, and there were too many to keep it open".to_owned()),
            },
            (evidence, _) => evidence.clone(),
        }
    }
}

impl Account {
    pub(super) fn new(path: &Path, is_followed: bool) -> Account {
        let allowance = Allowance::new();
        Account { path: path.to_owned(), is_followed, allowance, stretches: Vec::new(), finished: Vec::new() }
    }

    pub(super) fn share(&mut self, allowance: &Allowance) {
        self.allowance = allowance.clone();
    }

    /// Adds lines that were handed out.
    pub(super) fn hand_out(&mut self, mut stretch: Stretch, lines: &[u8]) {
        // The last may have a newline that the file does not have.
        let len = usize::try_from(stretch.to - stretch.from).unwrap_or(lines.len());
        let lines = lines.get(..len).unwrap_or(lines);
        if lines.is_empty() {
            return;
        }
        match self.stretches.last_mut() {
            Some(last) if last.goes_on_with(&stretch) => {
                last.to = stretch.to;
                (last.unterminated, last.is_within_line) = (stretch.unterminated, stretch.is_within_line);
                last.checksum.add(lines);
            }
            _ => {
                stretch.checksum.add(lines);
                self.stretches.push(stretch);
            }
        }
    }

    /// Notes that a copy has what was handed out of a generation in its present epoch.
    pub(super) fn is_in_copy(&mut self, file: &Generation, copy: &Generation) {
        for stretch in self.stretches.iter_mut().filter(|stretch| stretch.is_of(file)) {
            (stretch.number, stretch.epoch, stretch.identity) = (copy.number, copy.epoch, copy.identity);
        }
    }

    /// Notes that no file has what was handed out of a generation in its present epoch.
    pub(super) fn is_lost(&mut self, file: &Generation, why: &str) {
        for stretch in self.stretches.iter_mut().filter(|stretch| stretch.is_of(file)) {
            stretch.gone = Some(why.to_owned());
        }
    }

    /// Notes that a copy was written over a generation: no file has what was handed out of it in any epoch.
    pub(super) fn is_overwritten(&mut self, file: &Generation) {
        for stretch in self.stretches.iter_mut().filter(|stretch| stretch.number == file.number) {
            stretch.gone.get_or_insert_with(|| "a copy was written over it".to_owned());
        }
    }

    /// Takes a generation that was read to its end, and keeps it open if that is allowed.
    pub(super) fn finish(&mut self, file: &Generation) {
        let kept = (self.is_followed && self.allowance.take()).then(|| Arc::clone(file.file()));
        self.finished.push(FinishedFile::of(file, kept, &self.path));
    }

    /// The files that were read to their ends, and whether each is certainly unchanged.
    pub(super) fn finished(&self) -> impl Iterator<Item = (Identity, bool)> {
        self.finished.iter().map(|file| {
            let is_as_it_was = file.kept.as_ref().is_none_or(|kept| file.mark.identifies(kept));
            (file.identity, is_as_it_was)
        })
    }

    /// Whether a file is one that was read to its end. One that was not kept open may be gone, and another may have its inode.
    pub(super) fn has_finished(&self, identity: Identity, file: &File) -> bool {
        let of = |finished: &FinishedFile| finished.kept.is_some() || finished.mark.identifies(file);
        self.finished.iter().any(|finished| finished.identity == identity && of(finished))
    }

    /// The place up to which a file was read when it was last left.
    pub(super) fn last_of(&self, identity: Identity) -> Option<&FinishedFile> {
        self.finished.iter().rfind(|file| file.identity == identity)
    }

    /// All complete lines that were read, handed out or not; also of files that are still `open`.
    pub(super) fn evidence(mut self, open: VecDeque<Generation>) -> InputEvidence {
        for file in &open {
            let rest = Stretch::of(file, file.buffer.at(), file.buffer.whole_to());
            self.hand_out(Stretch { is_within_line: false, ..rest }, file.buffer.whole_lines());
            let kept = Some(Arc::clone(file.file()));
            self.finished.push(FinishedFile::of(file, kept, &self.path));
        }
        let has_name = self.path.metadata().ok().map(|metadata| identity(&metadata));
        let mut parts: Vec<Part> = self.stretches.iter().map(|stretch| self.part(stretch, has_name)).collect();
        if parts.is_empty()
            && let Some(last) = self.finished.last()
        {
            let (dev, ino) = last.identity;
            parts.push(Part {
                file: self.file_of(last, has_name),
                dev,
                ino,
                from: 0,
                to: 0,
                unterminated: false,
                checksum: None,
            });
        }
        InputEvidence { parts, path: self.path }
    }

    fn part(&self, stretch: &Stretch, has_name: Option<Identity>) -> Part {
        let finished = self.finished.iter().find(|file| file.number == stretch.number);
        let file = match (&stretch.gone, finished) {
            (Some(why), _) => PartFile::Gone(why.clone()),
            (None, None) => PartFile::Gone("it was not read to its end".to_owned()),
            (None, Some(finished)) => self.file_of(finished, has_name),
        };
        let Stretch { from, to, unterminated, is_within_line, identity: (dev, ino), .. } = *stretch;
        let checksum = Some(PartChecksum(stretch.checksum));
        Part { file, dev, ino, from, to, unterminated: unterminated || is_within_line, checksum }
    }

    fn file_of(&self, finished: &FinishedFile, has_name: Option<Identity>) -> PartFile {
        finished.part_file(&self.path, !self.is_followed || has_name == Some(finished.identity))
    }
}
