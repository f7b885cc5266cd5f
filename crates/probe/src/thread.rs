//! A thread's own side of its slots: which polls it is in. Nothing here is shared, so nothing here is locked.

use std::cell::RefCell;
use std::panic::Location;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use pollscope_base::CaptureNote;

use crate::blame::{Culprit, Culprits, Waiter};
use crate::clock::Moment;
use crate::names::{NameId, UNNAMED};
use crate::other_runtimes::KnownThread;
use crate::polling::Frame;
use crate::shared::Shared;
use crate::spans::{self, Here, Mark};
use crate::tokio_api;
use crate::watchdog;
use crate::worker::{On, Slot};
use turn::Turn;

mod turn;

thread_local! {
    static THREAD: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
}

/// So many polls are within one another at most. Each takes an executor within a poll, and what nests deeper was never closed:
/// the thread is given up.
const MOST_OPEN: usize = 64;

/// This thread's place in one probe. What every poll touches is in its first cache line.
#[repr(C, align(64))]
struct Entry {
    probe: u64,
    slot: Arc<Slot>,
    /// The thread's spans, and where they stood when the innermost open poll began.
    spans: Here,
    mark: Mark,
    /// Whether it was said that polls may begin.
    is_awake: bool,
    /// What is not so at most polls' ends.
    unusual: Unusual,
    /// Whether there were so many open polls that no further one is followed.
    gave_up: bool,
    /// When the thread was unparked, or first polled; 0 while it is parked.
    busy_since_ns: u64,
    /// What the thread was then.
    busy_as: Option<Turn>,
    /// The open polls around the innermost one, outermost first; where an executor runs within a poll.
    outer: Vec<(Frame, Mark)>,
    /// The last slow polls, while there may be tasks that waited for them.
    culprits: Culprits,
    /// The last question which runtime it is of that it answered.
    answered: u32,
    /// The thread's name, once a slow poll was told by it.
    name: NameId,
    shared: Weak<Shared>,
    /// While it is here, the thread is not taken for one of a runtime that another builder made.
    _known: KnownThread,
}

/// What is asked at the end of every poll, in one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Unusual {
    /// There are tasks that may have waited for a slow poll.
    culprits: bool,
    /// There are polls around the innermost one.
    nested: bool,
    /// The thread was no worker when it said that it is awake.
    no_worker: bool,
}

impl Unusual {
    #[inline]
    fn is_any(self) -> bool {
        self.culprits | self.nested | self.no_worker
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            self.slot.polling.show_idle();
            self.slot.stretch.end();
            self.rest();
            let next = self.culprits.end(&self.slot.blames, shared.clock.now_ns());
            self.slot.next_blame.store(next, Relaxed);
            self.slot.tid.store(0, Relaxed);
            self.leave_home(&shared);
            shared.return_slot(&self.slot);
        }
    }
}

/// Runs `f` on this thread's entry, which it makes on the thread's first poll.
/// `None` when the thread is being torn down, or is in `f` already.
#[inline]
fn with_entry<R>(shared: &Arc<Shared>, f: impl FnOnce(&mut Entry) -> R) -> Option<R> {
    THREAD
        .try_with(|thread| {
            let mut entries = thread.try_borrow_mut().ok()?;
            let entry = match entries.first_mut() {
                Some(first) if first.probe == shared.id => first,
                _ => find(&mut entries, shared),
            };
            Some(f(entry))
        })
        .ok()
        .flatten()
}

/// The thread's entry where it is not the first one, or is not there yet.
#[cold]
fn find<'a>(entries: &'a mut Vec<Entry>, shared: &Arc<Shared>) -> &'a mut Entry {
    let index = match entries.iter().position(|entry| entry.probe == shared.id) {
        Some(index) => index,
        None => register(entries, shared),
    };
    &mut entries[index]
}

fn register(entries: &mut Vec<Entry>, shared: &Arc<Shared>) -> usize {
    entries.retain(|entry| entry.shared.strong_count() > 0);
    let slot = shared.take_slot();
    watchdog::show_this_thread(&slot);
    let flavor = tokio::runtime::Handle::try_current().map(|handle| handle.runtime_flavor());
    let is_multi_thread = matches!(flavor, Ok(tokio::runtime::RuntimeFlavor::MultiThread));
    slot.is_runtimes_own.store(is_multi_thread && tokio::runtime::worker_index().is_some(), Relaxed);
    // What the thread before left there is still to be told.
    let culprits = Culprits::new(slot.next_blame.load(Relaxed));
    let spans = spans::here();
    slot.spans.show(&spans);
    entries.push(Entry {
        probe: shared.id,
        slot,
        spans,
        mark: Mark::default(),
        is_awake: false,
        unusual: Unusual::default(),
        gave_up: false,
        busy_since_ns: 0,
        busy_as: None,
        outer: Vec::with_capacity(MOST_OPEN),
        culprits,
        answered: 0,
        name: UNNAMED,
        shared: Arc::downgrade(shared),
        _known: KnownThread::this_one(),
    });
    entries.len() - 1
}

impl Entry {
    fn start_stretch(&mut self, shared: &Shared, now_ns: u64) {
        self.busy_since_ns = now_ns;
        self.busy_as = Turn::now(shared, &self.slot);
        self.unusual.no_worker = self.busy_as.is_none();
        match tokio::runtime::worker_index() {
            Some(worker) if !self.unusual.no_worker => self.slot.stretch.begin(now_ns, worker),
            _ => self.slot.stretch.end(),
        }
        self.wake(shared);
    }

    /// The thread is about to wait for events: it says where, if that was asked.
    fn come_home(&mut self, shared: &Shared) {
        let asked = shared.pools.asked();
        if asked != self.answered {
            self.answered = asked;
            self.slot.home.runtime.store(shared.pools.lend(), Relaxed);
        }
        self.slot.home.is_parked.store(true, Relaxed);
    }

    /// The thread ends, or leaves the loop.
    fn leave_home(&mut self, shared: &Shared) {
        self.answered = 0;
        self.slot.home.is_parked.store(false, Relaxed);
        // Only this thread writes it.
        let runtime = self.slot.home.runtime.load(Relaxed);
        self.slot.home.runtime.store(0, Relaxed);
        shared.leave_runtime(runtime);
    }

    /// Says that polls may begin from now on, if they can be followed.
    fn wake(&mut self, shared: &Shared) {
        if self.gave_up {
            return;
        }
        self.is_awake = true;
        self.slot.awake.wake();
        shared.alarm.ring();
    }

    /// Says that no poll begins before [`Entry::wake`].
    fn rest(&mut self) {
        self.is_awake = false;
        self.slot.awake.rest();
    }

    /// A poll begins on a thread that did not say so: whether it can be followed.
    #[cold]
    fn awaken(&mut self, shared: &Shared, now: Moment) -> bool {
        if self.busy_since_ns == 0 {
            self.start_stretch(shared, shared.clock.ns_at(now));
            // No hook of the probe's said so: it may be a runtime that another builder made.
            let entered = self.busy_as.and_then(|_| tokio_api::current_runtime());
            self.slot.home.entered.store(entered.map_or(0, |(runtime, _)| runtime), Relaxed);
        } else {
            self.wake(shared);
        }
        self.is_awake
    }

    /// A stretch whose worker went on elsewhere, to park there, is nobody's.
    fn end_stretch(&mut self, shared: &Shared, now_ns: u64) {
        let since = std::mem::take(&mut self.busy_since_ns);
        self.slot.stretch.end();
        self.rest();
        if since != 0 && self.busy_as == Turn::now(shared, &self.slot) {
            self.slot.record_stretch(now_ns.saturating_sub(since));
        }
    }

    /// The poll that began at `start_ns` gave the worker to another thread, and this one leaves the loop.
    #[cold]
    fn hand_over(&mut self, start_ns: u64) {
        let since = std::mem::take(&mut self.busy_since_ns);
        self.slot.stretch.end();
        self.rest();
        if since != 0 && since < start_ns {
            self.slot.record_stretch(start_ns - since);
        }
    }

    /// Whether the poll is open, and so has to be closed.
    #[inline]
    fn open(
        &mut self,
        shared: &Shared,
        now: Moment,
        task: u64,
        location: &'static Location<'static>,
        name: NameId,
    ) -> bool {
        if !self.is_awake && !self.awaken(shared, now) {
            return false;
        }
        if !self.slot.polling.is_idle() && !self.nest(shared) {
            return false;
        }
        self.mark = self.spans.begin();
        self.slot.polling.begin(&Frame { start: now, task, name, location, nested_ns: 0 });
        true
    }

    /// A poll begins within the innermost open one: whether it can be followed.
    #[cold]
    fn nest(&mut self, shared: &Shared) -> bool {
        if self.outer.len() + 1 >= MOST_OPEN {
            self.give_up(shared);
            return false;
        }
        self.outer.extend(self.slot.polling.frame().map(|frame| (frame, self.mark)));
        self.unusual.nested = true;
        self.slot.polling.show_idle();
        true
    }

    /// Polls begin here, and none ends: somebody else has the hook that says so, and what this thread does is not known.
    fn give_up(&mut self, shared: &Shared) {
        self.gave_up = true;
        self.slot.polling.show_idle();
        self.rest();
        shared.capture_limits.add(CaptureNote::HookReplaced);
    }

    #[inline]
    fn close(&mut self, shared: &Shared, now: Moment) {
        let Some(frame) = self.slot.polling.frame() else { return };
        let elapsed_ns = shared.clock.elapsed_ns(frame.start, now);
        let ns = elapsed_ns.saturating_sub(frame.nested_ns);
        self.slot.record(frame.location, frame.name, ns);
        if ns >= shared.threshold_ns() {
            self.close_slow(shared, shared.clock.ns_at(now), elapsed_ns, ns);
        }
        self.slot.polling.show_idle();
        if self.unusual.is_any() {
            self.close_unusual(shared, &frame, now, elapsed_ns);
        }
    }

    /// The poll that ended took so long, polls within it included.
    #[cold]
    fn close_unusual(&mut self, shared: &Shared, frame: &Frame, now: Moment, elapsed_ns: u64) {
        if self.unusual.culprits {
            let span = self.spans.only(self.mark);
            if span != 0 {
                self.culprits.was_in(&self.slot.blames, frame.task, shared.clock.ns_at(frame.start), span);
            }
            self.culprits.polled(shared.clock.ns_at(now));
        }
        match self.outer.pop() {
            Some((mut outer, mark)) => {
                outer.nested_ns = outer.nested_ns.saturating_add(elapsed_ns);
                self.mark = mark;
                self.spans.go_on(mark);
                self.slot.polling.begin(&outer);
                self.unusual.nested = !self.outer.is_empty();
            }
            // Nobody says when a thread that is no worker waits.
            None if self.unusual.no_worker => self.rest(),
            None => {}
        }
    }
}

impl Entry {
    /// The poll that ends took so long, polls within it included, and so long without them.
    #[cold]
    fn close_slow(&mut self, shared: &Shared, end_ns: u64, elapsed_ns: u64, ns: u64) {
        let Some(frame) = self.slot.polling.frame() else { return };
        // Tokio answers under a lock: only a slow poll may ask.
        let handed_over = self.outer.is_empty() && tokio_api::handed_over();
        // Not what its beginning is by now: the clock may have been corrected since, and the time between is measured.
        let start_ns = end_ns.saturating_sub(elapsed_ns).max(1);
        let on = self.whereabouts(shared);
        // First: who collects the slow poll finds where its victims are counted.
        if self.slot.tracks_waits && !handed_over {
            let Frame { task, location: spawned_at, start, .. } = frame;
            let culprit = Culprit { task, spawned_at, start, start_ns, end_ns };
            self.culprits.begin(&self.slot.blames, culprit, tokio_api::is_alone());
            self.unusual.culprits = true;
        }
        self.slot.record_slow(&frame, on, start_ns, end_ns, ns, handed_over);
        if handed_over {
            self.hand_over(start_ns);
        }
    }
}

impl Entry {
    /// Which thread this is. Each runtime numbers its workers from 0: the number tells something of a runtime with the probe alone.
    fn whereabouts(&mut self, shared: &Shared) -> On {
        let worker = tokio::runtime::worker_index().and_then(|index| u32::try_from(index).ok());
        let span = self.spans.only(self.mark);
        if worker.is_some() && shared.pools.may_be_in_one() {
            return On { worker, thread: UNNAMED, span };
        }
        if self.name == UNNAMED {
            self.name = std::thread::current().name().map_or(UNNAMED, |name| shared.names.intern(name));
        }
        On { worker: None, thread: self.name, span }
    }

    /// A task is polled that may have waited for a slow poll.
    #[cold]
    fn charge(&mut self, waiter: Waiter) {
        self.culprits.poll(&self.slot.blames, &self.slot.ledger, waiter);
        self.unusual.culprits = self.culprits.are_open();
    }
}

/// A poll begins, says the runtime's hook.
#[inline]
pub(crate) fn begin(
    shared: &Arc<Shared>,
    task: u64,
    location: &'static Location<'static>,
    schedule_latency_ns: Option<u64>,
) {
    with_entry(shared, |entry| {
        let now = shared.clock.now();
        if let Some(ns) = schedule_latency_ns {
            entry.slot.schedule_latency.record(ns, &entry.slot.overflows.schedule_latency);
            if entry.unusual.culprits {
                let now_ns = shared.clock.ns_at(now);
                let ready_ns = now_ns.saturating_sub(ns);
                entry.charge(Waiter { task, spawned_at: location, ready_ns, polled_ns: now_ns });
            }
        }
        entry.open(shared, now, task, location, UNNAMED);
    });
}

/// The innermost open poll ends. One copy of it, so that all of it is in that.
#[inline(never)]
pub(crate) fn end(shared: &Arc<Shared>) {
    let now = shared.clock.now();
    with_entry(shared, |entry| entry.close(shared, now));
}

/// A watched future of `task` is about to be polled. When the innermost open poll is that task's, it only gets
/// its name; otherwise a poll begins, and the answer is `true`: the caller owes an [`end`].
#[inline]
pub(crate) fn begin_watched(
    shared: &Arc<Shared>,
    task: u64,
    location: &'static Location<'static>,
    name: NameId,
) -> bool {
    with_entry(shared, |entry| {
        if entry.name(task, name) {
            return false;
        }
        entry.open(shared, shared.clock.now(), task, location, name)
    })
    .unwrap_or(false)
}

/// Names the innermost open poll, if it is this task's. A thread that polls nothing gets no slot for it.
pub(crate) fn name(shared: &Arc<Shared>, task: u64, name: NameId) {
    let _ = THREAD.try_with(|thread| {
        if let Ok(mut entries) = thread.try_borrow_mut()
            && let Some(entry) = entries.iter_mut().find(|entry| entry.probe == shared.id)
        {
            entry.name(task, name);
        }
    });
}

impl Entry {
    /// Whether the innermost open poll is this task's; it gets the name unless it has one.
    #[inline]
    fn name(&mut self, task: u64, name: NameId) -> bool {
        let polling = &self.slot.polling;
        let Some(frame) = polling.frame().filter(|frame| frame.task == task) else { return false };
        if frame.name == UNNAMED && name != UNNAMED {
            polling.show_name(name);
        }
        true
    }
}

/// The thread is about to wait for events: a busy stretch ends.
pub(crate) fn park(shared: &Arc<Shared>) {
    let now_ns = shared.clock.now_ns();
    with_entry(shared, |entry| {
        entry.end_stretch(shared, now_ns);
        entry.come_home(shared);
        if entry.unusual.culprits {
            entry.culprits.park(&entry.slot.blames, now_ns);
            entry.unusual.culprits = entry.culprits.are_open();
        }
    });
}

/// The thread leaves the loop, as `block_on` does when its future is ready: a worker's busy stretch ends.
pub(crate) fn leave(shared: &Arc<Shared>) {
    let now_ns = shared.clock.now_ns();
    with_entry(shared, |entry| {
        if entry.slot.polling.is_idle() && !entry.unusual.no_worker {
            entry.end_stretch(shared, now_ns);
            entry.leave_home(shared);
        }
    });
}

/// This thread gives back its place in a probe whose last handle is gone, unless it is in a poll. Those of other threads are
/// given back when they end, or first poll under another probe.
pub(crate) fn forget(shared: &Shared) {
    let _ = THREAD.try_with(|thread| {
        if let Ok(mut entries) = thread.try_borrow_mut() {
            entries.retain(|entry| entry.probe != shared.id || !entry.slot.polling.is_idle());
        }
    });
}

/// The thread goes on after waiting for events: a busy stretch begins.
pub(crate) fn unpark(shared: &Arc<Shared>) {
    let now_ns = shared.clock.now_ns();
    with_entry(shared, |entry| {
        entry.start_stretch(shared, now_ns);
        entry.slot.home.is_parked.store(false, Relaxed);
        entry.slot.home.entered.store(0, Relaxed);
        if entry.unusual.culprits {
            entry.culprits.unpark(&entry.slot.blames, now_ns);
            entry.unusual.culprits = entry.culprits.are_open();
        }
    });
}

#[cfg(test)]
mod tests;
