//! The step summary of GitHub Actions: a Markdown file that the runner names and shows.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use super::CmdError;
use crate::args::Outputs;
use crate::recording::Recording;
use crate::report::{Format, markdown};

/// Appends the report to the step summary, if `github` is one of the formats. All commands of a step share one file.
pub(super) fn append(recording: &Recording, outputs: &Outputs) -> Result<(), CmdError> {
    let Some(path) = path(outputs) else { return Ok(()) };
    // Another program may have left its last line open.
    let page = format!("\n{}", markdown::render(recording));
    let file = File::options().append(true).create(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(page.as_bytes()));
    written.map_err(CmdError::unwritable(path))
}

/// The summary's file, if there is one and `github` is one of the formats.
pub(super) fn path(outputs: &Outputs) -> Option<PathBuf> {
    let mut formats = outputs.files.iter().map(|(format, _)| *format).chain(outputs.stdout);
    let path = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty())?;
    formats.any(|format| format == Format::Github).then(|| PathBuf::from(path))
}
