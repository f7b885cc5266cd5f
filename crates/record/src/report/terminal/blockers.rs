//! Who blocked the loop: the lines of the user's code, why they block, and who paid.

use super::super::layout::{Ink, Line, cut, cut_start, paragraph, width};
use super::Page;
use super::waits::blocker_wait;
use crate::blockers::{Blocker, blockers};
use crate::by_group::ByGroup;
use crate::recording::Cause;
use crate::units::{format_count, format_ns, format_percent};

/// Rows a mode.
const ROWS: usize = 6;
const NUMBER: usize = 9;
const COUNT: usize = 7;
/// `≤ 34.0 ms`, and a gap.
const WAITED: usize = NUMBER + 1;
/// The longest name of a call that is shown whole: `clock_nanosleep`.
const CALL: usize = 15;
/// Columns that a line of code is to have before the call gets any.
const PLACE: usize = 32;
/// From this width on, the share of the run's time is shown as well.
const ROOMY: usize = 116;
const CAUSE: usize = 15;
const TITLE: &str = "Who blocked the loop";
/// Before what calls a line.
const FROM: &str = "  from ";

/// Nothing where no line was seen: the slow polls themselves say as much.
pub(super) fn who_blocked(page: &Page) -> Vec<Line> {
    let of_mode: Vec<(usize, &ByGroup, Vec<Blocker>)> = page
        .modes
        .iter()
        .enumerate()
        .map(|(index, mode)| (index, mode, blockers(mode.slow_polls().map(|(_, poll)| poll))))
        .filter(|(_, _, rows)| rows.iter().any(|row| row.line.is_some()))
        .collect();
    if of_mode.is_empty() {
        return Vec::new();
    }
    let shown = || of_mode.iter().flat_map(|(_, _, rows)| rows.iter().take(ROWS));
    let longest_call = shown().filter_map(|row| row.call).map(width).max().unwrap_or(0);
    let callers =
        of_mode.iter().flat_map(|(_, _, rows)| rows.iter().take(ROWS).filter_map(|row| row.caller_among(rows)));
    let longest_place =
        shown().map(|row| width(&row.place())).chain(callers.map(|caller| FROM.len() + width(caller))).max();
    let table = Table::of(page, longest_call, longest_place.unwrap_or(0));
    let mut lines = vec![table.header()];
    for (index, mode, rows) in of_mode {
        lines.extend(page.mode_line(index));
        for (row, blocker) in rows.iter().take(ROWS).enumerate() {
            let name = if row == 0 { mode.name } else { "" };
            let start = Line::new().left(Ink::Mode(index), &cut(name, table.mode), table.mode);
            lines.push(table.row(start, mode, blocker));
            if let Some(caller) = blocker.caller_among(&rows) {
                let from = cut_start(caller, table.place.saturating_sub(FROM.len() + 2));
                lines.push(Line::new().blank(table.mode).text(Ink::Dim, &format!("{FROM}{from}")));
            }
        }
    }
    if table.has_time && page.modes.iter().any(|mode| mode.first().subject.target().is_some() && mode.ledger.is_none())
    {
        lines.extend(paragraph(Line::new(), Ink::Dim, "—: who waited is not known", page.width));
    }
    lines
}

/// Which columns there is room for.
struct Table {
    mode: usize,
    place: usize,
    call: usize,
    cause: usize,
    has_time: bool,
    has_share: bool,
}

impl Table {
    fn of(page: &Page, longest_call: usize, longest_place: usize) -> Table {
        let mode = page.mode_columns_of_places();
        let has_time = !page.is_narrow();
        let has_share = page.width >= ROOMY;
        let waited = if has_time { WAITED } else { 0 };
        let numbers = COUNT + waited + NUMBER * (1 + usize::from(has_time) + usize::from(has_share));
        let room = page.width.saturating_sub(mode + numbers);
        // The title, and a gap, stand over the place.
        let cause = if room >= TITLE.len() + 2 + CAUSE { CAUSE } else { 0 };
        let room = room - cause;
        let call = Some(longest_call.min(CALL) + 2).filter(|call| room >= PLACE + call).unwrap_or(0);
        // No wider than what stands there: numbers far from their names are hard to follow.
        let least = (TITLE.len() + 2).saturating_sub(mode);
        let place = (room - call).min((longest_place + 2).max(least));
        Table { mode, place, call, cause, has_time, has_share }
    }

    fn header(&self) -> Line {
        let line = Line::new().text(Ink::Title, TITLE).blank((self.mode + self.place).saturating_sub(TITLE.len()));
        let line = line.left(Ink::Dim, if self.call > 0 { "in" } else { "" }, self.call);
        let line =
            line.left(Ink::Dim, if self.cause > 0 { "cause" } else { "" }, self.cause).right(Ink::Dim, "polls", COUNT);
        let line = if self.has_time { line.right(Ink::Dim, "time", NUMBER) } else { line };
        let line = if self.has_share { line.right(Ink::Dim, "of run", NUMBER) } else { line };
        let line = line.right(Ink::Dim, "worst", NUMBER);
        if self.has_time { line.right(Ink::Dim, "waited", WAITED) } else { line }
    }

    fn row(&self, start: Line, mode: &ByGroup, blocker: &Blocker) -> Line {
        let place = blocker.place();
        let line = start
            .left(Ink::Plain, &cut_start(&place, self.place.saturating_sub(2)), self.place)
            .left(Ink::Plain, &cut(blocker.call.unwrap_or(""), self.call.saturating_sub(2)), self.call)
            .left(Ink::Bad, blocker.cause.map_or("unknown", Cause::as_str), self.cause)
            .right(Ink::Plain, &format_count(blocker.polls), COUNT);
        let line = if self.has_time { line.right(Ink::Plain, &format_ns(blocker.total_ns), NUMBER) } else { line };
        let elapsed: u64 = mode.rounds.iter().map(|run| run.elapsed_ns).sum();
        let share = (elapsed > 0).then(|| format_percent(blocker.total_ns as f64 / elapsed as f64));
        let line = if self.has_share { line.right(Ink::Plain, &Page::or_unknown(share), NUMBER) } else { line };
        let line = line.right(Ink::Plain, &format_ns(blocker.worst_ns), NUMBER);
        let waited = Page::or_unknown(blocker_wait(blocker));
        if self.has_time { line.right(Ink::Plain, &waited, WAITED) } else { line }
    }
}
