//! The slot that the handler copies into, and the copying.

use std::cell::UnsafeCell;
use std::ops::Deref;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use memmap2::MmapMut;

use super::MOST_DEEP;
use crate::unwind::Registers;

/// Where a sample is. The slot's word is one of these and, above, the number of the request: so a signal that comes
/// late finds another word than it was sent with, and does nothing.
pub(super) const IDLE: u64 = 0;
pub(super) const REQUESTED: u64 = 1;
pub(super) const COPYING: u64 = 2;
pub(super) const DONE: u64 = 3;
pub(super) const PHASE: u64 = 3;

/// A page: memory is there or not there page by page.
const PAGE: usize = 4 << 10;
/// The pages that one call may touch, one more than it fills.
const PAGES: usize = MOST_DEEP / PAGE + 1;

/// Signals that were sent from here and came too late.
pub(super) static LATE: AtomicUsize = AtomicUsize::new(0);

/// What the handler fills.
pub(super) struct Slot {
    pub(super) word: AtomicU64,
    pub(super) thread: AtomicI32,
    /// How much of the stack is wanted.
    most: AtomicUsize,
    /// Where it is wanted, with room for as much; null: in the slot, which has room for `MOST_DEEP`.
    large: AtomicPtr<u8>,
    /// In the order of DWARF.
    registers: UnsafeCell<[u64; 17]>,
    length: UnsafeCell<usize>,
    /// What is to be copied, page by page: a thousand bytes that the stack of a handler may not have.
    pages: UnsafeCell<[libc::iovec; PAGES]>,
    stack: UnsafeCell<[u8; MOST_DEEP]>,
}

// SAFETY: the cells are written only by the handler that changed the word from REQUESTED to COPYING, and read only by
// the holder of the turn after it saw DONE: never by two at a time.
unsafe impl Sync for Slot {}

pub(super) static SLOT: Slot = Slot {
    word: AtomicU64::new(IDLE),
    thread: AtomicI32::new(0),
    most: AtomicUsize::new(0),
    large: AtomicPtr::new(ptr::null_mut()),
    registers: UnsafeCell::new([0; 17]),
    length: UnsafeCell::new(0),
    pages: UnsafeCell::new([libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; PAGES]),
    stack: UnsafeCell::new([0; MOST_DEEP]),
};

/// Memory of its own for a copy, which the kernel gets back: what is left to the allocator may stay with it.
#[derive(Debug)]
pub(super) struct Large(MmapMut);

impl Large {
    /// `None` where the kernel gives none.
    pub(super) fn new(bytes: usize) -> Option<Large> {
        MmapMut::map_anon(bytes).ok().map(Large)
    }
}

/// The stack that was copied.
#[derive(Debug, Clone)]
pub(super) enum CopiedStack {
    Small(Vec<u8>),
    /// As much of it as was filled.
    Large(Arc<Large>, usize),
}

impl Deref for CopiedStack {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            CopiedStack::Small(bytes) => bytes,
            CopiedStack::Large(large, length) => &large.0[..*length],
        }
    }
}

impl Slot {
    /// Makes a request. Only the holder of the turn does, when no handler copies; what `large` is stays until none does.
    pub(super) fn ask(&self, request: u64, most: usize, large: Option<&mut Large>) {
        self.most.store(most.min(large.as_ref().map_or(MOST_DEEP, |large| large.0.len())), Ordering::Relaxed);
        self.large.store(large.map_or(ptr::null_mut(), |large| large.0.as_mut_ptr()), Ordering::Relaxed);
        self.word.store(request, Ordering::Release);
    }

    /// Takes the finished copy, which is in `large` if that was asked for; `None` if nothing could be read. The caller has the
    /// turn and saw DONE.
    pub(super) fn take(&self, large: Option<Large>) -> Option<(Registers, CopiedStack)> {
        // SAFETY: the word is DONE, seen with Acquire: the handler that wrote the cells is through with them, and no other
        // writes before the next request, which only the holder of the turn, our caller, makes.
        let (values, length) = unsafe { (*self.registers.get(), *self.length.get()) };
        let stack = match large {
            Some(large) => CopiedStack::Large(Arc::new(large), length),
            // SAFETY: as above.
            None => CopiedStack::Small(unsafe { (&(*self.stack.get()))[..length].to_vec() }),
        };
        (length > 0).then_some((Registers { values: values.map(Some) }, stack))
    }
}

/// Copies, if the request still stands and is for this thread. Runs in the handler: only atomics, plain memory and system calls.
pub(super) fn answer(request: u64, context: *const libc::ucontext_t) {
    // SAFETY: takes nothing and cannot fail.
    let me = unsafe { libc::gettid() };
    let copying = request & !PHASE | COPYING;
    let stands = request & PHASE == REQUESTED
        && SLOT.thread.load(Ordering::Relaxed) == me
        && SLOT.word.compare_exchange(request, copying, Ordering::AcqRel, Ordering::Relaxed).is_ok();
    if !stands {
        LATE.fetch_add(1, Ordering::Relaxed);
        return;
    }
    // SAFETY: the kernel gives the handler a valid context, and the word is COPYING since the exchange: the cells are
    // this handler's alone, and so is the memory of the one who asked, which stays while that is so.
    unsafe {
        let general = &(*context).uc_mcontext.gregs;
        let registers = &mut *SLOT.registers.get();
        for (to, from) in registers.iter_mut().zip(GENERAL) {
            *to = general[from as usize].cast_unsigned();
        }
        let sp = general[libc::REG_RSP as usize].cast_unsigned();
        let most = SLOT.most.load(Ordering::Relaxed);
        let large = SLOT.large.load(Ordering::Relaxed);
        let into = if large.is_null() { SLOT.stack.get().cast() } else { large };
        *SLOT.length.get() = copy_stack(sp as usize, most, &mut *SLOT.pages.get(), into);
    }
    SLOT.word.store(request & !PHASE | DONE, Ordering::Release);
}

/// Where the kernel keeps the registers, in the order of DWARF.
const GENERAL: [i32; 17] = [
    libc::REG_RAX,
    libc::REG_RDX,
    libc::REG_RCX,
    libc::REG_RBX,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_RBP,
    libc::REG_RSP,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
    libc::REG_RIP,
];

/// Copies the stack, as far as it is there; returns how many bytes.
///
/// # Safety
/// `into` has room for `most` bytes, which nobody else uses.
unsafe fn copy_stack(sp: usize, most: usize, pages: &mut [libc::iovec; PAGES], into: *mut u8) -> usize {
    let mut done = 0;
    while done < most {
        let wanted = (most - done).min(MOST_DEEP);
        // SAFETY: there is room for `most` bytes, of which these are some.
        let copied = unsafe { copy_pages(sp.wrapping_add(done), wanted, pages, into.add(done)) };
        done += copied;
        if copied < wanted {
            break;
        }
    }
    done
}

/// Copies through the kernel, which stops where the memory ends; a plain copy would end the process there.
///
/// # Safety
/// `into` has room for `most` bytes, which nobody else uses, and `most` is no more than `MOST_DEEP`.
unsafe fn copy_pages(mut at: usize, most: usize, remote: &mut [libc::iovec; PAGES], into: *mut u8) -> usize {
    let mut left = most;
    let mut pages = 0;
    while left > 0 && pages < PAGES {
        let length = left.min(PAGE - at % PAGE);
        remote[pages] = libc::iovec { iov_base: at as *mut libc::c_void, iov_len: length };
        at = at.wrapping_add(length);
        left -= length;
        pages += 1;
    }
    let local = libc::iovec { iov_base: into.cast(), iov_len: most };
    // SAFETY: the kernel writes at most `most` bytes to `into`, and checks the addresses that it reads itself.
    let copied = unsafe {
        libc::process_vm_readv(libc::getpid(), &raw const local, 1, remote.as_ptr(), pages as libc::c_ulong, 0)
    };
    usize::try_from(copied).unwrap_or(0)
}
