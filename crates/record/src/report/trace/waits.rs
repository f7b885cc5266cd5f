//! Who waited longest for slow polls, as slices and flows.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use serde_json::json;

use super::{Events, lane, micros, poll_lanes};
use crate::escape::escape;
use crate::recording::{Run, SlowPoll, Waiter};

/// The tasks that waited longest for slow polls, each wait once, and the lane that it is shown in: within one, none overlap.
pub(super) struct Waits<'r> {
    lane_of: BTreeMap<Key, u64>,
    pub(super) lanes: u64,
    /// The lane below the first.
    below: u64,
    /// Tasks that have a name, by id.
    names: BTreeMap<u64, &'r str>,
}

/// Two slow polls can have one wait in common: its wake, its poll, the task.
type Key = (u64, u64, u64);

fn key(waiter: &Waiter) -> Key {
    (waiter.ready_ns, waiter.polled_ns, waiter.task_id)
}

fn end_ns(slow: &SlowPoll) -> u64 {
    slow.start_ns.saturating_add(slow.duration_ns)
}

/// Who waited longest for a slow poll, if it was awake before the end and polled after it. A poll within which others ran seems
/// to end too early, and a file may say anything.
fn waiter(slow: &SlowPoll) -> Option<&Waiter> {
    let end_ns = end_ns(slow);
    slow.worst_waiter().filter(|waiter| waiter.ready_ns < end_ns && waiter.polled_ns >= end_ns)
}

impl<'r> Waits<'r> {
    pub(super) fn of(run: &'r Run) -> Waits<'r> {
        let keys = run.slow_polls.iter().filter_map(|slow| Some((key(waiter(slow)?), 0)));
        let mut lane_of: BTreeMap<Key, u64> = keys.collect();
        let mut free: BinaryHeap<Reverse<(u64, u64)>> = BinaryHeap::new();
        let mut lanes = 0;
        for ((ready_ns, polled_ns, _), lane) in &mut lane_of {
            *lane = match free.peek() {
                Some(Reverse((end_ns, _))) if end_ns <= ready_ns => free.pop().map_or(0, |Reverse((_, lane))| lane),
                _ => {
                    lanes += 1;
                    lanes - 1
                }
            };
            free.push(Reverse((*polled_ns, *lane)));
        }
        let named = run.slow_polls.iter().filter_map(|slow| Some((slow.task_id.get()?, slow.task_name.as_deref()?)));
        let below = poll_lanes(run).last().copied().unwrap_or_default();
        Waits { lane_of, lanes, below, names: named.collect() }
    }

    pub(super) fn tid(&self, lane: u64) -> u64 {
        self.below.saturating_add(1).saturating_add(lane)
    }

    /// A slice for each wait, then a flow to it from each slow poll that it was for.
    pub(super) fn push(&self, run: &Run, pid: u64, run_start_ns: u64, flows: &mut u64, events: &mut Events) {
        let mut shown: BTreeSet<Key> = BTreeSet::new();
        for (slow, waiter) in run.slow_polls.iter().filter_map(|slow| Some((slow, waiter(slow)?))) {
            let tid = self.tid(self.lane_of.get(&key(waiter)).copied().unwrap_or_default());
            let at = |ns: u64| run_start_ns.saturating_add(ns);
            if shown.insert(key(waiter)) {
                let ns = at(waiter.ready_ns);
                let name = self.names.get(&waiter.task_id).map_or("task", |name| name);
                let event = json!({
                    "ph": "X", "cat": "wait", "name": format!("{} waits", escape(name)), "pid": pid, "tid": tid,
                    "ts": micros(ns), "dur": micros(waiter.polled_ns - waiter.ready_ns),
                    "args": { "task_id": waiter.task_id, "spawned_at": escape(&waiter.spawned_at) },
                });
                events.push(ns, &event);
            }
            *flows += 1;
            let mut flow = |ph: &str, ns: u64, tid: u64| {
                let mut event = json!({
                    "ph": ph, "cat": "wait", "name": "made wait", "id": *flows, "pid": pid, "tid": tid, "ts": micros(at(ns)),
                });
                if ph == "f" {
                    // Of the slice around it, not of the next one.
                    event["bp"] = "e".into();
                }
                events.push(at(ns), &event);
            };
            flow("s", waiter.ready_ns.max(slow.start_ns), lane(slow.worker));
            flow("f", end_ns(slow), tid);
        }
    }
}
