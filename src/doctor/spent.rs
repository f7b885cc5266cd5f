//! How a stall's time was spent, as the thread that blocked measured it, and what may be said of it for that reason: a busy machine
//! makes of a sleep a wait for a CPU.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use pollscope_base::Cause;
use pollscope_stacks::quota::{Quotas, Readings};
use pollscope_stacks::thread::{ThreadRef, read_schedule};
use pollscope_stacks::usage::Usage;
use rustix::time::{ClockId, clock_gettime};

use super::Injection;

/// What the kernel's counters may be behind by: a tick of its clock.
const TICK: Duration = Duration::from_millis(10);
/// How time on the CPU divides, it estimates from its ticks, and tells in ticks, before and after.
const ESTIMATED: Duration = Duration::from_millis(30);
/// A stop shows only in what the watchdog did not sleep on purpose.
const ASLEEP: Duration = Duration::from_millis(40);

/// The quotas that this process is under; which they are is found out once, before the first stall.
static QUOTAS: LazyLock<Option<Quotas>> = LazyLock::new(Quotas::open);

/// A stall's beginning, by all clocks of the thread that calls.
pub(super) struct Clocks {
    start: Instant,
    cpu: Duration,
    kernel: Duration,
    waited: Duration,
    quotas: Option<Readings>,
}

/// How the time was spent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    pub(super) length: Duration,
    /// On a CPU.
    pub(super) cpu: Duration,
    /// Of that, in the kernel.
    pub(super) kernel: Duration,
    /// Ready to run, without a CPU; zero where the kernel does not say, to nobody.
    pub(super) waited: Duration,
    /// How long a CPU quota held up the process.
    pub(super) throttled: Duration,
    /// How long the process was stopped, by the word of who stopped it.
    pub(super) stopped: Duration,
}

impl Clocks {
    /// Finds out what is found out once.
    pub(super) fn prepare() {
        LazyLock::force(&QUOTAS);
    }

    pub(super) fn start() -> Clocks {
        let start = Instant::now();
        let usage = Usage::of_this_thread().unwrap_or_default();
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let schedule = read_schedule(&ThreadRef::current()).ok();
        Clocks {
            start,
            cpu: Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32),
            kernel: Duration::from_nanos(usage.system_ns),
            waited: Duration::from_nanos(schedule.map_or(0, |schedule| schedule.run_delay_ns)),
            quotas: QUOTAS.as_ref().map(|quotas| quotas.read(0)),
        }
    }

    /// What was spent since the start, with what it takes to read the clocks.
    pub(super) fn spent(&self) -> Spent {
        let now = Clocks::start();
        let quota = QUOTAS.as_ref().zip(self.quotas.as_ref().zip(now.quotas.as_ref()));
        let quota = quota.and_then(|(quotas, (before, now))| quotas.between(before, now, 0));
        Spent {
            length: self.start.elapsed(),
            cpu: now.cpu.saturating_sub(self.cpu),
            kernel: now.kernel.saturating_sub(self.kernel),
            waited: now.waited.saturating_sub(self.waited),
            throttled: quota.map_or(Duration::ZERO, |quota| quota.throttled),
            stopped: Duration::ZERO,
        }
    }
}

impl Spent {
    /// The stall on that line, whose thread was in `off_cpu` while it neither ran, nor waited for a CPU, nor was stopped.
    pub(super) fn injection(&self, off_cpu: Cause, line: String) -> Injection {
        let ns = u64::try_from(self.length.as_nanos()).unwrap_or(u64::MAX);
        Injection { ns, causes: self.causes(off_cpu), line, is_line_due: true, holder: None }
    }

    /// What may be said, first what is the likeliest: what took more than half of it. Only that if it is sure; otherwise whatever may
    /// have, and that it is not known.
    fn causes(&self, off_cpu: Cause) -> Vec<Option<Cause>> {
        let half = self.length / 2;
        // `None` where that is too near to tell.
        let is_over = |time: Duration, half: Duration, slack: Duration| {
            if time > half + slack {
                Some(true)
            } else if time + slack > half {
                None
            } else {
                Some(false)
            }
        };
        let both = |one: Option<bool>, two: Option<bool>| match (one, two) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        };
        let not = |one: Option<bool>| one.map(|is| !is);
        let (computed, waited) = (is_over(self.cpu, half, TICK), is_over(self.waited, half, TICK));
        let kernel = is_over(self.kernel, half, ESTIMATED);
        // As far as a quota explains half of the wait.
        let quota = if self.throttled.is_zero() { Some(false) } else { is_over(self.throttled, self.waited / 2, TICK) };
        let off = self.length.saturating_sub(self.cpu).saturating_sub(self.waited).saturating_sub(self.stopped);
        let all = [
            (off_cpu, is_over(off, half, TICK)),
            (Cause::Cpu, both(computed, not(kernel))),
            (Cause::Kernel, both(computed, kernel)),
            (Cause::Preempted, both(waited, not(quota))),
            (Cause::Throttled, both(waited, quota)),
            (Cause::Suspended, if self.stopped.is_zero() { Some(false) } else { is_over(self.stopped, half, ASLEEP) }),
        ];
        if let Some((cause, _)) = all.iter().find(|(_, is_most)| *is_most == Some(true)) {
            // On a CPU it was as well; that this was in the kernel shows between two looks, which a busy machine may not allow.
            let as_well = (*cause == Cause::Kernel && self.waited > TICK).then_some(Some(Cause::Cpu));
            return [Some(*cause)].into_iter().chain(as_well).collect();
        }
        let mut may: Vec<Option<Cause>> =
            all.iter().filter(|(_, is_most)| is_most.is_none()).map(|(cause, _)| Some(*cause)).collect();
        if computed != Some(true) && waited != Some(true) {
            may.push(None);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What may be said of 120 ms, of which so many were spent so, and the rest in a call.
    fn said(spent: Spent) -> String {
        let spent = Spent { length: Duration::from_millis(120), ..spent };
        let may = spent.causes(Cause::BlockingCall);
        let words: Vec<&str> = may.iter().map(|cause| cause.map_or("unknown", Cause::as_str)).collect();
        words.join(" ")
    }

    #[test]
    fn what_took_most_for_sure_must_be_said() {
        let ms = Duration::from_millis;
        let none = Spent::default();
        assert_eq!(said(none), "blocking-call");
        assert_eq!(said(Spent { cpu: ms(10), waited: ms(20), ..none }), "blocking-call");
        assert_eq!(said(Spent { cpu: ms(119), ..none }), "cpu");
        assert_eq!(said(Spent { cpu: ms(119), kernel: ms(110), ..none }), "kernel");
        let busy = Spent { cpu: ms(104), kernel: ms(100), waited: ms(15), ..none };
        assert_eq!(said(busy), "kernel cpu", "who looks may have waited as well");
        assert_eq!(said(Spent { waited: ms(80), ..none }), "preempted");
        assert_eq!(said(Spent { waited: ms(80), throttled: ms(75), ..none }), "throttled");
        assert_eq!(said(Spent { waited: ms(80), throttled: ms(20), ..none }), "preempted");
        assert_eq!(said(Spent { stopped: ms(110), ..none }), "suspended");
    }

    #[test]
    fn what_is_not_sure_may_be_said_or_be_unknown() {
        let ms = Duration::from_millis;
        let none = Spent::default();
        assert_eq!(said(Spent { cpu: ms(40), waited: ms(40), ..none }), "unknown", "by turns");
        assert_eq!(said(Spent { cpu: ms(55), ..none }), "blocking-call cpu unknown");
        assert_eq!(said(Spent { cpu: ms(62), waited: ms(50), ..none }), "cpu unknown");
        assert_eq!(said(Spent { cpu: ms(55), waited: ms(55), ..none }), "cpu preempted unknown");
        assert_eq!(said(Spent { stopped: ms(80), ..none }), "suspended unknown");
        assert_eq!(said(Spent { cpu: ms(119), kernel: ms(50), ..none }), "cpu kernel", "it ran, whatever it ran");
        assert_eq!(said(Spent { waited: ms(110), throttled: ms(60), ..none }), "preempted throttled");
    }
}
