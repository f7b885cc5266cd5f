//! Where reports go, and what decides the exit code: what `run`, `merge` and `report` have in common.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::values::{grace, parse_format, parse_gate, serving};
use crate::export::console::DEFAULT_ADDRESS;
use crate::gate::Gate;
use crate::report::Format;

/// Where reports go, and what decides the exit code.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// Files, each in its format; `-` is stdout, instead of the report.
    pub files: Vec<(Format, PathBuf)>,
    /// What the report on stdout is written as; `None` where there is none.
    pub stdout: Option<Format>,
    /// What must hold, besides what the recording has.
    pub gates: Vec<Gate>,
    /// Whether a gate that is inconclusive decides the exit code.
    pub strict: bool,
    /// Whether paths are hidden in all of them, and in lines on stderr.
    pub redact: bool,
}

impl Outputs {
    /// All of them.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(_, path)| path.as_path())
    }
}

#[derive(Debug, Args)]
pub(super) struct CliOutputs {
    /// What the report is written as
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = parse_format)]
    pub(super) format: Format,
    /// Write the recording as JSON to this file; `-` is stdout, instead of the report
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the stacks of slow polls to this file, folded for flame graphs, weighted by milliseconds; `-` is stdout
    #[arg(long, value_name = "FILE")]
    folded: Option<PathBuf>,
    /// Write the report as one HTML page to this file, with the recording in it; `-` is stdout
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write an HdrHistogram interval log to this file: polls untagged, each mode and measure by tag; `-` is stdout
    #[arg(long, value_name = "FILE")]
    hlog: Option<PathBuf>,
    /// Write poll times by percentile for HdrHistogram's plotter, in ms; of several modes, a file each: FILE.MODE.hgrm; `-` is
    /// stdout
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
    /// Write a trace for Perfetto to this file: slow polls by worker, their causes, who waited, and counters; `-` is stdout
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Write gates and findings as JUnit's XML to this file; `-` is stdout
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the report as Markdown to this file; `-` is stdout
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// End with 99 unless this holds, such as `lag.p99 < 10ms` (repeatable); the grammar is in the README
    #[arg(long, value_name = "GATE", value_parser = parse_gate)]
    fail_on: Vec<Gate>,
    /// End with 97 when the run was too short to tell whether a gate holds
    #[arg(long)]
    strict: bool,
    /// Hide paths in reports, files and slow-poll lines: of files written, sources, and the command line's values
    #[arg(long)]
    redact: bool,
}

#[derive(Debug, Args)]
pub(super) struct CliCommon {
    #[command(flatten)]
    pub(super) outputs: CliOutputs,
    /// How long finishing and confirming may take after Ctrl-C or SIGTERM, before what is known is reported
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = grace)]
    pub(super) grace: Duration,
    /// Let tokio-console look at the run, at this address
    #[arg(long, value_name = "ADDR", num_args = 0..=1, require_equals = true, default_missing_value = DEFAULT_ADDRESS)]
    pub(super) console: Option<SocketAddr>,
    /// Serve the current run's metrics to Prometheus at http://ADDR/metrics; a port alone is one of 127.0.0.1, and 0 any that is free
    #[arg(long, value_name = "ADDR", value_parser = serving)]
    pub(super) prometheus: Option<SocketAddr>,
}

impl CliOutputs {
    /// The files that are asked for, each with its format.
    pub(super) fn files(&self) -> impl Iterator<Item = (Format, &PathBuf)> {
        let files = [
            (Format::Json, &self.json),
            (Format::Folded, &self.folded),
            (Format::Hlog, &self.hlog),
            (Format::Hgrm, &self.hgrm),
            (Format::Trace, &self.trace),
            (Format::Junit, &self.junit),
            (Format::Markdown, &self.markdown),
            (Format::Html, &self.html),
        ];
        files.into_iter().filter_map(|(format, path)| Some((format, path.as_ref()?)))
    }

    pub(super) fn outputs(&self) -> Outputs {
        Outputs {
            files: self.files().map(|(format, path)| (format, path.clone())).collect(),
            stdout: Some(self.format),
            gates: self.fail_on.clone(),
            strict: self.strict,
            redact: self.redact,
        }
    }
}
