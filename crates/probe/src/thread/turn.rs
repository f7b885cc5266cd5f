//! Which worker a thread is, for whoever asks whether it still is.

use crate::shared::Shared;
use crate::worker::Slot;

/// Which worker the thread is, and how often that worker had parked. While both stay the same, no other thread ran that
/// worker into a park: `block_in_place` hands a worker to another thread, `block_on` on another one takes a current-thread
/// runtime's, and not every build can tell when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// No other thread was any worker so far: there is nothing to ask. As soon as one is, no such turn is worth anything.
    Only,
    Worker {
        worker: usize,
        parks: u64,
    },
}

impl Turn {
    /// `None` on a thread that is not a worker.
    pub(super) fn now(shared: &Shared, slot: &Slot) -> Option<Turn> {
        let worker = tokio::runtime::worker_index()?;
        if shared.is_only_worker(slot.number) {
            return Some(Turn::Only);
        }
        let metrics = tokio::runtime::Handle::try_current().ok()?.metrics();
        // The current handle can be another runtime's, where user code entered one.
        (worker < metrics.num_workers()).then(|| Turn::Worker { worker, parks: metrics.worker_park_count(worker) })
    }
}
