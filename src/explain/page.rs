//! Explanations on a terminal: their Markdown, wrapped, with the example as it is.

use super::Explanation;
use crate::report::Style;
use crate::report::layout::{Ink, Line, hanging, paragraph, width};

/// A code and what it is, a line each.
pub fn list(explanations: &[Explanation], style: &Style) -> String {
    let longest = explanations.iter().map(|explanation| width(explanation.code)).max().unwrap_or_default();
    let lines = explanations.iter().flat_map(|explanation| {
        let start = Line::new().left(Ink::Bold, explanation.code, longest).blank(2);
        hanging(start, longest + 2, Ink::Plain, explanation.title(), style.width)
    });
    lines.map(|line| line.finish(style) + "\n").collect()
}

/// One explanation. Lines of code are cut at the page's edge rather than wrapped.
pub fn page(explanation: &Explanation, style: &Style) -> String {
    let mut lines: Vec<Line> = Vec::new();
    let mut prose = String::new();
    let mut in_code = false;
    let flush = |prose: &mut String, lines: &mut Vec<Line>| {
        let text = std::mem::take(prose);
        let (start, text) = match text.strip_prefix("- ") {
            Some(item) => (Line::new().text(Ink::Dim, "- "), item),
            None => (Line::new(), text.as_str()),
        };
        if !text.is_empty() {
            lines.extend(paragraph(start, Ink::Plain, text, style.width));
        }
    };
    for line in explanation.text.lines() {
        if line.starts_with("```") {
            flush(&mut prose, &mut lines);
            in_code = !in_code;
        } else if in_code {
            lines.push(Line::indent(4).text(Ink::Plain, line));
        } else if let Some(heading) = line.strip_prefix("# ") {
            lines.extend(paragraph(Line::new(), Ink::Title, heading, style.width));
        } else if line.is_empty() {
            flush(&mut prose, &mut lines);
            lines.push(Line::new());
        } else {
            if line.starts_with("- ") {
                flush(&mut prose, &mut lines);
            }
            prose.push_str(if prose.is_empty() { "" } else { " " });
            prose.push_str(line);
        }
    }
    flush(&mut prose, &mut lines);
    lines.into_iter().map(|line| line.finish(style) + "\n").collect()
}
