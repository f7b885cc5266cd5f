//! `pollscope confirm`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::error::ErrorKind;

use super::Refusal;
use super::outputs::Outputs;
use super::values::{line_length, size};
use crate::pipeline::confirm::How;
use crate::report::Format;

/// What `confirm` is to do.
#[derive(Debug)]
pub struct ConfirmRequest {
    /// The files that were merged; at least one.
    pub inputs: Vec<PathBuf>,
    /// The merged file.
    pub output: PathBuf,
    /// How lines were delivered.
    pub how: How,
    /// Where the merge's part of the output begins.
    pub start: u64,
    /// What is written besides the answer, or, to stdout, instead of it.
    pub outputs: Outputs,
}

#[derive(Debug, Args)]
pub(super) struct CliConfirm {
    /// The files that were merged: regular files, each once; they count from their beginning to their present end
    #[arg(value_name = "INPUT", required = true)]
    inputs: Vec<PathBuf>,
    /// The merged file
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Each line of OUT begins with its input's path as it is named here, and a tab
    #[arg(long)]
    tag: bool,
    /// A longer line of an input was split into lines of this many bytes, such as 1MiB
    #[arg(long, value_name = "SIZE", value_parser = line_length)]
    max_line: Option<NonZeroUsize>,
    /// Where the merge's part of OUT begins: how long OUT was before `merge --append`
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = size)]
    skip: u64,
    /// Write the answer as JSON to this file; `-` is stdout, instead of the text
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl CliConfirm {
    /// What no single argument shows.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.output == Path::new("-") {
            return Err((
                ErrorKind::ValueValidation,
                "cannot confirm stdout: a merged file is read more than once; name a file, or `./-` for one of that name",
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
        let outputs = Outputs { files, stdout, gates: Vec::new(), strict: false, redact: false };
        ConfirmRequest { inputs, output, how: How { max_line, tags }, start, outputs }
    }
}
