//! Where reports go and what decides the exit code: the options that commands share.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueHint};

use super::listed::listed;
use super::values::{baseline, formats, grace, parse_format, parse_gate, serving};
use crate::export::console::DEFAULT_ADDRESS;
use crate::gate::Gate;
use crate::report::Format;

#[derive(Debug, Default)]
pub(crate) struct Outputs {
    /// `-` is stdout, in place of the report.
    pub(crate) files: Vec<(Format, PathBuf)>,
    /// The format of the report on stdout; `None` for no report.
    pub(crate) stdout: Option<Format>,
    /// Judged besides the recording's own gates.
    pub(crate) gates: Vec<Gate>,
    /// Those of the project, likewise.
    pub(crate) project_gates: Vec<Gate>,
    /// Whether an inconclusive gate decides the exit code.
    pub(crate) strict: bool,
    /// Whether reports and messages hide paths.
    pub(crate) redact: bool,
    /// Whether to show the page in a browser.
    pub(crate) open: bool,
    /// Whether a text on stdout is all of the report, and not the answer alone.
    pub(crate) full: bool,
}

impl Outputs {
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(_, path)| path.as_path())
    }

    /// Whether a report of this format goes anywhere.
    pub(crate) fn asks(&self, format: Format) -> bool {
        self.files.iter().map(|(format, _)| *format).chain(self.stdout).any(|asked| asked == format)
    }

    /// The gates of the command line, then those of the project.
    pub(crate) fn all_gates(&self) -> impl Iterator<Item = &Gate> {
        self.gates.iter().chain(&self.project_gates)
    }
}

/// Under which names recordings are saved in the project's folder, and found there.
#[derive(Debug, Default)]
pub(crate) struct BaselineNames {
    pub(crate) save: Option<String>,
    pub(crate) compare: Option<String>,
}

/// What every command that runs something takes.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) outputs: Outputs,
    /// How long finishing and confirming may take after the first signal.
    pub(crate) grace: Duration,
    /// The address for tokio-console.
    pub(crate) console: Option<SocketAddr>,
    /// The address for Prometheus.
    pub(crate) prometheus: Option<SocketAddr>,
    /// By which names it may ask, besides the machine's.
    pub(crate) prometheus_hosts: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct CliBaseline {
    /// Save the recording as .pollscope/NAME.json, for --baseline
    #[arg(long, value_name = "NAME", value_parser = baseline, conflicts_with = "baseline", value_hint = ValueHint::Other)]
    save_baseline: Option<String>,
    /// Compare with the recording saved as NAME; end with 98 if something is worse beyond noise
    #[arg(long, value_name = "NAME", value_parser = baseline, value_hint = ValueHint::Other)]
    baseline: Option<String>,
}

impl CliBaseline {
    pub(super) fn is_asked(&self) -> bool {
        self.save_baseline.is_some() || self.baseline.is_some()
    }
}

impl From<CliBaseline> for BaselineNames {
    fn from(of: CliBaseline) -> BaselineNames {
        BaselineNames { save: of.save_baseline, compare: of.baseline }
    }
}

#[derive(Debug, Args)]
pub(super) struct CliOutputs {
    /// The format of the report
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = listed(parse_format, formats))]
    pub(super) format: Format,
    /// Show all tables, not the answer alone
    #[arg(long)]
    full: bool,
    /// Write the recording as JSON to this file; `-` writes it to stdout instead of the report
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the stacks of slow polls to this file, folded for flame graphs, in milliseconds; `-` is stdout
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    folded: Option<PathBuf>,
    /// Write where the loops' time went to this file, folded for flame graphs, in milliseconds: of what is looked at from outside; `-` is
    /// stdout
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    profile: Option<PathBuf>,
    /// Write the report as an HTML page with the recording in it to this file; `-` is stdout
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Show the page in a browser: the one that --html writes, or one that is kept with the last runs
    #[arg(long)]
    open: bool,
    /// Write an HdrHistogram interval log to this file: polls without a tag, the rest tagged by mode and measure; `-` is stdout
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    hlog: Option<PathBuf>,
    /// Write poll times by percentile for HdrHistogram's plotter to this file, in ms, or FILE.MODE.hgrm for each of several modes;
    /// `-` is stdout
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    hgrm: Option<PathBuf>,
    /// Write a Perfetto trace to this file: slow polls by worker, their causes, the tasks that waited, counters; `-` is stdout
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    trace: Option<PathBuf>,
    /// Write the stacks of slow polls to this file as a profile for `go tool pprof` and what else reads its format; `-` is stdout
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pprof: Option<PathBuf>,
    /// Write slow polls and their stacks to this file for the Firefox Profiler (profiler.firefox.com); `-` is stdout
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    firefox: Option<PathBuf>,
    /// Write gates and findings as JUnit XML to this file; `-` is stdout
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    junit: Option<PathBuf>,
    /// Write the report as Markdown to this file; `-` is stdout
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    markdown: Option<PathBuf>,
    /// End with 99 unless this gate holds, such as 'lag.p99 < 10ms' (repeatable; see `pollscope help gates`)
    #[arg(long, value_name = "GATE", value_parser = parse_gate, value_hint = ValueHint::Other)]
    fail_on: Vec<Gate>,
    /// End with 97 if the run is too short to tell whether a gate holds
    #[arg(long)]
    strict: bool,
    /// Hide paths of files, addresses of sockets and values on the command line, in reports, files and messages; no code is shown
    #[arg(long)]
    redact: bool,
}

#[derive(Debug, Args)]
pub(super) struct CliCommon {
    #[command(flatten)]
    outputs: CliOutputs,
    /// How long to finish and confirm after Ctrl-C or SIGTERM before reporting what is known
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = grace, value_hint = ValueHint::Other, hide_short_help = true)]
    grace: Duration,
    /// Let tokio-console observe the run at this address, or port of 127.0.0.1
    #[arg(long, value_name = "ADDR", num_args = 0..=1, require_equals = true, default_missing_value = DEFAULT_ADDRESS,
        value_parser = serving, value_hint = ValueHint::Other)]
    console: Option<SocketAddr>,
    /// Serve the run's metrics to Prometheus at http://ADDR/metrics; ADDR may be a port of 127.0.0.1, and 0 picks a free one
    #[arg(long, value_name = "ADDR", value_parser = serving, value_hint = ValueHint::Other)]
    prometheus: Option<SocketAddr>,
    /// Answer Prometheus also when it asks for this host (repeatable); addresses, localhost and this machine's name are allowed
    #[arg(long, value_name = "HOST", requires = "prometheus", value_hint = ValueHint::Hostname, hide_short_help = true)]
    prometheus_host: Vec<String>,
}

impl CliCommon {
    /// Whether anything that is asked for holds one recording alone.
    pub(super) fn takes_one_recording(&self) -> bool {
        self.outputs.format != Format::Text || self.outputs.open || self.outputs.files().next().is_some()
    }
}

impl From<CliCommon> for Common {
    fn from(of: CliCommon) -> Common {
        let CliCommon { outputs, grace, console, prometheus, prometheus_host: prometheus_hosts } = of;
        Common { outputs: outputs.outputs(), grace, console, prometheus, prometheus_hosts }
    }
}

impl CliOutputs {
    fn files(&self) -> impl Iterator<Item = (Format, &PathBuf)> {
        let files = [
            (Format::Json, &self.json),
            (Format::Folded, &self.folded),
            (Format::Profile, &self.profile),
            (Format::Hlog, &self.hlog),
            (Format::Hgrm, &self.hgrm),
            (Format::Trace, &self.trace),
            (Format::Pprof, &self.pprof),
            (Format::Firefox, &self.firefox),
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
            project_gates: Vec::new(),
            strict: self.strict,
            redact: self.redact,
            open: self.open,
            full: self.full,
        }
    }
}
