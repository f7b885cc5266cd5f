//! The command line: what was typed becomes a plain request. With `generate`, the only place that names clap.

mod generate;

use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::exit::Exit;
use crate::export::console::DEFAULT_ADDRESS;
use crate::gate::Gate;
use crate::pipeline::sink::Mode;
use crate::report::{Format, comparison};
use crate::scenario::wire::Override;
use crate::units::parse_duration;

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

/// What `run` is to do.
#[derive(Debug)]
pub struct RunRequest {
    /// Names or paths; at least one.
    pub scenarios: Vec<String>,
    /// What the command line sets, in order.
    pub overrides: Vec<Override>,
    /// What is written.
    pub outputs: Outputs,
    /// Where tokio-console may look.
    pub console: Option<SocketAddr>,
    /// The name to save the recording under, to be compared with.
    pub save_baseline: Option<String>,
    /// The name of the saved recording to compare with.
    pub baseline: Option<String>,
}

/// What `merge` is to do.
#[derive(Debug)]
pub struct MergeRequest {
    /// The files to merge; at least one.
    pub inputs: Vec<PathBuf>,
    /// The merged file.
    pub output: PathBuf,
    /// How it is written.
    pub mode: Mode,
    /// Whether to go on until interrupted.
    pub follow: bool,
    /// How long a tail sleeps when there is no new data.
    pub interval: Duration,
    /// Lines written at once, at most.
    pub batch: usize,
    /// Whether to overwrite an output that exists.
    pub force: bool,
    /// Whether to add to an output that exists.
    pub append: bool,
    /// What counts as a slow poll.
    pub slow_poll: Duration,
    /// What is written.
    pub outputs: Outputs,
    /// Where tokio-console may look.
    pub console: Option<SocketAddr>,
}

/// What `report` is to do.
#[derive(Debug)]
pub struct ReportRequest {
    /// The saved recording; `-` is stdin.
    pub file: PathBuf,
    /// What is written.
    pub outputs: Outputs,
}

/// What `compare` is to do.
#[derive(Debug)]
pub struct CompareRequest {
    /// The recording that is compared with.
    pub a: PathBuf,
    /// The one that is judged; `None` compares the modes of the first.
    pub b: Option<PathBuf>,
    /// The modes to compare: of two recordings the first's and the second's.
    pub modes: Vec<String>,
    /// What it is written as.
    pub format: comparison::Format,
    /// What must hold of the one that is judged; without a second, of the first.
    pub gates: Vec<Gate>,
    /// Whether a gate that is inconclusive decides the exit code.
    pub strict: bool,
    /// Whether paths are hidden.
    pub redact: bool,
}

/// Where reports go, and what decides the exit code.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// Files, each in its format; `-` is stdout, instead of the report.
    pub files: Vec<(Format, PathBuf)>,
    /// What the report on stdout is written as; `None` where there is none.
    pub stdout: Option<Format>,
    /// What must hold, besides what the recording has.
    pub gates: Vec<Gate>,
    /// Whether a gate that is inconclusive decides the exit code.
    pub strict: bool,
    /// Whether paths are hidden in all of them, and in lines on stderr.
    pub redact: bool,
}

impl Outputs {
    /// All of them.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(_, path)| path.as_path())
    }
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
    Run(CliRun),
    /// Merge real files into one, measured like a scenario
    Merge(CliMerge),
    /// List the built-in scenarios with their questions
    Scenarios,
    /// Show a saved recording in any format
    Report(CliReport),
    /// Compare two saved recordings, or the modes of one
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
struct CliRun {
    /// Names of built-in scenarios, or paths of TOML files
    #[arg(value_name = "SCENARIO", default_value = "merge")]
    scenarios: Vec<String>,
    /// Run only these modes: naive, offloaded, spawn-blocking, tokio-fs, block-in-place; or all
    #[arg(long, value_name = "MODE,…", value_delimiter = ',', value_parser = parse_modes)]
    mode: Vec<String>,
    /// Run every mode this often, interleaved: 5 times, unless said here or in the scenario
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Rounds before those, run and thrown away: 1 if there are several rounds, unless said here or in the scenario
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    warmup: Option<u32>,
    /// What counts as a slow poll, such as 50ms
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    slow: Option<Duration>,
    /// Set any field of the scenario, such as merge.inputs=20 (repeatable)
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_override)]
    set: Vec<Override>,
    /// Save the recording as .pollscope/NAME.json in the working directory, to be compared with
    #[arg(long, value_name = "NAME", value_parser = baseline, conflicts_with = "baseline")]
    save_baseline: Option<String>,
    /// Compare with that recording; end with 98 if something is worse beyond noise
    #[arg(long, value_name = "NAME", value_parser = baseline)]
    baseline: Option<String>,
    #[command(flatten)]
    common: CliCommon,
}

#[derive(Debug, Args)]
struct CliMerge {
    /// The files to merge: regular files, each once, read from their beginning
    #[arg(value_name = "INPUT", required = true)]
    inputs: Vec<PathBuf>,
    /// The merged file; it must not exist, unless --force or --append is given
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// How to write: naive (on the loop), offloaded (a writer thread), spawn-blocking or tokio-fs
    #[arg(long, value_name = "MODE", default_value = "offloaded", value_parser = parse_merge_mode)]
    mode: Mode,
    /// Go on at the inputs' ends until Ctrl-C; then drain, confirm and report
    #[arg(short, long)]
    follow: bool,
    /// How long to wait before looking again for new data
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = interval)]
    interval: Duration,
    /// How many lines to write at once, if they were read at once
    #[arg(long, value_name = "LINES", default_value = "100000", value_parser = batch)]
    batch: usize,
    /// Overwrite the output if it exists
    #[arg(long, conflicts_with = "append")]
    force: bool,
    /// Add to the output if it exists
    #[arg(long)]
    append: bool,
    /// What counts as a slow poll
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = duration)]
    slow: Duration,
    #[command(flatten)]
    common: CliCommon,
}

#[derive(Debug, Args)]
struct CliReport {
    /// What `--json` or `--html` wrote, or an HdrHistogram interval log; `-` is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write the report to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    outputs: CliOutputs,
}

#[derive(Debug, Args)]
struct CliCompare {
    /// What `--json` wrote: the recording to compare with; `-` is stdin
    #[arg(value_name = "A")]
    a: PathBuf,
    /// The recording that is judged; without it, the modes of A are compared with its first
    #[arg(value_name = "B")]
    b: Option<PathBuf>,
    /// Compare these modes: of two recordings A's and B's, such as naive,offloaded
    #[arg(long, value_name = "MODE,…", value_delimiter = ',')]
    mode: Vec<String>,
    /// What the comparison is written as
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = parse_comparison_format)]
    format: comparison::Format,
    /// End with 99 unless this holds of B, or of A where there is no B (repeatable); the grammar is in the README
    #[arg(long, value_name = "GATE", value_parser = parse_gate)]
    fail_on: Vec<Gate>,
    /// End with 97 when a recording is too short to tell whether a gate holds
    #[arg(long)]
    strict: bool,
    /// Hide the recordings' paths
    #[arg(long)]
    redact: bool,
}

#[derive(Debug, Args)]
struct CliOutputs {
    /// What the report is written as
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = parse_format)]
    format: Format,
    /// Write the recording as JSON to this file; `-` is stdout, instead of the report
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the stacks of slow polls to this file, folded for flame graphs, weighted by milliseconds; `-` is stdout
    #[arg(long, value_name = "FILE")]
    folded: Option<PathBuf>,
    /// Write the report as one HTML page to this file, with the recording in it; `-` is stdout
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write an HdrHistogram interval log to this file: polls untagged, each mode and measure by tag; `-` is stdout
    #[arg(long, value_name = "FILE")]
    hlog: Option<PathBuf>,
    /// Write poll times by percentile for HdrHistogram's plotter, in ms; of several modes, a file each: FILE.MODE.hgrm; `-` is
    /// stdout
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
    /// Write a trace for Perfetto to this file: slow polls by worker, their causes, who waited, and counters; `-` is stdout
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Write gates and findings as JUnit's XML to this file; `-` is stdout
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the report as Markdown to this file; `-` is stdout
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// End with 99 unless this holds, such as `lag.p99 < 10ms` (repeatable); the grammar is in the README
    #[arg(long, value_name = "GATE", value_parser = parse_gate)]
    fail_on: Vec<Gate>,
    /// End with 97 when the run was too short to tell whether a gate holds
    #[arg(long)]
    strict: bool,
    /// Hide paths in reports, files and slow-poll lines: of files written, sources, and the command line's values
    #[arg(long)]
    redact: bool,
}

#[derive(Debug, Args)]
struct CliCommon {
    #[command(flatten)]
    outputs: CliOutputs,
    /// Let tokio-console look at the run, at this address
    #[arg(long, value_name = "ADDR", num_args = 0..=1, require_equals = true, default_missing_value = DEFAULT_ADDRESS)]
    console: Option<SocketAddr>,
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

fn parse_format(text: &str) -> Result<Format, String> {
    let known = Format::ALL.map(Format::as_str).join("`, `");
    Format::from_name(text).ok_or_else(|| format!("there is no such format; choose of `{known}`"))
}

/// A name that makes a file's name on any system, and stays in its folder.
fn baseline(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=64).contains(&text.len()) && text.chars().all(is_plain) && !text.starts_with(['.', '-']) {
        return Ok(text.to_owned());
    }
    Err("a baseline's name has 1 to 64 letters, digits, `-`, `_` and `.`, and begins with a letter or digit".to_owned())
}

fn parse_comparison_format(text: &str) -> Result<comparison::Format, String> {
    let known = comparison::Format::ALL.map(comparison::Format::as_str).join("`, `");
    comparison::Format::from_name(text).ok_or_else(|| format!("there is no such format; choose of `{known}`"))
}

fn parse_gate(text: &str) -> Result<Gate, String> {
    Gate::parse(text).map_err(|error| error.to_string())
}

fn parse_mode(text: &str) -> Result<Mode, String> {
    let known = Mode::ALL.map(Mode::as_str).join("`, `");
    Mode::from_name(text).ok_or_else(|| format!("there is no such mode; choose of `{known}`"))
}

fn parse_modes(text: &str) -> Result<String, String> {
    if text == "all" { Ok(text.to_owned()) } else { parse_mode(text).map(|mode| mode.as_str().to_owned()) }
}

fn parse_merge_mode(text: &str) -> Result<Mode, String> {
    match parse_mode(text)? {
        Mode::BlockInPlace => {
            Err("`merge` runs on a current-thread runtime, which has no workers to give tasks to".to_owned())
        }
        mode => Ok(mode),
    }
}

fn batch(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(lines @ 1..=1_000_000) => Ok(lines),
        _ => Err("write a number of lines, from 1 to 1000000".to_owned()),
    }
}

fn parse_override(text: &str) -> Result<Override, String> {
    Override::parse(text).map_err(|error| error.to_string())
}

fn bounded(text: &str, least: Duration, what: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    if (least..=Duration::from_secs(3600)).contains(&duration) {
        Ok(duration)
    } else {
        Err(format!("{what} must be from {} to 1h", crate::units::setting_duration(least)))
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    bounded(text, Duration::from_micros(1), "the threshold")
}

fn interval(text: &str) -> Result<Duration, String> {
    bounded(text, Duration::from_millis(1), "the interval")
}

/// What no single argument shows.
fn check(command: &CliCommand) -> Result<(), (ErrorKind, &'static str)> {
    match command {
        CliCommand::Run(run)
            if run.scenarios.len() > 1
                && (run.common.outputs.format != Format::Text
                    || run.common.outputs.files().next().is_some()
                    || run.save_baseline.is_some()
                    || run.baseline.is_some()) =>
        {
            Err((
                ErrorKind::ArgumentConflict,
                "a file, a baseline or a format other than text takes one recording, and each scenario makes one: run them one by one",
            ))
        }
        CliCommand::Run(run) if (1..run.mode.len()).any(|i| run.mode[..i].contains(&run.mode[i])) => {
            Err((ErrorKind::ArgumentConflict, "`--mode` has a mode twice: name each once; `--rounds` repeats them all"))
        }
        CliCommand::Compare(of) if of.b.is_some() && of.mode.len() > 2 => {
            Err((ErrorKind::TooManyValues, "`--mode` names one mode of A and one of B, or one of both"))
        }
        CliCommand::Compare(of) if of.a == Path::new("-") && of.b.as_deref() == Some(Path::new("-")) => {
            Err((ErrorKind::ArgumentConflict, "stdin can be only one of the two recordings: name a file for the other"))
        }
        CliCommand::Merge(merge) if merge.output == Path::new("-") => Err((
            ErrorKind::ValueValidation,
            "cannot merge into stdout: a merge is confirmed by reading its output again; name a file, or `./-` for one of \
             that name",
        )),
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
            CliCommand::Scenarios => Command::Scenarios,
            CliCommand::Doctor => Command::Doctor,
            CliCommand::Compare(CliCompare { a, b, mode: modes, format, fail_on: gates, strict, redact }) => {
                Command::Compare(CompareRequest { a, b, modes, format, gates, strict, redact })
            }
            CliCommand::Report(report) => {
                let mut outputs = report.outputs.outputs();
                if let Some(path) = report.output {
                    outputs.stdout = None;
                    outputs.files.push((report.outputs.format, path));
                }
                Command::Report(ReportRequest { file: report.file, outputs })
            }
            CliCommand::Explain(explain) => Command::Explain(explain.code),
            CliCommand::Schema => Command::Schema,
            CliCommand::Completions(of) => Command::Print(generate::completions(Cli::command(), of.shell)),
            CliCommand::Man(CliMan { command: Some(Page(page)) }) => Command::Print(page),
            CliCommand::Man(CliMan { command: None }) => {
                Command::Print(generate::man(Cli::command(), None).expect("the program has a page"))
            }
            CliCommand::Run(run) => Command::Run(RunRequest {
                overrides: run.overrides(),
                scenarios: run.scenarios,
                outputs: run.common.outputs.outputs(),
                console: run.common.console,
                save_baseline: run.save_baseline,
                baseline: run.baseline,
            }),
            CliCommand::Merge(merge) => Command::Merge(MergeRequest {
                inputs: merge.inputs,
                output: merge.output,
                mode: merge.mode,
                follow: merge.follow,
                interval: merge.interval,
                batch: merge.batch,
                force: merge.force,
                append: merge.append,
                slow_poll: merge.slow,
                outputs: merge.common.outputs.outputs(),
                console: merge.common.console,
            }),
        }
    }
}

impl CliOutputs {
    /// The files that are asked for, each with its format.
    fn files(&self) -> impl Iterator<Item = (Format, &PathBuf)> {
        let files = [
            (Format::Json, &self.json),
            (Format::Folded, &self.folded),
            (Format::Hlog, &self.hlog),
            (Format::Hgrm, &self.hgrm),
            (Format::Trace, &self.trace),
            (Format::Junit, &self.junit),
            (Format::Markdown, &self.markdown),
            (Format::Html, &self.html),
        ];
        files.into_iter().filter_map(|(format, path)| Some((format, path.as_ref()?)))
    }

    fn outputs(&self) -> Outputs {
        Outputs {
            files: self.files().map(|(format, path)| (format, path.clone())).collect(),
            stdout: Some(self.format),
            gates: self.fail_on.clone(),
            strict: self.strict,
            redact: self.redact,
        }
    }
}

impl CliRun {
    /// The flags that have a field of their own are nothing but overrides of it; they come after `--set`.
    fn overrides(&self) -> Vec<Override> {
        let mut overrides = self.set.clone();
        let mut set = |key: &str, value: String| {
            let parsed = Override::parse(&format!("{key}={value}"));
            overrides.push(parsed.expect("a key of the format and a value that was parsed"));
        };
        if !self.mode.is_empty() {
            set("modes", self.mode.join(","));
        }
        if let Some(rounds) = self.rounds {
            set("rounds", rounds.to_string());
        }
        if let Some(warmup) = self.warmup {
            set("warmup", warmup.to_string());
        }
        if let Some(slow) = self.slow {
            set("slow_poll", crate::units::setting_duration(slow));
        }
        overrides
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
