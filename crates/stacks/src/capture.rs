//! What a blocked thread is doing: its state, its system call and its whole stack, as of one moment.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::io;

use crate::maps::Maps;
use crate::memory::StackCopy;
use crate::signal::RegistersAndStack;
use crate::syscall::Syscall;
use crate::thread::{self, State, StateError, ThreadRef};
use crate::unwind::{Memory, Registers, Stack, Unwinder};

/// How often a capture is begun anew when the thread moved on meanwhile.
const RETRIES: u32 = 3;

/// What a blocked thread was doing at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// Never `Running`.
    pub state: State,
    /// How often the thread had been given a CPU; `None` where the kernel does not count it.
    pub slices: Option<u64>,
    /// The system call, if it was in one.
    pub syscall: Option<Syscall>,
    /// Where its code was.
    pub stack: Stack,
    /// How many captures before this one were thrown away because the thread ran in the middle.
    pub torn_retries: u32,
}

impl Capture {
    /// Whether both show the very same call, still not returned: the thread did not run between them. `false` if that
    /// cannot be told.
    pub fn is_same_block_as(&self, other: &Capture) -> bool {
        self.state == other.state && self.slices.is_some() && self.slices == other.slices
    }
}

/// Why there is no capture.
#[derive(Debug)]
pub enum CaptureError {
    /// The thread runs, or is ready to, or is the one that asks: see [`crate::signal`] for threads of this process.
    Running,
    /// It moved on each time while it was being looked at.
    Torn,
    /// Its state could not be read.
    State(StateError),
    /// The process's memory map could not be read.
    Maps(io::Error),
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaptureError::Running => f.write_str("cannot capture the stack: the thread is running"),
            CaptureError::Torn => f.write_str("cannot capture the stack: the thread does not stand still"),
            CaptureError::State(error) => error.fmt(f),
            CaptureError::Maps(error) => write!(f, "cannot read the memory map of the process: {error}"),
        }
    }
}

impl std::error::Error for CaptureError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CaptureError::Running | CaptureError::Torn => None,
            CaptureError::State(error) => Some(error),
            CaptureError::Maps(error) => Some(error),
        }
    }
}

impl From<StateError> for CaptureError {
    fn from(error: StateError) -> CaptureError {
        CaptureError::State(error)
    }
}

/// Captures stacks of blocked threads, of this process and of others. Keeps what it learns of their code: the first
/// capture of a process takes milliseconds, the next ones microseconds.
///
/// ```
/// # #[cfg(supported)] {
/// use pollscope_stacks::{capture::Capturer, thread::ThreadRef};
/// let (tell, hear) = std::sync::mpsc::channel();
/// let (stop, stopped) = std::sync::mpsc::channel::<()>();
/// let sleeper = std::thread::spawn(move || {
///     tell.send(ThreadRef::current()).unwrap();
///     stopped.recv().ok();
/// });
/// let thread = hear.recv().unwrap();
/// let mut capturer = Capturer::new();
/// let capture = loop {
///     if let Ok(capture) = capturer.capture(&thread) { break capture; }
/// };
/// assert_eq!(capture.syscall.as_ref().unwrap().to_string(), "futex(wait)");
/// assert!(capture.stack.is_complete());
/// # stop.send(()).unwrap();
/// # sleeper.join().unwrap();
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Capturer {
    processes: HashMap<Option<u32>, Unwinder>,
}

impl Capturer {
    /// One that knows nothing yet.
    pub fn new() -> Capturer {
        Capturer::default()
    }

    /// Forgets what was learnt of a process, which ended: its number may be given to another.
    pub fn forget(&mut self, pid: u32) {
        self.processes.remove(&Some(pid));
    }

    /// Reads ahead what stacks of this process are followed by, of the program and of its C library: the first capture would take
    /// milliseconds for it. What cannot be read is left to the first capture, which says why.
    pub fn prepare(&mut self) {
        #[cfg(supported)]
        if let Ok(unwinder) = self.unwinder(None) {
            for function in [is_asking as *const () as u64, libc::getpid as *const () as u64] {
                unwinder.prepare(function, &mut StackCopy::new(None));
            }
        }
    }

    /// What a thread is doing, if it is blocked. It is not paused, and does not notice.
    ///
    /// # Errors
    /// See [`CaptureError`]. That the stack is not complete is no error: see [`Stack::end`].
    pub fn capture(&mut self, thread: &ThreadRef) -> Result<Capture, CaptureError> {
        if is_asking(thread) {
            return Err(CaptureError::Running);
        }
        for torn_retries in 0..=RETRIES {
            let before = Moment::before(thread)?;
            let (State::InSyscall { sp, pc, .. } | State::Stopped { sp, pc }) = before.state else {
                return Err(CaptureError::Running);
            };
            let registers = Registers::blocked(sp, pc);
            let stack = self.unwind(thread.pid, &registers, &mut StackCopy::new(thread.pid))?;
            let syscall = match before.state {
                State::InSyscall { number, args, .. } => {
                    let mut syscall = Syscall::new(number, &args);
                    syscall.locate(thread.pid);
                    Some(syscall)
                }
                _ => None,
            };
            if Moment::after(thread)? == before {
                let Moment { state, slices } = before;
                return Ok(Capture { state, slices, syscall, stack, torn_retries });
            }
        }
        Err(CaptureError::Torn)
    }

    /// The stack of a running thread of this process, of which a sample was taken.
    ///
    /// # Errors
    /// `Maps`, when the memory map could not be read.
    pub fn unwind_sample(&mut self, sample: &RegistersAndStack) -> Result<Stack, CaptureError> {
        self.unwind(None, &sample.registers, &mut sample.memory())
    }

    fn unwinder(&mut self, pid: Option<u32>) -> Result<&mut Unwinder, CaptureError> {
        Ok(match self.processes.entry(pid) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Unwinder::new(Maps::read(pid).map_err(CaptureError::Maps)?)),
        })
    }

    fn unwind(
        &mut self,
        pid: Option<u32>,
        registers: &Registers,
        memory: &mut dyn Memory,
    ) -> Result<Stack, CaptureError> {
        let unwinder = self.unwinder(pid)?;
        let stack = unwinder.unwind(registers, memory);
        if stack.is_complete() {
            return Ok(stack);
        }
        // A library may have been loaded since.
        let maps = Maps::read(pid).map_err(CaptureError::Maps)?;
        if maps == *unwinder.maps() {
            return Ok(stack);
        }
        unwinder.update(maps);
        Ok(unwinder.unwind(registers, memory))
    }
}

/// Whether the thread is the one that asks: it would be found in the system calls that it asks by.
#[cfg(supported)]
fn is_asking(thread: &ThreadRef) -> bool {
    thread.tid == ThreadRef::current().tid && thread.pid.is_none_or(|pid| pid == std::process::id())
}

#[cfg(not(supported))]
fn is_asking(_thread: &ThreadRef) -> bool {
    false
}

/// What must not change while a stack is copied. The state alone is not enough: a thread that writes in a loop is soon
/// in the same call again.
#[derive(Debug, PartialEq, Eq)]
struct Moment {
    state: State,
    slices: Option<u64>,
}

impl Moment {
    /// Counts first: so a thread that is found blocked, and was not given a CPU until the count after, stood still from
    /// the one state to the other. Were the state first, it could run at both counts.
    fn before(thread: &ThreadRef) -> Result<Moment, StateError> {
        let slices = Moment::slices(thread);
        Ok(Moment { slices, state: thread::read_state(thread)? })
    }

    fn after(thread: &ThreadRef) -> Result<Moment, StateError> {
        let state = thread::read_state(thread)?;
        Ok(Moment { slices: Moment::slices(thread), state })
    }

    fn slices(thread: &ThreadRef) -> Option<u64> {
        thread::read_schedule(thread).ok().map(|schedule| schedule.slices)
    }
}
