//! The commands: each takes a request and returns an exit code.
//!
//! Commands call what they share, and never each other: `outcome` and `pairing` judge recordings, and are pure; `load` reads,
//! `output` and `summary` write, `excerpt` reads code for them, `kept` has the last runs, `targets` keeps their files apart; a `session` runs scenarios, and has
//! `signals` and `progress`, whose `pace` says how long it still takes.

mod baseline;
mod compare;
mod confirm;
mod error;
mod excerpt;
mod kept;
mod load;
mod merge;
mod outcome;
mod output;
mod pace;
mod pairing;
mod progress;
mod report;
mod run;
mod session;
mod show;
mod signals;
mod summary;
mod targets;

pub use self::error::CmdError;
use self::output::Terminal;
use crate::args::{Command, Request};
use crate::exit::Exit;

/// Does what was asked.
///
/// # Errors
/// When the command fails; reports that are written already stay.
pub fn execute(request: Request) -> Result<Exit, CmdError> {
    signals::outlive_size_limit().map_err(CmdError::Signals)?;
    let Request { command, color, quiet, typed } = request;
    let terminal = &Terminal { color, quiet, typed };
    let redacts = command.redacts();
    let done = match command {
        Command::Run(request) => run::execute(&request, terminal),
        Command::Merge(request) => merge::execute(&request, terminal),
        Command::Confirm(request) => confirm::execute(&request, terminal),
        Command::Report(request) => report::execute(&request, terminal),
        Command::Compare(request) => compare::execute(&request, terminal),
        Command::Scenarios => show::scenarios(terminal),
        Command::Doctor => show::doctor(terminal),
        Command::Explain(code) => show::explain(code.as_deref(), terminal),
        Command::Topic(topic) => show::topic(topic, terminal),
        Command::Schema => show::schema(terminal),
        Command::Print(text) => show::text(&text, terminal),
    };
    done.map_err(|error| if redacts { error.redacted() } else { error })
}
