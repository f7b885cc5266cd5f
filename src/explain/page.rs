//! Explanations on a terminal: their Markdown, wrapped, with the example as it is.

use super::Explanation;
use super::glossary::Term;
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

/// A word of reports.
pub fn word(term: &Term, style: &Style) -> String {
    let names = match term.also {
        [] => String::new(),
        also => format!("\n\nAlso `{}`.", also.join("`, `")),
    };
    markdown(&format!("# {}\n\n{}{names}\n", term.name, term.text), style)
}

/// One explanation.
pub fn page(explanation: &Explanation, style: &Style) -> String {
    markdown(explanation.text, style)
}

/// A text in Markdown: headings, paragraphs, lists, tables and blocks of code. Lines of code are cut at the page's edge rather than
/// wrapped.
pub fn markdown(text: &str, style: &Style) -> String {
    let mut page = Page { style, lines: Vec::new(), prose: String::new(), table: Vec::new() };
    let mut in_code = false;
    let code_indent = if style.width < 70 { 2 } else { 4 };
    for line in text.lines() {
        if line.starts_with("```") {
            page.flush();
            in_code = !in_code;
        } else if in_code {
            page.lines.push(Line::indent(code_indent).text(Ink::Plain, line));
        } else if let Some(heading) = line.strip_prefix("# ") {
            page.lines.extend(paragraph(Line::new(), Ink::Title, heading, style.width));
        } else if line.starts_with('|') {
            page.table.push(line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect());
        } else if line.is_empty() {
            page.flush();
            page.lines.push(Line::new());
        } else {
            if line.starts_with("- ") {
                page.flush();
            }
            page.prose.push_str(if page.prose.is_empty() { "" } else { " " });
            page.prose.push_str(line);
        }
    }
    page.flush();
    page.lines.into_iter().map(|line| line.finish(style) + "\n").collect()
}

/// A page that is being made.
struct Page<'s> {
    style: &'s Style,
    lines: Vec<Line>,
    /// A paragraph or an item so far.
    prose: String,
    /// The rows of a table so far, the header among them.
    table: Vec<Vec<String>>,
}

impl Page<'_> {
    fn flush(&mut self) {
        let text = std::mem::take(&mut self.prose);
        let (start, text) = match text.strip_prefix("- ") {
            Some(item) => (Line::new().text(Ink::Dim, "- "), item),
            None => (Line::new(), text.as_str()),
        };
        if !text.is_empty() {
            self.lines.extend(paragraph(start, Ink::Plain, text, self.style.width));
        }
        let table = std::mem::take(&mut self.table);
        if let [header, _, rows @ ..] = &table[..] {
            self.rows(header, rows);
        }
    }

    /// Rows of a name and what it is; what is in a third column goes behind that, by its header's name.
    fn rows(&mut self, header: &[String], rows: &[Vec<String>]) {
        let name = |row: &[String]| row[0].trim_matches(['*', '`']).to_owned();
        let longest = rows.iter().map(|row| width(&name(row))).max().unwrap_or_default();
        for row in rows {
            let mut text = row.get(1).cloned().unwrap_or_default();
            if let Some((more, header)) =
                row.get(2).zip(header.get(2)).filter(|(more, _)| !["", "–"].contains(&more.as_str()))
            {
                text.push_str(&format!(" [{header}: {more}]"));
            }
            let start = Line::new().left(Ink::Bold, &name(row), longest).blank(2);
            self.lines.extend(hanging(start, longest + 2, Ink::Plain, &text, self.style.width));
        }
    }
}
