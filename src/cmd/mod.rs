//! The commands: each takes a request and returns an exit code.
//!
//! Commands call what they share, and never each other: `outcome` and `pairing` judge recordings, and are pure; `load` reads,
//! `output` and `summary` write, `excerpt` reads code for them, `kept` has the last runs, `targets` keeps their files apart; a `session` runs scenarios, and has
//! `signals` and `progress`, whose `pace` says how long it still takes; a `program` is started, gets the signals that are `passed` on, and
//! records to a `place`, or is looked at from `beside` it; the feed of a service that runs is `copied` there, and what is seen of one that tells nothing goes there as
//! `attached`.

mod attached;
mod baseline;
mod beside;
mod compare;
mod confirm;
mod copied;
mod doctor;
mod error;
mod excerpt;
mod init;
mod kept;
mod load;
mod merge;
mod outcome;
mod output;
mod over;
mod pace;
mod pairing;
mod passed;
mod place;
mod program;
mod progress;
mod record;
mod report;
mod run;
mod session;
mod show;
mod signals;
mod summary;
mod targets;
mod tasks;
mod top;

pub use self::error::CmdError;
use self::output::Terminal;
use crate::args::{Command, RecordRequest, Recorded, Request};
use crate::config::{self, Config};
use crate::escape::escape_path;
use crate::exit::Exit;
use crate::stderr::say;

/// Does what was asked.
///
/// # Errors
/// When the command fails; reports that are written already stay.
pub fn execute(request: Request) -> Result<Exit, CmdError> {
    signals::outlive_size_limit().map_err(CmdError::Signals)?;
    let Request { mut command, color, quiet, no_config, typed } = request;
    let redacts = command.redacts();
    let config = if no_config || !takes_config(&command) { Config::default() } else { project(&mut command, quiet)? };
    let terminal = &Terminal { color, quiet, typed, source_roots: config.source_roots };
    let done = match command {
        Command::Run(request) => run::execute(&request, terminal),
        Command::Record(request) => record::execute(&request, terminal),
        Command::Top(request) => top::execute(&request, terminal),
        Command::Tasks(request) => tasks::execute(&request, terminal),
        Command::Merge(request) => merge::execute(&request, terminal),
        Command::Confirm(request) => confirm::execute(&request, terminal),
        Command::Report(request) => report::execute(&request, terminal),
        Command::Compare(request) => compare::execute(&request, terminal),
        Command::Init(request) => init::execute(&request, terminal),
        Command::Scenarios => show::scenarios(terminal),
        Command::Doctor(request) => doctor::execute(&request, terminal),
        Command::Explain(code) => show::explain(code.as_deref(), terminal),
        Command::Topic(topic) => show::topic(topic, terminal),
        Command::Schema => show::schema(terminal),
        Command::Print(text) => show::text(&text, terminal),
    };
    done.map_err(|error| if redacts { error.redacted() } else { error })
}

/// Whether what a project says goes for it.
fn takes_config(command: &Command) -> bool {
    matches!(command, Command::Run(_) | Command::Record(_) | Command::Merge(_) | Command::Report(_))
}

/// Whether what a project takes for slow goes for it: nothing nearer says it.
fn takes_slow(command: &Command) -> bool {
    match command {
        Command::Merge(request) => request.slow_poll.is_none(),
        // A process that runs has its own.
        Command::Record(RecordRequest { of: Recorded::Process(_), .. }) => false,
        Command::Record(request) => request.slow.is_none() && std::env::var_os("POLLSCOPE_SLOW_POLL").is_none(),
        _ => false,
    }
}

/// Lets what the project says count where the command line says nothing else.
fn project(command: &mut Command, quiet: bool) -> Result<Config, CmdError> {
    let folder = std::env::current_dir().map_err(CmdError::Folder)?;
    let mut config = config::load(&folder).map_err(CmdError::Config)?;
    let takes_slow = takes_slow(command);
    let counts = !config.fail_on.is_empty() || (config.slow.is_some() && takes_slow);
    if let Some(path) = config.path.as_ref().filter(|_| counts && !quiet && !command.redacts()) {
        say(format!("note: `{}` counts as well; `--no-config` leaves it out", escape_path(path)));
    }
    let gates = std::mem::take(&mut config.fail_on);
    match command {
        Command::Run(request) => request.common.outputs.project_gates = gates,
        Command::Merge(request) => {
            request.common.outputs.project_gates = gates;
            if takes_slow {
                request.slow_poll = config.slow;
            }
        }
        Command::Record(request) => {
            request.outputs.project_gates = gates;
            if takes_slow {
                request.slow = config.slow;
            }
            request.label = request.label.take().or_else(|| config.label.take());
        }
        Command::Report(request) => request.outputs.project_gates = gates,
        _ => {}
    }
    Ok(config)
}
