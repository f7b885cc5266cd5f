//! A thread that is looked at: what is kept open of it, and what was learnt of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use pollscope_base::duration::to_ns;
use pollscope_stacks::look::{ClockReading, Glance, SharedLook};
use pollscope_stacks::perf::{Breakpoint, CpuSampler, Hit, PerfError};
use pollscope_stacks::poll::Kind;
use pollscope_stacks::thread::{State, ThreadRef, Watched};

use crate::poll::Poll;
use crate::profile::Due;

/// Of so many waits of a thread it is remembered that it is idle in them: for events, for work, for time.
const MOST_IDLE: usize = 8;
/// So many looks may wait for their names.
const MOST_ASKED: usize = 8;
/// How long a thread that runs is left alone after it was asked what it is, the first time; and at most.
const ASK_AFTER_NS: u64 = 50_000_000;
const ASK_AFTER_MOST_NS: u64 = 16_000_000_000;

/// A thread that is looked at.
pub(crate) struct Looked {
    pub(crate) thread: ThreadRef,
    /// `None` where they cannot be kept open, for want of descriptors say.
    files: Option<Watched>,
    pub(crate) poll: Option<Poll>,
    /// What the last glance showed.
    pub(crate) last: Option<Glance>,
    /// What its clocks said when they were last read at a look.
    clocks: Option<ClockReading>,
    pub(crate) told_ns: u64,
    /// Whether nothing could be read of it: another thread may have its number by now.
    pub(crate) is_lost: bool,
    /// Whether it is a loop's; `None` before that is known.
    pub(crate) is_loops: Option<bool>,
    /// What the polls of its loop return to.
    pub(crate) returns_to: Option<u64>,
    breakpoint: Option<Breakpoint>,
    /// Whether that is armed, and did not fire since.
    is_armed: bool,
    sampler: Option<CpuSampler>,
    /// When it was last asked for samples of a poll; and whether it is sampled for a moment, for the profile.
    sampled_ns: u64,
    is_glimpsed: bool,
    /// What the profile's samples of it are still to stand for.
    pub(crate) due: Due,
    /// Waits in which it is idle, by what its stack said once.
    idle: Vec<Wait>,
    /// Looks that teach something as soon as they have names, and the wait that each shows.
    asked: Vec<(Arc<SharedLook>, Option<Wait>)>,
    /// When it may be asked next what it is, and how long after that again.
    ask_at_ns: u64,
    ask_after_ns: u64,
}

/// A wait as the kernel shows it: the same again is the same place in the code, with the same stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wait {
    number: u64,
    what: u64,
    sp: u64,
    pc: u64,
}

impl Wait {
    fn of(glance: &Glance) -> Option<Wait> {
        match glance.state? {
            State::InSyscall { number, args, sp, pc } => Some(Wait { number, what: args[0], sp, pc }),
            State::Stopped { .. } | State::Running => None,
        }
    }
}

impl Looked {
    pub(crate) fn new(thread: ThreadRef, keeps_open: bool) -> Looked {
        let files = if keeps_open { Watched::open(&thread).ok() } else { None };
        Looked {
            thread,
            files,
            poll: None,
            last: None,
            clocks: None,
            told_ns: 0,
            is_lost: false,
            is_loops: None,
            returns_to: None,
            breakpoint: None,
            is_armed: false,
            sampler: None,
            sampled_ns: 0,
            is_glimpsed: false,
            due: Due::default(),
            idle: Vec::new(),
            asked: Vec::new(),
            ask_at_ns: 0,
            ask_after_ns: ASK_AFTER_NS,
        }
    }

    pub(crate) fn keeps_open(&self) -> bool {
        self.files.is_some()
    }

    pub(crate) fn glance(&self, at_ns: u64) -> Glance {
        let Some(files) = &self.files else { return Glance::read(&self.thread, at_ns) };
        let schedule = files.schedule().ok().flatten();
        let clocks = schedule.map(|schedule| ClockReading::new(schedule, at_ns));
        Glance { at_ns, clocks, state: files.state().ok() }
    }

    /// The same for less: without its clocks, where its files are kept open.
    pub(crate) fn at_a_glance(&self, at_ns: u64) -> Glance {
        let Some(files) = &self.files else { return Glance::read(&self.thread, at_ns) };
        Glance { at_ns, clocks: None, state: files.state().ok() }
    }

    /// That of one that was idle at the last look and is still. `None` of any other.
    pub(crate) fn still_idle(&self, at_ns: u64) -> Option<Glance> {
        let was_idle = self.poll.is_none() && self.last.is_some_and(|last| self.is_idle(&last));
        (was_idle && self.keeps_open()).then(|| self.at_a_glance(at_ns)).filter(|glance| self.is_idle(glance))
    }

    /// Whether it got a CPU `often`, or more often in that time, since its clocks were read before.
    pub(crate) fn switches(&mut self, glance: &Glance, often: (u64, Duration)) -> bool {
        let (Some(before), Some(now)) = (self.clocks, glance.clocks) else {
            self.clocks = glance.clocks.or(self.clocks);
            return false;
        };
        self.clocks = Some(now);
        let elapsed_ns = now.at_ns.saturating_sub(before.at_ns);
        now.slices.saturating_sub(before.slices) * to_ns(often.1) >= often.0 * elapsed_ns
    }

    /// Whether it need not be looked at now: it is no loop's and waited at the last look, in no poll that may be a loop's. A fourth of the
    /// looks are for such ones, too, as they may take over a loop.
    pub(crate) fn may_be_passed_over(&self, look: u64) -> bool {
        let is_in_none = self.poll.as_ref().is_none_or(|poll| poll.is_on_loop() == Some(false));
        let waited = is_in_none && self.last.is_some_and(|last| last.is_blocked());
        self.is_loops == Some(false) && waited && !(look + u64::from(self.thread.tid)).is_multiple_of(4)
    }

    /// What it is to be learnt from, once it has a name; `at` is the glance beside it.
    pub(crate) fn ask(&mut self, look: &Arc<SharedLook>, at: &Glance) {
        if self.asked.len() < MOST_ASKED {
            self.asked.push((Arc::clone(look), Wait::of(at)));
        }
    }

    /// Learns from what has names by now; what polls return to is kept for all threads as well.
    pub(crate) fn learn(&mut self, all: &mut HashSet<u64>) {
        let mut index = 0;
        while let Some((look, wait)) = self.asked.get(index) {
            let Some(named) = look.named_by_now() else {
                index += 1;
                continue;
            };
            if let (Some(Kind::Idle), Some(wait)) = (named.kind, *wait) {
                self.idle.retain(|known| *known != wait);
                self.idle.truncate(MOST_IDLE - 1);
                self.idle.insert(0, wait);
            }
            self.is_loops = named.kind.map(|kind| kind.holds_up_the_loop() || kind == Kind::Idle).or(self.is_loops);
            if let Some(address) = named.poll_returns_to.filter(|_| named.is_on_loop) {
                all.insert(address);
                self.returns_to = Some(address);
                self.ask_after_ns = ASK_AFTER_NS;
            }
            self.asked.swap_remove(index);
        }
    }

    /// Whether it is in a wait in which it is idle.
    pub(crate) fn is_idle(&self, glance: &Glance) -> bool {
        Wait::of(glance).is_some_and(|wait| self.idle.contains(&wait))
    }

    /// Whether it may be asked now what it is.
    pub(crate) fn may_be_asked(&self, now_ns: u64) -> bool {
        now_ns >= self.ask_at_ns
    }

    /// It was asked: then not again for a while, longer each time.
    pub(crate) fn was_asked(&mut self, now_ns: u64) {
        self.ask_at_ns = now_ns + self.ask_after_ns;
        self.ask_after_ns = (2 * self.ask_after_ns).min(ASK_AFTER_MOST_NS);
    }

    /// Where the breakpoint is, if it is armed and the thread did not come there since.
    pub(crate) fn armed_at(&self) -> Option<u64> {
        self.breakpoint.as_ref().filter(|_| self.is_armed).map(Breakpoint::address)
    }

    /// Whether it came there since that was last [told](Looked::hit).
    pub(crate) fn came_there(&mut self) -> bool {
        self.is_armed && self.breakpoint.as_mut().is_some_and(|breakpoint| breakpoint.fired().is_some())
    }

    /// That it came there, told once.
    pub(crate) fn hit(&mut self) -> Option<Hit> {
        let hit = self.breakpoint.as_mut().filter(|_| self.is_armed)?.fired()?;
        self.is_armed = false;
        Some(hit)
    }

    /// From now on it is told when it comes there. Costs little where it is armed there already.
    pub(crate) fn arm(&mut self, address: u64) -> Result<(), PerfError> {
        self.is_armed = false;
        let breakpoint = match &mut self.breakpoint {
            Some(breakpoint) => {
                if breakpoint.address() != address {
                    breakpoint.move_to(address)?;
                }
                breakpoint
            }
            none => none.insert(Breakpoint::open(&self.thread, address)?),
        };
        breakpoint.arm()?;
        self.is_armed = true;
        Ok(())
    }

    /// What it is armed for is of no use.
    pub(crate) fn disarm(&mut self) {
        if let Some(breakpoint) = self.breakpoint.as_mut().filter(|_| self.is_armed) {
            breakpoint.disarm();
        }
        self.is_armed = false;
    }

    /// Samples of it, if there are any.
    pub(crate) fn samples(&mut self) -> Option<&mut CpuSampler> {
        self.sampler.as_mut()
    }

    /// From now on it is sampled each time that it was on a CPU for so long; for a look at `now_ns`.
    pub(crate) fn sample_every(&mut self, period: Duration, now_ns: u64) -> Result<(), PerfError> {
        (self.sampled_ns, self.is_glimpsed) = (now_ns, false);
        self.sample(period)
    }

    /// The same for a moment, unless it is sampled now. Sampled all the time, a thread that often waits would be slower: its samples need a
    /// timer, which is set and unset each time, and where that is a hypervisor's that takes some microseconds.
    pub(crate) fn glimpse(&mut self, period: Duration) -> Result<(), PerfError> {
        if self.is_sampled() {
            return Ok(());
        }
        self.is_glimpsed = true;
        self.sample(period)
    }

    fn sample(&mut self, period: Duration) -> Result<(), PerfError> {
        match &mut self.sampler {
            Some(sampler) => sampler.sample_every(period),
            none => CpuSampler::open(&self.thread, period).map(|opened| *none = Some(opened)),
        }
    }

    /// Whether it is sampled now.
    pub(crate) fn is_sampled(&self) -> bool {
        self.sampler.as_ref().is_some_and(|sampler| !sampler.is_paused())
    }

    /// Whether it is sampled for a moment.
    pub(crate) fn is_glimpsed(&self) -> bool {
        self.is_glimpsed
    }

    /// It is sampled no more if it was for a moment, or no look asked for samples since then.
    pub(crate) fn pause_sampling(&mut self, since_ns: u64) {
        if self.is_glimpsed || self.sampled_ns < since_ns {
            self.is_glimpsed = false;
            self.sampler.as_mut().into_iter().for_each(CpuSampler::pause);
        }
    }

    /// If no look asked for samples since then, what takes them ends, but of a loop's thread.
    pub(crate) fn end_sampling(&mut self, since_ns: u64) {
        if self.sampled_ns < since_ns && self.is_loops != Some(true) {
            self.sampler = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use pollscope_stacks::process::Process;

    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn it_switches_often_by_what_its_clocks_said_when_they_were_last_read() {
        let mut looked = Looked::new(Process::current().thread(u32::MAX), false);
        let glance = |at_ms, slices| {
            let clocks = ClockReading { at_ns: at_ms * MS, cpu_ns: 0, run_delay_ns: 0, slices };
            Glance { at_ns: at_ms * MS, clocks: Some(clocks), state: None }
        };
        let often = (3, Duration::from_millis(1));
        assert!(!looked.switches(&glance(10, 1_000_000), often), "nothing is known before");
        assert!(looked.switches(&glance(20, 1_000_030), often) && !looked.switches(&glance(30, 1_000_059), often));
        assert!(!looked.switches(&Glance { clocks: None, ..glance(40, 0) }, often), "they were not read");
        assert!(looked.switches(&glance(50, 1_000_119), often) && !looked.switches(&glance(60, 1_000_119), often));
    }
}
