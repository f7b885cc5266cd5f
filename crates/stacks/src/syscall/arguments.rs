//! What arguments of a system call point to, copied as stacks are: paths, addresses, times. Never what is read and written.

use std::path::PathBuf;

use crate::memory;
use crate::process::Process;

/// `PATH_MAX`: the kernel takes none that is longer, the end that is no character included.
const LONGEST_PATH: usize = 4096;

/// So many bytes at an address; `None` where they cannot all be read.
pub(super) fn bytes<const LENGTH: usize>(process: &Process, address: u64) -> Option<[u8; LENGTH]> {
    let mut copy = [0; LENGTH];
    (memory::read(process, address, &mut copy) == LENGTH).then_some(copy)
}

/// The 64-bit number at an offset of a structure.
pub(super) fn word(structure: &[u8], offset: usize) -> Option<u64> {
    structure.get(offset..offset.checked_add(8)?)?.try_into().ok().map(u64::from_ne_bytes)
}

/// The path at an address, empty for none (`NULL`). `None` where it cannot be read to its end, or is longer than the kernel takes.
pub(super) fn path(process: &Process, address: u64) -> Option<PathBuf> {
    if address == 0 {
        return Some(PathBuf::new());
    }
    let mut copy = [0; LONGEST_PATH];
    // Memory may end behind the path's page.
    let length = memory::read(process, address, &mut copy);
    let end = copy[..length].iter().position(|byte| *byte == 0)?;
    path_of(&copy[..end])
}

/// Whether `openat2` takes the folder for the root; `None` where what it was told cannot be read.
pub(super) fn opens_below_its_folder(process: &Process, how: u64) -> Option<bool> {
    const RESOLVE_IN_ROOT: u64 = 0x10;
    let how = bytes::<24>(process, how)?;
    Some(word(&how, 16)? & RESOLVE_IN_ROOT != 0)
}

/// A path by its bytes, which need not be text.
#[cfg(unix)]
pub(super) fn path_of(bytes: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt as _;
    Some(std::ffi::OsStr::from_bytes(bytes).into())
}

#[cfg(not(unix))]
pub(super) fn path_of(bytes: &[u8]) -> Option<PathBuf> {
    std::str::from_utf8(bytes).ok().map(PathBuf::from)
}

#[cfg(all(test, supported))]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;
    use crate::memory::tests::two_pages;

    #[test]
    fn a_path_ends_at_its_end_and_is_none_without_one() {
        let own = Process::current();
        let at = |bytes: &[u8]| path(&own, bytes.as_ptr() as u64);
        assert_eq!(at(b"/etc/hosts\0/more"), Some("/etc/hosts".into()));
        assert_eq!(at(b"\0"), Some(PathBuf::new()));
        assert_eq!(at(b"caf\xe9\xff\0").unwrap().as_os_str().as_bytes(), b"caf\xe9\xff");
        assert_eq!(path(&own, 0), Some(PathBuf::new()), "NULL");
        assert_eq!(path(&own, 8), None, "nothing is there");
        assert_eq!(path(&own, u64::MAX - 2), None);
        let mut long = vec![b'x'; 2 * LONGEST_PATH];
        long[LONGEST_PATH - 1] = 0;
        assert_eq!(at(&long).map(|path| path.as_os_str().len()), Some(LONGEST_PATH - 1));
        long[LONGEST_PATH - 1] = b'x';
        long[LONGEST_PATH] = 0;
        assert_eq!(at(&long), None, "longer than the kernel takes");
    }

    /// The second page cannot be read: what ends before it is whole, what does not is nothing.
    #[test]
    fn a_path_may_end_where_the_memory_does() {
        let (start, own) = (two_pages(), Process::current());
        let end = start + 4096;
        // SAFETY: the first page is this test's alone, and the six bytes are its last ones.
        let write = |bytes: &[u8; 6]| unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), (end - 6) as *mut u8, 6) };
        write(b"/a/bc\0");
        assert_eq!(path(&own, end - 6), Some("/a/bc".into()));
        write(b"/a/bcd");
        assert_eq!(path(&own, end - 6), None);
        assert_eq!(bytes::<6>(&own, end - 6).as_ref(), Some(b"/a/bcd"));
        assert_eq!(bytes::<7>(&own, end - 6), None);
    }
}
