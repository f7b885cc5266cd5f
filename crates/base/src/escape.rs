//! Names from outside, made safe to show.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Spells out the characters that move a cursor, change colours, reverse the order of text or cannot be seen, as
/// `\n`, `\t` or `\u{1b}`, and parts what the log of a CI takes for a command wherever it stands: `##[error]`. Everything else
/// stays: a path in any script is readable. Where it can begin a line, see [`line()`].
///
/// ```
/// use pollscope_base::escape::escape;
/// assert_eq!(escape("write \u{1b}[31mr\u{202e}gpj.log\n"), "write \\u{1b}[31mr\\u{202e}gpj.log\\n");
/// assert_eq!(escape("##[error]oh"), "#\\u{23}[error]oh");
/// assert_eq!(escape("日志/größe.log"), "日志/größe.log");
/// ```
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) && !has_command(text) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(Escaped(text).to_string())
}

/// The same for a whole line: one that begins with `::` is a command to the runner of GitHub, whatever blanks stand before it.
///
/// ```
/// use pollscope_base::escape::line;
/// assert_eq!(line("  ::error::gone"), "  \\u{3a}:error::gone");
/// assert_eq!(line("std::thread::sleep"), "std::thread::sleep");
/// ```
pub fn line(text: &str) -> Cow<'_, str> {
    let shown = escape(text);
    match shown.trim_start().strip_prefix("::") {
        None => shown,
        Some(rest) => Cow::Owned(format!("{}\\u{{3a}}:{rest}", &shown[..shown.len() - rest.len() - 2])),
    }
}

/// The same for a JSON document: its texts say what they said before, with what is not to be shown in JSON's own escapes.
///
/// ```
/// use pollscope_base::escape::json;
/// assert_eq!(json("[\n  \"\u{202e}##[error]\"\n]".to_owned()), "[\n  \"\\u202e#\\u0023[error]\"\n]");
/// ```
pub fn json(document: String) -> String {
    if document.bytes().all(|byte| byte < 0x7f) && !document.contains("##") {
        return document;
    }
    let mut shown = String::with_capacity(document.len());
    for (at, c) in document.char_indices() {
        let parts = c == '#' && document[..at].ends_with('#') && is_command(&document[at + 1..]);
        // Below them are the line breaks between values; within texts, the writer has spelled them out.
        if parts || (c >= '\u{7f}' && is_unsafe(c)) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| _ = write!(shown, "\\u{unit:04x}"));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A name's bytes, at most, where it is kept or shown among others.
pub const LONGEST_NAME: usize = 256;

/// A name of at most [`LONGEST_NAME`] bytes: the start of a longer one, with an ellipsis that says so.
///
/// ```
/// use pollscope_base::escape::{LONGEST_NAME, cut_name};
/// assert_eq!(cut_name("writer"), "writer");
/// let cut = cut_name(&"ü".repeat(65_536)).into_owned();
/// assert!(cut.len() <= LONGEST_NAME && cut.ends_with("ü…"));
/// ```
pub fn cut_name(name: &str) -> Cow<'_, str> {
    if name.len() <= LONGEST_NAME {
        return Cow::Borrowed(name);
    }
    let room = LONGEST_NAME - '…'.len_utf8();
    let end = (0..=room).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    Cow::Owned(format!("{}…", &name[..end]))
}

/// What [`escape`] makes of a text, while it is being formatted.
///
/// ```
/// assert_eq!(format!("`{}`", pollscope_base::escape::Escaped("a\tb")), r"`a\tb`");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = None;
        for (at, c) in self.0.char_indices() {
            let parts = c == '#' && before == Some('#') && is_command(&self.0[at + 1..]);
            before = Some(c);
            match c {
                _ if parts => write!(f, "{}", c.escape_unicode())?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if is_unsafe(c) => write!(f, "{}", c.escape_unicode())?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

fn has_command(text: &str) -> bool {
    let parts = |(at, two): (usize, &[u8])| two == b"##" && is_command(&text[at + 2..]);
    text.contains("##") && text.as_bytes().windows(2).enumerate().any(parts)
}

/// Whether what follows `##` makes a command of it to a CI: `[name]` to GitHub's, `vso[…]` to Azure's, `teamcity[…]` to TeamCity.
fn is_command(rest: &str) -> bool {
    rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric()).starts_with('[')
}

/// Whether a character is not to be shown as it is: C0, DEL, C1, line separators, bidi controls and all that Unicode lets a terminal
/// ignore. A name must look like what it is, and be as wide as it is counted.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{ffa0}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_is_spelled_out() {
        let controls = ('\0'..='\u{1f}').chain('\u{7f}'..='\u{9f}');
        for c in controls.chain(['\u{200e}', '\u{2066}', '\u{2069}', '\u{202e}', '\u{2028}', '\u{feff}', '\u{e0041}']) {
            let text = c.to_string();
            let escaped = escape(&text);
            assert!(escaped.starts_with('\\') && escaped.is_ascii(), "{escaped:?}");
        }
    }

    #[test]
    fn nothing_else_is_touched() {
        for text in ["", "src/x.rs:88", "C:\\logs\\a b.log", "größe", "日本語", "e\u{301}", "🦀", "—…µ"] {
            assert!(matches!(escape(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn twice_is_once() {
        for text in ["\u{1b}]0;title\u{7}", "##[error]x", "\t::error::x", "###[group]"] {
            for made_safe in [escape, line] {
                let once = made_safe(text).into_owned();
                assert_eq!(made_safe(&once), once);
            }
        }
    }

    #[test]
    fn no_command_to_a_ci_is_left() {
        for text in ["##[error]x", "a ##[error]", "###[group]", "##vso[task.x]", "##teamcity[x]", "# ####[x]"] {
            let shown = escape(text);
            assert!(!has_command(&shown) && shown.contains("\\u{23}"), "{shown}");
        }
        for text in ["::error::x", " \u{3000}::x", "::"] {
            assert!(!line(text).trim_start().starts_with("::"), "{text}");
        }
        for text in ["# Heading", "## Heading [1]", "#[inline]", "C##", "a::b"] {
            assert!(matches!(line(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }
}
