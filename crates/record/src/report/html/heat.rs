//! Polls by when they ended and how long they took: one picture in which rare long polls stand out of the many short ones.

use std::collections::BTreeMap;
use std::ops::Range;

use maud::{Markup, html};

use super::Page;
use super::chart::{LEFT, Log, RIGHT, Steps, Time, at, figure, title_y};
use super::table::class;
use super::text::name;
use crate::by_group::ByGroup;
use crate::recording::Dist;
use crate::units::{format_count, format_round_ns};

/// Columns, unless there are fewer intervals.
const COLUMNS: u64 = 64;
/// Rows a decade of durations.
const ROWS: u32 = 4;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 236.0;
/// Shades: each stands for ten times as many polls as the one before.
const SHADES: [&str; 6] = ["h0", "h1", "h2", "h3", "h4", "h5"];

pub(super) fn section(page: &Page) -> Option<Markup> {
    let intervals = || page.recording.runs.iter().flat_map(|run| &run.intervals);
    let longest = intervals().filter_map(|interval| interval.polls.as_ref()?.max_ns).max()?;
    let shortest = intervals().filter_map(|interval| interval.polls.as_ref()?.min_ns).min()?.max(100);
    let scale = Log::new(shortest, longest, BOTTOM, TOP);
    let time = Time::of(page);
    let columns = page.recording.runs.iter().map(|run| run.intervals.len() as u64).max()?.clamp(1, COLUMNS);
    Some(html! {
        p { "Polls by when they ended, from left to right, and how long they took, from bottom to top; all rounds of a mode lie over \
             one another. The stronger the colour, the more polls:" }
        ul.legend {
            @for (power, shade) in SHADES.iter().enumerate() {
                li {
                    svg.sample viewBox="0 0 34 10" aria-hidden="true" { rect.(*shade) width="34" height="10" {} }
                    "from " (format_count(10u64.pow(power as u32)))
                }
            }
        }
        div.charts {
            @for (index, mode) in page.modes.iter().enumerate() { (map(index, mode, &scale, &time, columns)) }
        }
    })
}

fn map(index: usize, mode: &ByGroup, scale: &Log, time: &Time, columns: u64) -> Markup {
    let lowest = scale.decades().start * ROWS;
    let rows = scale.decades().end * ROWS - lowest;
    let (width, height) = ((RIGHT - LEFT) / columns as f64, (BOTTOM - TOP) / f64::from(rows));
    // Lines as wide as a column, in columns and rows, and one path a shade: a page of thousands of rectangles would be slow.
    let grid = format!("translate({} {}) scale({width:.3} -{height:.3})", at(LEFT + width / 2.0), at(BOTTOM));
    let mut lines = [const { Steps::new() }; SHADES.len()];
    for (shade, column, rows) in blocks(&cells(mode, time, columns)) {
        let [from, to] = [rows.start.max(lowest), rows.end.max(lowest + 1)].map(|row| f64::from(row - lowest));
        lines[shade].go(column as f64, from);
        lines[shade].line(column as f64, to);
    }
    let threshold = scale.within(mode.threshold_ns());
    let content = html! {
        (title_y(TOP, "duration of polls, log scale"))
        @for (ns, y) in scale.ticks(5) {
            text x=(at(LEFT - 6.0)) y=(at(y + 4.0)) text-anchor="end" { (format_round_ns(ns)) }
        }
        g transform=(grid) {
            @for (shade, lines) in SHADES.iter().zip(lines).filter(|(_, lines)| !lines.is_empty()) {
                path.(*shade) d=(lines.d()) {}
            }
        }
        @if let Some(y) = threshold {
            path.threshold d={ "M" (at(LEFT)) " " (at(y)) "H" (at(RIGHT)) } { title { "slow: " (format_round_ns(mode.threshold_ns())) } }
        }
        (time.axis(BOTTOM + 2.0))
    };
    let count = mode.polls.as_ref().map_or("no known".to_owned(), |polls| format_count(polls.count()));
    let says = format!("{}: {count} polls by time and duration", name(mode.name));
    figure(html! { h3.mode.(class(index)) { (name(mode.name)) } }, &says, 286.0, content)
}

/// Polls by column of time and row of duration.
fn cells(mode: &ByGroup, time: &Time, columns: u64) -> BTreeMap<(u64, u32), u64> {
    let mut cells = BTreeMap::new();
    for interval in mode.rounds.iter().flat_map(|run| &run.intervals) {
        let column = u128::from(interval.start_ns) * u128::from(columns) / u128::from(time.end_ns());
        let column = (column as u64).min(columns - 1);
        for bucket in interval.polls.iter().flat_map(Dist::buckets) {
            let row = ((bucket.low_ns.max(1) as f64).log10() * f64::from(ROWS)).floor() as u32;
            *cells.entry((column, row)).or_insert(0u64) += bucket.count;
        }
    }
    cells
}

/// Cells of one shade above one another, as one.
fn blocks(cells: &BTreeMap<(u64, u32), u64>) -> Vec<(usize, u64, Range<u32>)> {
    let mut blocks: Vec<(usize, u64, Range<u32>)> = Vec::new();
    for ((column, row), count) in cells {
        let shade = (count.max(&1).ilog10() as usize).min(SHADES.len() - 1);
        match blocks.last_mut() {
            Some((same, within, rows)) if (*same, *within, rows.end) == (shade, *column, *row) => rows.end += 1,
            _ => blocks.push((shade, *column, *row..*row + 1)),
        }
    }
    blocks
}
