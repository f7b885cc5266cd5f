//! Reports: pure functions from a recording to text.

pub mod comparison;
pub mod doctor;
pub mod explain;
pub mod folded;
mod layout;
pub mod list;
pub mod terminal;

pub(crate) use layout::cut;

use crate::recording::{Recording, wire};
use terminal::Style;

/// What a recording is reported as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For a terminal.
    Text,
    /// The recording itself.
    Json,
    /// Stacks, for flame-graph tools.
    Folded,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 3] = [Format::Text, Format::Json, Format::Folded];

    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
            Format::Folded => "folded",
        }
    }

    /// The format of that name.
    pub fn from_name(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.as_str() == name)
    }
}

/// A recording in a format; the style is that of a text.
///
/// # Errors
/// When a histogram cannot be encoded: one of its counts is 2⁶³ or more.
pub fn render(recording: &Recording, format: Format, style: &Style) -> serde_json::Result<String> {
    Ok(match format {
        Format::Text => terminal::render(recording, style),
        Format::Json => wire::to_json(recording)?,
        Format::Folded => folded::render(recording),
    })
}
