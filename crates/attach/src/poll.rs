//! One poll, as far as it was seen: all looks of which it is certain that they show one and the same.
//!
//! That is certain while the thread stands in one system call and is given no CPU; and, whatever it does, until a breakpoint tells that
//! it came to the code that goes on when the poll ends.

use std::sync::Arc;

use pollscope_base::Evidence;
use pollscope_stacks::look::{
    Between, ClockReading, Glance, Look, NamedLook, NamedSeen, Namer, Observation, SharedLook, Shares, SyscallSamples,
    TimeSplit,
};
use pollscope_stacks::task::Task;
use pollscope_stacks::thread::{KERNEL_TICK_NS, ThreadRef, read_kernel_time};
use pollscope_stacks::unwind::{Stack, StackPointers};

use crate::throttling::{Held, Throttling};

/// A thread that goes on from place to place is looked at after this part of the poll's age, so that a long poll does not take looks
/// for ever: one that runs, whose stack is copied by the kernel, and one that is off the CPU.
const RUNNING_PART: u64 = 8;
const BLOCKED_PART: u64 = 32;
/// Of so many waits for something it is found out who has it.
const MOST_ASKED: u32 = 4;

/// A poll that goes on, or is over.
#[derive(Debug, Clone)]
pub(crate) struct Poll {
    /// Which one, of all threads.
    pub(crate) number: u64,
    /// When the thread was last seen elsewhere; `None` where this was the first look at it.
    before_ns: Option<u64>,
    first: Glance,
    /// The last glance at which it was certain that it goes on.
    last: Glance,
    /// Its time in the kernel then.
    kernel_ns: [Option<u64>; 2],
    shares: Shares,
    samples: SyscallSamples,
    /// When the last look was taken that counts.
    looked_ns: u64,
    /// Where the frames of the first look were.
    pointers: StackPointers,
    /// The address of the code that goes on when it ends, if a breakpoint there is armed since it was first seen; or since a look that
    /// showed its thread stand still since then.
    returns_to: Option<u64>,
    /// The stack pointer then.
    returns_at: Option<u64>,
    /// The task that is polled, where its header was found.
    task: Option<Task>,
    /// How often it was to be found out who has what it waits for.
    asked: u32,
    end: End,
    /// The first glance after it.
    after: Option<Glance>,
    held: Held,
}

/// When a poll ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It goes on.
    Open,
    /// Between the last look that showed it and the next one.
    BetweenLooks,
    /// Then, in nanoseconds.
    At(u64),
}

impl Poll {
    /// One that a thread was first seen in now; `returns_to`: where a breakpoint is armed.
    pub(crate) fn begin(number: u64, before_ns: Option<u64>, first: Glance, returns_to: Option<u64>) -> Poll {
        Poll {
            number,
            before_ns,
            first,
            last: first,
            kernel_ns: [None; 2],
            shares: Shares::default(),
            samples: SyscallSamples::default(),
            looked_ns: 0,
            pointers: StackPointers::default(),
            returns_to,
            returns_at: None,
            task: None,
            asked: 0,
            end: End::Open,
            after: None,
            held: Held::default(),
        }
    }

    /// Whether the thread is still in it for sure, if nothing but looks tells: in the same call, and given no CPU since.
    pub(crate) fn stands(&self, now: &Glance) -> bool {
        now.stands_since(&self.last)
    }

    /// Whether the last look at its stack still holds.
    pub(crate) fn is_where_it_was(&self, now: &Glance) -> bool {
        self.shares.stands_still(now)
    }

    /// The last look at its stack.
    pub(crate) fn last_look(&self) -> Option<&Arc<SharedLook>> {
        self.shares.last()
    }

    /// It goes on.
    pub(crate) fn go_on(&mut self, thread: &ThreadRef, now: Glance) {
        let is_still = now.stands_since(&self.last);
        self.last = now;
        if is_still {
            if self.shares.stands_still(&now) {
                self.shares.stay(now);
            }
            return;
        }
        if let Some(state) = &now.state {
            self.samples.count(thread, state);
        }
        let kernel_ns = read_kernel_time(thread).ok();
        self.kernel_ns = [self.kernel_ns[0].or(kernel_ns), kernel_ns.or(self.kernel_ns[1])];
    }

    /// Where the code is that goes on when it ends, if a breakpoint there tells of that.
    pub(crate) fn returns_to(&self) -> Option<u64> {
        self.returns_to
    }

    /// The first look, and where its frames were.
    pub(crate) fn first_look(&self) -> Option<(&Look, &StackPointers)> {
        self.look().map(|look| (&look.look, &self.pointers))
    }

    /// How long its thread was on a CPU since it was first seen; `None` where that is not told.
    pub(crate) fn ran_ns(&self) -> Option<u64> {
        Some(self.last.clocks?.cpu_ns.saturating_sub(self.first.clocks?.cpu_ns))
    }

    /// How often its thread got a CPU since it was first seen; `None` where that is not told.
    pub(crate) fn slices(&self) -> Option<u64> {
        Some(self.last.clocks?.slices.saturating_sub(self.first.clocks?.slices))
    }

    /// Whether it is to be found out once more who has what it waits for.
    pub(crate) fn may_ask_for_holder(&mut self) -> bool {
        self.asked += 1;
        self.asked <= MOST_ASKED
    }

    /// It is of this task.
    pub(crate) fn set_task(&mut self, task: Task) {
        self.task = Some(task);
    }

    pub(crate) fn task(&self) -> Option<&Task> {
        self.task.as_ref()
    }

    /// From now on a breakpoint does, while its thread stands still since the first look.
    pub(crate) fn secure(&mut self, returns_to: u64, returns_at: Option<u64>) {
        (self.returns_to, self.returns_at) = (Some(returns_to), returns_at);
    }

    /// Whether its thread's coming to that code, with this stack pointer, is its end.
    pub(crate) fn ends_with(&self, sp: Option<u64>) -> bool {
        self.returns_at.is_none_or(|at| sp.is_none_or(|sp| sp == at))
    }

    /// Whether what a look shows can be it: the innermost frame that ends like a poll, as `ends` says, does so where the breakpoint is that
    /// tells of its end. `None` if what would show that is not known of the stack.
    pub(crate) fn may_show(&mut self, look: &Look, ends: Option<(u64, Option<u64>)>) -> Option<bool> {
        let Some(address) = self.returns_to else { return Some(true) };
        let its = ends.filter(|(returns_to, _)| *returns_to == address);
        self.returns_at = self.returns_at.or(its.and_then(|(_, returns_at)| returns_at));
        let is_known = ends.is_some() || look.stack.as_ref()?.is_complete();
        is_known.then_some(its.is_some())
    }

    /// Whether its thread's stack is to be looked at, which is elsewhere than it was.
    pub(crate) fn is_due(&self, now: &Glance) -> bool {
        let part = if now.is_blocked() { BLOCKED_PART } else { RUNNING_PART };
        now.at_ns.saturating_sub(self.looked_ns) >= now.at_ns.saturating_sub(self.first.at_ns) / part
    }

    /// When its thread was last seen elsewhere, and the first glance at it.
    pub(crate) fn begun(&self) -> (Option<u64>, Glance) {
        (self.before_ns, self.first)
    }

    /// Whether its thread stands still since it was first seen.
    pub(crate) fn stood_since_first(&self, now: &Glance) -> bool {
        now.stands_since(&self.first)
    }

    /// Whether its thread stood still at its last glance, since it was first seen.
    pub(crate) fn stood(&self) -> bool {
        self.last.stands_since(&self.first)
    }

    /// A look within it, beside a glance; what is to be named, if it shows what was not seen before.
    pub(crate) fn show(&mut self, look: Look, pointers: StackPointers, beside: Glance) -> Option<Arc<SharedLook>> {
        self.last = beside;
        self.looked_ns = self.last.at_ns;
        if self.look().is_none() {
            self.pointers = pointers;
        }
        // In one call since it was first seen: there it stood all the time.
        let is_first = self.look().is_none() && self.last.stands_since(&self.first);
        let new = self.shares.add(look, if is_first { self.first } else { self.last });
        if is_first {
            self.shares.stay(self.last);
        }
        new
    }

    /// Begins it anew at its last glance, before which it was not seen.
    pub(crate) fn restart(&mut self, before_ns: Option<u64>) {
        *self = Poll::begin(self.number, before_ns, self.last, self.returns_to);
    }

    /// It is over, as a glance shows that was taken then.
    pub(crate) fn end(&mut self, end: End, after: Glance) {
        (self.end, self.after) = (end, Some(after));
        self.shares.end(&Glance { at_ns: self.end_ns(), clocks: after.clocks, state: None });
    }

    /// What CPU quotas did to it.
    pub(crate) fn was_held(&mut self, throttling: &mut Throttling) {
        let start_ns = self.first.at_ns;
        self.held = throttling.within(start_ns, start_ns + self.seen_ns());
    }

    /// The first look at its stack; `None` as long as there was none.
    pub(crate) fn look(&self) -> Option<&Arc<SharedLook>> {
        self.shares.seen().first().map(|seen| &seen.look)
    }

    /// For how long it was seen, in nanoseconds: it lasted at least as long, and if its end is known, as long as that from when it was
    /// first seen.
    pub(crate) fn seen_ns(&self) -> u64 {
        self.end_ns().saturating_sub(self.first.at_ns)
    }

    /// When it ended, or was last seen.
    fn end_ns(&self) -> u64 {
        match self.end {
            End::At(end_ns) => end_ns,
            End::Open | End::BetweenLooks => self.last.at_ns,
        }
    }

    /// When it was first seen.
    pub(crate) fn start_ns(&self) -> u64 {
        self.first.at_ns
    }

    /// For how long before that it may have lasted; `None` where nobody looked before.
    pub(crate) fn start_within_ns(&self) -> Option<u64> {
        self.before_ns.map(|before_ns| self.first.at_ns.saturating_sub(before_ns))
    }

    /// For how long after it was last seen it may have lasted; `None` while it goes on, and where its end is known.
    pub(crate) fn end_within_ns(&self) -> Option<u64> {
        match self.end {
            End::Open | End::At(_) => None,
            End::BetweenLooks => self.after.map(|after| after.at_ns.saturating_sub(self.last.at_ns)),
        }
    }

    /// Whether a look that has names by now shows its thread at work for the loop; `None` while no look has.
    pub(crate) fn is_on_loop(&self) -> Option<bool> {
        let named = self.shares.seen().iter().filter_map(|seen| seen.look.named_by_now());
        named.map(|named| named.is_on_loop).reduce(|one, other| one || other)
    }

    /// The type of the future, and what it all comes to, as soon as everything has names; `None` if it is no work of a loop.
    pub(crate) fn evidence(&self, namer: &mut Namer) -> Option<(Option<String>, Evidence)> {
        let named = self.shares.seen().iter().map(|seen| {
            let named = seen.look.named(namer).clone();
            let held = named.held.clone().or_else(|| seen.look.held().cloned());
            NamedSeen { named: NamedLook { held, ..named }, looks: seen.looks, ns: seen.ns }
        });
        let seen: Vec<NamedSeen> = named.collect();
        let future =
            seen.iter().filter(|seen| seen.named.is_on_loop).map(|seen| seen.named.root_future.clone()).next()?;
        let duration_ns = self.seen_ns();
        let observation = Observation {
            seen: &seen,
            early: self.shares.early(self.first.at_ns, self.first.clocks.as_ref()),
            samples: &self.samples,
            split: self.split(duration_ns),
            quota: self.held.quota,
            throttled: self.held.counted,
            suspended: Between::default(),
            duration_ns,
        };
        Some((future, observation.evidence()))
    }

    /// How its time divides, by its thread's clocks when it was first and last seen, and after it: what is counted after its end has no
    /// room in it.
    fn split(&self, duration_ns: u64) -> Option<TimeSplit> {
        let (first, last) = (self.first.clocks?, self.last.clocks?);
        let seen_ns = self.last.at_ns.saturating_sub(self.first.at_ns).min(duration_ns);
        let late_ns = duration_ns - seen_ns;
        let after = self.after.and_then(|after| after.clocks).filter(|_| late_ns > 0);
        let end_ns = self.first.at_ns + duration_ns;
        let after_ns = after.map_or(0, |after| after.at_ns.saturating_sub(end_ns));
        let counted = |of: fn(&ClockReading) -> u64| {
            let late = after.map(|after| Between::less(of(&after).saturating_sub(of(&last)), after_ns, late_ns));
            let seen_ns = of(&last).saturating_sub(of(&first));
            Between::exactly(seen_ns) + late.unwrap_or(Between::at_most(late_ns))
        };
        let cpu = counted(|clocks| clocks.cpu_ns).within(duration_ns);
        let run_delay = counted(|clocks| clocks.run_delay_ns).within(duration_ns - cpu.least_ns);
        let off_cpu = Between {
            least_ns: duration_ns.saturating_sub(cpu.most_ns + run_delay.most_ns),
            most_ns: (duration_ns - cpu.least_ns).saturating_sub(run_delay.least_ns),
        };
        let kernel = match self.kernel_ns {
            [Some(first), Some(last)] => {
                let ns = last.saturating_sub(first);
                Between { least_ns: ns.saturating_sub(KERNEL_TICK_NS), most_ns: ns + KERNEL_TICK_NS + late_ns }
            }
            _ => Between::at_most(duration_ns),
        };
        Some(TimeSplit { cpu, kernel: kernel.within(cpu.most_ns), run_delay, off_cpu })
    }
}

/// Where the innermost frame returns to that returns to one of these addresses, and the stack pointer then, as far as that is known;
/// `None` if none does. What is further out goes on with more polls.
pub(crate) fn innermost_end(
    stack: &Stack,
    pointers: &StackPointers,
    is_end: impl Fn(u64) -> bool,
) -> Option<(u64, Option<u64>)> {
    let mut returns = (0..stack.frames.len()).filter_map(|frame| Some((frame, stack.returns_to(frame)?)));
    let (frame, address) = returns.find(|(_, address)| is_end(*address))?;
    Some((address, pointers.get(frame + 1)))
}

#[cfg(test)]
mod tests {
    use pollscope_stacks::process::Process;
    use pollscope_stacks::thread::State;

    use super::*;

    fn glance(at_ns: u64, cpu_ns: u64, number: u64) -> Glance {
        let state = State::InSyscall { number, args: [0; 6], sp: 1, pc: 2 };
        Glance { at_ns, clocks: Some(ClockReading { at_ns, cpu_ns, run_delay_ns: 0, slices: 0 }), state: Some(state) }
    }

    fn nobody() -> ThreadRef {
        Process::current().thread(0)
    }

    #[test]
    fn a_thread_that_ran_is_not_in_the_same_wait() {
        let mut poll = Poll::begin(1, Some(90), glance(100, 7, 0), None);
        assert!(poll.stands(&glance(110, 7, 0)));
        assert!(!poll.stands(&glance(110, 8, 0)), "it may be in another such call");
        assert!(!poll.stands(&glance(110, 7, 1)));
        assert!(!poll.stands(&Glance { state: Some(State::Running), ..glance(110, 7, 0) }));
        assert!(!poll.stands(&Glance { clocks: None, ..glance(110, 7, 0) }), "who knows");
        poll.go_on(&nobody(), glance(130, 7, 0));
        assert_eq!((poll.start_ns(), poll.seen_ns(), poll.end_within_ns()), (100, 30, None));
        poll.end(End::BetweenLooks, glance(145, 9, 0));
        assert_eq!((poll.start_within_ns(), poll.seen_ns(), poll.end_within_ns()), (Some(10), 30, Some(15)));
    }

    #[test]
    fn who_stood_since_it_was_first_seen_was_there_all_the_time() {
        let mut poll = Poll::begin(1, None, glance(100, 7, 0), None);
        poll.go_on(&nobody(), glance(130, 7, 0));
        assert!(poll.show(Look::default(), StackPointers::default(), glance(130, 7, 0)).is_some());
        poll.go_on(&nobody(), glance(140, 7, 0));
        let ns = |poll: &Poll| poll.shares.seen().iter().map(|seen| seen.ns).collect::<Vec<u64>>();
        assert_eq!(ns(&poll), [40]);
        assert_eq!(poll.shares.early(100, None).off_ns, 0);
        poll.end(End::At(146), glance(150, 8, 0));
        assert_eq!((poll.seen_ns(), poll.end_within_ns(), poll.start_within_ns()), (46, None, None));
        // Of the unit on a CPU nobody knows whether it was within.
        let split = poll.split(46).unwrap();
        assert_eq!((split.cpu, split.off_cpu), (Between::at_most(1), Between { least_ns: 45, most_ns: 46 }));
    }

    #[test]
    fn a_poll_that_was_over_between_two_looks_counts_to_the_last_that_showed_it() {
        let mut poll = Poll::begin(1, None, glance(100, 7, 0), None);
        poll.go_on(&nobody(), glance(200, 57, 1));
        poll.end(End::BetweenLooks, glance(300, 99, 1));
        let split = poll.split(poll.seen_ns()).unwrap();
        assert_eq!((split.cpu, split.off_cpu), (Between::exactly(50), Between::exactly(50)));
    }
}
