//! What a blocked thread is doing: its state, its system call and its whole stack, as of one moment.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::io;
use std::ops::Range;

use pollscope_base::reason;

use crate::address::CodeAddress;
use crate::maps::Maps;
use crate::memory::{self, InnerStack, StackCopy};
use crate::proc_file::ProcFile;
use crate::process::Process;
use crate::sample::Copied;
use crate::syscall::Syscall;
use crate::task::{self, Task};
use crate::thread::{self, ReadError, State, ThreadRef};
use crate::unwind::{Memory, Registers, Stack, StackPointers, Unwinder, follow_jumps};

/// How often a capture is begun again when the thread moved on meanwhile.
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
    State(ReadError),
    /// The process's memory map, in this file, could not be read.
    Maps(ProcFile, io::Error),
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaptureError::Running => f.write_str("cannot capture the stack: the thread is running"),
            CaptureError::Torn => f.write_str("cannot capture the stack: the thread does not stand still"),
            CaptureError::State(error) => error.fmt(f),
            CaptureError::Maps(file, error) => write!(f, "cannot read the memory map in `{file}`: {}", reason(error)),
        }
    }
}

impl std::error::Error for CaptureError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CaptureError::Running | CaptureError::Torn => None,
            CaptureError::State(error) => Some(error),
            CaptureError::Maps(_, error) => Some(error),
        }
    }
}

impl From<ReadError> for CaptureError {
    fn from(error: ReadError) -> CaptureError {
        CaptureError::State(error)
    }
}

/// What the frames of a stack had: for those who follow their code.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frames {
    /// What is known of the registers, for each frame of the stack.
    pub(crate) registers: Vec<Registers>,
    /// The stack's memory.
    pub(crate) memory: InnerStack,
}

impl Frames {
    /// With what `copy` writes of the stack: see [`InnerStack::between`].
    fn new(registers: Vec<Registers>, copy: impl FnOnce(u64, &mut [u8]) -> usize) -> Frames {
        let sp = |registers: Option<&Registers>| registers.and_then(Registers::sp).unwrap_or_default();
        let memory = InnerStack::between(sp(registers.first()), sp(registers.last()), copy);
        Frames { registers, memory }
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
    processes: HashMap<Process, Unwinder>,
}

impl Capturer {
    /// One that knows nothing yet.
    pub fn new() -> Capturer {
        Capturer::default()
    }

    /// Forgets what was learnt of a process, which ended.
    pub fn forget(&mut self, process: &Process) {
        self.processes.remove(process);
    }

    /// Reads ahead what stacks of a process are followed by; of the own one, of the program and of its C library: the first capture
    /// would take milliseconds for it. What cannot be read is left to the first capture, which says why.
    pub fn prepare(&mut self, process: Process) {
        #[cfg(supported)]
        if let Ok(unwinder) = self.unwinder(process)
            && process.is_own()
        {
            for function in [Capturer::new as *const () as u64, libc::getpid as *const () as u64] {
                unwinder.prepare(function, &mut StackCopy::new(process));
            }
        }
        #[cfg(not(supported))]
        let _ = process;
    }

    /// What a thread is doing, if it is blocked. It is not paused, and does not notice.
    ///
    /// # Errors
    /// See [`CaptureError`]. That the stack is not complete is no error: see [`Stack::end`].
    pub fn capture(&mut self, thread: &ThreadRef) -> Result<Capture, CaptureError> {
        self.capture_with(thread, |_| ()).map(|(capture, _)| capture)
    }

    /// The same, with the stack pointer of each frame of the stack.
    ///
    /// # Errors
    /// As [`Capturer::capture`].
    pub fn capture_with_pointers(&mut self, thread: &ThreadRef) -> Result<(Capture, StackPointers), CaptureError> {
        self.capture_with(thread, |registers| StackPointers::of(&registers))
    }

    /// What a thread is doing that goes from one short wait to the next: the same, though it may have gone on while its stack was copied.
    /// Frames that were left or entered meanwhile may be wrong; those outside of them are right.
    ///
    /// # Errors
    /// As [`Capturer::capture`], but for `Torn`.
    pub fn capture_in_passing(&mut self, thread: &ThreadRef) -> Result<(Capture, StackPointers), CaptureError> {
        let slices = thread::slices(thread);
        let state = thread::state(thread)?;
        let (State::InSyscall { sp, pc, .. } | State::Stopped { sp, pc }) = state else {
            return Err(CaptureError::Running);
        };
        let registers = Registers::blocked(sp, pc);
        let (stack, registers) = self.unwind(thread.process, &registers, &mut StackCopy::new(thread.process))?;
        let syscall = located(&thread.process, &state);
        thread.process.confirm()?;
        Ok((Capture { state, slices, syscall, stack, torn_retries: 0 }, StackPointers::of(&registers)))
    }

    /// The same, with a copy of the stack and what is known of the registers of its frames.
    pub(crate) fn capture_whole(&mut self, thread: &ThreadRef) -> Result<(Capture, Frames), CaptureError> {
        self.capture_with(thread, |registers| {
            Frames::new(registers, |sp, into| memory::read(&thread.process, sp, into))
        })
    }

    /// What a thread is doing, and what else is made of its stack while it stands still.
    fn capture_with<T>(
        &mut self,
        thread: &ThreadRef,
        keep: impl Fn(Vec<Registers>) -> T,
    ) -> Result<(Capture, T), CaptureError> {
        // It would be found in the system calls that it asks by. Where threads cannot be looked at, they have no numbers either.
        if cfg!(supported) && thread.is_current() {
            return Err(CaptureError::Running);
        }
        for torn_retries in 0..=RETRIES {
            let before = Moment::before(thread)?;
            let (State::InSyscall { sp, pc, .. } | State::Stopped { sp, pc }) = before.state else {
                return Err(CaptureError::Running);
            };
            let registers = Registers::blocked(sp, pc);
            let (stack, registers) = self.unwind(thread.process, &registers, &mut StackCopy::new(thread.process))?;
            let kept = keep(registers);
            let mut syscall = located(&thread.process, &before.state);
            if Moment::after(thread)? == before {
                let Moment { state, slices } = before;
                if let Some(call) = &mut syscall {
                    call.locate_further(thread);
                }
                thread.process.confirm()?;
                return Ok((Capture { state, slices, syscall, stack, torn_retries }, kept));
            }
        }
        Err(CaptureError::Torn)
    }

    /// The stack of a running thread, of this process or of another, of which a sample was taken: by a
    /// [signal](crate::signal::RegistersAndStack) or by a [perf event](crate::perf::Sample).
    ///
    /// # Errors
    /// `Maps`, when the memory map could not be read.
    pub fn unwind_sample<'a>(&mut self, sample: impl Into<Copied<'a>>) -> Result<Stack, CaptureError> {
        self.unwind_sample_whole(sample).map(|(stack, _)| stack)
    }

    /// The same, with the stack pointer of each frame.
    ///
    /// # Errors
    /// As [`Capturer::unwind_sample`].
    pub fn unwind_sample_with_pointers<'a>(
        &mut self,
        sample: impl Into<Copied<'a>>,
    ) -> Result<(Stack, StackPointers), CaptureError> {
        let sample = sample.into();
        let (stack, registers) = self.unwind(sample.process, &sample.registers, &mut sample.memory())?;
        Ok((stack, StackPointers::of(&registers)))
    }

    /// The same, with what is known of the registers of its frames, and the stack as it was copied.
    pub(crate) fn unwind_sample_whole<'a>(
        &mut self,
        sample: impl Into<Copied<'a>>,
    ) -> Result<(Stack, Frames), CaptureError> {
        let sample = sample.into();
        let (stack, registers) = self.unwind(sample.process, &sample.registers, &mut sample.memory())?;
        Ok((stack, Frames::new(registers, |_, into| sample.copy(into))))
    }

    /// See [`Unwinder::cleanup`].
    pub(crate) fn cleanup(&mut self, process: Process, frame: CodeAddress) -> Option<(u64, Range<u64>)> {
        self.unwinder(process).ok()?.cleanup(frame, &mut StackCopy::new(process))
    }

    /// See [`Unwinder::code_with_cleanup`].
    pub(crate) fn code_with_cleanup(&mut self, process: Process, frame: CodeAddress) -> Option<Range<u64>> {
        self.unwinder(process).ok()?.code_with_cleanup(frame, &mut StackCopy::new(process))
    }

    /// The task that a frame of a stack polls: see [`task`](crate::task). It holds while the thread is in that poll.
    pub(crate) fn task(
        &mut self,
        process: Process,
        (stack, pointers): (&Stack, &StackPointers),
        registers: &[u64],
        frame: usize,
    ) -> Option<Task> {
        let unwinder = self.unwinder(process).ok()?;
        let mut memory = StackCopy::new(process);
        let polls = unwinder.function(*stack.frames.get(frame)?, &mut memory)?.start;
        let read = |address, into: &mut [u8]| memory::read(&process, address, into);
        let part = pointers.get(0)?..pointers.get(frame + 1)?;
        task::polled(part, registers, unwinder.maps(), &read, |function| follow_jumps(function, &mut memory) == polls)
    }

    fn unwinder(&mut self, process: Process) -> Result<&mut Unwinder, CaptureError> {
        Ok(match self.processes.entry(process) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Unwinder::new(maps(&process)?)),
        })
    }

    fn unwind(
        &mut self,
        process: Process,
        registers: &Registers,
        memory: &mut dyn Memory,
    ) -> Result<(Stack, Vec<Registers>), CaptureError> {
        let unwinder = self.unwinder(process)?;
        let unwound = unwinder.unwind_with_registers(registers, memory);
        if unwound.0.is_complete() {
            return Ok(unwound);
        }
        // A library may have been loaded since.
        let maps = maps(&process)?;
        if maps == *unwinder.maps() {
            return Ok(unwound);
        }
        unwinder.update(maps);
        Ok(unwinder.unwind_with_registers(registers, memory))
    }
}

fn maps(process: &Process) -> Result<Maps, CaptureError> {
    Maps::read(process).map_err(|error| CaptureError::Maps(process.file("maps"), error))
}

/// The call that a thread is in, by this state of it.
fn located(process: &Process, state: &State) -> Option<Syscall> {
    let State::InSyscall { number, args, .. } = state else { return None };
    let mut call = Syscall::new(*number, args);
    call.locate(process);
    Some(call)
}

/// The call that a thread is in, if it is still in this state, and was so all the time that it took to find out where that leads.
pub(crate) fn call_in(thread: &ThreadRef, state: &State) -> Option<Syscall> {
    let before = Moment::before(thread).ok().filter(|before| before.state == *state)?;
    let call = located(&thread.process, state)?;
    Moment::after(thread).is_ok_and(|after| after == before).then_some(call)
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
    fn before(thread: &ThreadRef) -> Result<Moment, ReadError> {
        let slices = thread::slices(thread);
        Ok(Moment { slices, state: thread::state(thread)? })
    }

    fn after(thread: &ThreadRef) -> Result<Moment, ReadError> {
        let state = thread::state(thread)?;
        Ok(Moment { slices: thread::slices(thread), state })
    }
}
