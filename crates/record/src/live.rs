//! What a service is doing at this moment: what `pollscope top` shows, and no recording keeps.

use serde::{Deserialize, Serialize};

use crate::recording::wire::bounded::{self, Element};
use crate::recording::{Pool, Queued, SlowPoll, Text};

/// One moment of a service. The feed of one that listens has a line with it once a second; in a file it is passed over.
///
/// ```
/// use pollscope_record::growing::LineWriter;
/// use pollscope_record::live::Live;
///
/// let live = Live { at_ns: 2_000_000_000, up_ns: 60_000_000_000, ..Live::default() };
/// let line = LineWriter::default().live(&live).unwrap();
/// assert!(line.starts_with("{\"live\":{\"at_ns\":2000000000,\"up_ns\":60000000000,\"workers\":[]"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// When it was, since the run's start, in nanoseconds.
    pub at_ns: u64,
    /// When it was, since the probe was installed, in nanoseconds.
    pub up_ns: u64,
    /// The threads that poll tasks, and those that wait for some.
    #[serde(deserialize_with = "bounded::list::<_, _, 10_000>")]
    pub workers: Vec<Worker>,
    /// The blocking pool; `None` where it cannot be seen.
    pub pool: Option<Pool>,
    /// What waits to be polled; `None` where it cannot be seen.
    pub queued: Option<Queued>,
    /// How long tasks that were polled in the last second had been ready before; `None` where it cannot be seen.
    pub schedule_latency: Option<Waits>,
    /// Polls that go on and have lasted for the threshold already, with what is known of them by now. A line has them beside the rest:
    /// their stacks have lines of their own.
    #[serde(skip)]
    pub stalls: Vec<SlowPoll>,
}

/// A thread that polls tasks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// Tokio's number of its runtime; `None` where that is not known.
    pub runtime: Option<u64>,
    /// Its index in the runtime; `None` for a thread that is no worker, or while that is not known.
    pub worker: Option<u64>,
    /// The thread's name, where it has one.
    pub thread: Option<Text>,
    /// What it is doing.
    pub state: State,
    /// For how long already, in nanoseconds; `None` where that is not known.
    pub for_ns: Option<u64>,
    /// Of a thread that polls: the task; `None` for the future given to `block_on`.
    pub task_id: Option<u64>,
    /// Of a thread that polls: the task's name, where it has one.
    pub task_name: Option<Text>,
    /// Of a thread that polls: `file:line` of the spawn.
    pub spawned_at: Option<Text>,
    /// Tasks that wait in its own queue; `None` where that cannot be seen.
    pub queued: Option<u64>,
}

/// What a thread that polls tasks is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It polls a task.
    Polling,
    /// It is between two polls.
    Busy,
    /// It waits for events.
    Parked,
    /// What a later version calls otherwise.
    #[default]
    #[serde(other)]
    Unknown,
}

/// How long tasks waited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// How many waits.
    pub count: u64,
    /// What half of them did not exceed, in nanoseconds.
    pub p50_ns: u64,
    /// What 99 % did not exceed, in nanoseconds.
    pub p99_ns: u64,
    /// The longest, in nanoseconds.
    pub max_ns: u64,
}

impl Element for Worker {
    fn besides(&self) -> usize {
        0
    }
}
