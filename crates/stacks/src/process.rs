//! Which process is looked at.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::core_file::{CoreFile, Opened};
use crate::proc_file::{ProcFile, ReadError, StateError};

/// The number that no process has, so that `/proc` tells nothing under it.
const NOBODY: u32 = 0;

/// A process: this one, or another of the same user.
///
/// A number alone is not enough: the kernel gives that of a process that ended to another one. So this has the time of its start as
/// well, and what is read of another process counts only if that is still the same afterwards: see [`Process::confirm`].
///
/// ```
/// use pollscope_stacks::process::Process;
/// let process = Process::current();
/// assert!(process.is_own());
/// # if pollscope_stacks::SUPPORTED {
/// assert_eq!(Process::open(std::process::id()).unwrap(), process);
/// assert_eq!(process.exe().unwrap(), std::env::current_exe().unwrap());
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Process {
    pid: u32,
    start_ticks: Option<u64>,
    is_own: bool,
    /// What it left, if it is one that ended.
    core: Option<Opened>,
}

impl Process {
    /// The process that asks. Reads once when it began, so keep the answer.
    pub fn current() -> Process {
        // Its number as `/proc` counts, which may be mounted from outside a container. Where it tells nothing, looks say so.
        let told = fs::read("/proc/self/stat").ok().and_then(|stat| parse(&stat));
        match told {
            Some((pid, start_ticks)) => Process { pid, start_ticks: Some(start_ticks), is_own: true, core: None },
            None => Process { pid: std::process::id(), start_ticks: None, is_own: true, core: None },
        }
    }

    /// The process that has this number now.
    ///
    /// # Errors
    /// As [`read_state`](crate::thread::read_state): there is none, or it is hidden.
    pub fn open(pid: u32) -> Result<Process, ReadError> {
        let own = Process::current();
        if own.pid == pid {
            return Ok(own);
        }
        Ok(Process { pid, start_ticks: Some(start_ticks(pid)?), is_own: false, core: None })
    }

    /// The process that left this. The core file stays open for the rest of the program, and none of what `/proc` tells is read of it.
    pub fn of_core(core: CoreFile) -> Process {
        Process { pid: NOBODY, start_ticks: None, is_own: false, core: Some(Opened(Box::leak(Box::new(core)))) }
    }

    /// What it left, if it is one that ended.
    pub fn core(&self) -> Option<&'static CoreFile> {
        self.core.map(|opened| opened.0)
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.core().map_or(self.pid, CoreFile::pid)
    }

    /// When it began, in the kernel's ticks since the machine did; `None` where `/proc` does not tell this process of itself.
    pub fn start_ticks(&self) -> Option<u64> {
        self.start_ticks
    }

    /// Whether it is the one that asks.
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    /// The program's file, as the kernel names it now; one that was removed or replaced ends in ` (deleted)`.
    ///
    /// # Errors
    /// When the process is gone, or not ours to look at.
    pub fn exe(&self) -> io::Result<PathBuf> {
        if let Some(core) = self.core() {
            return core.program().map(Path::to_owned).ok_or_else(|| io::ErrorKind::NotFound.into());
        }
        fs::read_link(self.file("exe").to_string())
    }

    /// The folder that it runs in.
    ///
    /// # Errors
    /// When it is gone, or not ours to look at.
    pub fn current_folder(&self) -> io::Result<PathBuf> {
        if self.is_own { std::env::current_dir() } else { fs::read_link(self.file("cwd").to_string()) }
    }

    /// Whether it is still the same: what was read of its files up to now is this process's, and not that of one that was given
    /// its number since. Of the own process that is so, and costs nothing.
    ///
    /// # Errors
    /// `NotFound` once it ended.
    pub fn confirm(&self) -> Result<(), ReadError> {
        if self.is_own || self.core.is_some() || self.start_ticks == Some(start_ticks(self.pid)?) {
            return Ok(());
        }
        Err(ReadError { file: self.file("stat"), why: StateError::NotFound })
    }

    /// One of its files in `/proc`.
    pub(crate) fn file(&self, name: &'static str) -> ProcFile {
        ProcFile::of_process(self.pid, name)
    }

    pub(crate) fn file_of_thread(&self, tid: u32, name: &'static str) -> ProcFile {
        ProcFile::of_thread(self.pid, tid, name)
    }
}

fn start_ticks(pid: u32) -> Result<u64, ReadError> {
    let file = ProcFile::of_process(pid, "stat");
    if cfg!(not(supported)) {
        return Err(ReadError { file, why: StateError::Unsupported });
    }
    let stat = fs::read(file.to_string()).map_err(|error| ReadError { file, why: error.into() })?;
    parse(&stat).map(|(_, ticks)| ticks).ok_or(ReadError { file, why: StateError::Unrecognised })
}

/// The first and the 22nd field of `stat`. The second one is a name in parentheses, in which anything can be.
fn parse(stat: &[u8]) -> Option<(u32, u64)> {
    const AFTER_THE_NAME: usize = 19;
    let stat = String::from_utf8_lossy(stat);
    let (pid, _) = stat.split_once(' ')?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some((pid.parse().ok()?, fields.split_ascii_whitespace().nth(AFTER_THE_NAME)?.parse().ok()?))
}

#[cfg(all(test, supported))]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::thread::read_state;

    #[test]
    fn a_name_hides_nothing() {
        let stat = b"42 (a) R (\xff) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        assert_eq!(parse(stat), Some((42, 4711)));
        assert_eq!(parse(b"42 (a) S 1"), None);
    }

    #[test]
    fn a_number_that_another_process_has_now_is_not_the_process() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("`sleep` runs");
        let process = Process::open(child.id()).expect("it runs");
        assert!(!process.is_own() && process.start_ticks() >= Process::current().start_ticks());
        assert_eq!(process.confirm(), Ok(()));
        let before = Process { start_ticks: process.start_ticks.map(|ticks| ticks - 1), ..process };
        let gone = ReadError { file: process.file("stat"), why: StateError::NotFound };
        assert_eq!(before.confirm(), Err(gone));
        assert_eq!(read_state(&before.thread(child.id())), Err(gone), "its number alone leads to another's thread");
        assert!(crate::maps::Maps::read(&before).is_err());
        child.kill().expect("it ran");
        child.wait().expect("it ran");
        assert_eq!(process.confirm(), Err(gone));
        let here = 7_u64;
        assert_eq!(crate::memory::read(&process, &raw const here as u64, &mut [0; 8]), 0);
        let path = format!("/proc/{}/stat", child.id());
        assert!(gone.to_string().contains(&format!("`{path}`")), "{gone}");
    }
}
