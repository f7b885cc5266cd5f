//! Who waited for a slow poll.

use std::fmt;
use std::panic::Location;

/// Who waited while a slow poll held its worker.
///
/// Exact on a current-thread runtime, for spawned tasks. On a multi-thread one it holds those that the same worker polled
/// afterwards; what others waited for is in [`Ledger::unattributed_ns`](crate::Ledger::unattributed_ns).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Blame {
    /// Polls that had to wait for it, each counted once. Those that were ready before it ended, and the late ones.
    pub tasks: u64,
    /// How long those that were ready waited for it, added up, in nanoseconds.
    pub wait_ns: u64,
    /// Of `tasks`, those that the loop made ready only when it looked for timers and sockets again after the poll. Their
    /// events had been asked for before it; when they came in the meantime cannot be known.
    pub late_tasks: u64,
    /// How long all of `tasks` waited at most, in nanoseconds: as `wait_ns` if none was late.
    pub wait_most_ns: u64,
    /// Of `tasks`, the one that became ready during the poll and ran right after it, on a multi-thread runtime, as what is in
    /// the worker's LIFO slot does: it waits for that worker, and no other can take it.
    pub lifo_tasks: u64,
    /// Of those that were ready before it ended, the one that waited longest for it.
    pub worst: Option<Waited>,
}

/// A task that waited, from its wake to its poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waited {
    /// Tokio's task id.
    pub task_id: u64,
    /// Where it was spawned.
    pub spawned_at: &'static Location<'static>,
    /// When it became ready: nanoseconds since the installation.
    pub ready_ns: u64,
    /// When it was polled, likewise.
    pub polled_ns: u64,
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasks = if self.tasks == 1 { "task" } else { "tasks" };
        let seconds = |ns: u64| ns as f64 / 1e9;
        let most = if self.late_tasks == 0 { String::new() } else { format!(" to {:.3}", seconds(self.wait_most_ns)) };
        write!(f, "made {} {tasks} wait {:.3}{most} s in all", self.tasks, seconds(self.wait_ns))?;
        if self.lifo_tasks > 0 { write!(f, " ({} in the LIFO slot)", self.lifo_tasks) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_says_who_waited_and_how_long() {
        let blame = Blame { tasks: 5, wait_ns: 2_100_000_000, wait_most_ns: 2_100_000_000, ..Blame::default() };
        assert_eq!(blame.to_string(), "made 5 tasks wait 2.100 s in all");
        let late = Blame { tasks: 6, late_tasks: 1, wait_most_ns: 2_600_000_000, ..blame };
        assert_eq!(late.to_string(), "made 6 tasks wait 2.100 to 2.600 s in all");
        let next = Blame { lifo_tasks: 1, ..blame };
        assert_eq!(next.to_string(), "made 5 tasks wait 2.100 s in all (1 in the LIFO slot)");
    }
}
