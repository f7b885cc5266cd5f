//! What was handed out of which file: what a confirmation compares the output with.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::generation::{Generation, Mark};
use super::series;
use crate::pipeline::confirm::{InputEvidence, Part, PartFile};
use crate::pipeline::file::{Identity, identity};

/// How many files that lost their names are kept open until the merge is confirmed, for all inputs together.
pub(crate) const KEPT_OPEN: usize = 256;

/// How many more files may be kept open until the merge is confirmed. The inputs of a merge share one.
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

/// What was handed out, and the files that were read to their ends.
#[derive(Debug)]
pub(super) struct Account {
    path: PathBuf,
    is_followed: bool,
    allowance: Allowance,
    /// In the order in which they were handed out.
    stretches: Vec<Stretch>,
    finished: Vec<FinishedFile>,
}

/// Lines that were handed out of one file, one after the other.
#[derive(Debug)]
pub(super) struct Stretch {
    /// Which generation, and which epoch of it.
    number: usize,
    epoch: u32,
    identity: Identity,
    from: u64,
    to: u64,
    unterminated: bool,
    /// Whether the last of them is a piece of a line that goes on: it was delivered with a newline that the file has not.
    is_within_line: bool,
    /// Why the file does not hold them any more.
    gone: Option<String>,
}

impl Stretch {
    pub(super) fn of(file: &Generation, from: u64, to: u64) -> Stretch {
        Stretch {
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

    /// Whether it was handed out of a generation in its present epoch.
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

impl Account {
    pub(super) fn new(path: &Path, is_followed: bool) -> Account {
        let allowance = Allowance::new();
        Account { path: path.to_owned(), is_followed, allowance, stretches: Vec::new(), finished: Vec::new() }
    }

    pub(super) fn share(&mut self, allowance: &Allowance) {
        self.allowance = allowance.clone();
    }

    /// Lines were handed out.
    pub(super) fn hand_out(&mut self, stretch: Stretch) {
        if stretch.from == stretch.to {
            return;
        }
        match self.stretches.last_mut() {
            Some(last) if last.goes_on_with(&stretch) => {
                last.to = stretch.to;
                (last.unterminated, last.is_within_line) = (stretch.unterminated, stretch.is_within_line);
            }
            _ => self.stretches.push(stretch),
        }
    }

    /// What was handed out of a generation in its present epoch is in its copy now.
    pub(super) fn is_in_copy(&mut self, file: &Generation, copy: &Generation) {
        for stretch in self.stretches.iter_mut().filter(|stretch| stretch.is_of(file)) {
            (stretch.number, stretch.epoch, stretch.identity) = (copy.number, copy.epoch, copy.identity);
        }
    }

    /// What was handed out of a generation in its present epoch is nowhere any more.
    pub(super) fn is_lost(&mut self, file: &Generation, why: &str) {
        for stretch in self.stretches.iter_mut().filter(|stretch| stretch.is_of(file)) {
            stretch.gone = Some(why.to_owned());
        }
    }

    /// A copy was written over a generation: what was ever handed out of it is nowhere any more.
    pub(super) fn is_overwritten(&mut self, file: &Generation) {
        for stretch in self.stretches.iter_mut().filter(|stretch| stretch.number == file.number) {
            stretch.gone.get_or_insert_with(|| "a copy was written over it".to_owned());
        }
    }

    /// A generation was read to its end and is left. It is kept open, if that is allowed.
    pub(super) fn finish(&mut self, file: &Generation) {
        let kept = (self.is_followed && self.allowance.take()).then(|| Arc::clone(file.file()));
        self.finished.push(FinishedFile::of(file, kept, &self.path));
    }

    /// The files that were read to their ends, and whether each is as it was then, as far as can be known.
    pub(super) fn finished(&self) -> impl Iterator<Item = (Identity, bool)> {
        self.finished.iter().map(|file| {
            let is_as_it_was = file.kept.as_ref().is_none_or(|kept| file.mark.identifies(kept));
            (file.identity, is_as_it_was)
        })
    }

    /// Which files were read to their ends.
    pub(super) fn identities(&self) -> impl Iterator<Item = Identity> {
        self.finished.iter().map(|file| file.identity)
    }

    /// How far a file was read, when it was last left.
    pub(super) fn last_of(&self, identity: Identity) -> Option<&FinishedFile> {
        self.finished.iter().rfind(|file| file.identity == identity)
    }

    /// All lines that were read whole, handed out or not; of files that are still `open`, too.
    pub(super) fn evidence(mut self, open: VecDeque<Generation>) -> InputEvidence {
        for file in &open {
            let rest = Stretch::of(file, file.buffer.at(), file.buffer.whole_to());
            self.hand_out(Stretch { is_within_line: false, ..rest });
            let kept = Some(Arc::clone(file.file()));
            self.finished.push(FinishedFile::of(file, kept, &self.path));
        }
        let has_name = self.path.metadata().ok().map(|metadata| identity(&metadata));
        let mut parts: Vec<Part> = self.stretches.iter().map(|stretch| self.part(stretch, has_name)).collect();
        if parts.is_empty()
            && let Some(last) = self.finished.last()
        {
            let (dev, ino) = last.identity;
            parts.push(Part { file: self.file_of(last, has_name), dev, ino, from: 0, to: 0, unterminated: false });
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
        Part { file, dev, ino, from, to, unterminated: unterminated || is_within_line }
    }

    fn file_of(&self, finished: &FinishedFile, has_name: Option<Identity>) -> PartFile {
        finished.part_file(&self.path, !self.is_followed || has_name == Some(finished.identity))
    }
}
