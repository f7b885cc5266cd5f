//! `pollscope explain`: what a code or a cause means, and how to fix it.

use std::path::Path;

use super::CmdError;
use super::output::Terminal;
use crate::exit::Exit;
use crate::explain::{EXPLANATIONS, find, page};

pub(super) fn execute(code: Option<&str>, terminal: &Terminal) -> Result<Exit, CmdError> {
    let text = match code {
        None => page::list(EXPLANATIONS, &terminal.style()),
        Some(code) => page::page(find(code).map_err(CmdError::Explanation)?, &terminal.style()),
    };
    terminal.write(Path::new("-"), &text)?;
    Ok(Exit::Pass)
}
