//! The list of scenarios: a name and its question each.

use super::layout::{Ink, Line, hanging};
use super::style::Style;

/// One line a scenario, wrapped under its question.
pub fn scenarios(list: &[(String, String)], style: &Style) -> String {
    let longest = list.iter().map(|(name, _)| super::layout::width(name)).max().unwrap_or_default();
    let lines = list.iter().flat_map(|(name, question)| {
        let prefix = Line::new().left(Ink::Bold, name, longest).blank(2);
        hanging(prefix, longest + 2, Ink::Plain, question, style.width)
    });
    lines.map(|line| line.finish(style) + "\n").collect()
}
