//! Messages on stderr, and the progress line that they must not mix with. A stderr that is closed or that nobody reads must not stop
//! the program.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::signal_mask::without_signals;
use crate::width::cut;

/// How long to wait for a slow reader.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes lines to stderr, with a newline at the end, and waits at most a second until they are written. What takes longer may be
/// lost when the program ends.
pub fn say(lines: &str) {
    let text = format!("{}{lines}\n", clear());
    let (done, written) = mpsc::channel::<()>();
    let theirs = text.clone();
    let write = move || {
        // An error means that stderr is closed.
        let _ = io::stderr().write_all(theirs.as_bytes());
        drop(done);
    };
    match without_signals(|| thread::Builder::new().name("stderr".to_owned()).spawn(write)) {
        Ok(_) => _ = written.recv_timeout(PATIENCE),
        // The thread cannot be started.
        Err(_) => _ = io::stderr().write_all(text.as_bytes()),
    }
}

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

fn clear() -> &'static str {
    if is_terminal() { CLEAR } else { "" }
}

/// Whether the terminal accepts text: one stopped with Ctrl-S does not.
fn is_taking() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stderr = io::stderr();
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&at_once)).is_ok_and(|ready| ready == 1)
}

/// Writes whole lines to stderr in one call, over the progress line; the next progress line appears below them.
pub(crate) fn write_lines(lines: &[u8]) -> io::Result<()> {
    io::stderr().write_all(&[clear().as_bytes(), lines].concat())
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
            let columns = terminal_size::terminal_size_of(io::stderr()).map_or(COLUMNS, |(width, _)| width.0);
            // The last column stays free, or the terminal would start a new line.
            let text = cut(&text(), usize::from(columns).saturating_sub(1));
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
