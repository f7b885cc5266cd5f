//! `pollscope schema`: what it says of recordings is what the program writes.

use serde_json::{Value, json};

use crate::support::{Folder, assert_ends, stdout};

/// The keys that every recording of this version has, by the object that they are in.
const CONTRACT: &[(&str, &str)] = &[
    ("", "schema environment scenario runs findings gates"),
    ("/properties/environment", "pollscope os kernel cpus clock command"),
    ("/properties/scenario/anyOf/0", "name why seed settings"),
    ("/properties/findings/items", "code group sentence advice at"),
    ("/properties/gates/items", "expr verdict value"),
    (
        "/$defs/run",
        "group subject started_at elapsed_ns ended coverage merge polls schedule_latency lag response_time loop_busy_ns \
         slow_poll_threshold_ns slow_polls_total slow_polls_are slow_polls_dropped stacks slow_polls sites ledger intervals",
    ),
    ("/$defs/subject/oneOf/0", "kind mode round flavor workers"),
    ("/$defs/subject/oneOf/1", "kind name"),
    ("/$defs/run/properties/coverage", "source sees blind_to"),
    ("/$defs/merge", "verdict reason inputs lines bytes lost duplicated reordered torn foreign"),
    (
        "/$defs/slow_poll",
        "id task_id spawned_at worker start_ns duration_ns start_is end_is cpu_ns cause places stack_complete blame",
    ),
    ("/$defs/place", "line syscall stack"),
    ("/$defs/place/properties/syscall/anyOf/0", "name fd path bytes"),
    ("/$defs/frame", "function file line"),
    ("/$defs/slow_poll/properties/blame/anyOf/0", "tasks wait_ns"),
    ("/$defs/run/properties/sites/anyOf/0/items", "spawned_at task_name polls slow"),
    ("/$defs/run/properties/intervals/items", "start_ns polls lag busy_ns"),
    ("/$defs/dist", "count min_ns p50_ns p90_ns p99_ns p999_ns max_ns mean_ns histogram"),
];

fn schema() -> Value {
    let output = Folder::new().run("schema");
    assert_ends(&output, 0, &[]);
    serde_json::from_str(&stdout(&output)).expect("JSON")
}

/// Runs that between them have a merge, slow polls, who waited and gates.
fn recordings() -> Vec<Value> {
    let folder = Folder::new();
    let slow = "--quiet --slow 10ms";
    for (run, file) in [
        (format!("run slow-coroutine --set block.duration=20ms --set block.run_for=60ms {slow}"), "a"),
        (format!("run slow-sink --set merge.lines=200 --set merge.inputs=2 {slow} --fail-on slow_polls>=0"), "b"),
    ] {
        assert_ends(&folder.run(&format!("{run} --json {file}")), 0, &[]);
    }
    ["a", "b"].map(|file| serde_json::from_slice(&folder.read(file)).expect("JSON")).into()
}

/// The schema without room for keys that it does not describe.
fn closed(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(object) => {
            for value in object.values_mut() {
                *value = closed(value.take());
            }
            if object.get("properties").is_some_and(|properties| properties.is_object()) && object.contains_key("type")
            {
                object.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| *value = closed(value.take())),
        _ => {}
    }
    schema
}

fn errors(schema: &Value, recording: &Value) -> Vec<String> {
    let validator = jsonschema::draft202012::new(schema).expect("a schema");
    validator.iter_errors(recording).map(|error| format!("{}: {error:.300}", error.instance_path())).collect()
}

#[test]
fn what_runs_write_is_what_it_describes_and_nothing_else() {
    let schema = schema();
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
    let closed = closed(schema.clone());
    for recording in recordings() {
        assert_eq!((errors(&schema, &recording), errors(&closed, &recording)), (Vec::new(), Vec::new()));
        assert!(recording["runs"][0]["slow_polls"].as_array().is_some_and(|polls| !polls.is_empty()));
        let mut more = recording;
        more["runs"][0]["new"] = json!(1);
        assert_eq!((errors(&schema, &more).len(), errors(&closed, &more).len()), (0, 1), "keys may be added");
    }
}

#[test]
fn keys_of_the_contract_are_required() {
    let schema = schema();
    for (pointer, keys) in CONTRACT {
        let object = schema.pointer(pointer).unwrap_or_else(|| panic!("{pointer}"));
        let mut required: Vec<&str> =
            object["required"].as_array().expect(pointer).iter().filter_map(Value::as_str).collect();
        let mut keys: Vec<&str> = keys.split_whitespace().collect();
        required.sort_unstable();
        keys.sort_unstable();
        assert!(keys.iter().all(|key| required.contains(key)), "{pointer}: {keys:?} {required:?}");
        assert!(required.iter().all(|key| object["properties"].get(key).is_some()), "{pointer}: {required:?}");
    }
}

#[test]
fn a_recording_that_lacks_one_or_has_another_unit_is_refused() {
    let schema = schema();
    let whole = recordings().remove(0);
    let refused = |change: fn(&mut Value)| {
        let mut recording = whole.clone();
        change(&mut recording);
        !errors(&schema, &recording).is_empty()
    };
    assert!(refused(|recording| drop(recording["runs"][0].as_object_mut().unwrap().remove("polls"))));
    assert!(refused(|recording| recording["schema"] = json!("pollscope.recording/1")));
    assert!(refused(|recording| recording["runs"][0]["elapsed_ns"] = json!("1s")));
    assert!(refused(|recording| recording["runs"][0]["elapsed_ns"] = json!(null)));
    assert!(refused(|recording| recording["runs"][0]["polls"]["max_ns"] = json!(-1)));
    assert!(refused(|recording| recording["runs"][0]["slow_polls"][0]["cause"] = json!("magic")));
}
