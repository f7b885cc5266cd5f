//! A thread that is looked at again and again.

use super::open_file::OpenFile;
use super::{ReadError, Schedule, State, StateError, ThreadRef, parse_schedule, parse_state};

/// Reads one thread's [`State`] and [`Schedule`] again and again, each with one system call: its files stay open, two of them.
///
/// A thread that ended is never mistaken for a later one of the same number, nor its process for a later one.
///
/// ```
/// # #[cfg(supported)] {
/// use pollscope_stacks::thread::{State, StateError, ThreadRef, Watched};
/// let (tell, hear) = std::sync::mpsc::channel();
/// let (go_on, wait) = std::sync::mpsc::channel::<()>();
/// let thread = std::thread::spawn(move || (tell.send(ThreadRef::current()).unwrap(), wait.recv()));
/// let watched = Watched::open(&hear.recv().unwrap()).unwrap();
/// while watched.state().unwrap() == State::Running {}
/// assert!(watched.schedule().unwrap().unwrap().slices > 0);
/// drop(go_on);
/// thread.join().unwrap();
/// // The kernel takes a moment longer than `join`.
/// while !watched.state().is_err_and(|error| error.why == StateError::NotFound) {}
/// # }
/// ```
#[derive(Debug)]
pub struct Watched {
    syscall: OpenFile,
    /// `None` where the kernel does not count how threads are scheduled.
    schedstat: Option<OpenFile>,
}

impl Watched {
    /// Opens the thread's files.
    ///
    /// # Errors
    /// As [`read_state`](super::read_state).
    pub fn open(thread: &ThreadRef) -> Result<Watched, ReadError> {
        let syscall = OpenFile::open(thread, "syscall")?;
        let schedstat = match OpenFile::open(thread, "schedstat") {
            Ok(opened) => Some(opened),
            // Unless it is the thread that is gone, which the other file then says.
            Err(error) if error.why == StateError::NotFound => None,
            Err(error) => return Err(error),
        };
        let opened = Watched { syscall, schedstat };
        opened.state()?;
        // Opened of this process, they stay this process's.
        thread.process.confirm()?;
        Ok(opened)
    }

    /// What it is doing right now.
    ///
    /// # Errors
    /// [`StateError::NotFound`] once the thread ended; others as of [`read_state`](super::read_state).
    pub fn state(&self) -> Result<State, ReadError> {
        self.syscall.read_again(&mut [0; 256], parse_state)
    }

    /// How it was scheduled up to now; `None` where the kernel does not count that.
    ///
    /// # Errors
    /// As [`Watched::state`].
    pub fn schedule(&self) -> Result<Option<Schedule>, ReadError> {
        self.schedstat.as_ref().map(|opened| opened.read_again(&mut [0; 128], parse_schedule)).transpose()
    }
}
