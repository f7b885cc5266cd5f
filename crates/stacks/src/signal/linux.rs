//! The handler, the slot that it copies into, and the one who waits for it.

use std::cell::UnsafeCell;
use std::io;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::action::{Action, Chain};
use super::room::has_room;
use super::{InstallError, MOST_DEEP, RegistersAndStack, SIGNALS, SampleError, bit};
use crate::process::Process;
use crate::schedule::keep_off_the_cpu_of;
use crate::seccomp;
use crate::thread::{self, Run, Runs, StateError, ThreadRef};
use crate::unwind::Registers;

/// Where a sample is. The slot's word is one of these and, above, the number of the request: so a signal that comes
/// late finds another word than it was sent with, and does nothing.
const IDLE: u64 = 0;
const REQUESTED: u64 = 1;
const COPYING: u64 = 2;
const DONE: u64 = 3;
const PHASE: u64 = 3;

/// A page: memory is there or not there page by page.
const PAGE: usize = 4 << 10;
/// The pages that a copy may touch, one more than it fills.
const PAGES: usize = MOST_DEEP / PAGE + 1;

/// What the handler fills.
struct Slot {
    word: AtomicU64,
    thread: AtomicI32,
    /// How much of the stack is wanted.
    most: AtomicUsize,
    /// In the order of DWARF.
    registers: UnsafeCell<[u64; 17]>,
    length: UnsafeCell<usize>,
    /// What is to be copied, page by page: a thousand bytes that the stack of a handler may not have.
    pages: UnsafeCell<[libc::iovec; PAGES]>,
    stack: UnsafeCell<[u8; MOST_DEEP]>,
}

// SAFETY: the cells are written only by the handler that changed the word from REQUESTED to COPYING, and read only by
// the holder of `TURN` after it saw DONE: never by two at a time.
unsafe impl Sync for Slot {}

static SLOT: Slot = Slot {
    word: AtomicU64::new(IDLE),
    thread: AtomicI32::new(0),
    most: AtomicUsize::new(0),
    registers: UnsafeCell::new([0; 17]),
    length: UnsafeCell::new(0),
    pages: UnsafeCell::new([libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; PAGES]),
    stack: UnsafeCell::new([0; MOST_DEEP]),
};

/// What is installed, and who uses it. Anyone who holds it is the only one to sample.
static TURN: Mutex<Turn> = Mutex::new(Turn { installed: None, samplers: 0, unanswered: Vec::new() });

struct Turn {
    installed: Option<Installed>,
    /// How many there are.
    samplers: usize,
    /// Threads that did not take a signal in time.
    unanswered: Vec<ThreadRef>,
}

impl Turn {
    fn note_unanswered(&mut self, thread: &ThreadRef) {
        if !self.unanswered.contains(thread) {
            self.unanswered.push(*thread);
        }
    }
}

struct Installed {
    signal: i32,
    /// What was there before.
    previous: Action,
}

/// What each signal that is not ours is given to, by its number.
static CHAINS: [Chain; SIGNALS + 1] = [const { Chain::new() }; SIGNALS + 1];

/// Signals that were sent from here and came too late.
static LATE: AtomicUsize = AtomicUsize::new(0);

/// For how long a thread must not have blocked before it is sent a signal: one that blocks often may do so at the moment at which the
/// signal arrives.
const SETTLED: Duration = Duration::from_micros(500);

/// For how long it must have run meanwhile. One that was woken and waits for a CPU is still in its call, and runs less until it has
/// left it.
const RAN: Duration = Duration::from_micros(50);

/// Between two looks whether a thread has taken its signal.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

fn turn() -> MutexGuard<'static, Turn> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn install(wanted: Option<i32>) -> Result<i32, InstallError> {
    let mut turn = turn();
    let signal = match &turn.installed {
        Some(installed) => installed.signal,
        None => {
            let installed = put(wanted)?;
            turn.installed.insert(installed).signal
        }
    };
    turn.samplers += 1;
    Ok(signal)
}

fn put(wanted: Option<i32>) -> Result<Installed, InstallError> {
    let signal = match wanted {
        Some(signal) => signal,
        // From above: people and libraries count from below.
        None => (libc::SIGRTMIN()..libc::SIGRTMAX())
            .rev()
            .find(|signal| Action::of(*signal).is_ok_and(|action| action.handler == libc::SIG_DFL))
            .ok_or(InstallError::NoSignalFree)?,
    };
    let previous = Action::of(signal).map_err(InstallError::Refused)?;
    chain(signal).ok_or_else(|| InstallError::Refused(io::ErrorKind::InvalidInput.into()))?.set(&previous);
    // SAFETY: all zeros are a valid `sigaction`: no flags, an empty mask.
    let mut ours: libc::sigaction = unsafe { mem::zeroed() };
    ours.sa_sigaction = handler_address();
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    // No other handler runs on top of ours: the stack may not have room for both.
    // SAFETY: it only writes to the set.
    unsafe { libc::sigfillset(&raw mut ours.sa_mask) };
    // SAFETY: `handler` has the signature that SA_SIGINFO asks for, does only what a handler may, and lives as long as
    // the program; `CHAINS`, which it reads, is set.
    if unsafe { libc::sigaction(signal, &raw const ours, ptr::null_mut()) } != 0 {
        return Err(InstallError::Refused(io::Error::last_os_error()));
    }
    Ok(Installed { signal, previous })
}

fn chain(signal: i32) -> Option<&'static Chain> {
    CHAINS.get(usize::try_from(signal).ok()?)
}

/// One sampler less. After the last one everything is as it was before the first, as soon as that does no harm; whether it is, or
/// another sampler needs it, within the patience.
pub(super) fn release(patience: Duration) -> bool {
    turn().samplers -= 1;
    let (begin, mut pause) = (Instant::now(), Duration::from_millis(1));
    loop {
        {
            let mut turn = turn();
            let Some(Installed { signal, previous }) = turn.installed.as_ref().filter(|_| turn.samplers == 0) else {
                return true;
            };
            // Even putting back what was there is a call that a filter, which came since, may not expect.
            if !seccomp::look() {
                return false;
            }
            let (signal, previous) = (*signal, *previous);
            turn.unanswered.retain(|thread| may_be_pending(signal, thread));
            if turn.unanswered.is_empty() {
                // Who replaced ours may hold on to its address, so that it counts as installed.
                // SAFETY: `previous` was installed before, and nothing of ours is pending.
                if is_ours(signal) && unsafe { previous.install(signal) }.is_ok() {
                    turn.installed = None;
                }
                return turn.installed.is_none();
            }
        }
        let left = patience.saturating_sub(begin.elapsed());
        if left.is_zero() {
            return false;
        }
        std::thread::sleep(pause.min(left));
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Whether a thread may still have a signal to take. The kernel takes a signal off this list and looks up its handler under the
/// lock under which it answers here, and under which handlers are replaced: what is off the list runs the handler of then.
fn may_be_pending(signal: i32, thread: &ThreadRef) -> bool {
    match thread::read_status(thread) {
        Ok(status) => status.pending_signals & bit(signal) != 0,
        Err(error) => error.why != StateError::NotFound,
    }
}

fn handler_address() -> libc::sighandler_t {
    handler as extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) as libc::sighandler_t
}

fn is_ours(signal: i32) -> bool {
    Action::of(signal).is_ok_and(|action| action.handler == handler_address())
}

/// `most`: how much of the stack to copy, up to `MOST_DEEP`.
pub(super) fn sample(
    signal: i32,
    thread: &ThreadRef,
    timeout: Duration,
    most: usize,
) -> Result<RegistersAndStack, SampleError> {
    if !thread.process.is_own() {
        return Err(SampleError::Foreign);
    }
    let runs = Runs::open(thread).map_err(SampleError::State)?;
    // Before any call that a filter may not expect, and again before the signal is sent. Whether it could take one is waited for below.
    unfiltered_status(thread)?;
    let _apart = keep_off_the_cpu_of(thread);
    let settled = settle(signal, thread, &runs, timeout)?;
    let mut turn = turn();
    may_send(signal, thread)?;
    let last = SLOT.word.load(Ordering::Acquire);
    if last & PHASE == COPYING {
        // A handler of an earlier request is not done: its thread was stopped in it.
        return Err(SampleError::Pending);
    }
    let request = ((last >> 2) + 1) << 2 | REQUESTED;
    let idle = request & !PHASE | IDLE;
    let info = Queued::new(signal, request);
    SLOT.thread.store(thread.tid.cast_signed(), Ordering::Relaxed);
    SLOT.most.store(most.min(MOST_DEEP), Ordering::Relaxed);
    SLOT.word.store(request, Ordering::Release);
    // Nothing in between: a thread that blocks after the look is interrupted.
    let sent = match runs.read().map_err(SampleError::State) {
        Ok(now) if settled.holds(now) => send(&info, thread),
        other => Err(other.err().unwrap_or(SampleError::NotRunning)),
    };
    sent.inspect_err(|_| SLOT.word.store(idle, Ordering::Release))?;
    wait(request, timeout).inspect_err(|_| turn.note_unanswered(thread))?;
    let copy = copy_out(thread.process);
    SLOT.word.store(idle, Ordering::Release);
    copy
}

/// What a thread did for a while before it is sent a signal.
enum Settled {
    /// It ran, and had blocked so often before.
    Ran(u64),
    /// It ran and blocked by turns, and only as no signal interrupts: it waited for a disk.
    Uninterruptible,
}

impl Settled {
    /// Whether that is still so, and it runs.
    fn holds(&self, now: Run) -> bool {
        now.letter == 'R'
            && match self {
                Settled::Ran(times_blocked) => now.times_blocked == *times_blocked,
                Settled::Uninterruptible => true,
            }
    }
}

/// Watches the thread until it ran for a while.
fn settle(signal: i32, thread: &ThreadRef, runs: &Runs, timeout: Duration) -> Result<Settled, SampleError> {
    const PAUSE: Duration = Duration::from_micros(20);
    let begin = Instant::now();
    // In a handler its signal is blocked: the last sample's may not have returned yet.
    while let Err(error) = may_send(signal, thread) {
        if error != SampleError::Masked || begin.elapsed() >= timeout {
            return Err(error);
        }
        std::thread::yield_now();
    }
    let (mut before, mut waited_for_disk) = (None, false);
    let (start, cpu) = (Instant::now(), cpu_time(thread)?);
    loop {
        let now = runs.read().map_err(SampleError::State)?;
        match now.letter {
            'R' => {}
            'D' => waited_for_disk = true,
            _ => return Err(SampleError::NotRunning),
        }
        let before = *before.get_or_insert(now.times_blocked);
        if start.elapsed() >= SETTLED && cpu_time(thread)?.saturating_sub(cpu) >= RAN {
            return match now.times_blocked {
                same if same == before => Ok(Settled::Ran(same)),
                _ if waited_for_disk => Ok(Settled::Uninterruptible),
                _ => Err(SampleError::NotRunning),
            };
        }
        if begin.elapsed() >= timeout.max(SETTLED) {
            return Err(SampleError::TimedOut);
        }
        std::thread::sleep(PAUSE);
    }
}

/// The thread's time on the CPU, up to now.
fn cpu_time(thread: &ThreadRef) -> Result<Duration, SampleError> {
    // The kernel's CPUCLOCK_SCHED of one thread, which the C library's macros do not make.
    const SCHED_OF_THREAD: i32 = 2 | 4;
    let clock = !thread.tid.cast_signed() << 3 | SCHED_OF_THREAD;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel only writes to `time`.
    match unsafe { libc::clock_gettime(clock, &raw mut time) } {
        0 => Ok(Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)),
        _ => Err(SampleError::State(thread.unreadable(StateError::NotFound))),
    }
}

/// Whether the thread could take a signal at once.
fn may_send(signal: i32, thread: &ThreadRef) -> Result<(), SampleError> {
    if !is_ours(signal) {
        return Err(SampleError::Displaced);
    }
    let status = unfiltered_status(thread)?;
    if status.blocked_signals & bit(signal) != 0 {
        return Err(SampleError::Masked);
    }
    if status.pending_signals & bit(signal) != 0 {
        return Err(SampleError::Pending);
    }
    if !thread.handler_stack.is_some_and(|stack| has_room(signal, stack)) {
        return Err(SampleError::NoRoom);
    }
    Ok(())
}

/// The thread's status, unless a filter may end it for what is done to it here.
fn unfiltered_status(thread: &ThreadRef) -> Result<thread::Status, SampleError> {
    let status = thread::read_status(thread).map_err(SampleError::State)?;
    if seccomp::may_call_from(status.seccomp) { Ok(status) } else { Err(SampleError::Filtered) }
}

/// `siginfo_t` of a queued signal, as the kernel takes it.
#[repr(C)]
struct Queued {
    signal: i32,
    error: i32,
    code: i32,
    padding: i32,
    pid: i32,
    uid: u32,
    value: u64,
    rest: [u64; 12],
}

const _: () = assert!(size_of::<Queued>() == size_of::<libc::siginfo_t>());

impl Queued {
    /// With the request's number, by which the handler knows it.
    fn new(signal: i32, request: u64) -> Queued {
        // SAFETY: neither call takes anything or fails.
        let (pid, uid) = unsafe { (libc::getpid(), libc::getuid()) };
        Queued { signal, error: 0, code: libc::SI_QUEUE, padding: 0, pid, uid, value: request, rest: [0; 12] }
    }
}

/// Sends it to one thread.
fn send(info: &Queued, thread: &ThreadRef) -> Result<(), SampleError> {
    // SAFETY: the kernel reads `info`, which has the size and layout of `siginfo_t`. The signal has a handler.
    let sent =
        unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, info.pid, thread.tid, info.signal, ptr::from_ref(info)) };
    match io::Error::last_os_error().raw_os_error() {
        _ if sent == 0 => Ok(()),
        Some(libc::ESRCH) => Err(SampleError::State(thread.unreadable(StateError::NotFound))),
        _ => Err(SampleError::NotSent),
    }
}

/// Waits until the handler is done, or gives the request up.
fn wait(request: u64, timeout: Duration) -> Result<(), SampleError> {
    const SPINS: u32 = 200;
    const PAUSE: Duration = Duration::from_micros(50);
    let done = request & !PHASE | DONE;
    let idle = request & !PHASE | IDLE;
    let begin = Instant::now();
    let mut spins = 0;
    loop {
        if SLOT.word.load(Ordering::Acquire) == done {
            return Ok(());
        }
        let waited = begin.elapsed();
        let withdraw = || SLOT.word.compare_exchange(request, idle, Ordering::AcqRel, Ordering::Acquire).is_ok();
        // What is being copied is worth waiting for a little longer.
        if waited >= timeout && (withdraw() || waited >= 2 * timeout + PAUSE) {
            return Err(SampleError::TimedOut);
        }
        spins += 1;
        if spins < SPINS { std::thread::yield_now() } else { std::thread::sleep(PAUSE) }
    }
}

/// Takes the finished copy. The caller has the turn and saw DONE.
fn copy_out(process: Process) -> Result<RegistersAndStack, SampleError> {
    // SAFETY: the word is DONE, seen with Acquire: the handler that wrote the cells is through with them, and no other
    // writes before the next request, which only the holder of the turn, our caller, makes.
    let (values, stack) = unsafe {
        let length = (*SLOT.length.get()).min(MOST_DEEP);
        (*SLOT.registers.get(), (&(*SLOT.stack.get()))[..length].to_vec())
    };
    if stack.is_empty() {
        return Err(SampleError::Unreadable);
    }
    Ok(RegistersAndStack { registers: Registers { values: values.map(Some) }, process, stack })
}

/// Runs on the thread that is sampled. Only atomics, plain memory and system calls: all that a handler may do.
extern "C" fn handler(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: each thread has its own errno at a valid address. The interrupted code must find it as it was.
    let errno = unsafe { *libc::__errno_location() };
    // SAFETY: the kernel gives a handler with SA_SIGINFO a valid `info`; of a queued signal it has a pid and a value.
    let (queued, pid, request) = unsafe { ((*info).si_code == libc::SI_QUEUE, (*info).si_pid(), (*info).si_value()) };
    // SAFETY: takes nothing and cannot fail.
    if queued && pid == unsafe { libc::getpid() } {
        answer(request.sival_ptr as u64, context.cast());
    } else if let Some(chain) = chain(signal) {
        chain.pass_on(signal, info, context);
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// Copies, if the request still stands and is for this thread.
fn answer(request: u64, context: *const libc::ucontext_t) {
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
    // this handler's alone.
    unsafe {
        let general = &(*context).uc_mcontext.gregs;
        let registers = &mut *SLOT.registers.get();
        for (to, from) in registers.iter_mut().zip(GENERAL) {
            *to = general[from as usize].cast_unsigned();
        }
        let sp = general[libc::REG_RSP as usize].cast_unsigned();
        let most = SLOT.most.load(Ordering::Relaxed);
        *SLOT.length.get() = copy_stack(sp, most, &mut *SLOT.pages.get(), SLOT.stack.get().cast());
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

/// Copies the stack through the kernel, which stops where the memory ends; a plain copy would end the process there.
///
/// # Safety
/// `into` has room for `most` bytes, which nobody else uses.
unsafe fn copy_stack(sp: u64, most: usize, remote: &mut [libc::iovec; PAGES], into: *mut libc::c_void) -> usize {
    let mut at = sp as usize;
    let mut left = most;
    let mut pages = 0;
    while left > 0 && pages < PAGES {
        let length = left.min(PAGE - at % PAGE);
        remote[pages] = libc::iovec { iov_base: at as *mut libc::c_void, iov_len: length };
        at = at.wrapping_add(length);
        left -= length;
        pages += 1;
    }
    let local = libc::iovec { iov_base: into, iov_len: most };
    // SAFETY: the kernel writes at most `most` bytes to `into`, and checks the addresses that it reads itself.
    let copied = unsafe {
        libc::process_vm_readv(libc::getpid(), &raw const local, 1, remote.as_ptr(), pages as libc::c_ulong, 0)
    };
    usize::try_from(copied).unwrap_or(0)
}

#[cfg(test)]
mod tests;
