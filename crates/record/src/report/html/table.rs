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
    /// It is all of its row, and belongs to the row before.
    is_row: bool,
}

impl Cell {
    /// Words, cut and escaped already.
    pub(super) fn text(text: &str) -> Cell {
        Cell::markup(html! { (text) })
    }

    /// Anything.
    pub(super) fn markup(content: Markup) -> Cell {
        Cell { content, key: None, is_number: false, is_row: false }
    }

    /// More about the row before, in a row of its own.
    pub(super) fn row(content: Markup) -> Cell {
        Cell { is_row: true, ..Cell::markup(content) }
    }

    /// A value as people read it; a dash where it is not known.
    pub(super) fn number<T: Copy + Into<Value>>(value: Option<T>, show: impl Fn(T) -> String) -> Cell {
        let content = html! { (super::text::or_unknown(value.map(show))) };
        Cell { content, key: value.map(|value| value.into().0), is_number: true, is_row: false }
    }

    /// It has its heading with it, for where there is no room for columns.
    fn data(&self, head: &[&str], column: usize) -> Markup {
        let of = head.get(column).filter(|_| !self.is_row);
        let columns = self.is_row.then_some(head.len());
        html! {
            td class=[self.is_number.then_some("n")] data-of=[of] data-key=[self.key] colspan=[columns] {
                (self.content)
            }
        }
    }

    /// A text that stands for a number.
    pub(super) fn shown(text: &str, key: u64) -> Cell {
        Cell { content: html! { (text) }, key: Some(key as f64), is_number: true, is_row: false }
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

/// The class of a mode's colour, dashes and mark.
pub(super) fn class(index: usize) -> &'static str {
    const CLASSES: [&str; 10] = ["m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9"];
    CLASSES[index % CLASSES.len()]
}

/// A table in a box of its own, which scrolls where the page is too narrow for it.
pub(super) fn table(label: &str, head: &[&str], rows: Vec<Vec<Cell>>) -> Markup {
    let is_number = |column: usize| rows.iter().any(|row| row.get(column).is_some_and(|cell| cell.is_number));
    let is_more = |row: &[Cell]| row.iter().any(|cell| cell.is_row);
    let count = rows.iter().filter(|row| !is_more(row)).count();
    let more = count.saturating_sub(ROWS) as u64;
    let mut shown = 0;
    let end = rows.iter().position(|row| {
        shown += usize::from(!is_more(row));
        shown > ROWS
    });
    html! {
        div.scroll tabindex="0" role="region" aria-label=(label) {
            table {
                thead { tr {
                    @for (column, title) in head.iter().enumerate() {
                        th scope="col" class=[is_number(column).then_some("n")] { (title) }
                    }
                } }
                tbody {
                    @for row in &rows[..end.unwrap_or(rows.len())] {
                        tr.more[is_more(row)] {
                            @for (column, cell) in row.iter().enumerate() { (cell.data(head, column)) }
                        }
                    }
                }
            }
        }
        @if more > 0 { p.dim { "and " (plural(more, "more row")) } }
    }
}
