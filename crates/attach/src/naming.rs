//! Names what was seen, on a thread of its own: the first look-up in a large program takes as long as many looks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SendError, Sender};

use pollscope_record::feed::Update;
use pollscope_record::recording::{self, Detail, Ended, Kind, Precision, Run, SlowPoll};
use pollscope_stacks::look::{Namer, SharedLook};

use crate::poll::Poll;

/// What the sampler hands over.
#[derive(Debug)]
pub(crate) enum Job {
    /// Somebody wants to know whether a thread that stands there is on a loop.
    Name(Arc<SharedLook>),
    /// A poll that goes on; as it is by now.
    GoesOn(Box<Poll>),
    /// A poll that is over.
    Over(Box<Poll>),
    /// Why something is not known.
    Note(String),
}

/// What the sampler says last.
#[derive(Debug)]
pub(crate) struct Last {
    pub(crate) ended: Ended,
    pub(crate) elapsed_ns: u64,
    pub(crate) looks_per_s: f64,
    /// What found no room with the one who names.
    pub(crate) dropped: u64,
}

/// Nobody listens any more.
type Deaf = SendError<Update>;

/// Makes a feed of what was seen.
#[derive(Debug)]
pub(crate) struct Naming {
    namer: Namer,
    tell: Sender<Update>,
    /// The numbers of those that were told of while they went on.
    open: HashMap<u64, u64>,
    /// How many numbers were given.
    given: u64,
    /// How many are over.
    told: u64,
}

impl Naming {
    pub(crate) fn new(namer: Namer, tell: Sender<Update>) -> Naming {
        Naming { namer, tell, open: HashMap::new(), given: 0, told: 0 }
    }

    /// Names until nothing more comes, and then says what is known of the whole; or until nobody listens.
    pub(crate) fn run(mut self, jobs: &Receiver<Job>, last: &Receiver<Last>, start: Run) {
        for job in jobs {
            if self.work(job).is_err() {
                return;
            }
        }
        // Without a last word it broke off.
        if let Ok(last) = last.recv() {
            let _ = self.end(last, start);
        }
    }

    fn work(&mut self, job: Job) -> Result<(), Deaf> {
        match job {
            Job::Name(look) => _ = look.named(&mut self.namer),
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
            Job::Note(note) => self.tell.send(Update::Note(note))?,
        }
        self.namer.take_limits().iter().try_for_each(|limit| self.tell.send(Update::Note(limit.to_string())))
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

    fn end(&self, last: Last, start: Run) -> Result<(), Deaf> {
        let mut run = Run { elapsed_ns: last.elapsed_ns, slow_polls_total: self.told, ..start };
        run.coverage.looks_per_s = Some(last.looks_per_s);
        if last.dropped > 0 {
            run.coverage.missing.push(format!("{} polls and looks: there were more than could be named", last.dropped));
        }
        self.tell.send(Update::Known(Box::new(run)))?;
        self.tell.send(Update::End(last.ended, None))
    }
}
