//! Simulated writers: files that grow line by line, at random moments that a seed reproduces.
//!
//! They run on an OS thread of their own, so that a blocked loop does not delay them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What the writers write.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The number of files.
    pub inputs: usize,
    /// The number of lines in each file.
    pub lines: u64,
    /// The longest random wait before a line.
    pub max_wait: Duration,
    /// The number of random lower-case letters in each line.
    pub letters: usize,
    /// The seed of the waits and the letters.
    pub seed: u64,
}

/// The writer of one file.
#[derive(Debug)]
struct Writer {
    path: PathBuf,
    file: File,
    random: fastrand::Rng,
    written: u64,
}

/// Files that exist and are still empty.
#[derive(Debug)]
pub struct SimulatedFiles {
    plan: Plan,
    writers: Vec<Writer>,
}

/// When each line was written, by input: nanoseconds since the origin given to [`SimulatedFiles::start`].
pub(crate) type Appearances = Vec<Vec<u64>>;

/// The thread of all writers.
#[derive(Debug)]
pub(crate) struct SimulatedWriters {
    thread: thread::JoinHandle<io::Result<Appearances>>,
    stop: Arc<AtomicBool>,
}

impl SimulatedFiles {
    /// Creates the empty files `input-0` to `input-N` in `folder`.
    ///
    /// # Errors
    /// When a file exists, or cannot be created.
    pub fn create(folder: &Path, plan: &Plan) -> io::Result<SimulatedFiles> {
        let writers = (0..plan.inputs).map(|index| {
            let path = folder.join(format!("input-{index}"));
            let file = OpenOptions::new().append(true).create_new(true).open(&path)?;
            // Each file has a random stream of its own, so its content does not depend on the schedule.
            let random = fastrand::Rng::with_seed(plan.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ index as u64);
            Ok(Writer { path, file, random, written: 0 })
        });
        Ok(SimulatedFiles { plan: plan.clone(), writers: writers.collect::<io::Result<_>>()? })
    }

    /// The files' paths.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.writers.iter().map(|writer| writer.path.clone()).collect()
    }

    /// Starts the thread that writes each line when it is due.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(self, origin: Instant) -> io::Result<SimulatedWriters> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("writers".to_owned()).spawn(move || self.run(origin, &stopped))?;
        Ok(SimulatedWriters { thread, stop })
    }

    /// Writes every line at once, without waiting.
    ///
    /// # Errors
    /// When a write fails.
    pub fn fill(mut self) -> io::Result<()> {
        for writer in &mut self.writers {
            let mut out = io::BufWriter::new(&writer.file);
            for number in 0..self.plan.lines {
                out.write_all(&line(&writer.path, number, self.plan.letters, &mut writer.random))?;
            }
            out.flush()?;
        }
        Ok(())
    }

    fn run(mut self, origin: Instant, stop: &AtomicBool) -> io::Result<Appearances> {
        let mut appearances: Appearances = vec![Vec::new(); self.writers.len()];
        let start = Instant::now();
        let mut due: BinaryHeap<Reverse<(Duration, usize)>> = BinaryHeap::new();
        let max_wait = self.plan.max_wait;
        if self.plan.lines > 0 {
            for (index, writer) in self.writers.iter_mut().enumerate() {
                due.push(Reverse((wait(max_wait, &mut writer.random), index)));
            }
        }
        while let Some(Reverse((at, index))) = due.pop() {
            thread::sleep(at.saturating_sub(start.elapsed()));
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let writer = &mut self.writers[index];
            let line = line(&writer.path, writer.written, self.plan.letters, &mut writer.random);
            // Noted before the write: a reader can see the line before the call returns.
            appearances[index].push(origin.elapsed().as_nanos() as u64);
            writer.file.write_all(&line)?;
            writer.written += 1;
            if writer.written < self.plan.lines {
                due.push(Reverse((at + wait(max_wait, &mut writer.random), index)));
            }
        }
        Ok(appearances)
    }
}

impl SimulatedWriters {
    /// Whether every line is written.
    pub(crate) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Makes the writers stop before the next line.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits until the writers have written the last line or stopped. Blocking.
    ///
    /// # Errors
    /// When a write failed.
    pub(crate) fn join(self) -> io::Result<Appearances> {
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the writers' thread panicked")))
    }
}

fn wait(most: Duration, random: &mut fastrand::Rng) -> Duration {
    most.mul_f64(random.f64())
}

/// `<path>-<number>-<letters>` and a newline.
fn line(path: &Path, number: u64, letters: usize, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut line = path.as_os_str().as_encoded_bytes().to_vec();
    line.extend_from_slice(format!("-{number}-").as_bytes());
    line.extend((0..letters).map(|_| random.lowercase() as u8));
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64) -> Plan {
        Plan { inputs: 3, lines: 4, max_wait: Duration::from_micros(50), letters: 10, seed }
    }

    fn written(seed: u64) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let files = SimulatedFiles::create(folder.path(), &plan(seed)).unwrap();
        let paths = files.paths();
        let appearances = files.start(Instant::now()).unwrap().join().unwrap();
        assert!(appearances.iter().all(|at| at.len() == 4 && at.is_sorted()));
        let prefix = folder.path().to_str().unwrap();
        paths.iter().map(|path| std::fs::read_to_string(path).unwrap().replace(prefix, "")).collect()
    }

    #[test]
    fn a_seed_repeats_every_byte() {
        assert_eq!(written(1), written(1));
        assert_ne!(written(1), written(2));
    }

    #[test]
    fn lines_have_path_number_and_letters() {
        let files = written(1);
        let third = files[1].lines().nth(2).unwrap();
        let letters = third.strip_prefix("/input-1-2-").unwrap();
        assert!(letters.len() == 10 && letters.bytes().all(|b| b.is_ascii_lowercase()), "{third}");
        assert!(files.iter().all(|file| file.lines().count() == 4 && file.ends_with('\n')));
    }

    #[test]
    fn a_stop_ends_it_before_the_next_line() {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan { lines: 1_000_000, max_wait: Duration::from_millis(20), ..plan(1) };
        let writers = SimulatedFiles::create(folder.path(), &plan).unwrap().start(Instant::now()).unwrap();
        writers.stop();
        assert!(writers.join().unwrap().iter().all(|at| at.len() < 1_000));
    }
}
