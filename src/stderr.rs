//! What is said on stderr in passing, and the line of progress that it must not be mixed up with: a stderr that is closed, or that
//! nobody reads, must not stop the program.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::width::cut;

/// How long a reader may take before the program goes on without it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes lines to stderr, each with its newline, and waits until they are written, for a second at most. What is written later
/// than that may be lost at the program's end.
pub fn say(lines: &str) {
    let text = format!("{}{lines}\n", clear());
    let (tell, told) = mpsc::channel::<()>();
    let theirs = text.clone();
    let write = move || {
        // An error means that it is closed.
        let _ = io::stderr().write_all(theirs.as_bytes());
        drop(tell);
    };
    match thread::Builder::new().name("stderr".to_owned()).spawn(write) {
        Ok(_) => _ = told.recv_timeout(PATIENCE),
        // No thread can be had.
        Err(_) => _ = io::stderr().write_all(text.as_bytes()),
    }
}

/// To the start of the line, and away with what is on it: a line of progress, and the `^C` that the terminal shows behind it.
const CLEAR: &str = "\r\x1b[K";
/// Columns of a terminal that does not say how many it has.
const COLUMNS: u16 = 80;
/// The shortest time between two lines of progress.
const EVERY: Duration = Duration::from_millis(100);

/// Whether anyone looks at stderr as it goes.
pub(crate) fn is_terminal() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn clear() -> &'static str {
    if is_terminal() { CLEAR } else { "" }
}

/// Whether a terminal takes what is written to it: one that was stopped with Ctrl-S does not.
fn is_taking() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stderr = io::stderr();
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&at_once)).is_ok_and(|ready| ready == 1)
}

/// Writes whole lines to stderr in one call, in the place of the line of progress: the next one is shown below them.
pub(crate) fn write_lines(lines: &[u8]) -> io::Result<()> {
    io::stderr().write_all(&[clear().as_bytes(), lines].concat())
}

/// The line of progress, if there is to be one.
pub(crate) struct ProgressLine {
    is_on: bool,
    shown: Option<Instant>,
}

impl ProgressLine {
    pub(crate) fn new(quiet: bool) -> ProgressLine {
        ProgressLine { is_on: !quiet && is_terminal(), shown: None }
    }

    /// Shows the text, unless the last one is too young.
    pub(crate) fn show(&mut self, text: impl FnOnce() -> String) {
        if self.is_on && self.shown.is_none_or(|shown| shown.elapsed() >= EVERY) && is_taking() {
            self.shown = Some(Instant::now());
            let columns = terminal_size::terminal_size_of(io::stderr()).map_or(COLUMNS, |(width, _)| width.0);
            // The last column stays free: a terminal would begin a new line for whatever comes next.
            let text = cut(&text(), usize::from(columns).saturating_sub(1));
            let _ = write!(io::stderr().lock(), "{CLEAR}{text}");
        }
    }

    /// Takes it away.
    pub(crate) fn clear(&mut self) {
        if self.shown.take().is_some() && is_taking() {
            let _ = io::stderr().write_all(CLEAR.as_bytes());
        }
    }
}
