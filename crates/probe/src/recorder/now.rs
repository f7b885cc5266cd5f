//! What the threads of a service are doing at this moment.

use std::sync::atomic::Ordering::Relaxed;

use pollscope_base::duration::to_ns;
use pollscope_base::redact::redacted_source;
use pollscope_record::live::{Live, State, Waits, Worker};
use pollscope_record::recording::{Queued, Text};

use super::numbers::Numbers;
use super::seen;
use crate::polling::Frame;
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::worker::Slot;

/// What is so at the moment of the snapshot, and how long tasks waited since the one before.
pub(super) fn live(shared: &Shared, now: &Snapshot, before: &Snapshot, numbers: &mut Numbers) -> Live {
    let now_ns = to_ns(now.at);
    let late = now.polling.iter().filter(|polling| polling.elapsed >= now.slow_poll_threshold);
    let stalls = late.map(|polling| seen::stall(polling, numbers.of_stall(polling, now_ns), now_ns));
    let mut workers: Vec<Worker> = shared.slots().iter().filter_map(|slot| worker(shared, slot)).collect();
    workers.sort_by_key(|worker| (worker.worker.is_none(), worker.runtime, worker.worker));
    let latency = now.schedule_latency.as_ref().zip(before.schedule_latency.as_ref());
    Live {
        at_ns: now_ns,
        up_ns: now_ns,
        workers,
        pool: now.blocking_pool.as_ref().map(seen::pool),
        queued: shared.pools.queued().0.map(|(global, local)| Queued { global, local }),
        // Where no task waited there is nothing to tell.
        schedule_latency: latency.and_then(|(now, before)| {
            let since = now.since(before);
            let at = |q| since.quantile(q).map(to_ns);
            Some(Waits { count: since.count(), p50_ns: at(0.5)?, p99_ns: at(0.99)?, max_ns: since.max_ns? })
        }),
        stalls: stalls.collect(),
    }
}

/// `None` of a thread that ended, or left the loop.
fn worker(shared: &Shared, slot: &Slot) -> Option<Worker> {
    let polling = slot.polling.now();
    let stretch = slot.stretch.now();
    let now_ns = shared.clock.now_ns();
    let (state, for_ns) = match (&polling, stretch) {
        (Some(frame), _) => (State::Polling, Some(shared.own_ns(frame, now_ns))),
        (None, Some((since_ns, _))) => (State::Busy, Some(now_ns.saturating_sub(since_ns))),
        (None, None) if slot.home.is_parked.load(Relaxed) => (State::Parked, None),
        (None, None) if slot.awake.is_awake() => (State::Busy, None),
        (None, None) => return None,
    };
    let runtime = Some(slot.home.runtime.load(Relaxed)).filter(|runtime| *runtime != 0);
    let index = if stretch.is_some() { slot.worker(&shared.pools) } else { slot.stretch.last_worker() };
    let of = |frame: &Frame| {
        let (file, line) = (frame.location.file(), frame.location.line());
        let file = if shared.redacted { redacted_source(file) } else { file.into() };
        Text::from(format!("{file}:{line}"))
    };
    Some(Worker {
        runtime,
        worker: index.map(u64::from),
        thread: shared.thread_name(slot.number).as_deref().map(Text::from),
        state,
        for_ns,
        task_id: polling.as_ref().map(|frame| frame.task).filter(|task| *task != 0),
        task_name: polling.as_ref().and_then(|frame| shared.names.get(frame.name)).as_deref().map(Text::from),
        spawned_at: polling.as_ref().map(of),
        queued: runtime.zip(index).and_then(|(runtime, index)| shared.pools.queued_on(runtime, index as usize)),
    })
}
