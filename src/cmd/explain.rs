//! `pollscope explain`: what a code or a cause means, and how to fix it.

use std::path::Path;

use super::CmdError;
use super::output::Terminal;
use crate::exit::Exit;
use crate::explain::{EXPLANATIONS, find};
use crate::report::explain;

pub(super) fn execute(code: Option<&str>, terminal: &Terminal) -> Result<Exit, CmdError> {
    let page = match code {
        None => explain::list(EXPLANATIONS, &terminal.style()),
        Some(code) => explain::page(find(code).map_err(CmdError::Explanation)?, &terminal.style()),
    };
    terminal.write(Path::new("-"), &page)?;
    Ok(Exit::Pass)
}
