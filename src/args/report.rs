//! `pollscope report`.

use std::path::PathBuf;

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, ValueHint};

use super::Refusal;
use super::outputs::{CliOutputs, Outputs};
use super::values::{lasting, moment};
use crate::cut::{Moment, Window};

#[derive(Debug)]
pub(crate) struct ReportRequest {
    /// One or more, which are put together; `-` is stdin.
    pub(crate) files: Vec<PathBuf>,
    /// Which part of them; `None` for all.
    pub(crate) window: Option<Window>,
    pub(crate) outputs: Outputs,
}

#[derive(Debug, Args)]
pub(super) struct CliReport {
    /// A recording that `--json` or `--html` wrote, or a service with the probe (its folder, too), or an HdrHistogram interval log;
    /// `last` or `last~1` for the last runs, `-` for stdin. Several recordings, or a folder of folders of them, are one report
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Report what was from this time on: 03:10, 2026-03-01T03:10, or -10m for ten minutes before the end; UTC
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true, value_hint = ValueHint::Other)]
    from: Option<Moment>,
    /// Report what was until this time
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true, value_hint = ValueHint::Other)]
    to: Option<Moment>,
    /// Report what was around this time: a minute before and after it, or as long as --for says
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true, value_hint = ValueHint::Other,
        conflicts_with_all = ["from", "to"])]
    around: Option<Moment>,
    /// How much to report, such as 30s: from --from on, or in all around --around
    #[arg(long = "for", value_name = "DURATION", value_parser = lasting, value_hint = ValueHint::Other, conflicts_with = "to")]
    length: Option<Duration>,
    /// Write the report to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    outputs: CliOutputs,
}

impl CliReport {
    /// Checks what clap cannot.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.length.is_some() && self.from.is_none() && self.around.is_none() {
            return Err((
                ErrorKind::MissingRequiredArgument,
                "`--for` says how long: say with `--from` or `--around` when".to_owned(),
            ));
        }
        if self.files.iter().filter(|file| file.as_os_str() == "-").count() > 1 {
            return Err((ErrorKind::ArgumentConflict, "cannot read two recordings from stdin: name files".to_owned()));
        }
        Ok(())
    }
}

impl From<CliReport> for ReportRequest {
    fn from(report: CliReport) -> ReportRequest {
        let mut outputs = report.outputs.outputs();
        if let Some(path) = report.output {
            outputs.stdout = None;
            outputs.files.push((report.outputs.format, path));
        }
        let CliReport { files, from, to, around, length, .. } = report;
        let window = Window { from, to, around, length };
        ReportRequest { files, window: (window != Window::default()).then_some(window), outputs }
    }
}
