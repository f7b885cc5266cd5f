//! Ends the program when it is stuck: a deadlock must not look like a long run.

use std::io;
use std::process::{Child, Output};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was begun last, and when.
static LAST: Mutex<Option<(&str, Instant)>> = Mutex::new(None);

/// Says that something begins, and that what was before it is over.
pub(crate) fn begin(what: &'static str) {
    *LAST.lock().expect("nobody panics with it") = Some((what, Instant::now()));
}

/// Waits for a process that watches itself, and tells meanwhile that this one is not stuck.
pub(crate) fn output_of(mut child: Child, what: &'static str) -> io::Result<Output> {
    while child.try_wait()?.is_none() {
        begin(what);
        thread::sleep(Duration::from_millis(100));
    }
    child.wait_with_output()
}

/// Starts the thread that watches.
pub(crate) fn watch() {
    let watch = || {
        loop {
            thread::sleep(Duration::from_secs(1));
            let last = *LAST.lock().expect("nobody panics with it");
            if let Some((what, since)) = last
                && since.elapsed() > PATIENCE
            {
                eprintln!("FAILED: stuck for {:.0} s in: {what}", since.elapsed().as_secs_f64());
                std::process::abort();
            }
        }
    };
    thread::Builder::new().name("progress".to_owned()).spawn(watch).expect("a thread can be started");
}
