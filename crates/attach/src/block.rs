//! One wait of a thread: looks that showed it in one and the same system call, without a CPU in between.

use std::sync::Arc;

use pollscope_base::Evidence;
use pollscope_stacks::look::{
    Between, ClockReading, Early, Glance, Look, NamedLook, NamedSeen, Observation, SharedLook, SyscallSamples,
    TimeSplit,
};

/// A wait that goes on, or is over.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// Which one, of all threads.
    pub(crate) number: u64,
    /// When the thread was last seen elsewhere; `None` where this was the first look at it.
    before_ns: Option<u64>,
    first: Glance,
    last: Glance,
    /// How many looks showed it.
    looks: u32,
    look: Option<Arc<SharedLook>>,
    /// The first look that showed the thread elsewhere again, or nowhere.
    after_ns: Option<u64>,
}

impl Block {
    /// One that a thread was first seen in now.
    pub(crate) fn begin(number: u64, before_ns: Option<u64>, first: Glance) -> Block {
        Block { number, before_ns, first, last: first, looks: 1, look: None, after_ns: None }
    }

    /// Whether the thread is still in it: in the same call, and it was not given a CPU since.
    pub(crate) fn is_still(&self, now: &Glance) -> bool {
        now.stands_since(&self.last)
    }

    /// It is still in it.
    pub(crate) fn stay(&mut self, now: Glance) {
        self.looks += 1;
        self.last = now;
    }

    /// Its stack was copied, while it was in it: so it stood from the first look on.
    pub(crate) fn show(&mut self, look: Look) {
        self.look = Some(Arc::new(SharedLook::new(look)));
    }

    /// It is over, as a look showed that was taken then.
    pub(crate) fn end(&mut self, after_ns: u64) {
        self.after_ns = Some(after_ns);
    }

    /// The look at its stack; `None` as long as there was none.
    pub(crate) fn look(&self) -> Option<&Arc<SharedLook>> {
        self.look.as_ref()
    }

    /// For how long it was seen, in nanoseconds: it lasted at least as long.
    pub(crate) fn seen_ns(&self) -> u64 {
        self.last.at_ns.saturating_sub(self.first.at_ns)
    }

    /// When it was first seen.
    pub(crate) fn start_ns(&self) -> u64 {
        self.first.at_ns
    }

    /// For how long before that it may have lasted; `None` where nobody looked before.
    pub(crate) fn start_within_ns(&self) -> Option<u64> {
        self.before_ns.map(|before_ns| self.first.at_ns.saturating_sub(before_ns))
    }

    /// For how long after it was last seen it may have lasted; `None` while it goes on.
    pub(crate) fn end_within_ns(&self) -> Option<u64> {
        self.after_ns.map(|after_ns| after_ns.saturating_sub(self.last.at_ns))
    }

    /// What it comes to, its stack having these names.
    pub(crate) fn evidence(&self, named: &NamedLook) -> Evidence {
        let duration_ns = self.seen_ns();
        let seen = [NamedSeen { named: named.clone(), looks: self.looks, ns: duration_ns }];
        let split = self.first.clocks.zip(self.last.clocks).map(|(first, last)| split(&first, &last, duration_ns));
        let observation = Observation {
            seen: &seen,
            early: Early::default(),
            samples: &SyscallSamples::default(),
            split,
            quota: None,
            throttled: None,
            suspended: Between::default(),
            duration_ns,
        };
        observation.evidence()
    }
}

/// How the time between two looks at a thread divides that was blocked in both, and did not run between.
fn split(first: &ClockReading, last: &ClockReading, duration_ns: u64) -> TimeSplit {
    let cpu_ns = last.cpu_ns.saturating_sub(first.cpu_ns);
    let delay_ns = last.run_delay_ns.saturating_sub(first.run_delay_ns);
    let off_ns = duration_ns.saturating_sub(cpu_ns).saturating_sub(delay_ns);
    TimeSplit {
        cpu: Between::exactly(cpu_ns),
        // It was not seen to run.
        kernel: Between::default(),
        run_delay: Between::exactly(delay_ns),
        off_cpu: Between::exactly(off_ns),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pollscope_stacks::thread::State;

    use super::*;

    fn glance(at_ns: u64, cpu_ns: u64, number: u64) -> Glance {
        let state = State::InSyscall { number, args: [0; 6], sp: 1, pc: 2 };
        Glance { at_ns, clocks: Some(ClockReading { at_ns, cpu_ns, run_delay_ns: 0 }), state: Some(state) }
    }

    #[test]
    fn a_thread_that_ran_is_not_in_the_same_wait() {
        let mut block = Block::begin(1, Some(90), glance(100, 7, 0));
        assert!(block.is_still(&glance(110, 7, 0)));
        assert!(!block.is_still(&glance(110, 8, 0)), "it may be in another such call");
        assert!(!block.is_still(&glance(110, 7, 1)));
        assert!(!block.is_still(&Glance { state: Some(State::Running), ..glance(110, 7, 0) }));
        assert!(!block.is_still(&Glance { clocks: None, ..glance(110, 7, 0) }), "who knows");
        block.stay(glance(130, 7, 0));
        assert_eq!((block.start_ns(), block.seen_ns(), block.end_within_ns()), (100, 30, None));
        block.end(145);
        assert_eq!((block.start_within_ns(), block.seen_ns(), block.end_within_ns()), (Some(10), 30, Some(15)));
    }

    #[test]
    fn what_it_comes_to_is_what_was_seen() {
        let mut block = Block::begin(1, None, glance(100, 7, 0));
        block.stay(glance(130, 7, 0));
        let look = Look { off_cpu: Some(pollscope_base::Cause::BlockingCall), ..Look::default() };
        let evidence = block.evidence(&NamedLook::unnamed(&look));
        assert_eq!(evidence.cause, Some(pollscope_base::Cause::BlockingCall));
        assert_eq!((evidence.cpu_time, evidence.run_delay), (Some(Duration::ZERO), Some(Duration::ZERO)));
        assert_eq!((evidence.places[0].looks, evidence.places[0].share), (2, Duration::from_nanos(30)));
        assert_eq!(block.start_within_ns(), None, "nobody looked before");
    }
}
