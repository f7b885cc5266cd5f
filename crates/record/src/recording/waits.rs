//! Who waited for slow polls, and for how long.

use serde::{Deserialize, Serialize};

use super::{Span, Text, wire};

/// Who waited while a slow poll held its worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blame {
    /// Tasks that had to wait for it and ran after it on the same thread: those that were ready before it ended, and the late
    /// ones.
    pub tasks: u64,
    /// How long those that were ready waited for it, added up, in nanoseconds.
    pub wait_ns: u64,
    /// Of `tasks`, those that waited for a timer or a socket, at which the loop looked again only after the poll. When their
    /// events came cannot be known.
    pub late_tasks: u64,
    /// How long all of `tasks` waited at most, in nanoseconds.
    pub wait_most_ns: u64,
    /// Of `tasks`, the one that became ready during the poll and ran right after it, on a multi-thread runtime: no other worker
    /// takes what is in the LIFO slot.
    pub lifo_tasks: u64,
}

impl Blame {
    /// Splits off what many slow polls have: that nobody waited.
    pub fn or_nobody(blame: Option<Blame>) -> (Option<Blame>, bool) {
        let nobody = blame == Some(Blame::default());
        (blame.filter(|_| !nobody), nobody)
    }
}

/// A task that waited, from its wake to its poll.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    /// Tokio's task id.
    pub task_id: u64,
    /// `file:line` of the spawn.
    pub spawned_at: String,
    /// When it became ready, since the run's start.
    pub ready_ns: u64,
    /// When it was polled, since the run's start.
    pub polled_ns: u64,
    /// The span that it was in then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<Box<Span>>,
}

/// Who waited for whom, by spawn site. All that tasks waited for the loop is in it: what was charged and `unattributed_ns` add
/// up to the sum of the schedule latency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The longest waits first.
    #[serde(deserialize_with = "wire::bounded::list::<_, _, 100_000>")]
    pub charges: Vec<Charge>,
    /// What tasks waited otherwise, in nanoseconds: for polls that were not slow, or, on a multi-thread runtime, for a slow poll
    /// on another worker than the one that ran them in the end.
    pub unattributed_ns: u64,
}

/// What tasks of one spawn site waited for slow polls of another, or of the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// `file:line` of the slow polls' tasks, or `other`.
    pub culprit: Text,
    /// `file:line` of the tasks that waited, or `other`.
    pub waiter: Text,
    /// How often one had to wait: a task that waited for two slow polls counts twice.
    pub tasks: u64,
    /// How long those that were ready waited, in nanoseconds.
    pub wait_ns: u64,
    /// Of `tasks`, the late ones: see [`Blame`].
    pub late_tasks: u64,
    /// How long all of them waited at most, in nanoseconds.
    pub wait_most_ns: u64,
}
