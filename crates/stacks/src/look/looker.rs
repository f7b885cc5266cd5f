//! One look at a thread, while it is late: its system call and its stack.

use std::time::Duration;

use pollscope_base::{Call, CaptureNote, Cause};

use super::call::{call, off_cpu};
use super::capture_limits::{self, CaptureLimits};
use crate::capture::{Capture, CaptureError, Capturer};
use crate::process::Process;
use crate::seccomp;
use crate::signal::{MOST, RegistersAndStack, SampleError, Sampler};
use crate::thread::{State, ThreadRef};
use crate::unwind::Stack;

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
    /// `None` when it could not be copied.
    pub stack: Option<Stack>,
    /// Whether that is as the thread, which ran, did not answer in time.
    pub is_unanswered: bool,
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
        seccomp::look();
        for _ in 0..ATTEMPTS {
            match self.capturer.capture(thread) {
                Ok(capture) => {
                    self.limits.add(capture_limits::of_capture(&capture));
                    return Some(blocked(capture, at_ns));
                }
                Err(CaptureError::Running) => match self.sample(thread) {
                    Err(SampleError::NotRunning) => {}
                    sampled => {
                        let why = sampled.as_ref().err();
                        self.limits.add(why.and_then(|why| capture_limits::of_sample_error(&self.process, why)));
                        let is_unanswered = matches!(sampled, Err(SampleError::TimedOut | SampleError::Pending));
                        return Some(Look { at_ns, stack: sampled.ok().flatten(), is_unanswered, ..Look::default() });
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
        Some(Look { at_ns, ..Look::default() })
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
    fn sample(&mut self, thread: &ThreadRef) -> Result<Option<Stack>, SampleError> {
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
            let unwound = self.capturer.unwind_sample(sample);
            unwound.map_err(|error| limits.add(capture_limits::of_capture_error(process, &error))).ok()
        };
        let sample = sampler.sample(thread, SAMPLE_PATIENCE)?;
        let stack = unwind(&sample);
        if sample.stack_len() < MOST || stack.as_ref().is_some_and(Stack::is_complete) {
            return Ok(stack);
        }
        // Deeper than what was copied.
        let deep = sampler.sample_deep(thread, SAMPLE_PATIENCE).ok().and_then(|sample| unwind(&sample));
        Ok(deep.filter(Stack::is_complete).or(stack))
    }
}

fn blocked(capture: Capture, at_ns: u64) -> Look {
    let call = capture.syscall.as_ref().map(call);
    let off_cpu = match (&capture.state, &call) {
        (State::InSyscall { .. }, call) => call.as_ref().map(off_cpu),
        (State::Stopped { .. }, _) => Some(Cause::PageFault),
        (State::Running, _) => None,
    };
    Look { at_ns, off_cpu, call, stack: Some(capture.stack), is_unanswered: false }
}
