//! Copies memory of a process, this one or another: at most a few pages of stack at a time, as the unwinder asks.

use crate::process::Process;
use crate::unwind::Memory;

/// How much is copied when an address is first asked for: enough for most stacks.
const STEP: u64 = 16 << 10;
/// A page: memory is there or not there page by page.
const PAGE: u64 = 4 << 10;
/// No more of one stack is copied.
pub const MOST: u64 = 256 << 10;

/// Reads memory of a process at an address. Returns how many bytes could be read, from the first on; 0 when the
/// address is not mapped, the process is gone, or the kernel does not permit it.
///
/// ```
/// # #[cfg(supported)] {
/// use pollscope_stacks::{memory, process::Process};
/// let (process, secret) = (Process::current(), 42_u64);
/// let mut copy = [0; 8];
/// assert_eq!(memory::read(&process, &raw const secret as u64, &mut copy), 8);
/// assert_eq!(u64::from_ne_bytes(copy), 42);
/// assert_eq!(memory::read(&process, 8, &mut copy), 0);
/// # }
/// ```
pub fn read(process: &Process, address: u64, into: &mut [u8]) -> usize {
    os::read(process, address, into)
}

#[cfg(supported)]
mod os {
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;

    use super::{PAGE, Process};
    use crate::seccomp;

    /// Pages in one call.
    const MOST_PAGES: usize = 64;

    pub(super) fn read(process: &Process, address: u64, into: &mut [u8]) -> usize {
        let mut done = 0;
        while done < into.len() {
            let Some(next) = address.checked_add(done as u64) else { break };
            match read_pages(process, next, &mut into[done..]) {
                Some(0) => break,
                Some(more) => done += more,
                None => return done + read_file(process, next, &mut into[done..]),
            }
        }
        done
    }

    /// One call; `None` if the kernel has no such call or forbids it, or may end the process for it.
    fn read_pages(process: &Process, address: u64, into: &mut [u8]) -> Option<usize> {
        if !seccomp::may_call() {
            return None;
        }
        // By the number that the kernel knows it by, which need not be that of a `/proc` from outside.
        let pid = if process.is_own() { std::process::id() } else { process.pid() };
        // The kernel promises to tell how far it got only between elements: one element a page.
        let mut remote = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; MOST_PAGES];
        let mut pages = 0;
        let mut at = address;
        let mut left = into.len() as u64;
        while left > 0 && pages < MOST_PAGES {
            let length = left.min(PAGE - at % PAGE);
            remote[pages] = libc::iovec { iov_base: at as *mut libc::c_void, iov_len: length as usize };
            pages += 1;
            left -= length;
            at = at.wrapping_add(length);
        }
        let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
        // SAFETY: the kernel writes only into `local`, which is the exclusively borrowed `into`; the remote addresses it
        // checks itself and only reads from. Both counts are those of the arrays.
        let copied =
            unsafe { libc::process_vm_readv(pid.cast_signed(), &raw const local, 1, remote.as_ptr(), pages as u64, 0) };
        if let Ok(copied) = usize::try_from(copied) {
            return Some(copied);
        }
        match std::io::Error::last_os_error().raw_os_error() {
            Some(libc::ENOSYS | libc::EPERM) => None,
            _ => Some(0),
        }
    }

    /// The slower way, which some containers permit where they forbid the call.
    fn read_file(process: &Process, address: u64, into: &mut [u8]) -> usize {
        File::open(process.file("mem").to_string()).and_then(|memory| memory.read_at(into, address)).unwrap_or(0)
    }
}

#[cfg(not(supported))]
mod os {
    pub(super) fn read(_process: &super::Process, _address: u64, _into: &mut [u8]) -> usize {
        0
    }
}

/// Part of a stack.
#[derive(Debug)]
struct Piece {
    start: u64,
    bytes: Vec<u8>,
}

impl Piece {
    fn word(&self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.start)?).ok()?;
        self.bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
    }
}

/// A copy of a stack that grows as it is read, up to [`MOST`] bytes; code is read as it is, not copied.
#[derive(Debug)]
pub(crate) struct StackCopy {
    process: Process,
    pieces: Vec<Piece>,
    /// The piece that was last read from.
    last: usize,
    copied: u64,
}

impl StackCopy {
    pub(crate) fn new(process: Process) -> StackCopy {
        StackCopy { process, pieces: Vec::new(), last: 0, copied: 0 }
    }

    /// What was copied of an address, if it was.
    fn copied(&mut self, address: u64) -> Option<u64> {
        if let Some(word) = self.pieces.get(self.last).and_then(|piece| piece.word(address)) {
            return Some(word);
        }
        let found = self.pieces.iter().enumerate().find_map(|(index, piece)| Some((index, piece.word(address)?)));
        found.map(|(index, word)| {
            self.last = index;
            word
        })
    }

    /// Copies the pages from the one with this address on; false when there is nothing more to be had.
    fn grow(&mut self, address: u64) -> bool {
        let start = address - address % PAGE;
        let length = STEP.min(MOST - self.copied);
        if length == 0 {
            return false;
        }
        let mut bytes = vec![0; length as usize];
        let count = read(&self.process, start, &mut bytes);
        bytes.truncate(count);
        self.copied += count as u64;
        self.pieces.push(Piece { start, bytes });
        count as u64 > address - start
    }
}

impl Memory for StackCopy {
    fn stack(&mut self, address: u64) -> Option<u64> {
        if !address.is_multiple_of(8) {
            return None;
        }
        self.copied(address).or_else(|| if self.grow(address) { self.copied(address) } else { None })
    }

    fn code(&mut self, address: u64, into: &mut [u8]) -> usize {
        read(&self.process, address, into)
    }
}

#[cfg(all(test, supported))]
mod tests {
    use super::*;

    #[test]
    fn a_read_ends_where_the_memory_ends() {
        // SAFETY: a fresh anonymous mapping of two pages, the second taken away again; nothing else knows of it.
        let start = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let start = libc::mmap(std::ptr::null_mut(), 8192, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            assert_ne!(start, libc::MAP_FAILED);
            assert_eq!(libc::mprotect(start.byte_add(4096), 4096, libc::PROT_NONE), 0);
            start as u64
        };
        let (own, mut into) = (Process::current(), vec![1; 8192]);
        assert_eq!(read(&own, start, &mut into), 4096);
        assert_eq!(read(&own, start + 4090, &mut into), 6);
        assert_eq!(read(&own, start + 4096, &mut into), 0);

        let mut copy = StackCopy::new(Process::current());
        assert_eq!(copy.stack(start + 4088), Some(0));
        assert_eq!(copy.stack(start + 4092), None, "not a word's address");
        assert_eq!(copy.stack(start + 4096), None);
    }

    #[test]
    fn only_so_much_is_copied() {
        let large = vec![7_u64; (MOST as usize / 8) * 2];
        let start = large.as_ptr() as u64;
        let mut copy = StackCopy::new(Process::current());
        let words =
            (start..start + MOST * 2).step_by(8).filter(|address| copy.stack(*address) == Some(7)).count() as u64;
        assert!(words * 8 <= MOST && words * 8 > MOST - 2 * PAGE, "{words} words");
    }
}
