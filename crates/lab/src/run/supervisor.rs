//! Watches a run from outside: closes the inputs when it is time, collects, and confirms the merge.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_base::reason;
use tempfile::TempDir;
use tokio::sync::watch;

use super::collect::{Collected, Collector};
use super::on_loop::{LoopEvent, OutsideWitnesses, WorkloadOutcome};
use super::setup::Surroundings;
use super::{Observer, RunError, io_error};
use crate::pipeline::confirm::{InputEvidence, OutputEvidence, confirm};
use crate::pipeline::input::EventSummary;
use crate::pipeline::merge::MergeOutcome;
use crate::pipeline::simulation::Appearances;
use crate::shutdown::{Phase, Shutdown};
use crate::witness::responder::{Client, Responses, RunningClient};
use pollscope_record::message::Message;
use pollscope_record::recording::{Dist, Merge, Verdict};

/// How often the supervisor looks for something to do.
const TICK: Duration = Duration::from_millis(20);
/// How long an immediate report waits until a simulation's folder is removed.
const REMOVAL: Duration = Duration::from_millis(500);

/// The side of a run that watches.
pub(super) struct Supervisor {
    surroundings: Surroundings,
    running_client: Option<RunningClient>,
    collector: Collector,
    close: watch::Sender<bool>,
    origin: Instant,
    elapsed: Option<Duration>,
    /// How many of the inputs' events the observer knows.
    shown_events: usize,
}

/// What a run left behind.
pub(super) struct RunEnd {
    pub(super) elapsed: Duration,
    pub(super) collected: Collected,
    pub(super) responses: Option<Responses>,
    pub(super) merge: Option<MergeEnd>,
    /// What the run gave up to report at once.
    pub(super) abandoned: Option<&'static str>,
    /// Whether the inputs may have had more that was not read, because there was no more time.
    pub(super) is_cut_short: bool,
}

/// What a merge left behind.
pub(super) struct MergeEnd {
    pub(super) confirmed: Merge,
    pub(super) written_bytes: Option<u64>,
    pub(super) write_latency: Option<Dist>,
    pub(super) errors: Vec<Message>,
    pub(super) input_events: EventSummary,
}

impl Supervisor {
    /// Connects the client, then starts the simulated writers.
    pub(super) fn start(
        ends: OutsideWitnesses,
        mut surroundings: Surroundings,
        collector: Collector,
        close: watch::Sender<bool>,
        origin: Instant,
    ) -> Result<Supervisor, RunError> {
        let mut running_client = None;
        if let Some(end) = ends.client {
            let client = Client::connect(end.server, end.settings.connections, end.settings.every);
            running_client =
                Some(client.and_then(Client::start).map_err(io_error("connect the client to the echo server"))?);
            // An error means that the loop has ended; its last event says why.
            let _ = end.connected.send(());
        }
        surroundings.start(origin)?;
        Ok(Supervisor { surroundings, running_client, collector, close, origin, elapsed: None, shown_events: 0 })
    }

    /// Watches until the loop ends; `None` if a request to report at once comes first.
    pub(super) fn until_finished(
        &mut self,
        events: &Receiver<LoopEvent>,
        shutdown: &Shutdown,
        observer: &mut dyn Observer,
    ) -> Result<Option<WorkloadOutcome>, RunError> {
        loop {
            match events.recv_timeout(TICK) {
                Ok(LoopEvent::Started(handle)) => self.collector.watch(&handle),
                Ok(LoopEvent::WorkloadDone) => {
                    self.elapsed = Some(self.origin.elapsed());
                    if let Some(running_client) = &self.running_client {
                        running_client.stop();
                    }
                }
                Ok(LoopEvent::Finished(outcome)) => return outcome.map(Some),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(RunError::Panicked),
            }
            observer.progress(self.collector.tick());
            for event in self.surroundings.events.after(self.shown_events) {
                observer.input_event(&event);
                self.shown_events += 1;
            }
            match shutdown.phase() {
                Phase::Run => {}
                Phase::Drain => self.surroundings.stop(),
                Phase::Finish => {
                    self.surroundings.stop();
                    self.surroundings.enough.store(true, Ordering::Relaxed);
                }
                Phase::Abort => return Ok(None),
            }
            if !*self.close.borrow() && self.surroundings.is_over(self.origin.elapsed()) {
                self.close.send_replace(true);
            }
        }
    }

    /// Gathers the results; of an abandoned workload (`None`), as much as is known.
    pub(super) fn end(mut self, outcome: Option<WorkloadOutcome>, shutdown: &Shutdown) -> Result<RunEnd, RunError> {
        // Stays here, not with the threads that use it: so the folder is removed even if one of them hangs.
        let folder = self.surroundings.folder.take();
        let is_cut_short = self.surroundings.enough.load(Ordering::Relaxed);
        let elapsed = self.elapsed.unwrap_or_else(|| self.origin.elapsed());
        let responses = match (self.running_client.take(), &outcome) {
            (None, _) => None,
            (Some(running_client), None) => Some(running_client.so_far()),
            (Some(running_client), Some(_)) => {
                Some(running_client.finish().map_err(io_error("hear the echo server's answers"))?)
            }
        };
        let (merge, abandoned) = match outcome {
            Some(WorkloadOutcome::Blocked) => (None, None),
            Some(WorkloadOutcome::Merged(merged)) => {
                let (inputs, input_events) = (merged.inputs.len() as u64, merged.events.clone());
                match confirm_until(self.surroundings, merged, shutdown)? {
                    Some(confirmed) => (Some(confirmed), None),
                    None => (Some(unconfirmed(inputs, "the confirmation", input_events)), Some("the confirmation")),
                }
            }
            None => {
                let input_events = self.surroundings.events.so_far();
                (
                    self.surroundings.inputs.map(|inputs| unconfirmed(inputs, "the merge", input_events)),
                    Some("the workload"),
                )
            }
        };
        let collected = self.collector.end();
        if let Some(folder) = folder {
            remove(folder, shutdown);
        }
        Ok(RunEnd { elapsed, collected, responses, merge, abandoned, is_cut_short })
    }
}

/// Removes the folder of a simulation. On a disk that hangs, this hangs too; so after a request to report at once it waits only
/// [`REMOVAL`].
fn remove(folder: TempDir, shutdown: &Shutdown) {
    let (send, removed) = mpsc::channel();
    let thread = thread::Builder::new().name("remove".to_owned());
    let spawned = thread.spawn(move || {
        drop(folder);
        // An error means that nobody waits any more.
        let _ = send.send(());
    });
    if spawned.is_err() {
        // The folder was dropped with the closure.
        return;
    }
    let mut left = REMOVAL;
    while removed.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        if shutdown.phase() == Phase::Abort {
            let Some(less) = left.checked_sub(TICK) else { return };
            left = less;
        }
    }
}

/// Confirms on a thread of its own, since a FIFO's reader can pause for long and files can be large. `None` if a request to report at
/// once comes first.
fn confirm_until(
    mut surroundings: Surroundings,
    merged: Box<MergeOutcome>,
    shutdown: &Shutdown,
) -> Result<Option<MergeEnd>, RunError> {
    let (send, confirmed) = mpsc::channel();
    let thread = thread::Builder::new().name("confirm".to_owned());
    let spawned = thread.spawn(move || {
        // An error means that nobody waits any more.
        let _ = send.send(ended(&mut surroundings, &merged));
    });
    spawned.map_err(io_error("start the thread `confirm`"))?;
    loop {
        match confirmed.recv_timeout(TICK) {
            Ok(ended) => return ended.map(Some),
            Err(RecvTimeoutError::Disconnected) => return Err(RunError::Panicked),
            Err(RecvTimeoutError::Timeout) if shutdown.phase() == Phase::Abort => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn ended(surroundings: &mut Surroundings, merged: &MergeOutcome) -> Result<MergeEnd, RunError> {
    let appearances = surroundings.appearances()?;
    let behind_fifo = surroundings.file_behind_fifo()?;
    let inputs: Vec<InputEvidence> = merged.inputs.iter().map(|tailed| tailed.evidence.clone()).collect();
    let mut confirmed = match output_evidence(merged, behind_fifo) {
        Ok(output) => confirm(&inputs, &output, &surroundings.how),
        Err(reason) => Merge::unverifiable(inputs.len() as u64, reason),
    };
    confirmed.written = Some(Box::new(merged.written()));
    let mut errors: Vec<Message> = merged.output_error.iter().map(|error| error.to_string().into()).collect();
    errors.extend(merged.input_errors().map(|error| Message::from(error.to_string())));
    if let Some(first) = errors.first() {
        // The output may agree with what was read, but something was not read or not written.
        confirmed.verdict = if confirmed.verdict == Verdict::Ok { Verdict::Failed } else { confirmed.verdict };
        confirmed.reason = Some(first.clone());
    }
    if let Some(loss) = merged.events.first_loss.as_ref().filter(|_| confirmed.verdict == Verdict::Ok) {
        // The output has all that was read, but perhaps not all that the inputs had.
        confirmed.verdict = Verdict::Unverifiable;
        confirmed.reason = Some(loss.message());
    }
    let write_latency = appearances.map(|appearances| write_latency(&appearances, merged));
    let input_events = merged.events.clone();
    Ok(MergeEnd { confirmed, written_bytes: Some(merged.bytes()), write_latency, errors, input_events })
}

fn output_evidence(merged: &MergeOutcome, behind_fifo: Option<PathBuf>) -> Result<OutputEvidence, Message> {
    let opened = &merged.opened;
    let Some(path) = behind_fifo else {
        return Ok(OutputEvidence { path: opened.path.clone(), start: opened.start, dev: opened.dev, ino: opened.ino });
    };
    let metadata = std::fs::metadata(&path).map_err(|error| cannot_read(&path, &error))?;
    Ok(OutputEvidence { dev: metadata.dev(), ino: metadata.ino(), start: 0, path })
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Message {
    Message::text("cannot look at ").and_path(path).and_text(format!(": {}", reason(error)))
}

fn unconfirmed(inputs: u64, what: &str, input_events: EventSummary) -> MergeEnd {
    MergeEnd {
        confirmed: Merge::unverifiable(inputs, Message::text(format!("{what} was abandoned before it ended"))),
        written_bytes: None,
        write_latency: None,
        errors: Vec::new(),
        input_events,
    }
}

/// The time from each line's appearance in its input to the answer of its write.
fn write_latency(appearances: &Appearances, merged: &MergeOutcome) -> Dist {
    let mut latency = Dist::empty(3);
    for (appeared, tailed) in appearances.iter().zip(&merged.inputs) {
        for (appeared, written) in appeared.iter().zip(&tailed.written_ns) {
            latency.record(written.saturating_sub(*appeared));
        }
    }
    latency
}
