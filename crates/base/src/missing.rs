//! Why a slow poll is told without its line: what came too late, or did not come. Plain data.

use std::fmt;

/// Why a slow poll was told without what a look at it shows, or without names. Its `Display` is a phrase of one line. What
/// stands in the way of every look is a [`CaptureNote`](crate::CaptureNote) instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// The poll was over when the watchdog came, or before its look was complete.
    WatchdogLate {
        /// How long after the poll had become slow that was, in nanoseconds.
        late_ns: u64,
        /// For how much of that the watchdog itself was ready to run and had no CPU, in nanoseconds; `None` when not known.
        without_cpu_ns: Option<u64>,
    },
    /// The watchdog had not come back when the poll was told.
    WatchdogAwaited {
        /// How long after the poll's end it was told, in nanoseconds.
        after_ns: u64,
    },
    /// It was looked at, and names were still being read when it was told. A later snapshot has them.
    NamesLate {
        /// How long after the poll's end it was told, in nanoseconds.
        after_ns: u64,
    },
    /// It was looked at, and more waited to be named than is kept.
    TooManyToName,
    /// It ran, and its thread had no CPU on which to say where.
    Unanswered,
}

impl Missing {
    /// What one is compared with another by.
    fn ns(self) -> u64 {
        match self {
            Missing::WatchdogLate { late_ns, .. } => late_ns,
            Missing::WatchdogAwaited { after_ns } | Missing::NamesLate { after_ns } => after_ns,
            Missing::TooManyToName | Missing::Unanswered => 0,
        }
    }
}

fn ms(ns: u64) -> String {
    format!("{:.1} ms", ns as f64 / 1e6)
}

fn seconds(ns: u64) -> String {
    format!("{:.1} s", ns as f64 / 1e9)
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Missing::WatchdogLate { late_ns, without_cpu_ns } => {
                write!(f, "no line: the watchdog came {} late, after the poll's end", ms(late_ns))?;
                match without_cpu_ns {
                    Some(ns) if ns >= late_ns / 2 => {
                        write!(f, ": the machine was busy and gave it no CPU for {}", ms(ns))
                    }
                    _ => Ok(()),
                }
            }
            Missing::WatchdogAwaited { after_ns } => {
                write!(f, "no line: the watchdog was still awaited {} after the poll's end", seconds(after_ns))
            }
            Missing::NamesLate { after_ns } => {
                write!(f, "no line: names were still being read {} after the poll's end", seconds(after_ns))
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
/// use pollscope_base::{Missing, Shortfall};
/// let shortfall = Shortfall { polls: 3, worst: Missing::NamesLate { after_ns: 10_000_000_000 } };
/// let line = shortfall.to_string();
/// assert!(line.starts_with("cannot name the lines of 3 slow polls: names were still being read up to 10.0 s after"), "{line}");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
            Missing::WatchdogLate { late_ns, .. } => write!(
                f,
                "cannot see {polls}: the watchdog came up to {} late, after the end; {STAY}, a CPU that is free now and then \
                 shows more",
                ms(late_ns)
            ),
            Missing::WatchdogAwaited { after_ns } => write!(
                f,
                "cannot see {polls}: the watchdog was still awaited up to {} after the end; {STAY}, a CPU that is free now and \
                 then shows more",
                seconds(after_ns)
            ),
            Missing::NamesLate { after_ns } => write!(
                f,
                "cannot name the lines of {polls}: names were still being read up to {} after the end; {STAY}, an optimised \
                 build or a machine with a free CPU reads them faster",
                seconds(after_ns)
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
                if missing.ns() > known.worst.ns() {
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

    const MS: u64 = 1_000_000;

    fn late(ms: u64, without_cpu_ms: Option<u64>) -> Missing {
        Missing::WatchdogLate { late_ns: ms * MS, without_cpu_ns: without_cpu_ms.map(|ms| ms * MS) }
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
        let names = Missing::NamesLate { after_ns: 10_000 * MS };
        assert_eq!(names.to_string(), "no line: names were still being read 10.0 s after the poll's end");
        for missing in [names, Missing::WatchdogAwaited { after_ns: MS }, Missing::TooManyToName, Missing::Unanswered] {
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
            Missing::WatchdogAwaited { after_ns: MS },
            Missing::NamesLate { after_ns: MS },
            Missing::TooManyToName,
            Missing::Unanswered,
        ] {
            let line = Shortfall { polls: 2, worst }.to_string();
            assert!(line.starts_with("cannot ") && line.contains(" 2 slow polls") && line.contains("; "), "{line}");
            assert!(!line.contains('\n') && !line.contains("  "), "{line}");
        }
    }
}
