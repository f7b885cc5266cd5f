//! Looks at the threads of the process, some hundred times a second.
//!
//! A look at a thread reads what the kernel says it is doing and how long it has had a CPU. One that waits where it is not known to be
//! idle has its stack copied at the second look that shows it there, if it is a loop's; and one of the user's, once it has been there for
//! half of what is slow. From then on a breakpoint tells when the poll ends. A loop's thread of which it is known where its polls end has one
//! armed at once: as long as it does not fire, it is one poll, if a look at its stack, or a sample, shows it in one.
//!
//! Perf events cost the thread something each time that it is given a CPU or gives it up: none is on for longer than it is needed, and one
//! that switches often is not armed at once, but if it still seems to be in one poll a moment later.

mod follow;
mod samples;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use pollscope_base::duration::to_ns;
use pollscope_record::recording::Ended;
use pollscope_stacks::look::{Glance, Looker, SharedLook};
use pollscope_stacks::perf::{Wanted, now_ns};
use pollscope_stacks::process::Process;
use pollscope_stacks::seccomp;
use pollscope_stacks::thread::{ThreadRef, read_status};

use crate::looked::Looked;
use crate::naming::{Job, Waiter};
use crate::poll::End;
use crate::profile::Profile;
use crate::settings::Settings;
use crate::throttling::Throttling;

/// How often the threads are listed anew.
const LIST_EVERY: Duration = Duration::from_millis(250);
/// So many threads are looked at.
const MOST_THREADS: usize = 5_000;
/// Looks come a little earlier than they are asked for: in step with a timer of the process, they would see it always or never at work.
const OUT_OF_STEP: (u32, u32) = (99, 100);
/// The files of so many are kept open, two of each; those of the others are opened at each look.
const MOST_OPEN: usize = 200;
/// The same of the own process, whose descriptors are not ours to spend.
const MOST_OPEN_HERE: usize = 16;
/// So many breakpoints are armed ahead in a second, however often threads are looked at: each time costs some 30 µs here, and the thread a
/// few. And so many at one look, if there were fewer at those before it.
const ARMING_NS: u64 = 1_000_000_000 / 250;
const MOST_ARMED: u64 = 6;
/// How often it is told where loops' threads were; and at the end.
const TELL_PROFILE_EVERY: Duration = Duration::from_secs(600);
/// A moment in which a thread that runs is sampled, and in which one that waits often does so more than once.
const MOMENT: Duration = Duration::from_micros(250);
/// So small a part of the time between two looks may be spent on waiting until a thread that runs in the kernel waits.
const CATCHING: u32 = 4;
/// After so many looks that did not ask for it a thread is sampled no more; and after so many that is not even prepared.
const SAMPLED_FOR: u64 = 3;
const PREPARED_FOR: u64 = 100;

/// What is said when a filter is seen.
const FILTERED: &str = "nothing is looked at any more: the process has a seccomp filter by now, which may end it for that; say that it expects it \
     (`ProbeBuilder::permitted_by_seccomp`)";

/// Says of which threads everything is known otherwise, by their numbers.
pub(crate) type LeftOut = Box<dyn FnMut(u32) -> bool + Send>;

/// The thread that looks.
pub(crate) struct Sampler {
    process: Process,
    left_out: LeftOut,
    settings: Settings,
    looker: Looker,
    threads: BTreeMap<u32, Looked>,
    jobs: SyncSender<Job>,
    /// When it began, by the clock of perf events.
    start_ns: u64,
    /// How many polls got a number.
    given: u64,
    /// Looks that were taken.
    pub(crate) looks: u64,
    /// What found no room with the one who names.
    pub(crate) dropped: u64,
    /// The longest time between two looks.
    pub(crate) longest_gap: Duration,
    has_too_many: bool,
    /// Whether the own process has a seccomp filter, and at which look that was asked last.
    is_filtered: bool,
    asked_at: Option<u64>,
    /// What polls return to, on any thread.
    returns: HashSet<u64>,
    /// The time that there was for arming ahead, of which each takes its part; and from which thread on that is done at the next look.
    arming_ns: u64,
    turn: u32,
    /// Threads that are to be looked at once more at this look.
    again: Vec<u32>,
    /// Those that are sampled for a moment; and those that may have a breakpoint armed, if they do not wait within it.
    glimpsed: Vec<u32>,
    later: Vec<Later>,
    /// The time that there is at this look for waiting until threads wait.
    catching: Duration,
    throttling: Throttling,
    profile: Profile,
    /// Whether this look is one for the profile.
    profiles: bool,
    told_profile_ns: u64,
    /// The stack that was sampled last.
    sampled: Vec<u8>,
    /// What perf events are not to be had for, and what that was told of.
    hindered: Vec<Wanted>,
    told: Vec<Wanted>,
}

/// A thread that may be in a poll, which is to be known a moment later.
struct Later {
    tid: u32,
    before: Option<Glance>,
    elsewhere_ns: Option<u64>,
    glance: Glance,
}

impl Sampler {
    pub(crate) fn new(process: Process, settings: Settings, jobs: SyncSender<Job>, left_out: LeftOut) -> Sampler {
        let start_ns = now_ns();
        Sampler {
            process,
            left_out,
            settings,
            looker: Looker::new(process),
            threads: BTreeMap::new(),
            jobs,
            start_ns,
            given: 0,
            looks: 0,
            dropped: 0,
            longest_gap: Duration::ZERO,
            has_too_many: false,
            is_filtered: false,
            asked_at: None,
            returns: HashSet::new(),
            arming_ns: 0,
            turn: 0,
            again: Vec::new(),
            glimpsed: Vec::new(),
            later: Vec::new(),
            catching: Duration::ZERO,
            throttling: Throttling::new(&process, start_ns),
            profile: Profile::new(settings.hz.period()),
            profiles: false,
            told_profile_ns: 0,
            sampled: Vec::new(),
            hindered: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Looks until the process ends, or it is told to stop: which of both.
    pub(crate) fn run(&mut self, stop: &AtomicBool) -> Ended {
        let mut listed: Option<Instant> = None;
        let (mut next, mut last) = (Instant::now(), None);
        while !stop.load(Relaxed) {
            let is_due = listed.is_none_or(|at| at.elapsed() >= LIST_EVERY);
            if is_due && !self.may_call() {
                self.hand_over(Job::Note(FILTERED.to_owned()));
                break;
            }
            if is_due {
                if self.process.confirm().is_err() || !self.list() {
                    self.end_all();
                    return Ended::Gone;
                }
                if listed.replace(Instant::now()).is_none() {
                    self.prepare();
                }
            }
            let now = Instant::now();
            let gap = last.replace(now).map_or(Duration::ZERO, |last| now.duration_since(last));
            self.longest_gap = self.longest_gap.max(gap);
            self.look();
            next += self.settings.hz.period() * OUT_OF_STEP.0 / OUT_OF_STEP.1;
            // A look that came late is not made up for.
            next = next.max(Instant::now());
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        self.end_all();
        Ended::Done
    }

    /// Whether calls may be made that few programs make: a filter that came since may end the own process for them. Asked once a look, and
    /// after each [pause](Sampler::pause) in it.
    fn may_call(&mut self) -> bool {
        if self.process.is_own() && self.asked_at.replace(self.looks) != Some(self.looks) {
            self.is_filtered = !seccomp::look();
        }
        !self.is_filtered
    }

    fn now_ns(&self) -> u64 {
        now_ns().saturating_sub(self.start_ns)
    }

    /// When so many looks were still to come, if none came late.
    fn looks_ago(&self, looks: u64) -> u64 {
        self.now_ns().saturating_sub(looks * to_ns(self.settings.hz.period()))
    }

    /// Which threads there are; whether there are any.
    fn list(&mut self) -> bool {
        let Ok(tids) = self.process.tids() else { return false };
        if tids.len() > MOST_THREADS && !std::mem::replace(&mut self.has_too_many, true) {
            self.hand_over(Job::Note(format!("of its {} threads the first {MOST_THREADS} are looked at", tids.len())));
        }
        // Its number stays until its parent takes notice.
        if tids == [self.process.pid()]
            && letter(&self.process.thread(tids[0])).is_none_or(|letter| "ZX".contains(letter))
        {
            return false;
        }
        let is_any = !tids.is_empty();
        let tids: Vec<u32> = tids.into_iter().filter(|tid| !(self.left_out)(*tid)).collect();
        self.throttling.list();
        let there: HashSet<u32> = tids.iter().copied().collect();
        let gone: Vec<u32> = self.threads.keys().copied().filter(|tid| !there.contains(tid)).collect();
        for tid in gone {
            if let Some(mut looked) = self.threads.remove(&tid) {
                let now = looked.glance(self.now_ns());
                self.over(&mut looked, End::BetweenLooks, now);
            }
        }
        let since_ns = self.looks_ago(PREPARED_FOR);
        self.threads.values_mut().for_each(|looked| looked.end_sampling(since_ns));
        let mut open = self.threads.values().filter(|looked| looked.keeps_open()).count();
        let most_open = if self.process.is_own() { MOST_OPEN_HERE } else { MOST_OPEN };
        for tid in tids.into_iter().take(MOST_THREADS) {
            if self.threads.get(&tid).is_none_or(|looked| looked.is_lost) {
                let new = Looked::new(self.process.thread(tid), open < most_open);
                open += usize::from(new.keeps_open());
                self.threads.insert(tid, new);
            }
        }
        is_any
    }

    /// Whether that is found out of it after all, as of a thread that is new.
    fn is_left_out(&mut self, looked: &Looked) -> bool {
        (self.left_out)(looked.thread.tid)
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
        self.arming_ns = (self.arming_ns + to_ns(self.settings.hz.period())).min(MOST_ARMED * ARMING_NS);
        self.profiles = self.profile.is_due();
        self.catching = self.settings.hz.period() / CATCHING;
        self.throttling.look();
        let mut threads = std::mem::take(&mut self.threads);
        // Those that had no turn at the last look come first.
        let from = self.turn;
        threads.range_mut(from..).for_each(|(_, looked)| self.look_at(looked));
        threads.range_mut(..from).for_each(|(_, looked)| self.look_at(looked));
        self.look_in_a_moment(&mut threads);
        let again = std::mem::take(&mut self.again);
        if !again.is_empty()
            && let Some(pause) = self.until_sampled()
            && self.pause(pause)
        {
            again.iter().for_each(|tid| threads.get_mut(tid).into_iter().for_each(|looked| self.look_again(looked)));
        }
        self.threads = threads;
        let now_ns = self.now_ns();
        if now_ns - self.told_profile_ns >= to_ns(TELL_PROFILE_EVERY) {
            self.told_profile_ns = now_ns;
            self.tell_profile(now_ns);
        }
    }

    /// Looks once more at some, a moment later, if the next look does not come as soon.
    fn look_in_a_moment(&mut self, threads: &mut BTreeMap<u32, Looked>) {
        let (glimpsed, later) = (std::mem::take(&mut self.glimpsed), std::mem::take(&mut self.later));
        let Some(moment) = self.moment().filter(|_| !(glimpsed.is_empty() && later.is_empty())) else { return };
        if !self.pause(moment) {
            return;
        }
        for tid in glimpsed {
            threads.get_mut(&tid).into_iter().for_each(|looked| self.end_glimpse(looked));
        }
        for later in later {
            if let Some(looked) = threads.get_mut(&later.tid) {
                self.begin_later(looked, later);
            }
        }
    }

    /// Waits within a look. Whether calls may be made after it: a filter may have come meanwhile.
    fn pause(&mut self, time: Duration) -> bool {
        thread::sleep(time);
        self.asked_at = None;
        self.may_call()
    }

    /// How long that is; `None` where looks come too soon one after the other.
    fn moment(&self) -> Option<Duration> {
        (MOMENT < self.settings.hz.period() / 10).then_some(MOMENT)
    }

    /// Where loops' threads were up to now.
    fn tell_profile(&mut self, now_ns: u64) {
        self.profile.counted(now_ns).into_iter().for_each(|counted| self.hand_over(Job::Profile(Box::new(counted))));
    }

    /// What goes on is not over: nobody looks any more.
    fn end_all(&mut self) {
        for (_, looked) in std::mem::take(&mut self.threads) {
            if self.is_left_out(&looked) {
                continue;
            }
            if let Some(mut poll) = looked.poll.filter(|poll| self.is_slow(poll) && poll.look().is_some()) {
                poll.was_held(&mut self.throttling);
                self.hand_over(Job::GoesOn(Box::new(poll)));
            }
        }
        self.tell_profile(self.now_ns());
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
