//! A profile in pprof's format, for `go tool pprof` and whatever else reads it: compressed `Profile`s, one after the other, which
//! are one. It is that of google/pprof's `proto/profile.proto`.
//!
//! A sample is a place of a slow poll. Its first two values are how many slow polls it stands for, 1 at the place where a slow poll was
//! longest and 0 at its others, and how long it was there, in nanoseconds. So both add up: to the slow polls, and to their time.
//! Time of which nobody knows where it went is a sample of the frame `not known where`. Addresses are not known of a frame: it has a
//! function and a line.
//!
//! | label | what |
//! |---|---|
//! | `group` | the mode of a scenario, the label of a service |
//! | `run` | its round; not there where the run has none |
//! | `cause`, `call` | why it was slow, and in which system call it was |
//! | `spawned_at`, `task_id`, `task` | the task: where it was spawned, Tokio's number, its name |
//! | `span`, `trace_id` | the span of `tracing` that it was in |
//! | `worker` | the worker's number |
//! | `state` | `not ended` where the poll went on when the recording ended |
//!
//! A recording of a process that was looked at from outside has samples of a third value, `wall`, in nanoseconds: where its loops'
//! threads were, parked or not, whether or not a poll was slow. They have 0 as the other two, as slow polls have of this one: a slow
//! poll is in both, seen in two ways, and the two times are not to be added. Looks without a place are frames such as `parked`. Such a
//! sample has the labels `group`, `run`, `state`, `call` and `future`.
//!
//! What is not known has no label. The comments (`go tool pprof -comments`) say what the profile is of.

mod wall;

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

use super::stacks::{Function, Once, Part, Tables, parts};
use super::timeline::Timeline;
use crate::escape::escape;
use crate::recording::{Recording, Run, SlowPoll};
use crate::units::{format_ns, plural};

/// The profile of all runs.
pub fn render(recording: &Recording) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    let mut push = |profile: Profile| {
        out.write_all(&profile.encode_to_vec()).expect("a list takes all that is written");
    };
    let mut texts = Texts::default();
    // The first is empty.
    texts.number("");
    let kind = |texts: &mut Texts, kind, unit| ValueType { kind: texts.number(kind), unit: texts.number(unit) };
    let mut sample_type = vec![kind(&mut texts, "slow_polls", "count"), kind(&mut texts, "time", "nanoseconds")];
    let has_wall = recording.runs.iter().any(|run| run.profile.is_some());
    sample_type.extend(has_wall.then(|| kind(&mut texts, "wall", "nanoseconds")));
    let mut tables = Tables::default();
    for run in &recording.runs {
        let polls = run.slow_polls.iter().map(|slow| (slow, true));
        for (slow, has_ended) in polls.chain(run.stalls_open.iter().map(|open| (open, false))) {
            for (index, part) in parts(slow).iter().enumerate() {
                let frames = tables.frames(slow, part);
                let label = labels(run, slow, part, has_ended, &mut texts);
                let mut value = vec![i64::from(index == 0), signed(part.ns)];
                value.resize(sample_type.len(), 0);
                // Innermost first, by numbers that are never 0.
                let location_id = frames.iter().rev().map(|frame| *frame as u64 + 1).collect();
                push(Profile { sample: vec![Sample { location_id, value, label }], ..Profile::default() });
            }
        }
        for sample in wall::samples(run, &mut tables, &mut texts) {
            push(Profile { sample: vec![sample], ..Profile::default() });
        }
    }
    let is_calm = recording.runs.iter().all(|run| run.slow_polls.is_empty() && run.stalls_open.is_empty());
    let timeline = Timeline::beside_each_other(&recording.runs);
    let ends = timeline.starts_ns.iter().zip(&recording.runs).map(|(start, run)| start.saturating_add(run.elapsed_ns));
    let comment = comments(recording).iter().map(|text| texts.number(text)).collect();
    let program = recording.runs.first().and_then(|run| run.subject.name()).unwrap_or(recording.name());
    push(Profile {
        mapping: vec![Mapping::named(texts.number(&escape(program)))],
        location: locations(tables.frames.list()),
        function: functions(tables.functions.list(), &mut texts),
        // Where nothing was slow, there is nothing to see in the others.
        default_sample_type: sample_type[if has_wall && is_calm { 2 } else { 1 }].kind,
        sample_type,
        time_nanos: timeline.epoch_ms.map_or(0, |ms| signed(ms.saturating_mul(1_000_000))),
        duration_nanos: ends.max().map_or(0, signed),
        comment,
        ..Profile::default()
    });
    push(Profile { string_table: texts.0.list().to_vec(), ..Profile::default() });
    out.finish().expect("a list takes all that is written")
}

fn comments(recording: &Recording) -> Vec<String> {
    let mut comments = vec![
        format!("pollscope {}: slow polls of {}", recording.environment.pollscope, recording.name()),
        "a sample is a place of a slow poll; slow_polls counts it where it was longest, time is how long it was there"
            .to_owned(),
    ];
    for run in &recording.runs {
        let mut said = format!(
            "{}: {}, slow from {} on",
            run.label(),
            plural(run.slow_polls_total, "slow poll"),
            format_ns(run.slow_poll_threshold_ns)
        );
        if run.slow_polls_dropped > 0 {
            said += &format!(", of which {} are not listed here", run.slow_polls_dropped);
        }
        comments.push(said);
        comments.extend(run.profile.as_deref().map(|profile| wall::comment(run, profile)));
    }
    comments.iter().map(|comment| escape(comment).into_owned()).collect()
}

fn labels(run: &Run, slow: &SlowPoll, part: &Part, has_ended: bool, texts: &mut Texts) -> Vec<Label> {
    let span = slow.detail.as_ref().and_then(|detail| detail.span.as_ref());
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let (round, task, worker) =
        (number(run.subject.round().map(u64::from)), number(slow.task_id.get()), number(slow.worker));
    let known = [
        ("group", Some(run.group.as_str())),
        ("run", round.as_deref()),
        ("cause", slow.cause.as_deref()),
        ("call", part.call.map(|call| call.text.as_str())),
        ("spawned_at", slow.spawned_at.as_deref()),
        ("task_id", task.as_deref()),
        ("task", slow.task_name.as_deref()),
        ("span", span.map(|span| span.name.as_str())),
        ("trace_id", span.and_then(|span| span.trace_id.as_deref())),
        ("worker", worker.as_deref()),
        ("state", (!has_ended).then_some("not ended")),
    ];
    known.into_iter().filter_map(|(key, text)| texts.label(key, text)).collect()
}

fn locations(frames: &[(usize, Option<u64>)]) -> Vec<Location> {
    let location = |(number, (function, line)): (u64, &(usize, Option<u64>))| Location {
        id: number,
        mapping_id: 1,
        line: vec![Line { function_id: *function as u64 + 1, line: line.map_or(0, signed) }],
    };
    (1..).zip(frames).map(location).collect()
}

fn functions(functions: &[Function], texts: &mut Texts) -> Vec<NamedFunction> {
    let function = |(number, of): (u64, &Function)| {
        let name = texts.number(&of.name);
        let filename = of.file.as_deref().map_or(0, |file| texts.number(file));
        NamedFunction { id: number, name, system_name: name, filename }
    };
    (1..).zip(functions).map(function).collect()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The table of texts.
#[derive(Default)]
struct Texts(Once<String>);

impl Texts {
    fn number(&mut self, text: &str) -> i64 {
        self.0.number_of(text) as i64
    }

    /// `None` where it is not known; an empty text is no label.
    fn label(&mut self, key: &str, text: Option<&str>) -> Option<Label> {
        let text = text.filter(|text| !text.is_empty())?;
        Some(Label { key: self.number(key), str: self.number(&escape(text)) })
    }
}

/// As much of the message as is written here; the numbers are the fields'.
#[derive(Clone, PartialEq, prost::Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<NamedFunction>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(int64, repeated, tag = "13")]
    comment: Vec<i64>,
    #[prost(int64, tag = "14")]
    default_sample_type: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    str: i64,
}

/// What was looked at, of which all is known that there is to be: a reader need not look for the program's file.
#[derive(Clone, PartialEq, prost::Message)]
struct Mapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "5")]
    filename: i64,
    #[prost(bool, tag = "7")]
    has_functions: bool,
    #[prost(bool, tag = "8")]
    has_filenames: bool,
    #[prost(bool, tag = "9")]
    has_line_numbers: bool,
    #[prost(bool, tag = "10")]
    has_inline_frames: bool,
}

impl Mapping {
    fn named(filename: i64) -> Mapping {
        let (id, yes) = (1, true);
        Mapping { id, filename, has_functions: yes, has_filenames: yes, has_line_numbers: yes, has_inline_frames: yes }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NamedFunction {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

#[cfg(test)]
mod tests;
