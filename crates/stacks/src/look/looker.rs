//! One look at a thread, while it is late: its system call and its stack.

use std::ops::Range;
use std::time::Duration;

use pollscope_base::{Call, CaptureNote, Cause};

use super::call::{call, off_cpu};
use super::capture_limits::{self, CaptureLimits};
use crate::address::CodeAddress;
use crate::capture::{Capture, CaptureError, Capturer, Frames};
use crate::process::Process;
use crate::sample::Copied;
use crate::seccomp;
use crate::signal::{MOST_DEEP, MOST_WHOLE, RegistersAndStack, SampleError, Sampler};
use crate::task::Task;
use crate::thread::{State, ThreadRef};
use crate::unwind::{Stack, StackPointers};
use crate::wait::FutexWait;

/// How long a running thread may take to copy its stack: as long as it is not scheduled. Other threads are not looked at
/// meanwhile; who was in vain is asked again.
const SAMPLE_PATIENCE: Duration = Duration::from_millis(5);
/// How long threads may take, in the end, to take signals that came when they had no CPU.
const LAST_SIGNALS: Duration = Duration::from_secs(10);
/// How often a look is begun again at once, when the thread begins or ceases to run in the middle of it.
const ATTEMPTS: u32 = 4;

/// What was seen, not yet named: quick to take, while the thread is still there.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// When it was taken, by the clock of the one who asked.
    pub at_ns: u64,
    /// What being off the CPU is here; `None` when it was on it.
    pub off_cpu: Option<Cause>,
    /// The system call that it was in.
    pub call: Option<Call>,
    /// The futex that it waited in, if that is what the call was.
    pub futex: Option<FutexWait>,
    /// `None` when it could not be copied.
    pub stack: Option<Stack>,
    /// Whether that is as the thread, which ran, did not answer in time.
    pub is_unanswered: bool,
    /// Whether its answer may still come: see [`Looker::late`].
    pub is_awaited: bool,
}

/// Looks at threads of one process.
#[derive(Debug)]
pub struct Looker {
    process: Process,
    capturer: Capturer,
    /// Installs its handler at the first thread of the own process that runs, until the last looker is gone; `Err` once that failed.
    sampler: Option<Result<Sampler, ()>>,
    is_prepared: bool,
    limits: CaptureLimits,
}

impl Looker {
    /// For threads of this process. A running thread of the own process is asked by a [signal](crate::signal) where it is, and
    /// one of another process not at all.
    pub fn new(process: Process) -> Looker {
        let (capturer, limits) = (Capturer::new(), CaptureLimits::default());
        Looker { process, capturer, sampler: None, is_prepared: false, limits }
    }

    /// Reads the unwinding tables, ahead of the first look: they take longer than it.
    pub fn prepare(&mut self) {
        if !std::mem::replace(&mut self.is_prepared, true) {
            seccomp::look();
            self.capturer.prepare(self.process);
        }
    }

    /// What a thread of the process is doing; `None` when it cannot be looked at.
    pub fn look(&mut self, thread: &ThreadRef, at_ns: u64) -> Option<Look> {
        let blocked = |capturer: &mut Capturer| Ok((capturer.capture(thread)?, Frames::default()));
        self.look_by(blocked, thread, at_ns).map(|(look, _)| look)
    }

    /// The same of a thread of any process that is blocked, with the stack pointers of its frames; `None` as well of one that runs.
    pub fn look_blocked(&mut self, thread: &ThreadRef, at_ns: u64) -> Option<(Look, StackPointers)> {
        for _ in 0..ATTEMPTS {
            match self.capturer.capture_with_pointers(thread) {
                Ok((capture, pointers)) => {
                    self.limits.add(capture_limits::of_capture(&capture));
                    return Some((blocked(capture, at_ns), pointers));
                }
                Err(CaptureError::Torn) => {}
                Err(CaptureError::Running) => return None,
                Err(error) => {
                    self.limits.add(capture_limits::of_capture_error(&self.process, &error));
                    return None;
                }
            }
        }
        None
    }

    /// The same of one that goes from one short wait to the next, whose inner frames may then be wrong: see
    /// [`Capturer::capture_in_passing`].
    pub fn look_in_passing(&mut self, thread: &ThreadRef, at_ns: u64) -> Option<(Look, StackPointers)> {
        let captured = self.capturer.capture_in_passing(thread).ok().filter(|(capture, _)| capture.stack.is_complete());
        captured.map(|(capture, pointers)| (blocked(capture, at_ns), pointers))
    }

    /// What a thread was doing when it was sampled, which it was while it ran.
    pub fn look_at_sample<'a>(&mut self, sample: impl Into<Copied<'a>>, at_ns: u64) -> Option<(Look, StackPointers)> {
        let unwound = self.capturer.unwind_sample_with_pointers(sample);
        let unwound = unwound.map_err(|error| self.limits.add(capture_limits::of_capture_error(&self.process, &error)));
        let (stack, pointers) = unwound.ok()?;
        Some((Look { at_ns, stack: Some(stack), ..Look::default() }, pointers))
    }

    /// The task that the frame polls which returns to this address, of a stack that was looked at just now, if it is a task of Tokio 1.28
    /// or later; `registers` are what its thread had in them, as far as that is known. It is certain if the thread is still in that poll
    /// afterwards.
    pub fn task(&mut self, look: &Look, pointers: &StackPointers, registers: &[u64], returns_to: u64) -> Option<Task> {
        let stack = look.stack.as_ref()?;
        let frame = (0..stack.frames.len()).find(|frame| stack.returns_to(*frame) == Some(returns_to))?;
        self.capturer.task(self.process, (stack, pointers), registers, frame)
    }

    /// The same as [`Looker::look`], with what the frames of its stack had.
    pub(crate) fn look_whole(&mut self, thread: &ThreadRef, at_ns: u64) -> Option<(Look, Frames)> {
        self.look_by(|capturer| capturer.capture_whole(thread), thread, at_ns)
    }

    /// Where the function of a frame drops what it has: see [`Unwinder::cleanup`](crate::unwind::Unwinder::cleanup).
    pub(crate) fn cleanup(&mut self, frame: CodeAddress) -> Option<(u64, Range<u64>)> {
        self.capturer.cleanup(self.process, frame)
    }

    /// See [`Unwinder::code_with_cleanup`](crate::unwind::Unwinder::code_with_cleanup).
    pub(crate) fn code_with_cleanup(&mut self, frame: CodeAddress) -> Option<Range<u64>> {
        self.capturer.code_with_cleanup(self.process, frame)
    }

    fn look_by(
        &mut self,
        look_at_blocked: impl Fn(&mut Capturer) -> Result<(Capture, Frames), CaptureError>,
        thread: &ThreadRef,
        at_ns: u64,
    ) -> Option<(Look, Frames)> {
        seccomp::look();
        for _ in 0..ATTEMPTS {
            match look_at_blocked(&mut self.capturer) {
                Ok((capture, frames)) => {
                    self.limits.add(capture_limits::of_capture(&capture));
                    return Some((blocked(capture, at_ns), frames));
                }
                Err(CaptureError::Running) => match self.sample(thread) {
                    Err(SampleError::NotRunning) => {}
                    sampled => {
                        let why = sampled.as_ref().err();
                        self.limits.add(why.and_then(|why| capture_limits::of_sample_error(&self.process, why)));
                        let is_awaited = matches!(sampled, Err(SampleError::TimedOut));
                        let is_unanswered =
                            is_awaited || matches!(sampled, Err(SampleError::NotOnCpu | SampleError::Pending));
                        let (stack, frames) = sampled.ok().flatten().unzip();
                        let look = Look { at_ns, stack, is_unanswered, is_awaited, ..Look::default() };
                        return Some((look, frames.unwrap_or_default()));
                    }
                },
                Err(CaptureError::Torn) => {}
                Err(error) => {
                    self.limits.add(capture_limits::of_capture_error(&self.process, &error));
                    return None;
                }
            }
        }
        // It runs and blocks by turns.
        Some((Look { at_ns, ..Look::default() }, Frames::default()))
    }

    /// What a thread shows whose answer was [awaited](Look::is_awaited) after a look, and came since. It was there from then on until it
    /// answered, if it was in the same poll at the end of that look.
    pub fn late(&mut self, thread: &ThreadRef, at_ns: u64) -> Option<Look> {
        let Some(Ok(sampler)) = &self.sampler else { return None };
        let sample = sampler.late(thread)?;
        let unwound = self.capturer.unwind_sample(&sample);
        let stack = unwound.map_err(|error| self.limits.add(capture_limits::of_capture_error(&self.process, &error)));
        Some(Look { at_ns, stack: Some(stack.ok()?), ..Look::default() })
    }

    /// What a thread answers from now on shows something else.
    pub fn forget(&self, thread: &ThreadRef) {
        if let Some(Ok(sampler)) = &self.sampler {
            sampler.forget(thread);
        }
    }

    /// Drops the unwinding tables: the next look reads them again.
    pub fn give_back(&mut self) {
        self.capturer.forget(&self.process);
        self.is_prepared = false;
    }

    /// Why something is missing from looks: what was found since this was last asked.
    pub fn take_limits(&mut self) -> Vec<CaptureNote> {
        self.limits.take()
    }

    /// Removes the signal handler, if it was installed. It may take a while: nobody should wait for this thread any more.
    pub fn close(self) {
        if let Some(Ok(sampler)) = self.sampler {
            sampler.remove(LAST_SIGNALS);
        }
    }

    /// Whether a look that showed no stack can be hoped to succeed later.
    pub fn can_sample(&self) -> bool {
        self.process.is_own() && seccomp::may_call() && !matches!(self.sampler, Some(Err(())))
    }

    /// `None` where no running thread can be asked.
    fn sample(&mut self, thread: &ThreadRef) -> Result<Option<(Stack, Frames)>, SampleError> {
        if !self.process.is_own() {
            return Ok(None);
        }
        // Without a signal to be sent, no handler is installed.
        if !seccomp::may_call() {
            return Err(SampleError::Filtered);
        }
        let (limits, process) = (&mut self.limits, &self.process);
        let install = || Sampler::install().map_err(|error| limits.add(capture_limits::of_install_error(&error)));
        let Ok(sampler) = self.sampler.get_or_insert_with(install) else { return Ok(None) };
        let mut unwind = |sample: &RegistersAndStack| {
            let unwound = self.capturer.unwind_sample_whole(sample);
            unwound.map_err(|error| limits.add(capture_limits::of_capture_error(process, &error))).ok()
        };
        let sample = sampler.sample(thread, SAMPLE_PATIENCE)?;
        let mut unwound = unwind(&sample);
        for most in [MOST_DEEP, MOST_WHOLE] {
            if !unwound.as_ref().is_some_and(|(stack, _)| stack.is_cut()) {
                break;
            }
            // Deeper than what was copied. Of one that blocked meanwhile this much is certain.
            let Ok(sample) = sampler.sample_up_to(most, thread, SAMPLE_PATIENCE) else { break };
            unwound = unwind(&sample).or(unwound);
        }
        Ok(unwound)
    }
}

fn blocked(capture: Capture, at_ns: u64) -> Look {
    let call = capture.syscall.as_ref().map(call);
    let off_cpu = match (&capture.state, &call) {
        (State::InSyscall { .. }, call) => call.as_ref().map(off_cpu),
        (State::Stopped { .. }, _) => Some(Cause::PageFault),
        (State::Running, _) => None,
    };
    let futex = FutexWait::of(&capture.state);
    Look { at_ns, off_cpu, call, futex, stack: Some(capture.stack), ..Look::default() }
}
