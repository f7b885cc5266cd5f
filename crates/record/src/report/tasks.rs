//! Tasks as text: those that wait for each other first, then groups of those that wait alike, most first; or await chains as trees.

use pollscope_base::{Hold, RunBy, SeenThread, TaskState, WaitingTask};

use super::layout::{Ink, Line, hanging};
use super::style::Style;
use crate::tasks::{Group, Stuck, TaskList, ends, leaf_in_words, place};
use crate::units::{format_ns, join_and};
use pollscope_base::count::plural;

mod moved;
mod threads;
mod tree;

pub use moved::render as render_moved;

/// So many ids of a group are shown.
const IDS: usize = 6;
/// So many groups are shown of a list that has more.
const GROUPS: usize = 40;

/// What is shown of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Groups.
    Groups,
    /// The await chain of each task.
    All,
    /// That of the task of this id.
    One(u64),
}

/// The whole text, each line ended by a newline.
pub fn render(list: &TaskList, shown: Shown, style: &Style) -> String {
    let mut sections = vec![header(list, style)];
    match shown {
        Shown::Groups => {
            sections.extend(list.deadlocks.iter().map(|stuck| deadlock(list, stuck, style)));
            let groups = list.groups();
            sections.extend(groups.iter().take(GROUPS).map(|group| of_group(list, group, style)));
            if let Some(more) = groups.len().checked_sub(GROUPS).filter(|more| *more > 0) {
                let text = format!("{more} more groups, each of fewer tasks: `--all` or `--json -` shows them");
                sections.push(hanging(Line::new(), 2, Ink::Dim, &text, style.width));
            }
        }
        Shown::All => sections.extend(list.tasks.iter().map(|task| tree::of(list, task, style))),
        Shown::One(id) => sections.extend(list.task(id).map(|task| tree::of(list, task, style))),
    }
    if !list.threads.is_empty() && !matches!(shown, Shown::One(_)) {
        sections.push(threads::of(list, style));
    }
    let notes = notes(list);
    if !notes.is_empty() {
        let lines = notes
            .iter()
            .flat_map(|note| hanging(Line::new().text(Ink::Dim, "note: "), 2, Ink::Plain, note, style.width));
        sections.push(lines.collect());
    }
    let text =
        sections.into_iter().map(|lines| lines.into_iter().map(|line| line.finish(style) + "\n").collect::<String>());
    text.collect::<Vec<_>>().join("\n")
}

fn header(list: &TaskList, style: &Style) -> Vec<Line> {
    let title = Line::new().text(Ink::Title, "pollscope").blank(1).text(Ink::Bold, "tasks").blank(1);
    let count = |state| list.tasks.iter().filter(|task| task.state == state).count();
    let states = [
        (TaskState::Idle, "idle"),
        (TaskState::Ready, "ready"),
        (TaskState::Running, "running"),
        (TaskState::Complete, "complete"),
    ];
    let states = states.map(|(state, name)| (count(state), name));
    let states: Vec<String> =
        states.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
    let states = if states.is_empty() { String::new() } else { format!(": {}", states.join(", ")) };
    let tokio = list.tokio.as_ref().map(|version| format!(" · Tokio {version}")).unwrap_or_default();
    let all = plural(list.tasks.len() as u64, "task");
    let ended = match list.signal {
        Some(signal) => format!(", ended by {}", threads::name(signal)),
        None if list.ended => ", from a core file".to_owned(),
        None => String::new(),
    };
    let text = format!(
        "· process {} ({}){ended}{tokio} · {all}{states} · read in {}",
        list.pid,
        list.name,
        format_ns(list.took_ns)
    );
    hanging(title, 2, Ink::Plain, &text, style.width)
}

/// What is said of a cycle that is but likely.
const LIKELY: &str = "This is likely and not certain: locks of the standard library's and semaphores do not say who has them, and what is \
                      kept outside of tasks is not seen.";

fn deadlock(list: &TaskList, stuck: &Stuck, style: &Style) -> Vec<Line> {
    let unpolled = unpolled(list, stuck);
    let title = match (stuck.probable, unpolled.is_some()) {
        (false, true) => "Futurelock: ",
        (false, false) => "Deadlock: ",
        (true, true) => "Probably a futurelock: ",
        (true, false) => "Probably a deadlock: ",
    };
    let start = Line::new().text(Ink::Bad, title);
    let text = match stuck.cycle.as_slice() {
        [only] if unpolled.is_some() => {
            format!("task {only} waits for what a future of its own has, which it does not poll, and can never go on")
        }
        [only] => format!("task {only} waits for itself, and can never go on"),
        cycle => format!("{} tasks wait for each other, and none of them can ever go on", cycle.len()),
    };
    let mut lines = hanging(start, 2, Ink::Bold, &text, style.width);
    for (index, id) in stuck.cycle.iter().enumerate() {
        let next = stuck.cycle[(index + 1) % stuck.cycle.len()];
        let Some(task) = list.task(*id) else { continue };
        lines.extend(hanging(Line::indent(2), 4, Ink::Plain, &link(list, task, next), style.width));
    }
    if !stuck.behind.is_empty() {
        let text = format!(
            "{} behind them: {}",
            plural(stuck.behind.len() as u64, "more task"),
            ids(stuck.behind.iter().copied())
        );
        lines.extend(hanging(Line::indent(2), 4, Ink::Plain, &text, style.width));
    }
    if stuck.probable {
        lines.extend(hanging(Line::indent(2), 2, Ink::Dim, LIKELY, style.width));
    }
    lines
}

/// What a future has that nobody polls, of what a cycle waits for.
fn unpolled<'a>(list: &'a TaskList, stuck: &Stuck) -> Option<&'a Hold> {
    let tasks = stuck.cycle.iter().filter_map(|id| list.task(*id));
    let leaves =
        tasks.flat_map(|task| task.waits.iter().flat_map(ends)).filter_map(|end| end.leaf.as_ref()?.address.as_deref());
    let mut holds = leaves.flat_map(|address| list.holders(address)).filter(|(task, _)| stuck.cycle.contains(&task.id));
    holds.find(|(_, hold)| !hold.is_polled).map(|(_, hold)| hold)
}

/// What one task of a cycle waits for, and why the next one must give it.
fn link(list: &TaskList, task: &WaitingTask, next: u64) -> String {
    if let Some(thread) = list.blocked(task)
        && let Some(kept) = kept(list, thread)
    {
        let at = thread.line.as_ref().map(|line| format!(" at {line}")).unwrap_or_default();
        let (id, named, tid) = (task.id, named(task.future.as_deref()), thread.tid);
        return format!("task {id}{named} is polled by thread {tid}, which waits{at} {kept}");
    }
    let chain = task.waits.as_ref();
    let at = chain.and_then(place).map(|place| format!(" at {place}")).unwrap_or_default();
    let leaf = chain.into_iter().flat_map(ends).find_map(|end| end.leaf.as_ref());
    let what = leaf.map(leaf_in_words).unwrap_or_default();
    let held = leaf.and_then(|leaf| leaf.address.as_deref()).and_then(|address| {
        let (_, hold) = list.holders(address).find(|(holder, _)| holder.id == next)?;
        let since = hold.at.as_ref().map(|at| format!(" while it is at {at}")).unwrap_or_default();
        let has = match hold.guard.as_str() {
            guard if guard.ends_with("Receiver") => "receives from",
            guard if guard.contains("Permit") => "has permits of",
            _ if !hold.is_polled => "has, in a future that it does not poll,",
            _ => "has",
        };
        Some(format!(", which task {next} {has}{since} (`{}`)", hold.variable))
    });
    let is_joined = leaf.is_some_and(|leaf| leaf.task == Some(next));
    if held.is_none() && !is_joined && list.task(next).is_some_and(|next| next.state == TaskState::Running) {
        let what = if what.is_empty() { String::new() } else { format!(" for {what}") };
        let (id, named) = (task.id, named(task.future.as_deref()));
        return format!("task {id}{named} waits{at}{what}, and only the thread that polls task {next} can poll it");
    }
    format!("task {}{} waits{at} for {what}{}", task.id, named(task.future.as_deref()), held.unwrap_or_default())
}

/// For which lock a thread waits that a task keeps.
fn kept(list: &TaskList, thread: &SeenThread) -> Option<String> {
    let (id, hold) = list.keeper(thread)?;
    let at = hold.at.as_ref().map(|at| format!(" while it is at {at}")).unwrap_or_default();
    Some(format!("for a lock of the standard library's, which task {id} keeps{at} (`{}`)", hold.variable))
}

fn of_group(list: &TaskList, group: &Group, style: &Style) -> Vec<Line> {
    let count = group.tasks.len() as u64;
    let is_closure = group.run_by == Some(RunBy::BlockingPool);
    let noun = if is_closure { "closure" } else { "task" };
    let start = Line::new().text(Ink::Bold, &plural(count, noun)).blank(1);
    let text = does(count, (group.state, is_closure), group.place.as_deref(), &group.waits_for);
    let mut lines = hanging(start, 2, Ink::Plain, &text, style.width);
    let unnamed = if is_closure { "without a name, as a runtime's workers are" } else { "of a type without a name" };
    let future = group.future.unwrap_or(unnamed);
    let text = format!("{future}; {}", ids(group.tasks.iter().map(|task| task.id)));
    lines.extend(hanging(Line::indent(4), 4, Ink::Dim, &text, style.width));
    for held in held(list, group) {
        lines.extend(hanging(Line::indent(4), 4, Ink::Plain, &held, style.width));
    }
    lines
}

/// What so many tasks do, or closures, that are alike.
fn does(count: u64, (state, is_closure): (TaskState, bool), place: Option<&str>, waits_for: &[String]) -> String {
    let s = if count == 1 { "s" } else { "" };
    let does = match state {
        TaskState::Idle => format!("wait{s}"),
        TaskState::Ready if is_closure => format!("wait{s} for a thread of the blocking pool"),
        TaskState::Ready => format!("wait{s} for a worker"),
        TaskState::Running if is_closure => format!("run{s} on the blocking pool"),
        TaskState::Running => format!("run{s}"),
        TaskState::Complete => {
            format!("ended, and what {} came to was not fetched", if count == 1 { "it" } else { "they" })
        }
    };
    let place = place.map(|place| format!(" at {place}")).unwrap_or_default();
    let waits_for: Vec<&str> = waits_for.iter().map(String::as_str).collect();
    let what = match (waits_for.as_slice(), state) {
        ([], TaskState::Idle) => ", where is not known".to_owned(),
        ([], _) | (_, TaskState::Ready) => String::new(),
        ([only], _) => format!(" for {only}"),
        (all, _) => format!(" for whichever comes: {}", join_and(all)),
    };
    format!("{does}{place}{what}")
}

/// Who has what a group waits for.
fn held(list: &TaskList, group: &Group) -> Vec<String> {
    let Some(address) = group.address else { return Vec::new() };
    let mut holders: Vec<_> = list.holders(address).collect();
    holders.dedup_by_key(|(task, _)| task.id);
    let more = holders.len().saturating_sub(IDS);
    let mut lines: Vec<String> = holders
        .iter()
        .take(IDS)
        .map(|(task, hold)| {
            let at = hold.at.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
            let waits: Vec<String> = task.waits.iter().flat_map(ends).map(crate::tasks::end).collect();
            let waits: Vec<&str> = waits.iter().map(String::as_str).collect();
            let waits = if waits.is_empty() { String::new() } else { format!(", waiting for {}", join_and(&waits)) };
            let has = match hold.guard.as_str() {
                guard if guard.ends_with("Receiver") => "receives from it",
                guard if guard.contains("Permit") => "has permits of it",
                _ => "has it",
            };
            format!("task {} {has}{}{at}{waits}", task.id, named(task.future.as_deref()))
        })
        .collect();
    if more > 0 {
        lines.push(format!("and {} more", plural(more as u64, "task")));
    }
    lines
}

fn named(future: Option<&str>) -> String {
    future.map(|future| format!(" ({future})")).unwrap_or_default()
}

fn ids(all: impl Iterator<Item = u64>) -> String {
    numbered("task", &all.collect::<Vec<_>>())
}

/// `tasks 1, 2, 3 and 4 more`.
fn numbered(noun: &str, all: &[u64]) -> String {
    let shown: Vec<String> = all.iter().take(IDS).map(u64::to_string).collect();
    let s = if all.len() == 1 { "" } else { "s" };
    match all.len().checked_sub(IDS).filter(|more| *more > 0) {
        Some(more) => format!("{noun}{s} {} and {more} more", shown.join(", ")),
        None => format!("{noun}{s} {}", shown.join(", ")),
    }
}

/// What is missing, in sentences.
fn notes(list: &TaskList) -> Vec<String> {
    let mut notes = Vec::new();
    if list.torn > 0 {
        notes.push(format!(
            "{} ended or changed whenever {} read, and {} left out",
            plural(list.torn, "more task"),
            was(list.torn),
            was(list.torn)
        ));
    }
    if list.torn_chains > 0 {
        notes.push(format!(
            "of {} it is not told where {} suspended: that changed whenever it was read",
            plural(list.torn_chains, "task"),
            was(list.torn_chains)
        ));
    }
    if list.limited {
        notes.push("there may be more tasks: no more than a million are read".to_owned());
    }
    notes.extend(list.missing.iter().cloned());
    notes
}

fn was(count: u64) -> &'static str {
    if count == 1 { "it was" } else { "they were" }
}
