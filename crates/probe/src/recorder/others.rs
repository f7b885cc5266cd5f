//! The threads that look at the other threads of the process, those that no probe knows, and tell of them.
//!
//! They are looked at as another process is, by the same code: nothing is done to them, and nothing of this runs on one of them. What stands
//! in the way is said once, and the service goes on.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use pollscope_attach::{Attached, SUPPORTED, Settings, Stop, Target};
use pollscope_record::feed::Update;
use pollscope_record::growing::Head;
use pollscope_record::recording::{Run, SlowPoll, Subject, Target as Recorded};
use pollscope_record::redact::{redact_poll, redact_run};
use pollscope_stacks::seccomp;

use super::beside::OfOthers;
use super::{head, since_1970};
use crate::other_runtimes;
use crate::shared::Shared;
use crate::watchdog;

/// Passes on what is told, to one who writes it.
pub(super) type Tell = Box<dyn Fn(&Arc<OfOthers>) + Send>;

/// What is said when the last looks have no names in time.
const UNNAMED: &str =
    "the last looks at other threads had no names yet at the end: a slow poll that they show may not be listed";
/// And when there are no more looks, for a reason that nobody told.
const BROKEN_OFF: &str =
    "other threads are not looked at any more: the thread that looks is gone, which is worth a report";

/// The reporter's side.
pub(super) struct Others {
    over: Arc<Over>,
    ended: Receiver<()>,
}

/// How the looking is ended.
#[derive(Default)]
struct Over {
    is_over: AtomicBool,
    stop: OnceLock<Stop>,
}

/// Who looks, for whom.
struct Looking {
    shared: Arc<Shared>,
    source_roots: Vec<PathBuf>,
    tell: Vec<Tell>,
    over: Arc<Over>,
    _ended: Sender<()>,
}

impl Others {
    /// Starts the first of the threads.
    pub(super) fn spawn(
        shared: Arc<Shared>,
        watchdog: Option<&watchdog::Options>,
        tell: Vec<Tell>,
    ) -> io::Result<Others> {
        if watchdog.is_some_and(|options| options.is_permitted) {
            seccomp::permit();
        }
        let source_roots = watchdog.map(watchdog::source_roots).unwrap_or_default();
        let (over, (end, ended)) = (Arc::<Over>::default(), mpsc::channel());
        let looking = Looking { shared, source_roots, tell, over: Arc::clone(&over), _ended: end };
        thread::Builder::new().name("pollscope-others".to_owned()).spawn(move || looking.run())?;
        Ok(Others { over, ended })
    }

    /// Ends the looking, and waits for so long that all that was seen is told.
    pub(super) fn end(&self, patience: Duration) -> Option<OfOthers> {
        self.stop();
        // When the thread ends, it hangs up.
        let is_in_time = self.ended.recv_timeout(patience) != Err(mpsc::RecvTimeoutError::Timeout);
        (!is_in_time && self.over.stop.get().is_some()).then(|| OfOthers::Update(Update::Note(UNNAMED.to_owned())))
    }

    fn stop(&self) {
        self.over.is_over.store(true, Relaxed);
        if let Some(stop) = self.over.stop.get() {
            stop.stop();
        }
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Looking {
    fn run(self) {
        let attached = match self.attached() {
            Ok(attached) => attached,
            Err(why) => {
                // It is known which process, and a recording may hide its number.
                let why = why.split_once("`: ").map_or(why.as_str(), |(_, why)| why);
                return self.tell(OfOthers::Nobody(format!("other threads of this process are not sampled: {why}")));
            }
        };
        let Some((attached, from_ns)) = attached else { return };
        let mut is_ended = false;
        for update in attached {
            is_ended |= matches!(update, Update::End(..));
            let update = moved(update, from_ns);
            self.tell(OfOthers::Update(if self.shared.redacted { hidden(update) } else { update }));
        }
        if !is_ended {
            self.tell(OfOthers::Update(Update::Note(BROKEN_OFF.to_owned())));
        }
    }

    /// Begins to look, and says so; when that was, by the probe's clock. `None` if it is over by then.
    fn attached(&self) -> Result<Option<(Attached, u64)>, String> {
        if self.tell.is_empty() {
            return Ok(None);
        }
        if !SUPPORTED {
            return Err("threads are looked at on Linux on x86-64 alone".to_owned());
        }
        let mut target = Target::own(self.source_roots.clone(), self.shared.redacted).map_err(|why| why.to_string())?;
        let lacks = target.names().and_then(|(_, lacks)| lacks).map(|lacks| lacks.to_string());
        let settings = Settings { slow: Duration::from_nanos(self.shared.threshold_ns()), ..Settings::default() };
        let from_ns = self.shared.clock.now_ns();
        let now = Run::written(since_1970(Some(std::time::SystemTime::now())));
        if self.over.is_over.load(Relaxed) {
            return Ok(None);
        }
        let attached = Attached::to_all_but(target, settings, &now, other_runtimes::is_known)
            .map_err(|error| pollscope_base::reason(&error).to_string())?;
        let _ = self.over.stop.set(attached.stop());
        if self.over.is_over.load(Relaxed) {
            attached.stop().stop();
        }
        let mut head = self.head(attached.start());
        head.coverage.missing.extend(lacks);
        self.tell(OfOthers::Begins(Box::new(head), settings.hz.get()));
        Ok(Some((attached, from_ns)))
    }

    fn head(&self, start: &Run) -> Head {
        let own = head(&self.shared, &self.shared.totals(), Duration::ZERO);
        let of_program = own.subject.target().cloned().unwrap_or_default();
        let build_id = start.subject.target().and_then(|target| target.build_id.clone());
        let target = Recorded { build_id, runtimes: Vec::new(), ..of_program };
        let mut coverage = start.coverage.clone();
        coverage.blind_to.push("polls that are over before the third look, however many".to_owned());
        Head { subject: Subject::Process(target), coverage, slow_polls_are: start.slow_polls_are, ..own }
    }

    fn tell(&self, told: OfOthers) {
        let told = Arc::new(told);
        self.tell.iter().for_each(|tell| tell(&told));
    }
}

/// As the probe counts time, which began so long before the looking did.
fn moved(update: Update, from_ns: u64) -> Update {
    match update {
        Update::SlowPoll(poll) => Update::SlowPoll(Box::new(later(&poll, from_ns))),
        Update::Stall(poll) => Update::Stall(Box::new(later(&poll, from_ns))),
        other => other,
    }
}

/// A slow poll whose times were counted from `from_ns` on.
fn later(poll: &SlowPoll, from_ns: u64) -> SlowPoll {
    SlowPoll { start_ns: poll.start_ns.saturating_add(from_ns), ..poll.clone() }
}

/// Without paths.
fn hidden(update: Update) -> Update {
    match update {
        Update::SlowPoll(poll) => Update::SlowPoll(Box::new(redact_poll(*poll))),
        Update::Stall(poll) => Update::Stall(Box::new(redact_poll(*poll))),
        Update::Known(run) => Update::Known(Box::new(redact_run(*run))),
        other => other,
    }
}
