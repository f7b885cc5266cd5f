//! The TOML twin of a scenario: specifies the file format, and reads it into a [`Scenario`].
//!
//! # The format
//!
#![doc = include_str!("wire/settings.md")]
//!
//! # `--set`
//!
//! An [`Override`] gives one key another value before the file is checked. If it chooses another kind of sink or the
//! `current_thread` runtime, what the file says about the replaced choice does not count. [`settings_map`] goes the other
//! way: it lists every setting by the same keys.
//!
//! # An example
//!
//! ```
//! use std::time::Duration;
//! use pollscope_lab::scenario::{Workload, wire};
//!
//! let text = r#"
//! question = "Does one slow reader stop everybody?"
//! why = """
//! A pipe holds 64 KiB. When its reader pauses, write(2) waits, and with it everything on the loop.
//! """
//! modes = ["naive", "offloaded"]
//! slow_poll = "50ms"
//!
//! [merge]
//! inputs = 5
//! lines = 1_000
//! letters = 1_000
//! max_wait = "5ms"
//!
//! [merge.sink]
//! kind = "fifo"
//! pause = "200ms"
//! every = "500ms"
//!
//! [witness]
//! response = "off"
//!
//! [expect]
//! gates = ["merge.verdict == ok", "naive.slow_polls >= 3", "offloaded.lag.p99 < 0.1 * naive.lag.p99"]
//! "#;
//!
//! let faster = wire::Override::parse("merge.sink.pause=100ms")?;
//! let scenario = wire::parse("slow-reader", text, &[faster])?;
//! assert_eq!(scenario.settings.slow_poll, Duration::from_millis(50));
//! assert_eq!(scenario.expect.len(), 3);
//! assert_eq!(wire::settings_map(&scenario.settings)["merge.sink.pause"], "100ms");
//! assert_eq!(scenario.changed, ["merge.sink.pause"]);
//!
//! let error = wire::parse("slow-reader", &text.replace("inputs", "inpust"), &[]).unwrap_err().to_string();
//! assert!(error.contains("did you mean `inputs`?"), "{error}");
//! # Ok::<(), wire::ScenarioError>(())
//! ```

mod check;
mod error;
mod set;
mod source;
#[cfg(test)]
mod tests;
pub(super) mod what;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

pub use self::error::{ScenarioError, TextPlace, ValuePlace};
pub use self::set::{Override, settings_map};
use self::source::Source;
use super::{Scenario, builtin};
use pollscope_record::units::parse_duration;

/// Reads a scenario. `name` is a built-in scenario's name or a file's path, as [`builtin::find`] returns it;
/// the scenario's name is the file's stem.
///
/// # Errors
/// When the text or an override is not in the format, a value is outside its range, or something is missing. The message shows
/// the line or the override.
pub fn parse(name: &str, text: &str, overrides: &[Override]) -> Result<Scenario, ScenarioError> {
    let checked = |overrides| {
        let source = Source { name, text, overrides };
        let file = source.read()?;
        check::scenario(builtin::stem(name), file).map_err(|fault| source.explain(fault))
    };
    let mut scenario: Scenario = checked(overrides)?;
    if !overrides.is_empty() {
        // If the file is valid only with the overrides, all settings count as changed.
        let written = checked(&[]).map_or_else(|_| BTreeMap::new(), |written| settings_map(&written.settings));
        let used = settings_map(&scenario.settings);
        scenario.changed =
            used.into_iter().filter(|(key, value)| written.get(key) != Some(value)).map(|of| of.0).collect();
    }
    Ok(scenario)
}

/// What a scenario has, as Markdown: tables of keys with their values and defaults, and what goes for all of them.
pub const SETTINGS: &str = include_str!("wire/settings.md");

/// Every key that has a value.
const KEYS: [&str; 30] = [
    "question",
    "why",
    "seed",
    "rounds",
    "warmup",
    "modes",
    "slow_poll",
    "sample_every",
    "runtime.flavor",
    "runtime.workers",
    "merge.inputs",
    "merge.lines",
    "merge.max_wait",
    "merge.letters",
    "merge.poll_interval",
    "merge.batch",
    "merge.close_after",
    "merge.sink.kind",
    "merge.sink.sync_every",
    "merge.sink.pause",
    "merge.sink.every",
    "block.tasks",
    "block.duration",
    "block.how",
    "block.after",
    "block.run_for",
    "witness.lag",
    "witness.response",
    "witness.connections",
    "expect.gates",
];

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct ScenarioFile {
    question: Option<String>,
    why: Option<String>,
    seed: Option<Whole>,
    rounds: Option<Whole>,
    warmup: Option<Whole>,
    modes: Option<Words>,
    slow_poll: Option<Time>,
    sample_every: Option<Time>,
    #[serde(default)]
    runtime: RuntimeTable,
    merge: Option<MergeTable>,
    block: Option<BlockTable>,
    #[serde(default)]
    witness: WitnessTable,
    #[serde(default)]
    expect: ExpectTable,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RuntimeTable {
    flavor: Option<String>,
    workers: Option<Whole>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct MergeTable {
    inputs: Option<Whole>,
    lines: Option<Whole>,
    max_wait: Option<Time>,
    letters: Option<Whole>,
    poll_interval: Option<Time>,
    batch: Option<Whole>,
    close_after: Option<Time>,
    #[serde(default)]
    sink: SinkTable,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct SinkTable {
    kind: Option<String>,
    sync_every: Option<Whole>,
    pause: Option<Time>,
    every: Option<Time>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct BlockTable {
    tasks: Option<Whole>,
    duration: Option<Time>,
    how: Option<String>,
    after: Option<Time>,
    run_for: Option<Time>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct WitnessTable {
    lag: Option<TimeOrOff>,
    response: Option<TimeOrOff>,
    connections: Option<Whole>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct ExpectTable {
    gates: Option<Gates>,
}

/// A whole number of any size: `check` checks the bounds, since its message can name them.
#[derive(Debug, Clone, Copy)]
struct Whole(i128);

/// A duration such as `"100ms"`.
#[derive(Debug, Clone, Copy)]
struct Time(Duration);

/// A duration, or `"off"`.
#[derive(Debug, Clone, Copy)]
struct TimeOrOff(Option<Duration>);

/// A list of words, or one string of words with commas between.
#[derive(Debug)]
struct Words(Vec<String>);

/// A list of expectations, or one expectation.
#[derive(Debug)]
struct Gates(Vec<String>);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Whole, D::Error> {
        struct WholeVisitor;
        impl Visitor<'_> for WholeVisitor {
            type Value = Whole;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Whole, E> {
                Ok(Whole(number.into()))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Whole, E> {
                Ok(Whole(number.into()))
            }
            fn visit_i128<E: Error>(self, number: i128) -> Result<Whole, E> {
                Ok(Whole(number))
            }
        }
        deserializer.deserialize_any(WholeVisitor)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        struct TimeVisitor;
        impl Visitor<'_> for TimeVisitor {
            type Value = Time;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"100ms\"")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
                parse_duration(text).map(Time).map_err(E::custom)
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Time, E> {
                bare_zero(number, &self).map(Time)
            }
        }
        deserializer.deserialize_any(TimeVisitor)
    }
}

impl<'de> Deserialize<'de> for TimeOrOff {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TimeOrOff, D::Error> {
        struct TimeOrOffVisitor;
        impl Visitor<'_> for TimeOrOffVisitor {
            type Value = TimeOrOff;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"10ms\", or \"off\"")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<TimeOrOff, E> {
                match text {
                    "off" => Ok(TimeOrOff(None)),
                    _ => parse_duration(text).map(|time| TimeOrOff(Some(time))).map_err(E::custom),
                }
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<TimeOrOff, E> {
                bare_zero(number, &self).map(|time| TimeOrOff(Some(time)))
            }
        }
        deserializer.deserialize_any(TimeOrOffVisitor)
    }
}

/// Reads 0, the only duration that needs no unit.
fn bare_zero<E: Error>(number: i64, expected: &dyn serde::de::Expected) -> Result<Duration, E> {
    match number {
        0 => Ok(Duration::ZERO),
        _ => Err(E::invalid_type(serde::de::Unexpected::Signed(number), expected)),
    }
}

/// Reads a list of strings, or one string that `split` splits.
struct Strings {
    expecting: &'static str,
    split: fn(&str) -> Vec<String>,
}

impl<'de> Visitor<'de> for Strings {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<String>, E> {
        Ok((self.split)(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let mut strings = Vec::new();
        while let Some(string) = list.next_element()? {
            strings.push(string);
        }
        Ok(strings)
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Words, D::Error> {
        let split = |text: &str| text.split(',').map(|word| word.trim().to_owned()).collect();
        deserializer
            .deserialize_any(Strings { expecting: "a list such as [\"naive\", \"offloaded\"]", split })
            .map(Words)
    }
}

impl<'de> Deserialize<'de> for Gates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Gates, D::Error> {
        let expecting = "a list such as [\"naive.slow_polls >= 3\"]";
        deserializer.deserialize_any(Strings { expecting, split: |text| vec![text.to_owned()] }).map(Gates)
    }
}
