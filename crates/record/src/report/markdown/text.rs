//! Text that Markdown leaves as it is, tables and fences.

use std::fmt::Write;

use crate::escape::escape;
use crate::units::format_count;
use crate::width::cut;

/// Columns of a text.
const TEXT: usize = 600;

/// A text that GitHub shows as it is, in a paragraph or a table's cell: no markup, no HTML, no mention, no reference, no link.
pub(super) fn md(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let shown = cut(&escape(text), TEXT);
    for c in shown.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' => out.extend(['\\', c]),
            // GitHub looks for mentions and references in the finished text, behind any escape; a comment parts it.
            '@' | '#' => _ = write!(out, "{c}<!-- -->"),
            c => out.push(c),
        }
    }
    out.replace("://", ":<!-- -->//").replace("www.", "www<!-- -->.")
}

/// A sentence whose code, between backticks, is code. Outside a table, where a bar would end a cell.
pub(super) fn prose(text: &str) -> String {
    let shown = cut(&escape(text), TEXT);
    let mut parts = shown.split('`').peekable();
    let mut out = parts.next().map_or(String::new(), md);
    while let Some(code) = parts.next() {
        match parts.next() {
            Some(after) if !code.trim().is_empty() => out += &format!("`{code}`{}", md(after)),
            // A backtick that is one.
            after => out += &md(&["`", code, if after.is_some() { "`" } else { "" }, after.unwrap_or("")].concat()),
        }
    }
    out
}

/// Text as it is, in a fence longer than any within.
pub(super) fn fenced(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{}\n{fence}\n", text.trim_end_matches('\n'))
}

/// A table, whose cells are Markdown already.
pub(super) struct Table {
    columns: usize,
    head: String,
    rows: String,
}

impl Table {
    /// The first `texts` columns are aligned to the left, numbers to the right.
    pub(super) fn new(columns: &[&str], texts: usize) -> Table {
        let rule = (0..columns.len()).map(|index| if index < texts { "---|" } else { "---:|" }).collect::<String>();
        Table { columns: columns.len(), head: format!("| {} |\n|{rule}\n", columns.join(" | ")), rows: String::new() }
    }

    pub(super) fn row(&mut self, cells: &[String]) {
        debug_assert_eq!(cells.len(), self.columns, "{cells:?}");
        self.rows += &format!("| {} |\n", cells.join(" | "));
    }

    /// A row that says how many are left out, if any are.
    pub(super) fn more(&mut self, rows: usize) {
        if rows > 0 {
            let mut cells = vec![String::new(); self.columns];
            cells[0] = format!("… and {} more", format_count(rows as u64));
            self.row(&cells);
        }
    }

    /// With a heading; nothing when it has no rows.
    pub(super) fn section(self, title: &str) -> String {
        if self.rows.is_empty() { String::new() } else { format!("### {title}\n\n{}{}", self.head, self.rows) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_text() {
        for (text, expected) in [
            ("a|b `c` <b>&", "a\\|b \\`c\\` &lt;b&gt;&amp;"),
            ("*x* _y_ [z](u) ~q~ $m$ \\", "\\*x\\* \\_y\\_ \\[z\\](u) \\~q\\~ \\$m\\$ \\\\"),
            ("@team #1", "@<!-- -->team #<!-- -->1"),
            ("https://a www.b", "https:<!-- -->//a www<!-- -->.b"),
            ("two\nlines\u{202e}", "two\\\\nlines\\\\u{202e}"),
        ] {
            assert_eq!(md(text), expected);
        }
    }

    #[test]
    fn code_is_code_and_all_else_is_text() {
        for (text, expected) in [
            ("call `f(a|b)` at <b>", "call `f(a|b)` at &lt;b&gt;"),
            ("`a_b` and `@team`", "`a_b` and `@team`"),
            ("one ` alone_", "one \\` alone\\_"),
            ("empty `` here", "empty \\`\\` here"),
            ("`x` then ` <script>", "`x` then \\` &lt;script&gt;"),
        ] {
            assert_eq!(prose(text), expected, "{text}");
        }
    }

    #[test]
    fn a_fence_is_longer_than_what_it_holds() {
        assert_eq!(fenced("a\n"), "```text\na\n```\n");
        assert_eq!(fenced("a ````"), "`````text\na ````\n`````\n");
    }
}
