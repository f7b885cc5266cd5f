//! A profile in the Firefox Profiler's own format, for <https://profiler.firefox.com>: a processed profile of version
//! [`VERSION`], which later versions of the profiler bring up to date as they load it.
//!
//! | in the profiler | what |
//! |---|---|
//! | a process | a run, at its place on one clock that starts with the first run |
//! | a track | a worker; one more for the slow polls of threads that are no worker |
//! | a marker `slow poll` | a slow poll, from its start to its end, with what is known of it and the stack of its first place |
//! | a marker `stall` | the same of one that had not ended when the recording did |
//! | the call tree | the places of slow polls, weighted by milliseconds: their stacks from where the task was spawned to the call |
//! | a category | a cause |
//! | a track `wall-clock profile (no times)` | of a process that was looked at from outside: where its loops' threads were, parked or not, weighted by milliseconds; a category is what they did |
//!
//! A slow poll's places follow each other with the most time first: in which order it was there is not known. Between slow polls
//! a thread is `not in a slow poll`, of the category that the profiler takes for idle. What is not known of a slow poll is not in
//! its marker. Looks of a wall-clock profile have no times: their samples are all at the run's start, and the call tree of that track alone
//! is of use. A slow poll is in both, seen in two ways.

mod document;
#[cfg(test)]
mod tests;
mod wall;

use std::collections::HashMap;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::slow_poll::{holder, task};
use super::stacks::{Function, Once, Tables, parts};
use super::timeline::Timeline;
use super::trace::{lane, lane_name, poll_lanes};
use crate::escape::escape;
use crate::recording::{Recording, Run, SlowPoll};
use document::{Category, Column, document, ms};

/// The version of the format. Since 60, stacks are the whole profile's, not a thread's.
pub const VERSION: u32 = 60;

/// The category of what is in no slow poll, and of a slow poll without a cause: the first two.
const IDLE: usize = 0;
const UNKNOWN: usize = 1;

/// The profile of all runs.
///
/// ```
/// # use pollscope_record::recording::wire;
/// # let head = include_str!("../recording/wire/example.json").split("\"runs\"").next().unwrap();
/// # let json = format!("{head}\"runs\":[],\"findings\":[],\"gates\":[]}}");
/// # let recording = wire::from_json(json.as_bytes()).unwrap();
/// // Of a recording without runs:
/// let profile: serde_json::Value = serde_json::from_str(&pollscope_record::report::firefox::render(&recording)).unwrap();
/// assert_eq!((&profile["meta"]["preprocessedProfileVersion"], &profile["threads"]), (&60.into(), &serde_json::json!([])));
/// ```
pub fn render(recording: &Recording) -> String {
    let timeline = Timeline::beside_each_other(&recording.runs);
    let mut shared = Shared::default();
    let mut threads = Vec::new();
    // Tracks that are shown at first.
    let mut busy = Vec::new();
    for ((number, run), start_ns) in (1..).zip(&recording.runs).zip(&timeline.starts_ns) {
        let mut polls: HashMap<u64, Vec<(&SlowPoll, bool)>> = HashMap::new();
        let ended = run.slow_polls.iter().map(|slow| (slow, true));
        for (slow, has_ended) in ended.chain(run.stalls_open.iter().map(|open| (open, false))) {
            polls.entry(lane(slow.worker)).or_default().push((slow, has_ended));
        }
        for lane in poll_lanes(run) {
            let mut polls = polls.remove(&lane).unwrap_or_default();
            polls.sort_by_key(|(slow, _)| (slow.start_ns, slow.id));
            if !polls.is_empty() {
                busy.push(threads.len());
            }
            threads.push(Thread::of(run, number, lane, *start_ns, &polls, &mut shared));
        }
        if let Some(profile) = &run.profile {
            busy.push(threads.len());
            threads.push(wall::thread(run, profile, number, *start_ns, &mut shared));
        }
    }
    document(recording, &timeline, shared, &threads, &busy)
}

/// What threads share.
#[derive(Default)]
struct Shared<'r> {
    tables: Tables<'r>,
    causes: Once<String>,
    /// A frame and, where it is a stack's first, the category.
    frames: Once<(usize, Option<usize>)>,
    /// A stack without its innermost frame, and that.
    stacks: Once<(Option<usize>, usize)>,
    /// By where the list of its frames is, which `tables` keeps, and its category.
    known: HashMap<(*const usize, usize), usize>,
    idle: Option<usize>,
}

impl Shared<'_> {
    fn category(&mut self, slow: &SlowPoll) -> usize {
        slow.cause.as_deref().map_or(UNKNOWN, |cause| self.named_category(&escape(cause)))
    }

    fn named_category(&mut self, name: &str) -> usize {
        UNKNOWN + 1 + self.causes.number_of(name)
    }

    /// The stack of these frames, from the outermost on.
    fn stack(&mut self, frames: &Rc<[usize]>, category: usize) -> usize {
        let key = (frames.as_ptr(), category);
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let stack = self.new_stack(frames, category);
        self.known.insert(key, stack);
        stack
    }

    fn new_stack(&mut self, frames: &[usize], category: usize) -> usize {
        let mut stack = None;
        for frame in frames {
            let category = stack.is_none().then_some(category);
            let frame = self.frames.number((*frame, category));
            stack = Some(self.stacks.number((stack, frame)));
        }
        stack.expect("every part has a frame")
    }

    /// That of a thread that is in no slow poll.
    fn idle(&mut self) -> usize {
        if let Some(idle) = self.idle {
            return idle;
        }
        let name = Function { name: "not in a slow poll".to_owned(), file: None };
        let function = self.tables.functions.number(name);
        let frame = self.tables.frames.number((function, None));
        *self.idle.insert({
            let frame = self.frames.number((frame, Some(IDLE)));
            self.stacks.number((None, frame))
        })
    }

    /// All categories, in the order of their numbers.
    fn categories(&self) -> Vec<Category<'_>> {
        let mut all =
            vec![Category { name: "idle", color: "transparent" }, Category { name: "cause not known", color: "grey" }];
        all.extend(self.causes.list().iter().map(|cause| Category { name: cause, color: colors(cause).0 }));
        all
    }
}

/// The colours of a cause: of its category, and of its markers, for which the profiler has other ones.
fn colors(cause: &str) -> (&'static str, &'static str) {
    match cause {
        "blocking-call" => ("red", "red"),
        "lock" => ("purple", "purple"),
        "cpu" => ("orange", "orange"),
        "kernel" => ("yellow", "yellow"),
        "page-fault" => ("magenta", "magenta"),
        "preempted" => ("lightblue", "teal"),
        "throttled" => ("blue", "blue"),
        "block-in-place" => ("green", "green"),
        "panic" => ("brown", "ink"),
        "suspended" => ("darkgrey", "ink"),
        // Of a wall-clock profile, which has no markers.
        name => (wall::color(name).unwrap_or("lightred"), "grey"),
    }
}

/// A worker in a run, or all threads of it that are no workers, or where its loops' threads were.
struct Thread {
    name: String,
    process: String,
    pid: u64,
    tid: String,
    start_ns: u64,
    end_ns: u64,
    samples: Samples,
    markers: Markers,
}

#[derive(Default)]
struct Samples {
    stack: Column,
    time: Column,
    weight: Column,
}

impl Samples {
    fn push(&mut self, stack: usize, ns: u64, weight_ns: u64) {
        self.stack.push(stack);
        self.time.push(ms(ns));
        self.weight.push(ms(weight_ns));
    }
}

#[derive(Default)]
struct Markers {
    data: Column,
    /// What it is called: whether its poll has ended.
    has_ended: Vec<bool>,
    start: Column,
    end: Column,
    category: Column,
}

impl Thread {
    fn of<'r>(
        run: &Run,
        pid: u64,
        lane: u64,
        start_ns: u64,
        polls: &[(&'r SlowPoll, bool)],
        shared: &mut Shared<'r>,
    ) -> Thread {
        let end_ns = start_ns.saturating_add(run.elapsed_ns);
        let (mut samples, mut markers) = (Samples::default(), Markers::default());
        let idle = shared.idle();
        samples.push(idle, start_ns, 0);
        // Times must not go back, and slow polls of threads that are no workers can overlap.
        let mut now = start_ns;
        for (slow, has_ended) in polls {
            let category = shared.category(slow);
            let from_ns = start_ns.saturating_add(slow.start_ns);
            now = now.max(from_ns);
            samples.push(idle, now, 0);
            let mut first = None;
            for part in parts(slow) {
                let frames = shared.tables.frames(slow, &part);
                let stack = shared.stack(&frames, category);
                first.get_or_insert(stack);
                // A sample is drawn halfway to its neighbours: two of them fill what lies between.
                samples.push(stack, now, part.ns);
                now = now.max(now.saturating_add(part.ns).min(from_ns.saturating_add(slow.duration_ns)));
                samples.push(stack, now, 0);
            }
            samples.push(idle, now, 0);
            markers.has_ended.push(*has_ended);
            markers.data.push(data(run, slow, first.map(|stack| (from_ns, stack))));
            markers.start.push(ms(from_ns));
            markers.end.push(ms(from_ns.saturating_add(slow.duration_ns)));
            markers.category.push(category);
        }
        samples.push(idle, now.max(end_ns), 0);
        Thread {
            name: lane_name(lane),
            process: escape(&run.label()).into_owned(),
            pid,
            tid: format!("{pid}.{lane}"),
            start_ns,
            end_ns: now.max(end_ns),
            samples,
            markers,
        }
    }
}

/// The fields of a marker: key, what it is called, and how the profiler shows it. What may have paths is left out by the profiler
/// when a profile is uploaded, unless its user wants it.
const FIELDS: [(&str, &str, &str); 19] = [
    ("group", "Group", "string"),
    ("why", "Cause", "string"),
    ("call", "Call", "sanitized-string"),
    ("line", "Line", "string"),
    ("function", "Function", "string"),
    ("task", "Task", "string"),
    ("taskId", "Task id", "integer"),
    ("spawnedAt", "Spawned at", "string"),
    ("future", "Future", "string"),
    ("span", "Span", "string"),
    ("traceId", "Trace id", "string"),
    ("held", "Held", "sanitized-string"),
    ("cpu", "On the CPU", "duration"),
    ("runDelay", "Ready, without a CPU", "duration"),
    ("offCpu", "Off the CPU", "duration"),
    ("tasks", "Tasks that waited", "integer"),
    ("waited", "They waited, at least", "duration"),
    ("looks", "Looks", "integer"),
    ("color", "Colour", "string"),
];

/// What a marker tells: [`FIELDS`].
fn data(run: &Run, slow: &SlowPoll, stack: Option<(u64, usize)>) -> Value {
    let text = |text: Option<&str>| text.map(|text| Value::from(escape(text)));
    let ms = |ns: Option<u64>| ns.map(|ns| Value::from(ns as f64 / 1e6));
    let detail = slow.detail.as_deref();
    let span = detail.and_then(|detail| detail.span.as_ref());
    let cause = slow.cause.as_deref();
    let known = [
        ("type", Some("SlowPoll".into())),
        ("group", text(Some(&run.group))),
        ("why", text(cause)),
        ("call", text(slow.syscall.as_ref().map(|call| call.text.as_str()))),
        ("line", text(slow.blocking_line.as_deref())),
        ("function", text(slow.function.as_deref())),
        ("task", text(Some(&task(slow)))),
        ("taskId", slow.task_id.get().map(Value::from)),
        ("spawnedAt", text(slow.spawned_at.as_deref())),
        ("future", text(slow.future.as_deref())),
        ("span", text(span.map(|span| span.name.as_str()))),
        ("traceId", text(span.and_then(|span| span.trace_id.as_deref()))),
        ("held", text(holder(slow).as_deref())),
        ("cpu", ms(slow.cpu_ns.get())),
        ("runDelay", ms(slow.run_delay_ns.get())),
        ("offCpu", ms(slow.off_cpu_ns())),
        ("tasks", slow.blame().map(|blame| blame.tasks.into())),
        ("waited", ms(slow.blame().map(|blame| blame.wait_ns))),
        ("looks", slow.looks.map(Value::from)),
        ("color", Some(cause.map_or("grey", |cause| colors(cause).1).into())),
        ("cause", stack.map(|(ns, stack)| json!({ "time": ns as f64 / 1e6, "stack": stack }))),
    ];
    known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect::<Map<String, Value>>().into()
}
