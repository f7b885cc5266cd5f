//! One line of a recording that grows: an object of one key, which says what it is.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::short::{ReadKind, ReadPoll, WrittenKind, WrittenPoll};
use super::slice::{ReadSlice, WrittenSlice};
use crate::escape;
use crate::feed::Update;
use crate::live::Live;
use crate::message::Message;
use crate::recording::wire::stacks::{self, StackId};
use crate::recording::wire::{SCHEMA, Schema, WithoutLists, bounded};
use crate::recording::{
    Completeness, Coverage, Ended, Environment, Fine, Frame, Kind, Run, Shared, SlowPoll, Subject, Target, shared,
};

/// The number of a kind of slow polls within its file.
pub(super) type KindId = u64;

/// Stacks, and kinds, that a writer knows again; one that came before, and was forgotten since, is written again.
const REMEMBERED: usize = 10_000;

/// What each file of a recording that grows begins with.
#[derive(Debug, Clone)]
pub struct Head {
    /// Where and with what it is made.
    pub environment: Environment,
    /// See [`Run::group`].
    pub group: String,
    /// See [`Run::subject`].
    pub subject: Subject,
    /// See [`Run::started_at`].
    pub started_at: String,
    /// See [`Run::coverage`].
    pub coverage: Coverage,
    /// See [`Run::slow_poll_threshold_ns`].
    pub slow_poll_threshold_ns: u64,
    /// See [`Run::slow_polls_are`].
    pub slow_polls_are: Completeness,
    /// Which file of the recording it is, from 1: a recording of several loses its oldest.
    pub segment: u64,
}

impl Head {
    /// The run that it begins.
    pub fn run(&self) -> Run {
        Run {
            coverage: self.coverage.clone(),
            slow_poll_threshold_ns: self.slow_poll_threshold_ns,
            slow_polls_are: self.slow_polls_are,
            ..Run::unknown(&self.group, self.subject.clone(), &self.started_at)
        }
    }

    /// Whether another file is of the same run.
    pub(super) fn is_of_run(&self, other: &Head) -> bool {
        // Its runtimes are known only when they run.
        let who = |head: &Head| match &head.subject {
            Subject::Service(target) => Subject::Service(Target { runtimes: Vec::new(), ..target.clone() }),
            Subject::Process(target) => Subject::Process(Target { runtimes: Vec::new(), ..target.clone() }),
            scenario => scenario.clone(),
        };
        (&self.group, who(self), &self.started_at) == (&other.group, who(other), &other.started_at)
    }
}

/// Writes the lines of a recording that grows: each is whole, and ends in a newline.
///
/// ```
/// use pollscope_record::feed::Update;
/// use pollscope_record::growing::LineWriter;
/// use pollscope_record::recording::{Ended, Frame, Kind, SlowPoll};
///
/// let frame = Frame { function: Some("stock".into()), file: Some("src/stock.rs".into()), line: Some(7) };
/// let kind = Kind { stack: [frame].into_iter().collect(), ..Kind::default() };
/// let poll = SlowPoll { id: 1, duration_ns: 200_000_000, ..SlowPoll::of(kind) };
/// let mut writer = LineWriter::default();
/// let lines = writer.lines(&Update::SlowPoll(Box::new(poll.clone())), 0).unwrap();
/// assert!(lines.starts_with("{\"stack\":{\"id\":1,\"frames\":[{\"function\":\"stock\"") && lines.lines().count() == 3);
/// let again = SlowPoll { id: 2, start_ns: 500_000_000, ..poll };
/// let again = writer.lines(&Update::SlowPoll(Box::new(again)), 0).unwrap();
/// assert_eq!(again, "{\"slow_poll\":{\"kind\":1,\"start_ns\":500000000,\"duration_ns\":200000000}}\n", "the rest was written");
/// assert_eq!(writer.lines(&Update::End(Ended::Done, None), 0).unwrap(), "{\"end\":{\"ended\":\"done\",\"why\":null}}\n");
/// ```
#[derive(Debug, Default)]
pub struct LineWriter {
    stacks: HashMap<Shared<[Frame]>, StackId>,
    kinds: HashMap<Shared<Kind>, KindId>,
    last_stack: StackId,
    last_kind: KindId,
    /// The number of the last slow poll in the file.
    last_poll: Option<u64>,
}

impl LineWriter {
    /// The first line of a file. What the files before it had must not be needed to read it.
    ///
    /// # Errors
    /// See [`to_json`](crate::recording::wire::to_json).
    pub fn head(&mut self, head: &Head) -> serde_json::Result<String> {
        self.forget();
        line(Written::of_head(head))
    }

    /// What was to be written last was not: no later line refers to it.
    pub fn forget(&mut self) {
        self.stacks.clear();
        self.kinds.clear();
        self.last_poll = None;
    }

    /// What is known now, as one or more lines. `now_ns` is the end of an interval, since the run's start. The lists of an
    /// [`Update::Known`] are not looked at: they have lines of their own.
    ///
    /// # Errors
    /// See [`to_json`](crate::recording::wire::to_json).
    pub fn lines(&mut self, update: &Update, now_ns: u64) -> serde_json::Result<String> {
        let is_next = match update {
            Update::SlowPoll(poll) => self.last_poll.replace(poll.id).is_some_and(|last| last + 1 == poll.id),
            _ => false,
        };
        let (lines, written) = self.written(update, now_ns, is_next)?;
        Ok(lines + &line(written)?)
    }

    /// The first line of a second run in the same file, which is told beside the first from then on.
    ///
    /// ```
    /// # use pollscope_record::feed::Update;
    /// # use pollscope_record::growing::LineWriter;
    /// let lines = LineWriter::default().beside(&Update::Note("it is sampled".to_owned()), 0).unwrap();
    /// assert_eq!(lines, "{\"beside\":{\"note\":\"it is sampled\"}}\n");
    /// ```
    ///
    /// # Errors
    /// See [`to_json`](crate::recording::wire::to_json).
    pub fn head_beside(&mut self, head: &Head) -> serde_json::Result<String> {
        line(Written::Beside(Box::new(Written::of_head(head))))
    }

    /// The same as [`LineWriter::lines`] of that second run. What its slow polls have in common, and their stacks, are those of the file.
    ///
    /// # Errors
    /// See [`to_json`](crate::recording::wire::to_json).
    pub fn beside(&mut self, update: &Update, now_ns: u64) -> serde_json::Result<String> {
        let (lines, written) = self.written(update, now_ns, false)?;
        Ok(lines + &line(Written::Beside(Box::new(written)))?)
    }

    /// What is written of it, and the lines that come before. `is_next`: whether its number follows that of the slow poll before.
    fn written<'a>(
        &mut self,
        update: &'a Update,
        now_ns: u64,
        is_next: bool,
    ) -> serde_json::Result<(String, Written<'a>)> {
        let written = match update {
            Update::Known(run) => Written::Known(WithoutLists(run)),
            Update::Interval(interval) => Written::Interval(WrittenSlice::of(interval, now_ns)),
            Update::Fine(fine) => Written::Fine(fine),
            Update::SlowPoll(poll) => return self.poll(poll, (!is_next).then_some(poll.id), Written::SlowPoll),
            Update::Stall(poll) => return self.poll(poll, Some(poll.id), Written::Stall),
            Update::Note(note) => Written::Note(note),
            Update::End(ended, why) => Written::End { ended: *ended, why: why.as_ref() },
        };
        Ok((String::new(), written))
    }

    /// What a service is doing now, as one or more lines. It is for those who look at it at once: reading a file passes it over.
    ///
    /// # Errors
    /// See [`to_json`](crate::recording::wire::to_json).
    pub fn live(&mut self, live: &Live) -> serde_json::Result<String> {
        let (mut lines, mut kinds) = (String::new(), Vec::new());
        for stall in &live.stalls {
            let (new, kind) = self.kind(stall)?;
            lines += &new;
            kinds.push(kind);
        }
        let stacks = &self.stacks;
        let known = |stack: &[Frame]| stacks.get(stack).copied();
        let stalls = live.stalls.iter().zip(kinds);
        let stalls = stalls.map(|(stall, kind)| WrittenPoll::of(stall, kind, Some(stall.id), &known)).collect();
        lines += &line(Written::Live { live, stalls })?;
        Ok(lines)
    }

    /// Why a feed is not given, as a line: in place of all others.
    ///
    /// # Errors
    /// See [`to_json`](crate::recording::wire::to_json).
    pub fn refusal(why: &str) -> serde_json::Result<String> {
        line(Written::Refused(why))
    }

    fn poll<'a>(
        &mut self,
        poll: &'a SlowPoll,
        id: Option<u64>,
        written: fn(WrittenPoll<'a>) -> Written<'a>,
    ) -> serde_json::Result<(String, Written<'a>)> {
        let (lines, kind) = self.kind(poll)?;
        let poll = WrittenPoll::of(poll, kind, id, &|stack| self.stacks.get(stack).copied());
        Ok((lines, written(poll)))
    }

    /// Lines of what a slow poll has in common with others, as far as they were not written yet; and the number of its kind.
    fn kind(&mut self, poll: &SlowPoll) -> serde_json::Result<(String, KindId)> {
        if self.stacks.len() + poll.more_places().len() >= REMEMBERED || self.kinds.len() >= REMEMBERED {
            self.stacks.clear();
            self.kinds.clear();
        }
        let mut lines = String::new();
        for frames in std::iter::once(&poll.stack).chain(poll.more_places().iter().map(|place| &place.stack)) {
            if frames.is_empty() || self.stacks.contains_key(frames) {
                continue;
            }
            self.last_stack += 1;
            self.stacks.insert(frames.clone(), self.last_stack);
            lines += &line(Written::Stack { id: self.last_stack, frames })?;
        }
        let kind = match self.kinds.get(&poll.kind) {
            Some(kind) => *kind,
            None => {
                self.last_kind += 1;
                self.kinds.insert(poll.kind.clone(), self.last_kind);
                let stack = self.stacks.get(&poll.stack).copied();
                lines += &line(Written::Kind(WrittenKind::of(self.last_kind, &poll.kind, stack)))?;
                self.last_kind
            }
        };
        Ok((lines, kind))
    }
}

/// What is written, by key.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Written<'a> {
    Recording {
        schema: &'static str,
        environment: &'a Environment,
        group: &'a str,
        subject: &'a Subject,
        started_at: &'a str,
        coverage: &'a Coverage,
        slow_poll_threshold_ns: u64,
        slow_polls_are: Completeness,
        segment: u64,
    },
    Known(WithoutLists<'a>),
    Stack {
        id: StackId,
        frames: &'a Shared<[Frame]>,
    },
    Kind(WrittenKind<'a>),
    SlowPoll(WrittenPoll<'a>),
    Stall(WrittenPoll<'a>),
    Interval(WrittenSlice<'a>),
    Fine(&'a [Fine]),
    Note(&'a str),
    End {
        ended: Ended,
        why: Option<&'a Message>,
    },
    Live {
        #[serde(flatten)]
        live: &'a Live,
        stalls: Vec<WrittenPoll<'a>>,
    },
    Refused(&'a str),
    Beside(Box<Written<'a>>),
}

impl Written<'_> {
    fn of_head(head: &Head) -> Written<'_> {
        let Head { environment, group, subject, started_at, coverage, slow_poll_threshold_ns, .. } = head;
        Written::Recording {
            schema: SCHEMA,
            environment,
            group,
            subject,
            started_at,
            coverage,
            slow_poll_threshold_ns: *slow_poll_threshold_ns,
            slow_polls_are: head.slow_polls_are,
            segment: head.segment,
        }
    }
}

fn line(written: Written) -> serde_json::Result<String> {
    let mut json = escape::json(serde_json::to_string(&written)?);
    json.push('\n');
    Ok(json)
}

/// A line that was read.
#[derive(Debug)]
pub(super) enum Line {
    /// A file begins.
    Head(Box<Head>),
    /// Something became known; of an interval, when it ended.
    Update(Update, Option<u64>),
    /// A stack, which later lines refer to.
    Stack,
    /// Likewise, what slow polls have in common.
    Kind(Box<ReadKind>),
    /// A slow poll, and whether it goes on.
    Poll(Box<ReadPoll>, bool),
    /// What is so at the moment, and no part of a recording; beside it the polls that go on.
    Live(Box<Live>, Vec<ReadPoll>),
    /// Why there is no recording.
    Refused(String),
    /// A line of the run that is told beside the first.
    Beside(Box<Line>),
    /// Of a later version.
    Other,
}

impl Line {
    /// Reads one; within [`of_one_recording`], as lines refer to those before them.
    pub(super) fn read(text: &str) -> serde_json::Result<Line> {
        serde_json::from_str(text)
    }
}

/// Reads lines that refer to each other; a reference to what is not there is an error.
pub(super) fn of_one_recording<T>(read: impl FnOnce() -> T) -> (T, bool) {
    let (done, unsettled) = stacks::of_run(read);
    (done, unsettled.is_settled())
}

/// A key, which is no allocation where it is written plainly.
#[derive(Deserialize)]
struct Key<'k>(#[serde(borrow)] Cow<'k, str>);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Line, D::Error> {
        struct OneKey;

        impl<'de> Visitor<'de> for OneKey {
            type Value = Line;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of one key")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
                let Some(Key(key)) = map.next_key()? else { return Ok(Line::Other) };
                let update = |update| Line::Update(update, None);
                let line = match &*key {
                    "recording" => Line::Head(Box::new(map.next_value::<ReadHead>()?.head())),
                    "known" => update(Update::Known(map.next_value()?)),
                    "stack" => {
                        let ReadStack { id, frames } = map.next_value()?;
                        stacks::define(id, frames)?;
                        Line::Stack
                    }
                    "kind" => Line::Kind(map.next_value()?),
                    "slow_poll" => Line::Poll(map.next_value()?, false),
                    "stall" => Line::Poll(map.next_value()?, true),
                    "interval" => {
                        let slice: ReadSlice = map.next_value()?;
                        let end_ns = slice.end_ns;
                        Line::Update(Update::Interval(Box::new(slice.interval())), Some(end_ns))
                    }
                    "live" => {
                        let ReadLive { live, stalls } = map.next_value()?;
                        Line::Live(Box::new(live), stalls)
                    }
                    "refused" => Line::Refused(map.next_value()?),
                    "beside" => Line::Beside(Box::new(map.next_value()?)),
                    "fine" => {
                        let ReadFine(fine) = map.next_value()?;
                        update(Update::Fine(fine))
                    }
                    "note" => update(Update::Note(map.next_value()?)),
                    "end" => {
                        let ReadEnd { ended, why } = map.next_value()?;
                        update(Update::End(ended, why))
                    }
                    _ => {
                        map.next_value::<IgnoredAny>()?;
                        Line::Other
                    }
                };
                match map.next_key::<IgnoredAny>()? {
                    None => Ok(line),
                    Some(_) => Err(A::Error::custom(format_args!("there is more than `{}` in it", shown(&key)))),
                }
            }
        }

        from.deserialize_map(OneKey)
    }
}

/// A key out of a hostile file can be as long as the file.
fn shown(key: &str) -> String {
    key.chars().take(40).collect()
}

#[derive(Deserialize)]
struct ReadHead {
    #[expect(dead_code, reason = "its value decides whether the rest is read")]
    schema: Schema,
    environment: Environment,
    group: String,
    subject: Subject,
    started_at: String,
    coverage: Coverage,
    slow_poll_threshold_ns: u64,
    slow_polls_are: Completeness,
    segment: u64,
}

impl ReadHead {
    fn head(self) -> Head {
        Head {
            environment: self.environment,
            group: self.group,
            subject: self.subject,
            started_at: self.started_at,
            coverage: self.coverage,
            slow_poll_threshold_ns: self.slow_poll_threshold_ns,
            slow_polls_are: self.slow_polls_are,
            segment: self.segment,
        }
    }
}

#[derive(Deserialize)]
struct ReadStack {
    id: StackId,
    #[serde(deserialize_with = "shared::stack")]
    frames: Shared<[Frame]>,
}

#[derive(Deserialize)]
struct ReadLive {
    #[serde(flatten)]
    live: Live,
    #[serde(deserialize_with = "bounded::list::<_, _, 10_000>")]
    stalls: Vec<ReadPoll>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct ReadFine(#[serde(deserialize_with = "bounded::list::<_, _, 10_000>")] Vec<Fine>);

#[derive(Deserialize)]
struct ReadEnd {
    ended: Ended,
    #[serde(deserialize_with = "bounded::present")]
    why: Option<Message>,
}
