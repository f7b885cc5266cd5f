//! Reports: pure functions from a recording to text.

pub mod doctor;
pub mod explain;
pub mod folded;
mod gates;
pub mod github;
pub mod junit;
mod layout;
pub mod list;
pub mod markdown;
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
    /// Annotations of GitHub Actions.
    Github,
    /// JUnit's XML, as Jenkins reads it.
    Junit,
    /// Markdown, as GitHub reads it.
    Markdown,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 6] =
        [Format::Text, Format::Json, Format::Folded, Format::Github, Format::Junit, Format::Markdown];

    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
            Format::Folded => "folded",
            Format::Github => "github",
            Format::Junit => "junit",
            Format::Markdown => "markdown",
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
        Format::Github => github::render(recording),
        Format::Junit => junit::render(recording),
        Format::Markdown => markdown::render(recording),
    })
}
