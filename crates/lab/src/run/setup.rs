//! Sets a run up before its loop starts: files, a FIFO and its reader, open inputs.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{RunError, io_error};
use crate::pipeline::confirm::ConfirmSettings;
use crate::pipeline::fifo::{FifoReader, Pauses};
use crate::pipeline::input::{Events, Input, MAX_LINE, ReadSettings, Watch};
use crate::pipeline::merge::open_inputs;
use crate::pipeline::simulation::{Appearances, Plan, SimulatedFiles, SimulatedWriters};
use crate::pipeline::sink::{Existing, OutputSpec};
use crate::pipeline::tail::TailOptions;
use crate::scenario::{BlockSettings, FilesSettings, MergeSettings, Settings, SinkSettings, Workload};

/// A run's two halves.
pub(super) struct Setup {
    /// The half that moves to the loop.
    pub(super) work: Work,
    /// The half that stays outside.
    pub(super) surroundings: Surroundings,
}

/// What runs on the loop.
pub(super) enum Work {
    Block(BlockSettings),
    Merge(MergeWork),
}

/// A merge that can start.
pub(super) struct MergeWork {
    pub(super) inputs: Vec<Input>,
    pub(super) output: OutputSpec,
    pub(super) interval: Duration,
    /// The most lines that one write takes.
    pub(super) batch: usize,
    /// Whether to note the time of each line's write.
    pub(super) stamps: bool,
    pub(super) enough: Arc<AtomicBool>,
}

impl MergeWork {
    pub(super) fn tail_options(&self, origin: Instant) -> TailOptions {
        TailOptions {
            interval: self.interval,
            batch: self.batch,
            stamp_from: self.stamps.then_some(origin),
            enough: Arc::clone(&self.enough),
        }
    }
}

/// What goes on beside the loop. Dropping it removes a simulation's folder.
pub(super) struct Surroundings {
    /// How many inputs are merged; `None` for another workload.
    pub(super) inputs: Option<u64>,
    /// What happens to the inputs.
    pub(super) events: Events,
    /// Set to true, it ends all reading.
    pub(super) enough: Arc<AtomicBool>,
    /// How to confirm the merge.
    pub(super) how: ConfirmSettings,
    writers: Writers,
    /// When to close the inputs, after the start; `None`: only on a request to stop.
    close_after: Option<Duration>,
    fifo: Option<(FifoReader, PathBuf)>,
    pub(super) folder: Option<TempDir>,
}

enum Writers {
    None,
    Ready(SimulatedFiles),
    Running(SimulatedWriters),
}

impl Setup {
    pub(super) fn new(settings: &Settings) -> Result<Setup, RunError> {
        match &settings.workload {
            Workload::Block(block) => {
                Ok(Setup { work: Work::Block(*block), surroundings: Surroundings::nothing(None, None) })
            }
            Workload::Files(files) => Setup::files(files),
            Workload::Merge(merge) => Setup::simulation(merge, settings.seed),
        }
    }

    fn files(files: &FilesSettings) -> Result<Setup, RunError> {
        let events = Events::from_now();
        let FilesSettings { follow, watch, max_line, tag, .. } = *files;
        let reading = ReadSettings { follow, max_line, tag, watch, events: events.clone() };
        let inputs = open_inputs(&files.inputs, &files.output, &reading).map_err(RunError::Preflight)?;
        let output = OutputSpec {
            path: files.output.clone(),
            existing: files.existing,
            sync_every: 0,
            sync_within: files.sync_within,
        };
        let work = MergeWork {
            inputs,
            output,
            interval: files.poll_interval,
            batch: files.batch,
            stamps: false,
            enough: Arc::default(),
        };
        // Inputs that are not followed end by themselves.
        let how = ConfirmSettings { max_line: Some(max_line), tags: tag };
        let surroundings = Surroundings {
            events,
            how,
            enough: Arc::clone(&work.enough),
            ..Surroundings::nothing(Some(files.inputs.len() as u64), None)
        };
        Ok(Setup { work: Work::Merge(work), surroundings })
    }

    fn simulation(merge: &MergeSettings, seed: u64) -> Result<Setup, RunError> {
        let folder = tempfile::Builder::new().prefix("pollscope-").tempdir();
        let folder = folder.map_err(io_error("make a temporary folder"))?;
        let MergeSettings { inputs, lines, max_wait, letters, .. } = *merge;
        let plan = Plan { inputs, lines, max_wait, letters, seed };
        let files = SimulatedFiles::create(folder.path(), &plan).map_err(io_error("create the simulated inputs"))?;
        let merged = folder.path().join("merged");
        let (output, fifo) = match merge.sink {
            SinkSettings::File { sync_every } => {
                (OutputSpec { path: merged, existing: Existing::Refuse, sync_every, sync_within: None }, None)
            }
            SinkSettings::Fifo { pause, every } => {
                let path = folder.path().join("sink.fifo");
                let reader = FifoReader::start(&path, &merged, Pauses { pause, every });
                let reader = reader.map_err(io_error("make the FIFO and its reader"))?;
                (
                    OutputSpec { path, existing: Existing::Fifo, sync_every: 0, sync_within: None },
                    Some((reader, merged)),
                )
            }
        };
        let events = Events::from_now();
        let reading = ReadSettings { events: events.clone(), ..ReadSettings::following(Watch::Poll) };
        let inputs = open_inputs(&files.paths(), &output.path, &reading).map_err(RunError::Preflight)?;
        let work = MergeWork {
            inputs,
            output,
            interval: merge.poll_interval,
            batch: merge.batch,
            stamps: true,
            enough: Arc::default(),
        };
        let surroundings = Surroundings {
            inputs: Some(merge.inputs as u64),
            events,
            enough: Arc::clone(&work.enough),
            how: ConfirmSettings { max_line: Some(MAX_LINE), tags: false },
            writers: Writers::Ready(files),
            close_after: Some(merge.close_after),
            fifo,
            folder: Some(folder),
        };
        Ok(Setup { work: Work::Merge(work), surroundings })
    }
}

impl Surroundings {
    fn nothing(inputs: Option<u64>, close_after: Option<Duration>) -> Surroundings {
        Surroundings {
            inputs,
            events: Events::from_now(),
            enough: Arc::default(),
            how: ConfirmSettings::default(),
            writers: Writers::None,
            close_after,
            fifo: None,
            folder: None,
        }
    }

    /// Starts the simulated writers, if any.
    pub(super) fn start(&mut self, origin: Instant) -> Result<(), RunError> {
        self.writers = match std::mem::replace(&mut self.writers, Writers::None) {
            Writers::Ready(files) => {
                Writers::Running(files.start(origin).map_err(io_error("start the simulated writers"))?)
            }
            other => other,
        };
        Ok(())
    }

    /// Asks the simulated writers to end early.
    pub(super) fn stop(&mut self) {
        self.close_after = Some(Duration::ZERO);
        if let Writers::Running(writers) = &self.writers {
            writers.stop();
        }
    }

    /// Whether to close the inputs now: it is time, and no writer is at work.
    pub(super) fn is_over(&self, elapsed: Duration) -> bool {
        let written = match &self.writers {
            Writers::Running(writers) => writers.is_finished(),
            Writers::None | Writers::Ready(_) => true,
        };
        written && self.close_after.is_some_and(|after| elapsed >= after)
    }

    /// When the simulated lines appeared; `None` of a user's own files. Blocks until all lines are written.
    pub(super) fn appearances(&mut self) -> Result<Option<Appearances>, RunError> {
        match std::mem::replace(&mut self.writers, Writers::None) {
            Writers::Running(writers) => writers.join().map(Some).map_err(io_error("write the simulated inputs")),
            Writers::None | Writers::Ready(_) => Ok(None),
        }
    }

    /// The file behind the FIFO. Blocks until everything written into the FIFO is in it.
    pub(super) fn file_behind_fifo(&mut self) -> Result<Option<PathBuf>, RunError> {
        let Some((reader, merged)) = self.fifo.take() else { return Ok(None) };
        reader.join().map_err(io_error("copy from the FIFO into the merged file"))?;
        Ok(Some(merged))
    }
}
