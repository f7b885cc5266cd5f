//! The progress line, which messages must not mix with.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::is_taking;
use crate::escape::escape;
use crate::width::cut;

/// Moves to the start of the line and clears it: a progress line, and the `^C` that the terminal shows behind it.
const CLEAR: &str = "\r\x1b[K";
/// The columns of a terminal that does not say how many it has.
const COLUMNS: u16 = 80;
/// The shortest time between two progress lines.
const EVERY: Duration = Duration::from_millis(100);

/// Whether stderr is a terminal that can show a progress line.
pub(crate) fn is_terminal() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// What clears the progress line before other lines.
pub(super) fn clear() -> &'static str {
    if is_terminal() { CLEAR } else { "" }
}

/// How many columns the terminal has that stderr is; `None` where it is none.
pub(super) fn columns() -> Option<usize> {
    is_terminal()
        .then(|| usize::from(terminal_size::terminal_size_of(io::stderr()).map_or(COLUMNS, |(width, _)| width.0)))
}

/// The progress line, if stderr shows one.
pub(crate) struct ProgressLine {
    is_on: bool,
    shown: Option<Instant>,
}

impl ProgressLine {
    pub(crate) fn new(quiet: bool) -> ProgressLine {
        ProgressLine { is_on: !quiet && is_terminal(), shown: None }
    }

    /// Shows the text, unless the last one is too recent.
    pub(crate) fn show(&mut self, text: impl FnOnce() -> String) {
        if self.is_on && self.shown.is_none_or(|shown| shown.elapsed() >= EVERY) && is_taking() {
            self.shown = Some(Instant::now());
            let columns = columns().unwrap_or(usize::from(COLUMNS));
            // The last column stays free, or the terminal would start a new line.
            let text = cut(&escape(&text()), columns.saturating_sub(1));
            let _ = write!(io::stderr().lock(), "{CLEAR}{text}");
        }
    }

    /// Clears the line.
    pub(crate) fn clear(&mut self) {
        if self.shown.take().is_some() && is_taking() {
            let _ = io::stderr().write_all(CLEAR.as_bytes());
        }
    }
}
