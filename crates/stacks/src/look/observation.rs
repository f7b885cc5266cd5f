//! What all looks at one stretch of time come to.

use std::time::Duration;

use pollscope_base::{Cause, Evidence};

use super::named::{NamedLook, evidence};
use super::syscall_samples::SyscallSamples;
use super::time_split::TimeSplit;

/// All that was seen of one stretch of time on a thread, such as a slow poll.
#[derive(Debug)]
pub struct Observation<'a> {
    /// In the order of time.
    pub looks: &'a [NamedLook],
    /// Between them.
    pub samples: &'a SyscallSamples,
    /// What the clocks say; `None` where they could not be read.
    pub split: Option<TimeSplit>,
    /// How long the whole process did not run meanwhile, in nanoseconds.
    pub suspended_ns: u64,
    /// How long it lasted, in nanoseconds.
    pub duration_ns: u64,
    /// When it ended, by the clock of the looks.
    pub end_ns: u64,
}

impl Observation<'_> {
    /// What follows: the place that stands for most of the time, and the cause.
    pub fn evidence(&self) -> Evidence {
        let longest = longest_seen(self.looks, self.end_ns);
        let mostly = self.samples.mostly();
        let mut known = Evidence::default();
        known.cause = self.cause(longest, mostly.map(|(cause, _)| cause));
        known.cpu_time = self.split.map(|split| Duration::from_nanos(split.cpu_ns));
        known.run_delay = self.split.map(|split| Duration::from_nanos(split.run_delay_ns));
        known.captures = self.looks.len() as u32;
        evidence(longest, mostly.and_then(|(_, call)| call), known)
    }

    fn cause(&self, longest: Option<&NamedLook>, sampled: Option<Cause>) -> Option<Cause> {
        // A thread that ran, or waited for a CPU, was not stopped.
        let off_cpu_ns = self.split.map_or(self.duration_ns, |split| split.off_cpu_ns);
        if self.suspended_ns > self.duration_ns / 2 && off_cpu_ns > self.duration_ns / 2 {
            return Some(Cause::Suspended);
        }
        if let Some(special) = longest.and_then(|named| named.special_cause) {
            return Some(special);
        }
        let off_cpu = longest.and_then(|named| named.look.off_cpu).or(sampled);
        match self.split {
            Some(split) if split.cpu_ns >= split.run_delay_ns.max(split.off_cpu_ns) => Some(Cause::Cpu),
            Some(split) if split.run_delay_ns > split.off_cpu_ns => Some(Cause::Preempted),
            // Off the CPU, says the clock; in what, says what was seen.
            _ => off_cpu,
        }
    }
}

/// The look that stands for most of the time seen: each counts until the next one, and those of one place together.
fn longest_seen(looks: &[NamedLook], end_ns: u64) -> Option<&NamedLook> {
    let until = |index: usize| looks.get(index + 1).map_or(end_ns, |next| next.look.at_ns);
    let weight = |of: &NamedLook| -> u64 {
        let same = looks.iter().enumerate().filter(|(_, named)| named.is_same_place(of));
        same.map(|(index, named)| until(index).saturating_sub(named.look.at_ns)).sum()
    };
    // A place, if there is one; the first of the heaviest: ties go to what was seen earlier.
    looks.iter().rev().max_by_key(|named| (named.look.stack.is_some(), weight(named)))
}

#[cfg(test)]
mod tests {
    use super::super::looker::Look;
    use super::*;
    use crate::unwind::{End, Stack};

    /// The cause of 200 ns.
    fn cause(
        split: Option<TimeSplit>,
        look: Option<&NamedLook>,
        sampled: Option<Cause>,
        suspended_ns: u64,
    ) -> Option<Cause> {
        let samples = SyscallSamples::default();
        let seen = Observation { looks: &[], samples: &samples, split, suspended_ns, duration_ns: 200, end_ns: 0 };
        seen.cause(look, sampled)
    }

    #[test]
    fn the_largest_share_is_the_cause() {
        let split = |cpu, delay, off| Some(TimeSplit { cpu_ns: cpu, run_delay_ns: delay, off_cpu_ns: off });
        let blocked =
            NamedLook { look: Look { off_cpu: Some(Cause::Lock), ..Look::default() }, ..NamedLook::default() };
        let panics = NamedLook { special_cause: Some(Cause::Panic), ..NamedLook::default() };
        assert_eq!(cause(split(10, 1, 189), Some(&blocked), None, 0), Some(Cause::Lock));
        assert_eq!(cause(split(150, 10, 40), Some(&blocked), None, 0), Some(Cause::Cpu));
        assert_eq!(cause(split(60, 100, 40), None, None, 0), Some(Cause::Preempted));
        assert_eq!(cause(split(1, 1, 198), None, None, 0), None, "off the CPU, but nobody saw in what");
        assert_eq!(cause(split(1, 1, 198), None, Some(Cause::Lock), 0), Some(Cause::Lock), "but a sample did");
        assert_eq!(cause(split(1, 1, 198), Some(&blocked), None, 150), Some(Cause::Suspended));
        assert_eq!(cause(split(150, 1, 49), None, None, 150), Some(Cause::Cpu), "who ran was not stopped");
        assert_eq!(cause(split(199, 1, 0), Some(&panics), None, 0), Some(Cause::Panic));
        assert_eq!(cause(None, Some(&blocked), None, 0), Some(Cause::Lock));
    }

    #[test]
    fn looks_at_one_place_count_together() {
        let look = |at_ns, line: &str| NamedLook {
            look: Look { at_ns, ..Look::default() },
            blocking_line: Some(line.to_owned()),
            ..NamedLook::default()
        };
        let looks = [look(100, "a:1"), look(200, "b:2"), look(350, "a:1")];
        assert_eq!(longest_seen(&looks, 400).unwrap().blocking_line.as_deref(), Some("a:1"));
        assert!(longest_seen(&[], 400).is_none());
        let mut seen =
            [look(100, "a:1"), NamedLook { look: Look { at_ns: 200, ..Look::default() }, ..NamedLook::default() }];
        seen[0].look.stack = Some(Stack { frames: Vec::new(), end: End::Root, guessed: None });
        assert_eq!(longest_seen(&seen, 900).unwrap().blocking_line.as_deref(), Some("a:1"), "nothing seen is no place");
    }
}
