//! Follows one growing input, line by line, until it ends or its handle is closed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::yield_now;

use super::confirm::{InputEvidence, Part, PartFile};
use super::input::{Input, InputError, Look};
use super::sink::{LineBatch, Sink, SinkError};
use super::wake_sources::WakeSources;
use crate::spawner::Spawner;

/// The result of following one input.
#[derive(Debug)]
pub struct TailOutcome {
    /// The evidence that a confirmation compares the output with.
    pub evidence: InputEvidence,
    /// The number of lines whose write returned.
    pub lines: u64,
    /// The bytes of those lines, as written.
    pub bytes: u64,
    /// When each line's write returned, in nanoseconds since [`TailOptions::stamp_from`]; empty without that.
    pub written_ns: Vec<u64>,
    /// The number of lines that exceeded the maximum and were split.
    pub long_lines: u64,
    /// Why it ended early, if it did.
    pub error: Option<TailError>,
}

/// Why a tail ended early.
#[derive(Debug, Clone)]
pub enum TailError {
    /// The input failed.
    Input(InputError),
    /// The output failed.
    Sink(SinkError),
    /// The runtime shut down in the middle.
    Aborted,
}

/// How a tail works.
#[derive(Debug, Clone)]
pub struct TailOptions {
    /// How long to sleep without new data, or a tenth of the time without new data if that is longer.
    pub interval: Duration,
    /// The most lines in one write, if they were read at once; 1: line by line.
    pub batch: usize,
    /// The moment from which to count the time of every line's write; `None`: note no times.
    pub stamp_from: Option<Instant>,
    /// Set to true, it ends reading even if there is more; what was read is still written.
    pub enough: Arc<AtomicBool>,
}

/// Follows an input until its end, or until `closed` turns true: reads lines off the loop and writes them in order, each once.
/// After the close it still reads what was appended before, and delivers an unterminated last line with a newline.
pub(super) async fn tail<S: Sink>(
    spawner: Spawner,
    mut input: Input,
    waiting: WakeSources,
    options: TailOptions,
    sink: Arc<S>,
    mut closed: watch::Receiver<bool>,
) -> TailOutcome {
    let (mut written, mut is_over) = (WriteTally::default(), false);
    let path = input.path().to_owned();
    loop {
        while let Some(lines) = input.next_lines(options.batch) {
            if let Err(error) = written.write(&*sink, lines, &options).await {
                return written.end(input, Some(TailError::Sink(error)));
            }
            // One write for each poll, as if a call of its own read every line: so other tasks run in between.
            yield_now().await;
        }
        if is_over {
            return written.end(input, None);
        }
        if options.enough.load(Ordering::Relaxed) {
            input.record_unread();
            return written.end(input, None);
        }
        let readiness = waiting.until_readable(&mut closed).await;
        // Before the look at the file, which then certainly sees what was appended before the close.
        let closing = *closed.borrow_and_update();
        let looked = spawner.spawn_blocking(move || {
            let looked = input.look(closing);
            (input, looked)
        });
        let Ok((returned, looked)) = looked.await else { return written.aborted(path) };
        input = returned;
        match looked {
            Err(error) => return written.end(input, Some(TailError::Input(error))),
            Ok(Look::End) => is_over = true,
            Ok(Look::Data) => {}
            Ok(Look::Nothing) => waiting.until_changed(readiness, input.idle(), &mut closed).await,
        }
    }
}

/// Counts what was written.
#[derive(Debug, Default)]
struct WriteTally {
    lines: u64,
    bytes: u64,
    written_ns: Vec<u64>,
}

impl WriteTally {
    async fn write<S: Sink>(&mut self, sink: &S, lines: LineBatch, options: &TailOptions) -> Result<(), SinkError> {
        let (bytes, count) = (lines.bytes.len() as u64, lines.count);
        sink.write(lines).await?;
        self.lines += count;
        self.bytes += bytes;
        if let Some(origin) = options.stamp_from {
            let at_ns = origin.elapsed().as_nanos() as u64;
            self.written_ns.extend((0..count).map(|_| at_ns));
        }
        Ok(())
    }

    fn end(self, input: Input, error: Option<TailError>) -> TailOutcome {
        let long_lines = input.long_lines();
        self.with(input.evidence(), long_lines, error)
    }

    fn aborted(self, path: PathBuf) -> TailOutcome {
        let file = PartFile::Gone("the runtime ended in the middle".to_owned());
        let part = Part { file, dev: 0, ino: 0, from: 0, to: 0, unterminated: false, checksum: None };
        self.with(InputEvidence { path, parts: vec![part] }, 0, Some(TailError::Aborted))
    }

    fn with(self, evidence: InputEvidence, long_lines: u64, error: Option<TailError>) -> TailOutcome {
        let WriteTally { lines, bytes, written_ns } = self;
        TailOutcome { evidence, lines, bytes, written_ns, long_lines, error }
    }
}
