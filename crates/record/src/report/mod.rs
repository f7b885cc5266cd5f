//! Reports: pure functions from a recording to text, and of one format to bytes.

pub mod agent;
pub mod answer;
pub mod comparison;
pub mod confirmation;
pub mod firefox;
pub mod folded;
mod gates;
mod github;
pub mod hgrm;
pub mod hlog;
pub mod html;
mod junit;
pub mod layout;
pub mod list;
pub mod log;
pub mod markdown;
mod measures;
pub mod pprof;
pub mod profile;
mod slow_poll;
mod stacks;
mod style;
mod subject;
pub mod tasks;
pub mod terminal;
mod timeline;
pub mod trace;

use std::path::{Path, PathBuf};

use crate::recording::{Recording, wire};
pub use slow_poll::executing;
pub use style::Style;

/// What a recording is reported as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For a terminal.
    Text,
    /// The recording itself.
    Json,
    /// Stacks, for flame-graph tools.
    Folded,
    /// The wall-clock profile of loops, as stacks for flame-graph tools.
    Profile,
    /// An HdrHistogram interval log.
    Hlog,
    /// Percentile distributions, for HdrHistogram's plotter.
    Hgrm,
    /// A trace for Perfetto and Chrome.
    Trace,
    /// A profile of stacks in pprof's format, compressed.
    Pprof,
    /// A profile for the Firefox Profiler.
    Firefox,
    /// Annotations of GitHub Actions.
    Github,
    /// JUnit's XML, as Jenkins reads it.
    Junit,
    /// Markdown, as GitHub reads it.
    Markdown,
    /// A few lines for programs that read reports.
    Agent,
    /// A page for a browser, with the recording in it.
    Html,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 14] = [
        Format::Text,
        Format::Json,
        Format::Html,
        Format::Folded,
        Format::Profile,
        Format::Hlog,
        Format::Hgrm,
        Format::Trace,
        Format::Pprof,
        Format::Firefox,
        Format::Github,
        Format::Junit,
        Format::Markdown,
        Format::Agent,
    ];

    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
            Format::Folded => "folded",
            Format::Profile => "profile",
            Format::Hlog => "hlog",
            Format::Hgrm => "hgrm",
            Format::Trace => "trace",
            Format::Pprof => "pprof",
            Format::Firefox => "firefox",
            Format::Github => "github",
            Format::Junit => "junit",
            Format::Markdown => "markdown",
            Format::Agent => "agent",
            Format::Html => "html",
        }
    }

    /// The format of that name.
    pub fn from_name(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.as_str() == name)
    }
}

/// A recording in a format; the style is that of a text. All formats but [`Format::Pprof`] are text.
///
/// # Errors
/// When a histogram cannot be encoded: one of its counts is 2⁶³ or more.
pub fn render(recording: &Recording, format: Format, style: &Style) -> serde_json::Result<Vec<u8>> {
    let text = match format {
        Format::Pprof => return Ok(pprof::render(recording)),
        Format::Text => terminal::render(recording, style),
        Format::Json => wire::to_json(recording)?,
        Format::Folded => folded::render(recording),
        Format::Profile => profile::render(recording),
        Format::Hlog => hlog::render(recording)?,
        Format::Hgrm => hgrm::render(&hgrm::of_recording(recording)),
        Format::Trace => trace::render(recording),
        Format::Firefox => firefox::render(recording),
        Format::Github => github::render(recording),
        Format::Junit => junit::render(recording),
        Format::Markdown => markdown::render(recording),
        Format::Agent => agent::render(recording),
        Format::Html => html::render(recording)?,
    };
    Ok(text.into_bytes())
}

/// The files of a format that is written to `path`: one of that name, or several beside it where a file holds only a part, as
/// [`hgrm`] says.
///
/// # Errors
/// As [`render`].
pub fn files(
    recording: &Recording,
    format: Format,
    path: &Path,
    style: &Style,
) -> serde_json::Result<Vec<(PathBuf, Vec<u8>)>> {
    Ok(match format {
        Format::Hgrm => {
            let texts = hgrm::files(&hgrm::of_recording(recording), path).into_iter();
            texts.map(|(path, text)| (path, text.into_bytes())).collect()
        }
        _ => vec![(path.to_owned(), render(recording, format, style)?)],
    })
}
