//! Where the socket is: in a folder that is the user's alone, under a name that has the process's number.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use pollscope_base::escape::Escaped;
use pollscope_base::reason;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Where a probe listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listen {
    /// In the user's own folder for such things.
    Usual,
    /// In this folder.
    In(PathBuf),
}

/// So many names are tried: probes of one process, and of processes with the same number in other containers.
const NAMES: u64 = 64;
/// So many files of a folder are looked at for sockets that others left.
const MOST_FILES: usize = 1_000;

/// A socket's file, which goes with it.
#[derive(Debug)]
pub(super) struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        // Where somebody removed it already, it is gone.
        let _ = fs::remove_file(&self.0);
    }
}

/// Listens on a socket of its own: that of the probe with this number. An error says why not, and what to do.
pub(super) fn listen(place: &Listen, number: u64) -> Result<(UnixListener, Socket), String> {
    let folder = folder(place)?;
    remove_stale(&folder);
    let unusable = |error: &io::Error| {
        let what = match error.kind() {
            ErrorKind::InvalidInput => "name a folder whose path is shorter",
            _ => "name another folder with `POLLSCOPE_LISTEN`",
        };
        format!("cannot listen in `{}`: {}; {what}", shown(&folder), reason(error))
    };
    for number in (number..).take(NAMES as usize) {
        let path = folder.join(format!("pollscope-{}-{number}.sock", std::process::id()));
        match bound(&path) {
            Ok(Some(listener)) => {
                let socket = Socket(path);
                let is_ours = fs::set_permissions(&socket.0, Permissions::from_mode(0o600));
                is_ours.and_then(|()| listener.set_nonblocking(true)).map_err(|error| unusable(&error))?;
                return Ok((listener, socket));
            }
            Ok(None) => {}
            Err(error) => return Err(unusable(&error)),
        }
    }
    Err(format!("cannot listen in `{}`: all names are taken; remove sockets that nobody needs", shown(&folder)))
}

/// A listener there, in the place of a socket that nobody listens on any more; `None` if somebody does.
fn bound(path: &Path) -> io::Result<Option<UnixListener>> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {}
        done => return done.map(Some),
    }
    if !is_stale(path) {
        return Ok(None);
    }
    fs::remove_file(path)?;
    UnixListener::bind(path).map(Some)
}

/// Whether it is a socket on which nobody listens.
fn is_stale(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refuses = || -> Result<bool, Errno> {
        // One whose queue is full must not be waited for.
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok(rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) == Err(Errno::CONNREFUSED))
    };
    is_socket && refuses().unwrap_or(false)
}

/// Removes sockets of processes that were killed.
fn remove_stale(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(MOST_FILES);
    for path in entries.map(|entry| entry.path()) {
        // One that is gone here may run in another container: somebody listens then.
        let is_gone = |pid: u32| !Path::new(&format!("/proc/{pid}")).exists();
        if process(&path).is_some_and(is_gone) && is_stale(&path) {
            let _ = fs::remove_file(path);
        }
    }
}

/// The process whose socket has that name.
fn process(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?;
    let (pid, number) = name.strip_prefix("pollscope-")?.strip_suffix(".sock")?.split_once('-')?;
    number.parse::<u64>().ok().and(pid.parse().ok())
}

/// The folder, which is made if need be.
fn folder(place: &Listen) -> Result<PathBuf, String> {
    let me = rustix::process::geteuid().as_raw();
    let (folder, is_asked) = match place {
        Listen::In(folder) => (std::path::absolute(folder).unwrap_or_else(|_| folder.clone()), true),
        Listen::Usual => {
            let of_session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
            // `sudo` may leave another user's.
            match of_session.filter(|folder| refusal_of(folder, me) == Ok(None)) {
                Some(folder) => return Ok(folder),
                None => (std::env::temp_dir().join(format!("pollscope-{me}")), false),
            }
        }
    };
    let unusable = |why: &str, what: &str| format!("cannot listen in `{}`: {why}; {what}", shown(&folder));
    let another = if is_asked { "name another folder" } else { "name a folder with `POLLSCOPE_LISTEN`" };
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(unusable(&reason(&error), &format!("{another} that can be made")));
        }
        _ => {}
    }
    match refusal_of(&folder, me) {
        Ok(None) => Ok(folder),
        Ok(Some(Refusal::Open(mode))) => {
            Err(unusable(&format!("others may use it (mode {mode:o})"), &format!("`chmod 700` it, or {another}")))
        }
        Ok(Some(Refusal::NoFolder)) => Err(unusable("it is no folder, but a link or a file", another)),
        Ok(Some(Refusal::Foreign(owner))) => Err(unusable(&format!("it is of the user {owner}"), another)),
        Err(error) => Err(unusable(&reason(error), another)),
    }
}

/// Why a folder is not to be used.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    NoFolder,
    /// Of another user, with this number.
    Foreign(u32),
    /// Others may read or write it: its mode.
    Open(u32),
}

/// What is there now. A link is none: somebody else might make it lead elsewhere.
fn refusal_of(folder: &Path, me: u32) -> Result<Option<Refusal>, ErrorKind> {
    let file = fs::symlink_metadata(folder).map_err(|error| error.kind())?;
    Ok(refusal(file.is_dir(), file.uid(), file.mode(), me))
}

fn refusal(is_folder: bool, owner: u32, mode: u32, me: u32) -> Option<Refusal> {
    match () {
        () if !is_folder => Some(Refusal::NoFolder),
        () if owner != me => Some(Refusal::Foreign(owner)),
        () if mode & 0o077 != 0 => Some(Refusal::Open(mode & 0o7777)),
        () => None,
    }
}

/// Whether a user may read what this one's service is doing: that user alone, and the one who can read everything.
pub(super) fn may_read(peer: u32, me: u32) -> bool {
    peer == me || peer == 0
}

fn shown(path: &Path) -> String {
    Escaped(&path.to_string_lossy()).to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_is_the_users_alone_or_refused() {
        assert_eq!(refusal(true, 1_000, 0o40_700, 1_000), None);
        assert_eq!(refusal(true, 1_000, 0o40_750, 1_000), Some(Refusal::Open(0o750)));
        assert_eq!(refusal(true, 1_000, 0o41_777, 1_000), Some(Refusal::Open(0o1777)));
        assert_eq!(refusal(true, 0, 0o40_700, 1_000), Some(Refusal::Foreign(0)));
        assert_eq!(refusal(true, 1_000, 0o40_700, 0), Some(Refusal::Foreign(1_000)), "of root as well");
        assert_eq!(refusal(false, 1_000, 0o120_700, 1_000), Some(Refusal::NoFolder));
    }

    #[test]
    fn only_the_user_and_root_read() {
        assert!(may_read(1_000, 1_000) && may_read(0, 1_000));
        assert!(!may_read(1_001, 1_000) && !may_read(1_000, 0));
    }

    #[test]
    fn what_is_in_the_way_is_said() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        fs::create_dir(at("open")).unwrap();
        fs::set_permissions(at("open"), Permissions::from_mode(0o755)).unwrap();
        fs::write(at("file"), "").unwrap();
        symlink(parent.path(), at("link")).unwrap();
        let long = "x".repeat(100);
        for (name, why) in [
            ("open", "others may use it (mode 755); `chmod 700` it, or name another folder"),
            ("file", "it is no folder, but a link or a file"),
            ("link", "it is no folder, but a link or a file"),
            ("no/such", "No such file or directory; name another folder that can be made"),
            (&long, "name a folder whose path is shorter"),
        ] {
            let error = listen(&Listen::In(at(name)), 1).map(drop).unwrap_err();
            assert!(error.starts_with("cannot listen in `") && error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_socket_that_nobody_listens_on_is_replaced_and_one_that_somebody_does_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("made");
        let names = || {
            let names = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<String> = names.collect();
            names.sort();
            names
        };
        let ours = |number| format!("pollscope-{}-{number}.sock", std::process::id());
        let (first, socket) = listen(&Listen::In(folder.clone()), 1).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        let second = listen(&Listen::In(folder.clone()), 1).unwrap();
        assert_eq!(names(), [ours(1), ours(2)]);
        // As of a process that was killed.
        std::mem::forget((socket, second.1));
        drop((first, second.0));
        for left in ["pollscope-4000000000-1.sock", "other.sock"] {
            drop(UnixListener::bind(folder.join(left)).unwrap());
        }
        let _again = listen(&Listen::In(folder.clone()), 1).unwrap();
        assert_eq!(names(), ["other.sock".to_owned(), ours(1), ours(2)], "its own is replaced, one of nobody removed");
        drop(_again);
        assert_eq!(names(), ["other.sock".to_owned(), ours(2)]);
    }
}
