//! What a CPU quota did to a poll.

use std::time::Duration;

/// What the CPU quota of a control group did while a poll went on. Every thread of the group waits once it is used up.
///
/// ```
/// # use std::time::Duration;
/// # use pollscope_base::Quota;
/// let ms = Duration::from_millis;
/// let quota = Quota { allowed: ms(20), period: ms(100), periods: 5, throttled_periods: 5, throttled: ms(410) };
/// assert_eq!(quota.cpus(), 0.2);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
// Not `non_exhaustive`: every instrument makes them.
pub struct Quota {
    /// How much CPU time the group has in each period.
    pub allowed: Duration,
    /// How long a period lasts.
    pub period: Duration,
    /// Periods that ended while the group had something to run, from a little before the poll to a little after it.
    pub periods: u64,
    /// In how many of them it was throttled.
    pub throttled_periods: u64,
    /// For how long it was throttled during the poll, at least; added up over CPUs, but never more than those periods.
    pub throttled: Duration,
}

impl Quota {
    /// The quota in CPUs: 0.2 for a fifth of one.
    pub fn cpus(&self) -> f64 {
        self.allowed.as_nanos() as f64 / self.period.as_nanos() as f64
    }
}
