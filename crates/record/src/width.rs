//! Text measured and cut by the columns that a terminal shows it in.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Display columns of an escaped text.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The start of an escaped text in at most `columns`, with `…` where something is missing.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut room = columns.saturating_sub(1);
    let kept = text.chars().take_while(|&c| take(&mut room, c)).collect::<String>();
    if columns == 0 { kept } else { kept + "…" }
}

/// Takes a character's columns from `room`, if it has them.
pub fn take(room: &mut usize, c: char) -> bool {
    let columns = c.width().unwrap_or(0);
    let fits = columns <= *room;
    *room -= if fits { columns } else { 0 };
    fits
}
