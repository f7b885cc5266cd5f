//! Expectations about a recording, such as `naive.slow_polls >= 3`: parsed here, judged against runs.
//!
//! # The grammar
//!
//! ```text
//! gate   = metric op value
//! metric = [group "."] name ["." stat]
//! group  = word | '"' text '"'
//! op     = "<" | "<=" | ">" | ">=" | "==" | "!="
//! value  = duration | number | percentage | size | word | [factor "*"] metric
//! ```
//!
//! | name | stat | value |
//! |---|---|---|
//! | `polls` `schedule_latency` `lag` `lag_raw` `response_time` `write_latency` `busy_stretches` | `count` | a number |
//! | the same | `min` `p50` `p90` `p99` `p999` `max` `mean` | a duration, such as `10ms` |
//! | `slow_polls` `slow_polls_dropped` | – | a number |
//! | `merge.inputs` `.lines` `.lost` `.duplicated` `.reordered` `.torn` `.foreign` | – | a number |
//! | `merge.bytes` | – | a number or a size, such as `64KiB` |
//! | `merge.verdict` (only `==` and `!=`) | – | `ok`, `failed` or `unverifiable` |
//! | `busy`: the sum of all polls over the elapsed time; four workers can reach 400 % | – | `50%` or `0.5` |
//! | `throughput`: merged bytes a second | – | a number or a size, such as `1MB` or `1MB/s` |
//!
//! # What it means
//!
//! - A group is what a recording puts runs together by: a mode of the lab, the label of a service. One that is no plain word, or
//!   has the name of a metric, stands in quotes.
//! - Without a group, it must hold in every group. On the right, a metric without a group has the group of the left.
//! - A group that ran several rounds: a count and the verdict are judged in every round, so that a gate means the
//!   same whatever the number of rounds. Distributions are merged; `busy` and `throughput` are those of all rounds
//!   together. When two counts are compared with each other, both are summed over the rounds.
//! - What was not measured, a group that did not run and a run that was cut short make it inconclusive, never passed. Where that
//!   shows beforehand, [`Gate::check_groups`] and [`Gate::check_known`] refuse it.
//! - A percentile that misses its limit by less than its own 95 % interval (from the ranks of its samples) is
//!   inconclusive too: the run was too short to tell.
//! - Of two recordings that are compared the second one is judged, with all its groups: names mean what they mean in any
//!   recording, and what is better or worse than the first is the comparison's to say.
//!
//! ```
//! use pollscope_record::gate::Gate;
//!
//! for text in ["lag.p99 < 10ms", "naive.slow_polls >= 3", "busy < 50%", "merge.verdict == ok"] {
//!     assert_eq!(Gate::parse(text)?.to_string(), text);
//! }
//! assert!(Gate::parse("offloaded.lag.p99 < 0.1 * naive.lag.p99").is_ok());
//! assert!(Gate::parse("lag < 10ms").is_err(), "lag has several statistics");
//! # Ok::<(), pollscope_record::gate::GateError>(())
//! ```

mod judge;
mod metric;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

use self::metric::{Group, Metric, Op, Right};
use crate::snippet::{Snippet, printable};

/// A parsed expectation.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    text: String,
    left: Metric,
    op: Op,
    right: Right,
}

impl Gate {
    /// The groups that it names; none when it speaks of every group.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.named_groups().map(|group| group.name.as_str())
    }

    fn named_groups(&self) -> impl Iterator<Item = &Group> {
        let right = match &self.right {
            Right::Times(_, metric) => metric.group.as_ref(),
            Right::Number(_) | Right::Verdict(_) => None,
        };
        self.left.group.iter().chain(right)
    }
}

/// The expectation as it was written.
impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text is not a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateError {
    text: String,
    span: Range<usize>,
    reason: String,
}

impl GateError {
    /// The bytes of the text that the error is about.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// What was found there and what was expected.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Its message, line by line: the reason, and the gate with carets under the part that it is about.
    pub fn lines(&self) -> [String; 3] {
        let [text, carets] = Snippet::of_all(&self.text, self.span.clone()).lines();
        [format!("cannot read the gate `{}`: {}", printable(&self.text), self.reason), text, carets]
    }
}

/// Its [`GateError::lines`].
impl fmt::Display for GateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

impl std::error::Error for GateError {}
