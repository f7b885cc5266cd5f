//! Looks at the threads of the process, some hundred times a second.
//!
//! A look at a thread reads what the kernel says it is doing and how long it has had a CPU. Only one that stands still is looked at
//! further: its stack is copied once it was in one wait for half of what is slow.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use pollscope_base::duration::to_ns;
use pollscope_record::recording::Ended;
use pollscope_stacks::look::{ClockReading, Glance, Looker};
use pollscope_stacks::process::Process;
use pollscope_stacks::thread::{State, ThreadRef, read_state, read_status};

use crate::block::{Block, is_blocked};
use crate::naming::Job;

/// How often the threads are listed anew.
const LIST_EVERY: Duration = Duration::from_millis(250);
/// So many threads are looked at.
const MOST_THREADS: usize = 5_000;
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
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often.
    pub hz: Hz,
    /// From how long on a poll is slow. What lasts for less than three looks is not seen for sure.
    pub slow: Duration,
    /// The folders of the user's code, as the compiler saw them.
    pub source_roots: Vec<PathBuf>,
}

impl Default for Settings {
    /// A hundred looks a second, and slow from 100 ms on.
    fn default() -> Settings {
        Settings { hz: Hz(100), slow: Duration::from_millis(100), source_roots: Vec::new() }
    }
}

/// A thread that is looked at.
struct Watched {
    thread: ThreadRef,
    block: Option<Block>,
    /// When it was last looked at.
    looked_ns: Option<u64>,
    told_ns: u64,
}

/// The thread that looks.
pub(crate) struct Sampler<'s> {
    process: Process,
    settings: &'s Settings,
    looker: Looker,
    threads: HashMap<u32, Watched>,
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

impl<'s> Sampler<'s> {
    pub(crate) fn new(process: Process, settings: &'s Settings, jobs: SyncSender<Job>, start: Instant) -> Sampler<'s> {
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
        self.looker.prepare();
        let mut listed: Option<Instant> = None;
        let mut next = Instant::now();
        while !stop.load(Relaxed) {
            if listed.is_none_or(|at| at.elapsed() >= LIST_EVERY) {
                if self.process.confirm().is_err() || !self.list() {
                    self.end_all();
                    return Ended::Gone;
                }
                listed = Some(Instant::now());
            }
            self.look();
            next += self.settings.hz.period();
            // A look that came late is not made up for.
            next = next.max(Instant::now());
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        self.end_all();
        Ended::Interrupted
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
        let gone: Vec<u32> = self.threads.keys().copied().filter(|tid| !tids.contains(tid)).collect();
        for tid in gone {
            if let Some(mut watched) = self.threads.remove(&tid) {
                self.end(&mut watched, now_ns);
            }
        }
        for tid in tids.into_iter().take(MOST_THREADS) {
            let watched = || Watched { thread: self.process.thread(tid), block: None, looked_ns: None, told_ns: 0 };
            self.threads.entry(tid).or_insert_with(watched);
        }
        !self.threads.is_empty()
    }

    fn look(&mut self) {
        self.looks += 1;
        let tids: Vec<u32> = self.threads.keys().copied().collect();
        for tid in tids {
            let Some(mut watched) = self.threads.remove(&tid) else { continue };
            self.look_at(&mut watched);
            self.threads.insert(tid, watched);
        }
    }

    fn look_at(&mut self, watched: &mut Watched) {
        let at_ns = self.now_ns();
        let glance = Glance {
            at_ns,
            clocks: ClockReading::take(&watched.thread, at_ns),
            state: read_state(&watched.thread).ok(),
        };
        let before_ns = watched.looked_ns.replace(at_ns);
        let is_still = watched.block.as_ref().is_some_and(|block| block.is_still(&glance));
        if !is_still {
            self.end(watched, at_ns);
            if is_blocked(&glance) && glance.clocks.is_some() {
                self.given += 1;
                watched.block = Some(Block::begin(self.given, before_ns, glance));
            }
            return;
        }
        let Some(block) = &mut watched.block else { return };
        block.stay(glance);
        if block.look().is_none() && block.seen_ns() >= to_ns(self.settings.slow) / 2 {
            if is_suspended(&watched.thread, &glance) {
                // Nobody's code does that.
                watched.block = None;
                return;
            }
            let look = self.looker.look(&watched.thread, at_ns);
            // It counts only if it is of this wait.
            let after = Glance {
                at_ns,
                clocks: ClockReading::take(&watched.thread, at_ns),
                state: read_state(&watched.thread).ok(),
            };
            let Some(look) = look.filter(|look| look.stack.is_some() && block.is_still(&after)) else { return };
            block.show(look);
            let look = block.look().cloned();
            look.into_iter().for_each(|look| self.hand_over(Job::Name(look)));
            return;
        }
        self.tell(watched, at_ns);
    }

    /// Tells of a wait on a loop that goes on, now and then.
    fn tell(&mut self, watched: &mut Watched, now_ns: u64) {
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

    fn end(&mut self, watched: &mut Watched, now_ns: u64) {
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

/// Whether somebody stopped the thread, by a signal or a debugger: it looks as if it waited for a page.
fn is_suspended(thread: &ThreadRef, glance: &Glance) -> bool {
    matches!(glance.state, Some(State::Stopped { .. }))
        && read_status(thread).is_ok_and(|status| matches!(status.letter, 'T' | 't'))
}
