//! A comparison as a page: what was compared, what was expected of it, one table a mode, and what it comes to.

mod json;
mod markdown;
#[cfg(test)]
mod tests;

use super::gates;
use super::layout::{Ink, Line, paragraph};
use super::style::Style;
use crate::compare::{Basis, Comparison, Open, Rounds, Row, Verdict, change_of, conclusion, noted};
use crate::recording::Gate;
use crate::units::{format_count, plural};

/// What a comparison is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For a terminal.
    Text,
    /// For other tools.
    Json,
    /// For a summary in CI or a comment.
    Markdown,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 3] = [Format::Text, Format::Json, Format::Markdown];

    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
            Format::Markdown => "markdown",
        }
    }

    /// The format of that name.
    pub fn from_name(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.as_str() == name)
    }
}

/// What is reported: comparisons of one or more modes, and what to know of all of them.
#[derive(Debug)]
pub struct Compared {
    /// The scenario's name.
    pub scenario: String,
    /// What the sides are, each as `A: file.json`; empty where their names say it.
    pub sides: Vec<String>,
    /// Each with the mode that it is of; empty where its sides are modes.
    pub comparisons: Vec<(String, Comparison)>,
    /// What else was different, each as `kernel 6.8.0 and 6.18.1`.
    pub environments: Vec<String>,
    /// What had to hold of the recording that is judged, each with its verdict.
    pub gates: Vec<Gate>,
}

/// A comparison in a format; the style is that of a text.
///
/// # Errors
/// When the JSON cannot be made, which no comparison has been seen to do.
pub fn render(compared: &Compared, format: Format, style: &Style) -> serde_json::Result<String> {
    Ok(match format {
        Format::Text => text(compared, style),
        Format::Json => json::render(compared)?,
        Format::Markdown => markdown::render(compared),
    })
}

/// Columns of the first three cells, and of the change with its interval.
const NAME: usize = 22;
const VALUE: usize = 11;
const CHANGE: usize = 31;
/// The longest verdict, with its reason.
const VERDICT: usize = 23;
/// Below this many columns a metric takes two lines.
const NARROW: usize = NAME + 2 * VALUE + CHANGE + 2 + VERDICT;
/// Above the column of changes.
const TITLE: &str = "change [95 % interval]";

fn text(compared: &Compared, style: &Style) -> String {
    let page = style.width;
    let mut lines =
        vec![Line::new().text(Ink::Title, "pollscope compare").blank(1).text(Ink::Bold, &compared.scenario)];
    for side in &compared.sides {
        lines.extend(paragraph(Line::new(), Ink::Dim, side, page));
    }
    if !compared.gates.is_empty() {
        lines.push(Line::new());
        lines.extend(gates::block(&compared.gates, style.width, style.unicode));
    }
    for (mode, comparison) in &compared.comparisons {
        lines.push(Line::new());
        lines.extend(table(mode, comparison, page));
        lines.push(Line::new());
        lines.extend(paragraph(
            Line::new().text(Ink::Bold, "▌ "),
            Ink::Bold,
            &headed(mode, conclusion(comparison)),
            page,
        ));
    }
    let warnings = warnings(compared);
    if !warnings.is_empty() {
        lines.push(Line::new());
    }
    for warning in warnings {
        lines.extend(paragraph(Line::new().text(Ink::Warn, "warning: "), Ink::Plain, &warning, page));
    }
    lines.into_iter().map(|line| line.finish(style) + "\n").collect()
}

/// A sentence with the mode that it is about, where that is not said already.
fn headed(mode: &str, sentence: String) -> String {
    if mode.is_empty() { sentence } else { format!("{mode}: {sentence}") }
}

/// What to know when reading it; each once.
fn warnings(compared: &Compared) -> Vec<String> {
    let mut warnings = Vec::new();
    if !compared.environments.is_empty() {
        let what = compared.environments.join(", ");
        warnings.push(format!(
            "not made alike: {what}; a difference may come from that: make both on one machine and build"
        ));
    }
    for (mode, comparison) in &compared.comparisons {
        for sentence in comparison.notes.iter().map(|note| headed(mode, noted(note))) {
            if !warnings.contains(&sentence) {
                warnings.push(sentence);
            }
        }
    }
    warnings
}

fn table(mode: &str, comparison: &Comparison, page: usize) -> Vec<Line> {
    let is_narrow = page < NARROW;
    let title = Line::new().text(Ink::Bold, mode).blank(usize::from(!mode.is_empty()));
    let name = if is_narrow { 2 } else { NAME };
    let header = Line::new()
        .left(Ink::Title, if is_narrow { "" } else { "metric" }, name)
        .right(Ink::Mode(0), &comparison.a, VALUE)
        .right(Ink::Mode(1), &comparison.b, VALUE)
        .right(Ink::Dim, TITLE, CHANGE)
        .text(Ink::Dim, if is_narrow { "" } else { "  verdict" });
    let mut lines = paragraph(title, Ink::Dim, &what(comparison), page);
    lines.push(header);
    for row in &comparison.rows {
        let (ink, verdict) = marked(row);
        let verdict = Line::new().text(ink, &verdict);
        let values = |line: Line| {
            let unit = row.metric.unit;
            line.right(Ink::Plain, &unit.show(row.a), VALUE).right(Ink::Plain, &unit.show(row.b), VALUE).right(
                Ink::Plain,
                &change_text(row),
                CHANGE,
            )
        };
        if is_narrow {
            lines.push(Line::new().left(Ink::Plain, row.metric.name, NAME).append(verdict));
            lines.push(values(Line::indent(2)));
        } else {
            lines.push(values(Line::new().left(Ink::Plain, row.metric.name, NAME)).blank(2).append(verdict));
        }
    }
    lines.extend(legend(comparison).iter().flat_map(|text| paragraph(Line::new(), Ink::Dim, text, page)));
    lines
}

/// What stands in place of rounds, or how many there are: `5 rounds, interleaved`.
fn what(comparison: &Comparison) -> String {
    let Comparison { rounds: [a, b], served, .. } = comparison;
    let many = |of: &str| if a == b { plural(*a as u64, of) } else { format!("{a} and {b} {of}s") };
    let Some(served) = served else {
        let lie = match comparison.lie {
            Rounds::Interleaved => "interleaved",
            Rounds::Apart => "not interleaved",
        };
        return format!("{}, {lie}", many("round"));
    };
    let [compared_a, compared_b] = served.compared_ns.map(seconds);
    let [recorded_a, recorded_b] = served.recorded_ns.map(seconds);
    let blocks = match served.blocks_ns.map(|ends| ends.map(seconds)) {
        None => format!("each of {} is a round", many("recording")),
        Some([least, most]) if least == most => format!("in blocks of {least}"),
        Some([least, most]) => format!("in blocks of {} to {most}", least.trim_end_matches(" s")),
    };
    let [load_a, load_b] = served.polls_per_s.map(|load| format_count(load.round() as u64));
    format!("{compared_a} of {recorded_a} and {compared_b} of {recorded_b}, {blocks}; {load_a} and {load_b} polls/s")
}

/// A time to whole seconds.
fn seconds(ns: u64) -> String {
    format!("{} s", format_count((ns as f64 / 1e9).round() as u64))
}

/// What the signs of a table mean, as far as they are in it.
fn legend(comparison: &Comparison) -> Vec<String> {
    let mut legend = Vec::new();
    if comparison.rows.iter().any(|row| row.interval.is_some()) {
        legend.push(format!(
            "change: how many times lower or higher {} is; an end below 1 is the other way",
            comparison.b
        ));
    }
    if comparison.served.is_some() {
        legend.push(
            "left out: the time before and after the load, and the first tenth (2 to 30 s) of the rest".to_owned(),
        );
    }
    if comparison.rows.iter().any(|row| row.basis == Basis::Samples) {
        legend.push("~ interval of the samples within the runs, not of the noise between runs".to_owned());
    }
    let is_open = |why: &Open| comparison.rows.iter().any(|row| row.open == Some(*why));
    legend
        .extend(Open::ALL.iter().filter(|why| is_open(why)).map(|why| format!("{}: {}", why.as_str(), why.meaning())));
    legend
}

/// Nothing is said by colour alone.
fn marked(row: &Row) -> (Ink, String) {
    let (ink, mark) = match row.verdict {
        Verdict::Better => (Ink::Good, "+"),
        Verdict::Worse => (Ink::Bad, "-"),
        Verdict::NoDifference => (Ink::Dim, "="),
        Verdict::Inconclusive => (Ink::Warn, "?"),
    };
    let why = row.open.map_or(String::new(), |why| format!(": {}", why.as_str()));
    (ink, format!("{mark} {}{why}", row.verdict.as_str()))
}

fn change_text(row: &Row) -> String {
    change_of(row).unwrap_or_else(|| "—".to_owned())
}
