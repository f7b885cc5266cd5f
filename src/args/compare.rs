//! `pollscope compare`.

use std::path::{Path, PathBuf};

use clap::builder::StringValueParser;
use clap::error::ErrorKind;
use clap::{Args, ValueHint};

use super::Refusal;
use super::listed::listed;
use super::values::{comparison_formats, modes, parse_comparison_format, parse_gate};
use crate::gate::Gate;
use crate::report::comparison;

#[derive(Debug)]
pub(crate) struct CompareRequest {
    /// The reference.
    pub(crate) a: PathBuf,
    /// The recording that is judged; without it, the modes of `a` are compared.
    pub(crate) b: Option<PathBuf>,
    /// Of two recordings, a mode of `a` and one of `b`.
    pub(crate) modes: Vec<String>,
    pub(crate) format: comparison::Format,
    /// Judge `b`, or `a` if there is no `b`.
    pub(crate) gates: Vec<Gate>,
    pub(crate) strict: bool,
    pub(crate) redact: bool,
}

#[derive(Debug, Args)]
pub(super) struct CliCompare {
    /// The recording to compare with, as `--json` wrote it; `-` is stdin
    #[arg(value_name = "A")]
    a: PathBuf,
    /// The recording to judge; without it, compare the modes of A with its first mode
    #[arg(value_name = "B")]
    b: Option<PathBuf>,
    /// The modes to compare, such as naive,offloaded: of two recordings, a mode of A and one of B
    #[arg(long, value_name = "MODE,…", value_delimiter = ',', hide_possible_values = true,
        value_parser = listed(StringValueParser::new(), modes))]
    mode: Vec<String>,
    /// The format of the comparison
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = listed(parse_comparison_format, comparison_formats))]
    format: comparison::Format,
    /// End with 99 unless this gate holds in B, or in A if there is no B (repeatable; see `pollscope help gates`)
    #[arg(long, value_name = "GATE", value_parser = parse_gate, value_hint = ValueHint::Other)]
    fail_on: Vec<Gate>,
    /// End with 97 when a recording is too short to tell whether a gate holds
    #[arg(long)]
    strict: bool,
    /// Hide the recordings' paths
    #[arg(long)]
    redact: bool,
}

impl CliCompare {
    /// Checks what clap cannot.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let stdin = Path::new("-");
        if self.b.is_some() && self.mode.len() > 2 {
            return Err((
                ErrorKind::TooManyValues,
                "`--mode` names one mode of A and one of B, or one of both".to_owned(),
            ));
        }
        if self.a == stdin && self.b.as_deref() == Some(stdin) {
            return Err((
                ErrorKind::ArgumentConflict,
                "cannot read both recordings from stdin: name a file for one of them".to_owned(),
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
