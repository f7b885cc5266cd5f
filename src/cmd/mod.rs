//! The commands: wiring only.

mod merge;
mod output;
mod progress;
mod run;
mod scenarios;
mod signals;

use std::fmt;
use std::path::PathBuf;

use crate::args::{Command, Request};
use crate::exit::Exit;
use crate::export::console::ConsoleError;
use crate::run::RunError;
use crate::scenario::wire::ScenarioError;

/// Why a command came to nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum CmdError {
    /// The scenario is not one.
    Scenario(ScenarioError),
    /// The run could not be made.
    Run(RunError),
    /// tokio-console cannot look.
    Console(ConsoleError),
    /// More files are needed open at once than the system allows.
    OpenFiles {
        /// How many are needed.
        needed: u64,
        /// How many are allowed.
        allowed: u64,
    },
    /// Signals cannot be caught.
    Signals(std::io::Error),
    /// A report cannot be written.
    Write {
        /// Where to.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

impl CmdError {
    /// The exit code that goes with it.
    pub fn exit(&self) -> Exit {
        match self {
            CmdError::Scenario(_) => Exit::Usage,
            CmdError::Write { .. } => Exit::CannotWrite,
            CmdError::Run(_) | CmdError::Console(_) | CmdError::OpenFiles { .. } | CmdError::Signals(_) => Exit::Error,
        }
    }
}

impl fmt::Display for CmdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CmdError::Scenario(error) => error.fmt(f),
            CmdError::Run(error) => error.fmt(f),
            CmdError::Console(error) => error.fmt(f),
            CmdError::OpenFiles { needed, allowed } => write!(
                f,
                "cannot have {needed} files open at once: the limit is {allowed}; raise it (`ulimit -Hn`), or use fewer inputs"
            ),
            CmdError::Signals(error) => write!(f, "cannot catch `SIGINT` and `SIGTERM`: {error}"),
            CmdError::Write { path, error } => {
                write!(f, "cannot write report `{}`: {error}", path.display().to_string().escape_debug())
            }
        }
    }
}

impl std::error::Error for CmdError {}

/// Does what was asked.
///
/// # Errors
/// When it came to nothing; what was reported already stays.
pub fn execute(request: Request) -> Result<Exit, CmdError> {
    let Request { command, color, quiet, typed } = request;
    let terminal = output::Terminal { color, quiet, typed };
    match command {
        Command::Run(run) => run::execute(&run, &terminal),
        Command::Merge(merge) => merge::execute(&merge, &terminal),
        Command::Scenarios => scenarios::execute(&terminal),
    }
}
