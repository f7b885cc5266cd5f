//! Looks at idle files for the tails that wait for a change. One thread does it for all tails: handing each look to the blocking pool
//! costs thirty times as much as the look.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::file::Version;

/// Files that are due within this time share one round of looks.
const TOGETHER: Duration = Duration::from_millis(100);
/// The longest time between two looks at a file; otherwise a tenth of its idle time.
const LONGEST_PAUSE: Duration = Duration::from_millis(2_500);

/// Starts the thread when a tail begins to wait; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct IdleWatcher(Arc<Mutex<WaitList>>);

#[derive(Debug, Default)]
struct WaitList {
    waiting: Vec<WatchedFile>,
    is_running: bool,
}

#[derive(Debug)]
struct WatchedFile {
    path: PathBuf,
    version: Version,
    /// How long it had been idle when its tail began to wait.
    idle: Duration,
    since: Instant,
    due: Instant,
    wake: oneshot::Sender<()>,
}

impl IdleWatcher {
    /// Begins to watch a file that was idle for `idle`. The receiver gets a message when the name is another file's or the file is not
    /// in this version. `None` if the thread cannot be started: then nobody looks.
    pub(super) fn watch(&self, path: &Path, version: Version, idle: Duration) -> Option<oneshot::Receiver<()>> {
        let (wake, woken) = oneshot::channel();
        let since = Instant::now();
        let waiting = WatchedFile { path: path.to_owned(), version, idle, since, due: since, wake };
        let mut list = self.lock();
        if !list.is_running {
            let of_thread = self.clone();
            thread::Builder::new().name("idle-watcher".to_owned()).spawn(move || of_thread.run()).ok()?;
            list.is_running = true;
        }
        list.waiting.push(WatchedFile { due: since + waiting.pause(), ..waiting });
        Some(woken)
    }

    fn lock(&self) -> MutexGuard<'_, WaitList> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs until no tail waits.
    fn run(&self) {
        loop {
            thread::sleep(TOGETHER);
            let now = Instant::now();
            let due: Vec<WatchedFile> = {
                let mut list = self.lock();
                list.waiting.retain(|waiting| !waiting.wake.is_closed());
                if list.waiting.is_empty() {
                    list.is_running = false;
                    return;
                }
                list.waiting.extract_if(.., |waiting| waiting.due <= now).collect()
            };
            // Not under the lock: a look can take long, and a tail takes the lock on the loop.
            let as_before = due.into_iter().filter_map(|waiting| {
                if Version::of(&waiting.path) == waiting.version {
                    return Some(WatchedFile { due: now + waiting.pause(), ..waiting });
                }
                let _ = waiting.wake.send(());
                None
            });
            let as_before: Vec<WatchedFile> = as_before.collect();
            self.lock().waiting.extend(as_before);
        }
    }
}

impl WatchedFile {
    fn pause(&self) -> Duration {
        ((self.idle + self.since.elapsed()) / 10).min(LONGEST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_change_wakes_who_waits_and_the_thread_ends_with_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["grows", "replaced", "removed", "appears", "stays"].map(|name| folder.path().join(name));
        for path in &paths[..3] {
            fs::write(path, "a\n").unwrap();
        }
        fs::write(&paths[4], "a\n").unwrap();
        let watcher = IdleWatcher::default();
        let woken = paths.clone().map(|path| watcher.watch(&path, Version::of(&path), Duration::ZERO).unwrap());
        fs::write(&paths[0], "a\nb\n").unwrap();
        fs::write(folder.path().join("new"), "a\n").unwrap();
        fs::rename(folder.path().join("new"), &paths[1]).unwrap();
        fs::remove_file(&paths[2]).unwrap();
        fs::write(&paths[3], "a\n").unwrap();
        let [grows, replaced, removed, appears, mut stays] = woken;
        for woken in [grows, replaced, removed, appears] {
            assert_eq!(woken.blocking_recv(), Ok(()));
        }
        assert_eq!(stays.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        drop(stays);
        while watcher.lock().is_running {
            thread::yield_now();
        }
        assert!(watcher.watch(&paths[0], Version::of(&paths[0]), Duration::ZERO).is_some(), "it starts again");
    }
}
