//! What came between one look at a probe and the next.

use super::Probe;
use crate::snapshot::Snapshot;

/// What a probe saw, an interval at a time. It never ends, and is a handle of the probe. Made by [`Probe::intervals`].
#[derive(Debug, Clone)]
#[must_use = "an interval is only read when it is asked for"]
pub struct Intervals {
    probe: Probe,
    last: Snapshot,
}

impl Probe {
    /// What is seen from now on, an interval at a time: each snapshot has what came since the one before, as [`Snapshot::since`]
    /// tells it; the first, since this call. How long an interval is, is up to you: ask once a minute, say.
    ///
    /// ```
    /// # use pollscope_probe::Probe;
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().install(&mut runtime)?;
    /// let runtime = runtime.build()?;
    /// runtime.block_on(probe.watch(async {})); // before, and so in no interval
    ///
    /// let mut intervals = probe.intervals();
    /// (0..3).for_each(|_| runtime.block_on(probe.watch(async {})));
    /// assert_eq!(intervals.next().map(|interval| interval.polls.count()), Some(3));
    /// runtime.block_on(probe.watch(async {}));
    /// assert_eq!(intervals.next().map(|interval| interval.polls.count()), Some(1));
    /// assert_eq!(intervals.next().map(|interval| interval.polls.count()), Some(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn intervals(&self) -> Intervals {
        Intervals { probe: self.clone(), last: self.snapshot() }
    }
}

impl Iterator for Intervals {
    type Item = Snapshot;

    fn next(&mut self) -> Option<Snapshot> {
        let now = self.probe.snapshot();
        let since = now.since(&self.last);
        self.last = now;
        Some(since)
    }
}
