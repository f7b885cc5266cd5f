//! Why something is missing from what is known of slow polls.

use std::fmt;
use std::io;

/// Why it cannot be seen, or not fully, what slow polls do. Their number and their durations are exact all the same; what
/// is missing of their [`Evidence`](crate::Evidence) is `None`. Two reasons are worse: [`CaptureNote::HookReplaced`] and
/// [`CaptureNote::OtherRuntime`], for which polls are not counted.
///
/// Its `Display` is one line: what cannot be done, why, and what to do about it. It names no path but those of `/proc`, and of another
/// process those of files that were looked at for its symbols.
///
/// ```
/// use pollscope_base::CaptureNote;
/// let note = CaptureNote::ThreadUnreadable(std::io::ErrorKind::PermissionDenied);
/// let line = note.to_string();
/// assert!(line.starts_with("cannot see what blocks: reading `/proc/self/task/TID/syscall` failed: permission denied; "));
/// assert!(line.contains("PR_SET_DUMPABLE"), "what to do: {line}");
/// assert_eq!(line.lines().count(), 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CaptureNote {
    /// Not Linux on x86-64.
    Unsupported,
    /// A thread's state in `/proc` cannot be read: `/proc` is not mounted, or its files are another user's, as those of a
    /// process that is not dumpable are.
    ThreadUnreadable(io::ErrorKind),
    /// A thread's state may not be read though the process is dumpable: a seccomp filter, a container or a security module refuses.
    ThreadForbidden,
    /// The kernel's answer has a form that is not known.
    ThreadUnrecognised,
    /// The process has no file descriptor left to look with.
    NoDescriptor,
    /// The process's memory map cannot be read.
    MapsUnreadable(io::ErrorKind),
    /// The process may not read its own memory the way the kernel offers.
    MemoryUnreadable,
    /// The threads' clocks cannot be read: the kernel does not keep them.
    ClocksUnreadable,
    /// Threads that compute cannot be asked where they are; the whole reason.
    SignalUnusable(String),
    /// Threads that compute are not asked where they are: the stack on which their signal handlers run is too small for one more,
    /// beside a handler of the program that may be on it.
    NoRoomForHandler,
    /// Threads that compute are not asked where they are: the process has a seccomp filter, which may end it for that.
    SignalFiltered,
    /// A thread blocked the signal by which it is asked: for a moment, as one does that starts a process, or for good.
    SignalMasked,
    /// Other code has replaced the handler of that signal.
    SignalReplaced,
    /// The signal may not be sent.
    SignalForbidden,
    /// A stack could not be followed to the poll; why.
    StackIncomplete(String),
    /// The program has function names, but no lines.
    SymbolsOnly,
    /// The program has neither names nor lines.
    Stripped,
    /// Another process's program has no lines, and no file with its debug information was found.
    SymbolsMissing {
        /// Whether it has function names.
        has_names: bool,
        /// Its build-id in hexadecimal, which such a file has as well; `None` if it has none.
        build_id: Option<String>,
        /// A sentence for each file that was offered, or is where it should be, and is not of the same build.
        refused: Vec<String>,
    },
    /// The program's file cannot be read, or another one took its place; why.
    ProgramUnreadable(String),
    /// The thread that looks panicked; nothing is looked at any more.
    WatchdogPanicked,
    /// The thread that names what was seen panicked; nothing is named any more.
    NamingPanicked,
    /// There are more spans at a time than are kept: which one a slow poll was in is not always known.
    SpansRefused,
    /// Polls begin and do not end: an `on_after_task_poll` callback was set on the runtime's builder after the probe was
    /// installed. Polls are not counted then.
    HookReplaced,
    /// A thread of that name runs a Tokio runtime that another builder made, as actix does: its polls are not seen unless they are
    /// watched.
    OtherRuntime(String),
}

const DURATIONS_STAY: &str = "slow polls keep their durations";
const LINE_TABLES: &str = r#"`debug = "line-tables-only"`"#;
const OF_A_PACKAGE: &str = "in `[profile.release.package.NAME]` for a package alone, which rebuilds no other";

impl CaptureNote {
    /// How the line that says a note begins, as told from the lines of slow polls.
    pub const LINE_START: &str = "WARN pollscope: ";

    /// The line as it is said of another process: with the paths that were asked for, where `Display` says `/proc/self`.
    ///
    /// ```
    /// use pollscope_base::CaptureNote;
    /// let line = CaptureNote::MapsUnreadable(std::io::ErrorKind::PermissionDenied).of_process(42).to_string();
    /// assert!(line.contains("reading `/proc/42/maps` failed"), "{line}");
    /// ```
    pub fn of_process(&self, pid: u32) -> impl fmt::Display {
        OfProcess { note: self, pid }
    }
}

impl CaptureNote {
    /// What cannot be done.
    fn cannot(&self) -> &'static str {
        match self {
            CaptureNote::Unsupported
            | CaptureNote::ThreadUnreadable(_)
            | CaptureNote::ThreadForbidden
            | CaptureNote::ThreadUnrecognised
            | CaptureNote::NoDescriptor => "see what blocks",
            CaptureNote::MapsUnreadable(_) | CaptureNote::MemoryUnreadable | CaptureNote::StackIncomplete(_) => {
                "see where it blocks"
            }
            CaptureNote::ClocksUnreadable => "tell computing from waiting for a CPU",
            CaptureNote::SignalUnusable(_)
            | CaptureNote::NoRoomForHandler
            | CaptureNote::SignalFiltered
            | CaptureNote::SignalReplaced
            | CaptureNote::SignalForbidden => "see where threads compute",
            CaptureNote::SignalMasked => "see where a thread computed",
            CaptureNote::SymbolsOnly | CaptureNote::SymbolsMissing { has_names: true, .. } => "name lines",
            CaptureNote::Stripped | CaptureNote::SymbolsMissing { .. } | CaptureNote::ProgramUnreadable(_) => {
                "name functions and lines"
            }
            CaptureNote::WatchdogPanicked => "see what blocks any longer",
            CaptureNote::NamingPanicked => "name functions and lines any longer",
            CaptureNote::SpansRefused => "tell which span every slow poll was in",
            CaptureNote::HookReplaced => "measure polls",
            CaptureNote::OtherRuntime(_) => "see every runtime",
        }
    }

    /// Why. `process`: what the process is in paths of `/proc`.
    fn why(&self, process: &dyn fmt::Display) -> String {
        match self {
            CaptureNote::Unsupported => "this is not Linux on x86-64".to_owned(),
            CaptureNote::ThreadUnreadable(kind) => {
                let why = match kind {
                    io::ErrorKind::NotFound => "there is no such file".to_owned(),
                    kind => kind.to_string(),
                };
                format!("reading `/proc/{process}/task/TID/syscall` failed: {why}")
            }
            CaptureNote::ThreadForbidden => {
                format!("reading `/proc/{process}/task/TID/syscall` is refused, though the process is dumpable")
            }
            CaptureNote::ThreadUnrecognised => format!("`/proc/{process}/task/TID/syscall` has an unknown form"),
            CaptureNote::NoDescriptor => "too many open files".to_owned(),
            CaptureNote::MapsUnreadable(kind) => format!("reading `/proc/{process}/maps` failed: {kind}"),
            CaptureNote::MemoryUnreadable => "the stack cannot be read".to_owned(),
            CaptureNote::ClocksUnreadable => format!("the kernel shows no `/proc/{process}/task/TID/schedstat`"),
            CaptureNote::SignalUnusable(why) => why.clone(),
            CaptureNote::SignalFiltered => "a seccomp filter may end the process for a signal".to_owned(),
            CaptureNote::NoRoomForHandler => {
                "the alternate stack of signal handlers is too small for one more".to_owned()
            }
            CaptureNote::SignalMasked => "it blocked all signals at that moment".to_owned(),
            CaptureNote::SignalReplaced => "the handler of the probe's signal was replaced".to_owned(),
            CaptureNote::SignalForbidden => "the signal could not be sent".to_owned(),
            CaptureNote::StackIncomplete(why) => format!("the stack cannot be followed: {why}"),
            CaptureNote::SymbolsOnly => "the program has function names only".to_owned(),
            CaptureNote::Stripped => "the program is stripped".to_owned(),
            CaptureNote::SymbolsMissing { has_names, build_id, refused } => {
                missing_symbols(*has_names, build_id.as_deref(), refused)
            }
            CaptureNote::ProgramUnreadable(why) => format!("the program's file is unreadable: {why}"),
            CaptureNote::WatchdogPanicked => "the thread that looks panicked".to_owned(),
            CaptureNote::NamingPanicked => "the thread that names panicked".to_owned(),
            CaptureNote::SpansRefused => "more than 65,536 are open".to_owned(),
            CaptureNote::HookReplaced => "another `on_after_task_poll` took the probe's place".to_owned(),
            CaptureNote::OtherRuntime(thread) => {
                format!("thread `{}` runs one that another builder made", crate::escape::Escaped(thread))
            }
        }
    }

    /// What to do about it.
    fn help(&self, process: &dyn fmt::Display) -> String {
        let help = match self {
            CaptureNote::Unsupported => "run it there to see more",
            CaptureNote::ThreadUnreadable(io::ErrorKind::NotFound) => "mount `/proc` to see more",
            CaptureNote::ThreadUnreadable(io::ErrorKind::PermissionDenied) => {
                "to see more leave the process dumpable (`PR_SET_DUMPABLE`; no setuid, no file capabilities), or run it as root"
            }
            CaptureNote::ThreadForbidden => {
                "to see more permit it in the seccomp filter, the container's profile or the security module"
            }
            CaptureNote::ThreadUnreadable(_) => "`pollscope doctor` shows what this machine permits",
            CaptureNote::ThreadUnrecognised => "and this kernel is worth a report",
            CaptureNote::NoDescriptor => "raise the limit (`ulimit -n`) or close some to see more",
            CaptureNote::MapsUnreadable(_) => "permit the file to see more",
            CaptureNote::MemoryUnreadable => {
                return format!("permit `process_vm_readv` or `/proc/{process}/mem` to see more");
            }
            CaptureNote::ClocksUnreadable => "a kernel with `CONFIG_SCHED_INFO` tells more",
            CaptureNote::SignalFiltered => {
                "to see more say that the filter knows the probe's calls (`ProbeBuilder::permitted_by_seccomp`)"
            }
            CaptureNote::NoRoomForHandler => {
                "to see more give threads 64 KiB (`sigaltstack`) before their first poll, or the program's handlers no `SA_ONSTACK`"
            }
            CaptureNote::SignalUnusable(_) => "leave a real-time signal free to see more",
            CaptureNote::SignalMasked => {
                "and nothing is to be done if it started a process (`Command`), which blocks them for a moment; where code blocks \
                 real-time signals for good, let it not"
            }
            CaptureNote::SignalReplaced => "to see more keep other code from handling signals that it did not choose",
            CaptureNote::SignalForbidden => "permit `rt_tgsigqueueinfo` (a seccomp filter may refuse it) to see more",
            CaptureNote::StackIncomplete(why) if why.contains("table") => {
                "to see more build all code with unwinding tables (`-C force-unwind-tables=yes`)"
            }
            CaptureNote::StackIncomplete(why) if ["deeper", "more than"].iter().any(|word| why.contains(word)) => {
                "to see more recurse less deeply, and keep large arrays off the stack"
            }
            CaptureNote::StackIncomplete(_) => {
                "to see more fewer frames, or frame pointers (`-C force-frame-pointers=yes`), may help"
            }
            CaptureNote::SymbolsOnly | CaptureNote::Stripped | CaptureNote::SymbolsMissing { .. } => {
                return self.symbols_help();
            }
            CaptureNote::ProgramUnreadable(why) => unreadable_help(why),
            CaptureNote::WatchdogPanicked | CaptureNote::NamingPanicked => "and the panic is worth a report",
            CaptureNote::SpansRefused => "give `SpanLayer` a filter, such as `with_filter(LevelFilter::INFO)`",
            CaptureNote::HookReplaced => "give that callback to `ProbeBuilder::on_after_task_poll`, which calls both",
            CaptureNote::OtherRuntime(_) => {
                "wrap its futures, such as `next.call(request)` in a middleware, in `Probe::watch`, install a probe into its builder, or have all \
                 threads sampled (`ProbeBuilder::whole_process`); the probe's README shows how"
            }
        };
        help.to_owned()
    }

    /// What to do about a program without lines.
    fn symbols_help(&self) -> String {
        let unstripped = format!("{LINE_TABLES} and `strip = false`");
        match self {
            CaptureNote::SymbolsMissing { build_id: Some(_), .. } => format!(
                "give the unstripped copy of the same build, or a folder with it (`--symbols FILE`), install its package's debug \
                 symbols, or build it with {unstripped}"
            ),
            CaptureNote::SymbolsMissing { build_id: None, .. } => {
                format!("build it with {unstripped}, and with a build-id (`-Wl,--build-id`)")
            }
            CaptureNote::Stripped => format!("set {unstripped} in the profile that it is built with"),
            _ => format!("set {LINE_TABLES} (and no `strip`) in the profile that it is built with, or {OF_A_PACKAGE}"),
        }
    }

    fn write(&self, process: &dyn fmt::Display, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cannot, why, help) = (self.cannot(), self.why(process), self.help(process));
        match self {
            CaptureNote::HookReplaced | CaptureNote::OtherRuntime(_) => write!(f, "cannot {cannot}: {why}; {help}"),
            _ => write!(f, "cannot {cannot}: {why}; {DURATIONS_STAY}, {help}"),
        }
    }
}

impl fmt::Display for CaptureNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(&"self", f)
    }
}

/// What a program lacks, by which build-id it is looked for, and what was found instead.
fn missing_symbols(has_names: bool, build_id: Option<&str>, refused: &[String]) -> String {
    let lacks = if has_names { "the program has function names only" } else { "the program is stripped" };
    let looked_for = match build_id {
        Some(id) => format!("no file with debug information of its build-id {id} was found"),
        None => "it has no build-id to find a file with its debug information by".to_owned(),
    };
    let refused: String = refused.iter().map(|sentence| format!(", {sentence}")).collect();
    format!("{lacks}, and {looked_for}{refused}")
}

/// What to do about a file of code whose names and lines cannot be read, for the reason `why`.
///
/// ```
/// use pollscope_base::unreadable_help;
/// assert!(unreadable_help("it was removed or replaced since it was loaded").contains("start it again"));
/// assert!(unreadable_help("cannot read `.debug_info`: it is compressed with zstd, and not with zlib").contains("objcopy"));
/// ```
pub fn unreadable_help(why: &str) -> &'static str {
    let says = |words: &[&str]| words.iter().any(|word| why.contains(word));
    if says(&["and not with zlib", "too large to be unpacked"]) {
        "unpack it with `objcopy --decompress-debug-sections FILE`, or build it without compression or with zlib's"
    } else if says(&["damaged", "it claims", "malformed", "cannot parse"]) {
        "the file is damaged: build it, or install its debug information, again"
    } else if says(&["cannot open", "cannot map", "cannot read it"]) {
        "make it readable for this user"
    } else {
        "start it again from a file that stays"
    }
}

/// See [`CaptureNote::of_process`].
struct OfProcess<'a> {
    note: &'a CaptureNote,
    pid: u32,
}

impl fmt::Display for OfProcess<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.write(&self.pid, f)
    }
}

/// As its line: an error's kind has no form of its own.
#[cfg(feature = "serde")]
impl serde::Serialize for CaptureNote {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_says_why_and_what_to_do() {
        use CaptureNote::*;
        let why = || "why".to_owned();
        for note in [
            Unsupported,
            ThreadUnreadable(io::ErrorKind::NotFound),
            ThreadUnreadable(io::ErrorKind::PermissionDenied),
            ThreadUnreadable(io::ErrorKind::Interrupted),
            ThreadUnrecognised,
            NoDescriptor,
            MapsUnreadable(io::ErrorKind::NotFound),
            MemoryUnreadable,
            ClocksUnreadable,
            ThreadForbidden,
            SignalUnusable(why()),
            NoRoomForHandler,
            SignalFiltered,
            SignalMasked,
            SignalReplaced,
            SignalForbidden,
            StackIncomplete(why()),
            StackIncomplete("this code has no unwinding table".to_owned()),
            SymbolsOnly,
            Stripped,
            SymbolsMissing { has_names: true, build_id: Some("1f".to_owned()), refused: vec![why()] },
            SymbolsMissing { has_names: false, build_id: None, refused: Vec::new() },
            ProgramUnreadable(why()),
            WatchdogPanicked,
            NamingPanicked,
            SpansRefused,
            HookReplaced,
        ] {
            let line = note.to_string();
            assert!(line.starts_with("cannot ") && line.contains(": ") && line.contains("; "), "{line}");
            assert!(line.contains(DURATIONS_STAY) != (note == HookReplaced), "{line}");
            assert!(!line.contains('\n') && !line.contains("  "), "{line}");
            assert_eq!(note.of_process(42).to_string(), line.replace("/proc/self/", "/proc/42/"));
        }
    }

    /// What would not help is not advised.
    #[test]
    fn the_advice_fits_the_reason() {
        use CaptureNote::*;
        let missing = |id: Option<&str>| SymbolsMissing {
            has_names: false,
            build_id: id.map(str::to_owned),
            refused: vec!["`shop` is of another build: its build-id is 2e, and 1f is wanted".to_owned()],
        };
        let packed = || "cannot read `.debug_line`: it is compressed with zstd, and not with zlib".to_owned();
        let damaged = || "cannot read `.debug_line`: its compressed bytes are damaged".to_owned();
        let replaced = || "it was removed or replaced since it was loaded".to_owned();
        for (note, helps, not) in [
            (ThreadUnreadable(io::ErrorKind::PermissionDenied), "PR_SET_DUMPABLE", "seccomp"),
            (ThreadForbidden, "seccomp filter", "PR_SET_DUMPABLE"),
            (SignalUnusable("every real-time signal is in use".to_owned()), "leave a real-time signal free", "Command"),
            (SignalMasked, "nothing is to be done if it started a process (`Command`)", "free"),
            (SignalReplaced, "keep other code from handling", "free"),
            (SignalForbidden, "rt_tgsigqueueinfo", "free"),
            (StackIncomplete("it is deeper than the 8 MiB".to_owned()), "recurse less deeply", "frame pointers"),
            (SymbolsOnly, "`[profile.release.package.NAME]` for a package alone", "`strip = false`"),
            (missing(Some("1f")), "`--symbols FILE`", "`-Wl,--build-id`"),
            (
                missing(Some("1f")),
                "of its build-id 1f was found, `shop` is of another build: its build-id is 2e",
                "no lines",
            ),
            (missing(None), "`-Wl,--build-id`", "`--symbols FILE`"),
            (ProgramUnreadable(packed()), "objcopy --decompress-debug-sections", "start it again"),
            (ProgramUnreadable(damaged()), "build it, or install its debug information, again", "start it again"),
            (ProgramUnreadable("cannot open it: permission denied".to_owned()), "make it readable", "start it again"),
            (ProgramUnreadable(replaced()), "start it again from a file that stays", "objcopy"),
        ] {
            let line = note.to_string();
            assert!(line.contains(helps) && !line.contains(not), "{line}");
        }
    }
}
