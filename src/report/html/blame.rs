//! Who blocked the loop, with stacks, and who waited for whom.

use maud::{Markup, html};

use super::Page;
use super::table::{Cell, mode, table};
use super::text::{name, or_unknown, place};
use crate::blockers::{Blocker, blockers};
use crate::pooled::Pooled;
use crate::recording::{Charge, SlowPoll};
use crate::report::terminal::waits::format_wait;
use crate::units::{format_count, format_ns, format_percent, plural};

/// Rows a mode.
const ROWS: usize = 25;
/// Frames shown of a stack.
const FRAMES: usize = 40;

pub(super) fn who_blocked(page: &Page) -> Option<Markup> {
    let mut rows = Vec::new();
    for (index, pooled) in page.modes.iter().enumerate() {
        for blocker in blockers(pooled.slow_polls().map(|(_, poll)| poll)).iter().take(ROWS) {
            rows.push(blocker_row(index, pooled, blocker));
        }
    }
    if rows.is_empty() {
        let is_seen = page.modes.iter().all(|mode| mode.slow_total() == 0);
        let why = if is_seen { "No poll was slow." } else { "Slow polls were counted, but none was kept." };
        return Some(html! { p { (why) } });
    }
    let head = ["mode", "blocking line", "cause", "in", "polls", "time", "of run", "worst", "waited"];
    Some(html! {
        p { "The innermost line of your own code on the stack of slow polls. Open a line for the stack of its longest poll." }
        (table("Who blocked the loop", &head, rows))
    })
}

fn blocker_row(index: usize, pooled: &Pooled, blocker: &Blocker) -> Vec<Cell> {
    let elapsed: u64 = pooled.rounds.iter().map(|run| run.elapsed_ns).sum();
    let share = (elapsed > 0).then(|| blocker.total_ns as f64 / elapsed as f64);
    let waited = match (blocker.wait_ns, blocker.wait_most_ns) {
        (Some(ns), Some(most)) => Cell::shown(&format_wait(ns, most), most),
        _ => Cell::number(None::<u64>, format_ns),
    };
    vec![
        mode(index, pooled.name),
        Cell::markup(line(pooled, blocker)),
        Cell::text(&blocker.cause.map_or_else(|| "unknown".to_owned(), name)),
        Cell::text(&or_unknown(blocker.call.map(name))),
        Cell::number(Some(blocker.polls), format_count),
        Cell::number(Some(blocker.total_ns), format_ns),
        Cell::number(share, format_percent),
        Cell::number(Some(blocker.worst_ns), format_ns),
        waited,
    ]
}

/// The line, with the stack of its longest poll behind it.
fn line(pooled: &Pooled, blocker: &Blocker) -> Markup {
    let shown = match blocker.line {
        Some(line) => place(line),
        None => format!("? (of {})", place(blocker.spawned_at)),
    };
    let is_its = |poll: &&SlowPoll| {
        let call = poll.syscall.as_ref().map(|call| call.name.as_str());
        poll.blocking_line.as_deref() == blocker.line
            && poll.cause.as_deref() == blocker.cause
            && call == blocker.call
            && !poll.stack.is_empty()
            && (blocker.line.is_some() || *poll.spawned_at == *blocker.spawned_at)
    };
    let longest = pooled.slow_polls().map(|(_, poll)| poll).filter(is_its).max_by_key(|poll| poll.duration_ns);
    let Some(poll) = longest else { return html! { code { (shown) } } };
    let more = poll.stack.len().saturating_sub(FRAMES) as u64;
    html! {
        details {
            summary { code { (shown) } }
            @if let Some(call) = &poll.syscall { p { code { (name(&call.text)) } } }
            ol.stack {
                @for frame in poll.stack.iter().take(FRAMES) {
                    li {
                        code { (frame.function.as_deref().map_or("?".to_owned(), name)) }
                        @if let Some(file) = &frame.file {
                            br; span.dim { (place(&frame.line.map_or(file.to_string(), |line| format!("{file}:{line}")))) }
                        }
                    }
                }
            }
            @if more > 0 { p.dim { "and " (plural(more, "more frame")) } }
            @if poll.stack_complete == Some(false) { p.dim { "The stack is not complete." } }
        }
    }
}

pub(super) fn who_waited(page: &Page) -> Option<Markup> {
    if page.modes.is_empty() {
        return None;
    }
    let row = |(index, pooled, charge): (usize, &Pooled, &Charge)| {
        vec![
            mode(index, pooled.name),
            Cell::markup(html! { code { (place(&charge.waiter)) } }),
            Cell::markup(html! { code { (place(&charge.culprit)) } }),
            Cell::number(Some(charge.tasks), format_count),
            Cell::shown(&format_wait(charge.wait_ns, charge.wait_most_ns), charge.wait_most_ns),
        ]
    };
    let charges = page.modes.iter().enumerate().flat_map(|(index, pooled)| {
        pooled.ledger.iter().flat_map(|ledger| &ledger.charges).map(move |charge| (index, pooled, charge))
    });
    let rows: Vec<Vec<Cell>> = charges.map(row).collect();
    let head = ["mode", "who waited", "behind slow polls of", "tasks", "waited"];
    Some(html! {
        @if rows.is_empty() { p { "Nobody is known to have waited for a slow poll." } } @else {
            p { "By spawn site: whose tasks were ready, and whose slow polls kept them waiting." }
            (table("Who waited", &head, rows))
        }
        ul {
            @for pooled in &page.modes {
                li {
                    (name(pooled.name)) ": "
                    @match &pooled.ledger {
                        Some(ledger) => { "waited otherwise, in all: " (format_ns(ledger.unattributed_ns)) }
                        None => { "— who waited was not measured" }
                    }
                }
            }
        }
    })
}
