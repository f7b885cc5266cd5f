//! An interval log, by tag: as a table, as JSON, as percentile distributions.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::layout::{Ink, Line, paragraph, width};
use super::style::Style;
use super::{Format, hgrm};
use crate::escape::{self, escape};
use crate::interval_log::{IntervalLog, Tagged};
use crate::recording::Dist;
use crate::units::{format_count, format_ns, plural};

/// What a log can be reported as: it has distributions, and nothing else of a recording.
pub const FORMATS: [Format; 3] = [Format::Text, Format::Json, Format::Hgrm];

/// What stands for a tag where there is none.
const UNTAGGED: &str = "untagged";
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
const CELL: usize = 9;
const COUNT: usize = 13;
const LINES: usize = 8;

/// A log in a format; `None` for those that are not of [`FORMATS`]. The style is that of a text.
///
/// The JSON is `{"schema": "pollscope.log/1", "tags": [{"tag", "lines", "start_ns", "end_ns", "values"}]}`: `tag` is `null` for
/// untagged lines, and `values` is as every distribution in [`crate::recording::wire`].
///
/// # Errors
/// When a histogram cannot be encoded; of a log that was read from a file, each can.
pub fn render(log: &IntervalLog, format: Format, style: &Style) -> serde_json::Result<Option<String>> {
    Ok(match format {
        Format::Text => Some(text(log, style)),
        Format::Json => Some(json(log)?),
        Format::Hgrm => Some(hgrm::render(&named(log))),
        _ => None,
    })
}

/// The files of a format that is written to `path`, as [`super::files`].
///
/// # Errors
/// As [`render`].
pub fn files(
    log: &IntervalLog,
    format: Format,
    path: &Path,
    style: &Style,
) -> serde_json::Result<Vec<(PathBuf, String)>> {
    if format == Format::Hgrm {
        return Ok(hgrm::files(&named(log), path));
    }
    Ok(render(log, format, style)?.into_iter().map(|text| (path.to_owned(), text)).collect())
}

fn name(tagged: &Tagged) -> &str {
    tagged.tag.as_deref().unwrap_or(UNTAGGED)
}

fn named(log: &IntervalLog) -> Vec<hgrm::Named> {
    log.tags.iter().map(|tagged| (name(tagged).to_owned(), tagged.values.clone())).collect()
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    tags: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    tag: Option<&'a str>,
    lines: u64,
    start_ns: u64,
    end_ns: u64,
    values: &'a Dist,
}

fn json(log: &IntervalLog) -> serde_json::Result<String> {
    let tags = log.tags.iter().map(|tagged| Entry {
        tag: tagged.tag.as_deref(),
        lines: tagged.lines,
        start_ns: tagged.start_ns,
        end_ns: tagged.end_ns,
        values: &tagged.values,
    });
    let document = Document { schema: "pollscope.log/1", tags: tags.collect() };
    Ok(escape::json(serde_json::to_string_pretty(&document)? + "\n"))
}

fn text(log: &IntervalLog, style: &Style) -> String {
    let lines: u64 = log.tags.iter().map(|tagged| tagged.lines).sum();
    let title = Line::new()
        .text(Ink::Bold, "interval log")
        .text(Ink::Plain, &format!(" · {} · {}", plural(log.tags.len() as u64, "tag"), plural(lines, "interval")));
    let note = "Values are taken for nanoseconds, which the format does not say; max is the upper end of its bucket.";
    let mut page = vec![title];
    page.extend(paragraph(Line::new(), Ink::Dim, note, style.width));
    page.push(Line::new());
    page.extend(table(log, style.width));
    let clamped: u64 = log.tags.iter().map(|tagged| tagged.values.clamped).sum();
    if clamped > 0 {
        let note = format!("{} of more than an hour counted as an hour", plural(clamped, "value"));
        page.push(Line::new());
        page.push(Line::new().text(Ink::Warn, &note));
    }
    page.into_iter().map(|line| line.finish(style) + "\n").collect()
}

/// Untagged lines first; then the tags in the log's order.
fn table(log: &IntervalLog, page: usize) -> Vec<Line> {
    let figures = COUNT + (QUANTILES.len() + 1) * CELL;
    let longest = log.tags.iter().map(|tagged| width(&escape(name(tagged)))).max().unwrap_or_default();
    // Where there is little room, names are worth more than how often and how long was logged.
    let is_wide = page >= figures + LINES + CELL + longest.max(8);
    let extra = if is_wide { LINES + CELL } else { 0 };
    let first = longest.min(page.saturating_sub(figures + extra)).max(8);
    let mut header = Line::new().left(Ink::Title, "Tag", 3).blank(first - 3);
    if is_wide {
        header = header.right(Ink::Dim, "lines", LINES).right(Ink::Dim, "span", CELL);
    }
    header = header.right(Ink::Dim, "count", COUNT);
    for (label, _) in QUANTILES {
        header = header.right(Ink::Dim, label, CELL);
    }
    let untagged = log.tags.iter().filter(|tagged| tagged.tag.is_none());
    let tagged = untagged.chain(log.tags.iter().filter(|tagged| tagged.tag.is_some()));
    let rows = tagged.map(|tagged| {
        let ink = if tagged.tag.is_some() { Ink::Plain } else { Ink::Dim };
        let mut line = Line::new().left(ink, name(tagged), first);
        if is_wide {
            let span = format_ns(tagged.end_ns.saturating_sub(tagged.start_ns));
            line = line.right(Ink::Plain, &format_count(tagged.lines), LINES).right(Ink::Plain, &span, CELL);
        }
        line = line.right(Ink::Plain, &format_count(tagged.values.count()), COUNT);
        let quantiles = QUANTILES.iter().map(|(_, q)| tagged.values.shown_quantile_ns(*q));
        quantiles
            .chain([tagged.values.max_ns])
            .fold(line, |line, ns| line.right(Ink::Plain, &ns.map_or("—".to_owned(), format_ns), CELL))
    });
    std::iter::once(header.right(Ink::Dim, "max", CELL)).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::MAX_NS;
    use crate::fixture::{MS, dist};

    fn log() -> IntervalLog {
        let tagged = |tag: Option<&str>, values| Tagged {
            tag: tag.map(str::to_owned),
            lines: 12,
            start_ns: 0,
            end_ns: 1_200 * MS,
            values,
        };
        let mut beyond = dist(3, &[(10, 1_000, 2 * MS)]);
        beyond.record(2 * MAX_NS);
        IntervalLog { tags: vec![tagged(Some("naive.lag\u{1b}"), dist(3, &[])), tagged(None, beyond)], is_torn: false }
    }

    #[test]
    fn a_table_has_a_row_a_tag() {
        let style = Style { width: 100, color: false, unicode: true };
        let text = render(&log(), Format::Text, &style).unwrap().unwrap();
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows[0], "interval log · 2 tags · 24 intervals");
        let words = |row: usize| rows[row].split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(3), "Tag lines span count p50 p90 p99 p99.9 max");
        assert_eq!(words(4), "untagged 12 1.20 s 11 68.2 µs 2.00 ms 3601 s 3601 s 7200 s");
        assert_eq!(words(5), "naive.lag\\u{1b} 12 1.20 s 0 — — — — —");
        assert_eq!(words(7), "1 value of more than an hour counted as an hour");
        for width in [20, 60, 80, 140] {
            let text = render(&log(), Format::Text, &Style { width, ..style }).unwrap().unwrap();
            assert!(text.lines().all(|line| super::width(line) <= width), "{text}");
        }
    }

    #[test]
    fn other_formats_are_those_that_it_has() {
        let style = Style { width: 80, color: false, unicode: false };
        for format in Format::ALL {
            assert_eq!(render(&log(), format, &style).unwrap().is_some(), FORMATS.contains(&format), "{format:?}");
        }
        let json: serde_json::Value =
            serde_json::from_str(&render(&log(), Format::Json, &style).unwrap().unwrap()).unwrap();
        assert_eq!(
            (&json["tags"][1]["tag"], json["tags"][1]["values"]["count"].as_u64()),
            (&serde_json::Value::Null, Some(11))
        );
        let files = files(&log(), Format::Hgrm, Path::new("x.hgrm"), &style).unwrap();
        assert_eq!(files[1].0, Path::new("x.untagged.hgrm"));
    }
}
