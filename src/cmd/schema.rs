//! `pollscope schema`: the JSON Schema of recordings.

use std::path::Path;

use super::CmdError;
use super::output::Terminal;
use crate::exit::Exit;
use crate::recording::wire::JSON_SCHEMA;

pub(super) fn execute(terminal: &Terminal) -> Result<Exit, CmdError> {
    terminal.write(Path::new("-"), JSON_SCHEMA)?;
    Ok(Exit::Pass)
}
