//! One task, with its await chain as a tree.

use pollscope_base::{Await, Progress, RunBy, TaskState, WaitingTask};

use super::super::layout::{Ink, Line, hanging};
use super::super::style::Style;
use super::named;
use crate::tasks::{TaskList, leaf_in_words};
use crate::units::format_bytes;

pub(super) fn of(list: &TaskList, task: &WaitingTask, style: &Style) -> Vec<Line> {
    let start = Line::new().text(Ink::Bold, &format!("task {}", task.id)).blank(1);
    let mut lines = hanging(start, 2, Ink::Plain, &about(task), style.width);
    if let Some(chain) = &task.waits {
        chain_lines(list, chain, 1, style, &mut lines);
    } else if task.state == TaskState::Idle {
        lines.extend(hanging(Line::indent(2), 2, Ink::Dim, "where it is suspended is not known", style.width));
    }
    for hold in &task.holds {
        let at = hold.at.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
        let text = format!("keeps `{}`{at}: {} of {}", hold.variable, hold.guard, hold.address);
        lines.extend(hanging(Line::indent(2), 4, Ink::Plain, &text, style.width));
    }
    lines
}

fn about(task: &WaitingTask) -> String {
    let state = match task.state {
        TaskState::Running => "running",
        TaskState::Ready => "ready",
        TaskState::Idle => "idle",
        TaskState::Complete => "complete",
    };
    let future = task.future.as_deref().unwrap_or("of a type without a name");
    let mut parts = vec![future.to_owned(), state.to_owned()];
    parts.extend(task.is_cancelled.then(|| "cancelled".to_owned()));
    parts.extend(task.run_by.map(|by| match by {
        RunBy::MultiThread => "on a multi-thread runtime".to_owned(),
        RunBy::CurrentThread => "on a current-thread runtime".to_owned(),
        RunBy::LocalSet => "in a `LocalSet`".to_owned(),
        RunBy::BlockingPool => "in the blocking pool".to_owned(),
    }));
    parts.extend(task.spawned_at.as_ref().map(|at| format!("spawned at {at}")));
    parts.push(format_bytes(task.size_bytes));
    format!("· {}", parts.join(" · "))
}

fn chain_lines(list: &TaskList, future: &Await, depth: usize, style: &Style, lines: &mut Vec<Line>) {
    let indent = (2 * depth).min(style.width / 3);
    let place =
        future.file.as_ref().zip(future.line).map(|(file, line)| format!("  {file}:{line}")).unwrap_or_default();
    let leaf = future.leaf.as_ref().map(|leaf| {
        let mut text = format!(": {}", leaf_in_words(leaf));
        if let Some(address) = &leaf.address {
            text += &format!(", {address}");
            let holders = list.holders(address).filter(|(_, hold)| !hold.guard.ends_with("Receiver"));
            let holders: Vec<String> =
                holders.map(|(task, _)| format!("task {}{}", task.id, named(task.future.as_deref()))).collect();
            if !holders.is_empty() {
                text += &format!(", kept by {}", holders.join(", "));
            }
        }
        text
    });
    let progress = match future.progress {
        Progress::NotStarted => ": not polled yet",
        Progress::Done => ": over",
        Progress::Panicked => ": panicked",
        Progress::Suspended | Progress::Unknown => "",
    };
    let text = format!("{}{place}{progress}{}", future.future, leaf.unwrap_or_default());
    lines.extend(hanging(Line::indent(indent), indent + 4, Ink::Plain, &text, style.width));
    for inside in &future.inside {
        chain_lines(list, inside, depth + 1, style, lines);
    }
}
