//! The file that every order is written to, by a thread that has it. The fault that can be switched on is here.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::options::Fault;

/// Lines on their way to the file.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    lines: Sender<Request>,
    fault: Option<Fault>,
}

enum Request {
    Append(String),
    Sync(oneshot::Sender<io::Result<()>>),
}

impl Journal {
    pub(crate) fn open(path: &Path, fault: Option<Fault>) -> io::Result<Journal> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let (lines, requests) = channel();
        thread::Builder::new().name("journal".to_owned()).spawn(move || write(file, &requests))?;
        Ok(Journal { lines, fault })
    }

    /// Passes a line on.
    pub(crate) async fn append(&self, number: u64, line: String) -> io::Result<()> {
        if let Some(fault) = self.fault.filter(|fault| number.is_multiple_of(fault.every)) {
            if fault.is_offloaded {
                tokio::task::spawn_blocking(move || wait_for_the_disk(fault.lasts)).await?;
            } else {
                wait_for_the_disk(fault.lasts);
            }
        }
        self.lines.send(Request::Append(line)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Waits until all that was passed on is in the file.
    pub(crate) async fn sync(&self) -> io::Result<()> {
        let (done, synced) = oneshot::channel();
        self.lines.send(Request::Sync(done)).map_err(|_| io::ErrorKind::BrokenPipe)?;
        synced.await.map_err(|_| io::ErrorKind::BrokenPipe)?
    }
}

/// As long as it takes: what blocks here blocks whoever calls.
fn wait_for_the_disk(lasts: Duration) {
    thread::sleep(lasts); // the injected line
}

fn write(mut file: File, requests: &Receiver<Request>) {
    for request in requests {
        match request {
            Request::Append(line) => {
                if let Err(error) = file.write_all(line.as_bytes()) {
                    eprintln!("cannot write to the journal: {error}");
                }
            }
            Request::Sync(done) => {
                // Whoever asked may be gone.
                let _ = done.send(file.sync_data());
            }
        }
    }
}
