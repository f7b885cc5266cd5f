//! The command line as plain requests, one file per command. clap is named here and in this folder, and nowhere else.

mod compare;
mod confirm;
mod doctor;
mod examples;
mod generate;
mod help;
mod hints;
mod init;
mod listed;
mod merge;
mod outputs;
mod outside;
mod record;
mod report;
mod run;
mod tasks;
mod top;
mod usage;
mod values;

use std::ffi::OsString;
use std::io::Write;

use clap::builder::StringValueParser;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use pollscope_base::reason;

use self::compare::CliCompare;
pub(crate) use self::compare::CompareRequest;
use self::confirm::CliConfirm;
pub(crate) use self::confirm::ConfirmRequest;
use self::doctor::CliDoctor;
pub(crate) use self::doctor::DoctorRequest;
use self::init::CliInit;
pub(crate) use self::init::InitRequest;
use self::listed::listed;
use self::merge::CliMerge;
pub(crate) use self::merge::MergeRequest;
pub(crate) use self::outputs::{BaselineNames, Common, Outputs};
pub(crate) use self::outside::Outside;
use self::record::CliRecord;
pub(crate) use self::record::{RecordRequest, Recorded};
use self::report::CliReport;
pub(crate) use self::report::ReportRequest;
use self::run::CliRun;
pub(crate) use self::run::RunRequest;
use self::tasks::CliTasks;
pub(crate) use self::tasks::TasksRequest;
use self::top::CliTop;
pub(crate) use self::top::TopRequest;
pub(crate) use self::values::TasksOf;
use crate::exit::Exit;
use crate::explain;
use crate::explain::topics::Topic;
use crate::stderr::say;

/// A command with its arguments, and what all commands take.
#[derive(Debug)]
pub struct Request {
    pub(crate) command: Command,
    pub(crate) color: Color,
    pub(crate) quiet: bool,
    /// Whether the project's settings are left out.
    pub(crate) no_config: bool,
    /// The command line, for the recording.
    pub(crate) typed: Vec<String>,
}

#[derive(Debug)]
pub(crate) enum Command {
    Run(RunRequest),
    Record(RecordRequest),
    Top(TopRequest),
    Tasks(TasksRequest),
    Merge(MergeRequest),
    Confirm(ConfirmRequest),
    Scenarios,
    Report(ReportRequest),
    Compare(CompareRequest),
    Init(InitRequest),
    Doctor(DoctorRequest),
    /// Without a code or a word, lists all codes.
    Explain(Option<String>),
    Topic(Topic),
    Schema,
    /// A text made from the description of the command line: completions, or a manual page.
    Print(String),
}

impl Command {
    /// Whether messages hide paths.
    pub(crate) fn redacts(&self) -> bool {
        match self {
            Command::Run(request) => request.common.outputs.redact,
            Command::Record(request) => request.outputs.redact,
            Command::Merge(request) => request.common.outputs.redact,
            Command::Report(request) => request.outputs.redact,
            Command::Compare(request) => request.redact,
            Command::Top(_)
            | Command::Tasks(_)
            | Command::Confirm(_)
            | Command::Scenarios
            | Command::Init(_)
            | Command::Doctor(_)
            | Command::Explain(_)
            | Command::Topic(_)
            | Command::Schema
            | Command::Print(_) => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Color {
    /// On a terminal that can show it, unless NO_COLOR is set.
    Auto,
    Always,
    Never,
}

/// Finds what blocks a Tokio event loop, and shows what fixing it is worth.
#[derive(Debug, Parser)]
#[command(name = "pollscope", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = EXIT_CODES, after_long_help = examples::of_the_program(EXIT_CODES))]
struct Cli {
    #[command(subcommand)]
    command: CliCommand,
    /// When to use colour; follows NO_COLOR and CLICOLOR_FORCE
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto", global = true, display_order = 1000)]
    color: CliColor,
    /// Print only errors on stderr, without progress and slow-poll lines, and of the answer the first line
    #[arg(short, long, global = true, display_order = 1000)]
    quiet: bool,
    /// Read no pollscope.toml (see `pollscope help config`)
    #[arg(long, global = true, display_order = 1000, hide_short_help = true)]
    no_config: bool,
}

const EXIT_CODES: &str = "\
Exit codes: 0 pass, 1 error, 2 usage, 3 merge not confirmed, 97 inconclusive (--strict), 98 worse than the baseline, 99 a gate failed, \
110 cannot write output, 126 cannot start the program, 127 program not found, 129 hung up, 130 interrupted, 143 terminated";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CliColor {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Run scenarios and report what each mode does to the loop
    #[command(after_long_help = examples::with_gates(examples::RUN))]
    Run(CliRun),
    /// Record a Tokio process as it runs, or a program that is started; then report
    #[command(after_long_help = examples::RECORD)]
    Record(CliRecord),
    /// Show a Tokio process as it runs: what blocks now, where time goes, what the workers do
    #[command(after_long_help = examples::TOP)]
    Top(CliTop),
    /// Show what every task of a Tokio process waits for, and who holds it
    #[command(after_long_help = examples::TASKS)]
    Tasks(CliTasks),
    /// Merge files into one, measured like a scenario
    #[command(after_long_help = examples::with_gates(examples::MERGE))]
    Merge(CliMerge),
    /// Check that a merged file holds what its inputs hold, and show what it lacks
    #[command(after_long_help = examples::CONFIRM)]
    Confirm(CliConfirm),
    /// List the built-in scenarios and their questions
    #[command(after_long_help = examples::SCENARIOS)]
    Scenarios,
    /// Show a saved recording, or several as one, in any format
    #[command(after_long_help = examples::with_gates(examples::REPORT))]
    Report(CliReport),
    /// Compare two saved recordings, or the modes of one
    #[command(after_long_help = examples::with_gates(examples::COMPARE))]
    Compare(CliCompare),
    /// Show what a project needs to be measured, and write it
    #[command(after_long_help = examples::INIT)]
    Init(CliInit),
    /// Inject stalls, and show what this build sees of them on this machine; or show what can be seen of a process, and what would help
    #[command(after_long_help = examples::DOCTOR)]
    Doctor(CliDoctor),
    /// Explain a finding's code, a cause or a word of reports, and how to fix it
    #[command(after_long_help = examples::EXPLAIN)]
    Explain(CliExplain),
    /// Print how a program that drives pollscope, such as an assistant, uses it
    #[command(after_long_help = examples::AGENTS)]
    Agents,
    /// Print the JSON Schema of recordings
    #[command(after_long_help = examples::SCHEMA)]
    Schema,
    /// Print shell completions
    #[command(after_long_help = examples::COMPLETIONS)]
    Completions(CliCompletions),
    /// Print a manual page; show it with `man -l -`
    #[command(after_long_help = examples::MAN)]
    Man(CliMan),
    /// Print this message, or the help of a command or a topic: gates, formats, settings, config, glossary
    #[command(after_long_help = examples::HELP)]
    Help(CliHelp),
}

#[derive(Debug, Args)]
struct CliExplain {
    /// A code such as PS001, a cause such as lock, or a word of reports such as lag; without it, list all codes
    #[arg(value_name = "CODE", value_parser = listed(StringValueParser::new(), explain::names), hide_possible_values = true)]
    code: Vec<String>,
}

#[derive(Debug, Args)]
struct CliHelp {
    /// A command, or a topic: gates, formats, settings, config, glossary
    #[arg(value_name = "COMMAND", value_parser = listed(StringValueParser::new(), help::names), hide_possible_values = true)]
    of: Option<String>,
}

#[derive(Debug, Args)]
struct CliCompletions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
struct CliMan {
    /// A command such as run; without it, the whole program
    #[arg(value_name = "COMMAND", value_parser = listed(parse_man, help::commands), hide_possible_values = true)]
    command: Option<Page>,
}

/// A manual page.
#[derive(Debug, Clone)]
struct Page(String);

fn parse_man(name: &str) -> Result<Page, String> {
    generate::man(Cli::command(), Some(name)).map(Page)
}

/// Why arguments that are valid alone cannot be combined.
type Refusal = (ErrorKind, String);

fn check(command: &CliCommand, typed: &[String]) -> Result<(), Refusal> {
    if let Some(advice) = hints::stray_address(typed) {
        return Err((ErrorKind::ValueValidation, advice));
    }
    match command {
        CliCommand::Run(run) => run.check(),
        CliCommand::Record(record) => record.check(),
        CliCommand::Top(top) => top.check(),
        CliCommand::Merge(merge) => merge.check(),
        CliCommand::Confirm(confirm) => confirm.check(),
        CliCommand::Report(report) => report.check(),
        CliCommand::Compare(compare) => compare.check(),
        CliCommand::Doctor(doctor) => doctor.check(),
        _ => Ok(()),
    }
}

/// Prints help, the version or a usage error; returns how the program ends then.
fn print(error: clap::Error) -> Exit {
    if error.use_stderr() {
        say(usage::lines(error));
        return Exit::Usage;
    }
    match error.print().and_then(|()| std::io::stdout().flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            say(format!("error: cannot write to stdout: {}; write elsewhere", reason(error)));
            Exit::CannotWrite
        }
        _ => Exit::Pass,
    }
}

/// Reads the command line.
///
/// # Errors
/// When it printed help, the version or a usage error instead: how the program ends then.
pub fn parse(typed: Vec<OsString>) -> Result<Request, Exit> {
    let record: Vec<String> = typed.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let advised = |error| print(hints::advise(error, &Cli::command(), &record));
    let cli = Cli::try_parse_from(typed).map_err(advised)?;
    if let Err((kind, message)) = check(&cli.command, &record) {
        return Err(print(hints::of_command(&Cli::command(), &record).error(kind, message)));
    }
    if let CliCommand::Help(CliHelp { of }) = &cli.command
        && of.as_deref().and_then(Topic::from_name).is_none()
    {
        return Err(print(help::of(of.as_deref(), &Cli::command())));
    }
    let color = match cli.color {
        CliColor::Auto => Color::Auto,
        CliColor::Always => Color::Always,
        CliColor::Never => Color::Never,
    };
    Ok(Request { command: cli.command.into(), color, quiet: cli.quiet, no_config: cli.no_config, typed: record })
}

impl From<CliCommand> for Command {
    fn from(command: CliCommand) -> Command {
        match command {
            CliCommand::Run(run) => Command::Run(run.into()),
            CliCommand::Record(record) => Command::Record(record.into()),
            CliCommand::Top(top) => Command::Top(top.into()),
            CliCommand::Tasks(tasks) => Command::Tasks(tasks.into()),
            CliCommand::Merge(merge) => Command::Merge(merge.into()),
            CliCommand::Confirm(confirm) => Command::Confirm(confirm.into()),
            CliCommand::Scenarios => Command::Scenarios,
            CliCommand::Report(report) => Command::Report(report.into()),
            CliCommand::Compare(compare) => Command::Compare(compare.into()),
            CliCommand::Init(init) => Command::Init(init.into()),
            CliCommand::Doctor(doctor) => Command::Doctor(doctor.into()),
            CliCommand::Explain(CliExplain { code }) => Command::Explain((!code.is_empty()).then(|| code.join(" "))),
            CliCommand::Help(CliHelp { of }) => {
                Command::Topic(of.as_deref().and_then(Topic::from_name).expect("whatever else it is was printed"))
            }
            CliCommand::Agents => Command::Print(explain::AGENTS.to_owned()),
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
