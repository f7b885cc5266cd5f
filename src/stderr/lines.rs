//! What is said on stderr, made safe to show.

use pollscope_base::escape::{escape, line};

use crate::width::{width, wrap_whole};

/// Whole lines, whatever is in the texts that they are made of: nothing of those moves a cursor, changes a colour, reverses text,
/// ends a line, or is a command to the CI whose log this may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines(Vec<String>);

impl Lines {
    /// One line: a line break in the text is spelled out, as everything else that is not to be shown.
    pub fn of(text: &str) -> Lines {
        Lines(vec![line(text).into_owned()])
    }

    /// One line, whose colours stay. Only for what a library coloured that quotes nothing from outside.
    pub(crate) fn coloured(text: &str) -> Lines {
        let (mut shown, mut rest) = (String::new(), text);
        while let Some((before, code)) = rest.split_once("\u{1b}[") {
            let end =
                code.find(|c: char| !(c.is_ascii_digit() || c == ';')).filter(|end| code[*end..].starts_with('m'));
            let end = end.map_or(0, |end| end + 1);
            let at = if shown.is_empty() { line(before) } else { escape(before) };
            shown += &at;
            shown += &if end > 0 { format!("\u{1b}[{}", &code[..end]) } else { escape("\u{1b}[").into_owned() };
            rest = &code[end..];
        }
        shown += &if shown.is_empty() { line(rest) } else { escape(rest) };
        Lines(vec![shown])
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lines as they are written, each with its newline; for a terminal with so many columns, wrapped at words.
    pub(super) fn text(&self, columns: Option<usize>) -> String {
        let wrapped = |line: &String| match columns.filter(|_| !is_drawn(line)) {
            Some(columns) => wrapped(line, columns),
            None => format!("{line}\n"),
        };
        self.0.iter().map(wrapped).collect()
    }
}

/// Whether a line is part of a drawing, such as code with carets below it.
fn is_drawn(line: &str) -> bool {
    line.starts_with(' ') || line.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with(" |")
}

/// One line as several: what goes on is indented by [`HANG`] more.
pub(super) fn wrapped(line: &str, columns: usize) -> String {
    const HANG: usize = 2;
    let indent = line.len() - line.trim_start_matches(' ').len();
    if width(line) < columns || columns < 2 * (indent + HANG) {
        return format!("{line}\n");
    }
    // The last column stays free: some terminals begin a new line behind it.
    let room = columns - 1 - indent;
    let parts = wrap_whole(line, room, room - HANG).into_iter().enumerate();
    parts.map(|(at, part)| format!("{}{part}\n", " ".repeat(if at == 0 { indent } else { indent + HANG }))).collect()
}

/// One line; see [`Lines::of`].
impl From<&str> for Lines {
    fn from(text: &str) -> Lines {
        Lines::of(text)
    }
}

/// One line; see [`Lines::of`].
impl From<String> for Lines {
    fn from(text: String) -> Lines {
        Lines::of(&text)
    }
}

/// A line of each text; see [`Lines::of`].
impl<T: AsRef<str>> FromIterator<T> for Lines {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Lines {
        texts.into_iter().map(|text| Lines::of(text.as_ref())).collect()
    }
}

/// All of them, one below the other.
impl FromIterator<Lines> for Lines {
    fn from_iter<I: IntoIterator<Item = Lines>>(all: I) -> Lines {
        Lines(all.into_iter().flat_map(|lines| lines.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\n::error::b\r\u{1b}[31m\u{202e}##[group]\u{9b}2J\t\u{2028}::";

    #[test]
    fn a_text_is_one_line_and_harmless() {
        for text in [Lines::of(HOSTILE).text(None), Lines::from(HOSTILE.replace("a\n", " ")).text(None)] {
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            assert!(!text.trim_end_matches('\n').contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:?}");
            assert!(!text.trim_start().starts_with("::") && !text.contains("##["), "{text:?}");
        }
    }

    #[test]
    fn a_terminal_gets_no_word_in_two() {
        let text =
            "error: cannot write report `out/a-long-name.json`: no such file or directory; make its folder first";
        let shown = Lines::of(text).text(Some(40));
        assert!(shown.lines().all(|line| line.len() < 40), "{shown}");
        assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), text.split_whitespace().collect::<Vec<_>>());
        assert!(shown.lines().skip(1).all(|line| line.starts_with("  ") && !line.starts_with("   ")), "{shown}");
        let carets = ["1 | slow  =  1", "  |          ^"].map(|line| line.repeat(5));
        assert_eq!(
            carets.iter().collect::<Lines>().text(Some(20)),
            format!("{}\n", carets.join("\n")),
            "a drawing stays"
        );
        assert_eq!(wrapped("     blocked in a call", 17), "     blocked in\n       a call\n");
    }

    #[test]
    fn only_whole_colours_stay() {
        let red = "\u{1b}[1m\u{1b}[31merror:\u{1b}[0m bad";
        assert_eq!(Lines::coloured(red).text(None), format!("{red}\n"));
        assert_eq!(Lines::coloured("\u{1b}[2Jx\u{1b}[31").text(None), "\\u{1b}[2Jx\\u{1b}[31\n");
        assert_eq!(Lines::coloured("::error::x").text(None), "\\u{3a}:error::x\n");
        let text = Lines::coloured(HOSTILE).text(None);
        assert_eq!(text.matches(|c: char| c.is_control()).count(), 2, "the colour and the line's end: {text:?}");
    }
}
