//! Looks at the threads of the process, some hundred times a second.
//!
//! A look at a thread reads what the kernel says it is doing and how long it has had a CPU. One that waits where it is not known to be
//! idle has its stack copied at the second look that shows it there, if it is a loop's; and one of the user's, once it has been there for
//! half of what is slow. From then on a breakpoint tells when the poll ends. A loop's thread that runs has one armed at once: as long as
//! it does not fire, it is one poll, if a sample shows it in one.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use pollscope_base::duration::to_ns;
use pollscope_record::recording::Ended;
use pollscope_stacks::look::{Glance, Look, Looker, SharedLook};
use pollscope_stacks::perf::{Hindrance, Hit, PerfError, Sample, Wanted, now_ns};
use pollscope_stacks::process::Process;
use pollscope_stacks::sample::Copied;
use pollscope_stacks::thread::{ThreadRef, read_status};
use pollscope_stacks::unwind::StackPointers;

use crate::looked::Looked;
use crate::naming::{Job, Waiter};
use crate::poll::{End, Poll};
use crate::settings::Settings;
use crate::throttling::Throttling;

/// How often the threads are listed anew.
const LIST_EVERY: Duration = Duration::from_millis(250);
/// So many threads are looked at.
const MOST_THREADS: usize = 5_000;
/// The files of so many are kept open, two of each; those of the others are opened at each look.
const MOST_OPEN: usize = 200;
/// How often a poll that goes on is told.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// So many threads that run have their breakpoint armed at one look: each time costs some 40 µs here, and the thread a few.
const MOST_ARMED: u32 = 2;
/// A thread that runs for long is sampled so often between two looks, if that is no more often than this.
const SAMPLES_A_LOOK: u32 = 4;
const SHORTEST_SAMPLED: Duration = Duration::from_millis(1);
/// After so many looks without it a thread is sampled no more.
const SAMPLED_FOR: u64 = 100;
/// Within so many looks a sample shows where a thread is that runs all the time.
const LATEST: u64 = 3;

/// The thread that looks.
pub(crate) struct Sampler {
    process: Process,
    settings: Settings,
    looker: Looker,
    threads: HashMap<u32, Looked>,
    jobs: SyncSender<Job>,
    /// When it began, by the clock of perf events.
    start_ns: u64,
    /// How many polls got a number.
    given: u64,
    /// Looks that were taken.
    pub(crate) looks: u64,
    /// What found no room with the one who names.
    pub(crate) dropped: u64,
    has_too_many: bool,
    /// What polls return to, on any thread.
    returns: HashSet<u64>,
    /// How many more may be armed at this look.
    may_arm: u32,
    throttling: Throttling,
    /// What perf events are not to be had for, as was told.
    hindered: Vec<Wanted>,
}

impl Sampler {
    pub(crate) fn new(process: Process, settings: Settings, jobs: SyncSender<Job>) -> Sampler {
        let start_ns = now_ns();
        Sampler {
            process,
            settings,
            looker: Looker::new(process),
            threads: HashMap::new(),
            jobs,
            start_ns,
            given: 0,
            looks: 0,
            dropped: 0,
            has_too_many: false,
            returns: HashSet::new(),
            may_arm: 0,
            throttling: Throttling::new(&process, start_ns),
            hindered: Vec::new(),
        }
    }

    /// Looks until the process ends, or it is told to stop: which of both.
    pub(crate) fn run(&mut self, stop: &AtomicBool) -> Ended {
        let mut listed: Option<Instant> = None;
        let mut next = Instant::now();
        while !stop.load(Relaxed) {
            if listed.is_none_or(|at| at.elapsed() >= LIST_EVERY) {
                if self.process.confirm().is_err() || !self.list() {
                    self.end_all();
                    return Ended::Gone;
                }
                if listed.replace(Instant::now()).is_none() {
                    self.prepare();
                }
            }
            self.look();
            next += self.settings.hz.period();
            // A look that came late is not made up for.
            next = next.max(Instant::now());
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        self.end_all();
        Ended::Done
    }

    fn now_ns(&self) -> u64 {
        now_ns().saturating_sub(self.start_ns)
    }

    /// Which threads there are; whether there are any.
    fn list(&mut self) -> bool {
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.process.pid())) else { return false };
        let tids: Vec<u32> = tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse().ok()).collect();
        if tids.len() > MOST_THREADS && !std::mem::replace(&mut self.has_too_many, true) {
            self.hand_over(Job::Note(format!("of its {} threads the first {MOST_THREADS} are looked at", tids.len())));
        }
        // Its number stays until its parent takes notice.
        if tids == [self.process.pid()]
            && letter(&self.process.thread(tids[0])).is_none_or(|letter| "ZX".contains(letter))
        {
            return false;
        }
        self.throttling.list();
        let there: HashSet<u32> = tids.iter().copied().collect();
        let gone: Vec<u32> = self.threads.keys().copied().filter(|tid| !there.contains(tid)).collect();
        for tid in gone {
            if let Some(mut looked) = self.threads.remove(&tid) {
                let now = looked.glance(self.now_ns());
                self.over(&mut looked, End::BetweenLooks, now);
            }
        }
        let since_ns = self.now_ns().saturating_sub(SAMPLED_FOR * to_ns(self.settings.hz.period()));
        self.threads.values_mut().for_each(|looked| looked.rest(since_ns));
        let mut open = self.threads.values().filter(|looked| looked.keeps_open()).count();
        for tid in tids.into_iter().take(MOST_THREADS) {
            if self.threads.get(&tid).is_none_or(|looked| looked.is_lost) {
                let new = Looked::new(self.process.thread(tid), open < MOST_OPEN);
                open += usize::from(new.keeps_open());
                self.threads.insert(tid, new);
            }
        }
        !self.threads.is_empty()
    }

    /// Reads what stacks are followed by, and has read what they are named by, before it is needed: both take longer than a look.
    fn prepare(&mut self) {
        self.looker.prepare();
        let mut threads = std::mem::take(&mut self.threads);
        for looked in threads.values_mut() {
            let glance = looked.glance(self.now_ns());
            if glance.is_blocked()
                && let Some((look, _)) = self.looker.look_blocked(&looked.thread, glance.at_ns)
                && looked.glance(glance.at_ns).stands_since(&glance)
            {
                self.ask(looked, &Arc::new(SharedLook::new(look)), &glance, None);
            }
        }
        self.threads = threads;
    }

    /// Has a look named, to learn from it.
    fn ask(&mut self, looked: &mut Looked, look: &Arc<SharedLook>, at: &Glance, waiter: Option<Waiter>) {
        looked.ask(look, at);
        self.hand_over(Job::Name(Arc::clone(look), waiter));
    }

    fn look(&mut self) {
        self.looks += 1;
        self.may_arm = MOST_ARMED;
        self.throttling.look();
        let mut threads = std::mem::take(&mut self.threads);
        threads.values_mut().for_each(|looked| self.look_at(looked));
        self.threads = threads;
    }

    fn look_at(&mut self, looked: &mut Looked) {
        let glance = looked.glance(self.now_ns());
        looked.is_lost = glance.state.is_none();
        looked.learn(&mut self.returns);
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
    }

    fn since_start(&self, hit: Hit) -> u64 {
        hit.time_ns.saturating_sub(self.start_ns)
    }

    /// A thread that is in no poll that anybody knows of.
    fn begin(&mut self, looked: &mut Looked, before: Option<Glance>, elsewhere_ns: Option<u64>, glance: Glance) {
        if glance.is_blocked() {
            if glance.clocks.is_some() && !looked.is_idle(&glance) {
                looked.poll = Some(self.new_poll(elsewhere_ns, glance, looked.armed_at()));
            }
        } else if glance.state.is_none() {
            // Nothing can be read of it.
        } else if let Some(armed_at) = looked.armed_at() {
            looked.poll = Some(self.new_poll(elsewhere_ns, glance, Some(armed_at)));
        } else if let Some(address) = looked.returns_to {
            if self.may_arm > 0 && self.arm(looked, address) {
                self.may_arm -= 1;
                let armed = looked.glance(self.now_ns());
                looked.last = Some(armed);
                looked.poll = Some(self.new_poll(elsewhere_ns, armed, Some(address)));
            }
        } else if before.is_some_and(|before| !before.is_blocked()) && looked.may_be_asked(glance.at_ns) {
            self.find_out(looked, glance);
        }
    }

    fn new_poll(&mut self, elsewhere_ns: Option<u64>, first: Glance, returns_to: Option<u64>) -> Poll {
        self.given += 1;
        Poll::begin(self.given, elsewhere_ns, first, returns_to)
    }

    /// Asks a thread that runs what it is.
    fn find_out(&mut self, looked: &mut Looked, glance: Glance) {
        if let Some((look, _)) = self.sample(looked, glance.at_ns, u64::MAX) {
            looked.was_asked(glance.at_ns);
            self.ask(looked, &Arc::new(SharedLook::new(look)), &glance, None);
        }
    }

    /// What a thread that runs was doing last before then, if it was sampled since it was last asked.
    fn sample(&mut self, looked: &mut Looked, at_ns: u64, before_ns: u64) -> Option<(Look, StackPointers)> {
        if self.hindered.contains(&Wanted::Samples) {
            return None;
        }
        let period = (self.settings.hz.period() / SAMPLES_A_LOOK).max(SHORTEST_SAMPLED);
        let sampler = match looked.sampler(period, at_ns) {
            Ok(sampler) => sampler,
            Err(error) => {
                self.hinder(error);
                return None;
            }
        };
        let mut last = None;
        sampler.drain(|Sample { time_ns, copied }| {
            if time_ns < before_ns {
                last = Some((copied.registers, copied.stack.to_vec(), copied.most));
            }
        });
        let (registers, stack, most) = last?;
        self.looker.look_at_sample(Copied { process: self.process, registers, stack: &stack, most }, at_ns)
    }

    /// Whether a breakpoint is armed there now.
    fn arm(&mut self, looked: &mut Looked, address: u64) -> bool {
        if self.hindered.contains(&Wanted::Breakpoint) {
            return false;
        }
        looked.arm(address).map_err(|error| self.hinder(error)).is_ok()
    }

    /// Perf events are not to be had for something: told once, and not asked for again.
    fn hinder(&mut self, error: PerfError) {
        // Of one thread alone.
        let is_one = matches!(error.why, Hindrance::NoThread | Hindrance::BreakpointsTaken);
        if is_one || self.hindered.contains(&error.wanted) {
            return;
        }
        self.hindered.push(error.wanted);
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
            if is_slow && poll.look().is_none() && looked.is_sampled() {
                let sample = self.sample(looked, glance.at_ns, hit.time_ns);
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
                self.show_blocked(looked, glance);
            }
        } else if let Some(sample) = self.sample(looked, glance.at_ns, u64::MAX).filter(|_| is_due) {
            self.show_running(looked, before, sample, glance);
        }
    }

    /// Copies the stack of a thread that waits.
    fn show_blocked(&mut self, looked: &mut Looked, glance: Glance) {
        // Stopped by a signal or a debugger, it looks as if it waited. Nobody's code does that.
        if letter(&looked.thread).is_none_or(|letter| "Tt".contains(letter)) {
            looked.poll = None;
            return looked.disarm();
        }
        let look = self.looker.look_blocked(&looked.thread, glance.at_ns);
        // It counts only if it is of this poll: otherwise the next look shows that it was over.
        let after = looked.glance(self.now_ns());
        if let Some(look) = look.filter(|_| after.stands_since(&glance)) {
            self.show(looked, look, glance);
            self.secure(looked);
        }
    }

    /// Takes up what a sample shows of a thread that runs.
    fn show_running(
        &mut self,
        looked: &mut Looked,
        before: Option<Glance>,
        sample: (Look, StackPointers),
        glance: Glance,
    ) {
        let Some(poll) = &mut looked.poll else { return };
        // What was not seen in it for long may have been elsewhere: in a root future, say, beside the tasks.
        if poll.look().is_none() && poll.seen_ns() > LATEST * to_ns(self.settings.hz.period()) {
            poll.restart(before.map(|before| before.at_ns));
        }
        self.show(looked, sample, glance);
    }

    /// A look counts if it shows what the breakpoint is for.
    fn show(&mut self, looked: &mut Looked, (look, pointers): (Look, StackPointers), glance: Glance) {
        let Some(poll) = &mut looked.poll else { return };
        let new = if poll.may_show(&look, &pointers) {
            poll.show(look, pointers)
        } else {
            // It is in none, or in one that ends elsewhere.
            looked.poll = None;
            looked.disarm();
            Some(Arc::new(SharedLook::new(look)))
        };
        if let Some(look) = new {
            let asks = look.look.futex.is_some() && looked.poll.as_mut().is_some_and(Poll::may_ask_for_holder);
            let waiter = asks.then_some(Waiter { thread: looked.thread, glance });
            self.ask(looked, &look, &glance, waiter);
        }
        if let Some(returns_to) = looked.poll.as_ref().and_then(Poll::returns_to) {
            self.find_task(looked, returns_to);
        }
    }

    /// Finds out which task is polled, while it is.
    fn find_task(&mut self, looked: &mut Looked, returns_to: u64) {
        let Some(poll) = &mut looked.poll else { return };
        let Some(task) = poll.find_task(&mut self.looker, returns_to) else { return };
        let after = looked.glance(self.now_ns());
        let came_there = looked.came_there();
        let Some(poll) = &mut looked.poll else { return };
        let goes_on = if poll.returns_to().is_some() { !came_there } else { poll.stands(&after) };
        if goes_on {
            poll.is_of(task);
        }
    }

    /// Arms a breakpoint where the poll ends that a waiting thread is in, as soon as that is known, while it waits.
    fn secure(&mut self, looked: &mut Looked) {
        let Some(poll) = looked.poll.as_ref().filter(|poll| poll.returns_to().is_none()) else { return };
        let Some(look) = poll.look() else { return };
        let found = match look.named_by_now() {
            Some(named) => {
                named.poll_returns_to.map(|address| (address, poll.frame_that_returns_to(address).flatten()))
            }
            None => {
                let known = self.returns.iter();
                let known = known.filter_map(|address| Some((*address, poll.frame_that_returns_to(*address)?)));
                known.min_by_key(|(_, returns_at)| *returns_at)
            }
        };
        let Some((address, returns_at)) = found else { return };
        self.find_task(looked, address);
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
        if is_due && self.is_slow(poll) && poll.is_on_loop() == Some(true) {
            looked.told_ns = now_ns;
            let mut so_far = poll.clone();
            so_far.was_held(&mut self.throttling);
            self.hand_over(Job::GoesOn(Box::new(so_far)));
        }
    }

    fn is_slow(&self, poll: &Poll) -> bool {
        poll.seen_ns() >= to_ns(self.settings.slow)
    }

    fn over(&mut self, looked: &mut Looked, end: End, now: Glance) {
        looked.told_ns = 0;
        let Some(mut poll) = looked.poll.take() else { return };
        poll.end(end, now);
        // Whether it is on a loop may not be known yet: that is for the one who names.
        if self.is_slow(&poll) && poll.look().is_some() && poll.is_on_loop() != Some(false) {
            poll.was_held(&mut self.throttling);
            self.hand_over(Job::Over(Box::new(poll)));
        }
    }

    /// What goes on is not over: nobody looks any more.
    fn end_all(&mut self) {
        for (_, looked) in std::mem::take(&mut self.threads) {
            if let Some(mut poll) = looked.poll.filter(|poll| self.is_slow(poll) && poll.look().is_some()) {
                poll.was_held(&mut self.throttling);
                self.hand_over(Job::GoesOn(Box::new(poll)));
            }
        }
    }

    fn hand_over(&mut self, job: Job) {
        if self.jobs.try_send(job).is_err() {
            self.dropped += 1;
        }
    }
}

/// What the scheduler says of it; `None` where that cannot be read.
fn letter(thread: &ThreadRef) -> Option<char> {
    read_status(thread).ok().map(|status| status.letter)
}
