//! A trace in the JSON that Perfetto and Chrome's `about:tracing` open.
//!
//! One process a run, named by mode and round, at its place on one clock that starts with the first run (services can run beside each
//! other); one thread a worker, one for the slow polls of threads that are no worker, and as many as it takes for tasks that wait at
//! the same time. Times are microseconds, with fractions.
//!
//! | event | what |
//! |---|---|
//! | `X` `slow-poll` | a slow poll; `args` has what is known of it: cause, system call, blocking line, task, who waited |
//! | `X` `stall-open` | the same of a poll that had not ended when the recording did: it ends with what was seen
//! | `X` `wait` | the task that waited longest for a slow poll, from its wake to its poll |
//! | `s`, `f` | from that slow poll to that wait: at the wake, or the slow poll's beginning if that came later; and at its end |
//! | `C` `polls per second`, `busy %`, `longest busy stretch (ms)`, `worst lag (ms)` | of each interval, at its beginning |
//! | `C` `queued tasks` | ready, and in the global or a worker's own queue, at an interval's beginning |
//! | `M` | names of processes and threads, and their order |
//!
//! A poll counts where it ended, so an interval in which a long one ended can be busy for more than 100 %; so does a stretch.
//!
//! A recording has a single wake only of the task that waited longest for each slow poll: of the others it has how long they
//! waited in all, which stands in `args`, and none are made up. Nor is there a wake of one that a late timer or socket woke: when
//! its event came nobody knows. Of polls that were not slow there are only the counters. What is not known is left out of `args`.

mod waits;

#[cfg(test)]
mod rules;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use super::slow_poll::{holder, span, task};
use super::timeline::Timeline;
use crate::escape::{self, escape};
use crate::recording::{Precision, Queued, Recording, Run, SlowPoll, Text};
use waits::Waits;

/// The trace of all runs, on one line an event.
///
/// ```
/// # use pollscope_record::recording::wire;
/// # let head = include_str!("../recording/wire/example.json").split("\"runs\"").next().unwrap();
/// # let json = format!("{head}\"runs\":[],\"findings\":[],\"gates\":[]}}");
/// # let recording = wire::from_json(json.as_bytes()).unwrap();
/// // Of a recording without runs:
/// let trace: serde_json::Value = serde_json::from_str(&pollscope_record::report::trace::render(&recording)).unwrap();
/// assert_eq!((&trace["displayTimeUnit"], &trace["traceEvents"]), (&"ms".into(), &serde_json::json!([])));
/// ```
pub fn render(recording: &Recording) -> String {
    let timeline = Timeline::beside_each_other(&recording.runs);
    let runs = || recording.runs.iter().zip(1u64..);
    let mut events = Events::default();
    let mut names: Vec<Value> = Vec::new();
    let mut flows = 0;
    for ((run, pid), start_ns) in runs().zip(&timeline.starts_ns) {
        let waits = Waits::of(run);
        names.extend(self::names(run, pid, &waits));
        run.slow_polls.iter().for_each(|slow| slow_poll("slow-poll", slow, pid, *start_ns, &mut events));
        run.stalls_open.iter().for_each(|open| slow_poll("stall-open", open, pid, *start_ns, &mut events));
        waits.push(run, pid, *start_ns, &mut flows, &mut events);
        counters(run, pid, *start_ns, &mut events);
    }
    // Stable: of one moment, what was pushed first.
    events.0.sort_by_key(|(ns, _)| *ns);
    let about = json!({
        "made by": format!("pollscope {}", escape(&recording.environment.pollscope)),
        "scenario": escape(recording.name()),
    });
    let mut trace = format!("{{\"displayTimeUnit\":\"ms\",\"otherData\":{about},\"traceEvents\":[\n");
    let names = names.into_iter().map(|event| event.to_string().into_boxed_str());
    for (index, event) in names.chain(events.0.into_iter().map(|(_, event)| event)).enumerate() {
        trace += if index == 0 { "" } else { ",\n" };
        trace += &event;
    }
    escape::json(trace + "\n]}\n")
}

/// Events with their times, in nanoseconds. Kept as text: of a million, the values would take five times as much memory.
#[derive(Default)]
struct Events(Vec<(u64, Box<str>)>);

impl Events {
    fn push(&mut self, ns: u64, event: &Value) {
        self.0.push((ns, event.to_string().into_boxed_str()));
    }
}

/// A thread that is no worker has the lane of number 0.
pub(super) fn lane(worker: Option<u64>) -> u64 {
    worker.map_or(0, |worker| worker.saturating_add(1))
}

pub(super) fn lane_name(lane: u64) -> String {
    lane.checked_sub(1).map_or("not a worker".to_owned(), |worker| format!("worker {worker}"))
}

fn micros(ns: u64) -> f64 {
    ns as f64 / 1e3
}

/// The lanes of polls, in their order.
pub(super) fn poll_lanes(run: &Run) -> Vec<u64> {
    let mut lanes: Vec<u64> = run.subject.workers().into_iter().flat_map(|workers| 1..=workers.min(1_024)).collect();
    lanes.extend(run.slow_polls.iter().chain(&run.stalls_open).map(|slow| lane(slow.worker)));
    lanes.sort_unstable();
    lanes.dedup();
    lanes
}

fn names(run: &Run, pid: u64, waits: &Waits) -> Vec<Value> {
    let meta =
        |name: &str, tid: u64, args: Value| json!({"ph": "M", "name": name, "pid": pid, "tid": tid, "args": args});
    let round = run.subject.round().map_or(String::new(), |round| format!(" round {round}"));
    let process = format!("{}{round}", escape(&run.group));
    let mut events = vec![
        meta("process_name", 0, json!({ "name": process })),
        meta("process_sort_index", 0, json!({ "sort_index": pid })),
    ];
    let polls = poll_lanes(run).into_iter().map(|tid| (tid, lane_name(tid)));
    let waiting = (0..waits.lanes).map(|lane| (waits.tid(lane), "who waited".to_owned()));
    for (tid, name) in polls.chain(waiting) {
        events.push(meta("thread_name", tid, json!({ "name": name })));
        events.push(meta("thread_sort_index", tid, json!({ "sort_index": tid })));
    }
    events
}

fn slow_poll(kind: &str, slow: &SlowPoll, pid: u64, run_start_ns: u64, events: &mut Events) {
    let ns = run_start_ns.saturating_add(slow.start_ns);
    let name = task(slow);
    let event = json!({
        "ph": "X", "cat": kind, "name": escape(&name), "pid": pid, "tid": lane(slow.worker),
        "ts": micros(ns), "dur": micros(slow.duration_ns), "args": args(slow),
    });
    events.push(ns, &event);
}

fn args(slow: &SlowPoll) -> Map<String, Value> {
    let text = |text: &Option<Text>| text.as_deref().map(|text| Value::from(escape(text)));
    let ms = |ns: Option<u64>| ns.map(|ns| Value::from(ns as f64 / 1e6));
    let within = |end: Precision| match end {
        Precision::Exact => None,
        Precision::WithinNs(ns) => ms(Some(ns)),
    };
    let detail = slow.detail.as_deref();
    let known = [
        ("cause", slow.cause.as_deref().map(|cause| Value::from(escape(cause)))),
        ("syscall", slow.syscall.as_ref().map(|call| Value::from(escape(&call.text)))),
        ("blocking_line", text(&slow.blocking_line)),
        ("function", text(&slow.function)),
        ("spawned_at", text(&slow.spawned_at)),
        ("task_id", slow.task_id.get().map(Value::from)),
        ("future", text(&slow.future)),
        ("span", span(slow).map(|span| Value::from(escape(&span)))),
        ("trace_id", detail.and_then(|detail| text(&detail.span.as_ref()?.trace_id))),
        ("start_is_within_ms", detail.and_then(|detail| within(detail.start_is))),
        ("end_is_within_ms", detail.and_then(|detail| within(detail.end_is))),
        ("looks", slow.looks.map(Value::from)),
        ("held", holder(slow).map(|held| Value::from(escape(&held)))),
        ("cpu_ms", ms(slow.cpu_ns.get())),
        ("run_delay_ms", ms(slow.run_delay_ns.get())),
        ("off_cpu_ms", ms(slow.off_cpu_ns())),
        ("tasks_that_waited", slow.blame().map(|blame| Value::from(blame.tasks))),
        ("waited_ms_at_least", ms(slow.blame().map(|blame| blame.wait_ns))),
        ("waited_ms_at_most", ms(slow.blame().map(|blame| blame.wait_most_ns))),
    ];
    known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

fn counters(run: &Run, pid: u64, run_start_ns: u64, events: &mut Events) {
    let mut push_all = |ns: u64, name: &str, values: Value| {
        let ns = run_start_ns.saturating_add(ns);
        events.push(ns, &json!({"ph": "C", "name": name, "pid": pid, "tid": 0, "ts": micros(ns), "args": values}));
    };
    let queued = run.intervals.iter().filter_map(|interval| Some((interval.start_ns, interval.queued?)));
    let none = queued.clone().next_back().map(|(_, last)| Queued { global: 0, local: last.local.map(|_| 0) });
    for (ns, queued) in queued.chain(none.map(|none| (run.elapsed_ns, none))) {
        let mut values = json!({ "global": queued.global });
        if let Some(local) = queued.local {
            values["local"] = local.into();
        }
        push_all(ns, "queued tasks", values);
    }
    let mut push = |ns: u64, name: &str, value: f64| push_all(ns, name, json!({ "value": value }));
    let knows_polls = run.intervals.iter().any(|interval| interval.polls.is_some());
    let knows_busy = run.subject.workers().is_some() && run.intervals.iter().any(|interval| interval.busy_ns.is_some());
    let knows_stretches = run.intervals.iter().any(|interval| interval.longest_stretch_ns.is_some());
    for (index, interval) in run.intervals.iter().enumerate() {
        let next = run.intervals.get(index + 1).map_or(run.elapsed_ns, |next| next.start_ns);
        let length_ns = next.saturating_sub(interval.start_ns) as f64;
        if length_ns > 0.0 {
            if let Some(polls) = &interval.polls {
                push(interval.start_ns, "polls per second", polls.count() as f64 * 1e9 / length_ns);
            }
            if let (Some(busy), Some(workers)) = (interval.busy_ns, run.subject.workers()) {
                push(interval.start_ns, "busy %", 100.0 * busy as f64 / length_ns / workers.max(1) as f64);
            }
        }
        if knows_stretches {
            // Where none ended, the counter must not go on with the last one.
            let longest = interval.longest_stretch_ns.unwrap_or_default();
            push(interval.start_ns, "longest busy stretch (ms)", longest as f64 / 1e6);
        }
        if let Some(worst) = interval.lag.as_ref().and_then(|lag| lag.max_ns) {
            push(interval.start_ns, "worst lag (ms)", worst as f64 / 1e6);
        }
    }
    // A counter keeps its value until its next event: after the run there are no polls.
    if !run.intervals.is_empty() {
        if knows_polls {
            push(run.elapsed_ns, "polls per second", 0.0);
        }
        if knows_busy {
            push(run.elapsed_ns, "busy %", 0.0);
        }
        if knows_stretches {
            push(run.elapsed_ns, "longest busy stretch (ms)", 0.0);
        }
    }
}
