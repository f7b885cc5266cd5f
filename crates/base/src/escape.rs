//! Names from outside, made safe to show.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Spells out the characters that move a cursor, change colours, reverse the order of text or cannot be seen, as
/// `\n`, `\t` or `\u{1b}`. Everything else stays: a path in any script is readable.
///
/// ```
/// use pollscope_base::escape::escape;
/// assert_eq!(escape("write \u{1b}[31mr\u{202e}gpj.log\n"), "write \\u{1b}[31mr\\u{202e}gpj.log\\n");
/// assert_eq!(escape("日志/größe.log"), "日志/größe.log");
/// ```
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(Escaped(text).to_string())
}

/// The same for a text that is being formatted.
///
/// ```
/// assert_eq!(format!("`{}`", pollscope_base::escape::Escaped("a\tb")), r"`a\tb`");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
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

/// C0, DEL, C1, line separators, bidi controls and all that Unicode lets a terminal ignore: a name must look like
/// what it is, and be as wide as it is counted.
fn is_unsafe(c: char) -> bool {
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
        let once = escape("\u{1b}]0;title\u{7}").into_owned();
        assert_eq!(escape(&once), once);
    }
}
