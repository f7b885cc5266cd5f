//! Copies memory of a process, this one or another: a few pages of stack at a time, as the unwinder asks, and what arguments of
//! system calls point to.

use std::ops::Range;

use crate::process::Process;
use crate::unwind::Memory;

/// How much is copied when an address is first asked for: enough for most stacks.
const STEP: u64 = 16 << 10;
/// So many pieces of that size are held at a time, whatever the depth of a stack: its callers are further and further up.
const HELD: usize = 16;
/// A page: memory is there or not there page by page.
const PAGE: u64 = 4 << 10;
/// No more of one stack is copied: a main thread's stack is not larger by default.
pub const MOST: u64 = 8 << 20;

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
    match process.core() {
        Some(core) => core.read(address, into),
        None => os::read(process, address, into),
    }
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
    /// How many of the bytes were copied.
    length: usize,
    bytes: Vec<u8>,
}

impl Piece {
    fn word(&self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.start)?).ok()?;
        self.bytes[..self.length].get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
    }
}

/// The innermost part of a stack, as it was.
#[derive(Debug, Clone, Default)]
pub(crate) struct InnerStack {
    /// Where the whole stack is.
    range: Range<u64>,
    bytes: Vec<u8>,
}

impl InnerStack {
    /// So much is kept at most, in bytes.
    const MOST: usize = 256 << 10;
    /// The outermost frame that is kept may have so much, above its stack pointer.
    const FRAME: u64 = 16 << 10;

    /// Between the stack pointers of the innermost and the outermost frame, what `copy` writes of it; it says how many bytes.
    pub(crate) fn between(inner: u64, outer: u64, copy: impl FnOnce(u64, &mut [u8]) -> usize) -> InnerStack {
        let range = inner..outer.max(inner).saturating_add(InnerStack::FRAME);
        let length = range.end - range.start;
        let mut bytes = vec![0; InnerStack::MOST.min(usize::try_from(length).unwrap_or(InnerStack::MOST))];
        let count = copy(inner, &mut bytes);
        bytes.truncate(count);
        InnerStack { range, bytes }
    }

    /// What was at an address, up to the end of the copy: nothing where it was not copied. `None` if the stack is not there.
    pub(crate) fn bytes(&self, address: u64) -> Option<&[u8]> {
        let at = self.range.contains(&address).then(|| (address - self.range.start) as usize)?;
        Some(self.bytes.get(at..).unwrap_or_default())
    }
}

/// A copy of a stack, made as it is read, of up to [`MOST`] bytes; code is read as it is, not copied.
#[derive(Debug)]
pub(crate) struct StackCopy {
    process: Process,
    pieces: Vec<Piece>,
    /// The piece that was last read from.
    last: usize,
    /// The piece that gives way to the next, once there are [`HELD`].
    oldest: usize,
    copied: u64,
    /// Whether more was asked for than is copied.
    is_short: bool,
}

impl StackCopy {
    pub(crate) fn new(process: Process) -> StackCopy {
        StackCopy { process, pieces: Vec::new(), last: 0, oldest: 0, copied: 0, is_short: false }
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
            self.is_short = true;
            return false;
        }
        let is_full = self.pieces.len() == HELD;
        let mut bytes =
            if is_full { std::mem::take(&mut self.pieces[self.oldest].bytes) } else { vec![0; STEP as usize] };
        let count = read(&self.process, start, &mut bytes[..length as usize]);
        self.copied += count as u64;
        let piece = Piece { start, length: count, bytes };
        if is_full {
            self.pieces[self.oldest] = piece;
            self.oldest = (self.oldest + 1) % HELD;
        } else {
            self.pieces.push(piece);
        }
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

    fn limit(&self) -> Option<u64> {
        self.is_short.then_some(MOST)
    }
}

#[cfg(all(test, supported))]
pub(crate) mod tests {
    use super::*;

    /// Where a page of zeros begins behind which nothing can be read.
    pub(crate) fn two_pages() -> u64 {
        // SAFETY: a fresh anonymous mapping of two pages, the second taken away again; nothing else knows of it.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let start = libc::mmap(std::ptr::null_mut(), 8192, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            assert_ne!(start, libc::MAP_FAILED);
            assert_eq!(libc::mprotect(start.byte_add(4096), 4096, libc::PROT_NONE), 0);
            start as u64
        }
    }

    #[test]
    fn a_read_ends_where_the_memory_ends() {
        let start = two_pages();
        let (own, mut into) = (Process::current(), vec![1; 8192]);
        assert_eq!(read(&own, start, &mut into), 4096);
        assert_eq!(read(&own, start + 4090, &mut into), 6);
        assert_eq!(read(&own, start + 4096, &mut into), 0);

        let mut copy = StackCopy::new(Process::current());
        assert_eq!(copy.stack(start + 4088), Some(0));
        assert_eq!(copy.stack(start + 4092), None, "not a word's address");
        assert_eq!(copy.stack(start + 4096), None);
    }

    /// What is on a stack but was not copied is not what is there by now.
    #[test]
    fn a_stack_is_as_it_was_or_not_known() {
        let copied = |_: u64, into: &mut [u8]| {
            into.fill(7);
            into.len().min(100)
        };
        let stack = InnerStack::between(1_000, 9_000_000, copied);
        assert_eq!(stack.bytes(1_090), Some(&[7; 10][..]));
        assert_eq!(stack.bytes(1_100), Some(&[][..]));
        assert_eq!(stack.bytes(9_000_008), Some(&[][..]), "in the outermost frame");
        assert_eq!((stack.bytes(999), stack.bytes(9_100_000)), (None, None));
        let most = InnerStack::between(1_000, 9_000_000, |_, into| into.len());
        assert_eq!(most.bytes(1_000).unwrap().len(), InnerStack::MOST);
    }

    #[test]
    fn only_so_much_is_copied() {
        let large = vec![7_u64; (MOST as usize / 8) * 2];
        let start = large.as_ptr() as u64;
        let mut copy = StackCopy::new(Process::current());
        let words =
            (start..start + MOST * 2).step_by(8).filter(|address| copy.stack(*address) == Some(7)).count() as u64;
        assert!(words * 8 <= MOST && words * 8 > MOST - 2 * PAGE, "{words} words");
        assert_eq!(copy.limit(), Some(MOST));
        let held: usize = copy.pieces.iter().map(|piece| piece.bytes.len()).sum();
        assert_eq!(held, HELD * STEP as usize, "however deep a stack is");
    }

    #[test]
    fn what_was_let_go_is_copied_again() {
        let words: Vec<u64> = (0..(STEP * 40) / 8).collect();
        let start = words.as_ptr() as u64;
        let mut copy = StackCopy::new(Process::current());
        for _ in 0..2 {
            for (number, word) in words.iter().enumerate() {
                assert_eq!(copy.stack(start + 8 * number as u64), Some(*word));
            }
        }
        assert_eq!(copy.limit(), None);
    }
}
