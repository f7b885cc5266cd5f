//! Records what happens to inputs while they are followed: each event once, and whether lines may be lost by it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pollscope_record::message::Message;
use pollscope_record::units::format_count;

/// The number of events to keep; the others are counted.
const KEPT: usize = 1_000;

/// Something that happened to an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When the merge noticed it, in nanoseconds since the merge's start.
    pub at_ns: u64,
    /// The input's path, as given.
    pub input: PathBuf,
    /// What happened.
    pub kind: EventKind,
}

/// What happened to an input.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// Another file has its name now: the old one was renamed, or deleted and created again, or a link was switched. The old
    /// file was read to its end.
    Replaced,
    /// A file that had its name only between two looks was found by another name.
    FoundBetween {
        /// That name.
        path: PathBuf,
    },
    /// A file had its name for a moment, and was gone before it could be opened.
    Missed,
    /// A file may have had its name unseen.
    Unseen {
        /// How that is possible.
        why: Unseen,
    },
    /// It was truncated.
    Cut {
        /// The byte up to which it was read.
        offset: u64,
        /// Its length at the look that noticed it.
        len: u64,
        /// A copy that has what was cut off, if one was found; it was read to its end.
        copy: Option<PathBuf>,
    },
    /// Its content differs from what was read of it.
    Rewritten {
        /// The byte up to which it was read.
        offset: u64,
        /// Its length then, if known: what it still has of what was read comes twice.
        len: Option<u64>,
        /// A copy that has the old content, if one was found; it was read to its end.
        copy: Option<PathBuf>,
    },
    /// No file has its name.
    Missing,
    /// The file that has its name now cannot be read.
    Unreadable {
        /// The reason.
        why: String,
    },
    /// There was no more time to read all of it; the rest is still in the file.
    LeftUnread {
        /// The byte up to which it was read.
        offset: u64,
        /// Its length at the last look.
        len: u64,
    },
    /// Inotify cannot watch it: its tail looks at it instead.
    NotWatched {
        /// The reason.
        why: String,
    },
    /// The file can be read again, or is back.
    Back,
}

/// How a file can have an input's name unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unseen {
    /// Nothing but looks showed that another file took the name, and a file that came and went between two looks leaves no trace.
    Looks,
    /// More happened than inotify's queue has room for.
    Overflow,
    /// Its folder was replaced by another one, or was away for a while.
    Folder,
    /// The file that has the name could not be read until the end.
    Unreadable,
}

impl EventKind {
    /// Its name in recordings.
    pub fn as_str(&self) -> &'static str {
        match self {
            EventKind::Replaced => "replaced",
            EventKind::FoundBetween { .. } => "found-between",
            EventKind::Missed => "missed",
            EventKind::Unseen { .. } => "unseen",
            EventKind::Cut { .. } => "cut",
            EventKind::Rewritten { .. } => "rewritten",
            EventKind::Missing => "missing",
            EventKind::Unreadable { .. } => "unreadable",
            EventKind::NotWatched { .. } => "not-watched",
            EventKind::LeftUnread { .. } => "left-unread",
            EventKind::Back => "back",
        }
    }

    /// Whether lines may be lost by it.
    pub fn is_possible_loss(&self) -> bool {
        matches!(
            self,
            EventKind::Missed | EventKind::Unseen { .. } | EventKind::Cut { .. } | EventKind::Rewritten { .. }
        )
    }
}

impl EventKind {
    /// How many bytes may come twice by it, at most: what a file kept that is read again. `None` if nothing comes twice, or if there is
    /// no bound.
    pub fn repeated_at_most(&self) -> Option<u64> {
        match *self {
            EventKind::Cut { offset, len, .. } => Some(len.min(offset)),
            EventKind::Rewritten { offset, len, .. } => Some(len.map_or(offset, |len| len.min(offset))),
            _ => None,
        }
    }
}

impl Unseen {
    fn as_str(self) -> &'static str {
        match self {
            Unseen::Looks => {
                "is another file now, and only looks tell so: a file that came and went between two of them may have been missed"
            }
            Unseen::Overflow => {
                "may have been another file for a moment: more happened than inotify's queue has room for \
                 (fs.inotify.max_queued_events)"
            }
            Unseen::Folder => {
                "was in a folder that was moved or replaced: a file that came and went before the new folder was watched may have \
                 been missed"
            }
            Unseen::Unreadable => "could not be read until the end",
        }
    }
}

impl Event {
    /// All of it in a sentence.
    pub fn message(&self) -> Message {
        let input = Message::text("input ").and_path(&self.input).and_text(" ");
        let what = match &self.kind {
            EventKind::Replaced => input.and_text("is another file now; the one before was read to its end"),
            EventKind::FoundBetween { path } => {
                input.and_text("was another file between two looks; it was found as ").and_path(path)
            }
            EventKind::Missed => {
                input.and_text("was another file for a moment, which was gone before it could be opened")
            }
            EventKind::Unseen { why } => input.and_text(why.as_str()),
            EventKind::Cut { offset, len, copy: _ } => input.and_text(format!(
                "was cut to {} bytes after {} were read; it is read from its beginning",
                format_count(*len),
                format_count(*offset)
            )),
            EventKind::Rewritten { offset, .. } => input.and_text(format!(
                "was rewritten after {} bytes were read; it is read from its beginning",
                format_count(*offset)
            )),
            EventKind::Missing => input.and_text("is gone; waiting for it to come back"),
            EventKind::Unreadable { why } => input.and_text(format!("cannot be read now: {why}; trying again")),
            EventKind::LeftUnread { offset, len } => input.and_text(format!(
                "was read up to byte {} of {} when there was no more time; the rest is not in the output",
                format_count(*offset),
                format_count(*len)
            )),
            EventKind::NotWatched { why } => {
                input.and_text(format!("cannot be watched by inotify: {why}; it is looked at instead"))
            }
            EventKind::Back => input.and_text("is back"),
        };
        let twice = match self.kind.repeated_at_most() {
            Some(0) | None => String::new(),
            Some(bytes) => format!("; what it kept comes twice, at most {} bytes", format_count(bytes)),
        };
        match &self.kind {
            EventKind::Cut { copy: Some(copy), .. } | EventKind::Rewritten { copy: Some(copy), .. } => what
                .and_text(", and its copy ")
                .and_path(copy)
                .and_text(" to its end")
                .and_text(twice)
                .and_text("; lines written after the copy may be lost"),
            EventKind::Cut { offset, .. } | EventKind::Rewritten { offset, .. } => what.and_text(format!(
                "{twice}; lines may be lost: those written after byte {} and before that",
                format_count(*offset)
            )),
            kind if kind.is_possible_loss() => what.and_text("; lines may be lost"),
            _ => what,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message().fmt(f)
    }
}

/// The events of a merge; its tails and its reporter share them.
#[derive(Debug, Clone)]
pub struct Events {
    origin: Instant,
    summary: Arc<Mutex<EventSummary>>,
}

/// Events so far.
#[derive(Debug, Clone, Default)]
pub struct EventSummary {
    /// The first events, at most a thousand.
    pub events: Vec<Event>,
    /// The number of events after these.
    pub dropped: u64,
    /// The number of all events by which lines may be lost.
    pub possible_losses: u64,
    /// The number of all events by which lines may come twice.
    pub possible_repeats: u64,
    /// How many bytes may come twice by them, at most.
    pub repeated_at_most: u64,
    /// The first event by which lines may be lost.
    pub first_loss: Option<Box<Event>>,
}

impl Events {
    /// No events yet; their times count from now.
    pub fn from_now() -> Events {
        Events { origin: Instant::now(), summary: Arc::default() }
    }

    pub(super) fn record(&self, input: &Path, kind: EventKind) {
        let at_ns = self.origin.elapsed().as_nanos() as u64;
        let event = Event { at_ns, input: input.to_owned(), kind };
        let mut summary = self.summary.lock().unwrap_or_else(PoisonError::into_inner);
        if event.kind.is_possible_loss() {
            summary.possible_losses += 1;
            summary.first_loss.get_or_insert_with(|| Box::new(event.clone()));
        }
        if let Some(bytes) = event.kind.repeated_at_most().filter(|bytes| *bytes > 0) {
            summary.possible_repeats += 1;
            summary.repeated_at_most = summary.repeated_at_most.saturating_add(bytes);
        }
        if summary.events.len() < KEPT {
            summary.events.push(event);
        } else {
            summary.dropped += 1;
        }
    }

    /// All events so far.
    pub(crate) fn so_far(&self) -> EventSummary {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The events after the first `known`.
    pub(crate) fn after(&self, known: usize) -> Vec<Event> {
        let summary = self.summary.lock().unwrap_or_else(PoisonError::into_inner);
        summary.events.get(known..).unwrap_or_default().to_vec()
    }
}
