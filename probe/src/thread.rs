//! A thread's own side of its slots: which polls it is in. Nothing here is shared, so nothing here is locked.

use std::cell::RefCell;
use std::panic::Location;
use std::sync::atomic::Ordering::{Release, SeqCst};
use std::sync::{Arc, Weak};

use crate::blame::{Culprit, Culprits, Waiter};
use crate::hooks;
use crate::names::{NameId, UNNAMED};
use crate::notes::CaptureNote;
use crate::polling::Frame;
use crate::shared::Shared;
use crate::worker::Slot;

thread_local! {
    static THREAD: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
}

/// So many polls are within one another at most. Each takes an executor within a poll, and what nests deeper was never closed.
const MOST_OPEN: usize = 64;

/// This thread's place in one probe.
struct Entry {
    probe: u64,
    shared: Weak<Shared>,
    slot: Arc<Slot>,
    /// The open polls, outermost first; more than one where an executor runs within a poll.
    frames: Vec<Frame>,
    /// Whether there are so many of them that no further poll is followed.
    gave_up: bool,
    /// When the thread was unparked, or first polled; 0 while it is parked.
    busy_since_ns: u64,
    /// What the thread was then.
    busy_as: Option<Turn>,
    /// The last slow polls, while there may be tasks that waited for them.
    culprits: Culprits,
}

/// Which worker the thread is, and how often that worker had parked. While both stay the same, no other thread ran that
/// worker into a park: `block_in_place` hands a worker to another thread, and not every build can tell when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    worker: usize,
    parks: u64,
}

impl Turn {
    /// `None` on a thread that is not a worker.
    fn now() -> Option<Turn> {
        let worker = tokio::runtime::worker_index()?;
        let metrics = tokio::runtime::Handle::try_current().ok()?.metrics();
        // The current handle can be another runtime's, where user code entered one.
        (worker < metrics.num_workers()).then(|| Turn { worker, parks: metrics.worker_park_count(worker) })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            self.slot.polling.show_idle();
            self.rest();
            self.slot.tid.store(0, std::sync::atomic::Ordering::Relaxed);
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
            let index = match entries.iter().position(|entry| entry.probe == shared.id) {
                Some(index) => index,
                None => register(&mut entries, shared),
            };
            Some(f(&mut entries[index]))
        })
        .ok()
        .flatten()
}

#[cold]
fn register(entries: &mut Vec<Entry>, shared: &Arc<Shared>) -> usize {
    entries.retain(|entry| entry.shared.strong_count() > 0);
    let slot = shared.take_slot();
    #[cfg(feature = "capture")]
    slot.tid.store(pollscope_stacks::thread::ThreadRef::current().tid, std::sync::atomic::Ordering::Relaxed);
    entries.push(Entry {
        probe: shared.id,
        shared: Arc::downgrade(shared),
        slot,
        frames: Vec::with_capacity(8),
        gave_up: false,
        busy_since_ns: 0,
        busy_as: None,
        culprits: Culprits::new(),
    });
    entries.len() - 1
}

impl Entry {
    #[cold]
    fn start_stretch(&mut self, shared: &Shared, now_ns: u64) {
        self.busy_since_ns = now_ns;
        self.busy_as = Turn::now();
        self.wake(shared);
    }

    /// Says that polls may begin from now on.
    #[cold]
    fn wake(&self, shared: &Shared) {
        self.slot.is_awake.store(true, SeqCst);
        #[cfg(feature = "capture")]
        shared.alarm.ring();
        #[cfg(not(feature = "capture"))]
        let _ = shared;
    }

    /// Says that no poll begins before [`Entry::wake`].
    fn rest(&self) {
        self.slot.is_awake.store(false, Release);
    }

    /// A stretch whose worker went on elsewhere, to park there, is nobody's.
    fn end_stretch(&mut self, now_ns: u64) {
        let since = std::mem::take(&mut self.busy_since_ns);
        self.rest();
        if since != 0 && self.busy_as == Turn::now() {
            self.slot.busy_stretches.record(now_ns.saturating_sub(since));
        }
    }

    /// The poll that began at `start_ns` gave the worker to another thread, and this one leaves the loop.
    #[cold]
    fn hand_over(&mut self, start_ns: u64) {
        let since = std::mem::take(&mut self.busy_since_ns);
        self.rest();
        if since != 0 && since < start_ns {
            self.slot.busy_stretches.record(start_ns - since);
        }
    }

    /// Whether the poll is open, and so has to be closed.
    #[inline]
    fn open(
        &mut self,
        shared: &Shared,
        now_ns: u64,
        task: u64,
        location: &'static Location<'static>,
        name: NameId,
    ) -> bool {
        if self.frames.len() >= MOST_OPEN {
            self.give_up(shared);
            return false;
        }
        if self.busy_since_ns == 0 {
            self.start_stretch(shared, now_ns);
        } else if self.busy_as.is_none() && self.frames.is_empty() {
            self.wake(shared);
        }
        let frame = Frame { start_ns: now_ns, task, name, location, nested_ns: 0 };
        self.slot.polling.show(&frame);
        self.frames.push(frame);
        true
    }

    /// Polls begin here, and none ends: somebody else has the hook that says so, and what this thread does is not known.
    #[cold]
    fn give_up(&mut self, shared: &Shared) {
        if !std::mem::replace(&mut self.gave_up, true) {
            self.slot.polling.show_idle();
            self.rest();
            shared.notes.add(CaptureNote::HookReplaced);
        }
    }

    #[inline]
    fn close(&mut self, now_ns: u64, threshold_ns: u64) {
        let Some(frame) = self.frames.pop() else { return };
        let elapsed = now_ns.saturating_sub(frame.start_ns);
        let ns = elapsed.saturating_sub(frame.nested_ns);
        self.slot.record(&frame, ns);
        self.culprits.polled(now_ns);
        if ns >= threshold_ns {
            self.close_slow(&frame, now_ns, ns);
        }
        match self.frames.last_mut() {
            None => {
                self.slot.polling.show_idle();
                // Nobody says when a thread that is no worker waits.
                if self.busy_as.is_none() {
                    self.rest();
                }
            }
            Some(outer) => {
                outer.nested_ns = outer.nested_ns.saturating_add(elapsed);
                self.slot.polling.show(outer);
            }
        }
    }
}

impl Entry {
    #[cold]
    fn close_slow(&mut self, frame: &Frame, now_ns: u64, ns: u64) {
        // Tokio answers under a lock: only a slow poll may ask.
        let handed_over = self.frames.is_empty() && hooks::handed_over();
        self.slot.record_slow(frame, now_ns, ns, handed_over);
        if handed_over {
            self.hand_over(frame.start_ns);
        } else if self.slot.tracks_waits {
            let Frame { task, location: spawned_at, start_ns, .. } = *frame;
            let culprit = Culprit { task, spawned_at, start_ns, end_ns: now_ns };
            self.culprits.begin(&self.slot.blames, culprit, hooks::is_alone());
        }
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
        let now_ns = shared.clock.now_ns();
        if let Some(ns) = schedule_latency_ns {
            entry.slot.schedule_latency.record(ns);
            if entry.culprits.are_open() {
                let ready_ns = now_ns.saturating_sub(ns);
                let waiter = Waiter { task, spawned_at: location, ready_ns, polled_ns: now_ns };
                entry.culprits.poll(&entry.slot.blames, &entry.slot.ledger, waiter);
            }
        }
        entry.open(shared, now_ns, task, location, UNNAMED);
    });
}

/// The innermost open poll ends.
#[inline]
pub(crate) fn end(shared: &Arc<Shared>) {
    let now_ns = shared.clock.now_ns();
    with_entry(shared, |entry| entry.close(now_ns, shared.threshold_ns()));
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
        entry.open(shared, shared.clock.now_ns(), task, location, name)
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
        match self.frames.last_mut() {
            Some(frame) if frame.task == task => {
                if frame.name == UNNAMED && name != UNNAMED {
                    frame.name = name;
                    self.slot.polling.show_name(name);
                }
                true
            }
            _ => false,
        }
    }
}

/// The thread is about to wait for events: a busy stretch ends.
pub(crate) fn park(shared: &Arc<Shared>) {
    let now_ns = shared.clock.now_ns();
    with_entry(shared, |entry| {
        entry.end_stretch(now_ns);
        entry.culprits.park(&entry.slot.blames, now_ns);
    });
}

/// The thread leaves the loop, as `block_on` does when its future is ready: a worker's busy stretch ends.
pub(crate) fn leave(shared: &Arc<Shared>) {
    let now_ns = shared.clock.now_ns();
    with_entry(shared, |entry| {
        if entry.frames.is_empty() && entry.busy_as.is_some() {
            entry.end_stretch(now_ns);
        }
    });
}

/// This thread gives back its place in a probe whose last handle is gone, unless it is in a poll. Those of other threads are
/// given back when they end, or first poll under another probe.
pub(crate) fn forget(shared: &Shared) {
    let _ = THREAD.try_with(|thread| {
        if let Ok(mut entries) = thread.try_borrow_mut() {
            entries.retain(|entry| entry.probe != shared.id || !entry.frames.is_empty());
        }
    });
}

/// The thread goes on after waiting for events: a busy stretch begins.
pub(crate) fn unpark(shared: &Arc<Shared>) {
    let now_ns = shared.clock.now_ns();
    with_entry(shared, |entry| {
        entry.start_stretch(shared, now_ns);
        entry.culprits.unpark(&entry.slot.blames, now_ns);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::snapshot::Snapshot;

    const MS: u64 = 1_000_000;

    fn shared() -> Arc<Shared> {
        Arc::new(Shared::new(Clock::manual(), 100 * MS, 1_000))
    }

    fn durations(snapshot: &Snapshot) -> Vec<(Option<u64>, u64)> {
        snapshot.slow_polls.iter().map(|poll| (poll.task_id, poll.duration_ns / MS)).collect()
    }

    #[test]
    fn a_poll_at_the_threshold_is_slow_and_one_below_is_not() {
        let shared = shared();
        for ns in [100 * MS - 1, 100 * MS] {
            begin(&shared, 1, Location::caller(), None);
            shared.clock.advance(ns);
            end(&shared);
        }
        let snapshot = shared.snapshot();
        assert_eq!((snapshot.polls.count(), snapshot.slow_polls_total), (2, 1));
        assert_eq!(snapshot.polls.max_ns, Some(100 * MS));
    }

    #[test]
    fn a_poll_within_a_poll_is_charged_once() {
        let shared = shared();
        assert!(begin_watched(&shared, 0, Location::caller(), UNNAMED), "the root has no poll of its own yet");
        shared.clock.advance(150 * MS);
        assert!(begin_watched(&shared, 9, Location::caller(), UNNAMED), "a LocalSet task within the root");
        shared.clock.advance(300 * MS);
        end(&shared);
        shared.clock.advance(MS);
        end(&shared);
        let snapshot = shared.snapshot();
        assert_eq!(durations(&snapshot), [(Some(9), 300), (None, 151)]);
        assert_eq!(snapshot.polls.sum_ns, 451 * MS);
    }

    #[test]
    fn watching_a_task_that_the_hooks_see_only_names_it() {
        let shared = shared();
        let name_id = shared.names.intern("writer");
        begin(&shared, 7, Location::caller(), None);
        assert!(!begin_watched(&shared, 7, Location::caller(), name_id));
        assert!(!begin_watched(&shared, 7, Location::caller(), shared.names.intern("inner")));
        shared.clock.advance(200 * MS);
        end(&shared);
        let snapshot = shared.snapshot();
        assert_eq!(snapshot.polls.count(), 1);
        assert_eq!(snapshot.slow_polls[0].task_name.as_deref(), Some("writer"));
    }

    #[test]
    fn a_busy_stretch_lasts_from_unpark_to_park() {
        let shared = shared();
        unpark(&shared);
        for _ in 0..30 {
            begin(&shared, 1, Location::caller(), Some(5));
            shared.clock.advance(10 * MS);
            end(&shared);
        }
        park(&shared);
        park(&shared);
        let snapshot = shared.snapshot();
        assert_eq!(snapshot.slow_polls_total, 0);
        let stretches = &snapshot.busy_stretches;
        assert_eq!((stretches.count(), stretches.max_ns), (1, Some(300 * MS)));
    }

    #[test]
    fn what_is_polled_now_can_be_seen_from_another_thread() {
        let shared = shared();
        begin(&shared, 3, Location::caller(), None);
        shared.clock.advance(40 * MS);
        let polling = std::thread::scope(|scope| scope.spawn(|| shared.snapshot().polling).join().unwrap());
        assert_eq!(polling.iter().map(|p| (p.task_id, p.for_ns)).collect::<Vec<_>>(), [(Some(3), 40 * MS)]);
        end(&shared);
        assert!(shared.snapshot().polling.is_empty());
    }

    /// As when the hook for a poll's end was replaced: no memory without end, and no stall that is none.
    #[test]
    fn polls_that_never_end_are_given_up_and_it_is_said_once() {
        let shared = shared();
        for task in 1..10_000 {
            begin(&shared, task, Location::caller(), None);
        }
        let open = with_entry(&shared, |entry| entry.frames.len());
        let snapshot = shared.snapshot();
        assert_eq!((open, snapshot.polls.count(), snapshot.polling.len()), (Some(MOST_OPEN), 0, 0));
        assert_eq!(snapshot.capture_notes, [CaptureNote::HookReplaced]);
        assert!(!begin_watched(&shared, 0, Location::caller(), UNNAMED), "nothing to close");
    }

    #[test]
    fn naming_on_a_thread_that_polls_nothing_takes_no_slot() {
        let shared = shared();
        name(&shared, 7, shared.names.intern("dropped"));
        assert_eq!(shared.slot_count(), 0);
    }

    #[test]
    fn a_thread_that_forgets_a_probe_gives_its_slot_back() {
        let (shared, other) = (shared(), shared());
        for shared in [&shared, &other] {
            begin(shared, 1, Location::caller(), None);
            forget(shared);
            end(shared);
            assert_eq!(shared.snapshot().polls.count(), 1, "not in a poll");
        }
        let slot = Arc::downgrade(&shared.slots()[0]);
        forget(&shared);
        assert_eq!(slot.strong_count(), 1 + 1, "the probe's, twice");
        begin(&shared, 2, Location::caller(), None);
        end(&shared);
        assert_eq!((shared.slot_count(), shared.snapshot().polls.count()), (1, 2), "it goes on where it was");
        forget(&shared);
        drop(shared);
        assert!(slot.upgrade().is_none());
        let kept = THREAD.with(|thread| thread.borrow().iter().map(|entry| entry.probe).collect::<Vec<_>>());
        assert_eq!(kept, [other.id]);
    }

    #[test]
    fn threads_that_come_and_go_reuse_slots() {
        let shared = shared();
        for _ in 0..20 {
            let shared = Arc::clone(&shared);
            // Joined, not scoped: a scope does not wait for a thread's locals to be dropped.
            let thread = std::thread::spawn(move || {
                begin(&shared, 1, Location::caller(), None);
                end(&shared);
            });
            thread.join().unwrap();
        }
        assert_eq!(shared.snapshot().polls.count(), 20);
        assert_eq!(shared.slot_count(), 1);
    }
}
