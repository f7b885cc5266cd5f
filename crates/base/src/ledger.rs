//! Who waited for whom.

use std::time::Duration;

/// Who waited for whom: by the spawn sites of slow polls, and of the tasks that had to wait for them.
///
/// All that tasks waited for the loop is in it: the `wait` of all charges and `unattributed` add up to the sum of the times
/// from wake to poll.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Ledger {
    /// The longest waits first.
    pub charges: Vec<Charge>,
    /// What tasks waited otherwise: for polls that were not slow, for the scheduler, or, on a multi-thread
    /// runtime, for a slow poll on another worker than the one that polled them in the end.
    pub unattributed: Duration,
}

/// What tasks spawned at one place waited for slow polls of tasks spawned at another, or at the same.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Charge {
    /// `file:line` of the slow polls' tasks; `None` for the pairs beyond the table's size, all together.
    pub culprit: Option<String>,
    /// `file:line` of the tasks that waited; `None` likewise.
    pub waiter: Option<String>,
    /// How many polls had to wait; one that waited for two slow polls counts twice.
    pub tasks: u64,
    /// How long those that were ready waited.
    pub wait: Duration,
    /// Of `tasks`, the late ones: see [`Blame::late_tasks`](crate::Blame::late_tasks).
    pub late_tasks: u64,
    /// How long all of them waited at most.
    pub wait_most: Duration,
}

impl Charge {
    /// Nobody has waited yet, of these two places.
    pub fn new(culprit: Option<String>, waiter: Option<String>) -> Charge {
        Charge { culprit, waiter, tasks: 0, wait: Duration::ZERO, late_tasks: 0, wait_most: Duration::ZERO }
    }
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
                wait: charge.wait.saturating_sub(before.wait),
                late_tasks: charge.late_tasks.saturating_sub(before.late_tasks),
                wait_most: charge.wait_most.saturating_sub(before.wait_most),
                ..charge.clone()
            },
        });
        Ledger {
            charges: charges.filter(|charge| charge.tasks > 0 || !charge.wait_most.is_zero()).collect(),
            unattributed: self.unattributed.saturating_sub(earlier.unattributed),
        }
    }
}
