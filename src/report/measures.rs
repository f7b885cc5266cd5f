//! The durations that reports show of each mode.

use crate::pooled::Pooled;
use crate::recording::Dist;

/// Its name, and a mode's distribution of it; `None` where it was not measured.
pub(super) type Measure = (&'static str, fn(&Pooled<'_>) -> Option<Dist>);

pub(super) const MEASURES: [Measure; 5] = [
    ("poll time", |mode| Some(mode.polls.clone())),
    ("schedule latency", |mode| mode.schedule_latency.clone()),
    ("loop lag", |mode| mode.lag.clone()),
    ("response time", |mode| mode.response_time.clone()),
    ("write latency", |mode| mode.write_latency.clone()),
];
