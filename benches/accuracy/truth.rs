//! What a poll did, as it measured itself: what must not be said of it follows from that, and not from what it was meant to do.

use std::panic::Location;
use std::time::{Duration, Instant};

use pollscope_probe::Cause;
use pollscope_stacks::thread::{ThreadRef, read_schedule};
use pollscope_stacks::usage::Usage;
use rustix::time::{ClockId, clock_gettime};

use super::quota;

/// The first and the last line of a place.
pub(crate) type Lines = (u32, u32);

/// Where it was, and for how long; `None` where it was there from begin to end.
#[derive(Clone, Copy)]
pub(crate) struct Spot {
    pub(crate) file: &'static str,
    pub(crate) lines: Lines,
    pub(crate) took: Option<Duration>,
}

/// What a load says that it did.
#[derive(Default)]
pub(crate) struct Did {
    pub(crate) spots: Vec<Spot>,
    /// Of one that was stopped: how long it would have been off the CPU without that.
    pub(crate) waits: Option<Duration>,
    /// The thread that held the lock that it waited for, as the kernel counts.
    pub(crate) holder: Option<u32>,
}

impl Did {
    #[track_caller]
    pub(crate) fn at(lines: Lines) -> Did {
        Did { spots: vec![Spot { file: Location::caller().file(), lines, took: None }], ..Did::default() }
    }
}

/// What a load did, with what its thread's clocks say.
pub(crate) struct Truth {
    pub(crate) did: Did,
    pub(crate) wall: Duration,
    cpu: Duration,
    system: Duration,
    run_delay: Duration,
    throttled: Duration,
}

/// Half, less a twentieth of the poll: it begins before its own clock is read first, and ends after that was read last.
const MOST_OF_IT: f64 = 0.45;

impl Truth {
    pub(crate) fn of(load: impl FnOnce() -> Did) -> Truth {
        let before = Clocks::read();
        let start = Instant::now();
        let did = load();
        let wall = start.elapsed();
        let after = Clocks::read();
        let between = |of: fn(&Clocks) -> Duration| of(&after).saturating_sub(of(&before));
        Truth {
            did,
            wall,
            cpu: between(|clocks| clocks.cpu),
            system: between(|clocks| clocks.system),
            run_delay: between(|clocks| clocks.run_delay),
            throttled: between(|clocks| clocks.throttled),
        }
    }

    /// Whether that may be said of a poll of so long, where what it was off the CPU for was `off_cpu`. What of the poll was before and
    /// after its own clocks were read, as where it waited for a CPU while it read them, may have been anything.
    pub(crate) fn allows(&self, cause: Cause, off_cpu: &[Cause], poll: Duration) -> bool {
        let unmeasured = poll.saturating_sub(self.wall);
        let waits = self.wall.saturating_sub(self.cpu).saturating_sub(self.run_delay);
        let stopped = self.did.waits.map_or(Duration::ZERO, |would| waits.saturating_sub(would));
        let took = match cause {
            Cause::Cpu => self.cpu,
            Cause::Kernel => self.system,
            Cause::Preempted => self.run_delay.saturating_sub(self.throttled),
            Cause::Throttled => self.run_delay.min(self.throttled),
            Cause::Suspended => stopped,
            _ if off_cpu.contains(&cause) => waits.saturating_sub(stopped),
            _ => return false,
        };
        (took + unmeasured).as_secs_f64() >= MOST_OF_IT * poll.as_secs_f64()
    }

    /// For whoever looks at one that was told wrongly.
    pub(crate) fn sentence(&self) -> String {
        let Truth { wall, cpu, system, run_delay, throttled, did } = self;
        let of = |spot: &Spot| format!("{}:{:?} {:?}", spot.file, spot.lines, spot.took.unwrap_or(*wall));
        let spots: Vec<_> = did.spots.iter().map(of).collect();
        format!(
            "{wall:?}: cpu {cpu:?} (system {system:?}), run delay {run_delay:?}, throttled {throttled:?}; {}",
            spots.join(", ")
        )
    }
}

struct Clocks {
    cpu: Duration,
    system: Duration,
    run_delay: Duration,
    throttled: Duration,
}

impl Clocks {
    fn read() -> Clocks {
        let cpu = clock_gettime(ClockId::ThreadCPUTime);
        let schedule = read_schedule(&ThreadRef::current()).expect("the kernel accounts for it");
        let usage = Usage::of_this_thread().expect("a thread's usage is known");
        Clocks {
            cpu: Duration::new(cpu.tv_sec.unsigned_abs(), u32::try_from(cpu.tv_nsec).expect("less than a second")),
            system: Duration::from_nanos(usage.system_ns),
            run_delay: Duration::from_nanos(schedule.run_delay_ns),
            throttled: quota::throttled(),
        }
    }
}
