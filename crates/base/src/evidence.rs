//! What is known of a slow poll beyond its duration: what it did, and where.

use std::sync::Arc;
use std::time::Duration;

use crate::escape::Escaped;
use crate::{Call, Cause, Frame, Missing};

/// What was seen of a slow poll while it ran. An instrument starts from the default, where all is unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Evidence {
    /// Where most of its time went; `None` when the clocks and the kernel did not tell.
    pub cause: Option<Cause>,
    /// Time on the CPU: an estimate, exact to the little that ran on the thread just before and after.
    pub cpu_time: Option<Duration>,
    /// Time ready to run without a CPU, likewise.
    pub run_delay: Option<Duration>,
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
    /// How old the poll was when the first look that showed a stack or a system call was complete, less the time of polls within it until then. At least the threshold, and by how much it is more is how late the watchdog was.
    /// `None` when nothing was seen.
    pub captured_after: Option<Duration>,
    /// Why it has no line, where that is for want of time; `None` also while it is being found out.
    pub missing: Option<Missing>,
}

impl Evidence {
    /// How long a poll that lasted `duration` was off the CPU and not ready to run: what is neither [`Evidence::cpu_time`] nor
    /// [`Evidence::run_delay`]. `None` where those are not known.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pollscope_base::Evidence;
    /// let ms = Duration::from_millis;
    /// let mut evidence = Evidence::default();
    /// assert_eq!(evidence.off_cpu(ms(100)), None);
    /// (evidence.cpu_time, evidence.run_delay) = (Some(ms(20)), Some(ms(10)));
    /// assert_eq!(evidence.off_cpu(ms(100)), Some(ms(70)));
    /// ```
    pub fn off_cpu(&self, duration: Duration) -> Option<Duration> {
        Some(duration.saturating_sub(self.cpu_time?).saturating_sub(self.run_delay?))
    }

    /// `blocked in write(…) for 0.501 s at src/main.rs:41 (cpu 0.001 s)`; `None` when nothing is known.
    pub fn sentence(&self, duration: Duration) -> Option<String> {
        let seconds = |time: Duration| format!("{:.3} s", time.as_secs_f64());
        let off_cpu = self.off_cpu(duration);
        let what = match (&self.cause, &self.call) {
            (Some(Cause::BlockingCall | Cause::Lock), Some(call)) => {
                let time = off_cpu.map_or(String::new(), |time| format!(" for {}", seconds(time)));
                format!("blocked in {}{time}", Escaped(&call.text))
            }
            (Some(cause), _) => cause.as_str().replace('-', " "),
            (None, Some(call)) => format!("seen in {}", Escaped(&call.text)),
            (None, None) => self.blocking_line.as_ref().map(|_| "seen".to_owned())?,
        };
        let at = self.blocking_line.as_ref().map_or(String::new(), |line| format!(" at {}", Escaped(line)));
        let parts =
            [("cpu", self.cpu_time), ("waiting for a CPU", self.run_delay.filter(|time| is_notable(*time, duration)))];
        let parts: Vec<String> =
            parts.iter().filter_map(|(what, time)| Some(format!("{what} {}", seconds((*time)?)))).collect();
        let split = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
        Some(format!("{what}{at}{split}"))
    }

    /// The sentence, and why it has no line: what stands below a slow poll's own line. `None` when neither is known.
    pub fn account(&self, duration: Duration) -> Option<String> {
        let missing = self.missing.map(|missing| missing.to_string());
        let known: Vec<String> = [self.sentence(duration), missing].into_iter().flatten().collect();
        (!known.is_empty()).then(|| known.join("; "))
    }
}

/// Whether a part of a poll is worth a word: a twentieth of it.
fn is_notable(time: Duration, duration: Duration) -> bool {
    time >= duration / 20
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_says_what_where_and_at_what_cost() {
        let ms = Duration::from_millis;
        let evidence = Evidence {
            cause: Some(Cause::BlockingCall),
            cpu_time: Some(ms(1)),
            run_delay: Some(Duration::ZERO),
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
            evidence.sentence(ms(502)).unwrap(),
            r#"blocked in write(fd 9 "/var/log/merged.log", 64 bytes) for 0.501 s at src/sink.rs:41 (cpu 0.001 s)"#
        );
        let busy = Evidence { cause: Some(Cause::Cpu), call: None, ..evidence };
        assert_eq!(busy.sentence(ms(502)).unwrap(), "cpu at src/sink.rs:41 (cpu 0.001 s)");
        let mixed = Evidence { cpu_time: Some(ms(300)), run_delay: Some(ms(200)), ..busy };
        assert_eq!(mixed.sentence(ms(502)).unwrap(), "cpu at src/sink.rs:41 (cpu 0.300 s, waiting for a CPU 0.200 s)");
        assert_eq!(Evidence::default().sentence(ms(1)), None);
    }
}
