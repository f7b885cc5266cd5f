//! The file that a name leads to, and whether it can be followed.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::clock;

/// Which file it is: device and inode.
pub(super) type Identity = (u64, u64);

/// A file's own times of change: of its content, then of its inode.
pub(super) type Times = (SystemTime, SystemTime);

pub(super) fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

pub(super) fn times(metadata: &Metadata) -> Times {
    (clock::modified(metadata), clock::changed(metadata))
}

/// The file that has a name, its length and its times of change; `None` if there is no file or it cannot be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version(Option<(Identity, u64, Times)>);

impl Version {
    /// The version of a file that was looked at.
    pub(super) fn new(identity: Identity, len: u64, times: Times) -> Version {
        Version(Some((identity, len, times)))
    }

    /// The present version, from the file system. Blocking.
    pub(super) fn of(path: &Path) -> Version {
        Version(path.metadata().ok().map(|metadata| (identity(&metadata), metadata.len(), times(&metadata))))
    }
}

/// Opens a file to read it; never waits, even for a FIFO's writer.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32).open(path)
}

/// What is at a name.
#[derive(Debug)]
pub(super) enum Found {
    File {
        file: File,
        identity: Identity,
        is_link: bool,
        /// Whether the name is its own, as far as events tell: there are none that nobody has read.
        is_current: bool,
    },
    /// A device, a socket, a link that leads nowhere: it has no lines.
    NoLines(Identity),
    /// Nothing, or a folder, for which there is another event; or a file that cannot be opened now.
    Nothing,
}

/// Opens a folder to find names in it, and says which one it is.
pub(super) fn open_folder(path: &Path) -> io::Result<(OwnedFd, Identity)> {
    let folder = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let found = rustix::fs::fstat(&folder)?;
    Ok((folder, (found.st_dev, found.st_ino)))
}

/// Opens the file that has a name in a folder, as [`open_file`] does. `is_current` is asked after that.
pub(super) fn find_at(folder: BorrowedFd<'_>, name: &OsStr, is_current: impl Fn() -> bool) -> Found {
    let is_link = |stat: &rustix::fs::Stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink();
    let Ok(at) = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else { return Found::Nothing };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NXIO) => return Found::NoLines((at.st_dev, at.st_ino)),
        Err(Errno::NOENT | Errno::LOOP) if is_link(&at) => return Found::NoLines((at.st_dev, at.st_ino)),
        Err(_) => return Found::Nothing,
    };
    match file.metadata() {
        Ok(metadata) if metadata.is_dir() && !is_link(&at) => Found::Nothing,
        Ok(metadata) if special_kind(&metadata).is_some() => Found::NoLines((at.st_dev, at.st_ino)),
        Ok(metadata) => {
            Found::File { file, identity: identity(&metadata), is_link: is_link(&at), is_current: is_current() }
        }
        Err(_) => Found::Nothing,
    }
}

/// The kind of a file that cannot be followed: neither a regular file nor a FIFO.
pub(super) fn special_kind(metadata: &Metadata) -> Option<&'static str> {
    match metadata.file_type() {
        kind if kind.is_file() || kind.is_fifo() => None,
        kind if kind.is_dir() => Some("directory"),
        kind if kind.is_socket() => Some("socket"),
        _ => Some("device"),
    }
}

/// Whether a file that claims to be empty has bytes. Its tail would wait for new data forever.
pub(super) fn hides_its_length(file: &File) -> io::Result<bool> {
    let read = file.read_at(&mut [0], 0)?;
    // It may have grown since the caller asked for its length.
    Ok(read > 0 && file.metadata()?.len() == 0)
}

/// The folder of a name.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
