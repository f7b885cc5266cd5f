//! Text in so many columns.

use crate::escape::escape;
use crate::width::{cut, take, width};

/// A text made safe, cut at its end, and filled up.
pub(super) fn left(text: &str, columns: usize) -> String {
    let text = cut(&escape(text), columns);
    let rest = columns.saturating_sub(width(&text));
    text + &" ".repeat(rest)
}

/// Likewise, to the right.
pub(super) fn right(text: &str, columns: usize) -> String {
    let text = cut(&escape(text), columns);
    " ".repeat(columns.saturating_sub(width(&text))) + &text
}

/// A place made safe, and filled up; one that is too long is cut at its beginning: its end tells the file and the line.
pub(super) fn place(text: &str, columns: usize) -> String {
    let text = cut_start(&escape(text), columns);
    let rest = columns.saturating_sub(width(&text));
    text + &" ".repeat(rest)
}

/// The end of an escaped text in at most `columns`.
fn cut_start(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut room = columns.saturating_sub(1);
    let kept: Vec<char> = text.chars().rev().take_while(|&c| take(&mut room, c)).collect();
    let kept: String = kept.into_iter().rev().collect();
    if columns == 0 { kept } else { format!("…{kept}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_keeps_its_end_and_other_texts_their_beginning() {
        assert_eq!(place("crates/lab/src/sink/naive.rs:25", 14), "…k/naive.rs:25");
        assert_eq!((left("write(fd 1)", 6).as_str(), right("9 ms", 6).as_str()), ("write…", "  9 ms"));
        assert_eq!(place("日本語:1", 5), "…語:1");
        for columns in 0..12 {
            for text in ["", "a\u{1b}[2Jb", "日本語/größe.rs:7", "\u{202e}x"] {
                for cell in [left(text, columns), right(text, columns), place(text, columns)] {
                    assert!(width(&cell) == columns && !cell.chars().any(char::is_control), "{cell:?}");
                }
            }
        }
    }
}
