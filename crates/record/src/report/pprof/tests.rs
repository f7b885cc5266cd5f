use std::io::Read;

use flate2::read::GzDecoder;

use super::*;
use crate::fixture::{self, MS};
use crate::recording::{Cause, Detail, Frame, Kind, Place, Syscall, Text};

/// The profile as a reader has it: one message, though it was written as several.
fn read(recording: &Recording) -> Profile {
    let bytes = render(recording);
    assert_eq!(bytes, render(recording), "the same each time");
    let mut message = Vec::new();
    GzDecoder::new(&*bytes).read_to_end(&mut message).expect("gzip");
    let profile = Profile::decode(&*message).expect("a profile");
    check(&profile);
    profile
}

/// What pprof's own reader asks of a profile.
fn check(profile: &Profile) {
    assert_eq!(profile.string_table[0], "");
    let text = |number: i64| &profile.string_table[usize::try_from(number).expect("a text's number")];
    assert!((1..).zip(&profile.function).all(|(number, function)| function.id == number));
    for sample in &profile.sample {
        assert_eq!(sample.value.len(), profile.sample_type.len());
        assert!(sample.location_id.iter().all(|id| (1..=profile.location.len() as u64).contains(id)), "{sample:?}");
        assert!(!sample.location_id.is_empty() && sample.label.iter().all(|label| !text(label.str).is_empty()));
    }
    for (number, location) in (1..).zip(&profile.location) {
        assert_eq!(location.id, number);
        assert!((1..=profile.function.len() as u64).contains(&location.line[0].function_id));
    }
}

/// Frames from the innermost on, values and labels, a line a sample.
fn lines(profile: &Profile) -> Vec<String> {
    let text = |number: i64| profile.string_table[number as usize].as_str();
    let frame = |id: &u64| {
        let line = &profile.location[*id as usize - 1].line[0];
        text(profile.function[line.function_id as usize - 1].name)
    };
    let sample = |sample: &Sample| {
        let frames: Vec<&str> = sample.location_id.iter().map(frame).collect();
        let labels: Vec<String> =
            sample.label.iter().map(|label| format!("{}={}", text(label.key), text(label.str))).collect();
        format!("{} {:?} {}", frames.join("<"), sample.value, labels.join(" "))
    };
    profile.sample.iter().map(sample).collect()
}

fn frame(function: &str) -> Frame {
    Frame { function: Some(function.into()), file: Some("src/stock.rs".into()), line: Some(7) }
}

fn call(name: &str, text: &str) -> Option<crate::recording::Shared<Syscall>> {
    let call = Syscall { name: name.into(), fd: Some(9), path: None, peer: None, bytes: None, text: text.into() };
    Some(call.into())
}

fn seen_at_two_places() -> Recording {
    let mut recording = fixture::recording();
    recording.runs.truncate(1);
    let run = &mut recording.runs[0];
    run.slow_polls.truncate(1);
    let place = Place { share_ns: Some(100 * MS), stack: vec![frame("count")].into(), ..Place::default() };
    let slow = &mut run.slow_polls[0];
    slow.duration_ns = 503 * MS;
    slow.share_ns = (400 * MS).into();
    slow.detail = Detail { more_places: vec![place], ..Detail::default() }.boxed();
    let kind = slow.kind_mut();
    kind.cause = Some(Cause::from("lock"));
    kind.stack = vec![frame("reserve"), frame("handle")].into();
    kind.syscall = call("futex", "futex");
    recording
}

#[test]
fn each_place_is_a_sample_and_values_add_up_to_the_slow_polls() {
    let mut recording = seen_at_two_places();
    let profile = read(&recording);
    let labels = "group=naive run=1 cause=lock";
    let task = "spawned_at=src/pipeline/merge.rs:88 task_id=7 task=tail worker=0";
    let root = "spawned at src/pipeline/merge.rs:88";
    assert_eq!(
        lines(&profile),
        [
            format!("futex<reserve<handle<{root} [1, 400000000] {labels} call=futex {task}"),
            format!("count<{root} [0, 100000000] {labels} {task}"),
            format!("not known where<{root} [0, 3000000] {labels} {task}"),
        ]
    );
    let text = |number: i64| profile.string_table[number as usize].as_str();
    assert_eq!(text(profile.default_sample_type), "time");
    assert_eq!(profile.time_nanos, 1_777_889_472_000_000_000);
    assert_eq!(profile.duration_nanos, 3_020_000_000);
    assert_eq!(text(profile.comment[0]), "pollscope 0.1.0: slow polls of merge");
    assert_eq!(text(profile.comment[2]), "naive, round 1: 6 slow polls, slow from 100 ms on");

    let run = &mut recording.runs[0];
    run.slow_polls_dropped = 5;
    let open = run.slow_polls.pop().expect("it is there");
    run.stalls_open.push(open);
    let profile = read(&recording);
    assert!(lines(&profile).iter().all(|line| line.ends_with(" state=not ended")), "{:?}", lines(&profile));
    assert!(profile.string_table.iter().any(|text| text.ends_with("of which 5 are not listed here")));
}

#[test]
fn names_cannot_leave_their_place_and_what_is_unknown_has_no_label() {
    let mut recording = seen_at_two_places();
    let slow = &mut recording.runs[0].slow_polls[0];
    (slow.task_id, slow.share_ns, slow.detail) = Default::default();
    *slow.kind_mut() = Kind {
        task_name: Some(Text::from("\u{1b}[31m\0\u{202e}\n")),
        stack: vec![Frame { function: None, file: None, line: Some(u64::MAX) }].into(),
        ..Kind::default()
    };
    slow.duration_ns = u64::MAX;
    let profile = read(&recording);
    let all = format!("? [1, {}] group=naive run=1 task=\\u{{1b}}[31m\\u{{0}}\\u{{202e}}\\n", i64::MAX);
    assert_eq!(lines(&profile), [all]);
}

#[test]
fn of_no_slow_poll_there_is_a_profile_all_the_same() {
    let mut recording = fixture::recording();
    recording.runs.iter_mut().for_each(|run| run.slow_polls.clear());
    assert_eq!(read(&recording).sample, []);
    assert_eq!(read(&fixture::recording_of(Vec::new())).duration_nanos, 0);
}

#[test]
fn a_process_that_was_looked_at_has_a_third_value_that_adds_up_to_all_looks() {
    let mut recording = seen_at_two_places();
    assert_eq!(read(&recording).sample_type.len(), 2, "there is none where nobody looked");
    recording.runs.push(fixture::profiled());
    let profile = read(&recording);
    let text = |number: i64| profile.string_table[number as usize].as_str();
    let types: Vec<&str> = profile.sample_type.iter().map(|of| text(of.kind)).collect();
    assert_eq!((types, text(profile.default_sample_type)), (vec!["slow_polls", "time", "wall"], "time"));
    let sum = |at: usize| profile.sample.iter().map(|sample| sample.value[at]).sum::<i64>();
    assert_eq!((sum(0), sum(1), sum(2)), (1, 503 * MS as i64, 40_000 * MS as i64));
    let lines = lines(&profile);
    for line in [
        "parked [0, 0, 24000000000] group=api state=parked",
        "openat<open64<api::conf::load<api::answer::{{closure}}<future type api::answer::{{closure}} \
         [0, 0, 9600000000] group=api state=in a poll, off the CPU call=openat(\"/etc/api/conf.toml\") future=api::answer::{{closure}}",
        "elsewhere [0, 0, 400000000] group=api state=elsewhere",
    ] {
        assert!(lines.contains(&line.to_owned()), "{line} in {lines:#?}");
    }
    assert!(profile.string_table.iter().any(|text| text.starts_with("api: wall is where")), "the comments say so");
    recording.runs.remove(0);
    let calm = read(&recording);
    assert_eq!(calm.string_table[calm.default_sample_type as usize], "wall", "nothing was slow");
}

#[test]
fn hostile_profiles_stay_within_their_numbers() {
    let mut recording = fixture::profiled_recording();
    let profile = recording.runs[0].profile.as_mut().expect("a profile");
    (profile.period_ns, profile.looks, profile.parked) = (u64::MAX, u64::MAX, u64::MAX);
    profile.places[0].call = Some("\u{1b}[31m\0(".into());
    let lines = lines(&read(&recording));
    assert!(lines.contains(&format!("parked [0, 0, {}] group=api state=parked", i64::MAX)), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("\\u{1b}[31m\\u{0}<")), "{lines:#?}");
    **recording.runs[0].profile.as_mut().expect("a profile") = crate::recording::Profile::default();
    assert_eq!(read(&recording).sample, []);
}
