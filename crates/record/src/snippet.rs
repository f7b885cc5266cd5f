//! A line of somebody's text with carets under the part that a message is about.

use std::fmt;
use std::ops::Range;

use unicode_width::UnicodeWidthStr;

use crate::escape::escape;

/// Columns of text that are shown at most; longer lines are cut around the carets.
const COLUMNS: usize = 100;

/// A line and the place in it, safe to print: control characters are escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// From 1.
    line: usize,
    /// From 1, in characters.
    column: usize,
    before: String,
    marked: String,
    after: String,
}

impl Snippet {
    /// The line of `text` in which `span` (bytes) starts.
    pub fn of_line(text: &str, span: Range<usize>) -> Snippet {
        let start = floor(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let mut snippet = Snippet::of_all(line, start - line_start..span.end.saturating_sub(line_start));
        snippet.line = text[..line_start].matches('\n').count() + 1;
        snippet
    }

    /// The whole of `text` as one line.
    pub fn of_all(text: &str, span: Range<usize>) -> Snippet {
        let start = floor(text, span.start);
        let end = floor(text, span.end).max(start);
        let text_start = if text.starts_with('\u{feff}') { start.min('\u{feff}'.len_utf8()) } else { 0 };
        let before = &text[text_start..start];
        Snippet {
            line: 1,
            column: before.chars().count() + 1,
            before: last_columns(&printable(before), COLUMNS / 2),
            marked: first_columns(&printable(&text[start..end]), COLUMNS / 2),
            after: first_columns(&printable(&text[end..]), COLUMNS / 2),
        }
    }

    /// The line number and the line, as compilers show them.
    pub fn with_place(&self, origin: &str) -> [String; 4] {
        let gutter = " ".repeat(self.line.to_string().len());
        [
            format!("{gutter}--> {}:{}:{}", printable(origin), self.line, self.column),
            format!("{gutter} |"),
            format!("{} | {}", self.line, self.text()),
            format!("{gutter} | {}", self.carets()),
        ]
    }

    /// The text, and the carets below it, each indented by two.
    pub fn lines(&self) -> [String; 2] {
        [format!("  {}", self.text()), format!("  {}", self.carets())]
    }

    fn text(&self) -> String {
        format!("{}{}{}", self.before, self.marked, self.after)
    }

    fn carets(&self) -> String {
        format!("{}{}", " ".repeat(self.before.width()), "^".repeat(self.marked.width().max(1)))
    }
}

/// Its [`Snippet::lines`].
impl fmt::Display for Snippet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

/// `text` with everything escaped that could move a terminal's cursor or reorder its line.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push(' '),
            '"' | '\'' | '\\' => out.push(c),
            c => out.extend(c.escape_debug()),
        }
    }
    // Some letters take room and show nothing.
    escape(&out).into_owned()
}

/// The known name that `typed` probably meant.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let allowed = typed.chars().count() / 3 + 1;
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&typed, name), name))
        .filter(|&(distance, name)| distance <= allowed && distance < name.chars().count())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

/// The greatest character boundary that is not above `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).expect("0 is a boundary")
}

fn first_columns(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    text.chars().take(columns - 1).chain(['…']).collect()
}

fn last_columns(text: &str, columns: usize) -> String {
    let count = text.chars().count();
    if count <= columns {
        return text.to_owned();
    }
    ['…'].into_iter().chain(text.chars().skip(count - columns + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_found_and_marked() {
        let text = "a = 1\r\n\tüb = 'x'\r\n";
        let at = text.find('x').expect("it is there");
        let shown = Snippet::of_line(text, at..at + 1).with_place("f.toml").join("\n");
        assert_eq!(shown, " --> f.toml:2:8\n  |\n2 |  üb = 'x'\n  |        ^");
    }

    #[test]
    fn spans_outside_the_text_or_inside_a_character_are_moved() {
        for span in [0..0, 1..2, Range { start: 2, end: 1 }, 9..9, 3..usize::MAX] {
            let (all, line) = (Snippet::of_all("äö\n", span.clone()), Snippet::of_line("äö\n", span));
            assert!(all.to_string().contains('^') && line.to_string().contains('^'));
        }
    }

    #[test]
    fn long_lines_are_cut_and_controls_escaped() {
        let text = format!("{}\u{1b}[31m\u{202e}{}", "a".repeat(500), "b".repeat(500));
        let shown = Snippet::of_all(&text, 500..501).to_string();
        assert!(shown.chars().count() < 3 * COLUMNS, "{shown}");
        assert!(shown.contains("\\u{1b}") && shown.contains("\\u{202e}"), "{shown}");
    }

    /// U+3164 is a letter to Unicode, and so to Rust; found by fuzzing.
    #[test]
    fn letters_that_cannot_be_seen_are_spelled_out() {
        assert_eq!(printable("1\u{3164}\u{ffa0}\u{115f}"), "1\\u{3164}\\u{ffa0}\\u{115f}");
        let error = crate::gate::Gate::parse("slow_polls < 1\u{3164}").unwrap_err().to_string();
        assert!(!error.contains('\u{3164}'), "{error}");
    }

    #[test]
    fn a_far_name_is_no_suggestion() {
        assert_eq!(nearest("inptus", ["inputs", "lines"]), Some("inputs"));
        assert_eq!(nearest("zebra", ["inputs", "lines"]), None);
        assert_eq!(nearest("", ["a", "b"]), None);
    }
}
