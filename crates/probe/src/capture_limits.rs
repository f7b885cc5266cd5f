//! Why something is missing from what is known of slow polls: each reason is kept, and said, once.

use std::sync::{Mutex, PoisonError};

use pollscope_base::CaptureNote;

/// So many reasons are kept. There are hardly more: most have no variants of their own.
const MOST: usize = 16;

/// The reasons so far.
#[derive(Debug, Default)]
pub(crate) struct CaptureLimits(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    all: Vec<CaptureNote>,
    /// How many of them a line was made of.
    said: usize,
}

impl CaptureLimits {
    /// Keeps a reason, if there is one and it is not known.
    pub(crate) fn add(&self, limit: impl Into<Option<CaptureNote>>) {
        let Some(limit) = limit.into() else { return };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.all.len() < MOST && !kept.all.contains(&limit) {
            kept.all.push(limit);
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
        kept.all[said..].iter().map(|limit| format!("{}{limit}\n", CaptureNote::LINE_START)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_said_once() {
        let limits = CaptureLimits::default();
        limits.add(CaptureNote::Stripped);
        limits.add(CaptureNote::Stripped);
        let lines = limits.take_lines();
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("WARN pollscope: cannot name functions and lines: ") && lines[0].ends_with('\n'));
        limits.add(CaptureNote::Stripped);
        assert!(limits.take_lines().is_empty());
        limits.add(CaptureNote::MemoryUnreadable);
        assert_eq!((limits.take_lines().len(), limits.all().len()), (1, 2));
    }

    #[test]
    fn reasons_are_bounded() {
        let limits = CaptureLimits::default();
        (0..99).for_each(|n| limits.add(CaptureNote::StackIncomplete(n.to_string())));
        assert_eq!(limits.all().len(), MOST);
    }
}
