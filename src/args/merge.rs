//! `pollscope merge`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::error::ErrorKind;

use super::Refusal;
use super::outputs::{CliCommon, Common};
use super::values::{batch, duration, interval, max_line, parse_merge_mode, watch};
use crate::pipeline::input::Watch;
use crate::pipeline::sink::Mode;

/// What `merge` is to do.
#[derive(Debug)]
pub struct MergeRequest {
    /// The files to merge; at least one.
    pub inputs: Vec<PathBuf>,
    /// The merged file.
    pub output: PathBuf,
    /// How it is written.
    pub mode: Mode,
    /// Whether to go on until interrupted.
    pub follow: bool,
    /// How long a tail sleeps when there is no new data.
    pub interval: Duration,
    /// Lines written at once, at most.
    pub batch: usize,
    /// How it is noticed that the inputs grew.
    pub watch: Watch,
    /// The longest line that is merged whole, in bytes without its newline.
    pub max_line: NonZeroUsize,
    /// Whether each line is given its input's tag.
    pub tag: bool,
    /// Whether to overwrite an output that exists.
    pub force: bool,
    /// Whether to add to an output that exists.
    pub append: bool,
    /// What counts as a slow poll.
    pub slow_poll: Duration,
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct CliMerge {
    /// The files to merge: regular files, read from their beginning, or FIFOs; each once
    #[arg(value_name = "INPUT", required = true)]
    inputs: Vec<PathBuf>,
    /// The merged file; it must not exist, unless --force or --append is given
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// How to write: naive (on the loop), offloaded (a writer thread), spawn-blocking or tokio-fs
    #[arg(long, value_name = "MODE", default_value = "offloaded", value_parser = parse_merge_mode)]
    mode: Mode,
    /// Go on at the inputs' ends until Ctrl-C; then drain, confirm and report
    #[arg(short, long)]
    follow: bool,
    /// How long to wait before looking again for new data
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = interval)]
    interval: Duration,
    /// How many lines to write at once, if they were read at once
    #[arg(long, value_name = "LINES", default_value = "100000", value_parser = batch)]
    batch: usize,
    /// How to notice that inputs grew or were replaced: inotify (and looking now and then), or poll (looking)
    #[arg(long, value_name = "HOW", default_value = "inotify", value_parser = watch, requires = "follow")]
    watch: Watch,
    /// The longest line to merge whole; a longer one is split into lines of this length, and counted
    #[arg(long, value_name = "BYTES", default_value = "1MiB", value_parser = max_line)]
    max_line: NonZeroUsize,
    /// Begin each line with its input's name and a tab: what came from where can then be seen, and confirmed exactly
    #[arg(long)]
    tag: bool,
    /// Overwrite the output if it exists
    #[arg(long, conflicts_with = "append")]
    force: bool,
    /// Add to the output if it exists
    #[arg(long)]
    append: bool,
    /// What counts as a slow poll
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = duration)]
    slow: Duration,
    #[command(flatten)]
    common: CliCommon,
}

impl CliMerge {
    /// What no single argument shows.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.output == Path::new("-") {
            return Err((
                ErrorKind::ValueValidation,
                "cannot merge into stdout: a merge is confirmed by reading its output again; name a file, or `./-` for one of \
                 that name",
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
            slow_poll: merge.slow,
            common: merge.common.into(),
        }
    }
}
