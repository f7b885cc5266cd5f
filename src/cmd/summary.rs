//! The summary of a step in GitHub Actions: a file that its runner names, and shows as Markdown.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use super::CmdError;
use crate::args::Outputs;
use crate::recording::Recording;
use crate::report::{Format, markdown};

/// Appends the report, where annotations are asked for and the environment names the file: a step has one for all that it runs.
pub(super) fn append(recording: &Recording, outputs: &Outputs) -> Result<(), CmdError> {
    let mut formats = outputs.files.iter().map(|(format, _)| *format).chain(outputs.stdout);
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else { return Ok(()) };
    if !formats.any(|format| format == Format::Github) {
        return Ok(());
    }
    // What another program wrote before need not end its last line.
    let page = format!("\n{}", markdown::render(recording));
    let file = File::options().append(true).create(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(page.as_bytes()));
    written.map_err(CmdError::unwritable(PathBuf::from(path)))
}
