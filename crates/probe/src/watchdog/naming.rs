//! The thread that names what the watchdog saw. The first names of a program take tens of milliseconds, in a debug build
//! hundreds: meanwhile the watchdog goes on looking.
//!
//! It is started at the first stall, gets each look as soon as it was taken, and ends with the watchdog, which it never keeps
//! waiting: the one who wants a name that is not there yet does without. Delivery alone waits, as long as the thread is there: see
//! `journal.rs`. What it reads of the program takes more memory than all else of the probe, and is given back when nothing was to be
//! named for a while; the names that were found stay.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_stacks::look::{Namer, SharedLook};
use pollscope_stacks::process::Process;

use super::busy::EndedStretch;
use super::holders::{Holders, Waiter};
use super::stall::Ended;
use crate::shared::Shared;
use pollscope_base::{CaptureNote, Missing};

/// Jobs that wait for the thread, or without one for the watchdog, at most. A stall makes a few; what finds no room goes without
/// names.
const CAPACITY: usize = 1_024;
/// What was read to find names is given back when nothing was to be named for so long: stalls often come in groups, and the first one
/// after that waits for its names as the first of all did.
const KEPT_FOR: Duration = Duration::from_secs(60);

pub(super) enum Job {
    /// Of a stall that goes on: its names are there when somebody asks. Who waits, if it is to be found out who has what it waits for.
    Look(Arc<SharedLook>, Option<Waiter>),
    /// A stall of a slot that is over, to be understood.
    Ended(usize, Box<Ended>),
    /// A busy stretch that is over, and may have to be told.
    Stretch(Box<EndedStretch>),
}

impl Job {
    fn run(&self, means: &mut Namers, shared: &Shared) {
        let Namers { namer, holders } = means;
        let seen = match self {
            Job::Look(look, waits) => {
                if let Some(held) = waits.as_ref().and_then(|waiter| holders.find(waiter, &look.look, namer, shared)) {
                    look.set_held(held);
                }
                look.named(namer);
                None
            }
            Job::Ended(slot, ended) => Some(((*slot, ended.start()), ended.evidence(Some(&mut *namer)))),
            Job::Stretch(stretch) => {
                let told = stretch.told(Some(&mut *namer), shared);
                shared.late_stretches.found(told);
                None
            }
        };
        if let Some(folder) = namer.compiled_in() {
            shared.sources.learn(folder);
        }
        // First: who gets the evidence may ask why something is missing.
        namer.take_limits().into_iter().for_each(|limit| shared.capture_limits.add(limit));
        if let Some((key, evidence)) = seen {
            shared.seen(key, evidence);
        }
    }

    /// What can be said without names, and why there are none, if that is not said elsewhere.
    fn run_unnamed(&self, why: Option<Missing>, shared: &Shared) {
        match self {
            Job::Look(..) => {}
            Job::Ended(slot, ended) => {
                let mut evidence = ended.evidence(None);
                if evidence.blocking_line.is_none() {
                    evidence.missing = evidence.missing.or(why);
                }
                shared.seen((*slot, ended.start()), evidence);
            }
            Job::Stretch(stretch) => shared.late_stretches.found(stretch.told(None, shared)),
        }
    }
}

/// What names are found by, and who has a lock.
struct Namers {
    namer: Namer,
    holders: Holders,
}

impl Namers {
    fn new(process: Process, source_roots: Vec<PathBuf>, is_redacted: bool) -> Namers {
        Namers { namer: Namer::new(process, source_roots, is_redacted), holders: Holders::new(process) }
    }

    fn give_back(&mut self) {
        self.namer.give_back();
        self.holders.give_back();
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
    /// [`KEPT_FOR`], but in tests.
    kept_for: Duration,
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
    /// No thread could be started. And when it last named something, unless what was read for it was given back.
    Inline(Box<Namers>, Option<Instant>),
}

impl Naming {
    pub(super) fn new(shared: Arc<Shared>, process: Process, source_roots: Vec<PathBuf>) -> Naming {
        Naming {
            shared,
            process,
            source_roots,
            means: None,
            jobs: VecDeque::new(),
            kept_for: KEPT_FOR,
            is_over: Arc::default(),
        }
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
            let means = self.means.take().unwrap_or_else(|| self.start());
            match self.means.insert(means) {
                Means::Inline(namers, used) => {
                    job.run(namers, &self.shared);
                    *used = Some(Instant::now());
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

    /// Gives back what was read without a thread, if that is due; whether nothing is left to be given back here. A thread does it itself.
    pub(super) fn rest(&mut self) -> bool {
        let Some(Means::Inline(namers, used)) = &mut self.means else { return true };
        if used.take_if(|at| at.elapsed() >= self.kept_for).is_some() {
            namers.give_back();
        }
        used.is_none()
    }

    fn start(&self) -> Means {
        let (give, jobs) = sync_channel(CAPACITY);
        let new_namers = || Namers::new(self.process, self.source_roots.clone(), self.shared.redacted);
        let (mut namers, kept_for) = (new_namers(), self.kept_for);
        let (shared, is_over) = (Arc::clone(&self.shared), Arc::clone(&self.is_over));
        let run = move || {
            let act = |job: Option<&Job>| match job {
                Some(job) => job.run(&mut namers, &shared),
                None => namers.give_back(),
            };
            work(jobs, kept_for, act, &shared, &is_over);
            namers.holders.close();
        };
        match thread::Builder::new().name("pollscope-name".to_owned()).spawn(run) {
            Ok(_) => Means::Thread(give),
            Err(_) => Means::Inline(Box::new(new_namers()), None),
        }
    }
}

/// Until the watchdog is gone. What it handed over last is then not named any more: the probe was dropped, after it had waited for
/// names. Neither is anything after a panic, which may have left what it knows of modules in disorder. `act` names what a job is of, or,
/// without one, gives back what it read: nothing was to be named for so long.
fn work(jobs: Receiver<Job>, kept_for: Duration, act: impl FnMut(Option<&Job>), shared: &Shared, is_over: &AtomicBool) {
    let mut act = Some(act);
    let mut has_read = false;
    loop {
        let job = match has_read {
            true => jobs.recv_timeout(kept_for),
            false => jobs.recv().map_err(RecvTimeoutError::from),
        };
        if let Err(RecvTimeoutError::Disconnected) = job {
            return;
        }
        let job = job.ok();
        has_read = job.is_some();
        if let Some(named) = act.as_mut().filter(|_| !is_over.load(Relaxed)) {
            if catch_unwind(AssertUnwindSafe(|| named(job.as_ref()))).is_ok() {
                continue;
            }
            shared.capture_limits.add(CaptureNote::NamingPanicked);
            act = None;
        }
        if let Some(job) = job {
            job.run_unnamed(None, shared);
        }
    }
}

#[cfg(test)]
mod tests {
    use pollscope_stacks::SUPPORTED;
    use pollscope_stacks::look::{Look, Looker};
    use std::sync::mpsc::{Sender, channel};

    use super::super::past::Past;
    use super::super::stall::{Stall, nobody};
    use super::super::stops::Stops;
    use super::*;
    use crate::clock::{Clock, Moment};
    use crate::journal::Key;

    const KEY: Key = (3, Moment(7));

    fn ended(start: Moment) -> Ended {
        Stall::new(start, 1, 0, nobody(), Past::default(), 0).end(|| 9, None, &Stops::new(0, 0))
    }

    fn naming(means: Option<Means>) -> Naming {
        let shared = Arc::new(Shared::new(Clock::monotonic(), 1, 1));
        shared.watched(|watched| watched.begin(KEY));
        let mut naming = Naming::new(shared, Process::current(), Vec::new());
        naming.means = means;
        naming.add(Job::Look(Arc::default(), None));
        naming.add(Job::Ended(KEY.0, Box::new(ended(KEY.1))));
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
        let mut naming = naming(Some(Means::Inline(Box::new(namers()), None)));
        assert!(naming.hand_over());
        assert!(is_awaited(&naming.shared));
        assert!(!naming.hand_over());
        assert!(!is_awaited(&naming.shared));
    }

    /// Stalls can end faster than one thread, which looks at them too, finds names.
    #[test]
    fn without_a_thread_what_finds_no_room_goes_unnamed() {
        let mut naming = naming(Some(Means::Inline(Box::new(namers()), None)));
        (0..2 * CAPACITY).for_each(|_| naming.add(Job::Look(Arc::default(), None)));
        assert_eq!(naming.jobs.len(), CAPACITY);
        let last = (KEY.0, Moment(8));
        naming.shared.watched(|watched| watched.begin(last));
        naming.add(Job::Ended(last.0, Box::new(ended(last.1))));
        naming.shared.watched(|watched| assert!(!watched.is_at_work_on(&last), "nobody waits for it"));
    }

    const SECOND: u64 = 1_000_000_000;

    /// The stack of a thread that is blocked.
    fn look() -> Look {
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
        look
    }

    fn namers() -> Namers {
        Namers::new(Process::current(), Vec::new(), false)
    }

    fn shared_with_clock() -> Arc<Shared> {
        Arc::new(Shared::new(Clock::manual(), 1, 10))
    }

    /// A slow poll that was looked at, handed to a thread that names nothing before it may, or panics.
    fn named_by(mut before: impl FnMut() + Send + 'static) -> Naming {
        let mut namers = namers();
        let shared = shared_with_clock();
        let its = Arc::clone(&shared);
        let act = move |job: Option<&Job>| {
            before();
            job.into_iter().for_each(|job| job.run(&mut namers, &its));
        };
        let mut naming = naming_by(shared, KEPT_FOR, act);
        slow_poll(&mut naming, look());
        naming
    }

    /// With a thread that does so.
    fn naming_by(shared: Arc<Shared>, kept_for: Duration, act: impl FnMut(Option<&Job>) + Send + 'static) -> Naming {
        let mut naming = Naming::new(shared, Process::current(), Vec::new());
        let (give, jobs) = sync_channel(CAPACITY);
        let (is_over, shared) = (Arc::clone(&naming.is_over), Arc::clone(&naming.shared));
        thread::spawn(move || work(jobs, kept_for, act, &shared, &is_over));
        naming.means = Some(Means::Thread(give));
        naming
    }

    /// One that was looked at so is over, and is to be named.
    fn slow_poll(naming: &mut Naming, look: Look) {
        let key = naming.shared.slow_poll_watched(5);
        naming.add(Job::Ended(key.0, Box::new(Ended::with(key.1, vec![look]))));
        naming.hand_over();
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

    /// What the thread says next.
    fn told(told: &Receiver<usize>) -> usize {
        told.recv_timeout(Duration::from_secs(60)).expect("it is told")
    }

    #[test]
    fn what_was_read_is_given_back_when_nothing_is_to_be_named() {
        if !SUPPORTED {
            return;
        }
        let (mut namers, shared, (tell, files)) = (namers(), shared_with_clock(), channel());
        let its = Arc::clone(&shared);
        let act = move |job: Option<&Job>| {
            match job {
                Some(job) => job.run(&mut namers, &its),
                None => namers.give_back(),
            }
            tell.send(namers.namer.files_read()).unwrap();
        };
        let mut naming = naming_by(shared, Duration::from_millis(1), act);
        let look = look();
        slow_poll(&mut naming, look.clone());
        assert_ne!(told(&files), 0, "it was named");
        assert_eq!(told(&files), 0, "then nothing was to be named");
        slow_poll(&mut naming, look);
        assert_eq!(told(&files), 0, "it is named as it was, from what is remembered");
        wait_until_named(&naming.shared);
        let polls = naming.shared.snapshot().slow_polls;
        assert_eq!(polls.len(), 2);
        assert_eq!(polls[0].evidence.stack, polls[1].evidence.stack);
        assert_eq!(polls[0].evidence.blocking_line, polls[1].evidence.blocking_line);
    }

    #[test]
    fn without_a_thread_it_is_given_back_as_well() {
        if !SUPPORTED {
            return;
        }
        let mut naming = Naming::new(shared_with_clock(), Process::current(), Vec::new());
        naming.means = Some(Means::Inline(Box::new(namers()), None));
        assert!(naming.rest(), "nothing was read");
        slow_poll(&mut naming, look());
        let files_read = |naming: &Naming| match &naming.means {
            Some(Means::Inline(namers, _)) => namers.namer.files_read(),
            _ => panic!("it needs no thread"),
        };
        assert!(!naming.rest(), "it was read just now");
        assert_ne!(files_read(&naming), 0);
        naming.kept_for = Duration::ZERO;
        assert!(naming.rest());
        assert_eq!(files_read(&naming), 0);
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
