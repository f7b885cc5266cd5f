//! A file descriptor of a process, and where it leads; a path that a call was given, and which folder that is meant from.

use std::path::{Path, PathBuf};

use super::arguments;
use super::peer::{self, Peer};
use crate::process::Process;

/// `AT_FDCWD`: a path is meant from the current folder on.
pub(super) const CURRENT_FOLDER: i32 = -100;

/// A file descriptor, or the current folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Its number; the kernel's -100 is the current folder.
    pub fd: i32,
    /// Where it leads: a path, `pipe:[12345]`, `socket:[12345]`, `anon_inode:[eventpoll]`; `None` where that is not known.
    pub path: Option<PathBuf>,
    /// The other end of a socket; `None` where it has none, or that is not known.
    pub peer: Option<Peer>,
}

impl Descriptor {
    /// One of which only the number is known.
    pub(super) fn unknown(fd: i32) -> Descriptor {
        Descriptor { fd, path: None, peer: None }
    }

    /// Finds out where it leads now.
    pub(super) fn locate(process: &Process, fd: i32) -> Descriptor {
        let path = link(process, fd);
        let inode = path.as_deref().and_then(peer::inode);
        Descriptor { fd, peer: inode.and_then(|_| peer::of_own(process, fd, path.as_deref())), path }
    }
}

/// Where a descriptor leads, or the current folder.
pub(super) fn link(process: &Process, fd: i32) -> Option<PathBuf> {
    let link = match fd {
        CURRENT_FOLDER => process.file("cwd").to_string(),
        fd => format!("{}/{fd}", process.file("fd")),
    };
    std::fs::read_link(link).ok()
}

/// A path that a call was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// As it was given; never empty.
    pub path: PathBuf,
    /// The folder that it is meant from; `None` where it is absolute.
    pub folder: Option<Descriptor>,
}

impl Given {
    /// The path in memory that is meant from that folder, if it is not absolute. `None` where it cannot be read.
    /// An empty one is none: then the call works on the folder's descriptor itself.
    pub(super) fn read(process: &Process, address: u64, folder: i32, is_rooted_there: bool) -> Option<GivenOrFolder> {
        let path = arguments::path(process, address)?;
        let is_absolute = path.as_os_str().as_encoded_bytes().first() == Some(&b'/') && !is_rooted_there;
        let folder = || Descriptor::locate(process, folder);
        Some(match path.as_os_str().is_empty() {
            true => GivenOrFolder::Folder(folder()),
            false => GivenOrFolder::Given(Given { folder: (!is_absolute).then(folder), path }),
        })
    }

    /// From the root on, where the folder's path is known for sure; otherwise as it was given.
    pub(super) fn whole(&self) -> PathBuf {
        /// What the kernel says of one that was removed, whose path means nothing any more.
        const REMOVED: &[u8] = b" (deleted)";
        let is_there = |path: &&Path| !path.as_os_str().as_encoded_bytes().ends_with(REMOVED);
        let folder = self.folder.as_ref().and_then(|folder| folder.path.as_deref()).filter(is_there);
        // `join` would let go of the folder for a path that begins with a slash and is yet meant from it.
        let below = self.path.strip_prefix("/").unwrap_or(&self.path);
        folder.map_or_else(|| self.path.clone(), |folder| folder.join(below))
    }
}

/// What a path argument says.
pub(super) enum GivenOrFolder {
    Given(Given),
    Folder(Descriptor),
}

#[cfg(all(test, supported))]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    fn read(bytes: &[u8], folder: i32, is_rooted_there: bool) -> GivenOrFolder {
        Given::read(&Process::current(), bytes.as_ptr() as u64, folder, is_rooted_there).expect("it can be read")
    }

    #[track_caller]
    fn given(bytes: &[u8], folder: i32, is_rooted_there: bool) -> Given {
        match read(bytes, folder, is_rooted_there) {
            GivenOrFolder::Given(given) => given,
            GivenOrFolder::Folder(folder) => panic!("{folder:?}"),
        }
    }

    #[test]
    fn an_absolute_path_has_no_folder_and_another_one_has_that_which_it_is_meant_from() {
        let (folder, here) = (tempfile::tempdir().unwrap(), std::env::current_dir().unwrap());
        let opened = std::fs::File::open(folder.path()).unwrap();
        let absolute = given(b"/a/b\0", opened.as_raw_fd(), false);
        assert_eq!((absolute.folder.as_ref(), absolute.whole()), (None, "/a/b".into()));
        let relative = given(b"a/b\0", opened.as_raw_fd(), false);
        assert_eq!(relative.whole(), folder.path().join("a/b"));
        assert_eq!(given(b"../a\0", CURRENT_FOLDER, false).whole(), here.join("../a"));
        assert_eq!(given(b"/a\0", opened.as_raw_fd(), true).whole(), folder.path().join("a"), "RESOLVE_IN_ROOT");
        assert_eq!(given(b"a\0", 99_999, false).whole(), Path::new("a"), "nobody knows the folder");
        std::fs::remove_dir(folder.path()).unwrap();
        assert_eq!(given(b"a\0", opened.as_raw_fd(), false).whole(), Path::new("a"), "it was removed");
    }

    #[test]
    fn an_empty_path_is_the_descriptor_itself() {
        let file = std::fs::File::open("/proc/self/maps").unwrap();
        let GivenOrFolder::Folder(itself) = read(b"\0", file.as_raw_fd(), false) else { panic!("a path") };
        assert!(itself.path.unwrap().ends_with("maps"));
    }
}
