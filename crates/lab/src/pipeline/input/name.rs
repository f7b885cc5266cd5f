//! The file that an input's name leads to, from one look to the next.

use std::io;
use std::time::{Duration, Instant};

use pollscope_base::reason;

use super::events::EventKind;
use crate::pipeline::clock;

/// How long no file has the name before that is recorded: after a renaming there is always a moment without a file.
const LONG_MISSING: Duration = Duration::from_secs(1);

/// The result of a look at the name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// The newest file has it.
    Fine,
    /// No file has it.
    Missing { since: Instant, is_recorded: bool },
    /// The file that has it cannot be read: the reason.
    Unreadable(String),
    /// What has it has no lines: what it is.
    Obstructed(String),
}

impl Name {
    /// From the error of a look or an open.
    pub(super) fn of(error: &io::Error) -> Name {
        match error.kind() {
            io::ErrorKind::NotFound => Name::Missing { since: clock::instant(), is_recorded: false },
            _ => Name::Unreadable(reason(error)),
        }
    }

    /// Takes the result of a new look; returns an event if it is one.
    pub(super) fn becomes(&mut self, found: Name) -> Option<EventKind> {
        let (name, event) = match (std::mem::replace(self, Name::Fine), found) {
            (Name::Missing { since, is_recorded: false }, Name::Missing { .. })
                if clock::since(since) >= LONG_MISSING =>
            {
                (Name::Missing { since, is_recorded: true }, Some(EventKind::Missing))
            }
            (before @ Name::Missing { .. }, Name::Missing { .. }) => (before, None),
            (Name::Unreadable(before), Name::Unreadable(why)) if before == why => (Name::Unreadable(why), None),
            (Name::Obstructed(before), Name::Obstructed(why)) if before == why => (Name::Obstructed(why), None),
            (_, Name::Unreadable(why)) => (Name::Unreadable(why.clone()), Some(EventKind::Unreadable { why })),
            (_, Name::Obstructed(why)) => (Name::Obstructed(why.clone()), Some(EventKind::Unreadable { why })),
            (Name::Missing { is_recorded: true, .. } | Name::Unreadable(_) | Name::Obstructed(_), Name::Fine) => {
                (Name::Fine, Some(EventKind::Back))
            }
            (_, found) => (found, None),
        };
        *self = name;
        event
    }
}
