//! The handler, and the one who waits for it.

use std::io;
use std::mem;
use std::ptr;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::action::{Action, Chain};
use super::room::has_room;
use super::slot::{COPYING, DONE, IDLE, Large, PHASE, REQUESTED, SLOT, answer};
use super::{InstallError, MOST_DEEP, RegistersAndStack, SIGNALS, SampleError, bit};
use crate::schedule::keep_off_the_cpu_of;
use crate::seccomp;
use crate::thread::{self, Run, Runs, StateError, ThreadRef};

/// What is installed, and who uses it. Anyone who holds it is the only one to sample.
static TURN: Mutex<Turn> =
    Mutex::new(Turn { installed: None, samplers: 0, standing: None, late: None, unanswered: Vec::new(), large: None });

struct Turn {
    installed: Option<Installed>,
    /// How many there are.
    samplers: usize,
    /// Threads that did not take a signal in time.
    unanswered: Vec<ThreadRef>,
    /// Where the handler copies to, if that is not the slot. Not given back while it may.
    large: Option<Large>,
    /// What was not answered in time, and stands.
    standing: Option<Standing>,
    /// An answer that came too late for the one who asked, and whose it is.
    late: Option<(ThreadRef, RegistersAndStack)>,
}

/// A request that was not answered in time, and may still be: a thread that is long in the kernel, such as one that gives back
/// gigabytes, takes its signal when it leaves it.
#[derive(Debug, Clone, Copy)]
struct Standing {
    request: u64,
    thread: ThreadRef,
    most: usize,
}

impl Turn {
    /// Takes the answer to a request that stands, if it came.
    fn collect(&mut self) {
        let Some(Standing { request, thread, most }) = self.standing else { return };
        let phase_of = |phase: u64| request & !PHASE | phase;
        match SLOT.word.load(Ordering::Acquire) {
            word if word == phase_of(DONE) => {
                let copy = SLOT.take(self.large.take());
                SLOT.word.store(phase_of(IDLE), Ordering::Release);
                let process = thread.process;
                self.late =
                    copy.map(|(registers, stack)| (thread, RegistersAndStack { registers, process, stack, most }));
                self.standing = None;
            }
            word if word == phase_of(REQUESTED) || word == phase_of(COPYING) => {}
            // It was given up.
            _ => self.standing = None,
        }
    }

    /// Gives up a request that stands, unless it is being answered.
    fn withdraw(&mut self) {
        self.collect();
        if let Some(Standing { request, .. }) = self.standing {
            let idle = request & !PHASE | IDLE;
            if SLOT.word.compare_exchange(request, idle, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                self.standing = None;
            }
        }
    }

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

/// `most`: how much of the stack to copy. For more than `MOST_DEEP` memory is taken for as long as the copy is needed.
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
    match turn.standing {
        Some(standing) if standing.thread == *thread => turn.collect(),
        _ => turn.withdraw(),
    }
    if turn.standing.is_some() {
        return Err(SampleError::Pending);
    }
    let last = SLOT.word.load(Ordering::Acquire);
    if last & PHASE == COPYING {
        // A handler of an earlier request is not done: its thread was stopped in it.
        return Err(SampleError::Pending);
    }
    let request = ((last >> 2) + 1) << 2 | REQUESTED;
    let idle = request & !PHASE | IDLE;
    let info = Queued::new(signal, request);
    SLOT.thread.store(thread.tid.cast_signed(), Ordering::Relaxed);
    turn.large = if most > MOST_DEEP { Some(Large::new(most).ok_or(SampleError::Unreadable)?) } else { None };
    SLOT.ask(request, most, turn.large.as_mut());
    // Nothing in between: a thread that blocks after the look is interrupted.
    let sent = match runs.read().map_err(SampleError::State) {
        Ok(now) if settled.holds(now) => send(&info, thread),
        other => Err(other.err().unwrap_or(SampleError::NotRunning)),
    };
    let answered = match sent {
        Ok(()) => wait(request, timeout, most > super::MOST).inspect_err(|_| {
            turn.note_unanswered(thread);
            turn.standing = Some(Standing { request, thread: *thread, most });
        }),
        Err(error) => {
            SLOT.word.store(idle, Ordering::Release);
            Err(error)
        }
    };
    if answered.is_err() && SLOT.word.load(Ordering::Acquire) & PHASE != COPYING {
        turn.large = None;
    }
    answered?;
    let copy = SLOT.take(turn.large.take());
    SLOT.word.store(idle, Ordering::Release);
    let (registers, stack) = copy.ok_or(SampleError::Unreadable)?;
    Ok(RegistersAndStack { registers, process: thread.process, stack, most })
}

/// The answer of a thread that did not give it in time, if it gave it since.
pub(super) fn late(thread: &ThreadRef) -> Option<RegistersAndStack> {
    let mut turn = turn();
    turn.collect();
    turn.late.take_if(|(of, _)| of == thread).map(|(_, sample)| sample)
}

/// What it answers from now on is of no use.
pub(super) fn forget(thread: &ThreadRef) {
    let mut turn = turn();
    if turn.standing.is_some_and(|standing| standing.thread == *thread) {
        turn.withdraw();
    }
    turn.late.take_if(|(of, _)| of == thread);
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
            return Err(SampleError::NotOnCpu);
        }
        std::thread::sleep(PAUSE);
    }
}

/// The thread's time on the CPU, up to now.
fn cpu_time(thread: &ThreadRef) -> Result<Duration, SampleError> {
    let gone = || SampleError::State(thread.unreadable(StateError::NotFound));
    thread::cpu_time(thread).map(Duration::from_nanos).ok_or_else(gone)
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

/// Waits until the handler is done. A request for much memory is given up then; another stands.
fn wait(request: u64, timeout: Duration, is_large: bool) -> Result<(), SampleError> {
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
        let is_over = || match is_large {
            true => SLOT.word.compare_exchange(request, idle, Ordering::AcqRel, Ordering::Acquire).is_ok(),
            false => SLOT.word.load(Ordering::Acquire) == request,
        };
        // What is being copied is worth waiting for a little longer.
        if waited >= timeout && (is_over() || waited >= 2 * timeout + PAUSE) {
            return Err(SampleError::TimedOut);
        }
        spins += 1;
        if spins < SPINS { std::thread::yield_now() } else { std::thread::sleep(PAUSE) }
    }
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

#[cfg(test)]
mod tests;
