//! Merges growing files: tails them concurrently into one output.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pollscope_base::reason;
use tokio::sync::{oneshot, watch};

use super::idle_watcher::IdleWatcher;
use super::inotify::Inotify;
use super::input::{EventKind, EventSummary, Input, InputError, ReadSettings, Watch};
use super::sink::{
    BlockInPlace, LineBatch, Mode, Naive, Offloaded, OpenedOutput, OutputSpec, Sink, SinkError, SpawnBlocking, TokioFs,
};
use super::tail::{TailError, TailOptions, TailOutcome, tail};
use super::wake_sources::WakeSources;
use crate::spawner::Spawner;
use pollscope_record::escape::escape_path;
use pollscope_record::recording::Written;

/// Why a merge refused its files before it wrote a byte.
#[derive(Debug)]
pub enum PreflightError {
    /// An input cannot be followed.
    Input(InputError),
    /// Two inputs are the same file.
    SameInput {
        /// Its first name.
        first: PathBuf,
        /// Its second name.
        second: PathBuf,
    },
    /// The output is the same file as an input.
    OutputIsInput {
        /// The output's name.
        output: PathBuf,
        /// The input's name.
        input: PathBuf,
    },
}

impl fmt::Display for PreflightError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PreflightError::Input(error) => error.fmt(f),
            PreflightError::SameInput { first, second } => write!(
                f,
                "cannot merge input `{}` twice: `{}` is the same file; name it once",
                escape_path(first),
                escape_path(second)
            ),
            PreflightError::OutputIsInput { output, input } => write!(
                f,
                "cannot write output `{}`: it is the same file as input `{}`; name another output",
                escape_path(output),
                escape_path(input)
            ),
        }
    }
}

impl std::error::Error for PreflightError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            PreflightError::Input(error) => Some(error),
            PreflightError::SameInput { .. } | PreflightError::OutputIsInput { .. } => None,
        }
    }
}

/// Opens the inputs, and refuses those that cannot be merged into the output. Blocking; writes nothing.
///
/// # Errors
/// When an input is no readable regular file or FIFO, or is named twice, or is the output.
pub fn open_inputs(inputs: &[PathBuf], output: &Path, reading: &ReadSettings) -> Result<Vec<Input>, PreflightError> {
    // Follows links: an output that links to an input is that input.
    let output_is = std::fs::metadata(output).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    let mut opened: Vec<Input> = Vec::with_capacity(inputs.len());
    let mut seen = std::collections::HashMap::with_capacity(inputs.len());
    for path in inputs {
        let input = Input::open(path, reading.clone()).map_err(PreflightError::Input)?;
        if Some(input.identity()) == output_is {
            return Err(PreflightError::OutputIsInput { output: output.to_owned(), input: path.clone() });
        }
        if let Some(first) = seen.insert(input.identity(), path) {
            return Err(PreflightError::SameInput { first: first.clone(), second: path.clone() });
        }
        opened.push(input);
    }
    if reading.follow {
        match Inotify::start() {
            Ok(inotify) => opened.iter_mut().for_each(|input| input.watch_by(&inotify)),
            Err(error) if reading.watch == Watch::Inotify => {
                opened.iter().for_each(|input| input.record(EventKind::NotWatched { why: reason(&error) }))
            }
            // Then looks must do, and say what they cannot tell.
            Err(_) => {}
        }
    }
    Ok(opened)
}

/// The result of a merge.
#[derive(Debug)]
pub struct MergeOutcome {
    /// The tails' results, in the order of the inputs.
    pub inputs: Vec<TailOutcome>,
    /// The file that the lines went to.
    pub opened: OpenedOutput,
    /// The output's first error, if any.
    pub output_error: Option<SinkError>,
    /// What happened to the inputs.
    pub events: EventSummary,
}

impl MergeOutcome {
    /// The errors of the inputs, but not those that the output caused.
    pub fn input_errors(&self) -> impl Iterator<Item = &InputError> {
        self.inputs.iter().filter_map(|tailed| match &tailed.error {
            Some(TailError::Input(error)) => Some(error),
            _ => None,
        })
    }

    /// What was written.
    pub fn written(&self) -> Written {
        let sum = |of: fn(&TailOutcome) -> u64| self.inputs.iter().map(of).sum();
        Written { lines: sum(|tailed| tailed.lines), bytes: self.bytes(), long_lines: sum(|tailed| tailed.long_lines) }
    }

    /// The number of bytes whose write returned.
    pub fn bytes(&self) -> u64 {
        self.inputs.iter().map(|tailed| tailed.bytes).sum()
    }
}

/// Tails every input into the output, in the given mode, until `closed` turns true and everything appended before is written,
/// or until the output fails. When an input fails, the others go on.
///
/// # Errors
/// When the output cannot be opened; then nothing is written.
pub async fn merge(
    spawner: &Spawner,
    mode: Mode,
    inputs: Vec<Input>,
    output: OutputSpec,
    options: TailOptions,
    closed: watch::Receiver<bool>,
) -> Result<MergeOutcome, SinkError> {
    match mode {
        Mode::Naive => merge_into::<Naive>(spawner, inputs, output, options, closed).await,
        Mode::Offloaded => merge_into::<Offloaded>(spawner, inputs, output, options, closed).await,
        Mode::SpawnBlocking => merge_into::<SpawnBlocking>(spawner, inputs, output, options, closed).await,
        Mode::TokioFs => merge_into::<TokioFs>(spawner, inputs, output, options, closed).await,
        Mode::BlockInPlace => merge_into::<BlockInPlace>(spawner, inputs, output, options, closed).await,
    }
}

async fn merge_into<S: Sink>(
    spawner: &Spawner,
    mut inputs: Vec<Input>,
    output: OutputSpec,
    options: TailOptions,
    closed: watch::Receiver<bool>,
) -> Result<MergeOutcome, SinkError> {
    let events = inputs.first().map(Input::events).cloned();
    let sync_within = output.sync_within;
    let (sink, opened) = S::open(output, spawner).await?;
    let sink = Arc::new(sink);
    Input::together(&mut inputs, (opened.dev, opened.ino));
    let idle_watcher = IdleWatcher::default();
    let mut tails = Vec::with_capacity(inputs.len());
    let (end, ended) = oneshot::channel();
    let syncing = sync_now_and_then(&*sink, sync_within, ended);
    for (index, input) in inputs.into_iter().enumerate() {
        let waiting = WakeSources::new(&input, options.interval, idle_watcher.clone());
        let future = tail(spawner.clone(), input, waiting, options.clone(), Arc::clone(&sink), closed.clone());
        tails.push(spawner.spawn(&format!("tail {index}"), future));
    }
    let tailing = async {
        let mut inputs = Vec::with_capacity(tails.len());
        for tail in tails {
            // A tail's panic goes on to the caller, but only after the output is closed.
            inputs.push(tail.await);
        }
        drop(end);
        inputs
    };
    let (inputs, ()) = tokio::join!(tailing, syncing);
    let output_error = match Arc::try_unwrap(sink) {
        Ok(sink) => sink.close().await.err(),
        Err(_) => unreachable!("every tail has ended and dropped its part of the sink"),
    };
    let inputs = inputs.into_iter().map(|joined| match joined {
        Ok(tailed) => tailed,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    });
    let inputs = inputs.collect();
    let events = events.map(|events| events.so_far()).unwrap_or_default();
    Ok(MergeOutcome { inputs, opened, output_error, events })
}

/// Writes nothing now and then, which syncs what is due to be synced, until the tails have ended. A write is never broken off.
async fn sync_now_and_then<S: Sink>(sink: &S, within: Option<Duration>, mut ended: oneshot::Receiver<()>) {
    let Some(within) = within else { return };
    loop {
        tokio::select! {
            _ = &mut ended => return,
            () = tokio::time::sleep(within) => {}
        }
        if sink.write(LineBatch { bytes: Vec::new(), count: 0 }).await.is_err() {
            // The output keeps its error, and says it at the end.
            return;
        }
    }
}
