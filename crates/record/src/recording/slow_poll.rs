//! One poll that lasted at least the threshold, and what was seen of it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Blame, Cause, MaybeU64, Shared, Text, Waiter, wire};

/// One poll that lasted at least the threshold. What it has in common with others of its kind can be read as if it were its own:
/// a recording may have a million of a dozen kinds.
///
/// ```
/// use pollscope_record::recording::{Kind, SlowPoll};
/// let kind = Kind { blocking_line: Some("src/stock.rs:7".into()), ..Kind::default() };
/// let poll = SlowPoll { duration_ns: 120, cpu_ns: 20.into(), run_delay_ns: 1.into(), ..SlowPoll::of(kind) };
/// assert_eq!(poll.blocking_line.as_deref(), Some("src/stock.rs:7"));
/// assert_eq!((poll.off_cpu_ns(), poll.looks), (Some(99), None));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlowPoll {
    /// From 1, in the order in which they ended.
    pub id: u64,
    /// Tokio's task id; unknown for the future given to `block_on`, too.
    pub task_id: MaybeU64,
    /// Since the run's start.
    pub start_ns: u64,
    /// How long the poll lasted; of one that had not ended, up to then.
    pub duration_ns: u64,
    /// Time on the CPU.
    pub cpu_ns: MaybeU64,
    /// Time ready to run, without a CPU.
    pub run_delay_ns: MaybeU64,
    /// How long it was at the first place; unknown where that is not known by place.
    pub share_ns: MaybeU64,
    /// How many looks saw it at the first place; `None` where they were not counted by place.
    pub looks: Option<u32>,
    /// What it has in common with others.
    pub kind: Shared<Kind>,
    /// What only some have, or some instruments know; `None` where nothing of it is known, and both ends are exact.
    pub detail: Option<Box<Detail>>,
}

impl SlowPoll {
    /// One of that kind of which nothing else is known.
    pub fn of(kind: Kind) -> SlowPoll {
        SlowPoll { kind: kind.into(), ..SlowPoll::default() }
    }

    /// The rest of its time, off the CPU; `None` where its time on the CPU, or ready for one, is not known.
    pub fn off_cpu_ns(&self) -> Option<u64> {
        Some(self.duration_ns.saturating_sub(self.cpu_ns.get()?).saturating_sub(self.run_delay_ns.get()?))
    }

    /// What it has in common with others, which from now on is its own.
    pub fn kind_mut(&mut self) -> &mut Kind {
        self.kind.make_mut()
    }

    /// What only some have, of which nothing was known if it had none.
    pub fn detail_mut(&mut self) -> &mut Detail {
        self.detail.get_or_insert_default()
    }

    /// Who waited for it; `None` where that cannot be seen.
    pub fn blame(&self) -> Option<Blame> {
        let nobody = || self.nobody_waited.then(Blame::default);
        self.detail.as_ref().and_then(|detail| detail.blame).or_else(nobody)
    }

    /// See [`Detail::worst_waiter`].
    pub fn worst_waiter(&self) -> Option<&Waiter> {
        self.detail.as_ref()?.worst_waiter.as_deref()
    }

    /// The other places that it was seen at, most time first.
    pub fn more_places(&self) -> &[Place] {
        self.detail.as_ref().map_or(&[], |detail| &detail.more_places)
    }
}

impl Deref for SlowPoll {
    type Target = Kind;

    fn deref(&self) -> &Kind {
        &self.kind
    }
}

/// What slow polls of one kind have in common: whose they are, where they were, in what call, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kind {
    /// The task's name, where it has one.
    pub task_name: Option<Text>,
    /// `file:line` of the spawn; `None` where it is not known, as from outside.
    pub spawned_at: Option<Text>,
    /// The type of the task's future.
    pub future: Option<Text>,
    /// Which of the subject's runtimes, from 0; `None` where there is one, or it is not known.
    pub runtime: Option<u64>,
    /// The worker's index; `None` for a thread that is not a worker.
    pub worker: Option<u64>,
    /// Where most of its time went; `None` where it is not known.
    pub cause: Option<Cause>,
    /// The system call that it was in, at the place where it was most of its time; like the next four.
    pub syscall: Option<Shared<Syscall>>,
    /// `file:line` of the innermost frame of the user's code.
    pub blocking_line: Option<Text>,
    /// `file:line` of the outermost frame of the user's code.
    pub caller: Option<Text>,
    /// The blocking line's function.
    pub function: Option<Text>,
    /// Innermost first, up to the poll.
    pub stack: Shared<[Frame]>,
    /// Whether the stack was followed to the thread's first frame; `None` when there is none.
    pub stack_complete: Option<bool>,
    /// Whether it can be seen who waited, and nobody did, where [`Detail::blame`] does not say otherwise.
    pub nobody_waited: bool,
}

/// By what nearly always tells kinds apart.
impl Hash for Kind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Kind { spawned_at, worker, cause, syscall, blocking_line, .. } = self;
        let call = syscall.as_ref().map(|call| &call.text);
        (spawned_at, worker, cause.as_deref(), call, blocking_line).hash(state);
    }
}

/// What only some slow polls have, or some instruments know of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detail {
    /// Who waited for it; `None` where nobody did, or that cannot be seen: see [`Kind::nobody_waited`].
    pub blame: Option<Blame>,
    /// Of the tasks that were ready before it ended and ran after it on the same thread, the one that waited longest for it;
    /// `None` where there was none, or it cannot be seen.
    pub worst_waiter: Option<Box<Waiter>>,
    /// The `tracing` span that it was in.
    pub span: Option<Box<Span>>,
    /// How well the start is known.
    pub start_is: Precision,
    /// How well the end is known.
    pub end_is: Precision,
    /// The other places that it was seen at, most time first.
    pub more_places: Vec<Place>,
    /// Who has what it waited for.
    pub holder: Option<Box<Holder>>,
    /// What the CPU quota of its control group did meanwhile; `None` without one, or where it is not known.
    pub quota: Option<Box<Quota>>,
}

impl Detail {
    /// `None` where nothing of it is known.
    pub fn boxed(self) -> Option<Box<Detail>> {
        (self != Detail::default()).then(|| Box::new(self))
    }
}

/// Where a slow poll was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// `file:line` of the innermost frame of the user's code.
    pub line: Option<Text>,
    /// `file:line` of the outermost frame of the user's code.
    pub caller: Option<Text>,
    /// The line's function.
    pub function: Option<Text>,
    /// The system call that it was in.
    pub syscall: Option<Shared<Syscall>>,
    /// How many looks saw it there.
    pub looks: Option<u32>,
    /// How long it was there.
    pub share_ns: Option<u64>,
    /// Innermost first, up to the poll.
    pub stack: Shared<[Frame]>,
}

/// How well a moment is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precision {
    /// As well as the clock.
    #[default]
    Exact,
    /// To within so many nanoseconds.
    WithinNs(u64),
}

impl Serialize for Precision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Precision::Exact => serializer.serialize_str("exact"),
            Precision::WithinNs(ns) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("within_ns", ns)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Precision {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Precision, D::Error> {
        struct OfPrecision;

        impl<'de> Visitor<'de> for OfPrecision {
            type Value = Precision;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`exact`, or an object with `within_ns`")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Precision, E> {
                if word == "exact" { Ok(Precision::Exact) } else { Err(E::custom("a precision is not `exact`")) }
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Precision, A::Error> {
                match map.next_key::<String>()?.as_deref() {
                    Some("within_ns") => {
                        let ns = map.next_value()?;
                        while map.next_entry::<de::IgnoredAny, de::IgnoredAny>()?.is_some() {}
                        Ok(Precision::WithinNs(ns))
                    }
                    _ => Err(de::Error::missing_field("within_ns")),
                }
            }
        }

        from.deserialize_any(OfPrecision)
    }
}

/// A span of `tracing`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Span {
    /// As the code has it, such as `POST /orders`.
    pub name: Text,
    /// Its fields, by name.
    #[serde(deserialize_with = "wire::bounded::map::<_, _, 100>")]
    pub fields: std::collections::BTreeMap<String, String>,
    /// The trace that it belongs to.
    pub trace_id: Option<Text>,
    /// What it is called in that trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<Text>,
}

/// Who has what a slow poll waited for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Holder {
    /// The thread's name.
    pub thread: Option<Text>,
    /// Tokio's id of the task that it polls.
    pub task_id: Option<u64>,
    /// `file:line` of the user's code that it is at.
    pub line: Option<Text>,
    /// What it does there, in words.
    pub doing: Option<Text>,
    /// Whether that is known, and not only likely.
    pub sure: bool,
}

/// What the CPU quota of a control group did while a slow poll went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Quota {
    /// How much CPU time the group has in each period.
    pub quota_ns: u64,
    /// How long a period lasts.
    pub period_ns: u64,
    /// Periods that ended while the group had something to run, from a little before the poll to a little after it.
    pub periods: u64,
    /// In how many of them it was throttled.
    pub throttled_periods: u64,
    /// For how long it was throttled during the poll, at least.
    pub throttled_ns: u64,
}

/// A system call that a slow poll was in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Syscall {
    /// As its manual page is called, such as `write`.
    pub name: Text,
    /// The file descriptor that it works on.
    pub fd: Option<i64>,
    /// Where that leads, or the path that the call was given.
    pub path: Option<Text>,
    /// The other end of its socket: an address such as `203.0.113.9:53`, or the path of a Unix socket.
    #[serde(default)]
    pub peer: Option<Text>,
    /// How many bytes it was asked for.
    pub bytes: Option<u64>,
    /// All of it in one line: `write(fd 9 "/var/log/merged", 64 bytes)`.
    pub text: Text,
}

/// One frame of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Frame {
    /// The function.
    #[serde(deserialize_with = "wire::bounded::present")]
    pub function: Option<Text>,
    /// Its source file.
    #[serde(deserialize_with = "wire::bounded::present")]
    pub file: Option<Text>,
    /// The line in it.
    #[serde(deserialize_with = "wire::bounded::present")]
    pub line: Option<u64>,
}
