//! Why a slow poll is told without its line: what came too late, or did not come. Plain data.

use std::fmt;
use std::time::Duration;

/// Why a slow poll was told without what a look at it shows, or without names. Its `Display` is a phrase of one line. What
/// stands in the way of every look is a [`CaptureNote`](crate::CaptureNote) instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Missing {
    /// The poll was over when the watchdog came, or before its look was complete.
    WatchdogLate {
        /// How long after the poll had become slow that was.
        late: Duration,
        /// For how much of that the watchdog itself was ready to run and had no CPU; `None` when not known.
        without_cpu: Option<Duration>,
    },
    /// The watchdog had not come back when the poll was told.
    WatchdogAwaited {
        /// How long after the poll's end it was told.
        after: Duration,
    },
    /// It was looked at, and names were still being read when it was told. A later snapshot has them.
    NamesLate {
        /// How long after the poll's end it was told.
        after: Duration,
    },
    /// It was looked at, and more waited to be named than is kept.
    TooManyToName,
    /// It ran, and its thread had no CPU on which to say where.
    Unanswered,
}

impl Missing {
    /// What one is compared with another by.
    fn length(self) -> Duration {
        match self {
            Missing::WatchdogLate { late, .. } => late,
            Missing::WatchdogAwaited { after } | Missing::NamesLate { after } => after,
            Missing::TooManyToName | Missing::Unanswered => Duration::ZERO,
        }
    }
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Missing::WatchdogLate { late, without_cpu } => {
                write!(f, "no line: the watchdog came {} late, after the poll's end", ms(late))?;
                match without_cpu {
                    Some(time) if time >= late / 2 => {
                        write!(f, ": the machine was busy and gave it no CPU for {}", ms(time))
                    }
                    _ => Ok(()),
                }
            }
            Missing::WatchdogAwaited { after } => {
                write!(f, "no line: the watchdog was still awaited {} after the poll's end", seconds(after))
            }
            Missing::NamesLate { after } => {
                write!(f, "no line: names were still being read {} after the poll's end", seconds(after))
            }
            Missing::TooManyToName => f.write_str("no line: too many others waited to be named"),
            Missing::Unanswered => f.write_str("no line: its thread had no CPU on which to say where it was"),
        }
    }
}

/// How many slow polls were told without their line for one reason. Its `Display` is one line: what cannot be done, why, and what
/// to do about it.
///
/// ```
/// use std::time::Duration;
/// use pollscope_base::{Missing, Shortfalls};
/// let mut shortfalls = Shortfalls::default();
/// (8..=10).for_each(|seconds| shortfalls.count(Missing::NamesLate { after: Duration::from_secs(seconds) }));
/// let line = shortfalls.all()[0].to_string();
/// assert!(line.starts_with("cannot name the lines of 3 slow polls: names were still being read up to 10.0 s after"), "{line}");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Shortfall {
    /// The slow polls.
    pub polls: u64,
    /// The reason, of that poll for which it was the longest.
    pub worst: Missing,
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const STAY: &str = "slow polls keep their durations";
        let polls = format!("{} slow {}", self.polls, if self.polls == 1 { "poll" } else { "polls" });
        match self.worst {
            Missing::WatchdogLate { late, .. } => write!(
                f,
                "cannot see {polls}: the watchdog came up to {} late, after the end; {STAY}, a CPU that is free now and then \
                 shows more",
                ms(late)
            ),
            Missing::WatchdogAwaited { after } => write!(
                f,
                "cannot see {polls}: the watchdog was still awaited up to {} after the end; {STAY}, a CPU that is free now and \
                 then shows more",
                seconds(after)
            ),
            Missing::NamesLate { after } => write!(
                f,
                "cannot name the lines of {polls}: names were still being read up to {} after the end; {STAY}, an optimised \
                 build or a machine with a free CPU reads them faster",
                seconds(after)
            ),
            Missing::TooManyToName => write!(
                f,
                "cannot name the lines of {polls}: too many waited to be named; {STAY}, a longer threshold leaves fewer"
            ),
            Missing::Unanswered => write!(
                f,
                "cannot see where {polls} computed: their threads had no CPU on which to say it; {STAY}, a machine with a free \
                 CPU shows more"
            ),
        }
    }
}

/// All of them so far, one for each reason.
#[derive(Debug, Clone, Default)]
pub struct Shortfalls(Vec<Shortfall>);

impl Shortfalls {
    /// Counts a slow poll that was told without its line.
    pub fn count(&mut self, missing: Missing) {
        let is_same = |known: &&mut Shortfall| std::mem::discriminant(&known.worst) == std::mem::discriminant(&missing);
        match self.0.iter_mut().find(is_same) {
            Some(known) => {
                known.polls += 1;
                if missing.length() > known.worst.length() {
                    known.worst = missing;
                }
            }
            None => self.0.push(Shortfall { polls: 1, worst: missing }),
        }
    }

    /// One for each reason.
    pub fn all(&self) -> Vec<Shortfall> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn late(ms: u32, without_cpu_ms: Option<u32>) -> Missing {
        Missing::WatchdogLate { late: ms * MS, without_cpu: without_cpu_ms.map(|ms| ms * MS) }
    }

    #[test]
    fn each_says_in_plain_words_why() {
        let of_machine = "no line: the watchdog came 80.0 ms late, after the poll's end: the machine was busy and gave it no CPU \
                          for 78.0 ms";
        assert_eq!(late(80, Some(78)).to_string(), of_machine);
        for unknown in [None, Some(3)] {
            let said = late(80, unknown).to_string();
            assert_eq!(said, "no line: the watchdog came 80.0 ms late, after the poll's end", "{unknown:?}");
        }
        let names = Missing::NamesLate { after: 10_000 * MS };
        assert_eq!(names.to_string(), "no line: names were still being read 10.0 s after the poll's end");
        for missing in [names, Missing::WatchdogAwaited { after: MS }, Missing::TooManyToName, Missing::Unanswered] {
            assert!(missing.to_string().starts_with("no line: "), "{missing}");
        }
    }

    #[test]
    fn each_reason_is_kept_once_with_its_worst_case() {
        let mut shortfalls = Shortfalls::default();
        for missing in [late(5, None), Missing::Unanswered, late(80, None), late(7, Some(7)), Missing::Unanswered] {
            shortfalls.count(missing);
        }
        let expected =
            [Shortfall { polls: 3, worst: late(80, None) }, Shortfall { polls: 2, worst: Missing::Unanswered }];
        assert_eq!(shortfalls.all(), expected);
    }

    #[test]
    fn every_count_says_why_and_what_to_do() {
        for worst in [
            late(80, None),
            Missing::WatchdogAwaited { after: MS },
            Missing::NamesLate { after: MS },
            Missing::TooManyToName,
            Missing::Unanswered,
        ] {
            let line = Shortfall { polls: 2, worst }.to_string();
            assert!(line.starts_with("cannot ") && line.contains(" 2 slow polls") && line.contains("; "), "{line}");
            assert!(!line.contains('\n') && !line.contains("  "), "{line}");
        }
    }
}
