//! A thread's clocks, and how they say that its time was spent.

use crate::thread::{Schedule, ThreadRef, read_schedule};

/// A thread's clocks at one moment, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// The moment, by the clock of the one who asked.
    pub at_ns: u64,
    /// Time on a CPU since the thread began.
    pub cpu_ns: u64,
    /// Time ready to run without a CPU, likewise.
    pub run_delay_ns: u64,
}

impl ClockReading {
    /// Reads them; `None` where the kernel does not tell.
    pub fn take(thread: &ThreadRef, at_ns: u64) -> Option<ClockReading> {
        Some(ClockReading::new(read_schedule(thread).ok()?, at_ns))
    }

    /// As they were read.
    pub fn new(schedule: Schedule, at_ns: u64) -> ClockReading {
        ClockReading { at_ns, cpu_ns: schedule.on_cpu_ns, run_delay_ns: schedule.run_delay_ns }
    }
}

/// How a stretch of time was spent, as far as the clocks tell, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSplit {
    /// On a CPU.
    pub cpu_ns: u64,
    /// Ready to run, without a CPU.
    pub run_delay_ns: u64,
    /// Neither.
    pub off_cpu_ns: u64,
}
