//! `pollscope report`: what was at some time, and several recordings as one.

use pollscope_record::feed::Update;
use pollscope_record::fixture;
use pollscope_record::growing::{Head, LineWriter};
use pollscope_record::recording::{
    Completeness, Coverage, Ended, Frame, Interval, Kind, Run, SlowPoll, Subject, Target,
};
use serde_json::Value;

use crate::support::{Folder, assert_ends, stderr, stdout};

const S: u64 = 1_000 * fixture::MS;

/// A service of two minutes from 03:11 on, in one file: an interval a second, and a slow poll 30 s after each minute.
fn recorded(pid: u64, day: u32) -> String {
    let target = Target { name: "api".into(), pid: Some(pid), ..Target::default() };
    let head = Head {
        environment: fixture::recording().environment,
        group: "api".to_owned(),
        subject: Subject::Service(target),
        started_at: format!("2026-03-{day:02}T03:11:00Z"),
        coverage: Coverage { source: "hooks".into(), ..Coverage::default() },
        slow_poll_threshold_ns: 100 * fixture::MS,
        slow_polls_are: Completeness::All,
        segment: 1,
    };
    let mut writer = LineWriter::default();
    let mut text = writer.head(&head).expect("a line");
    let mut add = |update: &Update, now_ns| text += &writer.lines(update, now_ns).expect("lines");
    for at in 0..120 {
        let is_slow = at % 60 == 30;
        if is_slow {
            add(&Update::SlowPoll(Box::new(slow(at / 60 + 1, at * S + 100 * fixture::MS))), 0);
        }
        let polls = Some(fixture::dist(3, &[(10, 1_000, 1_000)]));
        let interval = Interval {
            start_ns: at * S,
            polls,
            lag: None,
            busy_ns: Some(10_000),
            longest_stretch_ns: None,
            queued: None,
            pool: None,
            slow: Some(u64::from(is_slow)),
        };
        add(&Update::Interval(Box::new(interval)), (at + 1) * S);
    }
    let elapsed_ns = 120 * S;
    add(&Update::Known(Box::new(Run { elapsed_ns, slow_polls_total: 2, ..head.run() })), 0);
    add(&Update::End(Ended::Done, None), 0);
    text
}

fn slow(id: u64, start_ns: u64) -> SlowPoll {
    let line = 40 + id;
    let frame = Frame { function: Some("audit".into()), file: Some("src/audit.rs".into()), line: Some(line) };
    let blocking_line = Some(format!("src/audit.rs:{line}").into());
    let kind = Kind { blocking_line, stack: [frame].into_iter().collect(), ..Kind::default() };
    SlowPoll { id, start_ns, duration_ns: 300 * fixture::MS, ..SlowPoll::of(kind) }
}

fn runs(folder: &Folder, line: &str) -> Vec<Value> {
    let output = folder.run(&format!("{line} --format json"));
    assert_ends(&output, 0, &[]);
    let recording: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    recording["runs"].as_array().expect("runs").clone()
}

#[test]
fn what_happened_then_is_reported_in_every_format() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("rec")).expect("a folder");
    folder.write("rec/api-000001.pollscope", recorded(1, 1));
    for (asked, lines) in [
        ("--from 03:12 --to 03:13", vec!["src/audit.rs:42"]),
        ("--from 2026-03-01T03:11 --to 03:12", vec!["src/audit.rs:41"]),
        ("--around 03:11:30", vec!["src/audit.rs:41", "src/audit.rs:42"]),
        ("--around 03:11:30 --for 10s", vec!["src/audit.rs:41"]),
        ("--from -1m", vec!["src/audit.rs:42"]),
        ("--from=-2m --for 40s", vec!["src/audit.rs:41"]),
        ("--from 03:11:40 --to 03:11:50", vec![]),
    ] {
        let runs = runs(&folder, &format!("report rec {asked}"));
        let found: Vec<&Value> = runs[0]["slow_polls"].as_array().expect("a list").iter().collect();
        let found: Vec<&str> = found.iter().map(|poll| poll["places"][0]["line"].as_str().expect("a line")).collect();
        assert_eq!(found, lines, "{asked}");
        let intervals = runs[0]["intervals"].as_array().expect("a list").len() as u64;
        assert_eq!(runs[0]["polls"]["count"], intervals * 10, "{asked}");
        assert_eq!(runs[0]["elapsed_ns"], intervals * S, "{asked}");
    }
    let output =
        folder.run("report rec --from 03:12 --to 03:13 --html page.html --pprof pprof --fail-on 'slow_polls==0'");
    assert_ends(&output, 99, &["note: shows what was from 2026-03-01T03:12:00Z to 2026-03-01T03:13:00Z (UTC)"]);
    assert!(stdout(&output).contains("src/audit.rs:42") && !stdout(&output).contains("src/audit.rs:41"));
    let page = String::from_utf8(folder.read("page.html")).expect("text");
    assert!(page.contains("this is the part from 2026-03-01T03:12:00Z"), "the page says so");
    let calm = folder.run("report rec --from 03:11:40 --to 03:11:50 --fail-on 'slow_polls==0' --quiet");
    assert_ends(&calm, 0, &[]);
    assert_eq!(stderr(&calm), "");
}

#[test]
fn what_was_not_recorded_is_said_with_what_was() {
    let folder = Folder::new();
    folder.write("api.pollscope", recorded(1, 1));
    let output = folder.run("report api.pollscope --from 04:00 --to 05:00");
    assert_ends(
        &output,
        1,
        &[
            "cannot report a part of `api.pollscope`: nothing was recorded from 2026-03-01T04:00:00Z to 2026-03-01T05:00:00Z; it has \
         2026-03-01T03:11:00Z to 2026-03-01T03:13:00Z",
        ],
    );
    assert_eq!(stdout(&output), "");
    let output = folder.run("report api.pollscope --from 04:00 --to 05:00 --redact");
    assert_ends(&output, 1, &["cannot report a part of `<path>`"]);
    for (asked, said) in [
        ("--from noon", "write a time such as `03:12`"),
        ("--around 03:12 --from 03:10", "cannot be used with"),
        ("--for 30s", "say with `--from` or `--around` when"),
        ("--to 03:12 --for 30s", "cannot be used with"),
    ] {
        assert_ends(&folder.run(&format!("report api.pollscope {asked}")), 2, &[said]);
    }
    folder.write("log", "#[StartTime: 1 (seconds since epoch)]\n");
    assert_eq!(folder.run("report log --from 03:00").status.code(), Some(2));
}

#[test]
fn several_recordings_are_one_report() {
    let folder = Folder::new();
    for host in ["fleet/a/api", "fleet/b/api", "fleet/empty"] {
        std::fs::create_dir_all(folder.path(host)).expect("a folder");
    }
    folder.write("fleet/a/api/api-1-000001.pollscope", recorded(1, 2));
    folder.write("fleet/b/api/api-2-000001.pollscope", recorded(2, 1));
    folder.write("fleet/b/notes.txt", "not a recording");
    let pids = |line: &str| -> Vec<u64> {
        runs(&folder, line).iter().map(|run| run["subject"]["pid"].as_u64().expect("a number")).collect()
    };
    assert_eq!(pids("report fleet"), [2, 1], "in the order in which they began");
    assert_eq!(pids("report fleet/a/api fleet/b/api/api-2-000001.pollscope"), [2, 1]);
    assert_eq!(pids("report fleet/a/api fleet"), [2, 1], "none is taken twice");
    assert_eq!(pids("report fleet --from 2026-03-02T03:12"), [1]);
    let text = stdout(&folder.run("report fleet --full"));
    assert!(text.contains("src/audit.rs:42"), "{text}");

    folder.write("torn.pollscope", "{\"recording\":");
    let cut = recorded(3, 1);
    folder.write("cut.pollscope", &cut[..cut.len() / 2]);
    let output = folder.run("report fleet torn.pollscope cut.pollscope");
    assert_ends(&output, 0, &["1 recording of 4 ends early", "1 recording of 4 has no whole line"]);
    folder.write("run.json", serde_json::to_string(&scenario()).expect("JSON"));
    let output = folder.run("report fleet run.json");
    assert_ends(&output, 1, &["cannot put the recordings together: they are of different scenarios"]);
    assert_ends(&folder.run("report fleet none"), 1, &["cannot read recording `none`"]);
    assert_ends(&folder.run("report - -"), 2, &["cannot read two recordings from stdin"]);
}

fn scenario() -> Value {
    let json = pollscope_record::recording::wire::to_json(&fixture::recording()).expect("JSON");
    serde_json::from_str(&json).expect("JSON")
}
