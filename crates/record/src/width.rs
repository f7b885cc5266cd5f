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

/// Breaks an escaped text at its blanks: `first` columns, then `rest` columns a line. A word that is longer than a
/// line is broken where the line ends.
pub fn wrap(text: &str, first: usize, rest: usize) -> Vec<String> {
    wrapped(text, first, rest, true)
}

/// Breaks a text at its blanks and nowhere else: what is longer than a line, such as a path or a command, stays one to be copied.
/// The codes of colours take no columns.
pub fn wrap_whole(text: &str, first: usize, rest: usize) -> Vec<String> {
    wrapped(text, first, rest, false)
}

fn wrapped(text: &str, first: usize, rest: usize, breaks_words: bool) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    let room = |done: usize| if done == 0 { first } else { rest }.max(1);
    for word in words(text) {
        let mut word = word.as_str();
        let limit = room(lines.len());
        let gap = usize::from(!line.is_empty());
        if visible(&line) + gap + visible(word) <= limit {
            line.extend(std::iter::repeat_n(' ', gap));
            line.push_str(word);
            continue;
        }
        // The first line may have little room behind its prefix; that is no reason to break a word.
        if !line.is_empty() || (lines.is_empty() && visible(word) <= rest) {
            lines.push(std::mem::take(&mut line));
        }
        let end =
            |word: &str, done: usize| breaks_words.then(|| split_at(word, room(done))).filter(|at| *at < word.len());
        while let Some(at) = end(word, lines.len()) {
            lines.push(word[..at].to_owned());
            word = &word[at..];
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// The words of a text; a number and its unit are one, so that no line ends in `201` and the next begins with `ms`.
fn words(text: &str) -> Vec<String> {
    const UNITS: [&str; 10] = ["ns", "µs", "ms", "s", "h", "B", "kB", "MB", "GB", "%"];
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let is_unit = UNITS.contains(&word.trim_end_matches([',', ';', ':', ')', '.']));
        match words.last_mut().filter(|last| is_unit && last.ends_with(|c: char| c.is_ascii_digit())) {
            Some(number) => *number = format!("{number} {word}"),
            None => words.push(word.to_owned()),
        }
    }
    words
}

/// The byte at which a word's first `columns` end; never 0.
fn split_at(word: &str, columns: usize) -> usize {
    let mut room = columns;
    let end = word.char_indices().find(|&(_, c)| !take(&mut room, c)).map_or(word.len(), |(at, _)| at);
    end.max(word.chars().next().map_or(0, char::len_utf8))
}

/// Display columns of a text without the codes of its colours.
fn visible(text: &str) -> usize {
    let mut columns = 0;
    for (at, part) in text.split("\u{1b}[").enumerate() {
        let shown = if at == 0 { part } else { part.split_once('m').map_or(part, |(_, shown)| shown) };
        columns += width(shown);
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_copied_stays_whole() {
        let text = "write it to a/very/long/path/of/it for 201 ms";
        assert_eq!(wrap_whole(text, 14, 14), ["write it to", "a/very/long/path/of/it", "for 201 ms"]);
        assert_eq!(wrap(text, 14, 14), ["write it to", "a/very/long/pa", "th/of/it for", "201 ms"]);
    }

    #[test]
    fn colours_take_no_room() {
        let red = "\u{1b}[1m\u{1b}[31merror:\u{1b}[0m a word";
        assert_eq!(wrap_whole(red, 13, 13), [red]);
        assert_eq!(wrap_whole(red, 12, 12).len(), 2);
    }
}
