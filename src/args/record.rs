//! `pollscope record`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, ValueHint};

use super::Refusal;
use super::outputs::{BaselineNames, CliBaseline, CliOutputs, Outputs};
use super::outside::{CliOutside, Outside};
use super::values::{duration, grace, lasting, pid};
use crate::config::label;

#[derive(Debug)]
pub(crate) struct RecordRequest {
    /// What is recorded.
    pub(crate) of: Recorded,
    /// Where the recording stays; `None` for nowhere.
    pub(crate) output: Option<PathBuf>,
    /// After how long the program is ended.
    pub(crate) lasts: Option<Duration>,
    /// How long it may take to end then.
    pub(crate) grace: Duration,
    /// The shortest slow poll.
    pub(crate) slow: Option<Duration>,
    /// How a process is looked at that tells nothing itself.
    pub(crate) outside: Outside,
    /// What the recording is called in gates and reports.
    pub(crate) label: Option<String>,
    pub(crate) baseline: BaselineNames,
    pub(crate) outputs: Outputs,
}

/// What is recorded.
#[derive(Debug)]
pub(crate) enum Recorded {
    /// A program and its arguments; at least one word.
    Program(Vec<OsString>),
    /// A process that runs already.
    Process(u32),
}

#[derive(Debug, Args)]
pub(super) struct CliRecord {
    /// A process that runs: it is asked if it listens (POLLSCOPE=1 POLLSCOPE_LISTEN=1), else looked at from outside
    #[arg(value_name = "PID", value_parser = pid, value_hint = ValueHint::Other, conflicts_with = "command")]
    pid: Option<u32>,
    /// The program and its arguments, behind `--`; one without the probe is looked at from outside
    #[arg(value_name = "COMMAND", last = true, required_unless_present = "pid", value_hint = ValueHint::CommandName)]
    command: Vec<OsString>,
    /// End the recording after this time, such as 30s; a program that was started for it gets SIGTERM, and later SIGKILL
    #[arg(long = "for", value_name = "DURATION", value_parser = lasting, value_hint = ValueHint::Other)]
    lasts: Option<Duration>,
    /// How long the program may take to end after --for, before it is killed
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = grace, value_hint = ValueHint::Other, hide_short_help = true)]
    grace: Duration,
    /// The shortest slow poll, such as 50ms [default: what POLLSCOPE_SLOW_POLL says, or the project, or 100ms]
    #[arg(long, value_name = "DURATION", value_parser = duration, value_hint = ValueHint::Other)]
    slow: Option<Duration>,
    #[command(flatten)]
    outside: CliOutside,
    /// What reports, gates and comparisons call the recording, such as v1.2 [default: what the project says, or the program's name]
    #[arg(long, value_name = "TEXT", value_parser = label, value_hint = ValueHint::Other)]
    label: Option<String>,
    /// Keep the recording as the probe writes it: in this folder, or in a file if the name ends in .pollscope
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    #[command(flatten)]
    baseline: CliBaseline,
    #[command(flatten)]
    outputs: CliOutputs,
}

impl CliRecord {
    /// Checks what clap cannot.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let Some(path) = &self.output else { return Ok(()) };
        let is = |extension: &str| path.extension().is_some_and(|of| of == extension);
        let refused = |why: String| Err((ErrorKind::ValueValidation, why));
        if let Some(format) = ["json", "html"].iter().find(|format| is(format)) {
            let path = path.display();
            return refused(format!(
                "cannot record to `{path}`: the probe writes a folder, or a file whose name ends in `.pollscope`; write \
                 `--{format} {path}` for a report"
            ));
        }
        if path.as_os_str() == "-" {
            return refused(
                "cannot record to stdout, where the program writes; name a folder, or write `--json -`".to_owned(),
            );
        }
        if self.outputs.outputs().redact {
            return refused(
                "`--redact` hides paths in reports, and `--output` keeps what the probe writes, with paths: leave one out; \
                 `--json FILE` keeps a recording without them"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

impl From<CliRecord> for RecordRequest {
    fn from(of: CliRecord) -> RecordRequest {
        let CliRecord { pid, command, lasts, grace, slow, outside, label, output, baseline, outputs } = of;
        let outputs = outputs.outputs();
        let of = pid.map_or(Recorded::Program(command), Recorded::Process);
        let (outside, baseline) = (outside.into(), baseline.into());
        RecordRequest { of, output, lasts, grace, slow, outside, label, baseline, outputs }
    }
}
