//! The document of a profile: its tables, column by column, as the profiler names them.

use std::fmt::{Display, Write};

use serde_json::{Value, json};

use super::{FIELDS, Shared, Thread, VERSION};
use crate::escape::{self, escape};
use crate::recording::Recording;
use crate::report::stacks::Once;
use crate::report::timeline::Timeline;

/// The colour that a category is drawn in, as the profiler calls it.
pub(super) struct Category<'a> {
    pub(super) name: &'a str,
    pub(super) color: &'static str,
}

/// A list in JSON. Kept as text: of a million, the values would take five times as much memory.
#[derive(Default)]
pub(super) struct Column {
    text: String,
    length: usize,
}

impl Column {
    /// Adds what is JSON as it is displayed.
    pub(super) fn push(&mut self, value: impl Display) {
        let comma = if self.length == 0 { "" } else { "," };
        write!(self.text, "{comma}{value}").expect("a text takes all that is written");
        self.length += 1;
    }

    fn of<T: Display>(values: impl IntoIterator<Item = T>) -> Column {
        let mut column = Column::default();
        values.into_iter().for_each(|value| column.push(value));
        column
    }

    fn all(value: impl Display, length: usize) -> Column {
        Column::of((0..length).map(|_| &value))
    }
}

/// A time, or how long something took, in milliseconds: with all digits.
pub(super) fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

fn or_null(value: Option<impl Display>) -> String {
    value.map_or("null".to_owned(), |value| value.to_string())
}

/// A table of so many rows: an object of columns.
fn table(length: usize, columns: &[(&str, &Column)]) -> String {
    let mut text = format!("{{\"length\":{length}");
    for (name, column) in columns {
        debug_assert_eq!(column.length, length, "{name}");
        write!(text, ",\n\"{name}\":[{}]", column.text).expect("a text takes all that is written");
    }
    text + "}"
}

/// The whole profile; of the threads, `busy` are shown at first.
pub(super) fn document(
    recording: &Recording,
    timeline: &Timeline,
    shared: Shared,
    threads: &[Thread],
    busy: &[usize],
) -> String {
    let mut texts = Once::default();
    let meta = meta(recording, timeline, &shared, threads, busy);
    let stacks = tables(&shared, &mut texts);
    let names = [true, false].map(|has_ended| texts.number_of(if has_ended { "slow poll" } else { "stall" }));
    let threads: Vec<String> = threads.iter().map(|of| thread(of, names)).collect();
    let texts = Value::from(texts.list());
    escape::json(format!(
        "{{\"meta\":{meta},\n\"libs\":[],\n\"shared\":{{{stacks},\n\"stringArray\":{texts}}},\n\"threads\":[{}]}}\n",
        threads.join(",\n")
    ))
}

fn meta(recording: &Recording, timeline: &Timeline, shared: &Shared, threads: &[Thread], busy: &[usize]) -> Value {
    let environment = &recording.environment;
    let category = |of: &Category| json!({ "name": of.name, "color": of.color, "subcategories": ["Other"] });
    let categories: Vec<Value> = shared.categories().iter().map(category).collect();
    let ends = threads.iter().map(|thread| thread.end_ns).max();
    let name = escape(recording.name());
    let made_by = format!("pollscope {}", escape(&environment.pollscope));
    let has_profile = recording.runs.iter().any(|run| run.profile.is_some());
    let held = if has_profile {
        "slow polls, not every poll; and where loops' threads were at looks, without times"
    } else {
        "slow polls only, not every poll"
    };
    let mut meta = json!({
        "version": 27,
        "preprocessedProfileVersion": VERSION,
        "interval": 1,
        "startTime": timeline.epoch_ms.unwrap_or(0),
        "profilingStartTime": 0,
        "profilingEndTime": ms(ends.unwrap_or(0)),
        "processType": 0,
        "product": name,
        "importedFrom": made_by,
        "oscpu": escape(&environment.os),
        "stackwalk": 1,
        "debug": false,
        "symbolicated": true,
        "symbolicationNotSupported": true,
        "usesOnlyOneStackType": true,
        "sourceCodeIsNotOnSearchfox": true,
        "keepProfileThreadOrder": true,
        "categories": categories,
        "markerSchema": schema(),
        "extra": [{ "label": "Recording", "entries": [{
            "label": "Made by", "format": "string",
            "value": format!("{made_by}, from a recording of {name}: {held}") }] }],
    });
    if !busy.is_empty() {
        (meta["initialVisibleThreads"], meta["initialSelectedThreads"]) = (busy.into(), busy[..1].into());
    }
    meta
}

/// What the profiler shows of a marker, and where.
fn schema() -> Value {
    let fields = FIELDS.map(|(key, label, format)| match key {
        "color" => json!({ "key": key, "label": label, "format": format, "hidden": true }),
        _ => json!({ "key": key, "label": label, "format": format }),
    });
    json!([{
        "name": "SlowPoll",
        "tooltipLabel": "{marker.data.task}",
        "tableLabel": "{marker.data.line} {marker.data.call}",
        "chartLabel": "{marker.data.task}",
        "display": ["marker-chart", "marker-table", "timeline-overview"],
        "description": "A poll that lasted at least the threshold, in which no other task of its thread ran.",
        "colorField": "color",
        "fields": fields,
    }])
}

/// The tables of stacks, frames, functions and files.
fn tables(shared: &Shared, texts: &mut Once<String>) -> String {
    let (stacks, frames) = (shared.stacks.list(), shared.frames.list());
    let (lines, functions) = (shared.tables.frames.list(), shared.tables.functions.list());
    let nulls = |length| Column::all("null", length);
    let stack = table(
        stacks.len(),
        &[
            ("frame", &Column::of(stacks.iter().map(|(_, frame)| frame))),
            ("prefix", &Column::of(stacks.iter().map(|(prefix, _)| or_null(*prefix)))),
        ],
    );
    let none = nulls(frames.len());
    let frame = table(
        frames.len(),
        &[
            ("address", &Column::all(-1, frames.len())),
            ("inlineDepth", &Column::all(0, frames.len())),
            ("category", &Column::of(frames.iter().map(|(_, category)| or_null(*category)))),
            ("subcategory", &Column::of(frames.iter().map(|(_, category)| or_null(category.map(|_| 0))))),
            ("func", &Column::of(frames.iter().map(|(frame, _)| lines[*frame].0))),
            ("nativeSymbol", &none),
            ("innerWindowID", &none),
            ("line", &Column::of(frames.iter().map(|(frame, _)| or_null(lines[*frame].1)))),
            ("column", &none),
        ],
    );
    let mut files: Once<String> = Once::default();
    let source =
        |file: &Option<String>, files: &mut Once<String>| or_null(file.as_ref().map(|file| files.number_of(file)));
    let none = nulls(functions.len());
    let function = table(
        functions.len(),
        &[
            ("name", &Column::of(functions.iter().map(|of| texts.number_of(&of.name)))),
            ("isJS", &Column::all(false, functions.len())),
            ("relevantForJS", &Column::all(false, functions.len())),
            ("resource", &Column::all(-1, functions.len())),
            ("source", &Column::of(functions.iter().map(|of| source(&of.file, &mut files)))),
            ("lineNumber", &none),
            ("columnNumber", &none),
        ],
    );
    let files = files.list();
    let sources = table(
        files.len(),
        &[("uuid", &nulls(files.len())), ("filename", &Column::of(files.iter().map(|file| texts.number_of(file))))],
    );
    let none = Column::default();
    let resources = table(0, &[("lib", &none), ("name", &none), ("host", &none), ("type", &none)]);
    let symbols = table(0, &[("libIndex", &none), ("address", &none), ("name", &none), ("functionSize", &none)]);
    format!(
        "\"stackTable\":{stack},\n\"frameTable\":{frame},\n\"funcTable\":{function},\n\"sources\":{sources},\n\
         \"resourceTable\":{resources},\n\"nativeSymbols\":{symbols}"
    )
}

/// `names`: those of markers of slow polls, and of stalls.
fn thread(of: &Thread, names: [usize; 2]) -> String {
    let about = json!({
        "processType": "default",
        "processName": of.process,
        "processStartupTime": ms(of.start_ns),
        "processShutdownTime": ms(of.end_ns),
        "registerTime": ms(of.start_ns),
        "unregisterTime": ms(of.end_ns),
        "pausedRanges": [],
        "showMarkersInTimeline": true,
        "name": of.name,
        "isMainThread": false,
        "pid": of.pid.to_string(),
        "tid": of.tid,
    });
    let samples = table(
        of.samples.time.length,
        &[("stack", &of.samples.stack), ("time", &of.samples.time), ("weight", &of.samples.weight)],
    );
    let length = of.markers.has_ended.len();
    let name = of.markers.has_ended.iter().map(|has_ended| names[usize::from(!has_ended)]);
    let markers = table(
        length,
        &[
            ("data", &of.markers.data),
            ("name", &Column::of(name)),
            ("startTime", &of.markers.start),
            ("endTime", &of.markers.end),
            // An interval with both ends.
            ("phase", &Column::all(1, length)),
            ("category", &of.markers.category),
        ],
    );
    let open = |object: String| object.strip_suffix('}').map(str::to_owned).unwrap_or_default();
    let (about, samples) = (open(about.to_string()), open(samples));
    format!("{about},\n\"samples\":{samples},\n\"weightType\":\"tracing-ms\"}},\n\"markers\":{markers}}}")
}
