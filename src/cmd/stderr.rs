//! Lines on stderr, and the line of progress that they must not be mixed up with.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::report::cut;

/// To the start of the line, and away with what is on it: a line of progress, and the `^C` that the terminal shows behind it.
const CLEAR: &str = "\r\x1b[K";
/// Columns of a terminal that does not say how many it has.
const COLUMNS: u16 = 80;
/// The shortest time between two lines of progress.
const EVERY: Duration = Duration::from_millis(100);

/// Whether anyone looks at stderr as it goes.
pub(super) fn is_terminal() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Writes whole lines to stderr in one call, in the place of the line of progress: the next one is shown below them.
pub(super) fn write_lines(lines: &[u8]) -> io::Result<()> {
    let clear = if is_terminal() { CLEAR.as_bytes() } else { b"" };
    io::stderr().write_all(&[clear, lines].concat())
}

/// Says a line on stderr; a closed one must not stop the program.
pub(super) fn say(line: &str) {
    let _ = write_lines(format!("{line}\n").as_bytes());
}

/// The line of progress, if there is to be one.
pub(super) struct ProgressLine {
    is_on: bool,
    shown: Option<Instant>,
}

impl ProgressLine {
    pub(super) fn new(quiet: bool) -> ProgressLine {
        ProgressLine { is_on: !quiet && is_terminal(), shown: None }
    }

    /// Shows the text, unless the last one is too young.
    pub(super) fn show(&mut self, text: impl FnOnce() -> String) {
        if self.is_on && self.shown.is_none_or(|shown| shown.elapsed() >= EVERY) {
            self.shown = Some(Instant::now());
            let columns = terminal_size::terminal_size_of(io::stderr()).map_or(COLUMNS, |(width, _)| width.0);
            // The last column stays free: a terminal would begin a new line for whatever comes next.
            let text = cut(&text(), usize::from(columns).saturating_sub(1));
            let _ = write!(io::stderr().lock(), "{CLEAR}{text}");
        }
    }

    /// Takes it away.
    pub(super) fn clear(&mut self) {
        if self.shown.take().is_some() {
            let _ = io::stderr().write_all(CLEAR.as_bytes());
        }
    }
}
