//! A FIFO whose reader pauses, so that the kernel really blocks its writer.
//!
//! A pipe holds 64 KiB; while its reader pauses it fills, and then `write(2)` blocks. The reader writes the merged file, so
//! the merge can still be confirmed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, mkfifoat};

/// When the reader stops: for `pause` at the end of every period of `every`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pauses {
    pub(crate) pause: Duration,
    pub(crate) every: Duration,
}

/// A thread that reads a FIFO.
#[derive(Debug)]
pub(crate) struct FifoReader {
    thread: thread::JoinHandle<io::Result<()>>,
}

impl FifoReader {
    /// Makes the FIFO and starts the thread that copies from it into `merged`, a new file, until all writers are gone.
    ///
    /// # Errors
    /// When the FIFO, the file or the thread cannot be made.
    pub(crate) fn start(fifo: &Path, merged: &Path, pauses: Pauses) -> io::Result<FifoReader> {
        mkfifoat(rustix::fs::CWD, fifo, Mode::RUSR | Mode::WUSR)?;
        let merged = File::create_new(merged)?;
        let fifo: PathBuf = fifo.to_owned();
        let thread =
            thread::Builder::new().name("fifo-reader".to_owned()).spawn(move || copy(&fifo, merged, pauses))?;
        Ok(FifoReader { thread })
    }

    /// Waits until all writers are gone and everything they wrote is in the file. Blocks forever if no writer ever opens the FIFO.
    ///
    /// # Errors
    /// When reading or writing failed.
    pub(crate) fn join(self) -> io::Result<()> {
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the FIFO reader's thread panicked")))
    }
}

fn copy(fifo: &Path, mut merged: File, pauses: Pauses) -> io::Result<()> {
    let mut fifo = File::open(fifo)?;
    let start = Instant::now();
    let mut buffer = vec![0; 64 << 10];
    loop {
        thread::sleep(left_of_pause(start.elapsed(), pauses));
        match fifo.read(&mut buffer)? {
            0 => return Ok(()),
            n => merged.write_all(&buffer[..n])?,
        }
    }
}

/// The rest of the pause at `now`; zero outside a pause.
fn left_of_pause(now: Duration, pauses: Pauses) -> Duration {
    let every = pauses.every.as_nanos().max(1);
    let into = Duration::from_nanos((now.as_nanos() % every) as u64);
    let starts = pauses.every.saturating_sub(pauses.pause);
    if into >= starts { pauses.every.saturating_sub(into) } else { Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_is_the_end_of_every_period() {
        let pauses = Pauses { pause: Duration::from_millis(200), every: Duration::from_millis(500) };
        for (now, left) in [(0, 0), (299, 0), (300, 200), (450, 50), (500, 0), (1_399, 101)] {
            let left_ms = left_of_pause(Duration::from_millis(now), pauses).as_millis();
            assert_eq!(left_ms, left, "{now} ms after the start");
        }
    }

    #[test]
    fn everything_written_is_copied() {
        let folder = tempfile::tempdir().unwrap();
        let (fifo, merged) = (folder.path().join("fifo"), folder.path().join("merged"));
        let pauses = Pauses { pause: Duration::from_millis(1), every: Duration::from_millis(3) };
        let reader = FifoReader::start(&fifo, &merged, pauses).unwrap();
        let data: Vec<u8> = (0..1_000_000u32).map(|i| i as u8).collect();
        File::options().write(true).open(&fifo).unwrap().write_all(&data).unwrap();
        reader.join().unwrap();
        assert!(std::fs::read(&merged).unwrap() == data);
    }
}
