//! Learns of changes of files from inotify, so that a tail that waits for new data need not look, and no file that takes an input's
//! name goes unnoticed.
//!
//! A thread of its own reads the events. When a file takes an input's name, it opens the file at once, before another renaming; it
//! reads nothing. A tail that looks reads the events that there are by itself, so that a look is never behind them. What inotify does
//! not tell (a queue that overflowed, another computer's changes), tails find later by looking, or record as a possible loss.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use pollscope_base::reason;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::{Errno, ioctl_fionread};
use tokio::sync::Notify;

use super::arrivals::{Arrivals, NameEvent, NewFiles};
use super::file::{Identity, find_at, folder_of, identity, open_folder};

/// The room for events that one read takes.
const ROOM: usize = 16 << 10;
/// The most events that are read before they are looked at, so that files are opened soon.
const MOST_TOGETHER: usize = 64;

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

/// What inotify knows since the last [`NameWatch::take`].
#[derive(Debug, Default)]
pub(super) struct NameNews {
    pub(super) new: NewFiles,
    /// Whether events were lost.
    pub(super) has_overflowed: bool,
    /// Whether the folder was moved.
    pub(super) folder_moved: bool,
    /// Why inotify tells nothing any more.
    pub(super) broken: Option<String>,
}

#[derive(Debug)]
struct Watches {
    inotify: OwnedFd,
    table: Mutex<WatchTable>,
}

/// What each watch descriptor stands for.
#[derive(Debug, Default)]
struct WatchTable {
    folders: HashMap<i32, WatchedFolder>,
    /// By the watch of a file.
    files: HashMap<i32, Arc<WatchedInput>>,
    all: Vec<Arc<WatchedInput>>,
    /// Why events cannot be read any more.
    broken: Option<String>,
}

#[derive(Debug)]
struct WatchedFolder {
    /// Names are opened in this folder, whatever its own name leads to now.
    folder: OwnedFd,
    identity: Identity,
    /// By their names in the folder.
    inputs: HashMap<OsString, Vec<Arc<WatchedInput>>>,
    /// The same by other names, which their former files have now.
    places: HashMap<OsString, Vec<Arc<WatchedInput>>>,
    /// Those of which files are to be looked at again when there is no event left.
    doubtful: Vec<Arc<WatchedInput>>,
    /// Those of which a file is between two names.
    moving: Vec<(u32, Arc<WatchedInput>)>,
}

#[derive(Debug)]
struct WatchedInput {
    path: PathBuf,
    name: OsString,
    /// The watch of its folder, and what it told.
    arrivals: Mutex<(i32, Arrivals)>,
    has_overflowed: AtomicBool,
    folder_moved: AtomicBool,
    changed: Notify,
}

impl Inotify {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the kernel gives this user no inotify instance, or no thread.
    pub(super) fn start() -> io::Result<Inotify> {
        let inotify = Inotify::without_thread()?;
        let (watches, stop) = (Arc::clone(&inotify.watches), Arc::clone(&inotify.stop.0));
        let wait = |fds: &mut [PollFd<'_>]| poll(fds, None);
        thread::Builder::new().name("inotify".to_owned()).spawn(move || watches.run(&stop, wait))?;
        Ok(inotify)
    }

    /// The same without a thread: events are read when a [`NameWatch`] is asked for them.
    ///
    /// # Errors
    /// When the kernel gives this user no inotify instance.
    pub(super) fn without_thread() -> io::Result<Inotify> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let watches = Arc::new(Watches { inotify, table: Mutex::default() });
        Ok(Inotify { watches, stop: Arc::new(StopSignal(stop)) })
    }

    /// Loses all events that nobody has read, as a queue that is full does.
    #[cfg(test)]
    pub(super) fn lose_events(&self) {
        let mut table = self.watches.table();
        let mut lost = WatchTable::default();
        self.watches.read(&mut lost);
        table.overflow();
    }

    /// Watches nothing any more: those who watched are gone.
    #[cfg(test)]
    pub(super) fn forget(&self) {
        let before = std::mem::take(&mut *self.watches.table());
        for wd in before.folders.into_keys().chain(before.files.into_keys()) {
            // Those of deleted files are gone by themselves.
            let _ = inotify::remove_watch(&self.watches.inotify, wd);
        }
    }

    /// Begins to watch a name, of which this file is known.
    ///
    /// # Errors
    /// When the kernel cannot watch it, or reached the user's limit (`fs.inotify.max_user_watches`).
    pub(super) fn watch(&self, path: &Path, known: Identity) -> io::Result<NameWatch> {
        let name = path.file_name().ok_or(Errno::INVAL)?.to_owned();
        let arrivals = Mutex::new((-1, Arrivals::new(&name)));
        let (path, changed) = (path.to_owned(), Notify::new());
        let (has_overflowed, folder_moved) = Default::default();
        let input = Arc::new(WatchedInput { path, name, arrivals, has_overflowed, folder_moved, changed });
        let (watches, _stop) = (Arc::clone(&self.watches), Arc::clone(&self.stop));
        let watch = NameWatch { watches, input, _stop };
        watch.watch_folder(known)?;
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

    /// Reads the events that there are, as the thread does.
    #[cfg(test)]
    pub(super) fn read(&self) {
        self.watches.read(&mut self.watches.table());
    }

    /// Reads the events that there are, and takes what they told.
    pub(super) fn take(&self) -> NameNews {
        let mut table = self.watches.table();
        self.watches.read(&mut table);
        let broken = table.broken.clone();
        let mut of = self.input.arrivals();
        let (wd, arrivals) = &mut *of;
        let new = match table.folders.get(wd) {
            Some(folder) => arrivals.take(&|name| find_at(folder.folder.as_fd(), name, || true)),
            None => NewFiles::default(),
        };
        let is_set = |flag: &AtomicBool| flag.swap(false, Ordering::Relaxed);
        let (has_overflowed, folder_moved) = (is_set(&self.input.has_overflowed), is_set(&self.input.folder_moved));
        NameNews { new, has_overflowed, folder_moved, broken }
    }

    /// Whether an event told that this file took the name.
    pub(super) fn knows(&self, identity: Identity) -> bool {
        self.input.arrivals().1.knows(identity)
    }

    /// Whether events leave this file with the name.
    pub(super) fn is_at_name(&self, identity: Identity) -> bool {
        self.input.arrivals().1.is_at_name(identity)
    }

    /// Takes note of a file that has the name, of which no event told.
    pub(super) fn begin_with(&self, known: Identity) {
        let is_link = self.input.path.is_symlink();
        self.input.arrivals().1.begin_with(known, is_link);
    }

    /// Whether the folder that has the name is watched.
    pub(super) fn is_watching(&self, folder: Identity) -> bool {
        let table = self.watches.table();
        table.folders.get(&self.input.arrivals().0).is_some_and(|watched| watched.identity == folder)
    }

    /// Watches the folder that has the name now. The file that it held is known.
    ///
    /// # Errors
    /// When the kernel cannot watch it.
    pub(super) fn watch_folder(&self, known: Identity) -> io::Result<()> {
        let path = folder_of(&self.input.path);
        let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM | WatchFlags::DELETE;
        let flags = flags | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
        // Under the lock, since events are looked up in the table.
        let mut table = self.watches.table();
        // What happened before, while others watched it, is not this input's.
        self.watches.read(&mut table);
        let (folder, found) = open_folder(path)?;
        let wd = inotify::add_watch(&self.watches.inotify, path, flags)?;
        if identity(&path.metadata()?) != found {
            return Err(io::Error::other("its folder is being replaced"));
        }
        let mut of = self.input.arrivals();
        if let Some(before) = table.folders.get_mut(&of.0)
            && before.forget(&self.input)
        {
            // Its last event removes it from the table.
            let _ = inotify::remove_watch(&self.watches.inotify, of.0);
        }
        let (inputs, places) = (HashMap::new(), HashMap::new());
        let (doubtful, moving) = (Vec::new(), Vec::new());
        let new = || WatchedFolder { folder, identity: found, inputs, places, doubtful, moving };
        let watched = table.folders.entry(wd).or_insert_with(new);
        watched.inputs.entry(self.input.name.clone()).or_default().push(Arc::clone(&self.input));
        *of = (wd, Arrivals::new(&self.input.name));
        if self.input.path.metadata().is_ok_and(|metadata| identity(&metadata) == known) {
            of.1.begin_with(known, self.input.path.is_symlink());
        }
        drop(of);
        if !table.all.iter().any(|input| Arc::ptr_eq(input, &self.input)) {
            table.all.push(Arc::clone(&self.input));
        }
        Ok(())
    }

    /// Watches the file that has the name now.
    ///
    /// # Errors
    /// When the kernel cannot; then its tail notices new data by looking.
    pub(super) fn watch_file(&self) -> io::Result<()> {
        let mut table = self.watches.table();
        let flags = WatchFlags::MODIFY | WatchFlags::ATTRIB;
        let wd = inotify::add_watch(&self.watches.inotify, &self.input.path, flags)?;
        table.files.insert(wd, Arc::clone(&self.input));
        Ok(())
    }
}

impl WatchedInput {
    fn arrivals(&self) -> MutexGuard<'_, (i32, Arrivals)> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WatchedFolder {
    /// Whether nobody is left.
    fn forget(&mut self, input: &Arc<WatchedInput>) -> bool {
        let is_other = |other: &Arc<WatchedInput>| !Arc::ptr_eq(other, input);
        for of in [&mut self.inputs, &mut self.places] {
            of.retain(|_, inputs| {
                inputs.retain(is_other);
                !inputs.is_empty()
            });
        }
        self.doubtful.retain(is_other);
        self.moving.retain(|(_, other)| is_other(other));
        self.inputs.is_empty()
    }

    /// Tells those that have to do with a name what happened to it.
    fn happened(&mut self, wd: i32, name: &OsStr, event: NameEvent, is_last: &dyn Fn() -> bool) {
        let mut concerned = self.inputs.get(name).cloned().unwrap_or_default();
        let mut add = |input: Arc<WatchedInput>| {
            if !concerned.iter().any(|other| Arc::ptr_eq(other, &input)) {
                concerned.push(input);
            }
        };
        self.places.remove(name).into_iter().flatten().for_each(&mut add);
        if let NameEvent::MovedTo { cookie, .. } = event {
            self.moving.extract_if(.., |(of, _)| *of == cookie).for_each(|(_, input)| add(input));
        }
        for input in concerned {
            let mut of = input.arrivals();
            if of.0 != wd {
                continue;
            }
            of.1.happened(name, event, &|name| find_at(self.folder.as_fd(), name, is_last));
            if let NameEvent::MovedFrom { cookie } = event
                && of.1.waits_for(cookie)
            {
                self.moving.push((cookie, Arc::clone(&input)));
            }
            if *name != *input.name && of.1.places().any(|place| place == name) {
                self.places.entry(name.to_owned()).or_default().push(Arc::clone(&input));
            }
            let is_doubtful = of.1.is_doubtful();
            drop(of);
            input.changed.notify_one();
            if is_doubtful && !self.doubtful.iter().any(|other| Arc::ptr_eq(other, &input)) {
                self.doubtful.push(input);
            }
        }
        // A file that left the folder has no second event.
        if self.moving.len() > self.inputs.len() + MOST_MOVING {
            self.moving.remove(0);
        }
    }
}

/// The most renamings to remember beside one for each input.
const MOST_MOVING: usize = 256;

impl WatchTable {
    fn wake_all(&self) {
        self.all.iter().for_each(|input| input.changed.notify_one());
    }

    /// Takes an event. `is_last` tells whether there is no other by now.
    fn happened(&mut self, event: &QueuedEvent, is_last: &dyn Fn() -> bool) {
        let QueuedEvent { wd, kind, cookie, .. } = *event;
        if kind.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.overflow();
        } else if kind.contains(ReadFlags::IGNORED) {
            self.files.remove(&wd);
            if self.folders.remove(&wd).is_some() {
                self.wake_all();
                // Those that go on find another folder.
                self.all.retain(|input| input.arrivals().0 != wd);
            }
        } else if kind.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT) {
            if let Some(folder) = self.folders.get(&wd) {
                let inputs = folder.inputs.values().flatten();
                inputs.for_each(|input| input.folder_moved.store(true, Ordering::Relaxed));
            }
            self.wake_all();
        } else if let Some(name) = &event.name {
            let is_folder = kind.contains(ReadFlags::ISDIR);
            let event = match kind {
                _ if kind.contains(ReadFlags::CREATE) => NameEvent::Created { is_folder },
                _ if kind.contains(ReadFlags::MOVED_TO) => NameEvent::MovedTo { cookie, is_folder },
                _ if kind.contains(ReadFlags::MOVED_FROM) => NameEvent::MovedFrom { cookie },
                _ => NameEvent::Deleted,
            };
            if let Some(folder) = self.folders.get_mut(&wd) {
                folder.happened(wd, name, event, is_last);
            }
        } else if let Some(input) = self.files.get(&wd) {
            input.changed.notify_one();
        }
    }

    /// Looks again at what was opened while there were more events.
    fn check(&mut self) {
        for folder in self.folders.values_mut() {
            for input in folder.doubtful.drain(..) {
                input.arrivals().1.check(&|name| find_at(folder.folder.as_fd(), name, || true));
            }
        }
    }

    /// Events were lost: all tails look, and say what they do not know.
    fn overflow(&mut self) {
        for input in &self.all {
            input.arrivals().1.lose_track();
            input.has_overflowed.store(true, Ordering::Relaxed);
        }
        for folder in self.folders.values_mut() {
            folder.places.clear();
            folder.moving.clear();
        }
        self.wake_all();
    }
}

impl Watches {
    fn table(&self) -> MutexGuard<'_, WatchTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads events until `stop` is readable, or they cannot be waited for or read.
    fn run(&self, stop: &OwnedFd, wait: impl Fn(&mut [PollFd<'_>]) -> rustix::io::Result<usize>) {
        loop {
            let mut fds = [PollFd::new(&self.inotify, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
            let polled = wait(&mut fds);
            let mut table = self.table();
            match polled {
                Err(Errno::INTR) => continue,
                Err(error) => table.broken = Some(format!("its events cannot be waited for: {}", reason(error))),
                Ok(_) if !fds[1].revents().is_empty() => return,
                Ok(_) => self.read(&mut table),
            }
            if table.broken.is_some() {
                return table.wake_all();
            }
        }
    }

    /// Takes all pending events.
    fn read(&self, table: &mut WatchTable) {
        loop {
            let events = match self.pending() {
                Ok(events) if events.is_empty() => return table.check(),
                Ok(events) => events,
                Err(error) => {
                    table.broken = Some(format!("its events cannot be read: {}", reason(error)));
                    return;
                }
            };
            let nothing_waits = || ioctl_fionread(&self.inotify).is_ok_and(|waiting| waiting == 0);
            for (index, event) in events.iter().enumerate() {
                table.happened(event, &|| index + 1 == events.len() && nothing_waits());
            }
        }
    }

    fn pending(&self) -> rustix::io::Result<Vec<QueuedEvent>> {
        let mut buffer = [MaybeUninit::uninit(); ROOM];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut pending = Vec::new();
        while pending.len() < MOST_TOGETHER {
            match events.next() {
                Ok(event) => pending.push(QueuedEvent {
                    wd: event.wd(),
                    kind: event.events(),
                    cookie: event.cookie(),
                    name: event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned()),
                }),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error),
            }
        }
        // The reader may have more of them, and they must not be lost.
        while !events.is_buffer_empty() {
            let event = events.next()?;
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned());
            pending.push(QueuedEvent { wd: event.wd(), kind: event.events(), cookie: event.cookie(), name });
        }
        Ok(pending)
    }
}

/// An event that was read.
#[derive(Debug)]
struct QueuedEvent {
    wd: i32,
    kind: ReadFlags,
    cookie: u32,
    name: Option<OsString>,
}

#[cfg(test)]
mod tests;
