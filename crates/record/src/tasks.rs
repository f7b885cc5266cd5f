//! All tasks of a process at one moment: what each waits for, those that wait alike, and those that wait for each other.
//!
//! ```
//! use pollscope_record::tasks::TaskList;
//! let list = TaskList::default();
//! assert!(list.groups().is_empty() && list.stuck().is_empty());
//! ```

use pollscope_base::{Await, Hold, Leaf, LeafKind, SeenThread, TaskState, WaitingTask};
use serde::{Deserialize, Serialize};

mod group;
mod moved;
mod stuck;
mod words;

pub use group::Group;
pub use moved::{Change, Moved, Moves, is_same_chain};
pub use stuck::Stuck;
pub use words::{end, leaf_in_words};

/// The tasks of a process, as its memory told of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskList {
    /// Which form this has: 1.
    pub tasks_schema: u32,
    /// The process's number.
    pub pid: u32,
    /// The name of its program.
    pub name: String,
    /// The version of its Tokio; `None` where nothing tells.
    pub tokio: Option<String>,
    /// When it was read: a time of day, in UTC.
    pub read_at: String,
    /// How long that took, in nanoseconds.
    pub took_ns: u64,
    /// By their ids.
    pub tasks: Vec<WaitingTask>,
    /// How many more there were whose memory changed whenever it was read, or that ended meanwhile.
    pub torn: u64,
    /// How many are told of without where they are suspended, as that changed whenever it was read.
    pub torn_chains: u64,
    /// How many belong to Tokio itself, and are not told of.
    pub of_runtime: u64,
    /// Whether there may be more than are told of.
    pub limited: bool,
    /// Sets of tasks that wait for each other, as it was in several readings.
    pub deadlocks: Vec<Stuck>,
    /// What its threads were doing; of a process that ended, the first is the one that was ended.
    #[serde(default)]
    pub threads: Vec<SeenThread>,
    /// Whether the process had ended, and left a core file.
    #[serde(default)]
    pub ended: bool,
    /// Of a process that ended, the number of the signal that ended it; `None` where none did, or that is not known.
    #[serde(default)]
    pub signal: Option<u32>,
    /// What is missing, and what would give it, each a sentence.
    pub missing: Vec<String>,
}

impl TaskList {
    /// The form that is written now.
    pub const SCHEMA: u32 = 1;

    /// Those that do the same at the same place, most first.
    pub fn groups(&self) -> Vec<Group<'_>> {
        group::groups(&self.tasks)
    }

    /// Those that wait for each other, so that none of them can ever go on. As one reading has it: tasks are read one after another, so that
    /// what was not so in several of them may never have been.
    pub fn stuck(&self) -> Vec<Stuck> {
        stuck::stuck(&self.tasks, &self.threads)
    }

    /// The thread that polls a task, if it waits at a futex in that poll.
    pub fn blocked(&self, task: &WaitingTask) -> Option<&SeenThread> {
        let polls = |thread: &&SeenThread| thread.task == Some(task.id) && thread.futex.is_some();
        self.threads.iter().find(polls).filter(|_| task.state == TaskState::Running)
    }

    /// The only task that keeps the lock of the standard library's that a thread waits for, and what it keeps of it.
    pub fn keeper(&self, thread: &SeenThread) -> Option<(u64, &Hold)> {
        stuck::keeper(&self.tasks, thread.futex.as_deref()?)
    }

    /// The task of that id.
    pub fn task(&self, id: u64) -> Option<&WaitingTask> {
        let found = self.tasks.binary_search_by_key(&id, |task| task.id).ok()?;
        self.tasks.get(found)
    }

    /// The tasks that keep what is at an address, as those who wait for it say where it is.
    pub fn holders<'a>(&'a self, address: &'a str) -> impl Iterator<Item = (&'a WaitingTask, &'a Hold)> {
        let of = move |task: &'a WaitingTask| {
            task.holds.iter().filter(move |hold| hold.address == address).map(move |hold| (task, hold))
        };
        self.tasks.iter().flat_map(of)
    }
}

/// The ends of an await chain: one, or one for each branch.
pub fn ends(chain: &Await) -> Vec<&Await> {
    let mut ends = Vec::new();
    let mut next = vec![chain];
    while let Some(future) = next.pop() {
        if future.inside.is_empty() {
            ends.push(future);
        }
        next.extend(future.inside.iter().rev());
    }
    ends
}

/// What an end waits for; `None` where that has no name.
fn leaves(chain: &Await) -> Option<Vec<&Leaf>> {
    ends(chain).into_iter().map(|end| end.leaf.as_ref()).collect()
}

/// The innermost `.await` of the user's own code that all branches are within; of a chain in which nothing is the user's, the
/// innermost one.
pub fn place(chain: &Await) -> Option<String> {
    let (mut own, mut any, mut at) = (None, None, chain);
    loop {
        if let (Some(file), Some(line)) = (&at.file, at.line) {
            let place = format!("{file}:{line}");
            if !is_fetched(file) {
                own = Some(place.clone());
            }
            any = Some(place);
        }
        match at.inside.as_slice() {
            [only] => at = only,
            _ => return own.or(any),
        }
    }
}

/// Whether a source file is of a crate that Cargo fetched, or of the standard library: it begins with the crate and its version, or with
/// the library.
fn is_fetched(file: &str) -> bool {
    let Some((folder, rest)) = file.split_once('/') else { return false };
    let is_version = |text: &str| text.starts_with(|c: char| c.is_ascii_digit()) && text.split('.').count() > 2;
    let has_version = folder.match_indices('-').any(|(dash, _)| is_version(&folder[dash + 1..]));
    rest.contains("src/") && (has_version || ["core", "std", "alloc"].contains(&folder))
}

/// Whether several that wait for one of these wait for one and the same thing.
fn is_shared(kind: LeafKind) -> bool {
    !matches!(
        kind,
        LeafKind::Sleep | LeafKind::Io | LeafKind::Yield | LeafKind::Pending | LeafKind::Join | LeafKind::JoinSet
    )
}

#[cfg(test)]
mod tests;
