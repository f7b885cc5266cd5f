//! Tasks that wait for each other.
//!
//! A set of tasks is stuck if whatever each of them waits for can only be given by one of the set. The largest such set is what is left
//! when those that something else may let go on are taken away, until there are none. What counts is a lock that one task has, the end of
//! a task, the one receiver of a channel; and what is but likely, and said to be that: permits of a semaphore, as far as it is seen who has
//! them, and a lock of the standard library's, which names nobody. A task that waits for several things is in the set only if none of
//! them can come. Where one thread runs all tasks, none of them goes on while a poll blocks that thread.

use std::collections::{BTreeSet, HashMap};

use pollscope_base::{Hold, Leaf, LeafKind, RunBy, SeenThread, TaskState, WaitingTask};
use serde::{Deserialize, Serialize};

use super::leaves;

/// Tasks of which none can go on before another one of them does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// Those that wait for each other, in the order in which one waits for the next, the first one's id the smallest.
    pub cycle: Vec<u64>,
    /// Others that wait for one of them, and for nothing else.
    pub behind: Vec<u64>,
    /// Whether that is but likely: what one of the cycle waits for may be kept where it is not seen.
    #[serde(default)]
    pub probable: bool,
}

/// What a lock was given to that has no guard yet.
const GIVEN: &str = "batch_semaphore::Acquire";

/// What keeps what, by its address.
type Holders<'a> = HashMap<&'a str, Vec<(u64, &'a str)>>;

/// What a task needs to go on.
#[derive(Debug)]
enum Needs<'a> {
    /// One of these, and its thread.
    One(Vec<&'a Leaf>),
    /// A lock of the standard library's that this task has: its own thread waits for it.
    Lock(u64),
    /// Nothing but its thread.
    Thread,
}

#[derive(Debug)]
struct Waiting<'a> {
    id: u64,
    needs: Needs<'a>,
    /// The task whose poll takes the only thread that may poll it.
    after: Option<u64>,
}

pub(super) fn stuck(tasks: &[WaitingTask], threads: &[SeenThread]) -> Vec<Stuck> {
    let mut holders: Holders = HashMap::new();
    for task in tasks {
        for hold in &task.holds {
            holders.entry(&hold.address).or_default().push((task.id, &hold.guard));
        }
    }
    let blocked = blocked(tasks, threads);
    let waits: Vec<Waiting> = tasks.iter().filter_map(|task| waiting(task, &blocked)).collect();
    let mut set: BTreeSet<u64> = waits.iter().map(|waiting| waiting.id).collect();
    loop {
        let is_free = |waiting: &&Waiting| set.contains(&waiting.id) && next(waiting, &set, &holders).is_empty();
        let free: Vec<u64> = waits.iter().filter(is_free).map(|waiting| waiting.id).collect();
        if free.is_empty() {
            break;
        }
        free.iter().for_each(|id| _ = set.remove(id));
    }
    let within = waits.iter().filter(|waiting| set.contains(&waiting.id));
    let next: HashMap<u64, Vec<u64>> =
        within.clone().map(|waiting| (waiting.id, next(waiting, &set, &holders))).collect();
    let guesses: BTreeSet<u64> = within.filter(|waiting| is_guess(waiting)).map(|waiting| waiting.id).collect();
    let mut found = cycles(&set, &next);
    for stuck in &mut found {
        stuck.probable = stuck.cycle.iter().any(|id| guesses.contains(id));
    }
    found
}

/// The tasks whose polls wait for a lock of the standard library's, each with the one that has it.
fn blocked<'a>(tasks: &'a [WaitingTask], threads: &[SeenThread]) -> Vec<(&'a WaitingTask, u64)> {
    let polled = threads.iter().filter_map(|thread| Some((thread.task?, keeper(tasks, thread.futex.as_deref()?)?.0)));
    let running = |id: u64| tasks.iter().find(|task| task.id == id && task.state == TaskState::Running);
    polled.filter_map(|(id, keeper)| Some((running(id)?, keeper))).collect()
}

/// The only task that has the lock of the standard library's that is waited for at this futex, and what it keeps of it.
pub(super) fn keeper<'a>(tasks: &'a [WaitingTask], futex: &str) -> Option<(u64, &'a Hold)> {
    let all = tasks.iter().flat_map(|task| task.holds.iter().map(|hold| (task.id, hold)));
    let mut all = all.filter(|(_, hold)| is_lock_at(hold, futex));
    let first = all.next()?;
    all.all(|(id, _)| id == first.0).then_some(first)
}

/// What a task needs that does not go on by itself; `None` where that is not known.
fn waiting<'a>(task: &'a WaitingTask, blocked: &[(&WaitingTask, u64)]) -> Option<Waiting<'a>> {
    if let Some((_, keeper)) = blocked.iter().find(|(polled, _)| polled.id == task.id) {
        return Some(Waiting { id: task.id, needs: Needs::Lock(*keeper), after: None });
    }
    let has_one_thread = matches!(task.run_by, Some(RunBy::CurrentThread | RunBy::LocalSet)) && task.runtime.is_some();
    let takes_it = |polled: &WaitingTask| (polled.run_by, polled.runtime) == (task.run_by, task.runtime);
    let after = blocked.iter().find(|(polled, _)| has_one_thread && takes_it(polled)).map(|(polled, _)| polled.id);
    let is_waiting = matches!(task.state, TaskState::Idle | TaskState::Ready);
    let leaves = || leaves(task.waits.as_ref()?).filter(|leaves| !leaves.is_empty());
    let needs = match task.state {
        TaskState::Idle => leaves().map_or(Needs::Thread, Needs::One),
        _ => Needs::Thread,
    };
    let is_known = after.is_some() || matches!(needs, Needs::One(_));
    (is_waiting && is_known).then_some(Waiting { id: task.id, needs, after })
}

/// Those of a set of which one must go on before a task can, in the order in which they are told; none if something else may let it.
fn next(waiting: &Waiting, set: &BTreeSet<u64>, holders: &Holders) -> Vec<u64> {
    let mut next = match &waiting.needs {
        Needs::One(leaves) => {
            let givers: Vec<Vec<u64>> = leaves.iter().map(|leaf| givers(leaf, set, holders)).collect();
            if givers.iter().any(Vec::is_empty) { Vec::new() } else { givers.concat() }
        }
        Needs::Lock(keeper) => Some(*keeper).filter(|keeper| set.contains(keeper)).into_iter().collect(),
        Needs::Thread => Vec::new(),
    };
    // Who has a part of it itself waits for the others as well.
    next.sort_by_key(|other| *other == waiting.id);
    next.extend(waiting.after.filter(|after| set.contains(after)));
    next
}

/// Whether it is but likely that what a task needs is given by those who are seen to have it.
fn is_guess(waiting: &Waiting) -> bool {
    match &waiting.needs {
        Needs::One(leaves) => leaves.iter().any(|leaf| leaf.kind == LeafKind::Semaphore),
        Needs::Lock(_) => true,
        Needs::Thread => false,
    }
}

/// Whether what a task keeps is the lock of the standard library's that is waited for at this futex. Who writes waits for readers at the
/// word behind the lock's own.
fn is_lock_at(hold: &Hold, futex: &str) -> bool {
    let number = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    let is = |part: &str| hold.guard.starts_with("std::") && hold.guard.contains(part);
    match (number(&hold.address), number(futex)) {
        (Some(lock), Some(futex)) if lock == futex => is("MutexGuard") || is("RwLockWriteGuard"),
        (Some(lock), Some(futex)) => lock.checked_add(4) == Some(futex) && is("RwLock"),
        _ => false,
    }
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
        // Any one of those who have permits may give enough of them.
        LeafKind::Semaphore => {
            let permits = || held().iter().filter(|(_, guard)| has(guard, &["Permit"])).map(|(id, _)| *id);
            if permits().all(|id| set.contains(&id)) { permits().collect() } else { Vec::new() }
        }
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
    found.push(Stuck { cycle, behind, probable: false });
}

/// The smallest first.
fn rotated(cycle: &[u64]) -> Vec<u64> {
    let smallest = cycle.iter().enumerate().min_by_key(|(_, id)| **id).map_or(0, |(index, _)| index);
    cycle[smallest..].iter().chain(&cycle[..smallest]).copied().collect()
}
