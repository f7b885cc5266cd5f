//! What a tail waits for until its input may have changed: inotify, the idle watcher, a FIFO's writer, or time.

use std::fs::File;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::sync::{oneshot, watch};
use tokio::time::sleep;

use super::idle_watcher::IdleWatcher;
use super::inotify::NameWatch;
use super::input::{IdleInput, Input};

/// The longest sleep after a long time without new data, and while the idle watcher looks; unless the tail's interval is longer.
const LONGEST_SLEEP: Duration = Duration::from_millis(2_500);
const LONGEST_SLEEP_IF_WATCHED: Duration = Duration::from_secs(60);
/// The time without new data after which the idle watcher looks.
const IDLE: Duration = Duration::from_secs(1);

/// A FIFO that may have data.
pub(super) type Readiness<'a> = AsyncFdReadyGuard<'a, Arc<File>>;

/// What can wake one input's tail.
#[derive(Debug)]
pub(super) struct WakeSources {
    path: PathBuf,
    interval: Duration,
    fifo: Option<AsyncFd<Arc<File>>>,
    name_watch: Option<NameWatch>,
    idle_watcher: IdleWatcher,
}

impl WakeSources {
    /// Must be called on a runtime.
    pub(super) fn new(input: &Input, interval: Duration, idle_watcher: IdleWatcher) -> WakeSources {
        // If the runtime cannot tell when it is ready, the tail looks at it as at a file.
        #[expect(deprecated, reason = "its successor wants a promise that an open file keeps by itself")]
        let fifo = input.fifo().and_then(|fifo| AsyncFd::with_interest(Arc::clone(fifo), Interest::READABLE).ok());
        let name_watch = input.name_watch().cloned();
        WakeSources { path: input.path().to_owned(), interval, fifo, name_watch, idle_watcher }
    }

    /// Before a look at a FIFO: waits until it may have data. Data that comes after the look then wakes the next wait.
    pub(super) async fn until_readable(&self, closed: &mut watch::Receiver<bool>) -> Option<Readiness<'_>> {
        let fifo = self.fifo.as_ref()?;
        tokio::select! {
            _ = closed.wait_for(|&closed| closed) => None,
            () = sleep(LONGEST_SLEEP) => None,
            ready = fifo.readable() => ready.ok(),
        }
    }

    /// After a look that found nothing: waits until something may have changed.
    pub(super) async fn until_changed(
        &self,
        readiness: Option<Readiness<'_>>,
        idle: IdleInput,
        closed: &mut watch::Receiver<bool>,
    ) {
        if let Some(mut readiness) = readiness {
            readiness.clear_ready();
            // Without writers it is always ready.
            if !readiness.ready().is_read_closed() {
                return;
            }
        }
        let version = idle.version.filter(|_| idle.duration >= IDLE.max(self.interval));
        let watched = version.and_then(|version| self.idle_watcher.watch(&self.path, version, idle.duration));
        let asleep = match watched {
            Some(_) => LONGEST_SLEEP_IF_WATCHED,
            None => (idle.duration / 10).min(LONGEST_SLEEP),
        };
        tokio::select! {
            // An error means that the closing end is gone: that is a close.
            _ = closed.wait_for(|&closed| closed) => {}
            () = sleep(asleep.max(self.interval)) => {}
            () = woken_by_inotify(self.name_watch.as_ref()) => {}
            () = woken_by_idle_watcher(watched) => {}
        }
    }
}

async fn woken_by_inotify(name_watch: Option<&NameWatch>) {
    match name_watch {
        Some(name_watch) => name_watch.changed().await,
        None => pending().await,
    }
}

async fn woken_by_idle_watcher(watched: Option<oneshot::Receiver<()>>) {
    match watched {
        // An error means that the thread has ended; then the tail looks, too.
        Some(watched) => drop(watched.await),
        None => pending().await,
    }
}
