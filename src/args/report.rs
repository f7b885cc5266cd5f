//! `pollscope report`.

use std::path::PathBuf;

use clap::Args;

use super::outputs::{CliOutputs, Outputs};

#[derive(Debug)]
pub(crate) struct ReportRequest {
    /// `-` is stdin.
    pub(crate) file: PathBuf,
    pub(crate) outputs: Outputs,
}

#[derive(Debug, Args)]
pub(super) struct CliReport {
    /// A recording that `--json` or `--html` wrote, or a service with the probe (its folder, too), or an HdrHistogram interval log;
    /// `last` or `last~1` for the last runs, `-` for stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write the report to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    outputs: CliOutputs,
}

impl From<CliReport> for ReportRequest {
    fn from(report: CliReport) -> ReportRequest {
        let mut outputs = report.outputs.outputs();
        if let Some(path) = report.output {
            outputs.stdout = None;
            outputs.files.push((report.outputs.format, path));
        }
        ReportRequest { file: report.file, outputs }
    }
}
