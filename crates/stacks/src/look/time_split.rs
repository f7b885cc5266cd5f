//! A thread's clocks, and how they say that its time was spent.

use std::ops::Add;

use crate::seccomp;
use crate::thread::{Schedule, ThreadRef, cpu_time, read_schedule};

/// The longest tick of a kernel's clock: at it, what a running thread used is counted.
pub const TICK_NS: u64 = 10_000_000;

/// A thread's clocks at one moment, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// The moment, by the clock of the one who asked.
    pub at_ns: u64,
    /// Time on a CPU since the thread began.
    pub cpu_ns: u64,
    /// Time ready to run without a CPU, likewise. A wait that still goes on is not in it.
    pub run_delay_ns: u64,
    /// How often it got a CPU.
    pub slices: u64,
}

impl ClockReading {
    /// Reads them; `None` where the kernel does not tell.
    pub fn take(thread: &ThreadRef, at_ns: u64) -> Option<ClockReading> {
        let reading = ClockReading::new(read_schedule(thread).ok()?, at_ns);
        // Not known before it is asked: it may have come since.
        let cpu_ns = seccomp::look().then(|| cpu_time(thread)).flatten();
        Some(ClockReading { cpu_ns: cpu_ns.map_or(reading.cpu_ns, |now| now.max(reading.cpu_ns)), ..reading })
    }

    /// As the scheduler counts them: while the thread runs, its time on the CPU is behind by up to [`TICK_NS`].
    pub fn new(schedule: Schedule, at_ns: u64) -> ClockReading {
        let Schedule { on_cpu_ns: cpu_ns, run_delay_ns, slices } = schedule;
        ClockReading { at_ns, cpu_ns, run_delay_ns, slices }
    }
}

/// A time that is known within bounds, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Between {
    /// It is at least this,
    pub least_ns: u64,
    /// and at most this.
    pub most_ns: u64,
}

impl Between {
    /// It is known.
    pub fn exactly(ns: u64) -> Between {
        Between { least_ns: ns, most_ns: ns }
    }

    /// It is not known, but has no more room than this.
    pub fn at_most(ns: u64) -> Between {
        Between { least_ns: 0, most_ns: ns }
    }

    /// What is known to be at least of a stretch, of whose surroundings and itself `ns` is known: those have so much room.
    pub fn less(ns: u64, room_ns: u64, stretch_ns: u64) -> Between {
        let most_ns = ns.min(stretch_ns);
        Between { least_ns: ns.saturating_sub(room_ns).min(most_ns), most_ns }
    }

    /// No part of a whole is longer.
    pub fn within(self, ns: u64) -> Between {
        Between { least_ns: self.least_ns.min(ns), most_ns: self.most_ns.min(ns) }
    }

    /// The least that it can be, if it is known to within a tenth of the whole.
    pub fn known(self, whole_ns: u64) -> Option<u64> {
        (self.most_ns - self.least_ns <= whole_ns / 10).then_some(self.least_ns)
    }
}

impl Add for Between {
    type Output = Between;

    fn add(self, other: Between) -> Between {
        Between { least_ns: self.least_ns + other.least_ns, most_ns: self.most_ns + other.most_ns }
    }
}

/// How a stretch of time was spent, as far as the clocks tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSplit {
    /// On a CPU.
    pub cpu: Between,
    /// Of that, in the kernel.
    pub kernel: Between,
    /// Ready to run, without a CPU.
    pub run_delay: Between,
    /// Neither. It may be known better than the two others, of which only the sum has bounds.
    pub off_cpu: Between,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_of_the_surroundings_is_not_of_the_stretch_for_sure() {
        // 30 ns of a stretch of 20 and 25 around it: 5 cannot be outside.
        assert_eq!(Between::less(30, 25, 20), Between { least_ns: 5, most_ns: 20 });
        assert_eq!(Between::less(10, 25, 20), Between { least_ns: 0, most_ns: 10 });
        assert_eq!(Between::less(50, 0, 20), Between::exactly(20));
    }

    #[test]
    fn wide_bounds_tell_no_time() {
        assert_eq!(Between { least_ns: 30, most_ns: 40 }.known(100), Some(30));
        assert_eq!(Between { least_ns: 30, most_ns: 41 }.known(100), None);
    }
}
