//! Messages on stderr. One that is closed or that nobody reads must not stop the program, and no message is lost while it takes them.

mod lines;
mod pending;
mod progress_line;

use std::io::{self, Write};
use std::thread;

pub use self::lines::Lines;
use self::pending::{Patience, Pending};
pub(crate) use self::progress_line::{ProgressLine, is_terminal};
use self::progress_line::{clear, columns};
use crate::signal_mask::without_signals;

/// What threads still have to write.
static PENDING: Pending = Pending::new();
/// While the program goes on.
const PATIENCE: Patience = Patience { refused: 20, idle: 100 };
/// Before it ends, which loses what is not written.
const LAST_PATIENCE: Patience = Patience { refused: 100, idle: 400 };
/// Written at once, so that a slow reader is seen to read.
const PIECE: usize = 4_096;

/// Writes lines to stderr, and waits until they are written, or for about a second if stderr does not take them; what is still to be
/// written then, [`finish`] waits for.
pub fn say(lines: impl Into<Lines>) {
    let text = format!("{}{}", clear(), lines.into().text(columns()));
    let ticket = PENDING.begin();
    let theirs = text.clone();
    let on_thread = move || {
        write(&theirs);
        PENDING.end(ticket);
    };
    match without_signals(|| thread::Builder::new().name("stderr".to_owned()).spawn(on_thread)) {
        Ok(_) => _ = PENDING.wait(&PATIENCE, is_taking, |pending| !pending.contains(&ticket)),
        // The thread cannot be started.
        Err(_) => {
            write(&text);
            PENDING.end(ticket);
        }
    }
}

/// Waits for what was said and is not written yet: as long as stderr takes it, and for a few seconds if it does not.
pub fn finish() {
    PENDING.wait(&LAST_PATIENCE, is_taking, |pending| pending.is_empty());
}

/// An error means that stderr is closed.
fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    for piece in text.as_bytes().chunks(PIECE) {
        if stderr.write_all(piece).is_err() {
            return;
        }
        PENDING.moved();
    }
}

/// Whether stderr accepts text: a terminal stopped with Ctrl-S and a full pipe do not; of a file on a disk that hangs, nobody knows.
fn is_taking() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stderr = io::stderr();
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&at_once)).is_ok_and(|ready| ready == 1)
}

/// Writes whole lines to stderr in one call, over the progress line; the next progress line appears below them.
pub(crate) fn write_lines(lines: &[u8]) -> io::Result<()> {
    let wrapped = columns().map(|columns| {
        let text = String::from_utf8_lossy(lines);
        text.lines().map(|line| lines::wrapped(line, columns)).collect::<String>().into_bytes()
    });
    io::stderr().write_all(&[clear().as_bytes(), wrapped.as_deref().unwrap_or(lines)].concat())
}
