//! `pollscope doctor`.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, ValueHint};

use super::Refusal;
use super::outside::CliSymbols;
use super::values::pid_alone;

/// What is examined: a process, or this program on this machine.
#[derive(Debug)]
pub(crate) struct DoctorRequest {
    pub(crate) pid: Option<u32>,
    /// Files, and folders with files, that have names for its program.
    pub(crate) symbols: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CliDoctor {
    /// A process: what can be seen of it from outside; without it, stalls are injected here
    #[arg(value_name = "PID", value_parser = pid_alone, value_hint = ValueHint::Other)]
    pid: Option<u32>,
    #[command(flatten)]
    symbols: CliSymbols,
}

impl CliDoctor {
    /// Checks what clap cannot.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.pid.is_none() && self.symbols.is_asked() {
            let why =
                "`--symbols` is for the program of a process: give its number as well, such as `pollscope doctor 4711`";
            return Err((ErrorKind::MissingRequiredArgument, why.to_owned()));
        }
        Ok(())
    }
}

impl From<CliDoctor> for DoctorRequest {
    fn from(CliDoctor { pid, symbols }: CliDoctor) -> DoctorRequest {
        DoctorRequest { pid, symbols: symbols.into() }
    }
}
