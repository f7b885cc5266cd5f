//! One look at a thread that is late: its system call, its stack, and the line of the user's code.

use std::path::PathBuf;
use std::time::Duration;

use pollscope_stacks::capture::{Capture, CaptureError, Capturer};
use pollscope_stacks::poll::{self, Kind, PollStack, Rules};
use pollscope_stacks::signal::Sampler;
use pollscope_stacks::symbolize::{Frame, Symbolizer, shorten};
use pollscope_stacks::syscall::Syscall;
use pollscope_stacks::thread::{State, ThreadRef};
use pollscope_stacks::unwind::Stack;

use crate::evidence::{Call, Cause, StackFrame};

/// How long a running thread may take to copy its stack: as long as it is not scheduled.
const SAMPLE_PATIENCE: Duration = Duration::from_millis(20);

/// What was seen, not yet named: quick to take, while the thread is still there.
#[derive(Debug, Clone, Default)]
pub(super) struct Shot {
    pub(super) at_ns: u64,
    /// What being off the CPU is here; `None` when it was on it.
    pub(super) off_cpu: Option<Cause>,
    pub(super) call: Option<Call>,
    /// `None` when it could not be copied.
    pub(super) stack: Option<Stack>,
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
    pub(super) fn is_same_place(&self, other: &Picture) -> bool {
        let name = |picture: &Picture| picture.shot.call.as_ref().map(|call| call.name.clone());
        self.blocking_line == other.blocking_line && name(self) == name(other)
    }
}

/// Looks at threads of this process.
pub(super) struct Camera {
    capturer: Capturer,
    symbolizer: Symbolizer,
    /// Installs its handler at the first thread that is late and runs; `Err` once that failed.
    sampler: Option<Result<Sampler, ()>>,
    rules: Rules,
    /// Paths are shown from these folders on.
    shown_from: Vec<PathBuf>,
}

impl Camera {
    pub(super) fn new(source_roots: Vec<PathBuf>) -> Camera {
        let here = std::env::current_dir().ok();
        let shown_from = source_roots.iter().cloned().chain(here).collect();
        Camera {
            shown_from,
            capturer: Capturer::new(),
            symbolizer: Symbolizer::new(None),
            sampler: None,
            rules: Rules { roots: source_roots, ..Rules::default() },
        }
    }

    /// `None` when the thread cannot be looked at.
    pub(super) fn shoot(&mut self, tid: u32, at_ns: u64) -> Option<Shot> {
        match self.capturer.capture(&ThreadRef::here(tid)) {
            Ok(capture) => Some(blocked(capture, at_ns)),
            Err(CaptureError::Running) => Some(Shot { at_ns, stack: self.sample(tid), ..Shot::default() }),
            Err(_) => None,
        }
    }

    fn sample(&mut self, tid: u32) -> Option<Stack> {
        let sampler = self.sampler.get_or_insert_with(|| Sampler::install().map_err(|_| ()));
        let sample = sampler.as_ref().ok()?.sample(tid, SAMPLE_PATIENCE).ok()?;
        self.capturer.unwind_sample(&sample).ok()
    }

    /// Names what a shot shows. The first time in a program it reads debug information, for some 50 ms.
    pub(super) fn develop(&mut self, shot: &Shot) -> Picture {
        let Some(stack) = &shot.stack else { return Picture { shot: shot.clone(), ..Picture::default() } };
        let symbols = self.symbolizer.symbolize_stack(&stack.frames);
        let found = poll::find(&symbols, &self.rules);
        let line = found.line();
        // Up to the poll: what called it is the runtime's, the same for every task.
        let shown = found.poll.as_ref().map_or(usize::MAX, |poll| poll.index + 1);
        let frames: Vec<StackFrame> = poll::frames(&symbols).take(shown).map(|frame| self.frame(frame)).collect();
        Picture {
            special: special(&found, &frames),
            blocking_line: line.and_then(|frame| self.place(frame)),
            function: line.and_then(|frame| frame.function.clone()),
            stack: frames,
            complete: Some(stack.is_complete()),
            shot: shot.clone(),
        }
    }

    fn frame(&self, frame: &Frame) -> StackFrame {
        let file = frame.file.as_deref().map(|file| shorten(file, &self.shown_from).to_owned());
        StackFrame { function: frame.function.clone(), file, line: frame.line }
    }

    fn place(&self, frame: &Frame) -> Option<String> {
        let StackFrame { file, line, .. } = self.frame(frame);
        Some(format!("{}:{}", file?, line?))
    }
}

fn blocked(capture: Capture, at_ns: u64) -> Shot {
    let call = capture.syscall.as_ref().map(call);
    let off_cpu = match (&capture.state, &call) {
        (State::InSyscall { .. }, Some(call)) if call.name == "futex" => Some(Cause::Lock),
        (State::InSyscall { .. }, _) => Some(Cause::BlockingCall),
        (State::Stopped { .. }, _) => Some(Cause::PageFault),
        (State::Running, _) => None,
    };
    Shot { at_ns, off_cpu, call, stack: Some(capture.stack) }
}

fn special(found: &PollStack, stack: &[StackFrame]) -> Option<Cause> {
    if found.kind == Kind::BlockInPlace {
        return Some(Cause::BlockInPlace);
    }
    let panics = stack.iter().filter_map(|frame| frame.function.as_deref()).any(|function| {
        function.contains("rust_begin_unwind") || function.contains("panicking::") && function.contains("rust_panic")
    });
    panics.then_some(Cause::Panic)
}

fn call(syscall: &Syscall) -> Call {
    Call {
        name: syscall.name.map_or_else(|| format!("syscall {}", syscall.number), str::to_owned),
        fd: syscall.fd,
        path: syscall.path.as_ref().map(|path| path.display().to_string()),
        bytes: syscall.bytes,
        text: syscall.to_string(),
    }
}
