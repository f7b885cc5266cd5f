use std::fs;
use std::path::PathBuf;

use pollscope_record::feed::Update;
use pollscope_record::growing::{Head, LineWriter, follow};
use pollscope_record::live::{Live, State as Doing, Waits, Worker};

use super::*;
use crate::fixture;
use crate::recording::{
    BusyBy, BusyShare, Cause, Completeness, Detail, Ended, Frame, Holder, Interval, Kind, Pool, Precision, Queued, Run,
    RuntimeInfo, SlowPoll, Subject, Syscall, Target,
};
use crate::width::width;

const MS: u64 = 1_000_000;

fn call(text: &str) -> Option<crate::recording::Shared<Syscall>> {
    let name = text.split('(').next().unwrap_or_default();
    let call = Syscall { name: name.into(), fd: None, path: None, peer: None, bytes: None, text: text.into() };
    Some(call.into())
}

/// A slow poll of a place; its stack has two frames.
fn poll(line: &str, at: &str, cause: &str, start_ms: u64, ms: u64) -> SlowPoll {
    let frame = |function: &str, line| Frame {
        function: Some(function.into()),
        file: Some("src/store/mod.rs".into()),
        line: Some(line),
    };
    let kind = Kind {
        spawned_at: Some("src/main.rs:88".into()),
        worker: Some(1),
        cause: Some(Cause::from(cause)),
        syscall: call(at),
        blocking_line: Some(line.into()),
        stack: [frame("store::flush", 17), frame("store::serve", 40)].into_iter().collect(),
        ..Kind::default()
    };
    SlowPoll { task_id: 12.into(), start_ns: start_ms * MS, duration_ns: ms * MS, ..SlowPoll::of(kind) }
}

/// What the recording of a process begins with.
fn head(subject: fn(Target) -> Subject) -> Head {
    let subject = subject(Target { name: "api".to_owned(), pid: Some(4711), ..Target::default() });
    let run = fixture::run("api");
    Head {
        environment: fixture::recording().environment,
        group: "api".to_owned(),
        subject,
        started_at: run.started_at.clone(),
        coverage: run.coverage.clone(),
        slow_poll_threshold_ns: 100 * MS,
        slow_polls_are: Completeness::All,
        segment: 1,
    }
}

/// The lines of a service whose workers stall, as its probe writes them.
fn feed() -> String {
    let mut writer = LineWriter::default();
    let mut feed = writer.head(&head(Subject::Service)).expect("JSON");
    for second in 0..12 {
        let slow = [
            poll(
                "src/store/mod.rs:17",
                "write(fd 26 \"/var/lib/api/journal\", 1035 bytes)",
                "blocking-call",
                second * 1_000,
                180,
            ),
            poll("src/api/handlers/orders.rs:204", "futex(wait)", "lock", second * 1_000 + 400, 120),
        ];
        for slow in slow.into_iter().take(if second % 3 == 0 { 2 } else { 1 }) {
            feed += &writer.lines(&Update::SlowPoll(Box::new(slow)), 0).expect("JSON");
        }
        let interval = Interval {
            start_ns: second * 1_000 * MS,
            polls: Some(fixture::dist(3, &[(1_842, MS / 10, MS)])),
            lag: None,
            busy_ns: Some(1_600 * MS),
            longest_stretch_ns: None,
            queued: None,
            pool: None,
            slow: Some(1),
        };
        feed += &writer.lines(&Update::Interval(Box::new(interval)), (second + 1) * 1_000 * MS).expect("JSON");
    }
    feed + &writer.live(&live()).expect("JSON")
}

fn live() -> Live {
    let site = Some("src/main.rs:88".into());
    let worker = |index, state, for_ms: Option<u64>| Worker {
        runtime: Some(1),
        worker: Some(index),
        thread: Some("tokio-rt-worker".into()),
        state,
        for_ns: for_ms.map(|ms| ms * MS),
        task_id: (state == Doing::Polling).then_some(10 + index),
        spawned_at: site.clone().filter(|_| state == Doing::Polling),
        queued: Some(index % 4),
        ..Worker::default()
    };
    let holder =
        Holder { thread: None, task_id: Some(11), line: Some("src/store/mod.rs:17".into()), doing: None, sure: true };
    let mut waits = poll("src/api/handlers/orders.rs:204", "futex(wait)", "lock", 11_500, 480);
    waits.detail = Some(Box::new(Detail { holder: Some(Box::new(holder)), ..Detail::default() }));
    Live {
        at_ns: 12_000 * MS,
        up_ns: 7_385_000 * MS,
        workers: vec![
            worker(0, Doing::Parked, None),
            worker(1, Doing::Polling, Some(1_240)),
            worker(2, Doing::Polling, Some(480)),
            worker(3, Doing::Busy, Some(2)),
            worker(4, Doing::Polling, Some(3)),
            worker(5, Doing::Parked, None),
            worker(6, Doing::Parked, None),
            worker(7, Doing::Parked, None),
        ],
        pool: Some(Pool { threads: Some(4), busy: Some(4), queued: Some(12), queued_most: None }),
        queued: Some(Queued { global: 3, local: Some(9) }),
        schedule_latency: Some(Waits { count: 1_842, p50_ns: 12_300, p99_ns: 3_400_000, max_ns: 181_000_000 }),
        stalls: vec![
            waits,
            poll(
                "src/store/mod.rs:17",
                "write(fd 26 \"/var/lib/api/journal\", 1035 bytes)",
                "blocking-call",
                10_760,
                1_240,
            ),
        ],
    }
}

fn view_of(feed: &str) -> View {
    let mut view = View::default();
    let take = |fed| {
        view.take(fed);
        std::ops::ControlFlow::Continue(())
    };
    follow(feed.as_bytes(), take).expect("a feed");
    view
}

/// The same service, as it is seen from outside.
fn seen() -> View {
    let seen = |mut poll: SlowPoll| {
        poll.task_id = Default::default();
        poll.detail_mut().start_is = Precision::WithinNs(10 * MS);
        let kind = poll.kind_mut();
        (kind.spawned_at, kind.worker) = (None, None);
        kind.future = Some("api::orders::serve::{async_fn_env#0}".into());
        poll
    };
    let mut view = View::default();
    view.take(Fed::Head(Box::new(head(Subject::Process))));
    for second in 0..12 {
        let slow = poll(
            "src/store/mod.rs:17",
            "write(fd 26 \"/var/lib/api/journal\", 1035 bytes)",
            "blocking-call",
            second * 1_000,
            180,
        );
        view.take(Fed::Update(Update::SlowPoll(Box::new(seen(slow))), None));
    }
    let mut live = Live { workers: Vec::new(), pool: None, queued: None, schedule_latency: None, ..live() };
    live.stalls = live.stalls.into_iter().map(seen).collect();
    view.take(Fed::Live(Box::new(live)));
    view
}

/// What it shows; each line as wide as the screen at most, and as many as there are rows.
fn shown(view: &View, columns: usize, rows: usize) -> String {
    let lines = frame::frame(view, columns, rows);
    assert_eq!(lines.len(), rows, "{columns} columns");
    let text = frame::text(&lines);
    for (line, full) in text.lines().zip(&lines) {
        assert!(width(line) <= columns, "{columns} columns: {line}");
        let full: usize = full.spans.iter().map(|span| width(&span.content)).sum();
        assert!(full <= columns, "{columns} columns, with blanks: {line}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    text
}

/// Compares with a file; `POLLSCOPE_BLESS` writes it.
#[track_caller]
fn golden(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/top/golden").join(name);
    if std::env::var_os("POLLSCOPE_BLESS").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, text).expect("written");
    }
    let expected = fs::read_to_string(&path).expect("POLLSCOPE_BLESS=1 writes it");
    assert!(text == expected, "{name} is now:\n{text}");
}

#[test]
fn a_service_that_stalls_at_all_widths() {
    let view = view_of(&feed());
    for columns in [60, 80, 120, 200] {
        golden(&format!("stalling-{columns}"), &shown(&view, columns, 24));
    }
}

#[test]
fn a_stack_at_all_widths() {
    let mut view = view_of(&feed());
    view.press(Key::Open);
    for columns in [60, 120] {
        golden(&format!("stack-{columns}"), &shown(&view, columns, 24));
    }
}

#[test]
fn what_cannot_be_seen_from_outside_is_not_known_at_all_widths() {
    let view = seen();
    for columns in [60, 80, 100, 120] {
        let text = shown(&view, columns, 24);
        assert!(text.contains("- polls/s  at least 12 slow  - busy") && text.contains("queued - · pool -"), "{text}");
        assert!(text.contains("\nWORKERS, -\n") && text.contains(" ~1.24 s  "), "{text}");
        assert!(!text.contains("parked") && !text.contains(" 0 "), "{text}");
        golden(&format!("outside-{columns}"), &text);
    }
    let mut known = seen();
    let target =
        Target { runtimes: vec![RuntimeInfo { flavor: "multi_thread".to_owned(), workers: 8 }], ..Target::default() };
    let busy_share = Some(BusyShare { value: 0.22, how: BusyBy::Looks });
    let run = Run { busy_share, subject: Subject::Process(target), ..fixture::run("api") };
    known.take(Fed::Update(Update::Known(Box::new(run)), None));
    let text = shown(&known, 80, 24);
    assert!(text.contains("~22 % busy") && text.contains("\nWORKERS, 8\n"), "{text}");
}

#[test]
fn what_was_seen_stays_when_the_process_is_gone() {
    let mut view = seen();
    view.take(Fed::Update(Update::End(Ended::Done, None), None));
    assert!(shown(&view, 80, 24).contains("\nit is looked at no more: this is what was seen\n"));
    view.set_status(Status::Gone(None));
    assert!(shown(&view, 80, 24).contains("\nthe process is gone: this is what was known\n"));
}

#[test]
fn nothing_is_known_yet() {
    golden("waiting-80", &shown(&View::default(), 80, 24));
    let mut gone = view_of(&feed());
    gone.set_status(Status::Gone(Some("was killed by SIGKILL".to_owned())));
    gone.output = Some("/tmp/pollscope-top-x.log".to_owned());
    golden("gone-80", &shown(&gone, 80, 24));
}

#[test]
fn every_size_has_a_frame() {
    let views = [view_of(&feed()), seen(), View::default()];
    for view in &views {
        for columns in (0..=220).step_by(3) {
            for rows in [0, 1, 2, 3, 5, 8, 13, 24, 60] {
                let lines = frame::frame(view, columns, rows);
                assert!(lines.len() == rows, "{columns}×{rows}");
                for line in &lines {
                    let shown: usize = line.spans.iter().map(|span| width(&span.content)).sum();
                    assert!(shown <= columns, "{columns}×{rows}: {line:?}");
                }
            }
        }
    }
}

#[test]
fn hostile_names_break_nothing() {
    let evil = "\u{1b}[2J\u{202e}\r\n\u{7}日本語##[error]\u{200b}";
    let hostile =
        feed().replace("src/store/mod.rs", "\\u001b[2J\\u202e\\r\\n").replace("\"api\"", "\"\\u001b]0;x\\u0007\"");
    let view = view_of(&hostile);
    for columns in [60, 80, 120, 200] {
        assert!(!shown(&view, columns, 24).contains('\u{1b}'));
    }
    let mut view = view_of(&feed());
    let mut live = live();
    for stall in &mut live.stalls {
        let kind = stall.kind_mut();
        (kind.task_name, kind.blocking_line, kind.syscall) = (Some(evil.into()), None, call(evil));
        kind.spawned_at = Some(evil.into());
    }
    for worker in &mut live.workers {
        (worker.task_name, worker.thread, worker.worker) = (Some(evil.into()), Some(evil.into()), None);
    }
    view.take(Fed::Live(Box::new(live)));
    (view.output, view.trouble) = (Some(evil.to_owned()), Some(evil.to_owned()));
    for columns in [60, 80, 120, 200] {
        shown(&view, columns, 24);
    }
}
