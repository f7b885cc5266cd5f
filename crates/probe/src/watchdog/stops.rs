//! When the whole process did not run, as when it is stopped by a signal or frozen: what this thread missed.
//!
//! From one beat to the next this thread sleeps on purpose, runs, or waits for a CPU. The rest it was kept from running: with the
//! whole process, unless it waited for a disk, or for a lock of the kernel while others of the process ran. A CPU quota that is used up
//! keeps the whole process from running as well, and is no stop.

use std::collections::VecDeque;

use pollscope_stacks::look::{Between, ClockReading};
use pollscope_stacks::process::Process;
use pollscope_stacks::seccomp;
use pollscope_stacks::thread::{Scheduled, ThreadRef, current_tid, read_major_faults};
use pollscope_stacks::usage::{machine_cpus, process_cpu_ns};

/// What is missed by less is no stop.
const SHORTEST_NS: u64 = 10_000_000;
/// How often the CPU time of all threads is read: the kernel adds it up thread by thread.
const PROCESS_EVERY_NS: u64 = 10_000_000;
/// So many stops are kept; a poll that is older than that many is hardly ever one of them.
const KEPT: usize = 64;

/// A stretch in which the process did not run for a while.
#[derive(Debug, Clone, Copy)]
struct Stop {
    from_ns: u64,
    to_ns: u64,
    stopped: Between,
}

impl Stop {
    /// How much of it lies within. What else there was of it may have been there as well.
    fn within(&self, from_ns: u64, to_ns: u64) -> Between {
        let overlap_ns = self.to_ns.min(to_ns).saturating_sub(self.from_ns.max(from_ns));
        let outside_ns = (self.to_ns - self.from_ns) - overlap_ns;
        Between {
            least_ns: self.stopped.least_ns.saturating_sub(outside_ns),
            most_ns: self.stopped.most_ns.min(overlap_ns),
        }
    }
}

/// What the calling thread's beats tell.
pub(super) struct Stops {
    me: ThreadRef,
    clocks: Option<Scheduled>,
    last: Option<ClockReading>,
    /// When the last beat was, by whatever clocks could be read.
    last_ns: u64,
    /// How long the thread was to sleep since.
    slept_ns: u64,
    /// The CPU time of all threads, and when it was read.
    process: Option<(u64, u64)>,
    major_faults: Option<u64>,
    /// For how long quotas had throttled it when that was last asked.
    throttled_ns: u64,
    /// So many of its threads may have run at once; `None` if nobody knows.
    cpus: Option<u64>,
    stops: VecDeque<Stop>,
    /// For how long it had no CPU before the last beat, where it was late; `None` when that is not known.
    pub(super) without_cpu_ns: Option<u64>,
}

impl Stops {
    /// Of the calling thread. `throttled_ns`: for how long quotas have throttled it by now, in all.
    pub(super) fn new(now_ns: u64, throttled_ns: u64) -> Stops {
        let me = Process::current().thread(current_tid());
        let mut stops = Stops {
            clocks: Scheduled::open(&me).ok(),
            last: None,
            last_ns: now_ns,
            slept_ns: 0,
            process: None,
            major_faults: read_major_faults(&me).ok(),
            throttled_ns,
            cpus: machine_cpus(),
            stops: VecDeque::new(),
            without_cpu_ns: None,
            me,
        };
        stops.read(now_ns);
        stops
    }

    /// The thread sleeps for so long.
    pub(super) fn sleep(&mut self, ns: u64) {
        self.slept_ns += ns;
    }

    /// The thread runs now. The CPU time of all threads is read only while something is polled. `throttled_ns`: see [`Stops::new`]; it
    /// is asked for where something was missed.
    pub(super) fn beat(&mut self, now_ns: u64, is_polled: bool, throttled_ns: impl FnOnce() -> u64) {
        let elapsed_ns = now_ns.saturating_sub(self.last_ns);
        let missed_ns = elapsed_ns.saturating_sub(std::mem::take(&mut self.slept_ns));
        let (before, from_ns, process) = (self.last, self.last_ns, self.process);
        self.read(now_ns);
        self.read_process(now_ns, is_polled);
        self.without_cpu_ns = None;
        if missed_ns < SHORTEST_NS {
            return;
        }
        // Nothing is known where the kernel does not tell.
        let Some((before, now)) = before.zip(self.last) else { return };
        let waited_ns = now.run_delay_ns.saturating_sub(before.run_delay_ns);
        self.without_cpu_ns = Some(waited_ns);
        let stopped_ns = missed_ns.saturating_sub(waited_ns).saturating_sub(now.cpu_ns.saturating_sub(before.cpu_ns));
        if stopped_ns < SHORTEST_NS {
            return;
        }
        let is_sure = !self.waited_for_a_disk() && !self.others_ran(process, now_ns, stopped_ns);
        // All that was counted since something was last missed may be of this time.
        let throttled_ns = throttled_ns();
        let held_ns = throttled_ns.saturating_sub(std::mem::replace(&mut self.throttled_ns, throttled_ns));
        let least_ns = if is_sure { stopped_ns.saturating_sub(held_ns) } else { 0 };
        self.keep(Stop { from_ns, to_ns: now_ns, stopped: Between { least_ns, most_ns: stopped_ns } });
    }

    /// How long the process did not run from then to then.
    pub(super) fn within(&self, from_ns: u64, to_ns: u64) -> Between {
        self.stops.iter().map(|stop| stop.within(from_ns, to_ns)).fold(Between::default(), std::ops::Add::add)
    }

    fn read(&mut self, now_ns: u64) {
        let schedule = self.clocks.as_ref().and_then(|clocks| clocks.read().ok());
        self.last = schedule.map(|schedule| ClockReading::new(schedule, now_ns));
        self.last_ns = now_ns;
    }

    fn read_process(&mut self, now_ns: u64, is_polled: bool) {
        let is_due = self.process.is_none_or(|(_, at_ns)| now_ns.saturating_sub(at_ns) >= PROCESS_EVERY_NS);
        match is_polled {
            false => self.process = None,
            true if is_due && seccomp::look() => self.process = process_cpu_ns().map(|cpu_ns| (cpu_ns, now_ns)),
            true => {}
        }
    }

    /// Whether this thread may have waited for a disk since this was last asked.
    fn waited_for_a_disk(&mut self) -> bool {
        let before = std::mem::replace(&mut self.major_faults, read_major_faults(&self.me).ok());
        before.is_none() || before != self.major_faults
    }

    /// Whether the threads of the process ran for longer than is left beside such a stop.
    fn others_ran(&self, before: Option<(u64, u64)>, now_ns: u64, stopped_ns: u64) -> bool {
        let Some(((before, since_ns), (now, _))) = before.zip(self.process) else { return false };
        let left_ns = now_ns.saturating_sub(since_ns).saturating_sub(stopped_ns);
        self.cpus.is_none_or(|cpus| now.saturating_sub(before) > left_ns.saturating_mul(cpus))
    }

    fn keep(&mut self, stop: Stop) {
        if self.stops.len() == KEPT {
            self.stops.pop_front();
        }
        self.stops.push_back(stop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(stops: &[Stop]) -> Stops {
        Stops { stops: stops.iter().copied().collect(), ..Stops::new(0, 0) }
    }

    #[test]
    fn of_a_stop_a_poll_has_what_cannot_be_elsewhere() {
        // In these 500 it did not run for 400.
        let stop = Stop { from_ns: 1_000, to_ns: 1_500, stopped: Between::exactly(400) };
        let check = |from, to, least_ns, most_ns| {
            assert_eq!(of(&[stop]).within(from, to), Between { least_ns, most_ns }, "{from} to {to}");
        };
        check(0, 2_000, 400, 400);
        check(1_050, 1_450, 300, 400);
        check(1_400, 1_600, 0, 100);
        check(2_000, 3_000, 0, 0);
        let twice = [stop, Stop { from_ns: 1_500, to_ns: 1_600, stopped: Between::at_most(50) }];
        assert_eq!(of(&twice).within(0, 9_000), Between { least_ns: 400, most_ns: 450 });
    }

    #[test]
    fn a_sleep_on_purpose_is_none() {
        let mut stops = Stops::new(1, 0);
        stops.sleep(50_000_000);
        stops.beat(51_000_000, false, || unreachable!("nothing was missed"));
        assert_eq!(stops.within(0, u64::MAX), Between::default());
    }

    /// This thread takes its clocks' word for what it did; the time here is made up.
    #[test]
    fn what_it_neither_slept_nor_ran_is_a_stop_unless_the_process_ran() {
        let mut stops = Stops::new(1, 0);
        if stops.last.is_none() {
            return;
        }
        stops.sleep(20_000_000);
        stops.beat(420_000_000, true, || 0);
        let stopped = stops.within(0, 420_000_000);
        // Less what this thread ran and waited for a CPU meanwhile.
        assert!(stopped.most_ns <= 400_000_000 && stopped.most_ns > 0, "{stopped:?}");
        stops.process = stops.process.map(|(_, at_ns)| (0, at_ns));
        let before = stops.process;
        stops.process = before.map(|(_, at_ns)| (400_000_000, at_ns));
        assert!(stops.others_ran(before, 820_000_000, 390_000_000) || before.is_none());
    }
    #[test]
    fn what_a_quota_may_have_held_up_is_no_stop_for_sure() {
        let mut stops = Stops::new(1, 700_000_000);
        if stops.last.is_none() {
            return;
        }
        stops.beat(400_000_000, false, || 1_050_000_000);
        let first = stops.within(0, 400_000_000);
        assert!(first.least_ns <= 50_000_000 && first.most_ns > 0, "{first:?}");
        // What was counted before is of no later time.
        stops.beat(800_000_000, false, || 1_050_000_000);
        let second = stops.within(400_000_000, 800_000_000);
        assert!(second.least_ns > 0, "{second:?}");
    }
}
