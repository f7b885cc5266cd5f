//! Expectations about a recording, such as `naive.slow_polls >= 3`: parsed here, judged against runs.

/// A parsed expectation.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate;
