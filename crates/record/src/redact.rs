//! Hides paths in a recording: what `--redact` shows may be shown to anyone who may know the program. Pure.
//!
//! Hidden are the paths and addresses of system calls, paths in fields of spans, the folders of source files that lie outside the workspace, inputs and outputs in
//! settings, errors and reasons, and the values on the command line. Places in the workspace, crates and functions, tasks'
//! names, numbers and durations stay.
//!
//! A recording that was made without the probe's own `redact_paths` can have places relative to the folder that it was made in;
//! they are taken for the workspace's.

use std::collections::HashMap;

pub use pollscope_base::redact::HIDDEN;
pub use pollscope_base::redact::redacted_place as place;
use pollscope_base::redact::{HIDDEN_PEER, is_route, redacted_call_text, redacted_source, redacted_target};

use crate::findings::findings;
use crate::loops_time::call_name;
use crate::message::Message;
use crate::recording::{
    Frame, Kind, Place, ProfilePlace, Recording, Run, Shared, SlowPoll, Span, Subject, Syscall, Text,
};
pub use crate::wording::by_wording;

/// What stands for a value on the command line.
pub const VALUE: &str = "<value>";

/// The recording without paths. Its findings are made again, of what is left.
pub fn redact(recording: Recording) -> Recording {
    let Recording { mut environment, mut scenario, runs, gates, findings: _ } = recording;
    environment.command = command(&environment.command);
    if let Some(scenario) = &mut scenario {
        scenario.why = by_wording(&scenario.why);
        for (key, value) in &mut scenario.settings {
            if key == "files.output" || value.contains('/') {
                HIDDEN.clone_into(value);
            }
        }
    }
    let runs: Vec<Run> = runs.into_iter().map(redact_run).collect();
    Recording { environment, scenario, findings: findings(&runs), runs, gates }
}

/// A slow poll without paths, for who has no recording yet.
///
/// ```
/// use pollscope_record::recording::{Kind, SlowPoll};
/// use pollscope_record::redact::redact_poll;
/// let kind = Kind { blocking_line: Some("/srv/me/api/src/main.rs:7".into()), ..Kind::default() };
/// let line = redact_poll(SlowPoll::of(kind)).blocking_line.as_deref().map(str::to_owned);
/// assert!(line.is_some_and(|line| line.ends_with("main.rs:7") && !line.contains("me")));
/// ```
pub fn redact_poll(mut poll: SlowPoll) -> SlowPoll {
    slow_poll(&mut poll, &mut Kinds::new());
    poll
}

/// The program's name, the command's, and which options were given: not with what.
fn command(typed: &[String]) -> Vec<String> {
    let options_end = typed.iter().position(|word| word == "--").unwrap_or(typed.len());
    let shown = typed.iter().enumerate().map(|(index, word)| match index {
        0 => word.rsplit('/').next().unwrap_or_default().to_owned(),
        1 if word.bytes().all(|byte| byte.is_ascii_lowercase()) => word.clone(),
        _ if index > options_end => VALUE.to_owned(),
        _ => option(word).unwrap_or_else(|| VALUE.to_owned()),
    });
    shown.collect()
}

/// `--json` of `--json=FILE`, `-o` of `-oFILE`; `None` for what is no option.
fn option(word: &str) -> Option<String> {
    match word.strip_prefix('-')?.strip_prefix('-') {
        Some(long) => {
            let name = long.split_once('=').map_or(long, |(name, _)| name);
            let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            is_name.then(|| if name.len() < long.len() { format!("--{name}={VALUE}") } else { word.to_owned() })
        }
        // `-` is stdout.
        None if word == "-" => Some(word.to_owned()),
        None => {
            let mut letters = word.chars().skip(1);
            let letter = letters.next().filter(char::is_ascii_alphabetic)?;
            Some(if letters.next().is_some() { format!("-{letter}{VALUE}") } else { word.to_owned() })
        }
    }
}

/// A run without paths, likewise.
///
/// ```
/// use pollscope_record::recording::{Run, Subject, Target};
/// use pollscope_record::redact::redact_run;
/// let target = Target { exe: Some("/srv/me/api".to_owned()), ..Target::default() };
/// let run = redact_run(Run::unknown("api", Subject::Process(target), "2026-01-01T00:00:00Z"));
/// assert_eq!(run.subject.target().unwrap().exe.as_deref(), Some("<path>"));
/// ```
pub fn redact_run(mut run: Run) -> Run {
    run.errors.iter_mut().for_each(|error| *error = error.without_paths());
    run.ended_why = run.ended_why.as_ref().map(Message::without_paths);
    if let Subject::Service(target) | Subject::Process(target) = &mut run.subject {
        target.exe = target.exe.as_ref().map(|_| HIDDEN.to_owned());
        target.profile_note = target.profile_note.as_deref().map(by_wording);
    }
    run.input_events.events.iter_mut().for_each(|event| event.text = event.text.without_paths());
    if let Some(merge) = &mut run.merge {
        merge.reason = merge.reason.as_ref().map(Message::without_paths);
    }
    if let Some(profile) = &mut run.profile {
        let places = std::mem::take(&mut profile.places);
        profile.places = places.into_iter().map(profile_place).collect();
    }
    // What is missing is said without paths but those of `/proc`, which every machine has.
    slow_polls(&mut run.slow_polls);
    slow_polls(&mut run.stalls_open);
    run.sites.iter_mut().flatten().for_each(|site| site.spawned_at = place(&site.spawned_at));
    for charge in run.ledger.iter_mut().flat_map(|ledger| &mut ledger.charges) {
        (charge.culprit, charge.waiter) = (place(&charge.culprit).into(), place(&charge.waiter).into());
    }
    run
}

/// What slow polls have in common, as it was and without paths, by where it was held: there it stays as long as that counts.
type Kinds = HashMap<usize, (Shared<Kind>, Shared<Kind>)>;

fn slow_polls(polls: &mut [SlowPoll]) {
    let mut kinds = Kinds::new();
    polls.iter_mut().for_each(|poll| slow_poll(poll, &mut kinds));
}

fn kind(of: &Kind) -> Kind {
    Kind {
        spawned_at: of.spawned_at.as_ref().map(kept_place),
        blocking_line: of.blocking_line.as_ref().map(kept_place),
        caller: of.caller.as_ref().map(kept_place),
        syscall: of.syscall.clone().map(shared_call),
        stack: stack(of.stack.clone()),
        ..of.clone()
    }
}

fn slow_poll(poll: &mut SlowPoll, kinds: &mut Kinds) {
    poll.kind = {
        let hidden = || (poll.kind.clone(), kind(&poll.kind).into());
        kinds.entry(poll.kind.address()).or_insert_with(hidden).1.clone()
    };
    if let Some(detail) = &mut poll.detail {
        if let Some(waiter) = &mut detail.worst_waiter {
            waiter.span.iter_mut().for_each(|span| redact_span(span));
            waiter.spawned_at = place(&waiter.spawned_at);
        }
        detail.more_places = std::mem::take(&mut detail.more_places).into_iter().map(seen_place).collect();
        if let Some(holder) = &mut detail.holder {
            holder.line = holder.line.as_ref().map(kept_place);
            holder.doing = holder.doing.as_ref().map(|doing| by_wording(doing).into());
        }
        detail.span.iter_mut().for_each(|span| redact_span(span));
    }
}

fn redact_span(span: &mut Span) {
    for (_, value) in span.fields.iter_mut().filter(|(name, _)| !is_route(name)) {
        *value = by_wording(value);
    }
}

fn seen_place(of: Place) -> Place {
    Place {
        line: of.line.as_ref().map(kept_place),
        caller: of.caller.as_ref().map(kept_place),
        syscall: of.syscall.map(shared_call),
        stack: stack(of.stack),
        ..of
    }
}

fn profile_place(of: ProfilePlace) -> ProfilePlace {
    ProfilePlace {
        line: of.line.as_ref().map(kept_place),
        call: of.call.as_ref().map(|call| kept(call, &told_call(call))),
        stack: stack(of.stack),
        ..of
    }
}

/// A call of which only the line that says it is known: where that names something that is not between quotes, such as the other end
/// of a socket, its name stays.
fn told_call(text: &str) -> String {
    let name = call_name(text);
    let shown = redacted_call_text(text, name, None, None);
    let names_more = shown.contains(" to ") || shown.contains("socket") || shown.replace(HIDDEN, "").contains('/');
    if names_more { name.to_owned() } else { shown.into_owned() }
}

/// What has no path stays shared with other slow polls.
fn kept(text: &Text, shown: &str) -> Text {
    if **text == *shown { text.clone() } else { shown.into() }
}

fn kept_place(line: &Text) -> Text {
    kept(line, &place(line))
}

fn shared_call(call: Shared<Syscall>) -> Shared<Syscall> {
    let shown = syscall(&call);
    if *call == shown { call } else { shown.into() }
}

fn stack(stack: Shared<[Frame]>) -> Shared<[Frame]> {
    let file = |file: &Text| kept(file, &redacted_source(file));
    let frame = |frame: &Frame| Frame { file: frame.file.as_ref().map(file), ..frame.clone() };
    let frames: Vec<Frame> = stack.iter().map(frame).collect();
    if *stack == *frames { stack } else { frames.into() }
}

fn syscall(call: &Syscall) -> Syscall {
    let text = redacted_call_text(&call.text, &call.name, call.path.as_deref(), call.peer.as_deref());
    Syscall {
        path: call.path.as_ref().map(|path| kept(path, redacted_target(path))),
        peer: call.peer.as_ref().map(|_| HIDDEN_PEER.into()),
        text: kept(&call.text, &text),
        ..call.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use crate::recording::Detail;
    use crate::recording::{Charge, InputEvent, Ledger, Merge, Profile, ProfilePlace, Shared, Waiter, wire};
    use crate::report::folded;
    use crate::report::{Style, terminal::render};

    #[test]
    fn a_profile_has_its_calls_and_no_paths() {
        let mut recording = fixture::profiled_recording();
        let profile = recording.runs[0].profile.as_mut().expect("a profile");
        let calls = [
            ("openat(\"/u/planted/conf.toml\")", "openat(\"<path>\")"),
            ("connect(socket fd 9 to 203.0.113.9:443)", "connect"),
            ("rename(\"/u/planted/a\" to \"b\" in current folder \"/u/planted\")", "rename(\"<path>\")"),
            ("read(fd 3 \"pipe:[77]\", 64 bytes)", "read(fd 3 \"pipe:[77]\", 64 bytes)"),
            ("openat(/u/planted/conf.toml)", "openat"),
        ];
        for (place, (call, _)) in profile.places.iter_mut().zip(calls) {
            place.call = Some(call.into());
            place.line = Some("/u/planted/src/main.rs:7".into());
            place.stack =
                vec![Frame { function: None, file: Some("/u/planted/src/main.rs".into()), line: None }].into();
        }
        let redacted = redact(recording);
        let json = wire::to_json(&redacted).unwrap();
        assert!(!json.contains("planted") && !json.contains("203.0"), "{json}");
        let profile = redacted.runs[0].profile.as_ref().expect("it stays");
        let shown: Vec<&str> = profile.places.iter().filter_map(|place| place.call.as_deref()).collect();
        assert_eq!(shown, calls.map(|(_, shown)| shown));
        assert_eq!(profile.places[0].line.as_deref(), Some("<path>/main.rs:7"));
    }

    #[test]
    fn nothing_of_a_folder_is_in_any_output() {
        let mut recording = fixture::recording();
        let path = |name: &str| format!("/u/pl an`ted/{name}");
        let words = [
            "/u/planted/pollscope",
            "merge",
            "planted",
            "-oplanted",
            "--json=planted",
            "--json",
            "./planted/x",
            "-",
            "--",
            "--planted",
        ];
        recording.environment.command = words.map(str::to_owned).to_vec();
        crate::fixture::scenario(&mut recording).why = "As in /u/planted/why.".to_owned();
        crate::fixture::scenario(&mut recording).settings.insert("files.output".to_owned(), "planted".to_owned());
        let run = &mut recording.runs[0];
        run.input_events.events = vec![InputEvent {
            at_ns: 1,
            event: "cut".to_owned(),
            text: "input `planted/x y` was cut to 3 bytes".into(),
            may_lose: true,
            may_repeat: false,
        }];
        run.errors = vec!["cannot write to output `planted/x y`: No space left; free some space".into()];
        run.merge = Some(Merge::unverifiable(1, "line 2 (byte 4) of `planted/a` is torn; `/u/planted` too"));
        crate::fixture::sites(run)[0].spawned_at = "/u/planted/src/main.rs:88".to_owned();
        let (culprit, waiter) = ("/u/planted/src/main.rs:88".to_owned(), "/u/planted/src/main.rs:89".to_owned());
        let charge = Charge {
            culprit: culprit.into(),
            waiter: waiter.into(),
            tasks: 1,
            wait_ns: 1,
            late_tasks: 0,
            wait_most_ns: 1,
        };
        run.ledger = Some(Ledger { charges: vec![charge], unattributed_ns: 0 });
        let kind = Kind {
            spawned_at: Some("/u/planted/src/main.rs:88".into()),
            cause: Some("blocking-call".into()),
            blocking_line: Some("/u/planted/src/sink.rs:7".into()),
            syscall: Some(Shared::from(Syscall {
                peer: Some("planted:4711".into()),
                name: "write".into(),
                fd: Some(9),
                path: Some(path("out").into()),
                bytes: Some(64),
                text: format!("write(fd 9 \"{}\" to planted:4711, 64 bytes)", path("planted")).into(),
            })),
            stack: vec![Frame { function: None, file: Some("/u/planted/src/sink.rs".into()), line: Some(7) }].into(),
            ..Kind::default()
        };
        let spawned_at = "/u/planted/src/main.rs:90".to_owned();
        let waiter = Some(Box::new(Waiter { task_id: 3, spawned_at, ready_ns: 1, polled_ns: 2, span: None }));
        let detail = Detail { worst_waiter: waiter, ..Detail::default() }.boxed();
        run.slow_polls = vec![SlowPoll { duration_ns: 300_000_000, detail, ..SlowPoll::of(kind) }];
        run.slow_polls_total = 1;
        let frame = Frame { function: None, file: Some("/u/planted/src/wait.rs".into()), line: Some(7) };
        let line = Some("/u/planted/src/wait.rs:7".into());
        let places = vec![ProfilePlace { looks: 1, line, stack: vec![frame].into(), ..ProfilePlace::default() }];
        run.profile = Some(Box::new(Profile { period_ns: 1, looks: 1, places, ..Profile::default() }));
        recording.findings = findings(&recording.runs);
        let redacted = redact(recording.clone());
        for (before, after) in [
            (wire::to_json(&recording).expect("JSON"), wire::to_json(&redacted).expect("JSON")),
            (folded::render(&recording), folded::render(&redacted)),
            (
                render(&recording, &Style { width: 100, color: false, unicode: true }),
                render(&redacted, &Style { width: 100, color: false, unicode: true }),
            ),
        ] {
            assert!(before.contains("planted"), "{before}");
            assert!(!after.contains("planted") && !after.contains("pl an"), "{after}");
        }
        let poll = &redacted.runs[0].slow_polls[0];
        assert_eq!(
            poll.syscall.as_ref().expect("it has one").text.as_str(),
            r#"write(fd 9 "<path>" to <peer>, 64 bytes)"#
        );
        assert_eq!(poll.blocking_line.as_deref(), Some("<path>/sink.rs:7"));
        let command = redacted.environment.command.join(" ");
        assert_eq!(command, "pollscope merge <value> -o<value> --json=<value> --json <value> - -- <value>");
        assert_eq!(redacted.runs[0].errors, ["cannot write to output `<path>`: No space left; free some space"]);
    }

    #[test]
    fn what_has_no_path_is_left_alone() {
        let mut recording = fixture::recording();
        recording.environment.command = ["pollscope", "run"].map(str::to_owned).to_vec();
        recording.findings = findings(&recording.runs);
        let json = |recording: &Recording| wire::to_json(recording).expect("JSON");
        assert_eq!(json(&redact(recording.clone())), json(&recording));
    }

    #[test]
    fn advice_stays() {
        for advice in ["raise the limit (`ulimit -f`), or write elsewhere", "pass `--force`", "1 / 2 and/or"] {
            assert_eq!(by_wording(advice), advice);
        }
        assert_eq!(by_wording("in \"/a b\" and ~/x"), "in <path> b\" and <path>");
    }
}
