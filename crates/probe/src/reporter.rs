//! The thread that hears of slow polls: it calls the callback and writes the lines, so that no worker has to.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use crate::blame;
use crate::coverage::coverage;
use crate::journal::Still;
use crate::lines::{self, Limiter, Pairs, Subject};
use crate::other_runtimes::OtherRuntimes;
use crate::ring::CAPACITY;
use crate::shared::Shared;
use crate::snapshot::{Polling, SlowPoll};
use crate::stalls::Unwatched;
use crate::status::{self, Status};
use crate::stretches::Stretches;
use pollscope_base::CaptureNote;

/// How often the reporter looks for slow polls while one is known. A worker cannot wake it: that would be a system call.
const TICK: Duration = Duration::from_millis(10);
/// How often it looks while none is: waking up is what it costs then.
const IDLE_TICK: Duration = Duration::from_millis(100);
/// The same where a watchdog looks as well, and wakes it: what is left is to close the limit's minutes.
const WATCHED_TICK: Duration = Duration::from_secs(1);

/// When runtimes that another builder made are first looked for: once the service is at work.
const FIRST_LOOK_FOR_RUNTIMES_NS: u64 = 2_000_000_000;
/// How seldom after that, at most: what all threads do is read. Until then each look comes after twice as long as the one before.
const LOOK_FOR_RUNTIMES_EVERY_NS: u64 = 60_000_000_000;

/// How long a flush waits at least for what is still being found out about slow polls, however short its own time is: the one who
/// asks often, without waiting, does not cost lines their evidence.
const LEAST_PATIENCE: Duration = Duration::from_millis(800);
/// What is left of a flush's time when that is over: for writing the lines.
const TO_WRITE: Duration = Duration::from_millis(200);
/// How long the end waits for the recording's last line: less than whoever drops the last handle waits for lines.
#[cfg(feature = "record")]
const LAST_OF_RECORDING: Duration = Duration::from_millis(700);
/// Longer than anybody waits, and short enough to be added to any time.
const LONGEST: Duration = Duration::from_secs(86_400);

pub(crate) type Callback<T> = Box<dyn FnMut(&T) + Send>;
pub(crate) type LineWriter = Box<dyn Write + Send>;

/// How the reporter is told what to do, and tells what it did.
#[derive(Debug, Default)]
pub(crate) struct Control {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stop: bool,
    stopped: bool,
    /// Whether there is something to say before the next tick.
    woken: bool,
    /// Whether the probe is there: before, its installation can still fail.
    installed: bool,
    /// Whether the watchdog looks for slow polls.
    watched: bool,
    /// Whether it waits for longer than a [`TICK`].
    resting: bool,
    /// How many times it was asked to deliver everything, and did.
    asked: u64,
    done: u64,
    /// Until when what is asked for waits for evidence.
    patient_until: Option<Instant>,
    /// When the reporter last waited for evidence.
    waited_at: Option<Instant>,
    /// The reporter's own thread, which must not wait for itself.
    thread: Option<ThreadId>,
}

pub(crate) struct Reporter {
    pub(crate) shared: Arc<Shared>,
    pub(crate) callback: Option<Callback<SlowPoll>>,
    pub(crate) on_stall: Option<Callback<Polling>>,
    #[cfg(feature = "tracing")]
    pub(crate) events: Option<crate::events::Events>,
    /// Boxed: what it was told is large, and few have one.
    #[cfg(feature = "metrics")]
    pub(crate) facade: Option<Box<crate::facade::Facade>>,
    #[cfg(feature = "record")]
    pub(crate) recorder: Option<crate::recorder::Outlets>,
    pub(crate) writer: Option<LineWriter>,
    /// `None`: nobody looks at threads.
    pub(crate) other_runtimes: Option<OtherRuntimes>,
    /// What the lines say of the probe itself, if anything.
    pub(crate) status: Option<Status>,
}

/// What goes on beside slow polls, and what was told of it.
#[derive(Default)]
struct Findings {
    unwatched: Unwatched,
    pools: Pairs,
    stretches: Stretches,
    told_stretches: Pairs,
    /// When runtimes that another builder made are looked for next, unless one was found.
    look_for_runtimes_ns: Option<u64>,
}

impl Findings {
    fn new() -> Findings {
        Findings { look_for_runtimes_ns: Some(FIRST_LOOK_FOR_RUNTIMES_NS), ..Findings::default() }
    }
}

impl Control {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for everything that is known to be delivered; whether it was, within `timeout`. What is still being found out is
    /// waited for until shortly before its end.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let mut state = self.lock();
        let is_first = state.asked == state.done;
        state.asked += 1;
        let mine = state.asked;
        let until = Instant::now() + patience(timeout);
        state.patient_until = state.patient_until.filter(|_| !is_first).max(Some(until));
        self.changed.notify_all();
        self.wait(state, |start, _| timeout.saturating_sub(start.elapsed()), |state| state.done >= mine)
    }

    /// Asks the thread to end, after a last delivery, which waits for evidence that is on its way for `evidence` at most; whether
    /// it did. Apart from that it may take `lines`.
    pub(crate) fn stop(&self, lines: Duration, evidence: Duration) -> bool {
        let mut state = self.lock();
        state.stop = true;
        state.patient_until = Some(Instant::now() + evidence.min(LONGEST));
        self.changed.notify_all();
        let left = |start: Instant, state: &State| {
            let since = state.waited_at.map_or(start, |at| at.max(start));
            lines.saturating_sub(since.elapsed())
        };
        self.wait(state, left, |state| state.stopped)
    }

    /// The reporter waits for evidence; whether it has waited for long enough.
    fn is_patience_over(&self) -> bool {
        let (mut state, now) = (self.lock(), Instant::now());
        state.waited_at = Some(now);
        state.patient_until.is_none_or(|until| now >= until)
    }

    /// Has the reporter look at once. Not for workers: it is a system call.
    pub(crate) fn wake(&self) {
        self.lock().woken = true;
        self.changed.notify_all();
    }

    /// Says that the probe is there.
    pub(crate) fn installed(&self) {
        self.lock().installed = true;
        self.wake();
    }

    /// Says whether somebody calls [`Control::wake_if_resting`] when there are slow polls.
    pub(crate) fn watch(&self, watched: bool) {
        self.lock().watched = watched;
        self.changed.notify_all();
    }

    /// Has the reporter look, unless it will soon.
    pub(crate) fn wake_if_resting(&self) {
        let mut state = self.lock();
        if state.resting {
            state.woken = true;
            self.changed.notify_all();
        }
    }

    /// Waits until it is done, or no time is left.
    fn wait(
        &self,
        mut state: MutexGuard<'_, State>,
        left: impl Fn(Instant, &State) -> Duration,
        done: impl Fn(&State) -> bool,
    ) -> bool {
        let start = Instant::now();
        // From within a callback it never comes.
        let is_own = state.thread == Some(thread::current().id());
        while !done(&state) {
            let left = left(start, &state);
            if is_own || left.is_zero() || state.stopped {
                return done(&state);
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Waits for so long or for a request: (requests so far, whether to stop).
    fn next(&self, tick: Duration) -> (u64, bool) {
        let mut state = self.lock();
        state.resting = tick > TICK;
        let idle = |state: &mut State| {
            !state.stop && !state.woken && state.asked == state.done && (state.watched || tick <= IDLE_TICK)
        };
        let mut state = self.changed.wait_timeout_while(state, tick, idle).unwrap_or_else(PoisonError::into_inner).0;
        (state.woken, state.resting) = (false, false);
        (state.asked, state.stop)
    }

    fn answer(&self, asked: u64, stopped: bool) {
        let mut state = self.lock();
        state.done = asked;
        state.stopped |= stopped;
        self.changed.notify_all();
    }
}

/// How long a flush in that time waits for evidence.
fn patience(timeout: Duration) -> Duration {
    (timeout - TO_WRITE.min(timeout / 5)).clamp(LEAST_PATIENCE, LONGEST)
}

impl Reporter {
    /// Starts the thread.
    pub(crate) fn spawn(self, control: Arc<Control>) -> std::io::Result<()> {
        thread::Builder::new().name("pollscope-report".to_owned()).spawn(move || self.run(&control)).map(drop)
    }

    fn run(mut self, control: &Control) {
        control.lock().thread = Some(thread::current().id());
        let mut limiter = Limiter::new(Arc::clone(&self.shared.sources));
        let mut findings = Findings::new();
        let mut answered = 0;
        let mut checked_ns = Some(0);
        loop {
            let (asked, stop) = control.next(self.tick(control, &findings));
            self.tell_status(control, false);
            checked_ns = checked_ns.and_then(|last_ns| self.shared.clock.check(last_ns));
            let finish = stop || asked > answered;
            self.look_for_stalls(control, &mut findings);
            self.deliver(&mut limiter, finish.then_some(control));
            self.tell_of_pools(&mut limiter, &mut findings);
            self.tell_of_stretches(&mut limiter, &mut findings, finish);
            for line in limiter.close(self.shared.clock.now_ns(), finish) {
                self.write(&line);
            }
            #[cfg(feature = "metrics")]
            self.tell_facade(finish);
            #[cfg(feature = "record")]
            self.tell_recorder(stop);
            if stop {
                self.tell_status(control, true);
            }
            self.look_for_runtimes(&mut findings, stop);
            if finish {
                answered = asked;
                control.answer(asked, stop);
            }
            if stop {
                return;
            }
        }
    }

    /// No longer than it takes to fill half a ring, or to forget half of those whose victims are kept.
    fn tick(&self, control: &Control, findings: &Findings) -> Duration {
        if !self.shared.is_quiet() || self.shared.pools.is_full() {
            return TICK;
        }
        let half_ns = self.shared.threshold_ns().saturating_mul(CAPACITY.min(blame::CAPACITY) as u64 / 2);
        let is_at_leisure = control.lock().watched && !findings.stretches.are_followed();
        let longest = if is_at_leisure { WATCHED_TICK } else { IDLE_TICK };
        Duration::from_nanos(half_ns).clamp(TICK, longest)
    }

    /// Delivers what need not wait; all, if it is to finish, once patience is over.
    fn deliver(&mut self, limiter: &mut Limiter, finish: Option<&Control>) {
        let mut delivered = self.deliver_ready(limiter, false);
        let Some(control) = finish else { return };
        while !delivered {
            let force = control.is_patience_over();
            if !force {
                thread::sleep(Duration::from_millis(1));
            }
            delivered = self.deliver_ready(limiter, force);
        }
    }

    /// Whether nothing is left to deliver.
    fn deliver_ready(&mut self, limiter: &mut Limiter, force: bool) -> bool {
        let ((still, more), polls, delivered) = self.shared.take_queue(force);
        // Asked after the queue: what is missing from these polls is known by then.
        for line in self.shared.capture_limits.take_lines() {
            self.write(&line);
        }
        still.iter().for_each(|still| self.tell_of_stall(still));
        if more > 0 {
            self.write(&format!("WARN slow poll: {more} more still ran meanwhile, while lines could not be written\n"));
        }
        for poll in polls {
            if let Some(callback) = &mut self.callback {
                self.shared.guard(|| callback(&poll));
            }
            #[cfg(feature = "tracing")]
            self.emit(|events| events.emit(&poll));
            #[cfg(feature = "record")]
            if let Some(recorder) = &self.recorder {
                recorder.slow_poll(&poll);
            }
            let written = limiter.line(&poll).is_some_and(|line| self.write(&line));
            let counter = if written { &self.shared.lines_printed } else { &self.shared.lines_suppressed };
            counter.fetch_add(1, Relaxed);
        }
        delivered && (force || !self.shared.late_stretches.is_awaited())
    }

    /// Looks itself for polls that go on for long, where no watchdog does.
    fn look_for_stalls(&mut self, control: &Control, findings: &mut Findings) {
        if control.lock().watched {
            return findings.unwatched.forget();
        }
        findings.unwatched.look(&self.shared).iter().for_each(|still| self.tell_of_stall(still));
    }

    /// Tells of a stall that goes on: whoever is called back, once, and in a line whenever it is due.
    fn tell_of_stall(&mut self, Still { stall, is_first }: &Still) {
        if let Some(on_stall) = self.on_stall.as_mut().filter(|_| *is_first) {
            self.shared.guard(|| on_stall(stall));
        }
        #[cfg(feature = "tracing")]
        if *is_first {
            self.emit(|events| events.emit_stall(stall));
        }
        #[cfg(feature = "record")]
        if let Some(recorder) = self.recorder.as_ref().filter(|_| *is_first) {
            recorder.stall(stall, self.shared.clock.now_ns());
        }
        self.write(&lines::still(stall, &self.shared.sources));
    }

    /// Tells what is seen, first of all; what was seen, now and then, and last of all.
    fn tell_status(&mut self, control: &Control, is_last: bool) {
        let Some(status) = &mut self.status else { return };
        if !is_last && control.lock().installed {
            let threshold = Duration::from_nanos(self.shared.threshold_ns());
            let first = status.begin(coverage(self.shared.tracks_waits, false).source, threshold);
            let is_due = status.is_due(self.shared.clock.now_ns());
            first.into_iter().for_each(|line| _ = self.write(&line));
            if is_due {
                self.write(&status::seen(&self.shared.snapshot(), false));
            }
        } else if is_last && status.is_begun() {
            self.write(&status::seen(&self.shared.snapshot(), true));
        }
    }

    /// Looks for a runtime that another builder made, now and then and last of all, until one is found.
    fn look_for_runtimes(&mut self, findings: &mut Findings, is_last: bool) {
        let now_ns = self.shared.clock.now_ns();
        let Some(other_runtimes) = &mut self.other_runtimes else { return };
        if findings.look_for_runtimes_ns.is_none_or(|at_ns| now_ns < at_ns && !is_last) {
            return;
        }
        // Of a probe that lives shorter, as in a test, the other threads of the process are no concern.
        let found = other_runtimes.find(now_ns < FIRST_LOOK_FOR_RUNTIMES_NS);
        findings.look_for_runtimes_ns = found.is_none().then_some(now_ns + now_ns.min(LOOK_FOR_RUNTIMES_EVERY_NS));
        self.shared.capture_limits.add(found.map(CaptureNote::OtherRuntime));
        for line in self.shared.capture_limits.take_lines() {
            self.write(&line);
        }
    }

    /// Tells which blocking pools are full, or no longer.
    fn tell_of_pools(&mut self, limiter: &mut Limiter, findings: &mut Findings) {
        self.shared.ask_for_runtimes();
        self.shared.look_at_pools();
        for saturation in self.shared.pools.take_told() {
            #[cfg(feature = "tracing")]
            self.emit(|events| events.emit_saturation(&saturation));
            let may_begin = || limiter.admits(Subject::BlockingPool, self.shared.clock.now_ns());
            if findings.pools.admit(saturation.number, saturation.is_over, may_begin) {
                self.write(&format!("WARN {saturation}\n"));
            }
        }
    }

    /// Tells which workers have not parked for long, or have now.
    fn tell_of_stretches(&mut self, limiter: &mut Limiter, findings: &mut Findings, at_once: bool) {
        let of_short_polls = findings.stretches.look(&self.shared, at_once);
        let (of_unseen_polls, untold) = self.shared.late_stretches.take_told();
        for stretch in of_short_polls.into_iter().chain(of_unseen_polls) {
            #[cfg(feature = "tracing")]
            self.emit(|events| events.emit_stretch(&stretch));
            let mut may_begin = || limiter.admits(stretch.subject(), self.shared.clock.now_ns());
            let (is_over, is_whole) = (stretch.is_over, stretch.is_over && stretch.is_first);
            let is_admitted = is_whole && may_begin()
                || !is_whole && findings.told_stretches.admit(stretch.number, is_over, may_begin);
            self.shared.late_stretches.list(&stretch);
            if is_admitted {
                self.write(&stretch.lines());
            }
        }
        untold.into_iter().for_each(|line| _ = self.write(&line));
    }

    /// Emits an event, if somebody asked for events; a panic of the subscriber's is counted as a callback's.
    #[cfg(feature = "tracing")]
    fn emit(&self, emit: impl FnOnce(&crate::events::Events)) {
        if let Some(events) = &self.events {
            self.shared.guard(|| emit(events));
        }
    }

    /// Tells the recorder of metrics what is new, if it is time to; a panic of its is counted as a callback's.
    #[cfg(feature = "metrics")]
    fn tell_facade(&mut self, now: bool) {
        let Some(facade) = self.facade.as_mut().filter(|facade| now || facade.is_due()) else { return };
        let snapshot = self.shared.snapshot();
        self.shared.guard(|| facade.tell(snapshot));
    }

    /// Tells what stands in the way of the recording; and ends it, if this is the end.
    #[cfg(feature = "record")]
    fn tell_recorder(&mut self, is_last: bool) {
        let Some(recorder) = &mut self.recorder else { return };
        if is_last {
            recorder.end(LAST_OF_RECORDING);
        }
        if let Some(line) = recorder.take_trouble() {
            self.write(&line);
        }
    }

    /// Writes a line in one call, past any buffer; whether that succeeded. A writer that panics failed.
    fn write(&mut self, line: &str) -> bool {
        let Some(writer) = &mut self.writer else { return false };
        let write = || writer.write_all(line.as_bytes()).and_then(|()| writer.flush()).is_ok();
        catch_unwind(AssertUnwindSafe(write)).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests;
