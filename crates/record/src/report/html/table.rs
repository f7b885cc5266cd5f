//! Tables, which scripts make sortable.

use maud::{Markup, html};

use crate::units::plural;

/// Rows that are shown.
const ROWS: usize = 100;

/// One cell.
pub(super) struct Cell {
    content: Markup,
    /// What it is sorted by; a text by itself.
    key: Option<f64>,
    is_number: bool,
}

impl Cell {
    /// Words, cut and escaped already.
    pub(super) fn text(text: &str) -> Cell {
        Cell::markup(html! { (text) })
    }

    /// Anything.
    pub(super) fn markup(content: Markup) -> Cell {
        Cell { content, key: None, is_number: false }
    }

    /// A value as people read it; a dash where it is not known.
    pub(super) fn number<T: Copy + Into<Value>>(value: Option<T>, show: impl Fn(T) -> String) -> Cell {
        let content = html! { (super::text::or_unknown(value.map(show))) };
        Cell { content, key: value.map(|value| value.into().0), is_number: true }
    }

    /// A text that stands for a number.
    pub(super) fn shown(text: &str, key: u64) -> Cell {
        Cell { content: html! { (text) }, key: Some(key as f64), is_number: true }
    }
}

/// What a column of numbers is sorted by.
pub(super) struct Value(f64);

impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value(value as f64)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value(value)
    }
}

/// The name of a mode, in its colour.
pub(super) fn mode(index: usize, name: &str) -> Cell {
    Cell::markup(html! { span.mode.(class(index)) { (super::text::name(name)) } })
}

/// The class of a mode's colour and dashes.
pub(super) fn class(index: usize) -> &'static str {
    ["m0", "m1", "m2", "m3", "m4"][index % 5]
}

/// A table in a box of its own, which scrolls where the page is too narrow for it.
pub(super) fn table(label: &str, head: &[&str], rows: Vec<Vec<Cell>>) -> Markup {
    let is_number = |column: usize| rows.iter().any(|row| row.get(column).is_some_and(|cell| cell.is_number));
    let more = rows.len().saturating_sub(ROWS) as u64;
    html! {
        div.scroll tabindex="0" role="region" aria-label=(label) {
            table {
                thead { tr {
                    @for (column, title) in head.iter().enumerate() {
                        th scope="col" class=[is_number(column).then_some("n")] { (title) }
                    }
                } }
                tbody {
                    @for row in rows.iter().take(ROWS) {
                        tr {
                            @for cell in row {
                                td class=[cell.is_number.then_some("n")] data-key=[cell.key] { (cell.content) }
                            }
                        }
                    }
                }
            }
        }
        @if more > 0 { p.dim { "and " (plural(more, "more row")) } }
    }
}
