//! What moved from one reading to the next, as text: a line of the reading, then where there are more tasks or fewer.

use pollscope_base::RunBy;
use pollscope_base::count::plural;

use super::super::layout::{Ink, Line, hanging};
use super::super::style::Style;
use super::{deadlock, does, named, was};
use crate::tasks::{Change, Moved, TaskList};
use crate::units::format_ns;

/// So many changes are shown.
const MOST: usize = 12;

/// The whole text, each line ended by a newline; `list` is the reading that it is about.
pub fn render(list: &TaskList, moved: &Moved, style: &Style) -> String {
    // The time of day alone.
    let time = list.read_at.split_once('T').map_or(list.read_at.as_str(), |(_, time)| time);
    let start = Line::new().text(Ink::Bold, time).blank(1);
    let counts = [(moved.began, "began"), (moved.ended, "ended")].into_iter();
    let counts = counts.filter_map(|(count, did)| Some((count.filter(|count| *count > 0)?, did)));
    let counts: String = counts.map(|(count, did)| format!(" · {count} {did}")).collect();
    let text = format!("· {}{counts} · {}", plural(list.tasks.len() as u64, "task"), still(moved));
    let mut lines = hanging(start, 2, Ink::Plain, &text, style.width);
    for change in moved.changes.iter().take(MOST) {
        lines.extend(hanging(Line::indent(2), 4, Ink::Plain, &changed(change), style.width));
    }
    if let Some(more) = moved.changes.len().checked_sub(MOST).filter(|more| *more > 0) {
        let text = format!("and {} more, of fewer tasks", plural(more as u64, "change"));
        lines.extend(hanging(Line::indent(2), 4, Ink::Dim, &text, style.width));
    }
    lines.extend(moved.deadlocks.iter().flat_map(|stuck| deadlock(list, stuck, style)));
    if list.torn > 0 {
        let text = format!("note: {} changed whenever {} read", plural(list.torn, "more task"), was(list.torn));
        lines.extend(hanging(Line::indent(2), 4, Ink::Dim, &text, style.width));
    }
    lines.into_iter().map(|line| line.finish(style) + "\n").collect()
}

fn still(moved: &Moved) -> String {
    let still =
        format!("{} where {} at the last reading", moved.still, if moved.still == 1 { "it was" } else { "they were" });
    match moved.longest {
        Some((count, ns)) => format!("{still}, {count} at each for {}", format_ns(ns)),
        None => still,
    }
}

fn changed(change: &Change) -> String {
    let is_closure = change.run_by == Some(RunBy::BlockingPool);
    let does = does(change.now, (change.state, is_closure), change.place.as_deref(), &change.waits_for);
    format!("{} → {} {does}{}", change.before, change.now, named(change.future.as_deref()))
}
