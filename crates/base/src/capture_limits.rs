//! Why something is missing from what is known of slow polls.

use std::fmt;
use std::io;

/// Why it cannot be seen, or not fully, what slow polls do. Their number and their durations are exact all the same; what
/// is missing of their [`Evidence`](crate::Evidence) is `None`. One reason is worse: [`CaptureNote::HookReplaced`].
///
/// Its `Display` is one line: what cannot be done, why, and what to do about it. It names no path but those of `/proc`.
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
    /// A stack could not be followed to the poll; why.
    StackIncomplete(String),
    /// The program has function names, but no lines.
    SymbolsOnly,
    /// The program has neither names nor lines.
    Stripped,
    /// The program's file cannot be read, or another one took its place; why.
    ProgramUnreadable(String),
    /// The thread that looks panicked; nothing is looked at any more.
    WatchdogPanicked,
    /// The thread that names what was seen panicked; nothing is named any more.
    NamingPanicked,
    /// Polls begin and do not end: an `on_after_task_poll` callback was set on the runtime's builder after the probe was
    /// installed. The one reason for which polls are not counted.
    HookReplaced,
}

const DURATIONS_STAY: &str = "slow polls keep their durations";
const LINE_TABLES: &str = r#"`debug = "line-tables-only"`"#;

impl CaptureNote {
    /// How the line that says a note begins, as told from the lines of slow polls.
    pub const LINE_START: &str = "WARN pollscope: ";
}

impl fmt::Display for CaptureNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaptureNote::Unsupported => {
                write!(
                    f,
                    "cannot see what blocks: this is not Linux on x86-64; {DURATIONS_STAY}, run it there to see more"
                )
            }
            CaptureNote::ThreadUnreadable(kind) => write!(
                f,
                "cannot see what blocks: reading `/proc/self/task/TID/syscall` failed: {}; {DURATIONS_STAY}, {}",
                match kind {
                    io::ErrorKind::NotFound => "there is no such file".to_owned(),
                    kind => kind.to_string(),
                },
                match kind {
                    io::ErrorKind::NotFound => "mount `/proc` to see more",
                    io::ErrorKind::PermissionDenied =>
                        "to see more leave the process dumpable (`PR_SET_DUMPABLE`; no setuid, no file capabilities), or run it \
                         as root",
                    _ => "`pollscope doctor` shows what this machine permits",
                }
            ),
            CaptureNote::ThreadUnrecognised => write!(
                f,
                "cannot see what blocks: `/proc/self/task/TID/syscall` has an unknown form; {DURATIONS_STAY}, and this kernel is \
                 worth a report"
            ),
            CaptureNote::NoDescriptor => write!(
                f,
                "cannot see what blocks: too many open files; {DURATIONS_STAY}, raise the limit (`ulimit -n`) or close some to see more"
            ),
            CaptureNote::MapsUnreadable(kind) => write!(
                f,
                "cannot see where it blocks: reading `/proc/self/maps` failed: {kind}; {DURATIONS_STAY}, permit the file to see \
                 more"
            ),
            CaptureNote::MemoryUnreadable => write!(
                f,
                "cannot see where it blocks: the stack cannot be read; {DURATIONS_STAY}, permit `process_vm_readv` or \
                 `/proc/self/mem` to see more"
            ),
            CaptureNote::ClocksUnreadable => write!(
                f,
                "cannot tell computing from waiting for a CPU: the kernel shows no `/proc/self/task/TID/schedstat`; \
                 {DURATIONS_STAY}, a kernel with `CONFIG_SCHED_INFO` tells more"
            ),
            CaptureNote::SignalUnusable(why) => write!(
                f,
                "cannot see where threads compute: {why}; {DURATIONS_STAY}, leave a real-time signal free to see more"
            ),
            CaptureNote::StackIncomplete(why) => {
                let helps = match why.contains("table") {
                    true => "build all code with unwinding tables (`-C force-unwind-tables=yes`)",
                    false => "fewer frames, or frame pointers (`-C force-frame-pointers=yes`), may help",
                };
                write!(
                    f,
                    "cannot see where it blocks: the stack cannot be followed: {why}; {DURATIONS_STAY}, to see more {helps}"
                )
            }
            CaptureNote::SymbolsOnly => write!(
                f,
                "cannot name lines: the program has function names only; {DURATIONS_STAY}, set {LINE_TABLES} (and no `strip`) in \
                 the profile that it is built with"
            ),
            CaptureNote::Stripped => write!(
                f,
                "cannot name functions and lines: the program is stripped; {DURATIONS_STAY}, set {LINE_TABLES} and `strip = false` \
                 in the profile that it is built with"
            ),
            CaptureNote::ProgramUnreadable(why) => write!(
                f,
                "cannot name functions and lines: the program's file is unreadable: {why}; {DURATIONS_STAY}, start it again from \
                 a file that stays"
            ),
            CaptureNote::WatchdogPanicked => write!(
                f,
                "cannot see what blocks any longer: the thread that looks panicked; {DURATIONS_STAY}, and the panic is worth a \
                 report"
            ),
            CaptureNote::NamingPanicked => write!(
                f,
                "cannot name functions and lines any longer: the thread that names panicked; {DURATIONS_STAY}, and the panic is \
                 worth a report"
            ),
            CaptureNote::HookReplaced => f.write_str(
                "cannot measure polls: another `on_after_task_poll` took the probe's place; give that callback to \
                 `ProbeBuilder::on_after_task_poll`, which calls both",
            ),
        }
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
            SignalUnusable(why()),
            StackIncomplete(why()),
            StackIncomplete("this code has no unwinding table".to_owned()),
            SymbolsOnly,
            Stripped,
            ProgramUnreadable(why()),
            WatchdogPanicked,
            NamingPanicked,
            HookReplaced,
        ] {
            let line = note.to_string();
            assert!(line.starts_with("cannot ") && line.contains(": ") && line.contains("; "), "{line}");
            assert!(line.contains(DURATIONS_STAY) != (note == HookReplaced), "{line}");
            assert!(!line.contains('\n') && !line.contains("  "), "{line}");
        }
    }
}
