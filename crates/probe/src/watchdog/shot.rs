//! One look at a thread that is late: its system call, its stack, and the line of the user's code.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pollscope_stacks::capture::{Capture, CaptureError, Capturer};
use pollscope_stacks::poll::{self, Kind, PollStack, Rules};
use pollscope_stacks::process::Process;
use pollscope_stacks::signal::{MOST, RegistersAndStack, SampleError, Sampler};
use pollscope_stacks::symbolize::{Frame, Symbolizer, shorten};
use pollscope_stacks::syscall::Syscall;
use pollscope_stacks::thread::{State, ThreadRef};
use pollscope_stacks::unwind::Stack;

use super::glance::off_cpu;
use super::{reasons, trim};
use crate::notes::Notes;
use pollscope_base::{Call, Cause, Frame as StackFrame};

/// How long a running thread may take to copy its stack: as long as it is not scheduled. Other threads are not looked at
/// meanwhile; who was in vain is asked again.
const SAMPLE_PATIENCE: Duration = Duration::from_millis(5);
/// How long threads may take, in the end, to take signals that came when they had no CPU.
const LAST_SIGNALS: Duration = Duration::from_secs(10);
/// How often what is mapped where is read anew, while there is something to name.
const REFRESH_EVERY: Duration = Duration::from_secs(1);
/// How often a look is begun anew at once, when the thread begins or ceases to run in the middle of it.
const ATTEMPTS: u32 = 4;

/// What was seen, not yet named: quick to take, while the thread is still there.
#[derive(Debug, Clone, Default)]
pub(super) struct Shot {
    pub(super) at_ns: u64,
    /// What being off the CPU is here; `None` when it was on it.
    pub(super) off_cpu: Option<Cause>,
    pub(super) call: Option<Call>,
    /// `None` when it could not be copied.
    pub(super) stack: Option<Stack>,
    /// Whether that is as the thread, which ran, did not answer in time.
    pub(super) is_unanswered: bool,
}

/// A shot whose addresses have names.
#[derive(Debug, Clone, Default)]
pub(super) struct Picture {
    pub(super) shot: Shot,
    /// What decides the cause whatever the clocks say.
    pub(super) special: Option<Cause>,
    pub(super) blocking_line: Option<String>,
    pub(super) function: Option<String>,
    pub(super) stack: Vec<StackFrame>,
    pub(super) complete: Option<bool>,
}

impl Picture {
    pub(super) fn unnamed(shot: &Shot) -> Picture {
        Picture { shot: shot.clone(), ..Picture::default() }
    }

    pub(super) fn is_same_place(&self, other: &Picture) -> bool {
        let name = |picture: &Picture| picture.shot.call.as_ref().map(|call| call.name.clone());
        self.blocking_line == other.blocking_line && name(self) == name(other)
    }
}

/// Looks at threads of this process.
pub(super) struct Camera {
    process: Process,
    capturer: Capturer,
    /// Installs its handler at the first thread that is late and runs, until the last camera is gone; `Err` once that failed.
    sampler: Option<Result<Sampler, ()>>,
    is_prepared: bool,
    /// Why something is missing.
    notes: Arc<Notes>,
}

impl Camera {
    pub(super) fn new(process: Process, notes: Arc<Notes>) -> Camera {
        Camera { process, capturer: Capturer::new(), sampler: None, is_prepared: false, notes }
    }

    /// Reads the unwinding tables, ahead of the first shot: they take longer than it.
    pub(super) fn prepare(&mut self) {
        if !std::mem::replace(&mut self.is_prepared, true) {
            self.capturer.prepare(self.process);
        }
    }

    /// `None` when the thread cannot be looked at.
    pub(super) fn shoot(&mut self, thread: &ThreadRef, at_ns: u64) -> Option<Shot> {
        for _ in 0..ATTEMPTS {
            match self.capturer.capture(thread) {
                Ok(capture) => {
                    self.notes.add(reasons::of_capture(&capture));
                    return Some(blocked(capture, at_ns));
                }
                Err(CaptureError::Running) => match self.sample(thread) {
                    Err(SampleError::NotRunning) => {}
                    sampled => {
                        let why =
                            sampled.as_ref().err().and_then(|error| reasons::of_sample_error(&self.process, error));
                        self.notes.add(why);
                        let is_unanswered = matches!(sampled, Err(SampleError::TimedOut | SampleError::Pending));
                        return Some(Shot { at_ns, stack: sampled.ok().flatten(), is_unanswered, ..Shot::default() });
                    }
                },
                Err(CaptureError::Torn) => {}
                Err(error) => {
                    self.notes.add(reasons::of_capture_error(&self.process, &error));
                    return None;
                }
            }
        }
        // It runs and blocks by turns.
        Some(Shot { at_ns, ..Shot::default() })
    }

    /// Removes the signal handler, if it was installed. Nobody waits for this thread any more, so it may take a while.
    pub(super) fn close(self) {
        if let Some(Ok(sampler)) = self.sampler {
            sampler.remove(LAST_SIGNALS);
        }
    }

    /// Whether a shot without a stack can be hoped to succeed later.
    pub(super) fn can_sample(&self) -> bool {
        !matches!(self.sampler, Some(Err(())))
    }

    fn sample(&mut self, thread: &ThreadRef) -> Result<Option<Stack>, SampleError> {
        let (notes, process) = (&self.notes, &self.process);
        let install = || Sampler::install().map_err(|error| notes.add(reasons::of_install_error(&error)));
        let Ok(sampler) = self.sampler.get_or_insert_with(install) else { return Ok(None) };
        let mut unwind = |sample: &RegistersAndStack| {
            let unwound = self.capturer.unwind_sample(sample);
            unwound.map_err(|error| notes.add(reasons::of_capture_error(process, &error))).ok()
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

/// Names what shots show.
pub(super) struct Namer {
    process: Process,
    symbolizer: Symbolizer,
    rules: Rules,
    /// When it last asked what is mapped where.
    refreshed: Option<Instant>,
    /// Paths are shown from these folders on.
    shown_from: Vec<PathBuf>,
    /// Why something is missing.
    notes: Arc<Notes>,
    /// What a test has it do before it names anything.
    #[cfg(test)]
    pub(super) before: Option<Box<dyn FnMut() + Send>>,
}

impl Namer {
    pub(super) fn new(process: Process, source_roots: Vec<PathBuf>, notes: Arc<Notes>, redacted: bool) -> Namer {
        // A path made relative to wherever the process was started could no longer be told from one that may be shown.
        let here = if redacted { None } else { std::env::current_dir().ok() };
        let shown_from = source_roots.iter().cloned().chain(here).collect();
        Namer {
            process,
            shown_from,
            notes,
            symbolizer: Symbolizer::new(process),
            refreshed: None,
            #[cfg(test)]
            before: None,
            rules: Rules { roots: source_roots, ..Rules::default() },
        }
    }

    /// Names what a shot shows. The first time in a program it reads debug information, for some 50 ms.
    pub(super) fn develop(&mut self, shot: &Shot) -> Picture {
        #[cfg(test)]
        self.before.iter_mut().for_each(|before| before());
        let Some(stack) = &shot.stack else { return Picture::unnamed(shot) };
        self.refresh();
        let symbols = self.symbolizer.symbolize_stack(&stack.frames);
        let panic = symbols.iter().rposition(|(_, symbols)| symbols.frames.iter().any(panics));
        let found = poll::find(&symbols, &self.rules);
        // What prints a panic has crates of its own: the line is that of whoever panicked.
        let panicked = panic.map(|panic| poll::find(&symbols[panic + 1..], &self.rules));
        let line = panicked.as_ref().unwrap_or(&found).line();
        // Up to the poll: what called it is the runtime's, the same for every task.
        let shown = found.poll.as_ref().map_or(usize::MAX, |poll| poll.index + 1);
        let frames: Vec<StackFrame> = poll::frames(&symbols).take(shown).map(|frame| self.frame(frame)).collect();
        let blocking_line = line.and_then(|frame| self.place(frame));
        if blocking_line.is_none() {
            self.notes.add(reasons::of_missing_line(&self.process, stack, &self.symbolizer.modules()));
        }
        Picture {
            special: special(&found, panic.is_some()),
            blocking_line,
            function: line.and_then(|frame| frame.function.as_deref()).map(trim::name),
            stack: trim::stack(frames),
            complete: Some(stack.is_complete()),
            shot: shot.clone(),
        }
    }

    /// Now and then: since the last time a library may have been unloaded, and another one be in its place.
    fn refresh(&mut self) {
        if self.refreshed.is_none_or(|at| at.elapsed() >= REFRESH_EVERY) {
            self.refreshed = Some(Instant::now());
            // What cannot be read now was not before: a note says so.
            let _ = self.symbolizer.refresh();
        }
    }

    fn frame(&self, frame: &Frame) -> StackFrame {
        let file = frame.file.as_deref().map(|file| shorten(file, &self.shown_from).to_owned());
        StackFrame { function: frame.function.as_deref().map(trim::name), file, line: frame.line }
    }

    fn place(&self, frame: &Frame) -> Option<String> {
        let StackFrame { file, line, .. } = self.frame(frame);
        Some(format!("{}:{}", file?, line?))
    }
}

fn blocked(capture: Capture, at_ns: u64) -> Shot {
    let call = capture.syscall.as_ref().map(call);
    let off_cpu = match (&capture.state, &call) {
        (State::InSyscall { .. }, call) => call.as_ref().map(off_cpu),
        (State::Stopped { .. }, _) => Some(Cause::PageFault),
        (State::Running, _) => None,
    };
    Shot { at_ns, off_cpu, call, stack: Some(capture.stack), is_unanswered: false }
}

fn special(found: &PollStack, panics: bool) -> Option<Cause> {
    match found.kind {
        Kind::BlockInPlace => Some(Cause::BlockInPlace),
        _ => panics.then_some(Cause::Panic),
    }
}

/// Whether a frame is where a panic is printed or unwound.
fn panics(frame: &Frame) -> bool {
    const PARTS: [&str; 7] = [
        "rust_begin_unwind",
        "rust_panic",
        "panicking::panic_handler",
        "panicking::panic_with_hook",
        "panicking::panic_fmt",
        "panicking::begin_panic",
        "panicking::default_hook",
    ];
    frame.function.as_deref().is_some_and(|function| PARTS.iter().any(|part| function.contains(part)))
}

pub(super) fn call(syscall: &Syscall) -> Call {
    Call {
        name: syscall.name.map_or_else(|| format!("syscall {}", syscall.number), str::to_owned),
        fd: syscall.fd,
        path: syscall.path.as_ref().map(|path| path.display().to_string()),
        bytes: syscall.bytes,
        text: syscall.to_string(),
    }
}
