//! Text from a recording: made visible, and cut, since a name may have any length.

use maud::{Markup, html};

use super::super::layout::{cut, cut_start};
use crate::escape::escape;

/// Columns of a name or a place.
const NAME: usize = 120;
/// Columns of a sentence.
const SENTENCE: usize = 1_200;

/// A name: its beginning says most.
pub(super) fn name(text: &str) -> String {
    cut(&escape(text), NAME)
}

/// As many columns of a name as there is room for.
pub(super) fn start_of(text: &str, columns: usize) -> String {
    cut(&escape(text), columns)
}

/// A path or a place in a source: its end says most.
pub(super) fn place(text: &str) -> String {
    cut_start(text, NAME)
}

/// A sentence.
pub(super) fn sentence(text: &str) -> String {
    cut(&escape(text), SENTENCE)
}

/// A sentence in which what stands between backticks is code.
pub(super) fn prose(text: &str) -> Markup {
    let text = sentence(text);
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// A dash where a value is not known.
pub(super) fn or_unknown(text: Option<String>) -> String {
    text.unwrap_or_else(|| "—".to_owned())
}

/// A command line as a shell takes it.
pub(super) fn command_line(words: &[String]) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=:,@%+".contains(c);
    let quoted = words.iter().map(|word| match word.as_str() {
        word if !word.is_empty() && word.chars().all(is_plain) => word.to_owned(),
        word => format!("'{}'", word.replace('\'', r"'\''")),
    });
    sentence(&quoted.collect::<Vec<_>>().join(" "))
}
