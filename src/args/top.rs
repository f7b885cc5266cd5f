//! `pollscope top`.

use std::ffi::OsString;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, ValueHint};

use super::Refusal;
use super::outside::{CliOutside, Outside};
use super::record::Recorded;
use super::values::{duration, pid};

#[derive(Debug)]
pub(crate) struct TopRequest {
    /// What is looked at.
    pub(crate) of: Recorded,
    /// Whether one frame is enough.
    pub(crate) once: bool,
    /// The shortest slow poll: of a program that is started, or of what is seen from outside.
    pub(crate) slow: Option<Duration>,
    /// How a process is looked at that tells nothing itself.
    pub(crate) outside: Outside,
}

#[derive(Debug, Args)]
pub(super) struct CliTop {
    /// A process that runs: what its probe tells, if it listens; else what is seen of it from outside
    #[arg(value_name = "PID", value_parser = pid, value_hint = ValueHint::Other, conflicts_with = "command")]
    pid: Option<u32>,
    /// A program to start and its arguments, behind `--`; it needs the probe with its feature `record`
    #[arg(value_name = "COMMAND", last = true, required_unless_present = "pid", value_hint = ValueHint::CommandName)]
    command: Vec<OsString>,
    /// Print one frame as text, and end
    #[arg(long)]
    once: bool,
    /// The shortest slow poll, such as 50ms [default: what POLLSCOPE_SLOW_POLL says to a program that is started, or 100ms]
    #[arg(long, value_name = "DURATION", value_parser = duration, value_hint = ValueHint::Other)]
    slow: Option<Duration>,
    #[command(flatten)]
    outside: CliOutside,
}

impl CliTop {
    /// Checks what clap cannot.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.pid.is_none() && self.outside.is_asked() {
            let why = "a program that is started for `top` tells by its probe: `--outside` and `--symbols` are for a process that runs \
                       already, such as `pollscope top 4711 --outside`";
            return Err((ErrorKind::ArgumentConflict, why.to_owned()));
        }
        Ok(())
    }
}

impl From<CliTop> for TopRequest {
    fn from(CliTop { pid, command, once, slow, outside }: CliTop) -> TopRequest {
        let of = pid.map_or(Recorded::Program(command), Recorded::Process);
        TopRequest { of, once, slow, outside: outside.into() }
    }
}
