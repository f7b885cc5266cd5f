//! The thread that names what the watchdog saw. The first names of a program take tens of milliseconds, in a debug build
//! hundreds: meanwhile the watchdog goes on looking.
//!
//! It is started at the first stall, gets each look as soon as it was taken, and ends with the watchdog, which it never keeps
//! waiting: the one who wants a name that is not there yet does without. Delivery alone waits, as long as the thread is there: see
//! `journal.rs`.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use pollscope_stacks::look::{Namer, SharedLook};
use pollscope_stacks::process::Process;

use super::stall::Ended;
use crate::shared::Shared;
use pollscope_base::{CaptureNote, Missing};

/// Jobs that wait for the thread, or without one for the watchdog, at most. A stall makes a few; what finds no room goes without
/// names.
const CAPACITY: usize = 1_024;

pub(super) enum Job {
    /// Of a stall that goes on: its names are there when somebody asks.
    Look(Arc<SharedLook>),
    /// A stall of a slot that is over, to be understood.
    Ended(usize, Box<Ended>),
}

impl Job {
    fn run(&self, namer: &mut Namer, shared: &Shared) {
        let seen = match self {
            Job::Look(look) => {
                look.named(namer);
                None
            }
            Job::Ended(slot, ended) => Some(((*slot, ended.start()), ended.evidence(Some(&mut *namer)))),
        };
        // First: who gets the evidence may ask why something is missing.
        namer.take_limits().into_iter().for_each(|limit| shared.capture_limits.add(limit));
        if let Some((key, evidence)) = seen {
            shared.seen(key, evidence);
        }
    }

    /// What can be said without names, and why there are none, if that is not said elsewhere.
    fn run_unnamed(&self, why: Option<Missing>, shared: &Shared) {
        if let Job::Ended(slot, ended) = self {
            let mut evidence = ended.evidence(None);
            if evidence.blocking_line.is_none() {
                evidence.missing = evidence.missing.or(why);
            }
            shared.seen((*slot, ended.start()), evidence);
        }
    }
}

/// The watchdog's side.
pub(super) struct Naming {
    shared: Arc<Shared>,
    process: Process,
    source_roots: Vec<PathBuf>,
    means: Option<Means>,
    /// Not handed over yet.
    jobs: VecDeque<Job>,
    /// Whether nobody asks for names any longer.
    is_over: Arc<AtomicBool>,
}

impl Drop for Naming {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
    }
}

enum Means {
    Thread(SyncSender<Job>),
    /// No thread could be started.
    Inline(Box<Namer>),
}

impl Naming {
    pub(super) fn new(shared: Arc<Shared>, process: Process, source_roots: Vec<PathBuf>) -> Naming {
        Naming { shared, process, source_roots, means: None, jobs: VecDeque::new(), is_over: Arc::default() }
    }

    pub(super) fn add(&mut self, job: Job) {
        if self.jobs.len() == CAPACITY {
            return job.run_unnamed(Some(Missing::TooManyToName), &self.shared);
        }
        if let Job::Ended(slot, ended) = &job {
            self.shared.unnamed((*slot, ended.start()), ended.evidence(None));
        }
        self.jobs.push_back(job);
    }

    /// Hands over what is to be named, and starts the thread if this is the first. Without a thread it names one job itself, so
    /// that the watchdog loses sight of its threads for that time only; whether there are more.
    pub(super) fn hand_over(&mut self) -> bool {
        while let Some(job) = self.jobs.pop_front() {
            match self.means.get_or_insert_with(|| start(&self.shared, self.process, &self.source_roots, &self.is_over))
            {
                Means::Inline(namer) => {
                    job.run(namer, &self.shared);
                    return !self.jobs.is_empty();
                }
                Means::Thread(thread) => match thread.try_send(job) {
                    Ok(()) => {}
                    Err(TrySendError::Full(job)) => job.run_unnamed(Some(Missing::TooManyToName), &self.shared),
                    Err(TrySendError::Disconnected(job)) => job.run_unnamed(None, &self.shared),
                },
            }
        }
        false
    }
}

fn start(shared: &Arc<Shared>, process: Process, source_roots: &[PathBuf], is_over: &Arc<AtomicBool>) -> Means {
    let (give, jobs) = sync_channel(CAPACITY);
    let new_namer = || Namer::new(process, source_roots.to_vec(), shared.redacted);
    let (mut namer, its, is_over) = (new_namer(), Arc::clone(shared), Arc::clone(is_over));
    let run = move || work(jobs, |job| job.run(&mut namer, &its), &its, &is_over);
    match thread::Builder::new().name("pollscope-name".to_owned()).spawn(run) {
        Ok(_) => Means::Thread(give),
        Err(_) => Means::Inline(Box::new(new_namer())),
    }
}

/// Until the watchdog is gone. What it handed over last is then not named any more: the probe was dropped, after it had waited for
/// names. Neither is anything after a panic, which may have left what it knows of modules in disorder.
fn work(jobs: Receiver<Job>, run: impl FnMut(&Job), shared: &Shared, is_over: &AtomicBool) {
    let mut run = Some(run);
    for job in jobs {
        if let Some(named) = run.as_mut().filter(|_| !is_over.load(Relaxed)) {
            if catch_unwind(AssertUnwindSafe(|| named(&job))).is_ok() {
                continue;
            }
            shared.capture_limits.add(CaptureNote::NamingPanicked);
            run = None;
        }
        job.run_unnamed(None, shared);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use pollscope_stacks::SUPPORTED;
    use pollscope_stacks::look::Looker;
    use std::sync::mpsc::{Sender, channel};

    use super::super::stall::{Stall, nobody};
    use super::*;
    use crate::clock::{Clock, Moment};
    use crate::journal::Key;

    const KEY: Key = (3, Moment(7));

    fn naming(means: Option<Means>) -> Naming {
        let shared = Arc::new(Shared::new(Clock::monotonic(), 1, 1));
        shared.watched(|watched| watched.begin(KEY));
        let mut naming = Naming::new(shared, Process::current(), Vec::new());
        naming.means = means;
        naming.add(Job::Look(Arc::default()));
        naming.add(Job::Ended(KEY.0, Box::new(Stall::new(KEY.1, 1, 0, nobody(), None, 0).end(9))));
        naming
    }

    fn is_awaited(shared: &Shared) -> bool {
        let mut is_awaited = false;
        shared.watched(|watched| is_awaited = watched.is_at_work_on(&KEY));
        is_awaited
    }

    #[test]
    fn the_thread_does_what_it_was_given_and_ends_with_the_watchdog() {
        let mut naming = naming(None);
        let shared = Arc::clone(&naming.shared);
        assert!(!naming.hand_over());
        drop(naming);
        let start = Instant::now();
        // Its own handle goes last.
        while Arc::strong_count(&shared) > 1 {
            assert!(start.elapsed() < Duration::from_secs(60), "it does not end");
            thread::sleep(Duration::from_millis(1));
        }
        assert!(!is_awaited(&shared));
    }

    #[test]
    fn without_a_thread_one_job_is_done_at_a_time() {
        let mut naming = naming(Some(Means::Inline(Box::new(Namer::new(Process::current(), Vec::new(), false)))));
        assert!(naming.hand_over());
        assert!(is_awaited(&naming.shared));
        assert!(!naming.hand_over());
        assert!(!is_awaited(&naming.shared));
    }

    /// Stalls can end faster than one thread, which looks at them too, finds names.
    #[test]
    fn without_a_thread_what_finds_no_room_goes_unnamed() {
        let mut naming = naming(Some(Means::Inline(Box::new(Namer::new(Process::current(), Vec::new(), false)))));
        (0..2 * CAPACITY).for_each(|_| naming.add(Job::Look(Arc::default())));
        assert_eq!(naming.jobs.len(), CAPACITY);
        let last = (KEY.0, Moment(8));
        naming.shared.watched(|watched| watched.begin(last));
        naming.add(Job::Ended(last.0, Box::new(Stall::new(last.1, 1, 0, nobody(), None, 0).end(9))));
        naming.shared.watched(|watched| assert!(!watched.is_at_work_on(&last), "nobody waits for it"));
    }

    const SECOND: u64 = 1_000_000_000;

    /// The stack of a thread that is blocked.
    fn look() -> Arc<SharedLook> {
        let (tell, told) = channel();
        let (release, released) = channel::<()>();
        let blocked = thread::spawn(move || {
            tell.send(pollscope_stacks::thread::ThreadRef::current()).unwrap();
            let _ = released.recv();
        });
        let thread = told.recv().unwrap();
        let mut looker = Looker::new(thread.process);
        let start = Instant::now();
        let look = loop {
            let look = looker.look(&thread, 0).filter(|look| look.off_cpu.is_some() && look.stack.is_some());
            if let Some(look) = look {
                break look;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "it does not block");
            thread::sleep(Duration::from_millis(1));
        };
        drop(release);
        blocked.join().unwrap();
        Arc::new(SharedLook::new(look))
    }

    /// A slow poll that was looked at, handed to a thread that names nothing before it may, or panics.
    fn named_by(mut before: impl FnMut() + Send + 'static) -> Naming {
        let shared = Arc::new(Shared::new(Clock::manual(), 1, 10));
        let key = shared.slow_poll_watched(5);
        let mut naming = Naming::new(Arc::clone(&shared), Process::current(), Vec::new());
        let (give, jobs) = sync_channel(CAPACITY);
        let mut namer = Namer::new(Process::current(), Vec::new(), false);
        let is_over = Arc::clone(&naming.is_over);
        let run = {
            let shared = Arc::clone(&shared);
            move |job: &Job| {
                before();
                job.run(&mut namer, &shared);
            }
        };
        thread::spawn(move || work(jobs, run, &shared, &is_over));
        naming.means = Some(Means::Thread(give));
        let look = look();
        naming.add(Job::Look(Arc::clone(&look)));
        naming.add(Job::Ended(key.0, Box::new(Ended::with(key.1, vec![look]))));
        naming.hand_over();
        naming
    }

    fn slow_namer() -> (Naming, Sender<()>) {
        let (release, released) = channel::<()>();
        (named_by(move || _ = released.recv()), release)
    }

    fn wait_until_named(shared: &Shared) {
        let start = Instant::now();
        while !shared.is_quiet() && shared.snapshot().slow_polls[0].evidence.stack.is_empty() {
            assert!(start.elapsed() < Duration::from_secs(60), "it is not named");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn names_that_take_three_seconds_are_told() {
        if !SUPPORTED {
            return;
        }
        let (naming, release) = slow_namer();
        let shared = &naming.shared;
        shared.clock.advance(3 * SECOND);
        assert!(shared.take_queue(false).1.is_empty(), "they are on their way");
        drop(release);
        wait_until_named(shared);
        let told = shared.take_queue(false).1;
        let evidence = &told[0].evidence;
        assert_eq!((evidence.captures, evidence.missing), (1, None));
        assert!(evidence.stack.iter().any(|frame| frame.function.is_some()), "{evidence:#?}");
        assert_eq!(shared.snapshot().coverage.missing, []);
    }

    #[test]
    fn names_that_do_not_come_are_told_as_the_reason() {
        if !SUPPORTED {
            return;
        }
        let (naming, release) = slow_namer();
        let shared = &naming.shared;
        shared.clock.advance(11 * SECOND);
        let told = shared.take_queue(false).1;
        let evidence = &told[0].evidence;
        assert_eq!((evidence.captures, evidence.stack.len()), (1, 0));
        assert!(evidence.call.is_some() && evidence.cause.is_some(), "what needs no names is there: {evidence:#?}");
        assert_eq!(evidence.missing, Some(Missing::NamesLate { after: Duration::from_secs(11) }));
        assert_eq!(shared.snapshot().coverage.missing.iter().map(|of| of.polls).collect::<Vec<_>>(), [1]);
        drop(release);
        wait_until_named(shared);
        assert_eq!(shared.snapshot().slow_polls[0].evidence.missing, None, "a later snapshot has them");
    }

    #[test]
    fn a_panic_costs_names_and_nothing_else() {
        if !SUPPORTED {
            return;
        }
        let naming = named_by(|| std::panic::resume_unwind(Box::new("on purpose")));
        let shared = &naming.shared;
        // Who waited is known by then.
        shared.clock.advance(SECOND);
        let start = Instant::now();
        let mut told = Vec::new();
        while told.is_empty() {
            assert!(start.elapsed() < Duration::from_secs(60), "somebody waits for it");
            told = shared.take_queue(false).1;
        }
        let evidence = &told[0].evidence;
        assert!(evidence.call.is_some() && evidence.stack.is_empty(), "{evidence:#?}");
        assert_eq!(shared.snapshot().capture_notes, [CaptureNote::NamingPanicked]);
    }

    #[test]
    fn after_a_thread_that_panicked_nobody_waits_for_names() {
        let (give, gone) = sync_channel(1);
        drop(gone);
        let mut naming = naming(Some(Means::Thread(give)));
        assert!(!naming.hand_over());
        assert!(!is_awaited(&naming.shared));
    }
}
