//! The commands: wiring only.

mod baseline;
mod compare;
mod confirm;
mod doctor;
mod explain;
mod merge;
mod output;
mod print;
mod progress;
mod report;
mod run;
mod scenarios;
mod schema;
mod signals;
mod summary;

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;

use crate::args::{Command, Request};
use crate::escape::{escape, escape_path};
use crate::exit::Exit;
use crate::explain::NoExplanation;
use crate::export::console::ConsoleError;
use crate::export::prometheus::ServeError;
use crate::interval_log::LogError;
use crate::pipeline::confirm::present::PresentError;
use crate::recording::read::ReadError;
use crate::redact::text;
use crate::report::Format;
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
    /// The files cannot be held against one another.
    Confirm(PresentError),
    /// There is no such code.
    Explanation(NoExplanation),
    /// The doctor injected stalls that were not seen as they were.
    StallsMissed {
        /// How many.
        missed: usize,
        /// Of how many.
        tried: usize,
    },
    /// tokio-console cannot look.
    Console(ConsoleError),
    /// Metrics cannot be served.
    Metrics(ServeError),
    /// More files are needed open at once than the system allows.
    OpenFiles {
        /// How many are needed.
        needed: u64,
        /// How many are allowed.
        allowed: u64,
    },
    /// There cannot be as many threads as are needed.
    Threads {
        /// How many are needed.
        needed: usize,
        /// What the system said.
        error: std::io::Error,
    },
    /// Signals cannot be caught.
    Signals(std::io::Error),
    /// A report would take the place of a file that the same command reads or merges into.
    ReportIsUsed {
        /// The report.
        report: PathBuf,
        /// The file, as it was named.
        file: PathBuf,
    },
    /// A saved recording cannot be read.
    Read {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        error: ReadError,
    },
    /// There is no baseline of that name.
    NoBaseline {
        /// Its name.
        name: String,
        /// Where it would be.
        path: PathBuf,
    },
    /// Two recordings answer different questions.
    Incomparable {
        /// The first.
        a: PathBuf,
        /// The second.
        b: PathBuf,
        /// In what they differ.
        why: String,
    },
    /// The modes of one recording cannot be compared.
    Modes {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// An interval log cannot be read.
    ReadLog {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        error: LogError,
    },
    /// An interval log has no such thing.
    NotInLog {
        /// The log.
        path: PathBuf,
        /// What was asked for.
        asked: &'static str,
    },
    /// A report cannot be written.
    Write {
        /// Where to.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// One of the others, whose paths are not to be shown.
    Redacted(Box<CmdError>),
}

impl CmdError {
    /// The exit code that goes with it.
    pub fn exit(&self) -> Exit {
        match self {
            CmdError::Scenario(_) | CmdError::Explanation(_) | CmdError::NotInLog { .. } => Exit::Usage,
            CmdError::Write { .. } => Exit::CannotWrite,
            CmdError::Redacted(error) => error.exit(),
            CmdError::Run(_)
            | CmdError::Confirm(_)
            | CmdError::Console(_)
            | CmdError::Metrics(_)
            | CmdError::StallsMissed { .. }
            | CmdError::OpenFiles { .. }
            | CmdError::Threads { .. }
            | CmdError::Signals(_)
            | CmdError::Read { .. }
            | CmdError::NoBaseline { .. }
            | CmdError::Incomparable { .. }
            | CmdError::Modes { .. }
            | CmdError::ReadLog { .. }
            | CmdError::ReportIsUsed { .. } => Exit::Error,
        }
    }
}

impl fmt::Display for CmdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CmdError::Scenario(error) => error.fmt(f),
            CmdError::Run(error) => error.fmt(f),
            CmdError::Redacted(error) => f.write_str(&text(&error.to_string())),
            CmdError::Confirm(error) => error.fmt(f),
            CmdError::Console(error) => error.fmt(f),
            CmdError::Metrics(error) => error.fmt(f),
            CmdError::Explanation(error) => error.fmt(f),
            CmdError::StallsMissed { missed, tried } => write!(
                f,
                "cannot vouch for what is seen here: {missed} of {tried} injected stalls were missed or seen wrong; try again \
                 on an idle machine, and report the table if they stay"
            ),
            CmdError::OpenFiles { needed, allowed } => write!(
                f,
                "cannot have {needed} files open at once: the limit is {allowed}; raise it (`ulimit -Hn`), or use fewer inputs"
            ),
            CmdError::Threads { needed, error } => write!(
                f,
                "cannot start {needed} threads: {error}; raise the limit (`ulimit -u`, or the control group's on pids)"
            ),
            CmdError::Signals(error) => write!(f, "cannot catch signals: {error}"),
            CmdError::ReportIsUsed { report, file } => write!(
                f,
                "cannot write report `{}`: it would replace `{}`, which this command uses; name another file",
                escape_path(report),
                escape_path(file)
            ),
            CmdError::NoBaseline { name, path } => write!(
                f,
                "cannot find baseline `{}`: there is no `{}` in this folder; make it with `--save-baseline {}`",
                escape(name),
                escape_path(path),
                escape(name)
            ),
            CmdError::Incomparable { a, b, why } => {
                write!(f, "cannot compare `{}` with `{}`: {}", escape_path(a), escape_path(b), escape(why))
            }
            CmdError::Modes { path, why } => {
                write!(f, "cannot compare the modes of `{}`: {}", escape_path(path), escape(why))
            }
            CmdError::Read { path, error } => write!(f, "cannot read recording `{}`: {error}", escape_path(path)),
            CmdError::ReadLog { path, error } => write!(f, "cannot read interval log `{}`: {error}", escape_path(path)),
            CmdError::NotInLog { path, asked } => {
                let known = crate::report::log::FORMATS.map(Format::as_str).join("`, `");
                write!(
                    f,
                    "cannot give `{asked}` for interval log `{}`: it has distributions only; choose of `{known}`, or give a \
                     recording that `--json` wrote",
                    escape_path(path)
                )
            }
            CmdError::Write { path, error } => {
                match path.to_str() {
                    Some("-") => write!(f, "cannot write to stdout: {error}")?,
                    _ => write!(f, "cannot write report `{}`: {error}", escape_path(path))?,
                }
                match error.kind() {
                    ErrorKind::NotFound => f.write_str("; make its folder first"),
                    ErrorKind::PermissionDenied => {
                        f.write_str("; write elsewhere, or make its folder writable for this user")
                    }
                    ErrorKind::StorageFull => f.write_str("; free some space, or write elsewhere"),
                    ErrorKind::IsADirectory => f.write_str("; name a file in it"),
                    _ if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => {
                        f.write_str("; nobody reads from it: start its reader first")
                    }
                    _ => Ok(()),
                }
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
    signals::outlive_size_limit().map_err(CmdError::Signals)?;
    let Request { command, color, quiet, typed } = request;
    let terminal = output::Terminal { color, quiet, typed };
    match command {
        Command::Run(run) => hiding(run.outputs.redact, run::execute(&run, &terminal)),
        Command::Merge(merge) => hiding(merge.outputs.redact, merge::execute(&merge, &terminal)),
        Command::Report(report) => hiding(report.outputs.redact, report::execute(&report, &terminal)),
        Command::Compare(request) => hiding(request.redact, compare::execute(&request, &terminal)),
        Command::Confirm(request) => confirm::execute(&request, &terminal),
        Command::Scenarios => scenarios::execute(&terminal),
        Command::Doctor => doctor::execute(&terminal),
        Command::Explain(code) => explain::execute(code.as_deref(), &terminal),
        Command::Schema => schema::execute(&terminal),
        Command::Print(text) => print::execute(&text, &terminal),
    }
}

/// A usage error stays as it is: it is about what was typed, and of no use without.
fn hiding(redact: bool, done: Result<Exit, CmdError>) -> Result<Exit, CmdError> {
    done.map_err(|error| match error.exit() {
        Exit::Usage => error,
        _ if redact => CmdError::Redacted(Box::new(error)),
        _ => error,
    })
}
