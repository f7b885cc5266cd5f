//! What stderr shows during a run: a progress line on a terminal, and slow polls as they end.

use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use pollscope_probe::{CaptureNote, Probe};

use super::pace::Pace;
use crate::export::prometheus::Current;
use crate::pipeline::input::Event;
use crate::pipeline::sink::Mode;
use crate::recording::Run;
use crate::run::{Observer, Progress};
use crate::scenario::Scenario;
use crate::stderr::{ProgressLine, say, write_lines};
use crate::units::plural;
use pollscope_record::message::Message;

/// Shows progress on stderr, if it is a terminal and `--quiet` is not given.
pub(super) struct OnStderr {
    name: String,
    rounds: u32,
    warmups: u32,
    pace: Pace,
    quiet: bool,
    redact: bool,
    said: Said,
    current: Current,
    running: String,
    line: ProgressLine,
}

/// The notes that probes of this process printed: every run has a probe, and one line per note is enough.
pub(super) type Said = Arc<Mutex<HashSet<Vec<u8>>>>;

impl OnStderr {
    pub(super) fn new(scenario: &Scenario, quiet: bool) -> OnStderr {
        let line = ProgressLine::new(quiet);
        OnStderr {
            name: scenario.name.clone(),
            rounds: scenario.settings.rounds,
            warmups: scenario.settings.warmup,
            pace: Pace::of(&scenario.settings),
            quiet,
            redact: false,
            said: Said::default(),
            current: Current::default(),
            running: String::new(),
            line,
        }
    }

    /// Hides paths.
    pub(super) fn redacting(self, redact: bool) -> OnStderr {
        OnStderr { redact, ..self }
    }

    /// Leaves out notes that were printed before.
    pub(super) fn saying(self, said: &Said) -> OnStderr {
        OnStderr { said: Arc::clone(said), ..self }
    }

    /// Publishes the probe of the current run.
    pub(super) fn showing(self, current: &Current) -> OnStderr {
        OnStderr { current: current.clone(), ..self }
    }

    /// Clears the progress line.
    pub(super) fn finish(&mut self) {
        self.line.clear();
    }
}

impl Observer for OnStderr {
    fn begin(&mut self, mode: Mode, round: u32) {
        let round = if self.rounds > 1 { format!(", round {round} of {}", self.rounds) } else { String::new() };
        self.running = format!("{}: {mode}{round}", self.name);
        self.pace.begin();
    }

    fn begin_warmup(&mut self, mode: Mode, round: u32) {
        let round = if self.warmups > 1 { format!(" {round} of {}", self.warmups) } else { String::new() };
        self.running = format!("{}: {mode}, warm-up{round} (not counted)", self.name);
        self.pace.begin();
    }

    fn warmup_failed(&mut self, run: &Run) {
        let reason = run.merge.iter().filter_map(|merge| merge.reason.as_ref());
        let shown = |why: &Message| if self.redact { why.without_paths() } else { why.clone() }.to_string();
        let why = run.errors.iter().chain(reason).map(shown).collect::<Vec<_>>().join("; ");
        say(format!("warning: a warm-up run of {} went wrong: {why}", run.group));
    }

    fn slow_poll_lines(&mut self) -> Box<dyn Write + Send> {
        if self.quiet { Box::new(Nowhere) } else { Box::new(AboveProgress(Arc::clone(&self.said))) }
    }

    fn redacts(&self) -> bool {
        self.redact
    }

    fn begin_measuring(&mut self, probe: &Probe) {
        self.current.begin(probe);
    }

    fn end_measuring(&mut self) {
        self.current.end();
    }

    fn input_event(&mut self, event: &Event) {
        let text = event.message();
        let text = if self.redact { text.without_paths() } else { text };
        // `--quiet` does not hide a loss.
        if event.kind.is_possible_loss() {
            say(format!("warning: {text}"));
        } else if !self.quiet {
            say(text.as_str());
        }
    }

    fn progress(&mut self, progress: Progress) {
        let (far, left) = self.pace.words(progress.elapsed);
        self.line.show(|| {
            let slow = plural(progress.slow_polls, "slow poll");
            let parts = [Some(self.running.clone()), Some(far), Some(slow), left];
            parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
        });
    }
}

/// stderr, above the progress line. The probe writes whole lines in one call.
struct AboveProgress(Said);

impl Write for AboveProgress {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_new = || self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(bytes.to_owned());
        if bytes.starts_with(CaptureNote::LINE_START.as_bytes()) && !is_new() {
            return Ok(bytes.len());
        }
        write_lines(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Takes no line, so that every line counts as suppressed.
struct Nowhere;

impl Write for Nowhere {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("`--quiet` is given"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
