//! The time around a poll that took very long, more finely than in intervals.

use serde::{Deserialize, Serialize};

use super::Queued;

/// About a tenth of a second of a run, near a poll that took many times the threshold. It is part of an interval, and adds nothing to
/// any sum.
///
/// ```
/// use pollscope_record::recording::Fine;
/// let fine = Fine { start_ns: 100, end_ns: 300, busy_ns: 150, late: 1, queued: None, pool_queued: None };
/// assert_eq!(fine.busy_share(2), Some(0.375));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fine {
    /// Since the run's start, in nanoseconds.
    pub start_ns: u64,
    /// When it ended, likewise.
    pub end_ns: u64,
    /// How long all workers together were in polls, in nanoseconds: also in those that had not ended.
    pub busy_ns: u64,
    /// Polls that had gone on for the threshold or longer at its end.
    pub late: u64,
    /// What waited to be polled at its end; `None` where nobody could see it.
    pub queued: Option<Queued>,
    /// Closures that waited for a thread of the blocking pool at its end; `None` where nobody could see it.
    pub pool_queued: Option<u64>,
}

impl Fine {
    /// Which part of the time of so many workers polls took; `None` if no time passed.
    pub fn busy_share(&self, workers: u64) -> Option<f64> {
        let available = self.end_ns.saturating_sub(self.start_ns) as f64 * workers as f64;
        (available > 0.0).then(|| self.busy_ns as f64 / available)
    }
}
