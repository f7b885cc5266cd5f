//! Who waited for whom.

/// Who waited for whom: by the spawn sites of slow polls, and of the tasks that had to wait for them.
///
/// All that tasks waited for the loop is in it: the `wait_ns` of all charges and `unattributed_ns` add up to the sum of the times
/// from wake to poll.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The longest waits first.
    pub charges: Vec<Charge>,
    /// What tasks waited otherwise, in nanoseconds: for polls that were not slow, for the scheduler, or, on a multi-thread
    /// runtime, for a slow poll on another worker than the one that polled them in the end.
    pub unattributed_ns: u64,
}

/// What tasks spawned at one place waited for slow polls of tasks spawned at another, or at the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// `file:line` of the slow polls' tasks; `None` for the pairs beyond the table's size, all together.
    pub culprit: Option<String>,
    /// `file:line` of the tasks that waited; `None` likewise.
    pub waiter: Option<String>,
    /// How many polls had to wait; one that waited for two slow polls counts twice.
    pub tasks: u64,
    /// How long those that were ready waited, in nanoseconds.
    pub wait_ns: u64,
    /// Of `tasks`, the late ones: see [`Blame::late_tasks`](crate::Blame::late_tasks).
    pub late_tasks: u64,
    /// How long all of them waited at most, in nanoseconds.
    pub wait_most_ns: u64,
}

impl Ledger {
    /// What came after `earlier`, an older state of the same ledger.
    pub fn since(&self, earlier: &Ledger) -> Ledger {
        let before = |charge: &Charge| {
            earlier.charges.iter().find(|e| (&e.culprit, &e.waiter) == (&charge.culprit, &charge.waiter))
        };
        let charges = self.charges.iter().map(|charge| match before(charge) {
            None => charge.clone(),
            Some(before) => Charge {
                tasks: charge.tasks.saturating_sub(before.tasks),
                wait_ns: charge.wait_ns.saturating_sub(before.wait_ns),
                late_tasks: charge.late_tasks.saturating_sub(before.late_tasks),
                wait_most_ns: charge.wait_most_ns.saturating_sub(before.wait_most_ns),
                ..charge.clone()
            },
        });
        Ledger {
            charges: charges.filter(|charge| charge.tasks > 0 || charge.wait_most_ns > 0).collect(),
            unattributed_ns: self.unattributed_ns.saturating_sub(earlier.unattributed_ns),
        }
    }
}
