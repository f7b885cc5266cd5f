//! Tokio's io_uring: whether this build has one, and what became of it in a run. Tokio falls back to its blocking pool without a
//! word where the kernel refuses a ring, so the kernel is asked.

use std::fmt;
use std::fs;
use std::io;

/// Whether Tokio was built so that it can use a ring.
pub const IS_BUILT: bool = cfg!(target_os = "linux") && pollscope_probe::TOKIO_UNSTABLE;

/// The rings that this process has open, by file descriptor.
#[derive(Debug, Clone)]
pub struct Rings(Result<Vec<String>, String>);

/// What became of the ring that a runtime may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ring {
    /// Tokio set one up, and the kernel completed so many calls in it, where it says how many.
    Used(Option<u64>),
    /// None was set up, and the kernel gives none: why.
    Refused(String),
    /// None was set up, though the kernel would have given one: nothing was asked of it.
    Unused,
    /// This could not be found out: why.
    Unknown(String),
}

const FDS: &str = "/proc/self/fd";

impl Rings {
    /// Those that are open now.
    pub fn now() -> Rings {
        Rings(open_rings().map_err(|error| format!("cannot read `{FDS}`: {error}")))
    }

    /// What became of a ring that was not there then. To be asked while its runtime is.
    pub fn since(&self) -> Ring {
        let (then, now) = match (&self.0, Rings::now().0) {
            (Ok(then), Ok(now)) => (then, now),
            (Err(why), _) => return Ring::Unknown(why.clone()),
            (_, Err(why)) => return Ring::Unknown(why),
        };
        match now.iter().find(|fd| !then.contains(fd)) {
            Some(fd) => Ring::Used(completed(fd)),
            None => match try_one() {
                Ok(()) => Ring::Unused,
                Err(error) => Ring::Refused(refusal(&error)),
            },
        }
    }
}

impl fmt::Display for Ring {
    /// A phrase for a report's coverage.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pool = "every write, sync and close was a call on tokio's blocking pool";
        match self {
            Ring::Used(Some(1)) => {
                write!(f, "what the kernel did in tokio's io_uring: 1 call, which opened the output; {pool}")
            }
            Ring::Used(Some(calls)) => write!(f, "what the kernel did in tokio's io_uring: {calls} calls"),
            Ring::Used(None) => f.write_str("what the kernel did in tokio's io_uring: it does not say how many calls"),
            Ring::Refused(why) => write!(
                f,
                "tokio's io_uring was not used, as the kernel refuses one ({why}): the output was opened on tokio's blocking \
                 pool, and written there as always"
            ),
            Ring::Unused => f.write_str("tokio's io_uring was not used: nothing was asked of it"),
            Ring::Unknown(why) => write!(f, "whether tokio's io_uring was used is not known: {why}"),
        }
    }
}

fn open_rings() -> io::Result<Vec<String>> {
    let is_ring =
        |fd: &fs::DirEntry| fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == "anon_inode:[io_uring]");
    let fds = fs::read_dir(FDS)?.flatten().filter(is_ring);
    Ok(fds.map(|fd| fd.file_name().to_string_lossy().into_owned()).collect())
}

/// How many calls were completed in a ring: its completion queue's tail only ever grows.
fn completed(fd: &str) -> Option<u64> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    info.lines().find_map(|line| line.strip_prefix("CqTail:"))?.trim().parse().ok()
}

#[cfg(target_os = "linux")]
fn try_one() -> io::Result<()> {
    io_uring::IoUring::new(1).map(drop)
}

#[cfg(not(target_os = "linux"))]
fn try_one() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What the kernel said, and the setting that makes it say so.
fn refusal(error: &io::Error) -> String {
    let setting = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    match setting.trim() {
        "" | "0" => format!("io_uring_setup: {error}"),
        other => format!("io_uring_setup: {error}; kernel.io_uring_disabled is {other}"),
    }
}
