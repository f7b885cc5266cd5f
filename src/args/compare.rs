//! `pollscope compare`.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::error::ErrorKind;

use super::Refusal;
use super::values::{parse_comparison_format, parse_gate};
use crate::gate::Gate;
use crate::report::comparison;

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

#[derive(Debug, Args)]
pub(super) struct CliCompare {
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

impl CliCompare {
    /// What no single argument shows.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let stdin = Path::new("-");
        if self.b.is_some() && self.mode.len() > 2 {
            return Err((ErrorKind::TooManyValues, "`--mode` names one mode of A and one of B, or one of both"));
        }
        if self.a == stdin && self.b.as_deref() == Some(stdin) {
            return Err((
                ErrorKind::ArgumentConflict,
                "stdin can be only one of the two recordings: name a file for the other",
            ));
        }
        Ok(())
    }
}

impl From<CliCompare> for CompareRequest {
    fn from(of: CliCompare) -> CompareRequest {
        let CliCompare { a, b, mode: modes, format, fail_on: gates, strict, redact } = of;
        CompareRequest { a, b, modes, format, gates, strict, redact }
    }
}
