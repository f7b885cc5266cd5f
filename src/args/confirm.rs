//! `pollscope confirm`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Args, ValueHint};

use super::Refusal;
use super::outputs::Outputs;
use super::values::{line_length, size};
use crate::pipeline::confirm::ConfirmSettings;
use crate::report::Format;

#[derive(Debug)]
pub(crate) struct ConfirmRequest {
    /// At least one.
    pub(crate) inputs: Vec<PathBuf>,
    pub(crate) output: PathBuf,
    pub(crate) how: ConfirmSettings,
    /// The byte at which the merge's part of the output begins.
    pub(crate) start: u64,
    pub(crate) outputs: Outputs,
}

#[derive(Debug, Args)]
pub(super) struct CliConfirm {
    /// The files that were merged: regular files, each named once, read to their present end
    #[arg(value_name = "INPUT", required = true)]
    inputs: Vec<PathBuf>,
    /// The merged file
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Expect each line of OUT to begin with its input's path, as named here, and a tab
    #[arg(long)]
    tag: bool,
    /// Expect longer lines to be split into lines of this many bytes, such as 1MiB
    #[arg(long, value_name = "SIZE", value_parser = line_length, value_hint = ValueHint::Other)]
    max_line: Option<NonZeroUsize>,
    /// Skip this much of OUT: its length before `merge --append`
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = size, value_hint = ValueHint::Other)]
    skip: u64,
    /// Write the answer as JSON to this file; `-` writes it to stdout instead of the text
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl CliConfirm {
    /// Checks what clap cannot.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.output == Path::new("-") {
            return Err((
                ErrorKind::ValueValidation,
                "cannot confirm stdout: a merged file is read more than once; name a file, or `./-` for one of that name"
                    .to_owned(),
            ));
        }
        if self.inputs.iter().any(|input| input == Path::new("-")) {
            return Err((
                ErrorKind::ValueValidation,
                "cannot confirm with stdin: inputs are read again; save it as a file, or name `./-` for one of that name"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

impl From<CliConfirm> for ConfirmRequest {
    fn from(of: CliConfirm) -> ConfirmRequest {
        let CliConfirm { inputs, output, tag: tags, max_line, skip: start, json } = of;
        let stdout = (json.as_deref() != Some(Path::new("-"))).then_some(Format::Text);
        let files = json.into_iter().map(|path| (Format::Json, path)).collect();
        let outputs = Outputs { files, stdout, ..Outputs::default() };
        ConfirmRequest { inputs, output, how: ConfirmSettings { max_line, tags }, start, outputs }
    }
}
