//! `pollscope scenarios`: the built-in ones and their questions.

use std::path::Path;

use super::CmdError;
use super::output::Terminal;
use crate::exit::Exit;
use crate::report::list;
use crate::scenario::{builtin, wire};

pub(super) fn execute(terminal: &Terminal) -> Result<Exit, CmdError> {
    let scenarios = builtin::BUILTIN.iter().map(|(name, toml)| {
        let scenario = wire::parse(name, toml, &[])?;
        Ok((scenario.name, scenario.question))
    });
    let scenarios: Vec<_> = scenarios.collect::<Result<_, _>>().map_err(CmdError::Scenario)?;
    terminal.write(Path::new("-"), &list::scenarios(&scenarios, &terminal.style()))?;
    Ok(Exit::Pass)
}
