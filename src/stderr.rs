//! What is said on stderr in passing: a stderr that is closed, or that nobody reads, must not stop the program.

use std::io::{self, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a reader may take before the program goes on without it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes lines to stderr, each with its newline, and waits until they are written, for a second at most. What is written later
/// than that may be lost at the program's end.
pub fn say(lines: &str) {
    let text = format!("{lines}\n");
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
