//! What stderr shows while a run goes on: a line of progress on a terminal, and slow polls as they end.

use std::io::{self, Write};

use super::stderr::{ProgressLine, write_lines};
use crate::escape::escape;
use crate::pipeline::sink::Mode;
use crate::run::{Observer, Progress};
use crate::units::plural;

/// Shows progress on stderr, if that is a terminal and nobody asked for quiet.
pub(super) struct OnStderr {
    name: String,
    rounds: u32,
    quiet: bool,
    running: String,
    line: ProgressLine,
}

impl OnStderr {
    pub(super) fn new(name: &str, rounds: u32, quiet: bool) -> OnStderr {
        let name = escape(name).into_owned();
        OnStderr { name, rounds, quiet, running: String::new(), line: ProgressLine::new(quiet) }
    }

    /// Takes the line of progress away.
    pub(super) fn finish(&mut self) {
        self.line.clear();
    }
}

impl Observer for OnStderr {
    fn begin(&mut self, mode: Mode, round: u32) {
        let round = if self.rounds > 1 { format!(", round {round} of {}", self.rounds) } else { String::new() };
        self.running = format!("{}: {mode}{round}", self.name);
    }

    fn slow_poll_lines(&mut self) -> Box<dyn Write + Send> {
        if self.quiet { Box::new(Nowhere) } else { Box::new(AboveProgress) }
    }

    fn progress(&mut self, progress: Progress) {
        self.line.show(|| {
            let slow = plural(progress.slow_polls, "slow poll");
            format!("{}, {:.1} s, {slow}", self.running, progress.elapsed.as_secs_f64())
        });
    }
}

/// stderr, with the line of progress out of the way. The probe writes whole lines in one call.
struct AboveProgress;

impl Write for AboveProgress {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_lines(bytes).map(|()| bytes.len())
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
