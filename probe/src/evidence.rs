//! What is known of a slow poll beyond its duration: what it did, where, and who waited. Plain data.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use crate::escape::Escaped;
use crate::missing::Missing;

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
    /// The word used in reports and events.
    ///
    /// ```
    /// assert_eq!(pollscope_probe::Cause::BlockingCall.as_str(), "blocking-call");
    /// ```
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
    /// Of one that takes more than 64 KiB, a frame in the middle says how many were left out.
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
    /// Why it has no line, where that is for want of time; `None` also while it is being found out.
    pub missing: Option<Missing>,
}

/// Who waited while a slow poll held its worker.
///
/// Exact on a current-thread runtime, for spawned tasks. On a multi-thread one it holds those that the same worker polled
/// afterwards; what others waited for is in [`crate::Ledger::unattributed_ns`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blame {
    /// Polls that had to wait for it, each counted once. Those that were ready before it ended, and the late ones.
    pub tasks: u64,
    /// How long those that were ready waited for it, added up, in nanoseconds.
    pub wait_ns: u64,
    /// Of `tasks`, those that the loop made ready only when it looked for timers and sockets again after the poll. Their
    /// events had been asked for before it; when they came in the meantime cannot be known.
    pub late_tasks: u64,
    /// How long all of `tasks` waited at most, in nanoseconds: as `wait_ns` if none was late.
    pub wait_most_ns: u64,
    /// Of `tasks`, the one that became ready during the poll and ran right after it, on a multi-thread runtime, as what is in
    /// the worker's LIFO slot does: it waits for that worker, and no other can take it.
    pub lifo_tasks: u64,
    /// Of those that were ready before it ended, the one that waited longest for it.
    pub worst: Option<Waited>,
}

/// A task that waited, from its wake to its poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waited {
    /// Tokio's task id.
    pub task_id: u64,
    /// Where it was spawned.
    pub spawned_at: &'static Location<'static>,
    /// When it became ready: nanoseconds since the installation.
    pub ready_ns: u64,
    /// When it was polled, likewise.
    pub polled_ns: u64,
}

impl Evidence {
    /// How long a poll that lasted `duration_ns` was off the CPU and not ready to run, in nanoseconds: what is neither
    /// [`Evidence::cpu_ns`] nor [`Evidence::run_delay_ns`]. `None` where those are not known.
    ///
    /// ```
    /// # use pollscope_probe::Evidence;
    /// let mut evidence = Evidence::default();
    /// assert_eq!(evidence.off_cpu_ns(100), None);
    /// (evidence.cpu_ns, evidence.run_delay_ns) = (Some(20), Some(10));
    /// assert_eq!(evidence.off_cpu_ns(100), Some(70));
    /// ```
    pub fn off_cpu_ns(&self, duration_ns: u64) -> Option<u64> {
        Some(duration_ns.saturating_sub(self.cpu_ns?).saturating_sub(self.run_delay_ns?))
    }

    /// `blocked in write(…) for 0.501 s at src/main.rs:41 (cpu 0.001 s)`; `None` when nothing is known.
    pub(crate) fn sentence(&self, duration_ns: u64) -> Option<String> {
        let seconds = |ns: u64| format!("{:.3} s", ns as f64 / 1e9);
        let off_cpu = self.off_cpu_ns(duration_ns);
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
        let parts =
            [("cpu", self.cpu_ns), ("waiting for a CPU", self.run_delay_ns.filter(|ns| is_notable(*ns, duration_ns)))];
        let parts: Vec<String> =
            parts.iter().filter_map(|(what, ns)| Some(format!("{what} {}", seconds((*ns)?)))).collect();
        let split = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
        Some(format!("{what}{at}{split}"))
    }

    /// The sentence, and why it has no line: what stands below a slow poll's own line. `None` when neither is known.
    pub(crate) fn account(&self, duration_ns: u64) -> Option<String> {
        let missing = self.missing.map(|missing| missing.to_string());
        let known: Vec<String> = [self.sentence(duration_ns), missing].into_iter().flatten().collect();
        (!known.is_empty()).then(|| known.join("; "))
    }
}

/// Whether a part of a poll is worth a word: a twentieth of it.
fn is_notable(ns: u64, duration_ns: u64) -> bool {
    ns >= duration_ns / 20
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasks = if self.tasks == 1 { "task" } else { "tasks" };
        let seconds = |ns: u64| ns as f64 / 1e9;
        let most = if self.late_tasks == 0 { String::new() } else { format!(" to {:.3}", seconds(self.wait_most_ns)) };
        write!(f, "made {} {tasks} wait {:.3}{most} s in all", self.tasks, seconds(self.wait_ns))?;
        if self.lifo_tasks > 0 { write!(f, " ({} in the LIFO slot)", self.lifo_tasks) } else { Ok(()) }
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
            run_delay_ns: Some(0),
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
        let mixed = Evidence { cpu_ns: Some(300_000_000), run_delay_ns: Some(200_000_000), ..busy };
        assert_eq!(
            mixed.sentence(502_000_000).unwrap(),
            "cpu at src/sink.rs:41 (cpu 0.300 s, waiting for a CPU 0.200 s)"
        );
        assert_eq!(Evidence::default().sentence(1), None);
        let blame = Blame { tasks: 5, wait_ns: 2_100_000_000, wait_most_ns: 2_100_000_000, ..Blame::default() };
        assert_eq!(blame.to_string(), "made 5 tasks wait 2.100 s in all");
        let late = Blame { tasks: 6, late_tasks: 1, wait_most_ns: 2_600_000_000, ..blame };
        assert_eq!(late.to_string(), "made 6 tasks wait 2.100 to 2.600 s in all");
        let next = Blame { lifo_tasks: 1, ..blame };
        assert_eq!(next.to_string(), "made 5 tasks wait 2.100 s in all (1 in the LIFO slot)");
    }
}
