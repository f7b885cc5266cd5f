use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::snapshot::Snapshot;

const MS: u64 = 1_000_000;

fn shared() -> Arc<Shared> {
    Arc::new(Shared::new(Clock::manual(), 100 * MS, 1_000))
}

fn durations(snapshot: &Snapshot) -> Vec<(Option<u64>, u128)> {
    snapshot.slow_polls.iter().map(|poll| (poll.task_id, poll.duration.as_millis())).collect()
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
    assert_eq!(
        polling.iter().map(|p| (p.task_id, p.elapsed)).collect::<Vec<_>>(),
        [(Some(3), Duration::from_millis(40))]
    );
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
    let open = with_entry(&shared, |entry| entry.outer.len() + usize::from(!entry.slot.polling.is_idle()));
    let snapshot = shared.snapshot();
    assert_eq!((open, snapshot.polls.count(), snapshot.polling.len()), (Some(MOST_OPEN - 1), 0, 0));
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

/// The next thread of a slot has cells of its own for who waited.
#[test]
fn who_waited_for_a_thread_that_ended_is_kept() {
    if !tokio_api::TOKIO_UNSTABLE {
        return;
    }
    let shared = shared();
    let slow_poll = |task| {
        let shared = Arc::clone(&shared);
        let polls = move || {
            begin(&shared, task, Location::caller(), Some(0));
            shared.clock.advance(200 * MS);
            end(&shared);
            begin(&shared, task + 1, Location::caller(), Some(150 * MS));
            end(&shared);
        };
        std::thread::spawn(polls).join().unwrap();
    };
    slow_poll(1);
    slow_poll(11);
    assert_eq!(shared.slot_count(), 1);
    let polls = shared.snapshot().slow_polls;
    let waited = |poll: &crate::SlowPoll| poll.blame.as_ref().map(|blame| (blame.tasks, blame.wait.as_millis()));
    assert_eq!(polls.iter().map(waited).collect::<Vec<_>>(), [Some((1, 150)); 2]);
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
