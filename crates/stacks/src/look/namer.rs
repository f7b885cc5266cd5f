//! Names what looks show.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use pollscope_base::{CaptureNote, Cause, Frame as StackFrame};

use super::capture_limits::{self, CaptureLimits};
use super::looker::Look;
use super::named::NamedLook;
use super::stack_limits;
use crate::poll::{self, Kind, PollStack, Rules};
use crate::process::Process;
use crate::seccomp;
use crate::symbolize::{Frame, Symbolizer, shorten};

/// How often what is mapped where is read again, while there is something to name.
const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// Names what looks at one process show.
#[derive(Debug)]
pub struct Namer {
    process: Process,
    symbolizer: Symbolizer,
    rules: Rules,
    /// When it last asked what is mapped where.
    refreshed: Option<Instant>,
    /// Paths are shown from these folders on.
    shown_from: Vec<PathBuf>,
    limits: CaptureLimits,
}

impl Namer {
    /// `source_roots`: the folders of the user's workspace, as the compiler saw them. Paths are shown from these on, and, unless
    /// `is_redacted`, from the folder that the process runs in.
    pub fn new(process: Process, source_roots: Vec<PathBuf>, is_redacted: bool) -> Namer {
        // A path made relative to wherever the process was started could no longer be told from one that may be shown.
        let here = if is_redacted { None } else { process.current_folder().ok() };
        Namer {
            process,
            symbolizer: Symbolizer::new(process),
            refreshed: None,
            shown_from: source_roots.iter().cloned().chain(here).collect(),
            rules: Rules { roots: source_roots, ..Rules::default() },
            limits: CaptureLimits::default(),
        }
    }

    /// Names what a look shows. The first time in a program it reads debug information, for some 50 ms.
    pub fn name(&mut self, look: &Look) -> NamedLook {
        let Some(stack) = &look.stack else { return NamedLook::unnamed(look) };
        seccomp::look();
        self.refresh();
        let symbols = self.symbolizer.symbolize_stack(&stack.frames);
        let panic = symbols.iter().rposition(|(_, symbols)| symbols.frames.iter().any(panics));
        let found = poll::find(&symbols, &self.rules);
        // What prints a panic has crates of its own: the line is that of the one who panicked.
        let panicked = panic.map(|panic| poll::find(&symbols[panic + 1..], &self.rules));
        let line = panicked.as_ref().unwrap_or(&found).line();
        // Up to the poll: what called it is the runtime's, the same for every task.
        let shown = found.poll.as_ref().map_or(usize::MAX, |poll| poll.index + 1);
        let frames: Vec<StackFrame> = poll::frames(&symbols).take(shown).map(|frame| self.frame(frame)).collect();
        let blocking_line = line.and_then(|frame| self.place(frame));
        if blocking_line.is_none() {
            self.limits.add(capture_limits::of_missing_line(&self.process, stack, &self.symbolizer.modules()));
        }
        NamedLook {
            special_cause: special_cause(&found, panic.is_some()),
            blocking_line,
            function: line.and_then(|frame| frame.function.as_deref()).map(stack_limits::name),
            stack: stack_limits::stack(frames),
            is_complete: Some(stack.is_complete()),
            look: look.clone(),
        }
    }

    /// Why something has no name: what was found since this was last asked.
    pub fn take_limits(&mut self) -> Vec<CaptureNote> {
        self.limits.take()
    }

    /// Now and then: since the last time a library may have been unloaded, and another one be in its place.
    fn refresh(&mut self) {
        if self.refreshed.is_none_or(|at| at.elapsed() >= REFRESH_EVERY) {
            self.refreshed = Some(Instant::now());
            // What cannot be read now was not before: a limit says so.
            let _ = self.symbolizer.refresh();
        }
    }

    fn frame(&self, frame: &Frame) -> StackFrame {
        let file = frame.file.as_deref().map(|file| shorten(file, &self.shown_from).to_owned());
        StackFrame { function: frame.function.as_deref().map(stack_limits::name), file, line: frame.line }
    }

    fn place(&self, frame: &Frame) -> Option<String> {
        let StackFrame { file, line, .. } = self.frame(frame);
        Some(format!("{}:{}", file?, line?))
    }
}

fn special_cause(found: &PollStack, panics: bool) -> Option<Cause> {
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
