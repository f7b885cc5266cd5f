//! What became of the lines.

/// Lines written of slow polls. Together they are as many as the slow polls, once all are delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
// Not `non_exhaustive`: who reads recordings makes them.
pub struct Lines {
    /// Written.
    pub printed: u64,
    /// Held back by the rate limit, for want of room or of a writer, or because writing failed.
    pub suppressed: u64,
}
