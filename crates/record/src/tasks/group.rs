//! Tasks that do the same at the same place.

use std::collections::BTreeMap;

use pollscope_base::{RunBy, TaskState, WaitingTask};

use super::words::{self, kind_in_words};
use super::{ends, is_shared, leaves, place};

/// Some tasks of one type that are at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group<'a> {
    /// What they are doing.
    pub state: TaskState,
    /// What runs them; `None` where no name tells.
    pub run_by: Option<RunBy>,
    /// Their future's type; `None` where no name tells.
    pub future: Option<&'a str>,
    /// The innermost `.await` of the user's code; `None` where that is not known.
    pub place: Option<String>,
    /// What they wait for, in words; none where that is not known.
    pub waits_for: Vec<String>,
    /// Where that is in memory, if it is one thing for all of them.
    pub address: Option<&'a str>,
    /// By their ids.
    pub tasks: Vec<&'a WaitingTask>,
}

/// What makes tasks alike.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key<'a> {
    pub(super) state: TaskState,
    pub(super) run_by: Option<RunBy>,
    pub(super) future: Option<&'a str>,
    pub(super) place: Option<String>,
    pub(super) ends: Vec<String>,
}

/// Most first; of as many, those of the smallest id.
pub(super) fn groups(tasks: &[WaitingTask]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group> = alike(tasks).into_iter().map(|(key, tasks)| group(key, tasks)).collect();
    groups.sort_by_key(|group| (std::cmp::Reverse(group.tasks.len()), group.tasks.first().map(|task| task.id)));
    groups
}

/// Tasks by what makes them alike.
pub(super) fn alike(tasks: &[WaitingTask]) -> BTreeMap<Key<'_>, Vec<&WaitingTask>> {
    let mut found: BTreeMap<Key, Vec<&WaitingTask>> = BTreeMap::new();
    for task in tasks {
        let key = Key {
            state: task.state,
            run_by: task.run_by,
            future: task.future.as_deref(),
            place: task.waits.as_ref().and_then(place),
            ends: task.waits.iter().flat_map(ends).map(kind_of_end).collect(),
        };
        found.entry(key).or_default().push(task);
    }
    found
}

/// Without what each has of its own.
fn kind_of_end(end: &pollscope_base::Await) -> String {
    end.leaf.as_ref().map_or_else(|| words::end(end), |leaf| kind_in_words(leaf.kind).to_owned())
}

fn group<'a>(key: Key<'a>, tasks: Vec<&'a WaitingTask>) -> Group<'a> {
    let Key { state, run_by, future, place, ends: kinds } = key;
    let waits_for = match tasks.as_slice() {
        [only] => only.waits.iter().flat_map(ends).map(words::end).collect(),
        _ => kinds,
    };
    let mut addresses = tasks.iter().map(|task| {
        let leaves = leaves(task.waits.as_ref()?)?;
        let &[leaf] = leaves.as_slice() else { return None };
        leaf.address.as_deref().filter(|_| is_shared(leaf.kind))
    });
    let first = addresses.next().flatten();
    let address = first.filter(|first| addresses.all(|other| other == Some(*first)));
    Group { state, run_by, future, place, waits_for, address, tasks }
}
