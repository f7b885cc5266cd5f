//! The files in which the kernel tells of a process and its threads, and why one cannot be read.

use std::fmt;
use std::io;

/// A file in which the kernel tells of a process or of a thread; its `Display` is the whole path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcFile {
    pid: u32,
    tid: Option<u32>,
    name: &'static str,
}

impl ProcFile {
    pub(crate) fn of_process(pid: u32, name: &'static str) -> ProcFile {
        ProcFile { pid, tid: None, name }
    }

    pub(crate) fn of_thread(pid: u32, tid: u32, name: &'static str) -> ProcFile {
        ProcFile { pid, tid: Some(tid), name }
    }

    /// Whose it is, in words.
    fn owner(&self) -> &'static str {
        if self.tid.is_some() { "the thread" } else { "the process" }
    }
}

impl fmt::Display for ProcFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProcFile { pid, name, .. } = self;
        match self.tid {
            Some(tid) => write!(f, "/proc/{pid}/task/{tid}/{name}"),
            None => write!(f, "/proc/{pid}/{name}"),
        }
    }
}

/// Why a thread could not be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateError {
    /// Not Linux on x86-64.
    Unsupported,
    /// There is no such thread: it ended, or `/proc` hides it (`hidepid=`), or is not mounted.
    NotFound,
    /// The kernel does not let this user look: another user's process, one that is not dumpable, or a container's rule.
    Denied,
    /// The process, or the system, has no file descriptor left to read with.
    NoDescriptor,
    /// Another error of reading.
    Unreadable(io::ErrorKind),
    /// The kernel's answer has another form than is known here.
    Unrecognised,
}

/// A file of a thread or of its process that could not be read, and why.
///
/// ```
/// use pollscope_stacks::{process::Process, thread::read_state};
/// let nobody = Process::current().thread(u32::MAX >> 1);
/// let error = read_state(&nobody).unwrap_err().to_string();
/// # if pollscope_stacks::SUPPORTED {
/// let path = format!("/proc/{}/task/{}/syscall", std::process::id(), nobody.tid);
/// assert_eq!(error, format!("cannot read `{path}`: the thread ended, or `/proc` hides it"));
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadError {
    /// The file that was asked for.
    pub file: ProcFile,
    /// Why.
    pub why: StateError,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = &self.file;
        match self.why {
            StateError::Unsupported => f.write_str("cannot look at threads: only on Linux on x86-64"),
            StateError::NotFound => write!(f, "cannot read `{file}`: {} ended, or `/proc` hides it", file.owner()),
            StateError::Denied => write!(f, "cannot read `{file}`: permission denied: run as the same user"),
            StateError::NoDescriptor => write!(f, "cannot read `{file}`: too many open files"),
            StateError::Unreadable(kind) => write!(f, "cannot read `{file}`: {kind}"),
            StateError::Unrecognised => write!(f, "cannot read `{file}`: its form is unknown"),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<io::Error> for StateError {
    fn from(error: io::Error) -> StateError {
        // A thread that ends while its file is open answers ESRCH, which has no `ErrorKind`.
        const ESRCH: i32 = 3;
        match error.kind() {
            _ if error.raw_os_error() == Some(ESRCH) => StateError::NotFound,
            _ if is_for_want_of_descriptors(&error) => StateError::NoDescriptor,
            io::ErrorKind::NotFound => StateError::NotFound,
            io::ErrorKind::PermissionDenied => StateError::Denied,
            kind => StateError::Unreadable(kind),
        }
    }
}

/// Whether too many files are open, in the process or in the system.
///
/// ```
/// use std::io::Error;
/// use pollscope_stacks::thread::is_for_want_of_descriptors;
/// # if cfg!(unix) {
/// assert!(is_for_want_of_descriptors(&Error::from_raw_os_error(24)), "EMFILE");
/// # }
/// assert!(!is_for_want_of_descriptors(&Error::from_raw_os_error(2)));
/// ```
pub fn is_for_want_of_descriptors(error: &io::Error) -> bool {
    // Neither has an `ErrorKind`.
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}
