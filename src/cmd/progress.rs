//! What stderr shows while a run goes on: a line of progress on a terminal, and slow polls as they end.

use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::pipeline::sink::Mode;
use crate::run::{Observer, Progress};
use crate::units::plural;

/// Shows progress on stderr, if that is a terminal and nobody asked for quiet.
pub(super) struct OnStderr {
    name: String,
    rounds: u32,
    quiet: bool,
    redact: bool,
    said: Said,
    bar: ProgressBar,
}

/// What the probes of one process said of what stands in their way: each has its own, and one of them is enough.
pub(super) type Said = Arc<Mutex<HashSet<Vec<u8>>>>;

/// How such a line begins.
const IN_THE_WAY: &[u8] = b"WARN pollscope: ";

impl OnStderr {
    pub(super) fn new(name: &str, rounds: u32, quiet: bool) -> OnStderr {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(10) };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template("{spinner} {wide_msg}").expect("a template of known keys");
        bar.set_style(style);
        OnStderr { name: name.to_owned(), rounds, quiet, redact: false, said: Said::default(), bar }
    }

    /// Whether paths are hidden.
    pub(super) fn redacting(self, redact: bool) -> OnStderr {
        OnStderr { redact, ..self }
    }

    /// Says nothing of what is in the way that was said before.
    pub(super) fn saying(self, said: &Said) -> OnStderr {
        OnStderr { said: Arc::clone(said), ..self }
    }

    /// Takes the line of progress away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for OnStderr {
    fn begin(&mut self, mode: Mode, round: u32) {
        let round = if self.rounds > 1 { format!(", round {round} of {}", self.rounds) } else { String::new() };
        let running = format!("{}: {mode}{round}", crate::escape::escape(&self.name));
        self.bar.set_prefix(running.clone());
        self.bar.set_message(running);
    }

    fn slow_poll_lines(&mut self) -> Box<dyn Write + Send> {
        if self.quiet {
            return Box::new(Nowhere);
        }
        let bar = (!self.bar.is_hidden()).then(|| self.bar.clone());
        Box::new(AboveBar { bar, said: Arc::clone(&self.said) })
    }

    fn redacts(&self) -> bool {
        self.redact
    }

    fn progress(&mut self, progress: Progress) {
        if self.bar.is_hidden() {
            return;
        }
        let slow = plural(progress.slow_polls, "slow poll");
        let elapsed = Duration::from_millis(progress.elapsed.as_millis() as u64 / 100 * 100);
        self.bar.set_message(format!("{}, {:.1} s, {slow}", self.bar.prefix(), elapsed.as_secs_f64()));
        self.bar.tick();
    }
}

/// stderr, with the line of progress out of the way. Without one it must not touch the bar: a stderr that nobody reads would
/// hold it locked for ever, and with it the thread that watches the run.
struct AboveBar {
    bar: Option<ProgressBar>,
    said: Said,
}

impl Write for AboveBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_new = || self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(bytes.to_owned());
        if bytes.starts_with(IN_THE_WAY) && !is_new() {
            return Ok(bytes.len());
        }
        match &self.bar {
            Some(bar) => bar.suspend(|| io::stderr().write(bytes)),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Takes no line, so that all of them count as suppressed.
struct Nowhere;

impl Write for Nowhere {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("quiet was asked for"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
