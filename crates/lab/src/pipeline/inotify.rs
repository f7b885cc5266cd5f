//! Learns of changes of files from inotify, so that a tail that waits for new data need not look.
//!
//! A thread of its own reads the events. When a file takes an input's name, it opens the file at once, before another renaming; it
//! reads nothing. What inotify misses, tails find later by looking.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::sync::Notify;

use super::file::{Identity, folder_of, identity, open_file};

/// The most files that wait for an input after they took its name.
const MOST_WAITING: usize = 64;

/// Owns the thread that reads the events; the thread ends when this and every [`NameWatch`] are dropped.
#[derive(Debug)]
pub(super) struct Inotify {
    watches: Arc<Watches>,
    stop: Arc<StopSignal>,
}

/// The watch of one input: of its name and of the file that has the name.
#[derive(Debug, Clone)]
pub(super) struct NameWatch {
    watches: Arc<Watches>,
    input: Arc<WatchedInput>,
    _stop: Arc<StopSignal>,
}

/// Ends the thread when it is dropped.
#[derive(Debug)]
struct StopSignal(Arc<OwnedFd>);

/// The files that took an input's name since the last [`NameWatch::take`].
#[derive(Debug, Default)]
pub(super) struct NewFiles {
    /// Opened, in the order in which they took the name.
    pub(super) files: Vec<File>,
    /// The number of files that were gone before the thread could open them.
    pub(super) missed: u64,
}

#[derive(Debug)]
struct Watches {
    inotify: OwnedFd,
    table: Mutex<WatchTable>,
}

/// What each watch descriptor stands for.
#[derive(Debug, Default)]
struct WatchTable {
    /// By the watch of a folder and a name in it.
    names: HashMap<(i32, OsString), Vec<Arc<WatchedInput>>>,
    /// By the watch of a file.
    files: HashMap<i32, Arc<WatchedInput>>,
    all: Vec<Arc<WatchedInput>>,
}

#[derive(Debug)]
struct WatchedInput {
    path: PathBuf,
    arrivals: Mutex<Arrivals>,
    changed: Notify,
}

/// What happened to a name since the last [`NameWatch::take`].
#[derive(Debug, Default)]
struct Arrivals {
    files: Vec<File>,
    /// Their identities.
    opened: Vec<Identity>,
    /// How often a file took the name.
    count: u64,
}

impl Inotify {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the kernel gives this user no inotify instance, or no thread.
    pub(super) fn start() -> io::Result<Inotify> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let watches = Arc::new(Watches { inotify, table: Mutex::default() });
        let (of_thread, stopped) = (Arc::clone(&watches), Arc::clone(&stop));
        thread::Builder::new().name("inotify".to_owned()).spawn(move || of_thread.run(&stopped))?;
        Ok(Inotify { watches, stop: Arc::new(StopSignal(stop)) })
    }

    /// Begins to watch a name and the file that has it.
    ///
    /// # Errors
    /// When the kernel cannot watch it, or reached the user's limit (`fs.inotify.max_user_watches`).
    pub(super) fn watch(&self, path: &Path) -> io::Result<NameWatch> {
        let input = WatchedInput { path: path.to_owned(), arrivals: Mutex::default(), changed: Notify::new() };
        let watches = Arc::clone(&self.watches);
        let watch = NameWatch { watches, input: Arc::new(input), _stop: Arc::clone(&self.stop) };
        let name = path.file_name().ok_or(Errno::INVAL)?.to_owned();
        // Under the lock, since the thread looks things up in the table.
        let mut table = self.watches.table();
        let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM | WatchFlags::DELETE;
        let wd = inotify::add_watch(&self.watches.inotify, folder_of(path), flags | WatchFlags::ONLYDIR)?;
        table.names.entry((wd, name)).or_default().push(Arc::clone(&watch.input));
        table.all.push(Arc::clone(&watch.input));
        drop(table);
        watch.watches.watch_file(&watch.input)?;
        Ok(watch)
    }
}

impl Drop for StopSignal {
    fn drop(&mut self) {
        // The thread ends by itself; nothing joins it.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }
}

impl NameWatch {
    /// Waits until something has changed since the last wait.
    pub(super) async fn changed(&self) {
        self.input.changed.notified().await;
    }

    pub(super) fn take(&self) -> NewFiles {
        let Arrivals { files, opened, count } = std::mem::take(&mut *self.input.arrivals());
        NewFiles { files, missed: count.saturating_sub(opened.len() as u64) }
    }

    /// Watches the file that has the name now. If that fails, its tail notices new data by looking.
    pub(super) fn watch_file(&self) {
        let _ = self.watches.watch_file(&self.input);
    }
}

impl WatchedInput {
    fn arrivals(&self) -> MutexGuard<'_, Arrivals> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the file that took the name or had it, if it is still at `path`.
    fn open(&self, path: &Path, is_arrival: bool) {
        let opened = open_file(path).and_then(|file| Ok((identity(&file.metadata()?), file)));
        let mut arrivals = self.arrivals();
        match opened {
            // A file that cannot be opened and a dangling link are no arrivals: the look at the name says why.
            Err(error) if error.kind() != io::ErrorKind::NotFound || path.is_symlink() => return,
            Ok((identity, file)) if arrivals.files.len() < MOST_WAITING && !arrivals.opened.contains(&identity) => {
                arrivals.files.push(file);
                arrivals.opened.push(identity);
            }
            // It is gone, or another file took its place: then `count` exceeds the number of files.
            Ok(_) | Err(_) => {}
        }
        arrivals.count += u64::from(is_arrival);
    }
}

impl Watches {
    fn table(&self) -> MutexGuard<'_, WatchTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch_file(&self, input: &Arc<WatchedInput>) -> io::Result<()> {
        let mut table = self.table();
        let wd = inotify::add_watch(&self.inotify, &input.path, WatchFlags::MODIFY | WatchFlags::ATTRIB)?;
        table.files.insert(wd, Arc::clone(input));
        Ok(())
    }

    fn run(&self, stop: &OwnedFd) {
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut moved = None;
        loop {
            let mut fds = [PollFd::new(&self.inotify, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
            match poll(&mut fds, None) {
                Err(Errno::INTR) => continue,
                Err(_) => return,
                Ok(_) if !fds[1].revents().is_empty() => return,
                Ok(_) => self.read(&mut buffer, &mut moved),
            }
        }
    }

    /// Reads all pending events. `moved` has the cookie of a renaming and the inputs whose file lost the name; the event that says where
    /// the file went comes next, perhaps in a later call.
    fn read(&self, buffer: &mut [MaybeUninit<u8>], moved: &mut Option<(u32, Vec<Arc<WatchedInput>>)>) {
        let mut events = inotify::Reader::new(&self.inotify, buffer);
        while let Ok(event) = events.next() {
            let kind = event.events();
            let mut table = self.table();
            if kind.contains(ReadFlags::QUEUE_OVERFLOW) {
                // Any event may have been lost, so all tails look.
                table.all.iter().for_each(|input| input.changed.notify_one());
                continue;
            }
            if kind.contains(ReadFlags::IGNORED) {
                table.files.remove(&event.wd());
                continue;
            }
            let Some(name) = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes())) else {
                if let Some(input) = table.files.get(&event.wd()) {
                    input.changed.notify_one();
                }
                continue;
            };
            let inputs = table.names.get(&(event.wd(), name.to_owned())).cloned().unwrap_or_default();
            drop(table);
            if kind.contains(ReadFlags::MOVED_TO)
                && let Some((cookie, inputs)) = moved.take()
                && cookie == event.cookie()
            {
                // It had the name. If no tail knows it, it had the name only for a moment.
                for input in inputs {
                    input.open(&input.path.with_file_name(name), false);
                    input.changed.notify_one();
                }
            }
            for input in &inputs {
                if kind.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
                    input.open(&input.path, true);
                }
                input.changed.notify_one();
            }
            if kind.contains(ReadFlags::MOVED_FROM) && !inputs.is_empty() {
                *moved = Some((event.cookie(), inputs));
            }
        }
    }
}
