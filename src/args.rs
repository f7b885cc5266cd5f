//! The command line: what was typed becomes a plain request, one file a command. With those, the only place that names clap.

mod compare;
mod confirm;
mod generate;
mod merge;
mod outputs;
mod report;
mod run;
mod values;

use std::ffi::OsString;
use std::io::Write;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use self::compare::CliCompare;
pub use self::compare::CompareRequest;
use self::confirm::CliConfirm;
pub use self::confirm::ConfirmRequest;
use self::merge::CliMerge;
pub use self::merge::MergeRequest;
pub(crate) use self::outputs::Common;
use self::outputs::GATES;
pub use self::outputs::Outputs;
use self::report::CliReport;
pub use self::report::ReportRequest;
use self::run::CliRun;
pub use self::run::RunRequest;
use crate::exit::Exit;

/// What is to be done.
#[derive(Debug)]
pub struct Request {
    /// Which command, with what.
    pub command: Command,
    /// When to use colour.
    pub color: Color,
    /// Whether to say nothing on stderr but errors.
    pub quiet: bool,
    /// The command line, for the record.
    pub typed: Vec<String>,
}

/// The commands.
#[derive(Debug)]
pub enum Command {
    /// Run scenarios.
    Run(RunRequest),
    /// Merge a user's files.
    Merge(MergeRequest),
    /// Hold a merged file against its inputs.
    Confirm(ConfirmRequest),
    /// List the scenarios.
    Scenarios,
    /// Show a saved recording.
    Report(ReportRequest),
    /// Compare saved recordings.
    Compare(CompareRequest),
    /// Prove what is seen here.
    Doctor,
    /// Explain a code, or list all.
    Explain(Option<String>),
    /// Print the JSON Schema of recordings.
    Schema,
    /// Print a text that is made from the command line's own description.
    Print(String),
}

impl Command {
    /// Whether messages hide paths.
    pub(crate) fn redacts(&self) -> bool {
        match self {
            Command::Run(request) => request.common.outputs.redact,
            Command::Merge(request) => request.common.outputs.redact,
            Command::Report(request) => request.outputs.redact,
            Command::Compare(request) => request.redact,
            Command::Confirm(_)
            | Command::Scenarios
            | Command::Doctor
            | Command::Explain(_)
            | Command::Schema
            | Command::Print(_) => false,
        }
    }
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// On a terminal that can show it, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Finds what blocks a Tokio event loop, and shows what fixing it is worth.
#[derive(Debug, Parser)]
#[command(name = "pollscope", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: CliCommand,
    /// When to use colour; NO_COLOR and CLICOLOR_FORCE are honoured
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto", global = true, display_order = 1000)]
    color: CliColor,
    /// Say nothing on stderr but errors: no progress, no slow-poll lines
    #[arg(short, long, global = true, display_order = 1000)]
    quiet: bool,
}

const EXIT_CODES: &str = "\
Exit codes: 0 pass, 1 error, 2 usage, 3 merge not confirmed, 97 inconclusive (--strict), 98 worse than the baseline, 99 an expectation failed, \
110 cannot write output, 129 hung up, 130 interrupted, 143 terminated";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CliColor {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Run scenarios and report what each mode does to the loop
    #[command(after_help = GATES)]
    Run(CliRun),
    /// Merge real files into one, measured like a scenario
    #[command(after_help = GATES)]
    Merge(CliMerge),
    /// Find out whether a merged file holds what its inputs hold, and what it lacks
    Confirm(CliConfirm),
    /// List the built-in scenarios with their questions
    Scenarios,
    /// Show a saved recording in any format
    #[command(after_help = GATES)]
    Report(CliReport),
    /// Compare two saved recordings, or the modes of one
    #[command(after_help = GATES)]
    Compare(CliCompare),
    /// Prove what this machine and build see, with injected stalls
    Doctor,
    /// Explain a finding's code or a cause, and how to fix it
    Explain(CliExplain),
    /// Print the JSON Schema of the recordings that `--json` writes
    Schema,
    /// Print a shell's completions, for a file that it reads
    Completions(CliCompletions),
    /// Print a manual page, for `man -l -`
    Man(CliMan),
}

#[derive(Debug, Args)]
struct CliExplain {
    /// Such as PS001 or lock; without it, all are listed
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

#[derive(Debug, Args)]
struct CliCompletions {
    /// Which shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
struct CliMan {
    /// Such as run; without it, the page of the whole program
    #[arg(value_name = "COMMAND", value_parser = parse_man)]
    command: Option<Page>,
}

/// A manual page.
#[derive(Debug, Clone)]
struct Page(String);

fn parse_man(name: &str) -> Result<Page, String> {
    generate::man(Cli::command(), Some(name)).map(Page)
}

/// Why arguments cannot be together, each of which alone could be.
type Refusal = (ErrorKind, &'static str);

fn check(command: &CliCommand) -> Result<(), Refusal> {
    match command {
        CliCommand::Run(run) => run.check(),
        CliCommand::Merge(merge) => merge.check(),
        CliCommand::Confirm(confirm) => confirm.check(),
        CliCommand::Compare(compare) => compare.check(),
        _ => Ok(()),
    }
}

/// Prints help, the version or a usage error, and says how the program ends after it.
fn print(error: &clap::Error) -> Exit {
    let printed = error.print();
    match printed.and_then(|()| std::io::stdout().flush()) {
        _ if error.use_stderr() => Exit::Usage,
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            let _ = writeln!(std::io::stderr(), "error: cannot write to stdout: {error}");
            Exit::CannotWrite
        }
        _ => Exit::Pass,
    }
}

/// Reads the command line.
///
/// # Errors
/// With how the program ends, when help, the version or a usage error was printed instead.
pub fn parse(typed: Vec<OsString>) -> Result<Request, Exit> {
    let record = typed.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let cli = Cli::try_parse_from(typed).map_err(|error| print(&error))?;
    if let Err((kind, message)) = check(&cli.command) {
        return Err(print(&Cli::command().error(kind, message)));
    }
    let color = match cli.color {
        CliColor::Auto => Color::Auto,
        CliColor::Always => Color::Always,
        CliColor::Never => Color::Never,
    };
    Ok(Request { command: cli.command.into(), color, quiet: cli.quiet, typed: record })
}

impl From<CliCommand> for Command {
    fn from(command: CliCommand) -> Command {
        match command {
            CliCommand::Run(run) => Command::Run(run.into()),
            CliCommand::Merge(merge) => Command::Merge(merge.into()),
            CliCommand::Confirm(confirm) => Command::Confirm(confirm.into()),
            CliCommand::Scenarios => Command::Scenarios,
            CliCommand::Report(report) => Command::Report(report.into()),
            CliCommand::Compare(compare) => Command::Compare(compare.into()),
            CliCommand::Doctor => Command::Doctor,
            CliCommand::Explain(explain) => Command::Explain(explain.code),
            CliCommand::Schema => Command::Schema,
            CliCommand::Completions(of) => Command::Print(generate::completions(Cli::command(), of.shell)),
            CliCommand::Man(CliMan { command: Some(Page(page)) }) => Command::Print(page),
            CliCommand::Man(CliMan { command: None }) => {
                Command::Print(generate::man(Cli::command(), None).expect("the program has a page"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
