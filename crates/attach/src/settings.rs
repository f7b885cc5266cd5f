//! How a process is looked at.

use std::time::Duration;

/// How often a process is looked at in a second: 1 to 1,000.
///
/// ```
/// use pollscope_attach::Hz;
/// assert_eq!(Hz::new(100).map(Hz::get), Some(100));
/// assert!(Hz::new(0).is_none() && Hz::new(1_001).is_none());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hz(u32);

impl Hz {
    /// `None` where there is no such frequency.
    pub fn new(hz: u32) -> Option<Hz> {
        (1..=1_000).contains(&hz).then_some(Hz(hz))
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }

    pub(crate) fn period(self) -> Duration {
        Duration::from_secs(1) / self.0
    }
}

/// How a process is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How often.
    pub hz: Hz,
    /// From how long on a poll is slow. What lasts for less than three looks is not seen for sure.
    pub slow: Duration,
}

impl Default for Settings {
    /// A hundred looks a second, and slow from 100 ms on.
    fn default() -> Settings {
        Settings { hz: Hz(100), slow: Duration::from_millis(100) }
    }
}
