//! A service that runs and listens: where, and how to get its feed.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use pollscope_base::reason;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, geteuid, pidfd_open};

use crate::escape::escape_path;

/// Why there is no feed of a process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant's message says when it happens")]
pub enum NoFeed {
    #[error(
        "cannot read from process `{pid}`: there is none{}; `pgrep -a NAME` tells numbers",
        .left.as_deref().map(left_behind).unwrap_or_default()
    )]
    NoProcess { pid: u32, left: Option<PathBuf> },
    #[error("cannot read from process `{pid}`: it is of the user {owner}; do it as that user, or as root")]
    Foreign { pid: u32, owner: u32 },
    #[error(
        "cannot read from process `{pid}`: it does not listen{}; give it pollscope-probe with the feature `record`, let \
         `ProbeBuilder::from_env()` build its runtime, and start it with `POLLSCOPE=1 POLLSCOPE_LISTEN=1`; `pollscope record {pid}` \
         looks at it as it is",
        .left.as_deref().map(left_behind).unwrap_or_default()
    )]
    Silent { pid: u32, left: Option<PathBuf> },
    #[error("cannot read from process `{pid}`: {why}; try again when one of them is done")]
    Refused { pid: u32, why: String },
    #[error("cannot read from process `{pid}`: its socket `{}`: {}; is its probe still there?", escape_path(.path), reason(.error))]
    Connect {
        pid: u32,
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("cannot read from process `{pid}`: {}; look whether `/proc` is mounted", reason(.error))]
    Hidden {
        pid: u32,
        #[source]
        error: io::Error,
    },
}

fn left_behind(path: &Path) -> String {
    format!(", but one of that number was killed and left its socket `{}` behind", escape_path(path))
}

/// A process, for as long as it is the same.
#[derive(Debug)]
pub(crate) struct Service {
    pid: u32,
    /// Tells when it ends; its number alone may be another's by then.
    process: OwnedFd,
}

impl Service {
    /// The process with that number.
    ///
    /// # Errors
    /// There is none, or it is another user's.
    pub(crate) fn find(pid: u32) -> Result<Service, NoFeed> {
        let none = || NoFeed::NoProcess { pid, left: left(pid) };
        let of = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(none)?;
        let process = pidfd_open(of, PidfdFlags::empty()).map_err(|error| match error {
            rustix::io::Errno::SRCH | rustix::io::Errno::INVAL => none(),
            error => NoFeed::Hidden { pid, error: error.into() },
        })?;
        let service = Service { pid, process };
        let owner = fs::metadata(format!("/proc/{pid}")).map(|of| of.uid());
        match owner {
            _ if service.is_gone() => Err(none()),
            Ok(owner) if !may_read(owner, geteuid().as_raw()) => Err(NoFeed::Foreign { pid, owner }),
            Ok(_) => Ok(service),
            Err(error) => Err(NoFeed::Hidden { pid, error }),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has ended.
    pub(crate) fn is_gone(&self) -> bool {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.process, PollFlags::IN)], Some(&at_once)).is_ok_and(|ended| ended > 0)
    }

    /// The sockets that it listens on, one a probe.
    ///
    /// # Errors
    /// What it has open cannot be found out.
    pub(crate) fn sockets(&self) -> Result<Vec<PathBuf>, NoFeed> {
        let pid = self.pid;
        let table = match fs::read(format!("/proc/{pid}/net/unix")) {
            Ok(table) => table,
            // Its part of `/proc` goes a little before it does.
            Err(error) if self.is_gone() || error.kind() != io::ErrorKind::PermissionDenied => return Ok(Vec::new()),
            Err(error) => return Err(NoFeed::Hidden { pid, error }),
        };
        let own = self.open_sockets();
        let is_its = |inode: u64, path: &Path| match &own {
            Some(own) => own.contains(&inode),
            // What it has open is hidden: its name tells.
            None => process(path) == Some(pid),
        };
        let listening = listening(&table).into_iter().filter(|(inode, path)| is_its(*inode, path));
        let mut paths: Vec<PathBuf> = listening.map(|(_, path)| path).collect();
        paths.sort();
        Ok(paths)
    }

    /// Which sockets it has open; `None` where that is hidden.
    fn open_sockets(&self) -> Option<Vec<u64>> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.pid)).ok()?;
        let links = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        let inode = |link: PathBuf| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
        Some(links.filter_map(inode).collect())
    }

    /// Why it has no socket.
    pub(crate) fn silent(&self) -> NoFeed {
        NoFeed::Silent { pid: self.pid, left: left(self.pid) }
    }

    /// Connects to one of its sockets.
    ///
    /// # Errors
    /// Nobody answers.
    pub(crate) fn connect(&self, path: &Path) -> Result<UnixStream, NoFeed> {
        // As it sees the path, in a container of its own say.
        let its = Path::new(&format!("/proc/{}/root", self.pid)).join(path.strip_prefix("/").unwrap_or(path));
        let stream = UnixStream::connect(its).or_else(|_| UnixStream::connect(path));
        stream.map_err(|error| NoFeed::Connect { pid: self.pid, path: path.to_owned(), error })
    }
}

/// Whether that user may read from a process of this owner: what the probe allows as well.
fn may_read(owner: u32, me: u32) -> bool {
    owner == me || me == 0
}

/// What listens in a table such as `/proc/net/unix`, of sockets that have a probe's name: inode and path.
fn listening(table: &[u8]) -> Vec<(u64, PathBuf)> {
    let lines = table.split(|byte| *byte == b'\n').skip(1);
    lines.filter_map(listens).filter(|(_, path)| process(path).is_some()).collect()
}

/// One line of it: number, references, protocol, flags, type, state, inode, path.
fn listens(line: &[u8]) -> Option<(u64, PathBuf)> {
    /// It takes connections.
    const ACCEPTS: u32 = 0x1_0000;
    let mut rest = line;
    let mut field = || {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        let (field, after) = rest.split_at(end);
        rest = after;
        std::str::from_utf8(field).ok()
    };
    let [_, _, _, flags, _, _, inode] = [(); 7].map(|()| field());
    let (flags, inode) = (u32::from_str_radix(flags?, 16).ok()?, inode?.parse().ok()?);
    let path = Path::new(std::ffi::OsStr::from_bytes(rest.trim_ascii_start()));
    (flags & ACCEPTS != 0).then(|| (inode, path.to_owned()))
}

/// Whose socket it is, by its name: `pollscope-PID-NUMBER.sock`.
fn process(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?;
    let (pid, number) = name.strip_prefix("pollscope-")?.strip_suffix(".sock")?.split_once('-')?;
    number.parse::<u64>().ok().and(pid.parse().ok())
}

/// A socket's file of a process with that number that no longer is, in the usual folders.
fn left(pid: u32) -> Option<PathBuf> {
    let me = geteuid().as_raw();
    let of_session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let folders = of_session.into_iter().chain([std::env::temp_dir().join(format!("pollscope-{me}"))]);
    let files = folders.filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    files.map(|file| file.path()).find(|path| process(path) == Some(pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_is_found_in_the_kernels_table() {
        let table = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 31337 /run/user/1000/pollscope-7-1.sock\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 31338 /run/user/1000/pollscope-7-1.sock\n\
            0000000000000000: 00000002 00000000 00010000 0001 01    42 /tmp/a b/pollscope-7-2.sock\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 31339 /run/other.sock\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 31340 @abstract\n\
            0000000000000000: 00000002 00000000 00010000 0005 01 31341\n\
            nonsense\n";
        let found = listening(table);
        let expected = [(31337, "/run/user/1000/pollscope-7-1.sock"), (42, "/tmp/a b/pollscope-7-2.sock")];
        assert_eq!(found, expected.map(|(inode, path)| (inode, PathBuf::from(path))));
    }

    #[test]
    fn another_user_reads_nothing() {
        assert!(may_read(1_000, 1_000) && may_read(1_000, 0));
        assert!(!may_read(1_000, 1_001) && !may_read(0, 1_000));
    }

    #[test]
    fn a_name_tells_the_process() {
        assert_eq!(process(Path::new("/x/pollscope-12-3.sock")), Some(12));
        for name in ["pollscope-12.sock", "pollscope-a-1.sock", "pollscope-1-1.sock.old", "other-1-1.sock"] {
            assert_eq!(process(Path::new(name)), None, "{name}");
        }
    }

    #[test]
    fn what_is_not_there_is_said() {
        let none = Service::find(u32::MAX).expect_err("no such process").to_string();
        assert!(none.starts_with("cannot read from process `4294967295`: there is none; "), "{none}");
        let this = Service::find(std::process::id()).expect("it is this one");
        assert!(!this.is_gone());
        assert!(this.silent().to_string().contains("it does not listen"));
    }
}
