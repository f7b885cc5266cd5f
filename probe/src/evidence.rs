//! What is known of a slow poll beyond its duration: what it did, where, and who waited. Plain data.

use std::fmt;
use std::sync::Arc;

use crate::snapshot::Escaped;

/// Why a poll took long: where most of its time went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Off the CPU in a system call.
    BlockingCall,
    /// Off the CPU in a futex: a lock, a condition, a channel, another thread's end.
    Lock,
    /// On the CPU.
    Cpu,
    /// Off the CPU in a page fault.
    PageFault,
    /// Ready to run, but not scheduled.
    Preempted,
    /// The whole process was stopped: not the task's fault.
    Suspended,
    /// In `block_in_place`: the worker was handed to another thread, and nobody waited.
    BlockInPlace,
    /// A panic was being printed or unwound.
    Panic,
}

impl Cause {
    /// The word used in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::BlockingCall => "blocking-call",
            Cause::Lock => "lock",
            Cause::Cpu => "cpu",
            Cause::PageFault => "page-fault",
            Cause::Preempted => "preempted",
            Cause::Suspended => "suspended",
            Cause::BlockInPlace => "block-in-place",
            Cause::Panic => "panic",
        }
    }
}

/// A system call that a slow poll was in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// Its name, or `syscall N` for one without.
    pub name: String,
    /// The file descriptor that it works on.
    pub fd: Option<i32>,
    /// Where that leads: a path, `pipe:[12345]`, `socket:[12345]`.
    pub path: Option<String>,
    /// How many bytes it was asked for.
    pub bytes: Option<u64>,
    /// All of it in one line: `write(fd 9 "/var/log/merged", 64 bytes)`.
    pub text: String,
}

/// One frame of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackFrame {
    /// The function, as far as the binary's debug information names it.
    pub function: Option<String>,
    /// Its source file, without the workspace's folder.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: Option<u32>,
}

/// What the watchdog saw of a slow poll while it ran.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Evidence {
    /// Where most of its time went; `None` when the clocks and the kernel did not tell.
    pub cause: Option<Cause>,
    /// Time on the CPU, in nanoseconds: an estimate, exact to the little that ran on the thread just before and after.
    pub cpu_ns: Option<u64>,
    /// Time ready to run without a CPU, in nanoseconds, likewise.
    pub run_delay_ns: Option<u64>,
    /// The system call that it was in for most of the time seen.
    pub call: Option<Call>,
    /// `file:line` of the innermost frame of the user's code.
    pub blocking_line: Option<String>,
    /// That frame's function.
    pub function: Option<String>,
    /// The frames from the blocking thread's innermost up to the poll, inlined ones included. Shared, as every snapshot has it.
    pub stack: Arc<[StackFrame]>,
    /// Whether the stack was followed to the thread's first frame; `None` when there is no stack.
    pub stack_complete: Option<bool>,
    /// How often the stack was looked at.
    pub captures: u32,
    /// How old the poll was when the first look that showed a stack or a system call was complete, in nanoseconds, less the
    /// time of polls within it until then. At least the threshold, and by how much it is more is how late the watchdog was.
    /// `None` when nothing was seen.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pollscope_probe::Probe;
    ///
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().slow_poll(Duration::from_millis(10)).install(&mut runtime)?;
    /// runtime.build()?.block_on(probe.watch(async { std::thread::sleep(Duration::from_millis(20)) }));
    ///
    /// let slow = &probe.snapshot().slow_polls[0];
    /// if let Some(after_ns) = slow.evidence.captured_after_ns {
    ///     assert!((10_000_000..slow.duration_ns).contains(&after_ns));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub captured_after_ns: Option<u64>,
}

/// Who waited while a slow poll held its worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Blame {
    /// Polls that were ready before it ended and were polled after it on the same thread.
    pub tasks: u64,
    /// How long they waited for it, added up, in nanoseconds.
    pub wait_ns: u64,
}

impl Evidence {
    /// `blocked in write(…) for 0.501 s at src/main.rs:41 (cpu 0.001 s)`; `None` when nothing is known.
    pub(crate) fn sentence(&self, duration_ns: u64) -> Option<String> {
        let seconds = |ns: u64| format!("{:.3} s", ns as f64 / 1e9);
        let off_cpu = self.cpu_ns.map(|cpu| duration_ns.saturating_sub(cpu));
        let what = match (&self.cause, &self.call) {
            (Some(Cause::BlockingCall | Cause::Lock), Some(call)) => {
                let time = off_cpu.map_or(String::new(), |ns| format!(" for {}", seconds(ns)));
                format!("blocked in {}{time}", Escaped(&call.text))
            }
            (Some(cause), _) => cause.as_str().replace('-', " "),
            (None, Some(call)) => format!("seen in {}", Escaped(&call.text)),
            (None, None) => self.blocking_line.as_ref().map(|_| "seen".to_owned())?,
        };
        let at = self.blocking_line.as_ref().map_or(String::new(), |line| format!(" at {}", Escaped(line)));
        let cpu = self.cpu_ns.map_or(String::new(), |ns| format!(" (cpu {})", seconds(ns)));
        Some(format!("{what}{at}{cpu}"))
    }
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasks = if self.tasks == 1 { "task" } else { "tasks" };
        write!(f, "made {} {tasks} wait {:.3} s in all", self.tasks, self.wait_ns as f64 / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_says_what_where_and_at_what_cost() {
        let evidence = Evidence {
            cause: Some(Cause::BlockingCall),
            cpu_ns: Some(1_000_000),
            call: Some(Call {
                name: "write".to_owned(),
                fd: Some(9),
                path: Some("/var/log/merged.log".to_owned()),
                bytes: Some(64),
                text: r#"write(fd 9 "/var/log/merged.log", 64 bytes)"#.to_owned(),
            }),
            blocking_line: Some("src/sink.rs:41".to_owned()),
            ..Evidence::default()
        };
        assert_eq!(
            evidence.sentence(502_000_000).unwrap(),
            r#"blocked in write(fd 9 "/var/log/merged.log", 64 bytes) for 0.501 s at src/sink.rs:41 (cpu 0.001 s)"#
        );
        let busy = Evidence { cause: Some(Cause::Cpu), call: None, ..evidence };
        assert_eq!(busy.sentence(502_000_000).unwrap(), "cpu at src/sink.rs:41 (cpu 0.001 s)");
        assert_eq!(Evidence::default().sentence(1), None);
        assert_eq!(Blame { tasks: 5, wait_ns: 2_100_000_000 }.to_string(), "made 5 tasks wait 2.100 s in all");
    }
}
