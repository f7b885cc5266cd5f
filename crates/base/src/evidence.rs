//! What is known of a slow poll beyond its duration: what it did, and where.

use std::sync::Arc;

use crate::escape::Escaped;
use crate::{Call, Cause, Frame, Missing};

/// What was seen of a slow poll while it ran.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    pub stack: Arc<[Frame]>,
    /// Whether the stack was followed to the thread's first frame; `None` when there is no stack.
    pub stack_complete: Option<bool>,
    /// How often the stack was looked at.
    pub captures: u32,
    /// How old the poll was when the first look that showed a stack or a system call was complete, in nanoseconds, less the
    /// time of polls within it until then. At least the threshold, and by how much it is more is how late the watchdog was.
    /// `None` when nothing was seen.
    pub captured_after_ns: Option<u64>,
    /// Why it has no line, where that is for want of time; `None` also while it is being found out.
    pub missing: Option<Missing>,
}

impl Evidence {
    /// How long a poll that lasted `duration_ns` was off the CPU and not ready to run, in nanoseconds: what is neither
    /// [`Evidence::cpu_ns`] nor [`Evidence::run_delay_ns`]. `None` where those are not known.
    ///
    /// ```
    /// # use pollscope_base::Evidence;
    /// let mut evidence = Evidence::default();
    /// assert_eq!(evidence.off_cpu_ns(100), None);
    /// (evidence.cpu_ns, evidence.run_delay_ns) = (Some(20), Some(10));
    /// assert_eq!(evidence.off_cpu_ns(100), Some(70));
    /// ```
    pub fn off_cpu_ns(&self, duration_ns: u64) -> Option<u64> {
        Some(duration_ns.saturating_sub(self.cpu_ns?).saturating_sub(self.run_delay_ns?))
    }

    /// `blocked in write(…) for 0.501 s at src/main.rs:41 (cpu 0.001 s)`; `None` when nothing is known.
    pub fn sentence(&self, duration_ns: u64) -> Option<String> {
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
    pub fn account(&self, duration_ns: u64) -> Option<String> {
        let missing = self.missing.map(|missing| missing.to_string());
        let known: Vec<String> = [self.sentence(duration_ns), missing].into_iter().flatten().collect();
        (!known.is_empty()).then(|| known.join("; "))
    }
}

/// Whether a part of a poll is worth a word: a twentieth of it.
fn is_notable(ns: u64, duration_ns: u64) -> bool {
    ns >= duration_ns / 20
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
    }
}
