//! Who waited for a slow poll.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// Who waited while a slow poll held its worker.
///
/// Exact on a current-thread runtime, for spawned tasks. On a multi-thread one it holds those that the same worker polled
/// afterwards; what others waited for is in [`Ledger::unattributed`](crate::Ledger::unattributed).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Blame {
    /// Polls that had to wait for it, each counted once. Those that were ready before it ended, and the late ones.
    pub tasks: u64,
    /// How long those that were ready waited for it, added up.
    pub wait: Duration,
    /// Of `tasks`, those that the loop made ready only when it looked for timers and sockets again after the poll. Their
    /// events had been asked for before it; when they came in the meantime cannot be known.
    pub late_tasks: u64,
    /// How long all of `tasks` waited at most: as `wait` if none was late.
    pub wait_most: Duration,
    /// Of `tasks`, the one that became ready during the poll and ran right after it, on a multi-thread runtime, as what is in
    /// the worker's LIFO slot does: it waits for that worker, and no other can take it.
    pub lifo_tasks: u64,
    /// Of those that were ready before it ended, the one that waited longest for it.
    pub worst: Option<Waited>,
}

/// A task that waited, from its wake to its poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Waited {
    /// Tokio's task id.
    pub task_id: u64,
    /// Where it was spawned.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::place::serialize"))]
    pub spawned_at: &'static Location<'static>,
    /// When it became ready, from the installation on.
    pub ready_at: Duration,
    /// When it was polled, likewise.
    pub polled_at: Duration,
}

impl Waited {
    /// A task of that spawn site, which became ready then and was polled then.
    pub fn new(
        task_id: u64,
        spawned_at: &'static Location<'static>,
        ready_at: Duration,
        polled_at: Duration,
    ) -> Waited {
        Waited { task_id, spawned_at, ready_at, polled_at }
    }
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasks = if self.tasks == 1 { "task" } else { "tasks" };
        let [least, most] = [self.wait, self.wait_most].map(|wait| format!("{:.3}", wait.as_secs_f64()));
        let wait = match () {
            () if self.late_tasks == 0 => least,
            // What is known to be nothing is no lower end.
            () if self.wait.is_zero() => format!("up to {most}"),
            () => format!("{least} to {most}"),
        };
        write!(f, "made {} {tasks} wait {wait} s in all", self.tasks)?;
        if self.lifo_tasks > 0 { write!(f, " ({} in the LIFO slot)", self.lifo_tasks) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_says_who_waited_and_how_long() {
        let wait = Duration::from_millis(2_100);
        let blame = Blame { tasks: 5, wait, wait_most: wait, ..Blame::default() };
        assert_eq!(blame.to_string(), "made 5 tasks wait 2.100 s in all");
        let late = Blame { tasks: 6, late_tasks: 1, wait_most: Duration::from_millis(2_600), ..blame };
        assert_eq!(late.to_string(), "made 6 tasks wait 2.100 to 2.600 s in all");
        let at_most = Blame { wait: Duration::ZERO, ..late };
        assert_eq!(at_most.to_string(), "made 6 tasks wait up to 2.600 s in all");
        let next = Blame { lifo_tasks: 1, ..blame };
        assert_eq!(next.to_string(), "made 5 tasks wait 2.100 s in all (1 in the LIFO slot)");
    }
}
