//! Names what looks show.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pollscope_base::{CaptureNote, Cause, Frame as StackFrame};

use super::capture_limits::{self, CaptureLimits};
use super::looker::Look;
use super::named::NamedLook;
use super::stack_limits::{self, Gap};
use crate::address::CodeAddress;
use crate::poll::{self, Kind, PollStack, Rules};
use crate::process::Process;
use crate::seccomp;
use crate::symbolize::{Frame, ModuleInfo, Symbolizer, Symbols, shorten};
use crate::unwind::{End, Stack};

/// How often what is mapped where is read again, while there is something to name.
const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// So many stacks are kept with their names.
const MOST_KNOWN: usize = 256;
/// So many of the outermost frames of the user's code are kept apart.
const MOST_CALLERS: usize = 64;

/// How paths are shown.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Where paths are shown from of which nothing better is known.
    here: Vec<PathBuf>,
    /// Whether a path that is made relative could no longer be told from one that may be shown.
    is_redacted: bool,
}

impl Shown {
    /// `compiled_in`: see [`Frame::compiled_in`].
    pub(crate) fn path<'a>(&self, file: &'a str, compiled_in: Option<&str>, rules: &Rules) -> &'a str {
        let from_root = shorten(file, &rules.roots);
        match compiled_in {
            _ if from_root.len() < file.len() => from_root,
            _ if self.is_redacted => file,
            Some("") => file,
            Some(folder) => shorten(file, &[folder.into()]),
            None => shorten(file, &self.here),
        }
    }
}

/// Names what looks at one process show.
#[derive(Debug)]
pub struct Namer {
    process: Process,
    symbolizer: Symbolizer,
    rules: Rules,
    /// When it last asked what is mapped where.
    refreshed: Option<Instant>,
    /// What stacks show, since then: a loop that is held up again and again is mostly where it was before.
    known: HashMap<Vec<CodeAddress>, NamedLook>,
    shown: Shown,
    /// Where the user's code that was named last was compiled.
    compiled_in: Option<Arc<str>>,
    limits: CaptureLimits,
}

impl Namer {
    /// `source_roots`: the folders of the user's workspace, as the compiler saw them. Paths below them are shown from there on, and others
    /// as the compiler was given them, as the code's own `Location`s are: from the folder that it ran in, or absolute. Where that is not
    /// known it is from the folder that the process runs in. If `is_redacted`, no path is made relative to a folder that was not given.
    pub fn new(process: Process, source_roots: Vec<PathBuf>, is_redacted: bool) -> Namer {
        Namer {
            process,
            symbolizer: Symbolizer::new(process),
            refreshed: None,
            known: HashMap::new(),
            shown: Shown { here: process.current_folder().into_iter().collect(), is_redacted },
            compiled_in: None,
            rules: Rules { roots: source_roots, ..Rules::default() },
            limits: CaptureLimits::default(),
        }
    }

    /// Looks for what the program's files lack in these files and folders as well: see [`Symbolizer::add_symbols`].
    ///
    /// ```
    /// use pollscope_stacks::{look::Namer, process::Process};
    /// let namer = Namer::new(Process::current(), Vec::new(), false).with_symbols(vec!["/srv/symbols".into()]);
    /// assert_eq!(namer.files_read(), 0, "nothing is read before there is something to name");
    /// ```
    #[must_use]
    pub fn with_symbols(mut self, symbols: Vec<PathBuf>) -> Namer {
        symbols.into_iter().for_each(|path| self.symbolizer.add_symbols(path));
        self
    }

    /// What the program's code can be named from, with what it lacks, if anything: to be told before there is anything to name. It reads
    /// the program's debug information, for some 50 ms. `None` when the process is gone or not ours to look at.
    ///
    /// ```
    /// use pollscope_stacks::{look::Namer, process::Process};
    /// # if pollscope_stacks::SUPPORTED {
    /// let (program, lacks) = Namer::new(Process::current(), Vec::new(), false).program().unwrap();
    /// assert_eq!(lacks.is_some(), program.debug_info.advice().is_some_and(|advice| advice.contains("lines")));
    /// # }
    /// ```
    pub fn program(&mut self) -> Option<(ModuleInfo, Option<CaptureNote>)> {
        let program = self.symbolizer.program()?;
        let lacks = capture_limits::of_program(&self.process, &program);
        Some((program, lacks))
    }

    /// Names what a look shows. The first time in a program it reads debug information, for some 50 ms.
    pub fn name(&mut self, look: &Look) -> NamedLook {
        let Some(stack) = &look.stack else { return NamedLook::unnamed(look) };
        seccomp::look();
        self.refresh();
        let known = self.known.get(&stack.frames).filter(|known| known.look.stack.as_ref() == Some(stack));
        if let Some(known) = known {
            return NamedLook { look: look.clone(), ..known.clone() };
        }
        let named = self.name_anew(look, stack);
        if self.known.len() < MOST_KNOWN {
            self.known.insert(stack.frames.clone(), named.clone());
        }
        named
    }

    fn name_anew(&mut self, look: &Look, stack: &Stack) -> NamedLook {
        let (symbols, gap) = self.symbols(stack);
        let panic = symbols.iter().rposition(|(_, symbols)| symbols.frames.iter().any(panics));
        let find = if stack.is_complete() { poll::find } else { poll::find_in_part };
        let found = find(&symbols, &self.rules);
        // What prints a panic has crates of its own: the line is that of the one who panicked.
        let panicked = panic.map(|panic| find(&symbols[panic + 1..], &self.rules));
        let line = panicked.as_ref().unwrap_or(&found).line();
        // Up to the poll: what called it is the runtime's, the same for every task.
        let shown = found.poll.as_ref().map_or(usize::MAX, |poll| poll.index + 1);
        let frames: Vec<StackFrame> = poll::frames(&symbols).take(shown).map(|frame| self.frame(frame)).collect();
        let mut frames = stack_limits::stack(frames, gap.filter(|gap| gap.after < shown));
        if let (End::Incomplete { why, .. }, None) = (stack.end, &found.poll) {
            frames.push(stack_limits::unknown(why));
        }
        let blocking_line = line.and_then(|frame| self.place(frame));
        self.compiled_in = line.and_then(|frame| frame.compiled_in.clone()).or(self.compiled_in.take());
        if blocking_line.is_none() {
            self.limits.add(capture_limits::of_missing_line(&self.process, stack, &self.symbolizer.modules()));
        }
        let callers = found.user.iter().rev().take(MOST_CALLERS);
        let all: Vec<&Frame> = poll::frames(&symbols).collect();
        let callers = callers.filter_map(|index| all.get(*index)).map(|frame| self.frame(frame)).collect();
        NamedLook {
            callers,
            is_on_loop: found.kind.holds_up_the_loop(),
            kind: Some(found.kind),
            poll_returns_to: found.ends.and_then(|frame| stack.returns_to(frame)),
            root_future: found.root_future.clone(),
            special_cause: special_cause(&found, panic.is_some()),
            blocking_line,
            function: line.and_then(|frame| frame.function.as_deref()).map(stack_limits::name),
            stack: frames,
            is_complete: Some(stack.is_complete()),
            look: look.clone(),
            held: None,
        }
    }

    /// The functions of a stack without their type arguments, innermost first, inlined ones included.
    pub(crate) fn functions(&mut self, stack: &Stack) -> Vec<String> {
        self.refresh();
        poll::functions(&self.symbolizer.symbolize_stack(&stack.frames), &self.rules)
    }

    /// The function that begins at an address, by the symbols alone: quick, as no debug information is needed.
    pub(crate) fn symbol(&mut self, address: u64) -> Option<String> {
        self.symbolizer.symbol(address)
    }

    /// What it names by, and how it shows paths.
    pub(crate) fn parts(&mut self) -> (&mut Symbolizer, &Rules, &Shown) {
        (&mut self.symbolizer, &self.rules, &self.shown)
    }

    /// Which process.
    pub(crate) fn process(&self) -> Process {
        self.process
    }

    /// See [`Frame::compiled_in`]: that of the last blocking line.
    pub fn compiled_in(&self) -> Option<&Arc<str>> {
        self.compiled_in.as_ref()
    }

    /// Why something has no name: what was found since this was last asked.
    pub fn take_limits(&mut self) -> Vec<CaptureNote> {
        self.limits.take()
    }

    /// Drops what names are found in, but not those that were found: see [`Symbolizer::give_back`].
    pub fn give_back(&mut self) {
        self.symbolizer.give_back();
    }

    /// See [`Symbolizer::files_read`].
    pub fn files_read(&self) -> usize {
        self.symbolizer.files_read()
    }

    /// The names of the frames, and where frames are missing among them. What is on both sides of that did not call each other.
    fn symbols(&mut self, stack: &Stack) -> (Vec<(CodeAddress, Arc<Symbols>)>, Option<Gap>) {
        let (inner, outer) = stack.frames.split_at(stack.left_out.map_or(stack.frames.len(), |gap| gap.after));
        let mut symbols = self.symbolizer.symbolize_stack(inner);
        let gap = stack.left_out.map(|gap| Gap { after: poll::frames(&symbols).count(), count: gap.count });
        symbols.extend(self.symbolizer.symbolize_stack(outer));
        (symbols, gap)
    }

    /// Now and then: since the last time a library may have been unloaded, and another one be in its place.
    fn refresh(&mut self) {
        if self.refreshed.is_none_or(|at| at.elapsed() >= REFRESH_EVERY) {
            self.refreshed = Some(Instant::now());
            self.known.clear();
            // What cannot be read now was not before: a limit says so.
            let _ = self.symbolizer.refresh();
        }
    }

    fn frame(&self, frame: &Frame) -> StackFrame {
        let file = frame
            .file
            .as_deref()
            .map(|file| self.shown.path(file, frame.compiled_in.as_deref(), &self.rules).to_owned());
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
