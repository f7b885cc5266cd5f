//! Looks at the threads of the process, some hundred times a second.
//!
//! A look at a thread reads what the kernel says it is doing and how long it has had a CPU. Only one that stands still is looked at
//! further: its stack is copied once it was in one wait for half of what is slow.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use pollscope_base::duration::to_ns;
use pollscope_record::recording::Ended;
use pollscope_stacks::look::{ClockReading, Glance, Looker, SharedLook};
use pollscope_stacks::process::Process;
use pollscope_stacks::thread::{ThreadRef, Watched, read_schedule, read_state, read_status};

use crate::block::Block;
use crate::naming::Job;

/// How often the threads are listed anew.
const LIST_EVERY: Duration = Duration::from_millis(250);
/// So many threads are looked at.
const MOST_THREADS: usize = 5_000;
/// The files of so many are kept open, two of each; those of the others are opened at each look.
const MOST_OPEN: usize = 200;
/// How often a wait that goes on is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How often a process is looked at in a second: 1 to 1,000.
///
/// ```
/// use pollscope_attach::Hz;
/// assert_eq!(Hz::new(100).map(Hz::get), Some(100));
/// assert!(Hz::new(0).is_none() && Hz::new(1_001).is_none());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hz(u32);

impl Hz {
    /// `None` where there is no such frequency.
    pub fn new(hz: u32) -> Option<Hz> {
        (1..=1_000).contains(&hz).then_some(Hz(hz))
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }

    fn period(self) -> Duration {
        Duration::from_secs(1) / self.0
    }
}

/// How a process is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How often.
    pub hz: Hz,
    /// From how long on a poll is slow. What lasts for less than three looks is not seen for sure.
    pub slow: Duration,
}

impl Default for Settings {
    /// A hundred looks a second, and slow from 100 ms on.
    fn default() -> Settings {
        Settings { hz: Hz(100), slow: Duration::from_millis(100) }
    }
}

/// A thread that is looked at.
struct Looked {
    thread: ThreadRef,
    /// `None` where they cannot be kept open, for want of descriptors say.
    files: Option<Watched>,
    block: Option<Block>,
    /// When it was last looked at.
    looked_ns: Option<u64>,
    told_ns: u64,
    /// Whether nothing could be read of it: another thread may have its number by now.
    is_lost: bool,
}

impl Looked {
    fn new(thread: ThreadRef, keeps_open: bool) -> Looked {
        let files = if keeps_open { Watched::open(&thread).ok() } else { None };
        Looked { thread, files, block: None, looked_ns: None, told_ns: 0, is_lost: false }
    }

    fn glance(&self, at_ns: u64) -> Glance {
        let (schedule, state) = match &self.files {
            Some(files) => (files.schedule().ok().flatten(), files.state().ok()),
            None => (read_schedule(&self.thread).ok(), read_state(&self.thread).ok()),
        };
        Glance { at_ns, clocks: schedule.map(|schedule| ClockReading::new(schedule, at_ns)), state }
    }
}

/// The thread that looks.
pub(crate) struct Sampler {
    process: Process,
    settings: Settings,
    looker: Looker,
    threads: HashMap<u32, Looked>,
    jobs: SyncSender<Job>,
    start: Instant,
    /// How many waits got a number.
    given: u64,
    /// Looks that were taken.
    pub(crate) looks: u64,
    /// What found no room with the one who names.
    pub(crate) dropped: u64,
    has_too_many: bool,
}

impl Sampler {
    pub(crate) fn new(process: Process, settings: Settings, jobs: SyncSender<Job>, start: Instant) -> Sampler {
        Sampler {
            process,
            settings,
            looker: Looker::new(process),
            threads: HashMap::new(),
            jobs,
            start,
            given: 0,
            looks: 0,
            dropped: 0,
            has_too_many: false,
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
        to_ns(self.start.elapsed())
    }

    /// Which threads there are; whether there are any.
    fn list(&mut self) -> bool {
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.process.pid())) else { return false };
        let tids: Vec<u32> = tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse().ok()).collect();
        if tids.len() > MOST_THREADS && !std::mem::replace(&mut self.has_too_many, true) {
            self.hand_over(Job::Note(format!("of its {} threads the first {MOST_THREADS} are looked at", tids.len())));
        }
        let now_ns = self.now_ns();
        // Its number stays until its parent takes notice.
        if tids == [self.process.pid()]
            && letter(&self.process.thread(tids[0])).is_none_or(|letter| "ZX".contains(letter))
        {
            return false;
        }
        let there: HashSet<u32> = tids.iter().copied().collect();
        let gone: Vec<u32> = self.threads.keys().copied().filter(|tid| !there.contains(tid)).collect();
        for tid in gone {
            if let Some(mut watched) = self.threads.remove(&tid) {
                self.end(&mut watched, now_ns);
            }
        }
        let mut open = self.threads.values().filter(|looked| looked.files.is_some()).count();
        for tid in tids.into_iter().take(MOST_THREADS) {
            if self.threads.get(&tid).is_none_or(|looked| looked.is_lost) {
                let new = Looked::new(self.process.thread(tid), open < MOST_OPEN);
                open += usize::from(new.files.is_some());
                self.threads.insert(tid, new);
            }
        }
        !self.threads.is_empty()
    }

    /// Reads what stacks are followed by, and has read what they are named by, before it is needed: both take longer than a look.
    fn prepare(&mut self) {
        self.looker.prepare();
        let threads: Vec<ThreadRef> = self.threads.values().map(|watched| watched.thread).collect();
        for thread in threads {
            let look = self.looker.look(&thread, self.now_ns()).filter(|look| look.stack.is_some());
            look.into_iter().for_each(|look| self.hand_over(Job::Name(Arc::new(SharedLook::new(look)))));
        }
    }

    fn look(&mut self) {
        self.looks += 1;
        let mut threads = std::mem::take(&mut self.threads);
        threads.values_mut().for_each(|watched| self.look_at(watched));
        self.threads = threads;
    }

    fn look_at(&mut self, watched: &mut Looked) {
        let at_ns = self.now_ns();
        let glance = watched.glance(at_ns);
        watched.is_lost = glance.state.is_none();
        let before_ns = watched.looked_ns.replace(at_ns);
        let is_still = watched.block.as_ref().is_some_and(|block| block.is_still(&glance));
        if !is_still {
            self.end(watched, at_ns);
            if glance.is_blocked() && glance.clocks.is_some() {
                self.given += 1;
                watched.block = Some(Block::begin(self.given, before_ns, glance));
            }
            return;
        }
        let Some(block) = &mut watched.block else { return };
        block.stay(glance);
        if block.look().is_none() && block.seen_ns() >= to_ns(self.settings.slow) / 2 {
            self.show(watched, at_ns);
        } else {
            self.tell(watched, at_ns);
        }
    }

    /// Copies the stack of a thread that waits.
    fn show(&mut self, watched: &mut Looked, at_ns: u64) {
        // Stopped by a signal or a debugger, it looks as if it waited. Nobody's code does that.
        if letter(&watched.thread).is_none_or(|letter| "Tt".contains(letter)) {
            watched.block = None;
            return;
        }
        let look = self.looker.look(&watched.thread, at_ns).filter(|look| look.stack.is_some());
        // It counts only if it is of this wait.
        let after = watched.glance(at_ns);
        let Some(block) = watched.block.as_mut().filter(|block| block.is_still(&after)) else { return };
        if let Some(look) = look {
            block.show(look);
            let look = block.look().cloned();
            look.into_iter().for_each(|look| self.hand_over(Job::Name(look)));
        }
    }

    /// Tells of a wait on a loop that goes on, now and then.
    fn tell(&mut self, watched: &mut Looked, now_ns: u64) {
        let Some(block) = &watched.block else { return };
        let is_due = watched.told_ns == 0 || now_ns.saturating_sub(watched.told_ns) >= to_ns(TELL_EVERY);
        if is_due && self.is_slow(block) && is_on_loop(block) == Some(true) {
            watched.told_ns = now_ns;
            let so_far = block.clone();
            self.hand_over(Job::GoesOn(so_far));
        }
    }

    fn is_slow(&self, block: &Block) -> bool {
        block.seen_ns() >= to_ns(self.settings.slow)
    }

    fn end(&mut self, watched: &mut Looked, now_ns: u64) {
        watched.told_ns = 0;
        let Some(mut block) = watched.block.take() else { return };
        block.end(now_ns);
        // Whether it is on a loop may not be known yet: that is for the one who names.
        if self.is_slow(&block) && block.look().is_some() && is_on_loop(&block) != Some(false) {
            self.hand_over(Job::Over(block));
        }
    }

    /// What goes on is not over: nobody looks any more.
    fn end_all(&mut self) {
        for (_, watched) in std::mem::take(&mut self.threads) {
            if let Some(block) = watched.block.filter(|block| self.is_slow(block) && block.look().is_some()) {
                self.hand_over(Job::GoesOn(block));
            }
        }
    }

    fn hand_over(&mut self, job: Job) {
        if self.jobs.try_send(job).is_err() {
            self.dropped += 1;
        }
    }
}

/// `None` while its stack has no names.
fn is_on_loop(block: &Block) -> Option<bool> {
    block.look()?.named_by_now().map(|named| named.is_on_loop)
}

/// What the scheduler says of it; `None` where that cannot be read.
fn letter(thread: &ThreadRef) -> Option<char> {
    read_status(thread).ok().map(|status| status.letter)
}
