//! Who blocked the loop, with stacks, and who waited for whom.

use maud::{Markup, html};

use super::Page;
use super::frames::{Whose, frame_name, pieces};
use super::table::{Cell, mode, table};
use super::text::{name, or_unknown, place, start_of};
use crate::blockers::{Blocker, blockers};
use crate::by_group::ByGroup;
use crate::recording::{Charge, Frame, SlowPoll};
use crate::report::terminal::waits::{blocker_wait, format_wait};
use crate::units::{format_count, format_ns, format_percent, plural};

/// Rows a mode.
const ROWS: usize = 25;
/// Frames shown of a stack.
const FRAMES: usize = 40;
/// Columns of a frame's whole name.
const WHOLE: usize = 400;

pub(super) fn who_blocked(page: &Page) -> Option<Markup> {
    let mut rows = Vec::new();
    for (index, group) in page.modes.iter().enumerate() {
        let mut blockers = blockers(group.slow_polls().map(|(_, poll)| poll));
        blockers.truncate(ROWS);
        let longest = longest(group, &blockers);
        for (blocker, poll) in blockers.iter().zip(longest) {
            let is_first = rows.is_empty();
            rows.push(blocker_row(index, group, blocker));
            rows.extend(poll.map(|poll| vec![Cell::row(stack(poll, is_first))]));
        }
    }
    if rows.is_empty() {
        let was_any = page.modes.iter().any(|mode| mode.slow_total() > 0);
        let why = if was_any { "Slow polls were counted, but none was kept." } else { none_slow(page) };
        return Some(html! { p { (why) } });
    }
    let head = ["mode", "blocking line", "cause", "in", "polls", "time", "of run", "worst", "waited"];
    Some(html! {
        p { "The innermost line of your own code on the stack of slow polls, and below it the stack of its longest poll." }
        (table("Who blocked the loop", &head, rows))
    })
}

/// That no poll was slow, or, where not all are seen, that none was seen to be.
pub(super) fn none_slow(page: &Page) -> &'static str {
    let is_sure = page.modes.iter().all(|mode| !mode.slow_is_at_least());
    if is_sure { "No poll was slow." } else { "No slow poll was seen." }
}

/// The longest poll with a stack of each. In one pass that seldom compares texts: there may be a million polls.
fn longest<'a>(group: &ByGroup<'a>, blockers: &[Blocker]) -> Vec<Option<&'a SlowPoll>> {
    let mut longest: Vec<Option<&SlowPoll>> = vec![None; blockers.len()];
    for (_, poll) in group.slow_polls().filter(|(_, poll)| !poll.stack.is_empty()) {
        for (blocker, found) in blockers.iter().zip(&mut longest) {
            let is_longer = found.is_none_or(|found| poll.duration_ns > found.duration_ns);
            if is_longer && poll.duration_ns <= blocker.worst_ns && blocker.is_of(poll) {
                *found = Some(poll);
            }
        }
    }
    longest
}

fn blocker_row(index: usize, group: &ByGroup, blocker: &Blocker) -> Vec<Cell> {
    let elapsed: u64 = group.rounds.iter().map(|run| run.elapsed_ns).sum();
    let share = (elapsed > 0).then(|| blocker.total_ns as f64 / elapsed as f64);
    let waited = match (blocker_wait(blocker), blocker.wait_most_ns) {
        (Some(waited), Some(most)) => Cell::shown(&waited, most),
        _ => Cell::number(None::<u64>, format_ns),
    };
    vec![
        mode(index, group.name),
        Cell::markup(line(blocker)),
        Cell::text(&blocker.cause.map_or_else(|| "unknown".to_owned(), |cause| name(cause))),
        Cell::text(&or_unknown(blocker.call.map(name))),
        Cell::number(Some(blocker.polls), format_count),
        Cell::number(Some(blocker.total_ns), format_ns),
        Cell::number(share, format_percent),
        Cell::number(Some(blocker.worst_ns), format_ns),
        waited,
    ]
}

/// The line, and what called it.
fn line(blocker: &Blocker) -> Markup {
    html! {
        code { (place(&blocker.place())) }
        @if let Some(caller) = blocker.caller { br; span.dim { "called from " code { (place(caller)) } } }
    }
}

/// The stack of a poll, innermost first, in a row of its own. What the runtime and the libraries did in between is folded.
fn stack(poll: &SlowPoll, is_open: bool) -> Markup {
    let shown = &poll.stack[..poll.stack.len().min(FRAMES)];
    let more = (poll.stack.len() - shown.len()) as u64;
    html! {
        details open[is_open] {
            summary { "the stack of its longest poll, " (format_ns(poll.duration_ns)) }
            @if let Some(call) = &poll.syscall { p { span.whose.call { "call" } " " code { (name(&call.text)) } } }
            ol.stack {
                @for piece in pieces(shown) {
                    li {
                        @if let [frame] = piece.frames { (one(frame, piece.whose)) } @else {
                            details {
                                summary { code.(piece.whose.class()) { (piece.label()) } }
                                ol.stack { @for frame in piece.frames { li { (one(frame, piece.whose)) } } }
                            }
                        }
                    }
                }
            }
            @if more > 0 { p.dim { "and " (plural(more, "more frame")) } }
            @if poll.stack_complete == Some(false) { p.dim { "The stack is not complete." } }
        }
    }
}

/// A frame: its name is short, and whole where it is pointed at.
fn one(frame: &Frame, whose: Whose) -> Markup {
    html! {
        code.(whose.class()) title=[frame.function.as_deref().map(|function| start_of(function, WHOLE))] { (frame_name(frame)) }
        @if let (Some(_), Some(file)) = (&frame.function, &frame.file) {
            " " span.dim { (place(&frame.line.map_or(file.to_string(), |line| format!("{file}:{line}")))) }
        }
    }
}

pub(super) fn who_waited(page: &Page) -> Option<Markup> {
    if page.modes.is_empty() {
        return None;
    }
    let row = |(index, group, charge): (usize, &ByGroup, &Charge)| {
        vec![
            mode(index, group.name),
            Cell::markup(html! { code { (place(&charge.waiter)) } }),
            Cell::markup(html! { code { (place(&charge.culprit)) } }),
            Cell::number(Some(charge.tasks), format_count),
            Cell::shown(&format_wait(charge.wait_ns, charge.wait_most_ns), charge.wait_most_ns),
        ]
    };
    let charges = page.modes.iter().enumerate().flat_map(|(index, group)| {
        group.ledger.iter().flat_map(|ledger| &ledger.charges).map(move |charge| (index, group, charge))
    });
    let rows: Vec<Vec<Cell>> = charges.map(row).collect();
    let head = ["mode", "who waited", "behind slow polls of", "waits", "waited"];
    Some(html! {
        @if rows.is_empty() { p { "Nobody is known to have waited for a slow poll." } } @else {
            p { "By spawn site: whose tasks were ready, and whose slow polls kept them waiting." }
            (table("Who waited", &head, rows))
        }
        ul {
            @for group in &page.modes {
                li {
                    (name(group.name)) ": "
                    @match &group.ledger {
                        Some(ledger) => { "waited otherwise, in all: " (format_ns(ledger.unattributed_ns)) }
                        None => { "— who waited was not measured" }
                    }
                }
            }
        }
    })
}
