//! Takes the stack of where it is called, and compares what is found with what is known.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::io::{self, Read};
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex};

use pollscope_stacks::address::CodeAddress;
use pollscope_stacks::poll::{self, Kind, PollStack, Rules};
use pollscope_stacks::process::Process;
use pollscope_stacks::symbolize::{Symbolizer, Symbols};
use tokio::runtime::{Builder, Runtime};

/// Where the test says it blocks, and the stack there.
#[derive(Debug)]
pub(crate) struct Blocked {
    pub(crate) line: u32,
    pub(crate) file: &'static str,
    pub(crate) stack: Vec<CodeAddress>,
}

/// What was taken since the last [`Taken::check`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken(Arc<Mutex<Vec<Blocked>>>);

/// Stands for a call that blocks: takes the stack. The caller says on which line it is; no macro could, for a macro of
/// the same crate has the lines of its definition.
#[inline(never)]
pub(crate) fn take(taken: &Taken, line: u32, file: &'static str) {
    let mut stack = Vec::new();
    backtrace::trace(|frame| {
        let address = frame.ip() as u64;
        stack.push(if stack.is_empty() { CodeAddress::Exact(address) } else { CodeAddress::Return(address) });
        true
    });
    taken.0.lock().unwrap().push(Blocked { line, file, stack });
}

/// A reader, a key and a text that block when the standard library calls them.
pub(crate) struct Slow<'a>(pub(crate) &'a Taken, pub(crate) u32, pub(crate) &'static str);

impl Read for Slow<'_> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        take(self.0, self.1, self.2);
        Ok(0)
    }
}

impl Hash for Slow<'_> {
    fn hash<H: Hasher>(&self, _: &mut H) {
        take(self.0, self.1, self.2);
    }
}

impl PartialEq for Slow<'_> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Slow<'_> {}

impl std::fmt::Display for Slow<'_> {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        take(self.0, self.1, self.2);
        Ok(())
    }
}

/// The test's own machinery counts as the runtime's, as what really blocks is the system's.
pub(crate) fn rules() -> Rules {
    let mut rules = Rules::default();
    rules.runtime_crates.extend(["backtrace", "poll::capture"].map(str::to_owned));
    rules.runtime_paths.push("/stacks/tests/poll/capture.rs".to_owned());
    rules
}

thread_local! {
    static SYMBOLIZER: Cell<Option<Symbolizer>> = const { Cell::new(None) };
}

pub(crate) fn symbolized(stack: &[CodeAddress]) -> Vec<(CodeAddress, Arc<Symbols>)> {
    let mut symbolizer = SYMBOLIZER.take().unwrap_or_else(|| Symbolizer::new(Process::current()));
    let symbolized = symbolizer.symbolize_stack(stack);
    SYMBOLIZER.set(Some(symbolizer));
    symbolized
}

impl Taken {
    /// What is found in each stack, unchecked.
    pub(crate) fn found(&self) -> Vec<(Blocked, PollStack)> {
        let taken = std::mem::take(&mut *self.0.lock().unwrap());
        let found = |blocked: Blocked| {
            let found = poll::find(&symbolized(&blocked.stack), &rules());
            (blocked, found)
        };
        taken.into_iter().map(found).collect()
    }

    /// Compares the line of each stack with the known one, and the rest with what is expected.
    #[track_caller]
    pub(crate) fn check(&self, stacks: usize, kind: Kind, future: Option<&str>) {
        self.check_each(stacks..=stacks, kind, future);
    }

    /// The same where the number of stacks is not known exactly.
    #[track_caller]
    pub(crate) fn check_each(&self, stacks: impl RangeBounds<usize>, kind: Kind, future: Option<&str>) {
        let taken = std::mem::take(&mut *self.0.lock().unwrap());
        assert!(stacks.contains(&taken.len()), "{}", taken.len());
        if std::env::var_os(SYMBOLS_ONLY).is_some() {
            return taken.iter().for_each(|blocked| check_symbols(blocked, kind));
        }
        for blocked in taken {
            let stack = symbolized(&blocked.stack);
            let found = poll::find(&stack, &rules());
            let told = || told(&stack, &found, &blocked);
            assert_eq!(found.kind, kind, "{}", told());
            let line = found.line().unwrap_or_else(|| panic!("no line: {}", told()));
            assert_eq!(line.line, Some(blocked.line), "{}", told());
            assert!(line.file.as_ref().is_some_and(|file| file.ends_with(blocked.file)), "{}", told());
            assert_eq!(found.poll.is_some(), kind != Kind::Scheduler, "{}", told());
            if let Some(future) = future {
                assert_eq!(found.root_future.as_deref(), Some(future), "{}", told());
            }
        }
    }
}

/// Set in a process that runs a copy of this program without debug information.
pub(crate) const SYMBOLS_ONLY: &str = "POLLSCOPE_TEST_SYMBOLS_ONLY";

/// With symbols only there is no line; what remains is the kind and, unless it was inlined into the runtime, a function
/// of this program.
#[track_caller]
fn check_symbols(blocked: &Blocked, kind: Kind) {
    let stack = symbolized(&blocked.stack);
    let found = poll::find(&stack, &rules());
    assert_eq!(found.kind, kind, "{}", told(&stack, &found, blocked));
    assert_eq!(found.poll.is_some(), kind != Kind::Scheduler, "{}", told(&stack, &found, blocked));
    assert_eq!(found.line().and_then(|line| line.line), None, "{}", told(&stack, &found, blocked));
    let function = found.line().and_then(|line| line.function.as_deref());
    assert!(function.is_none_or(|function| function.contains("poll::")), "{}", told(&stack, &found, blocked));
    println!("symbols-only {} {}", blocked.line, function.unwrap_or("none"));
}

fn told(stack: &[(CodeAddress, Arc<Symbols>)], found: &PollStack, blocked: &Blocked) -> String {
    let frame = |(index, frame): (usize, &pollscope_stacks::symbolize::Frame)| {
        let user = if found.user.contains(&index) { "user" } else { "" };
        let function = frame.function.as_deref().unwrap_or("?");
        let file = frame.file.as_deref().unwrap_or("?");
        format!("{index:3} {user:4} {function}\n           {file}:{}\n", frame.line.unwrap_or(0))
    };
    let frames: String = poll::frames(stack).enumerate().map(frame).collect();
    format!("known {}:{}, found {found:#?}\n{frames}", blocked.file, blocked.line)
}

/// Every flavour of runtime, by name.
pub(crate) fn runtimes() -> [(&'static str, Runtime); 2] {
    let multi = Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    [("current_thread", Builder::new_current_thread().enable_time().build().unwrap()), ("multi_thread", multi)]
}
