//! `pollscope top`.

use std::ffi::OsString;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, ValueHint};

use super::Refusal;
use super::record::Recorded;
use super::values::{duration, pid};

#[derive(Debug)]
pub(crate) struct TopRequest {
    /// What is looked at.
    pub(crate) of: Recorded,
    /// Whether one frame is enough.
    pub(crate) once: bool,
    /// The shortest slow poll of a program that is started.
    pub(crate) slow: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct CliTop {
    /// A process that runs and listens: it was started with POLLSCOPE=1 POLLSCOPE_LISTEN=1
    #[arg(value_name = "PID", value_parser = pid, value_hint = ValueHint::Other, conflicts_with = "command")]
    pid: Option<u32>,
    /// A program to start and its arguments, behind `--`; it needs the probe with its feature `record`
    #[arg(value_name = "COMMAND", last = true, required_unless_present = "pid", value_hint = ValueHint::CommandName)]
    command: Vec<OsString>,
    /// Print one frame as text, and end
    #[arg(long)]
    once: bool,
    /// The shortest slow poll of a program that is started, such as 50ms [default: what POLLSCOPE_SLOW_POLL says, or 100ms]
    #[arg(long, value_name = "DURATION", value_parser = duration, value_hint = ValueHint::Other)]
    slow: Option<Duration>,
}

impl CliTop {
    /// Checks what clap cannot.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.pid.is_some() && self.slow.is_some() {
            let why = "`--slow` is for a program that is started: a process that runs has its threshold already; leave it out";
            return Err((ErrorKind::ArgumentConflict, why.to_owned()));
        }
        Ok(())
    }
}

impl From<CliTop> for TopRequest {
    fn from(CliTop { pid, command, once, slow }: CliTop) -> TopRequest {
        TopRequest { of: pid.map_or(Recorded::Program(command), Recorded::Process), once, slow }
    }
}
