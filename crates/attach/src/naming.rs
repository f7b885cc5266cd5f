//! Names what was seen, on a thread of its own: the first look-up in a large program takes as long as many looks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SendError, Sender};
use std::time::Duration;

use pollscope_base::Held;
use pollscope_base::duration::to_ns;
use pollscope_record::feed::Update;
use pollscope_record::recording::{self, BusyBy, BusyShare, Detail, Ended, Kind, Precision, Profile, Run, SlowPoll};
use pollscope_record::units::format_ns;
use pollscope_stacks::holder::Finder;
use pollscope_stacks::look::{Glance, Look, Namer, SharedLook};
use pollscope_stacks::process::Process;
use pollscope_stacks::thread::ThreadRef;

use crate::poll::Poll;
use crate::profile::Counted;

/// What the sampler hands over.
#[derive(Debug)]
pub(crate) enum Job {
    /// What a thread was doing, to be learnt from; and which one waits there, if it is to be found out who has what it waits for.
    Name(Arc<SharedLook>, Option<Waiter>),
    /// Where a loop's thread was at a look for the profile.
    Profiled(Arc<SharedLook>),
    /// A poll that goes on; as it is by now.
    GoesOn(Box<Poll>),
    /// A poll that is over.
    Over(Box<Poll>),
    /// Where loops' threads were, up to now.
    Profile(Box<Counted>),
    /// Why something is not known.
    Note(String),
}

/// A thread that waits in a futex, and the glance at which it did.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) thread: ThreadRef,
    pub(crate) glance: Glance,
}

impl Waiter {
    /// Whether it stands there still.
    fn stands(&self) -> bool {
        Glance::read(&self.thread, self.glance.at_ns).stands_since(&self.glance)
    }
}

/// What the sampler says last.
#[derive(Debug)]
pub(crate) struct Last {
    pub(crate) ended: Ended,
    pub(crate) elapsed_ns: u64,
    pub(crate) looks_per_s: f64,
    /// What found no room with the one who names.
    pub(crate) dropped: u64,
    /// How long nobody looked, where that was far longer than was asked for.
    pub(crate) late: Option<Duration>,
}

/// Nobody listens any more.
type Deaf = SendError<Update>;

/// Makes a feed of what was seen.
#[derive(Debug)]
pub(crate) struct Naming {
    namer: Namer,
    finder: Finder,
    tell: Sender<Update>,
    /// The numbers of those that were told of while they went on.
    open: HashMap<u64, u64>,
    /// How many numbers were given.
    given: u64,
    /// How many are over.
    told: u64,
    start: Run,
    profile: Option<Box<Profile>>,
}

impl Naming {
    /// `start`: what is known of the run before anything was seen.
    pub(crate) fn new(process: Process, namer: Namer, tell: Sender<Update>, start: Run) -> Naming {
        let finder = Finder::new(process);
        Naming { namer, finder, tell, open: HashMap::new(), given: 0, told: 0, start, profile: None }
    }

    /// Names until nothing more comes, and then says what is known of the whole; or until nobody listens.
    pub(crate) fn run(mut self, jobs: &Receiver<Job>, last: &Receiver<Last>) {
        // Read while the first looks are taken, not once one waits for its names.
        self.namer.program();
        let is_heard = jobs.iter().all(|job| self.work(job).is_ok());
        // Without a last word it broke off.
        if is_heard && let Ok(last) = last.recv() {
            let _ = self.end(last);
        }
        // Threads of the own process may have been asked by a signal.
        self.finder.close();
    }

    fn work(&mut self, job: Job) -> Result<(), Deaf> {
        match job {
            Job::Name(look, waiter) => {
                let is_on_loop = look.named(&mut self.namer).is_on_loop;
                let held = waiter.filter(|_| is_on_loop).and_then(|waiter| self.holder(&look.look, &waiter));
                held.into_iter().for_each(|held| look.set_held(held));
            }
            Job::Profiled(look) => {
                look.named(&mut self.namer);
                // What it lacks is lacking in the profile, and in no slow poll.
                self.namer.take_limits();
            }
            Job::GoesOn(poll) => {
                if let Some(poll) = self.poll(&poll, false) {
                    self.tell.send(Update::Stall(Box::new(poll)))?;
                }
            }
            Job::Over(poll) => {
                if let Some(poll) = self.poll(&poll, true) {
                    self.told += 1;
                    self.tell.send(Update::SlowPoll(Box::new(poll)))?;
                }
            }
            Job::Profile(counted) => {
                let until_ns = counted.until_ns;
                self.profile = Some(Box::new(counted.named(&mut self.namer)));
                self.tell.send(Update::Known(Box::new(self.known(until_ns))))?;
            }
            Job::Note(note) => self.tell.send(Update::Note(note))?,
        }
        self.namer.take_limits().iter().try_for_each(|limit| self.tell.send(Update::Note(limit.to_string())))
    }

    /// Who has what a thread waits for.
    fn holder(&mut self, look: &Look, waiter: &Waiter) -> Option<Held> {
        let gathered = self.finder.gather(&waiter.thread, look, || waiter.stands(), &[], |_| None)?;
        self.finder.find(&gathered, look.stack.as_ref()?, &mut self.namer)
    }

    /// `None` of what holds up no loop.
    fn poll(&mut self, seen: &Poll, is_over: bool) -> Option<SlowPoll> {
        let (future, evidence) = seen.evidence(&mut self.namer)?;
        let known = if is_over { self.open.remove(&seen.number) } else { self.open.get(&seen.number).copied() };
        let id = known.unwrap_or_else(|| {
            self.given += 1;
            self.given
        });
        if !is_over {
            self.open.insert(seen.number, id);
        }
        let within = |ns: Option<u64>| ns.map_or(Precision::Exact, Precision::WithinNs);
        let detail = Detail {
            // Whoever comes late does not know since when.
            start_is: Precision::WithinNs(seen.start_within_ns().unwrap_or(seen.start_ns())),
            end_is: within(seen.end_within_ns()),
            ..Detail::default()
        };
        let task = seen.task();
        let kind = Kind {
            spawned_at: task.and_then(|task| task.spawned_at.as_deref()).map(Into::into),
            future: future.as_deref().map(Into::into),
            ..Kind::default()
        };
        let start = SlowPoll {
            id,
            task_id: task.map(|task| task.id).into(),
            start_ns: seen.start_ns(),
            duration_ns: seen.seen_ns(),
            detail: detail.boxed(),
            ..SlowPoll::of(kind)
        };
        Some(recording::seen(&evidence, start))
    }

    /// All that is known of the run up to then.
    fn known(&self, elapsed_ns: u64) -> Run {
        let share = self.profile.as_ref().and_then(|profile| profile.share(profile.in_polls()));
        Run {
            elapsed_ns,
            slow_polls_total: self.told,
            busy_share: share.map(|value| BusyShare { value, how: BusyBy::Looks }),
            profile: self.profile.clone(),
            ..self.start.clone()
        }
    }

    fn end(&self, last: Last) -> Result<(), Deaf> {
        let mut run = self.known(last.elapsed_ns);
        run.coverage.looks_per_s = Some(last.looks_per_s);
        if let Some(late) = last.late {
            let missing = format!("polls within the {} in which nobody looked, at most", format_ns(to_ns(late)));
            run.coverage.missing.push(missing);
        }
        if last.dropped > 0 {
            run.coverage.missing.push(format!("{} polls and looks: there were more than could be named", last.dropped));
        }
        self.tell.send(Update::Known(Box::new(run)))?;
        self.tell.send(Update::End(last.ended, None))
    }
}
