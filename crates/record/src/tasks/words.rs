//! What is waited for, in words.

use pollscope_base::{Await, Leaf, LeafKind, Progress};

use crate::units::format_ns;

/// What a leaf is, behind "waits for".
///
/// ```
/// use pollscope_base::{Leaf, LeafKind};
/// use pollscope_record::tasks::leaf_in_words;
/// let leaf = Leaf { kind: LeafKind::Join, address: None, left_ns: None, task: Some(7) };
/// assert_eq!(leaf_in_words(&leaf), "the end of task 7");
/// ```
pub fn leaf_in_words(leaf: &Leaf) -> String {
    match leaf.kind {
        LeafKind::Sleep => match leaf.left_ns {
            Some(left) if left >= 0 => format!("a sleep, {} to go", format_ns(left.unsigned_abs())),
            Some(left) => format!("a sleep that was over {} ago", format_ns(left.unsigned_abs())),
            None => kind_in_words(leaf.kind).to_owned(),
        },
        LeafKind::Join => match leaf.task {
            Some(task) => format!("the end of task {task}"),
            None => kind_in_words(leaf.kind).to_owned(),
        },
        kind => kind_in_words(kind).to_owned(),
    }
}

/// The same of all of one kind.
pub(super) fn kind_in_words(kind: LeafKind) -> &'static str {
    match kind {
        LeafKind::Sleep => "a sleep",
        LeafKind::Mutex => "a `Mutex`",
        LeafKind::RwLockRead => "an `RwLock`, to read",
        LeafKind::RwLockWrite => "an `RwLock`, to write",
        LeafKind::Semaphore => "a `Semaphore`",
        LeafKind::MpscSend => "room in a channel",
        LeafKind::MpscReceive => "a message of a channel",
        LeafKind::Oneshot => "the message of a `oneshot`",
        LeafKind::Watch => "a change of a `watch`",
        LeafKind::Broadcast => "a message of a `broadcast`",
        LeafKind::Notify => "a `Notify`",
        LeafKind::Barrier => "the others at a `Barrier`",
        LeafKind::Join => "the end of another task",
        LeafKind::JoinSet => "the end of a task of a `JoinSet`",
        LeafKind::OnceCell => "a `OnceCell` that another task fills",
        LeafKind::Io => "a socket or file to be ready",
        LeafKind::Yield => "its next turn",
        LeafKind::Pending => "nothing: it never ends",
    }
}

/// What the end of an await chain is.
pub fn end(end: &Await) -> String {
    match (&end.leaf, end.progress) {
        (Some(leaf), _) => leaf_in_words(leaf),
        (None, Progress::NotStarted) => format!("`{}`, which was not polled yet", end.future),
        (None, Progress::Done) => format!("`{}`, which is over", end.future),
        (None, Progress::Panicked) => format!("`{}`, which panicked", end.future),
        (None, Progress::Suspended | Progress::Unknown) => format!("`{}`", end.future),
    }
}
