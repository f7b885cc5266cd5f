//! `pollscope tasks`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};

use super::outside::CliSymbols;
use super::values::{TasksOf, interval, process_or_core};

/// Whose tasks are shown, and how.
#[derive(Debug)]
pub(crate) struct TasksRequest {
    pub(crate) of: TasksOf,
    /// Where the program of a core file is, if it is not where it was.
    pub(crate) program: Option<PathBuf>,
    /// The one whose await chain is shown.
    pub(crate) task: Option<u64>,
    /// Whether that of each is.
    pub(crate) all: bool,
    /// They are read again and again, so far apart.
    pub(crate) every: Option<Duration>,
    /// Where they are written as JSON; `-` is stdout.
    pub(crate) json: Option<PathBuf>,
    /// Files, and folders with files, that have names and types for its program.
    pub(crate) symbols: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CliTasks {
    /// A process that runs, with Tokio in it, or the core file of one that ended
    #[arg(value_name = "PID|CORE", value_parser = process_or_core, value_hint = ValueHint::FilePath)]
    of: TasksOf,
    /// The program that left the core file, if it is no longer where it was
    #[arg(value_name = "PROGRAM", value_hint = ValueHint::FilePath)]
    program: Option<PathBuf>,
    /// Show the await chain of this task alone, by Tokio's id of it
    #[arg(long, value_name = "ID", value_hint = ValueHint::Other, conflicts_with = "all")]
    task: Option<u64>,
    /// Show the await chain of each task
    #[arg(long)]
    all: bool,
    /// Read them again every so often, and show what moved since the last time
    #[arg(long, value_name = "DURATION", value_parser = interval, value_hint = ValueHint::Other)]
    every: Option<Duration>,
    /// Write all tasks as JSON to this file as well, or with `-` to stdout alone
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    json: Option<PathBuf>,
    #[command(flatten)]
    symbols: CliSymbols,
}

impl From<CliTasks> for TasksRequest {
    fn from(CliTasks { of, program, task, all, every, json, symbols }: CliTasks) -> TasksRequest {
        TasksRequest { of, program, task, all, every, json, symbols: symbols.into() }
    }
}
