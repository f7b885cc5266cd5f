//! Where threads are that run, by samples; and the profile of all that loops' threads do.

use std::ops::Range;
use std::time::Duration;

use pollscope_stacks::look::{Glance, Look};
use pollscope_stacks::memory;
use pollscope_stacks::perf::{Sample, Wanted};
use pollscope_stacks::sample::Copied;
use pollscope_stacks::unwind::{Registers, StackPointers};

use super::{SAMPLED_FOR, Sampler};
use crate::looked::Looked;
use crate::naming::Job;
use crate::profile::Was;

/// A thread that runs for long is sampled so often between two looks, if that is no more often than this.
const SAMPLES_A_LOOK: u32 = 4;
const SHORTEST_SAMPLED: Duration = Duration::from_millis(1);
/// A thread that runs at a look for the profile is sampled as soon as it is in its own code after so much time on a CPU.
const GLIMPSE: Duration = Duration::from_micros(60);
/// So much of a stack is copied beyond what a sample has, if need be, in bytes.
const BEYOND: usize = 128 << 10;

/// What a look shows, and what a task is found by.
pub(super) struct Shown {
    pub(super) look: Look,
    pub(super) pointers: StackPointers,
    /// What its thread had in its registers, as far as that is known.
    pub(super) registers: Vec<u64>,
}

impl Sampler {
    /// How long it takes until there is a sample of a thread that computes; `None` if that is about as long as until the next look.
    pub(super) fn until_sampled(&self) -> Option<Duration> {
        let period = self.settings.hz.period();
        let sampled = self.sampling_period() * 11 / 10;
        (sampled < period / 2).then_some(sampled)
    }

    /// How often a thread that runs for long is sampled: each time that it was on a CPU for so long.
    fn sampling_period(&self) -> Duration {
        (self.settings.hz.period() / SAMPLES_A_LOOK).max(SHORTEST_SAMPLED)
    }

    /// What a thread that runs was doing last, if it was sampled since its poll began, or since it was last asked; `end_ns`: before then,
    /// by the clock of perf events, and not up to now.
    pub(super) fn sample(&mut self, looked: &mut Looked, at_ns: u64, end_ns: Option<u64>) -> Option<Shown> {
        if self.hindered.contains(&Wanted::Samples) {
            return None;
        }
        let from_ns = looked.poll.as_ref().map_or(0, |poll| self.start_ns + poll.start_ns());
        if let Err(error) = looked.sample_every(self.sampling_period(), at_ns) {
            self.hinder(error);
            return None;
        }
        // Those of the poll before may be there still.
        let (registers, most) = self.take_samples(looked, at_ns, from_ns..end_ns.unwrap_or(u64::MAX))?;
        let process = self.process;
        let stack = &mut self.sampled;
        let mut look = self.looker.look_at_sample(Copied { process, registers, stack, most }, at_ns)?;
        let is_cut = look.0.stack.as_ref().is_some_and(|stack| stack.is_cut());
        // Outside of what was copied, the stack is as it was, if it is of the poll that still goes on.
        if let (true, None, Some(sp)) = (is_cut, end_ns, registers.sp()) {
            let length = stack.len();
            stack.resize(length + BEYOND, 0);
            let read = memory::read(&process, sp + length as u64, &mut stack[length..]);
            stack.truncate(length + read);
            let whole = Copied { process, registers, stack, most: length + BEYOND };
            // Who only asks what a thread is does not mind whether it is of the same poll.
            if looked.poll.is_none() || looked.armed_at().is_some() && !looked.came_there() {
                look = self.looker.look_at_sample(whole, at_ns)?;
            }
        }
        let (look, pointers) = look;
        Some(Shown { look, pointers, registers: registers.values().collect() })
    }

    /// Takes the samples of a thread, those for the profile as well; the last of those that are of that time stays in `sampled`.
    fn take_samples(&mut self, looked: &mut Looked, at_ns: u64, its: Range<u64>) -> Option<(Registers, usize)> {
        let (is_loops, mut due, mut last) = (looked.is_loops == Some(true), looked.due, None);
        let mut new = Vec::new();
        let Sampler { looker, profile, sampled, start_ns, .. } = self;
        looked.samples()?.drain(|Sample { time_ns, copied }| {
            if its.contains(&time_ns) {
                sampled.clear();
                sampled.extend_from_slice(copied.stack);
                last = Some((copied.registers, copied.most));
            }
            if is_loops && profile.wants(&mut due, time_ns.saturating_sub(*start_ns)) {
                let look = looker.look_at_sample(copied, at_ns);
                new.extend(look.and_then(|(look, _)| profile.add(look, true)));
            }
        });
        looked.due = due;
        new.into_iter().for_each(|look| self.hand_over(Job::Profiled(look)));
        last
    }

    /// What a thread of a loop does at a look for the profile; `still_idle`: its clocks were not read.
    pub(super) fn profile(&mut self, looked: &mut Looked, glance: Glance, still_idle: bool) {
        let was = if still_idle {
            Was::StillParked
        } else if looked.is_idle(&glance) {
            Was::Parked
        } else if glance.is_blocked() {
            self.profile_waiting(looked, &glance)
        } else {
            Was::Running
        };
        self.profile.look(was, &mut looked.due, &glance);
        // Where it cannot be had, looks at polls that compute say so.
        if was == Was::Running
            && !self.hindered.contains(&Wanted::Samples)
            && looked.glimpse(self.glimpsed_after()).is_ok()
        {
            self.glimpsed.push(looked.thread.tid);
        }
    }

    /// After how much time on a CPU a thread is sampled that is for a moment, or until the next look.
    fn glimpsed_after(&self) -> Duration {
        if self.moment().is_some() { GLIMPSE } else { self.settings.hz.period() / 2 }
    }

    /// Takes what a thread was sampled at for a moment; and what is of use to nobody is sampled no more.
    pub(super) fn end_glimpse(&mut self, looked: &mut Looked) {
        if looked.is_glimpsed() {
            self.take_samples(looked, self.now_ns(), 0..0);
        }
        looked.pause_sampling(self.looks_ago(SAMPLED_FOR));
    }

    fn profile_waiting(&mut self, looked: &Looked, glance: &Glance) -> Was {
        let poll = looked.poll.as_ref().filter(|poll| poll.is_where_it_was(glance));
        if let Some(look) = poll.and_then(|poll| poll.last_look()) {
            self.profile.add_shared(look);
            return Was::Waiting;
        }
        let Some((look, _)) = self.looker.look_blocked(&looked.thread, glance.at_ns) else { return Was::Moved };
        self.profile.add(look, false).into_iter().for_each(|look| self.hand_over(Job::Profiled(look)));
        Was::Waiting
    }
}
