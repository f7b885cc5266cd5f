//! The thread that hears of slow polls: it calls the callback and writes the lines, so that no worker has to.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use crate::lines::Limiter;
use crate::ring::CAPACITY;
use crate::shared::Shared;
use crate::snapshot::SlowPoll;

/// How often the reporter looks for slow polls while one is known. A worker cannot wake it: that would be a system call.
const TICK: Duration = Duration::from_millis(10);
/// How often it looks while none is: waking up is what it costs then.
const IDLE_TICK: Duration = Duration::from_millis(100);
/// The same where a watchdog looks as well, and wakes it: what is left is to close the limit's minutes.
const WATCHED_TICK: Duration = Duration::from_secs(1);

/// How long a flush waits at least for what is still being found out about slow polls, however short its own time is: the one who
/// asks often, without waiting, does not cost lines their evidence.
const LEAST_PATIENCE: Duration = Duration::from_millis(800);
/// What is left of a flush's time when that is over: for writing the lines.
const TO_WRITE: Duration = Duration::from_millis(200);
/// Longer than anybody waits, and short enough to be added to any time.
const LONGEST: Duration = Duration::from_secs(86_400);

pub(crate) type Callback = Box<dyn FnMut(&SlowPoll) + Send>;
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
    pub(crate) callback: Option<Callback>,
    #[cfg(feature = "tracing")]
    pub(crate) events: Option<crate::events::Events>,
    /// Boxed: what it was told is large, and few have one.
    #[cfg(feature = "metrics")]
    pub(crate) facade: Option<Box<crate::facade::Facade>>,
    pub(crate) writer: Option<LineWriter>,
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
        let mut limiter = Limiter::new(self.shared.redacted);
        let mut answered = 0;
        let mut checked_ns = Some(0);
        loop {
            let (asked, stop) = control.next(self.tick(control));
            checked_ns = checked_ns.and_then(|last_ns| self.shared.clock.check(last_ns));
            let finish = stop || asked > answered;
            self.deliver(&mut limiter, finish.then_some(control));
            for line in limiter.close(self.shared.clock.now_ns(), finish) {
                self.write(&line);
            }
            #[cfg(feature = "metrics")]
            self.tell_facade(finish);
            if finish {
                answered = asked;
                control.answer(asked, stop);
            }
            if stop {
                return;
            }
        }
    }

    /// No longer than it takes to fill half a ring.
    fn tick(&self, control: &Control) -> Duration {
        if !self.shared.is_quiet() {
            return TICK;
        }
        let half_ns = self.shared.threshold_ns().saturating_mul(CAPACITY as u64 / 2);
        let longest = if control.lock().watched { WATCHED_TICK } else { IDLE_TICK };
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
        let (still, polls, delivered) = self.shared.take_queue(force);
        // Asked after the queue: what is missing from these polls is known by then.
        for line in self.shared.capture_limits.take_lines().into_iter().chain(still) {
            self.write(&line);
        }
        for poll in polls {
            if let Some(callback) = &mut self.callback
                && catch_unwind(AssertUnwindSafe(|| callback(&poll))).is_err()
            {
                self.shared.callback_panics.fetch_add(1, Relaxed);
            }
            #[cfg(feature = "tracing")]
            if let Some(events) = &self.events
                && catch_unwind(AssertUnwindSafe(|| events.emit(&poll))).is_err()
            {
                self.shared.callback_panics.fetch_add(1, Relaxed);
            }
            let written = limiter.line(&poll).is_some_and(|line| self.write(&line));
            let counter = if written { &self.shared.lines_printed } else { &self.shared.lines_suppressed };
            counter.fetch_add(1, Relaxed);
        }
        delivered
    }

    /// Tells the recorder of metrics what is new, if it is time to; a panic of its is counted as a callback's.
    #[cfg(feature = "metrics")]
    fn tell_facade(&mut self, now: bool) {
        let Some(facade) = self.facade.as_mut().filter(|facade| now || facade.is_due()) else { return };
        let snapshot = self.shared.snapshot();
        if catch_unwind(AssertUnwindSafe(|| facade.tell(snapshot))).is_err() {
            self.shared.callback_panics.fetch_add(1, Relaxed);
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
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::clock::Clock;
    use crate::journal::Key;
    use pollscope_base::Evidence;

    const LONG: Duration = Duration::from_secs(60);

    struct Lines(Sender<String>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// A reporter, the lines that it writes, and a slow poll of which evidence is awaited, without end by its clock.
    fn reporting() -> (Arc<Shared>, Arc<Control>, Receiver<String>, Key) {
        let shared = Arc::new(Shared::new(Clock::manual(), 1, 10));
        let key = shared.slow_poll_watched(5);
        // Who waited is known by then.
        shared.clock.advance(1_000_000_000);
        let control = Arc::new(Control::default());
        let (tell, lines) = channel();
        let reporter = Reporter {
            shared: Arc::clone(&shared),
            callback: None,
            #[cfg(feature = "tracing")]
            events: None,
            #[cfg(feature = "metrics")]
            facade: None,
            writer: Some(Box::new(Lines(tell))),
        };
        reporter.spawn(Arc::clone(&control)).unwrap();
        (shared, control, lines, key)
    }

    /// Has the evidence come once the reporter has waited for it for so long.
    fn comes_after(wait: Duration, shared: &Arc<Shared>, control: &Arc<Control>, key: Key) {
        let (shared, control) = (Arc::clone(shared), Arc::clone(control));
        thread::spawn(move || {
            while control.lock().waited_at.is_none() {
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(wait);
            let line = Some("src/main.rs:7".to_owned());
            let mut evidence = Evidence::default();
            (evidence.blocking_line, evidence.captures) = (line, 1);
            shared.seen(key, evidence);
        });
    }

    #[test]
    fn the_last_line_waits_for_evidence_longer_than_for_a_writer() {
        let (shared, control, lines, key) = reporting();
        comes_after(Duration::from_millis(3_000), &shared, &control, key);
        assert!(control.stop(Duration::from_millis(2_000), LONG));
        let line = lines.recv().unwrap();
        assert!(line.contains("     seen at src/main.rs:7"), "{line}");
    }

    #[test]
    fn the_last_line_does_not_wait_for_evidence_without_end() {
        let (_shared, control, lines, _) = reporting();
        assert!(control.stop(LONG, Duration::from_millis(50)));
        let line = lines.recv().unwrap();
        assert!(line.contains("     no line: "), "{line}");
    }

    #[test]
    fn a_flush_waits_for_evidence_as_long_as_it_may() {
        let (shared, control, lines, key) = reporting();
        comes_after(Duration::from_millis(1_500), &shared, &control, key);
        assert!(control.flush(LONG));
        let line = lines.recv().unwrap();
        assert!(line.contains("     seen at src/main.rs:7"), "{line}");
        assert_eq!(shared.snapshot().coverage.missing, []);
    }

    #[test]
    fn a_flush_in_a_short_time_tells_what_there_is() {
        let (shared, control, lines, _) = reporting();
        // Whether that is done in time is the machine's affair.
        control.flush(Duration::from_millis(1_000));
        let line = lines.recv_timeout(LONG).unwrap();
        assert!(line.contains("     no line: "), "{line}");
        assert_eq!(shared.snapshot().coverage.missing.iter().map(|of| of.polls).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn what_is_left_of_any_timeout_is_for_writing() {
        let ms = Duration::from_millis;
        for (timeout, waits) in [(ms(0), 800), (ms(500), 800), (ms(1_000), 800), (ms(60_000), 59_800)] {
            assert_eq!(patience(timeout), ms(waits), "{timeout:?}");
        }
        assert_eq!(patience(Duration::MAX), LONGEST);
    }
}
