use serde_json::Value;

use super::*;
use crate::fixture::{self, MS};
use crate::recording::{Cause, Detail, Frame, Place, Text};

/// The profile, after a look at what the profiler takes for granted.
fn read(recording: &Recording) -> Value {
    let text = render(recording);
    assert_eq!(text, render(recording), "the same each time");
    let profile: Value = serde_json::from_str(&text).expect("JSON");
    let shared = &profile["shared"];
    let length = |table: &Value| table["length"].as_u64().expect("a length");
    let numbers_below = |table: &Value, column: &str, end: u64| {
        let values = table[column].as_array().expect("a column");
        assert!(values.iter().all(|value| value.is_null() || value.as_u64() < Some(end)), "{column}: {values:?}");
    };
    for name in ["stackTable", "frameTable", "funcTable", "sources", "resourceTable", "nativeSymbols"] {
        is_a_table(&shared[name]);
    }
    let texts = shared["stringArray"].as_array().expect("texts").len() as u64;
    let categories = profile["meta"]["categories"].as_array().expect("categories").len() as u64;
    numbers_below(&shared["stackTable"], "frame", length(&shared["frameTable"]));
    numbers_below(&shared["frameTable"], "func", length(&shared["funcTable"]));
    numbers_below(&shared["frameTable"], "category", categories);
    numbers_below(&shared["funcTable"], "name", texts);
    numbers_below(&shared["funcTable"], "source", length(&shared["sources"]));
    numbers_below(&shared["sources"], "filename", texts);
    let prefixes = shared["stackTable"]["prefix"].as_array().expect("a column");
    assert!(prefixes.iter().zip(0..).all(|(prefix, stack)| prefix.is_null() || prefix.as_u64() < Some(stack)));
    for thread in profile["threads"].as_array().expect("threads") {
        let (samples, markers) = (&thread["samples"], &thread["markers"]);
        is_a_table(samples);
        is_a_table(markers);
        numbers_below(samples, "stack", length(&shared["stackTable"]));
        numbers_below(markers, "category", categories);
        numbers_below(markers, "name", texts);
        let times: Vec<f64> = samples["time"].as_array().expect("times").iter().filter_map(Value::as_f64).collect();
        assert!(times.len() as u64 == length(samples) && times.is_sorted(), "{times:?}");
    }
    profile
}

fn is_a_table(table: &Value) {
    let columns = table.as_object().expect("a table").values().filter_map(Value::as_array);
    let lengths: Vec<usize> = columns.map(Vec::len).collect();
    assert!(!lengths.is_empty() && lengths.iter().all(|length| Some(*length as u64) == table["length"].as_u64()));
}

/// The frames of a stack, from the outermost on.
fn names(profile: &Value, stack: &Value) -> Vec<String> {
    let shared = &profile["shared"];
    let at = |number: &Value| number.as_u64().expect("a number") as usize;
    let mut names = Vec::new();
    let mut next = stack.clone();
    while !next.is_null() {
        let frame = &shared["stackTable"]["frame"][at(&next)];
        let name = &shared["funcTable"]["name"][at(&shared["frameTable"]["func"][at(frame)])];
        names.insert(0, shared["stringArray"][at(name)].as_str().expect("a name").to_owned());
        next = shared["stackTable"]["prefix"][at(&next)].clone();
    }
    names
}

/// All samples that weigh something: their stack and their weight in milliseconds.
fn weights(profile: &Value) -> Vec<(String, f64)> {
    let mut all = Vec::new();
    for thread in profile["threads"].as_array().expect("threads") {
        let samples = &thread["samples"];
        let pairs =
            samples["stack"].as_array().expect("stacks").iter().zip(samples["weight"].as_array().expect("them"));
        let pairs = pairs.map(|(stack, weight)| (names(profile, stack).join(";"), weight.as_f64().expect("a weight")));
        all.extend(pairs.filter(|(_, weight)| *weight > 0.0));
    }
    all
}

fn frame(function: &str) -> Frame {
    Frame { function: Some(function.into()), file: Some("src/stock.rs".into()), line: Some(7) }
}

fn seen_at_two_places() -> Recording {
    let mut recording = fixture::recording();
    let run = &mut recording.runs[0];
    run.slow_polls.truncate(2);
    let place = Place { share_ns: Some(100 * MS), stack: vec![frame("count")].into(), ..Place::default() };
    let slow = &mut run.slow_polls[0];
    slow.duration_ns = 503 * MS;
    slow.share_ns = (400 * MS).into();
    slow.detail = Detail { more_places: vec![place], ..Detail::default() }.boxed();
    let kind = slow.kind_mut();
    kind.cause = Some(Cause::from("lock"));
    kind.stack = vec![frame("reserve"), frame("handle")].into();
    recording
}

#[test]
fn a_track_has_its_slow_polls_as_markers_and_their_places_by_weight() {
    let profile = read(&seen_at_two_places());
    let root = "spawned at src/pipeline/merge.rs:88";
    let expected = [
        (format!("{root};handle;reserve"), 400.0),
        (format!("{root};count"), 100.0),
        (format!("{root};not known where"), 3.0),
        (root.to_owned(), 168.4),
    ];
    assert_eq!(weights(&profile), expected);
    let threads = profile["threads"].as_array().expect("threads");
    let named: Vec<String> = threads.iter().map(|of| format!("{} {}", of["processName"], of["name"])).collect();
    assert_eq!(named, ["\"naive, round 1\" \"worker 0\"", "\"offloaded, round 1\" \"worker 0\""]);
    let markers = &threads[0]["markers"];
    assert_eq!(markers["startTime"], serde_json::json!([180, 714.123456]));
    assert_eq!(markers["data"][0]["why"], "lock");
    assert_eq!(names(&profile, &markers["data"][0]["cause"]["stack"]).last().expect("a frame"), "reserve");
    assert!(markers["data"][1].get("why").is_none(), "what is not known is not there");
    let category = |at: usize| {
        let number = markers["category"][at].as_u64().expect("a number") as usize;
        profile["meta"]["categories"][number]["name"].as_str().expect("a name").to_owned()
    };
    assert_eq!((category(0), category(1)), ("lock".to_owned(), "cause not known".to_owned()));
    assert_eq!(profile["meta"]["initialVisibleThreads"], serde_json::json!([0]));
}

#[test]
fn slow_polls_that_overlap_keep_their_weights_and_time_goes_forward() {
    let mut recording = seen_at_two_places();
    let run = &mut recording.runs[0];
    for slow in &mut run.slow_polls {
        (slow.start_ns, slow.share_ns, slow.detail) = (100 * MS, Default::default(), None);
        slow.kind_mut().worker = None;
    }
    let open = run.slow_polls.pop().expect("two");
    run.stalls_open.push(open);
    let profile = read(&recording);
    let weights: Vec<f64> = weights(&profile).into_iter().map(|(_, weight)| weight).collect();
    assert_eq!(weights, [503.0, 168.4]);
    let names: Vec<&Value> = profile["threads"].as_array().expect("threads").iter().map(|of| &of["name"]).collect();
    assert_eq!(names[0], "not a worker");
}

#[test]
fn hostile_names_and_numbers_stay_what_they_are() {
    let mut recording = seen_at_two_places();
    let slow = &mut recording.runs[0].slow_polls[0];
    let kind = slow.kind_mut();
    kind.task_name = Some(Text::from("\"}],\u{202e}\u{1b}[31m\u{2028}"));
    kind.cause = Some(Cause::from("solar\"wind"));
    kind.stack = vec![Frame { function: Some("\"}\n".into()), file: None, line: None }].into();
    (slow.start_ns, slow.duration_ns) = (u64::MAX, u64::MAX);
    let profile = read(&recording);
    let task = profile["threads"][0]["markers"]["data"].as_array().expect("markers")[1]["task"].clone();
    assert_eq!(task, "\"}],\\u{202e}\\u{1b}[31m\\u{2028}");
    assert_eq!(profile["meta"]["categories"][2]["name"], "solar\"wind");
    assert_eq!(read(&fixture::recording_of(Vec::new()))["threads"], serde_json::json!([]));
}

#[test]
fn a_process_that_was_looked_at_has_one_more_track_whose_weights_are_all_looks() {
    let mut recording = seen_at_two_places();
    recording.runs.push(fixture::profiled());
    let profile = read(&recording);
    let threads = profile["threads"].as_array().expect("threads");
    let track = threads.last().expect("a track");
    assert_eq!((&track["name"], &track["processName"]), (&"wall-clock profile (no times)".into(), &"api".into()));
    assert!(threads[..threads.len() - 1].iter().all(|other| other["tid"] != track["tid"]));
    let of_track: Vec<(String, f64)> = weights(&profile).split_off(weights(&seen_alone()).len());
    assert_eq!(of_track.iter().map(|(_, weight)| weight).sum::<f64>(), 40_000.0);
    assert_eq!(of_track[0], ("parked".to_owned(), 24_000.0));
    assert!(of_track.iter().any(|(stack, weight)| stack.ends_with("open64;openat") && *weight == 9_600.0));
    let categories = profile["meta"]["categories"].as_array().expect("categories");
    let color = |name: &str| &categories.iter().find(|of| of["name"] == name).expect("a category")["color"];
    assert_eq!(color("in a poll, off the CPU"), "red");
    assert_eq!(color("running or ready at an unknown place"), "yellow");
    let shown = profile["meta"]["initialVisibleThreads"].as_array().expect("tracks");
    assert_eq!(shown.last(), Some(&(threads.len() - 1).into()));
}

fn seen_alone() -> Value {
    read(&seen_at_two_places())
}

#[test]
fn a_profile_without_a_look_is_a_track_without_a_sample() {
    let mut recording = fixture::profiled_recording();
    **recording.runs[0].profile.as_mut().expect("a profile") = crate::recording::Profile::default();
    assert_eq!(
        read(&recording)["threads"].as_array().expect("threads").last().expect("a track")["samples"]["length"],
        0
    );
    let profile = recording.runs[0].profile.as_mut().expect("a profile");
    (profile.period_ns, profile.looks, profile.parked) = (u64::MAX, u64::MAX, u64::MAX);
    assert_eq!(weights(&read(&recording)).len(), 1);
}
