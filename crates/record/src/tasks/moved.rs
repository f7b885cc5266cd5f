//! What moved from one reading of a process's tasks to the next.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use pollscope_base::{Await, RunBy, TaskState, WaitingTask};

use super::group::alike;
use super::{Stuck, TaskList};

/// Compares each reading with the one before it.
///
/// ```
/// use pollscope_record::tasks::{Moves, TaskList};
/// let mut moves = Moves::default();
/// assert!(moves.add(TaskList::default(), 0).is_none(), "there is none before the first");
/// let moved = moves.add(TaskList::default(), 1_000_000_000).expect("the second one has one before it");
/// assert!(moved.changes.is_empty() && moved.still == 0);
/// ```
#[derive(Debug, Default)]
pub struct Moves {
    last: Option<TaskList>,
    /// Since when each task was at the same place at each reading, by its id.
    since_ns: HashMap<u64, u64>,
}

/// What a reading shows that the one before it did not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// Tasks that were not there before; `None` where one of the readings left some out.
    pub began: Option<u64>,
    /// Tasks that are no longer there; `None` likewise.
    pub ended: Option<u64>,
    /// Where there are more or fewer tasks, most first.
    pub changes: Vec<Change>,
    /// Tasks that are where they were at the reading before: they may have gone on and come back meanwhile.
    pub still: u64,
    /// Those of them that were there at each reading for the longest time, and how long that is, in nanoseconds; `None` where there are none.
    pub longest: Option<(u64, u64)>,
    /// Which of the deadlocks were not told before.
    pub deadlocks: Vec<Stuck>,
}

/// How many tasks do the same at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What they are doing.
    pub state: TaskState,
    /// What runs them; `None` where no name tells.
    pub run_by: Option<RunBy>,
    /// Their future's type; `None` where no name tells.
    pub future: Option<String>,
    /// The innermost `.await` of the user's code; `None` where that is not known.
    pub place: Option<String>,
    /// What they wait for, in words; none where that is not known.
    pub waits_for: Vec<String>,
    /// How many there were.
    pub before: u64,
    /// How many there are.
    pub now: u64,
}

impl Moves {
    /// What moved since the last reading; `None` at the first. `at_ns` is when it was read, by a clock that does not jump.
    pub fn add(&mut self, list: TaskList, at_ns: u64) -> Option<Moved> {
        let last = self.last.replace(list);
        let now = self.last.as_ref()?;
        let is_still = |task: &&WaitingTask| {
            last.as_ref().and_then(|last| last.task(task.id)).is_some_and(|was| is_where_it_was(was, task))
        };
        let still: BTreeSet<u64> = now.tasks.iter().filter(is_still).map(|task| task.id).collect();
        let since_ns = |task: &WaitingTask| {
            let before = self.since_ns.get(&task.id).copied().filter(|_| still.contains(&task.id));
            (task.id, before.unwrap_or(at_ns))
        };
        self.since_ns = now.tasks.iter().map(since_ns).collect();
        let last = last?;
        let first_ns = still.iter().filter_map(|id| self.since_ns.get(id)).min().copied();
        let longest = first_ns.map(|first| {
            let count = still.iter().filter(|id| self.since_ns.get(id) == Some(&first)).count() as u64;
            (count, at_ns.saturating_sub(first))
        });
        let is_whole = [now, &last].iter().all(|list| list.torn == 0 && !list.limited);
        let others = |list: &TaskList, other: &TaskList| {
            is_whole.then(|| list.tasks.iter().filter(|task| other.task(task.id).is_none()).count() as u64)
        };
        Some(Moved {
            began: others(now, &last),
            ended: others(&last, now),
            changes: changes(&last.tasks, &now.tasks),
            still: still.len() as u64,
            longest,
            deadlocks: now
                .deadlocks
                .iter()
                .filter(|stuck| !last.deadlocks.iter().any(|was| was.cycle == stuck.cycle))
                .cloned()
                .collect(),
        })
    }

    /// The last reading.
    pub fn last(&self) -> Option<&TaskList> {
        self.last.as_ref()
    }
}

fn changes(before: &[WaitingTask], now: &[WaitingTask]) -> Vec<Change> {
    let mut counts: BTreeMap<_, [u64; 2]> = BTreeMap::new();
    for (index, tasks) in [before, now].into_iter().enumerate() {
        for (key, tasks) in alike(tasks) {
            counts.entry(key).or_default()[index] += tasks.len() as u64;
        }
    }
    let changed = counts.into_iter().filter(|(_, [before, now])| before != now);
    let mut changes: Vec<Change> = changed
        .map(|(key, [before, now])| Change {
            state: key.state,
            run_by: key.run_by,
            future: key.future.map(str::to_owned),
            place: key.place,
            waits_for: key.ends,
            before,
            now,
        })
        .collect();
    changes.sort_by_key(|change| std::cmp::Reverse(change.before.abs_diff(change.now)));
    changes
}

/// Whether two readings have a task in the same state, suspended at the same `.await`s for the same things.
fn is_where_it_was(one: &WaitingTask, other: &WaitingTask) -> bool {
    one.state == other.state && is_same_chain(one.waits.as_ref(), other.waits.as_ref())
}

/// Whether two chains are suspended at the same `.await`s for the same things.
pub fn is_same_chain(one: Option<&Await>, other: Option<&Await>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return one.is_none() && other.is_none() };
    let leaf = |chain: &Await| chain.leaf.as_ref().map(|leaf| (leaf.kind, leaf.address.clone(), leaf.task));
    (&one.future, &one.file, one.line, leaf(one)) == (&other.future, &other.file, other.line, leaf(other))
        && one.inside.len() == other.inside.len()
        && one.inside.iter().zip(&other.inside).all(|(one, other)| is_same_chain(Some(one), Some(other)))
}
