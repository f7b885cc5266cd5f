//! What was told of a poll that still goes on, and when there is more to tell.

use crate::stalls::Turns;

/// What is known of one that still goes on is told anew when it is older by this part.
const TOLD_PART: u64 = 4;

/// What was told of a poll that still goes on.
#[derive(Debug, Default)]
pub(in crate::watchdog) struct Told {
    turns: Turns,
    /// How old it was when what is known was told.
    evidence_at_ns: Option<u64>,
    /// Whether that had names.
    has_names: bool,
}

impl Told {
    /// When it is to be told that it still goes on: see [`Turns::due_ns`].
    pub(in crate::watchdog) fn line_at_ns(&self, threshold_ns: u64, is_named: bool) -> u64 {
        self.turns.due_ns(threshold_ns, is_named)
    }

    /// That is told; whether for the first time.
    pub(in crate::watchdog) fn line(&mut self, is_named: bool) -> bool {
        self.turns.tell(is_named)
    }

    /// Whether what is known is to be told at that age; then it is.
    pub(in crate::watchdog) fn evidence(&mut self, age_ns: u64, is_named: bool) -> bool {
        let is_due =
            self.evidence_at_ns.is_none_or(|at_ns| age_ns >= at_ns + at_ns / TOLD_PART) || is_named && !self.has_names;
        if is_due {
            (self.evidence_at_ns, self.has_names) = (Some(age_ns), is_named);
        }
        is_due
    }
}
