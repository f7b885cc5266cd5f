//! The file that a name leads to, and whether it can be followed.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Which file it is: device and inode.
pub(super) type Identity = (u64, u64);

/// A file's own times of change: of its content, then of its inode, each in seconds and nanoseconds.
pub(super) type Times = (i64, i64, i64, i64);

pub(super) fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

pub(super) fn times(metadata: &Metadata) -> Times {
    (metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec())
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
