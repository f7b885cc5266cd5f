//! From look to look: which polls threads are in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pollscope_base::duration::to_ns;
use pollscope_stacks::look::{Glance, Look, SharedLook};
use pollscope_stacks::perf::{Hindrance, Hit, PerfError, Wanted};
use pollscope_stacks::task::Task;
use pollscope_stacks::unwind::StackPointers;

use super::samples::Shown;
use super::{ARMING_NS, Later, Sampler, letter};
use crate::looked::Looked;
use crate::naming::{Job, Waiter};
use crate::poll::{End, Poll, innermost_end};

/// How often a poll that goes on is told.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// At every so many looks, of those for the profile, the clocks of a thread are read that was idle before and is.
const CLOCKS_EVERY: u64 = 16;
/// So often is it tried to look at a thread that goes from one short wait to the next.
const ATTEMPTS: u32 = 3;
/// Within so many looks, and the time on a CPU of so many, a sample shows where a thread is that runs.
const LATEST: u64 = 3;
const LATEST_ON_CPU: u64 = 2;
/// A thread that got a CPU so many times in so much time is in short polls, most likely: a breakpoint costs it some 0.1 ms, as it interrupts
/// the CPU that it is on, and is armed only if it does not get a CPU again within a moment, or is not seen idle at so many glances after that.
const OFTEN: (u64, Duration) = (3, Duration::from_millis(1));
const GLANCES_AT_OFTEN: u32 = 4;
/// One that computes gets a CPU no more often than that from one look to the next, as it is taken from it.
const FEW_SLICES: u64 = 8;
/// So often is it asked within one look whether a thread waits that runs in the kernel, where it cannot be sampled. Of one in a poll that no
/// look showed yet, for as long as there is time: who syncs a file waits once in a millisecond, say, and not for long.
const GLANCES: u32 = 20;
/// And then who looks gives up its CPU for that long.
const PAUSE: Duration = Duration::from_micros(50);

impl Sampler {
    pub(super) fn look_at(&mut self, looked: &mut Looked) {
        looked.learn(&mut self.returns);
        if looked.may_be_passed_over(self.looks) {
            return;
        }
        let now_ns = self.now_ns();
        if looked.is_sampled() {
            if !self.may_call() {
                return;
            }
            self.end_glimpse(looked);
        }
        // The profile adds up clocks: of who stays idle, now and then.
        let wants_clocks = self.profiles && self.looks.is_multiple_of(CLOCKS_EVERY);
        let still_idle = if wants_clocks { None } else { looked.still_idle(now_ns) };
        let glance = still_idle.unwrap_or_else(|| looked.glance(now_ns));
        looked.is_lost = glance.state.is_none();
        if (self.profiles || !looked.is_idle(&glance)) && !self.may_call() {
            return;
        }
        let before = looked.last.replace(glance);
        // Asked after the glance: what did not happen until now did not happen before it.
        let hit = looked.hit();
        if looked.poll.is_some() {
            self.look_at_poll(looked, before, glance, hit);
        }
        if looked.poll.is_none() {
            let elsewhere_ns = before.map(|before| before.at_ns).max(hit.map(|hit| self.since_start(hit)));
            self.begin(looked, before, elsewhere_ns, glance);
        }
        if self.profiles && looked.is_loops == Some(true) && !looked.is_lost {
            self.profile(looked, glance, still_idle.is_some());
        }
    }

    fn since_start(&self, hit: Hit) -> u64 {
        hit.time_ns.saturating_sub(self.start_ns)
    }

    /// A thread that is in no poll that anybody knows of.
    fn begin(&mut self, looked: &mut Looked, before: Option<Glance>, elsewhere_ns: Option<u64>, glance: Glance) {
        if glance.state.is_none() || looked.is_idle(&glance) {
            return;
        }
        let would_arm = looked.returns_to.is_some() && !self.hindered.contains(&Wanted::Breakpoint);
        if let Some(armed_at) = looked.armed_at() {
            looked.poll = Some(self.new_poll(elsewhere_ns, glance, Some(armed_at)));
        } else if looked.switches(&glance, OFTEN) && would_arm && !glance.is_blocked() && self.moment().is_some() {
            self.later.push(Later { tid: looked.thread.tid, before, elsewhere_ns, glance });
        } else {
            self.begin_now(looked, before, elsewhere_ns, glance);
        }
    }

    /// The same of one that may have a breakpoint armed.
    fn begin_now(&mut self, looked: &mut Looked, before: Option<Glance>, elsewhere_ns: Option<u64>, glance: Glance) {
        if let Some(address) = looked.returns_to.filter(|address| self.arm_ahead(looked, *address)) {
            let armed = looked.glance(self.now_ns());
            looked.last = Some(armed);
            // Where it stood it did not come there before, either.
            let first = if armed.stands_since(&glance) { glance } else { armed };
            looked.poll = Some(self.new_poll(elsewhere_ns, first, Some(address)));
        } else if glance.is_blocked() {
            looked.poll = glance.clocks.map(|_| self.new_poll(elsewhere_ns, glance, None));
            // From one short wait to the next it would never stand still for long enough.
            let was_idle = before.is_none_or(|before| looked.is_idle(&before));
            if looked.returns_to.is_none() && !was_idle && looked.may_be_asked(glance.at_ns) {
                self.find_out_blocked(looked, glance);
            }
        } else if before.is_some_and(|before| !before.is_blocked()) && looked.may_be_asked(glance.at_ns) {
            self.find_out(looked, glance);
        }
    }

    /// The same a moment later, if it seems to be in one poll since.
    pub(super) fn begin_later(&mut self, looked: &mut Looked, later: Later) {
        let now = looked.glance(self.now_ns());
        let stays = match (later.glance.clocks, now.clocks) {
            // But for the one that who looks took from it.
            (Some(then), Some(now)) => now.slices.saturating_sub(then.slices) <= 1,
            _ => true,
        };
        let is_idle = |glance: &Glance| glance.state.is_none() || looked.is_idle(glance);
        if is_idle(&now) || !stays && (1..GLANCES_AT_OFTEN).any(|_| is_idle(&looked.at_a_glance(now.at_ns))) {
            return;
        }
        looked.last = Some(now);
        self.begin_now(looked, later.before, later.elsewhere_ns, now);
    }

    fn new_poll(&mut self, elsewhere_ns: Option<u64>, first: Glance, returns_to: Option<u64>) -> Poll {
        self.given += 1;
        Poll::begin(self.given, elsewhere_ns, first, returns_to)
    }

    /// Asks a thread that runs what it is.
    fn find_out(&mut self, looked: &mut Looked, glance: Glance) {
        let sampled = self.sample(looked, glance.at_ns, None).map(|shown| shown.look);
        // One that computes is asked by samples: where there are none, not again and again.
        let may_wait = sampled.is_none() && !self.hindered.contains(&Wanted::Samples);
        let caught = if may_wait { self.catch(looked, glance.at_ns, false) } else { None };
        let look = sampled.or(caught.map(|(look, _)| look));
        if let Some(look) = look {
            looked.was_asked(glance.at_ns);
            self.ask(looked, &Arc::new(SharedLook::new(look)), &Glance { state: None, ..glance }, None);
        }
    }

    /// The same of a thread that waits.
    fn find_out_blocked(&mut self, looked: &mut Looked, glance: Glance) {
        if let Some((look, _)) = self.looker.look_blocked(&looked.thread, glance.at_ns) {
            looked.was_asked(glance.at_ns);
            // Whatever it waited in when it was looked at, it is not idle where it waits now.
            let beside = Glance { state: None, ..glance };
            self.ask(looked, &Arc::new(SharedLook::new(look)), &beside, None);
        }
    }

    /// Whether a breakpoint is armed there now, of which there are only so many in some time.
    fn arm_ahead(&mut self, looked: &mut Looked, address: u64) -> bool {
        let may = self.arming_ns >= ARMING_NS && self.arm(looked, address);
        if may {
            self.arming_ns -= ARMING_NS;
            self.turn = looked.thread.tid + 1;
        }
        may
    }

    /// Whether a breakpoint is armed there now.
    fn arm(&mut self, looked: &mut Looked, address: u64) -> bool {
        if self.hindered.contains(&Wanted::Breakpoint) {
            return false;
        }
        looked.arm(address).map_err(|error| self.hinder(error)).is_ok()
    }

    /// A perf event is not to be had: told once. Where that is so for all threads and for good, none is asked for again.
    pub(super) fn hinder(&mut self, error: PerfError) {
        use Hindrance::{BreakpointsTaken, NoDescriptor, NoLockedMemory, NoThread};
        let passes = matches!(error.why, NoThread | BreakpointsTaken | NoDescriptor | NoLockedMemory);
        if !passes && !self.hindered.contains(&error.wanted) {
            self.hindered.push(error.wanted);
        }
        if error.why == NoThread || self.told.contains(&error.wanted) {
            return;
        }
        self.told.push(error.wanted);
        let lost = match error.wanted {
            Wanted::Breakpoint => "polls that compute are not seen, and ends are known to one look",
            Wanted::Samples => "polls that compute are not seen",
        };
        self.hand_over(Job::Note(format!("{lost}: {error}")));
    }

    /// A thread that was in a poll at the last look.
    fn look_at_poll(&mut self, looked: &mut Looked, before: Option<Glance>, glance: Glance, hit: Option<Hit>) {
        let Some(poll) = &looked.poll else { return };
        if let Some(hit) = hit {
            let end_ns = self.since_start(hit);
            let end = if poll.ends_with(hit.sp) { End::At(end_ns) } else { End::BetweenLooks };
            let is_slow = end_ns.saturating_sub(poll.start_ns()) >= to_ns(self.settings.slow);
            if is_slow && poll.look().is_none() && looked.samples().is_some() {
                let sample = self.sample(looked, glance.at_ns, Some(hit.time_ns));
                sample.into_iter().for_each(|sample| self.show(looked, sample, glance));
            }
            return self.over(looked, end, glance);
        }
        if looked.is_idle(&glance) || !(poll.returns_to().is_some() || poll.stands(&glance)) {
            return self.over(looked, End::BetweenLooks, glance);
        }
        self.follow(looked, before, glance);
        self.tell(looked, glance.at_ns);
    }

    /// It goes on: looks where it is, if it is elsewhere than it was.
    fn follow(&mut self, looked: &mut Looked, before: Option<Glance>, glance: Glance) {
        let Some(poll) = &mut looked.poll else { return };
        poll.go_on(&looked.thread, glance);
        let (seen_ns, is_due) = (poll.seen_ns(), poll.is_due(&glance));
        if poll.is_where_it_was(&glance) {
            self.secure(looked);
        } else if glance.is_blocked() {
            let has_stood = poll.returns_to().is_some() || before.is_some_and(|before| glance.stands_since(&before));
            let is_time = looked.is_loops == Some(true) || seen_ns >= to_ns(self.settings.slow) / 2;
            if has_stood && is_time && is_due {
                self.show_blocked(looked, before, glance);
            }
        } else if let Some(sample) = self.sample(looked, glance.at_ns, None) {
            if is_due {
                self.restart_if_unseen(looked, before);
                self.show_running(looked, sample, glance);
            }
        } else if is_due {
            self.catch_waiting(looked, before, glance);
            if looked.poll.as_ref().is_some_and(|poll| poll.look().is_none() && self.may_compute(poll)) {
                self.again.push(looked.thread.tid);
            }
        }
    }

    /// Looks once more at a thread that ran at two looks and had no sample yet: from the last look on there are more of them.
    pub(super) fn look_again(&mut self, looked: &mut Looked) {
        let glance = looked.glance(self.now_ns());
        let runs = glance.state.is_some() && !glance.is_blocked();
        if !runs || looked.armed_at().is_none() || looked.came_there() {
            return;
        }
        let before = looked.last;
        if let Some(poll) = looked.poll.as_mut().filter(|poll| poll.look().is_none()) {
            poll.go_on(&looked.thread, glance);
            if let Some(sample) = self.sample(looked, glance.at_ns, None) {
                self.restart_if_unseen(looked, before);
                self.show_running(looked, sample, glance);
            }
        }
    }

    /// What runs in the kernel all the time is not sampled: if it waits now and then, that shows where.
    fn catch_waiting(&mut self, looked: &mut Looked, before: Option<Glance>, glance: Glance) {
        let is_worth_it = looked.poll.as_ref().is_some_and(|poll| poll.look().is_none() && !self.may_compute(poll));
        let look = self.catch(looked, glance.at_ns, is_worth_it);
        let Some((look, pointers)) = look.filter(|_| looked.armed_at().is_some() && !looked.came_there()) else {
            return;
        };
        self.restart_if_unseen(looked, before);
        self.show_running(looked, Shown { look, pointers, registers: Vec::new() }, Glance { state: None, ..glance });
    }

    /// Whether there may be no sample yet of one that computes: it was sampled for no longer than that, and does not wait again and again.
    fn may_compute(&self, poll: &Poll) -> bool {
        poll.seen_ns() < to_ns(self.settings.hz.period()) * 3 / 2
            && poll.slices().is_none_or(|slices| slices <= FEW_SLICES)
    }

    /// A look at a thread that runs, as soon as it waits.
    fn catch(&mut self, looked: &Looked, at_ns: u64, is_worth_it: bool) -> Option<(Look, StackPointers)> {
        let begun = Instant::now();
        let mut glances = 0;
        let look = loop {
            glances += 1;
            let look = self.looker.look_in_passing(&looked.thread, at_ns);
            if look.is_some() || !is_worth_it && glances == GLANCES || begun.elapsed() >= self.catching {
                break look;
            }
            // It may need the CPU to come to a wait.
            if glances % GLANCES == 0 && !self.pause(PAUSE) {
                break None;
            }
        };
        self.catching = self.catching.saturating_sub(begun.elapsed());
        look
    }

    /// Copies the stack of a thread that waits.
    fn show_blocked(&mut self, looked: &mut Looked, before: Option<Glance>, glance: Glance) {
        // Stopped by a signal or a debugger, it looks as if it waited. Nobody's code does that.
        if letter(&looked.thread).is_none_or(|letter| "Tt".contains(letter)) {
            self.over(looked, End::BetweenLooks, glance);
            return looked.disarm();
        }
        let mut beside = glance;
        for _ in 0..ATTEMPTS {
            let look = self.looker.look_blocked(&looked.thread, glance.at_ns);
            let after = looked.glance(self.now_ns());
            let stands = after.stands_since(&beside);
            // It counts only if it is of this poll: otherwise the next look shows that it was over.
            let goes_on = looked.armed_at().is_some() && !looked.came_there();
            if let Some((look, pointers)) = look.filter(|_| stands || goes_on) {
                self.restart_if_unseen(looked, before);
                // From one of many short waits to the next: what it is in now is another one.
                let beside = if stands { beside } else { Glance { state: None, ..after } };
                self.show_running(looked, Shown { look, pointers, registers: Vec::new() }, beside);
                return self.secure(looked);
            }
            if !goes_on {
                return;
            }
            beside = after;
        }
        // Never in one for as long as a copy takes.
        self.catch_waiting(looked, before, beside);
    }

    /// A thread that ran for long before anything showed it in the poll may have been elsewhere: in a root future, say, beside the tasks.
    fn restart_if_unseen(&self, looked: &mut Looked, before: Option<Glance>) {
        let period_ns = to_ns(self.settings.hz.period());
        let Some(poll) = looked.poll.as_mut().filter(|poll| poll.look().is_none() && !poll.stood()) else { return };
        let is_late = poll.seen_ns() > LATEST * period_ns;
        if is_late || poll.ran_ns().is_none_or(|ran_ns| ran_ns > LATEST_ON_CPU * period_ns) {
            poll.restart(before.map(|before| before.at_ns));
        }
    }

    /// A look at a poll that goes on: tells its task as well.
    fn show_running(&mut self, looked: &mut Looked, shown: Shown, glance: Glance) {
        let Shown { look, pointers, registers } = &shown;
        let (look, pointers, registers) = (look.clone(), pointers.clone(), registers.clone());
        self.show(looked, shown, glance);
        let seeks = looked.poll.as_ref().filter(|poll| poll.task().is_none() && poll.look().is_some());
        let task = seeks.and_then(Poll::returns_to).and_then(|to| self.looker.task(&look, &pointers, &registers, to));
        task.into_iter().for_each(|task| self.is_of(looked, task));
    }

    /// A look counts if it shows what the breakpoint is for.
    fn show(&mut self, looked: &mut Looked, shown: Shown, beside: Glance) {
        let Some(poll) = &mut looked.poll else { return };
        let Shown { look, pointers, .. } = shown;
        let stack = look.stack.as_ref();
        let ends = stack.and_then(|stack| innermost_end(stack, &pointers, |address| self.returns.contains(&address)));
        let is_shown = match poll.may_show(&look, ends) {
            Some(true) => true,
            Some(false) => self.is_in_another(looked, ends, beside),
            // What would show it was not copied.
            None => return,
        };
        let Some(poll) = looked.poll.as_mut().filter(|_| is_shown) else {
            return self.ask(looked, &Arc::new(SharedLook::new(look)), &beside, None);
        };
        let Some(look) = poll.show(look, pointers, beside) else { return };
        let asks = look.look.futex.is_some() && poll.may_ask_for_holder();
        let waiter = asks.then_some(Waiter { thread: looked.thread, glance: beside });
        self.ask(looked, &look, &beside, waiter);
    }

    /// What a look shows ends elsewhere than where the breakpoint is, there if that is known: it is in no poll, or in another one. Whether the
    /// look is one at the poll that is now taken to be that.
    fn is_in_another(&mut self, looked: &mut Looked, ends: Option<(u64, Option<u64>)>, beside: Glance) -> bool {
        let told = looked.poll.as_ref().is_some_and(|poll| poll.look().is_some());
        let stands =
            !told && beside.is_blocked() && looked.poll.as_ref().is_some_and(|poll| poll.stood_since_first(&beside));
        let first = looked.poll.as_ref().map(Poll::begun);
        self.over(looked, End::BetweenLooks, beside);
        looked.disarm();
        let armed = ends.filter(|(address, _)| self.arm(looked, *address));
        looked.returns_to = armed.map(|(address, _)| address).or(looked.returns_to);
        let after = looked.glance(self.now_ns());
        if !beside.is_blocked() {
            // What ran then may be in the next one by now.
            looked.poll = armed.map(|(address, _)| self.new_poll(Some(beside.at_ns), after, Some(address)));
            return false;
        }
        let goes_on = after.stands_since(&beside);
        if !goes_on {
            looked.disarm();
        }
        let (before_ns, first) = first.filter(|_| stands).unwrap_or((Some(beside.at_ns), beside));
        looked.poll = goes_on.then(|| self.new_poll(before_ns, first, None));
        if let (Some(poll), Some((address, returns_at))) = (&mut looked.poll, armed) {
            poll.secure(address, returns_at);
        }
        goes_on
    }

    /// A task that was found in its stack is that of the poll, if that still goes on.
    fn is_of(&mut self, looked: &mut Looked, task: Task) {
        let after = looked.glance(self.now_ns());
        let came_there = looked.came_there();
        let Some(poll) = &mut looked.poll else { return };
        let goes_on = if poll.returns_to().is_some() { !came_there } else { poll.stands(&after) };
        if goes_on {
            poll.set_task(task);
        }
    }

    /// Arms a breakpoint where the poll ends that a waiting thread is in, as soon as that is known, while it waits.
    fn secure(&mut self, looked: &mut Looked) {
        let Some(poll) = looked.poll.as_ref().filter(|poll| poll.returns_to().is_none()) else { return };
        let Some(look) = poll.look() else { return };
        let named = look.named_by_now();
        let is_end = |address| match named {
            Some(named) => named.poll_returns_to == Some(address),
            None => self.returns.contains(&address),
        };
        let found =
            poll.first_look().and_then(|(look, pointers)| innermost_end(look.stack.as_ref()?, pointers, is_end));
        let Some((address, returns_at)) = found else { return };
        if poll.task().is_none()
            && let Some((look, pointers)) = poll.first_look()
            && let Some(task) = self.looker.task(look, pointers, &[], address)
        {
            self.is_of(looked, task);
        }
        if !self.arm(looked, address) {
            return;
        }
        let after = looked.glance(self.now_ns());
        let Some(poll) = &mut looked.poll else { return };
        if poll.stands(&after) {
            poll.secure(address, returns_at);
        } else {
            // It went on before that was sure: the next look finds it elsewhere.
            looked.disarm();
        }
    }

    /// Tells of a poll that goes on, now and then.
    fn tell(&mut self, looked: &mut Looked, now_ns: u64) {
        let Some(poll) = &looked.poll else { return };
        let is_due = looked.told_ns == 0 || now_ns.saturating_sub(looked.told_ns) >= to_ns(TELL_EVERY);
        if is_due && self.is_slow(poll) && poll.is_on_loop() == Some(true) && !self.is_left_out(looked) {
            looked.told_ns = now_ns;
            let mut so_far = poll.clone();
            so_far.was_held(&mut self.throttling);
            self.hand_over(Job::GoesOn(Box::new(so_far)));
        }
    }

    pub(super) fn is_slow(&self, poll: &Poll) -> bool {
        poll.seen_ns() >= to_ns(self.settings.slow)
    }

    pub(super) fn over(&mut self, looked: &mut Looked, end: End, now: Glance) {
        looked.told_ns = 0;
        let Some(mut poll) = looked.poll.take() else { return };
        poll.end(end, now);
        // Whether it is on a loop may not be known yet: that is for the one who names.
        let is_told = self.is_slow(&poll) && poll.look().is_some() && poll.is_on_loop() != Some(false);
        if is_told && !self.is_left_out(looked) {
            poll.was_held(&mut self.throttling);
            self.hand_over(Job::Over(Box::new(poll)));
        }
    }
}
