//! Why something is missing from what is known of slow polls: each reason is kept, and said, once.

use std::sync::{Mutex, PoisonError};

use pollscope_base::CaptureNote;

/// So many reasons are kept. There are hardly more: most have no variants of their own.
const MOST: usize = 16;

/// The reasons so far.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    all: Vec<CaptureNote>,
    /// How many of them a line was made of.
    said: usize,
}

impl Notes {
    /// Keeps a reason, if there is one and it is not known.
    pub(crate) fn add(&self, note: impl Into<Option<CaptureNote>>) {
        let Some(note) = note.into() else { return };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.all.len() < MOST && !kept.all.contains(&note) {
            kept.all.push(note);
        }
    }

    /// All of them, oldest first.
    pub(crate) fn all(&self) -> Vec<CaptureNote> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all.clone()
    }

    /// A line for each that had none yet.
    pub(crate) fn take_lines(&self) -> Vec<String> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (said, known) = (kept.said, kept.all.len());
        kept.said = known;
        kept.all[said..].iter().map(|note| format!("{}{note}\n", CaptureNote::LINE_START)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_said_once() {
        let notes = Notes::default();
        notes.add(CaptureNote::Stripped);
        notes.add(CaptureNote::Stripped);
        let lines = notes.take_lines();
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("WARN pollscope: cannot name functions and lines: ") && lines[0].ends_with('\n'));
        notes.add(CaptureNote::Stripped);
        assert!(notes.take_lines().is_empty());
        notes.add(CaptureNote::MemoryUnreadable);
        assert_eq!((notes.take_lines().len(), notes.all().len()), (1, 2));
    }

    #[test]
    fn reasons_are_bounded() {
        let notes = Notes::default();
        (0..99).for_each(|n| notes.add(CaptureNote::StackIncomplete(n.to_string())));
        assert_eq!(notes.all().len(), MOST);
    }
}
