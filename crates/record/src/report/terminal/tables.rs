//! Counts, spawn sites and the slowest polls.

use super::super::layout::{Ink, Line, cut, cut_start, paragraph, width};
use super::{NARROW, Page, WIDE};
use crate::by_group::ByGroup;
use crate::recording::{Site, SlowPoll};
use crate::report::measures::{Best, Figure, PRICE, factors, nanos, whole};
use crate::report::slow_poll::{at, executing, holder, places, still_executing};
use crate::units::{format_count, format_ns, format_percent, plural};

const COUNTS: [Figure; 5] = [
    Figure { name: SLOW_POLLS, of: |mode| Some(mode.slow_total() as f64), show: whole, best: Best::Least },
    Figure { name: "loop busy", of: |mode| mode.busy_fraction(), show: format_percent, best: Best::Least },
    Figure {
        name: "busy stretch, max",
        of: |mode| Some(mode.busy_stretches.as_ref()?.max_ns? as f64),
        show: nanos,
        best: Best::Least,
    },
    Figure { name: "polls", of: |mode| Some(mode.polls.as_ref()?.count() as f64), show: whole, best: Best::None },
    Figure { name: "unanswered", of: |mode| Some(mode.unanswered()? as f64), show: whole, best: Best::Least },
];

const SLOW_POLLS: &str = "slow polls";
const COUNT_LABEL: usize = 18;
const COUNT_CELL: usize = 11;
const WIDEST_COUNT_CELL: usize = 16;
/// Before the value of a mode, where there is room.
const GAP: usize = 2;
/// Between what is counted and what it costs.
const BETWEEN: usize = 3;

/// What is counted rather than timed, and what it costs: side by side where the page is wide enough.
pub(super) fn counts(page: &Page) -> Vec<Line> {
    if page.modes.is_empty() {
        return Vec::new();
    }
    let price = if page.modes.len() > 1 { "Price of the fix" } else { "Price" };
    let blocks = |gap| (block(page, "Counts", &COUNTS, gap), block(page, price, &PRICE, gap));
    let columns = |lines: &[Line]| lines.iter().map(Line::width).max().unwrap_or(0);
    let fits = |(left, right): &(Vec<Line>, Vec<Line>)| columns(left) + BETWEEN + columns(right) <= page.width;
    let Some((left, right)) = [GAP, 1].map(blocks).into_iter().find(fits) else {
        let (left, right) = blocks(GAP);
        return left.into_iter().chain([Line::new()]).chain(right).collect();
    };
    let (of_left, of_right) = (columns(&left), columns(&right));
    let between = if of_left + BETWEEN + of_right < page.width { BETWEEN + 1 } else { BETWEEN };
    let rows = left.len().max(right.len());
    let padded = |lines: Vec<Line>| lines.into_iter().chain(std::iter::repeat_with(Line::new)).take(rows);
    let side_by_side = |(left, right): (Line, Line)| {
        let pad = of_left + between - left.width();
        left.blank(pad).append(right)
    };
    padded(left).zip(padded(right)).map(side_by_side).collect()
}

/// A figure of all modes: each value, and how many times worse than the best it is.
struct CountRow {
    name: &'static str,
    cells: Vec<(Ink, String, String)>,
}

impl CountRow {
    fn of(page: &Page, figure: &Figure) -> CountRow {
        let values: Vec<Option<f64>> = page.modes.iter().map(figure.of).collect();
        let is_slow = figure.name == SLOW_POLLS;
        let is_sure = !is_slow || page.modes.iter().all(|mode| !mode.slow_is_at_least());
        let factors = factors(&values, if is_sure { figure.best } else { Best::None });
        let cell = |((mode, value), factor): ((&ByGroup, &Option<f64>), String)| {
            let ink = if is_slow && value.is_some_and(|n| n > 0.0) { Ink::Bad } else { Ink::Plain };
            let shown = if is_slow { Some(mode.slow_number()) } else { value.map(figure.show) };
            (ink, Page::or_unknown(shown), factor)
        };
        CountRow { name: figure.name, cells: page.modes.iter().zip(&values).zip(factors).map(cell).collect() }
    }
}

/// The columns of a block: of the names, of a mode, and of the factor in that, 0 where there is no room for one.
struct CountColumns {
    label: usize,
    cell: usize,
    factor: usize,
}

impl CountColumns {
    fn of(page: &Page, rows: &[CountRow], gap: usize) -> CountColumns {
        let modes = page.modes.len();
        let cells = || rows.iter().flat_map(|row| &row.cells);
        let widest = |of: fn(&(Ink, String, String)) -> usize| cells().map(of).max().unwrap_or(0);
        let name = page.modes.iter().map(|mode| width(mode.name) + 2).max().unwrap_or(0);
        let factor = widest(|(.., factor)| width(factor));
        let label = rows.iter().map(|row| width(row.name)).max().unwrap_or(0).max("Price of the fix".len());
        let cell = (gap + widest(|(_, value, _)| width(value)) + 1 + factor).max(name.min(WIDEST_COUNT_CELL));
        if factor > 0 && label + modes * cell <= page.width {
            return CountColumns { label, cell, factor: 1 + factor };
        }
        let cell = if modes > 1 { name.clamp(COUNT_CELL, WIDEST_COUNT_CELL) } else { COUNT_CELL };
        CountColumns { label: COUNT_LABEL, cell: cell.min(page.width.saturating_sub(COUNT_LABEL) / modes), factor: 0 }
    }
}

/// A heading, and the figures that are known of a mode.
fn block(page: &Page, title: &str, figures: &[Figure], gap: usize) -> Vec<Line> {
    let known = figures.iter().filter(|figure| page.modes.iter().any(|mode| (figure.of)(mode).is_some()));
    let rows: Vec<CountRow> = known.map(|figure| CountRow::of(page, figure)).collect();
    let columns = CountColumns::of(page, &rows, gap);
    let mut header = Line::new().text(Ink::Title, title).blank(columns.label.saturating_sub(title.len()));
    for (i, mode) in page.modes.iter().enumerate() {
        let name = if page.modes.len() > 1 { cut(mode.name, columns.cell.saturating_sub(1)) } else { String::new() };
        header = header.right(Ink::Mode(i), &name, columns.cell);
    }
    let line = |row: CountRow| {
        let line = Line::new().left(Ink::Plain, row.name, columns.label);
        row.cells.iter().fold(line, |line, (ink, value, factor)| {
            let factor = if columns.factor > 0 { factor } else { "" };
            line.right(*ink, value, columns.cell - columns.factor).right(Ink::Dim, factor, columns.factor)
        })
    };
    std::iter::once(header).chain(rows.into_iter().map(line)).collect()
}

/// Spawn sites shown of each mode.
const SITES: usize = 5;

pub(super) fn sites(page: &Page) -> Vec<Line> {
    if page.modes.iter().all(|mode| mode.known_sites().is_empty()) {
        return Vec::new();
    }
    let table = SiteTable::of(page);
    let mut lines = vec![table.header()];
    for (index, mode) in page.modes.iter().enumerate() {
        lines.extend(page.mode_line(index));
        for (row, site) in mode.known_sites().iter().take(SITES).enumerate() {
            let name = if row == 0 { mode.name } else { "" };
            let line = Line::new().left(Ink::Mode(index), if table.mode == 0 { "" } else { name }, table.mode);
            lines.push(table.row(line, mode, site));
        }
        if mode.known_sites().len() > SITES {
            let more = format!("and {}", plural((mode.known_sites().len() - SITES) as u64, "more site"));
            lines.push(Line::indent(table.mode.max(2)).text(Ink::Dim, &more));
        }
    }
    lines
}

struct SiteTable {
    mode: usize,
    site: usize,
    task: usize,
    has_p99: bool,
}

const NUMBER: usize = 9;

impl SiteTable {
    fn of(page: &Page) -> SiteTable {
        let mode = page.mode_columns_of_places();
        let has_p99 = !page.is_narrow();
        let numbers = NUMBER * if has_p99 { 5 } else { 4 };
        let shown = || page.modes.iter().flat_map(|mode| mode.known_sites().iter().take(SITES));
        let longest_task = shown().filter_map(|site| site.task_name.as_ref()).map(|name| width(name) + 2).max();
        let longest_site = shown().map(|site| width(&site.spawned_at) + 2).max().unwrap_or(0);
        let room = page.width.saturating_sub(mode + numbers);
        let task = match page.width {
            WIDE.. => longest_task.unwrap_or(0).min(32),
            NARROW.. => longest_task.unwrap_or(0).min(room / 3),
            _ => 0,
        };
        let title = "Spawn sites".len() + 2;
        SiteTable { mode, site: longest_site.max(title).min(room.saturating_sub(task)), task, has_p99 }
    }

    fn header(&self) -> Line {
        let title = "Spawn sites";
        let columns = (self.mode + self.site).saturating_sub(title.len());
        let line = Line::new().text(Ink::Title, title).blank(columns);
        let line =
            line.left(Ink::Dim, if self.task > 0 { "task" } else { "" }, self.task).right(Ink::Dim, "polls", NUMBER);
        let line = if self.has_p99 { line.right(Ink::Dim, "p99", NUMBER) } else { line };
        line.right(Ink::Dim, "max", NUMBER).right(Ink::Dim, "slow", NUMBER).right(Ink::Dim, "of busy", NUMBER)
    }

    fn row(&self, line: Line, mode: &ByGroup, site: &Site) -> Line {
        let ns = |ns: Option<u64>| Page::or_unknown(ns.map(format_ns));
        let at = cut_start(&site.spawned_at, self.site.saturating_sub(2));
        let task = site.task_name.as_deref().unwrap_or("");
        let line = line
            .left(Ink::Plain, &at, self.site)
            .left(Ink::Dim, &cut(task, self.task.saturating_sub(2)), self.task)
            .right(Ink::Plain, &format_count(site.polls.count()), NUMBER);
        let line =
            if self.has_p99 { line.right(Ink::Plain, &ns(site.polls.shown_quantile_ns(0.99)), NUMBER) } else { line };
        let busy = mode.busy_ns().filter(|busy| *busy > 0);
        let share = busy.map(|busy| format_percent(site.polls.sum_ns as f64 / busy as f64));
        line.right(Ink::Plain, &ns(site.polls.max_ns), NUMBER)
            .right(if site.slow > 0 { Ink::Bad } else { Ink::Plain }, &format_count(site.slow), NUMBER)
            .right(Ink::Plain, &Page::or_unknown(share), NUMBER)
    }
}

/// Slow polls shown in all.
const SLOWEST: usize = 5;

/// The longest of all modes, by mode.
pub(super) fn slow_polls(page: &Page) -> Vec<Line> {
    let mut kept: Vec<u64> =
        page.modes.iter().flat_map(|mode| mode.slow_polls().map(|(_, slow)| slow.duration_ns)).collect();
    kept.sort_unstable();
    let shortest_shown = kept.iter().rev().take(SLOWEST).next_back().copied().unwrap_or(0);
    let mut lines = Vec::new();
    for (index, mode) in page.modes.iter().enumerate().filter(|(_, mode)| mode.slow_total() > 0) {
        let mut slow: Vec<_> = mode.slow_polls().filter(|(_, slow)| slow.duration_ns >= shortest_shown).collect();
        slow.sort_by_key(|(_, slow)| std::cmp::Reverse(slow.duration_ns));
        slow.truncate(SLOWEST);
        let of = match (slow.len(), mode.slow_total()) {
            (shown, total) if mode.slow_is_at_least() && shown as u64 == total => {
                format!("at least {} seen, longest first", format_count(total))
            }
            (0, total) if kept.is_empty() => format!("none kept of {}", format_count(total)),
            (0, total) => format!("none of {} among the longest", format_count(total)),
            (shown, total) if shown as u64 == total => "longest first".to_owned(),
            (shown, total) if mode.slow_is_at_least() => {
                format!("the longest {shown} of {} seen", format_count(total))
            }
            (shown, total) => format!("the longest {shown} of {}", format_count(total)),
        };
        let title = if lines.is_empty() { "Slow polls" } else { "" };
        let name = if page.modes.len() > 1 { mode.name } else { "" };
        let heading = Line::new().text(Ink::Title, title).blank(12 - title.len()).left(
            Ink::Mode(index),
            name,
            page.mode_columns(),
        );
        lines.push(heading.text(Ink::Dim, &of));
        for (round, slow) in slow {
            let round = if mode.rounds.len() > 1 { format!("round {round} ") } else { String::new() };
            let when = format!("{round}+{:.2} s", slow.start_ns as f64 / 1e9);
            let prefix = Line::new().text(Ink::Dim, &when).blank(1);
            lines.extend(paragraph(prefix, Ink::Plain, &executing(slow), page.width));
            lines.extend(where_and_for_whom(page, slow));
        }
    }
    lines
}

/// Where a slow poll's time went, and who has what it waited for, as far as that is known.
fn where_and_for_whom(page: &Page, slow: &SlowPoll) -> Vec<Line> {
    let all = places(slow).into_iter().chain(holder(slow));
    all.flat_map(|text| paragraph(Line::indent(4), Ink::Dim, &text, page.width)).collect()
}

/// Stalls that are listed of each mode.
const OPEN: usize = 5;

/// The polls that had not ended when the recording did.
pub(super) fn stalls_open(page: &Page) -> Vec<Line> {
    let mut lines = Vec::new();
    for (index, mode) in page.modes.iter().enumerate() {
        let open: Vec<&SlowPoll> = mode.rounds.iter().flat_map(|run| &run.stalls_open).collect();
        if open.is_empty() {
            continue;
        }
        let title = if lines.is_empty() { "Still running when the recording ended" } else { "" };
        let name = if page.modes.len() > 1 { mode.name } else { "" };
        lines.push(Line::new().text(Ink::Title, title).blank(2).text(Ink::Mode(index), name));
        for poll in open.iter().take(OPEN) {
            let prefix = Line::new().text(Ink::Dim, &format!("+{:.2} s", poll.start_ns as f64 / 1e9)).blank(1);
            let at = at(poll);
            lines.extend(paragraph(prefix, Ink::Plain, &(still_executing(poll) + &at), page.width));
            lines.extend(where_and_for_whom(page, poll));
        }
        if open.len() > OPEN {
            lines.push(Line::indent(4).text(Ink::Dim, &format!("and {} more", open.len() - OPEN)));
        }
    }
    lines
}
