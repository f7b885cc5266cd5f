//! Tasks that wait for each other.
//!
//! A set of tasks is stuck if whatever each of them waits for can only be given by one of the set. The largest such set is what is left
//! when those that something else may let go on are taken away, until there are none. Only what is certain counts: a lock that one task
//! has, the end of a task, the one receiver of a channel. A task that waits for several things is in the set only if none of them can come.

use std::collections::{BTreeSet, HashMap};

use pollscope_base::{Leaf, LeafKind, TaskState, WaitingTask};
use serde::{Deserialize, Serialize};

use super::leaves;

/// Tasks of which none can go on before another one of them does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// Those that wait for each other, in the order in which one waits for the next, the first one's id the smallest.
    pub cycle: Vec<u64>,
    /// Others that wait for one of them, and for nothing else.
    pub behind: Vec<u64>,
}

/// What a lock was given to that has no guard yet.
const GIVEN: &str = "batch_semaphore::Acquire";

/// What keeps what, by its address.
type Holders<'a> = HashMap<&'a str, Vec<(u64, &'a str)>>;

pub(super) fn stuck(tasks: &[WaitingTask]) -> Vec<Stuck> {
    let mut holders: Holders = HashMap::new();
    for task in tasks {
        for hold in &task.holds {
            holders.entry(&hold.address).or_default().push((task.id, &hold.guard));
        }
    }
    let waits: Vec<(u64, Vec<&Leaf>)> = tasks.iter().filter_map(|task| Some((task.id, waits(task)?))).collect();
    let mut set: BTreeSet<u64> = waits.iter().map(|(id, _)| *id).collect();
    loop {
        let free = |(id, leaves): &&(u64, Vec<&Leaf>)| {
            set.contains(id) && !leaves.iter().all(|leaf| !givers(leaf, &set, &holders).is_empty())
        };
        let free: Vec<u64> = waits.iter().filter(free).map(|(id, _)| *id).collect();
        if free.is_empty() {
            break;
        }
        free.iter().for_each(|id| _ = set.remove(id));
    }
    let next: HashMap<u64, Vec<u64>> = waits
        .iter()
        .filter(|(id, _)| set.contains(id))
        .map(|(id, leaves)| {
            let mut next: Vec<u64> = leaves.iter().flat_map(|leaf| givers(leaf, &set, &holders)).collect();
            // Who has a part of it itself waits for the others as well.
            next.sort_by_key(|other| other == id);
            (*id, next)
        })
        .collect();
    cycles(&set, &next)
}

/// What a suspended task waits for, if all of it is known.
fn waits(task: &WaitingTask) -> Option<Vec<&Leaf>> {
    let chain = task.waits.as_ref().filter(|_| task.state == TaskState::Idle)?;
    leaves(chain).filter(|leaves| !leaves.is_empty())
}

/// Those of a set of which one must go on before this can come; none if something else may give it.
fn givers(leaf: &Leaf, set: &BTreeSet<u64>, holders: &Holders) -> Vec<u64> {
    let held =
        || leaf.address.as_deref().and_then(|address| holders.get(address)).map(Vec::as_slice).unwrap_or_default();
    let has = |guard: &str, parts: &[&str]| parts.iter().any(|part| guard.contains(part));
    match leaf.kind {
        LeafKind::Join => leaf.task.filter(|task| set.contains(task)).into_iter().collect(),
        // One has it: who seems to have it beside another one may have let go of it.
        LeafKind::Mutex => only(held().iter().filter(|(_, guard)| has(guard, &["MutexGuard", GIVEN])), set),
        // Whoever writes or reads must be done first.
        LeafKind::RwLockWrite => held()
            .iter()
            .filter(|(id, guard)| set.contains(id) && has(guard, &["RwLock", GIVEN]))
            .map(|(id, _)| *id)
            .collect(),
        LeafKind::RwLockRead => only(held().iter().filter(|(_, guard)| has(guard, &["WriteGuard"])), set),
        LeafKind::MpscSend => only(held().iter().filter(|(_, guard)| has(guard, &["Receiver"])), set),
        _ => Vec::new(),
    }
}

fn only<'a>(mut holders: impl Iterator<Item = &'a (u64, &'a str)>, set: &BTreeSet<u64>) -> Vec<u64> {
    let first = holders.next().map(|(id, _)| *id);
    first.filter(|id| set.contains(id) && holders.all(|(other, _)| other == id)).into_iter().collect()
}

/// The cycles of a set in which each waits for another one of it, each with those behind it.
fn cycles(set: &BTreeSet<u64>, next: &HashMap<u64, Vec<u64>>) -> Vec<Stuck> {
    let mut found: Vec<Stuck> = Vec::new();
    let mut done: BTreeSet<u64> = BTreeSet::new();
    for start in set {
        // Whoever is followed comes to a cycle in the end: the set has nobody who waits for nobody.
        let mut path: Vec<u64> = vec![*start];
        loop {
            let last = path.last().copied().unwrap_or(*start);
            let Some(follows) = next.get(&last).and_then(|all| all.first()).copied() else { break };
            if let Some(begin) = path.iter().position(|id| *id == follows) {
                let cycle = rotated(&path[begin..]);
                add(&mut found, cycle, &path[..begin], &mut done);
                break;
            }
            if let Some(known) =
                found.iter_mut().find(|stuck| stuck.cycle.contains(&follows) || stuck.behind.contains(&follows))
            {
                known.behind.extend(path.iter().filter(|id| done.insert(**id)));
                break;
            }
            path.push(follows);
        }
    }
    found.iter_mut().for_each(|stuck| stuck.behind.sort_unstable());
    found
}

fn add(found: &mut Vec<Stuck>, cycle: Vec<u64>, before: &[u64], done: &mut BTreeSet<u64>) {
    if found.iter().any(|stuck| stuck.cycle == cycle) {
        return;
    }
    done.extend(&cycle);
    let behind = before.iter().filter(|id| done.insert(**id)).copied().collect();
    found.push(Stuck { cycle, behind });
}

/// The smallest first.
fn rotated(cycle: &[u64]) -> Vec<u64> {
    let smallest = cycle.iter().enumerate().min_by_key(|(_, id)| **id).map_or(0, |(index, _)| index);
    cycle[smallest..].iter().chain(&cycle[..smallest]).copied().collect()
}
