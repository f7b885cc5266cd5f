//! `pollscope merge`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, ValueHint};

use super::Refusal;
use super::listed::listed;
use super::outputs::{CliCommon, Common};
use super::values::{batch, duration, interval, max_line, merge_modes, parse_merge_mode, watch};
use crate::pipeline::input::Watch;
use crate::pipeline::sink::Mode;

#[derive(Debug)]
pub(crate) struct MergeRequest {
    /// At least one.
    pub(crate) inputs: Vec<PathBuf>,
    pub(crate) output: PathBuf,
    pub(crate) mode: Mode,
    pub(crate) follow: bool,
    /// How long a tail sleeps when there is no new data.
    pub(crate) interval: Duration,
    /// The most lines written at once.
    pub(crate) batch: usize,
    pub(crate) watch: Watch,
    /// In bytes, without the newline.
    pub(crate) max_line: NonZeroUsize,
    pub(crate) tag: bool,
    pub(crate) force: bool,
    pub(crate) append: bool,
    pub(crate) sync: bool,
    /// `None`: what the project says, or [`MergeRequest::SLOW_POLL`].
    pub(crate) slow_poll: Option<Duration>,
    pub(crate) common: Common,
}

impl MergeRequest {
    /// Of which a poll is slow, where nobody says another.
    pub(crate) const SLOW_POLL: Duration = Duration::from_millis(100);
}

#[derive(Debug, Args)]
pub(super) struct CliMerge {
    /// The files to merge: regular files, read from the start, or FIFOs; name each once
    #[arg(value_name = "INPUT", required = true)]
    inputs: Vec<PathBuf>,
    /// The merged file; it must not exist, unless --force or --append is given
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// How to write: naive is on the loop, offloaded a thread that owns the file
    #[arg(long, value_name = "MODE", default_value = "offloaded", value_parser = listed(parse_merge_mode, merge_modes))]
    mode: Mode,
    /// Keep reading as the inputs grow, until Ctrl-C; then drain, confirm and report
    #[arg(short, long)]
    follow: bool,
    /// How long to wait between looks for new data
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = interval, value_hint = ValueHint::Other)]
    interval: Duration,
    /// The most lines to write at once
    #[arg(long, value_name = "LINES", default_value = "100000", value_parser = batch, value_hint = ValueHint::Other)]
    batch: usize,
    /// How to notice that inputs grew: inotify (with a look now and then), or poll (look every interval); both hear of
    /// renamed files by inotify where the kernel can tell
    #[arg(long, value_name = "HOW", default_value = "inotify", value_parser = listed(watch, || vec!["inotify", "poll"]), requires = "follow")]
    watch: Watch,
    /// Split lines that are longer than this, and count them
    #[arg(long, value_name = "BYTES", default_value = "1MiB", value_parser = max_line, value_hint = ValueHint::Other)]
    max_line: NonZeroUsize,
    /// Begin each line with its input's name and a tab, so that every line can be traced and confirmed exactly
    #[arg(long)]
    tag: bool,
    /// Overwrite the output if it exists
    #[arg(long, conflicts_with = "append")]
    force: bool,
    /// Append to the output if it exists
    #[arg(long)]
    append: bool,
    /// Sync the output to the disk about once a second and at the end; without it, the kernel writes it when it likes
    #[arg(long)]
    sync: bool,
    /// The shortest slow poll [default: pollscope.toml's, or 100ms]
    #[arg(long, value_name = "DURATION", value_parser = duration, value_hint = ValueHint::Other)]
    slow: Option<Duration>,
    #[command(flatten)]
    common: CliCommon,
}

impl CliMerge {
    /// Checks what clap cannot.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.output == Path::new("-") {
            return Err((
                ErrorKind::ValueValidation,
                "cannot merge into stdout: a merge is confirmed by reading its output again; name a file, or `./-` for one of \
                 that name"
                    .to_owned(),
            ));
        }
        if self.inputs.iter().any(|input| input == Path::new("-")) {
            return Err((
                ErrorKind::ValueValidation,
                "`-` is no input: write `/dev/stdin` to merge what comes through a pipe, or `./-` for a file of that name"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

impl From<CliMerge> for MergeRequest {
    fn from(merge: CliMerge) -> MergeRequest {
        MergeRequest {
            inputs: merge.inputs,
            output: merge.output,
            mode: merge.mode,
            follow: merge.follow,
            interval: merge.interval,
            batch: merge.batch,
            watch: merge.watch,
            max_line: merge.max_line,
            tag: merge.tag,
            force: merge.force,
            append: merge.append,
            sync: merge.sync,
            slow_poll: merge.slow,
            common: merge.common.into(),
        }
    }
}
