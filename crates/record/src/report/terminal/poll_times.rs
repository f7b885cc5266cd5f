//! The histogram of poll times: the first mode to the left, the second to the right, slow polls below a line.

use super::super::layout::{Ink, Line, cut, width};
use super::Page;
use crate::by_group::ByGroup;
use crate::units::{format_count, format_round_ns, plural};

/// Rows that a histogram may have before its steps become coarser.
const MOST_ROWS: usize = 15;
/// The steps within a decade, the finest first.
const STEPS: [&[u64]; 3] = [&[1, 2, 5], &[1, 3], &[1]];
/// As many empty rows in a row are shown as one.
const GAP: usize = 3;
const LABEL: usize = 10;
/// All cells together.
const WIDEST: usize = 120;

pub(super) fn section(page: &Page) -> Vec<Line> {
    let known = || page.modes.iter().filter_map(|mode| mode.polls.as_ref());
    let (Some(low), Some(high)) = (known().filter_map(|d| d.min_ns).min(), known().filter_map(|d| d.max_ns).max())
    else {
        return Vec::new();
    };
    let threshold = page.modes[0].threshold_ns();
    let edges = edges(low.max(1), high.max(1), threshold);
    let counts: Vec<Vec<u64>> = page.modes.iter().map(|mode| rows(mode, &edges, threshold)).collect();
    let chart = Chart::of(page, &counts);
    let mut lines = vec![chart.header()];
    let mut row = 0;
    while row + 1 < edges.len() {
        if edges[row] == threshold {
            lines.push(chart.threshold(threshold));
        }
        let empty = (row..edges.len() - 1)
            .take_while(|&at| counts.iter().all(|mode| mode[at] == 0) && (at == row || edges[at] != threshold))
            .count();
        if empty >= GAP {
            lines.push(chart.row("┊", &[], false));
            row += empty;
            continue;
        }
        let count: Vec<u64> = counts.iter().map(|mode| mode[row]).collect();
        lines.push(chart.row(&format_round_ns(edges[row]), &count, edges[row] >= threshold));
        row += 1;
    }
    if threshold >= edges[edges.len() - 1] {
        lines.push(chart.threshold(threshold));
    }
    lines
}

/// The lower ends of the rows and the upper end of the last, with the threshold among them where it lies between.
fn edges(low: u64, high: u64, threshold: u64) -> Vec<u64> {
    let mut edges = Vec::new();
    for steps in STEPS {
        let marks =
            (low.ilog10()..=high.ilog10() + 1).flat_map(|power| steps.iter().map(move |s| s * 10u64.pow(power)));
        let marks: Vec<u64> = marks.collect();
        let first = marks.partition_point(|&mark| mark <= low).saturating_sub(1);
        let last = marks.partition_point(|&mark| mark <= high);
        edges = marks[first..=last].to_vec();
        if edges[0] < threshold && threshold < edges[edges.len() - 1] {
            edges.push(threshold);
            edges.sort_unstable();
            edges.dedup();
        }
        if edges.len() <= MOST_ROWS + 1 {
            break;
        }
    }
    edges
}

/// Polls by row. The bucket that holds the threshold is divided so that the exact count of slow polls comes out.
fn rows(mode: &ByGroup, edges: &[u64], threshold: u64) -> Vec<u64> {
    let mut rows = vec![0; edges.len() - 1];
    let Some(polls) = &mode.polls else { return rows };
    for bucket in polls.buckets() {
        let row = edges.partition_point(|&edge| edge <= bucket.low_ns).saturating_sub(1).min(rows.len() - 1);
        rows[row] += bucket.count;
    }
    if let Some(slow) = edges.iter().position(|&edge| edge == threshold).filter(|&at| at > 0 && at < rows.len()) {
        let above: u64 = rows[slow..].iter().sum();
        let in_doubt = polls.count_at(threshold).min(rows[slow - 1]);
        let moved = mode.slow_total().saturating_sub(above).min(in_doubt);
        rows[slow - 1] -= moved;
        rows[slow] += moved;
    }
    rows
}

struct Chart<'p> {
    page: &'p Page<'p>,
    /// Columns of the label between or before the cells.
    label: usize,
    /// Columns of a mode's cell.
    cell: usize,
    /// Columns of the longest count.
    digits: usize,
    highest: u64,
}

impl<'p> Chart<'p> {
    fn of(page: &'p Page<'p>, counts: &[Vec<u64>]) -> Chart<'p> {
        let highest = counts.iter().flatten().copied().max().unwrap_or(0).max(1);
        let label = if page.modes.len() == 2 { LABEL } else { LABEL + 2 };
        let cell = page.width.saturating_sub(label).min(WIDEST) / page.modes.len().max(1);
        Chart { page, label, cell, digits: width(&format_count(highest)), highest }
    }

    /// Two modes stand back to back; one, or more than two, all look to the right of the label.
    fn is_butterfly(&self) -> bool {
        self.page.modes.len() == 2
    }

    /// One line: a cell a mode, and the label between two or before the others.
    fn compose(&self, label: (Ink, &str), cell: impl Fn(usize, bool) -> Line) -> Line {
        let text_columns = width(label.1).min(self.label);
        let free = self.label - text_columns;
        let before = if self.is_butterfly() { free.div_ceil(2) } else { free.saturating_sub(1) };
        let label = Line::indent(before).left(label.0, label.1, self.label - before);
        let mut line = Line::new();
        if !self.is_butterfly() {
            line = line.append(label.clone());
        }
        for mode in 0..self.page.modes.len() {
            let mirrored = self.is_butterfly() && mode == 0;
            let content = cell(mode, mirrored);
            let pad = self.cell.saturating_sub(content.width());
            line = if mirrored {
                line.blank(pad).append(content).append(label.clone())
            } else {
                line.append(content).blank(pad)
            };
        }
        line
    }

    fn header(&self) -> Line {
        let polls = |mode: usize| {
            self.page.modes[mode]
                .polls
                .as_ref()
                .map_or("polls not known".to_owned(), |polls| plural(polls.count(), "poll"))
        };
        let title = "Poll times (log)";
        let line = self.compose((Ink::Dim, if self.is_butterfly() { "from" } else { "" }), |mode, mirrored| {
            let name = self.page.modes[mode].name;
            // Where the title stands over the labels, it is longer than they are.
            let lead = if self.is_butterfly() || mode > 0 { 0 } else { (title.len() + 1).saturating_sub(self.label) };
            let room = self.cell.saturating_sub(if mirrored { title.len() + 1 } else { 1 + lead });
            let text = match self.page.modes.len() {
                1 => polls(mode),
                _ => format!("{name}: {}", polls(mode)),
            };
            let text = if width(&text) > room { name } else { &text };
            Line::indent(lead).text(Ink::Mode(mode), &cut(text, room))
        });
        line.over_start(Ink::Title, title)
    }

    fn row(&self, label: &str, counts: &[u64], is_slow: bool) -> Line {
        let bars = self.cell.saturating_sub(self.digits + 2);
        self.compose((Ink::Plain, label), |mode, mirrored| {
            let count = counts.get(mode).copied().unwrap_or(0);
            if count == 0 {
                return Line::new();
            }
            let bar = self.bar(count, bars, mirrored);
            let ink = if is_slow { Ink::Bad } else { Ink::Mode(mode) };
            let number = format_count(count);
            if mirrored {
                Line::new().text(Ink::Plain, &number).blank(1).text(ink, &bar)
            } else {
                Line::new().text(ink, &bar).blank(1).text(Ink::Plain, &number)
            }
        })
    }

    /// As long as the logarithm of the count, in half columns; one poll is never nothing.
    fn bar(&self, count: u64, columns: usize, mirrored: bool) -> String {
        let part = (count as f64).ln_1p() / (self.highest as f64).ln_1p();
        let halves = ((part * columns as f64 * 2.0).round() as usize).max(1);
        let full = "█".repeat(halves / 2);
        match (halves % 2, mirrored) {
            (0, _) => full,
            (_, true) => format!("▐{full}"),
            (_, false) => format!("{full}▌"),
        }
    }

    /// The line that slow polls lie below.
    fn threshold(&self, threshold: u64) -> Line {
        let label = format!("╌ {} ╌", format_round_ns(threshold));
        self.compose((Ink::Dim, &label), |mode, mirrored| {
            let text = format!(" {} slow ", format_count(self.page.modes[mode].slow_total()));
            let ink = if self.page.modes[mode].slow_total() > 0 { Ink::Bad } else { Ink::Dim };
            let dashes = "╌".repeat(self.cell.saturating_sub(width(&text) + 1));
            if mirrored {
                Line::new().text(Ink::Dim, &dashes).text(ink, &text).text(Ink::Dim, "╌")
            } else {
                Line::new().text(Ink::Dim, "╌").text(ink, &text).text(Ink::Dim, &dashes)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::by_group::by_group;
    use crate::fixture::{MS, blocked};

    #[test]
    fn the_threshold_is_always_an_edge() {
        assert_eq!(edges(3_000, 30_000, 10_000), [2_000, 5_000, 10_000, 20_000, 50_000]);
        assert_eq!(edges(3_000, 30_000, 12_500), [2_000, 5_000, 10_000, 12_500, 20_000, 50_000]);
        assert_eq!(edges(1, 1, 100), [1, 2]);
        assert_eq!(edges(1, 3_600_000_000_000, 100 * MS).len(), 14, "decades");
    }

    #[test]
    fn a_poll_of_exactly_the_threshold_is_below_the_line_in_the_picture_too() {
        let runs = [blocked("naive", &[100 * MS, 100 * MS + 1, 503 * MS])];
        let mode = &by_group(&runs)[0];
        let edges = [MS, 100 * MS, 200 * MS, 1_000 * MS];
        assert_eq!(rows(mode, &edges, 100 * MS)[1..], [2, 1]);
        let total: u64 = rows(mode, &edges, 100 * MS).iter().sum();
        assert_eq!(total, mode.polls.as_ref().unwrap().count());
    }
}
