//! Recordings as a service writes them while it runs: a million slow polls, and a day without any.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use pollscope_record::feed::Update;
use pollscope_record::growing::{Head, LineWriter};
use pollscope_record::recording::{
    Blame, Completeness, Coverage, Detail, Dist, Ended, Environment, Frame, Interval, Kind, Run, SlowPoll, Subject,
    Syscall, Target, Waiter,
};

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;
/// Lines that block, each on eight workers.
const LINES: u64 = 20;

/// Slow polls from 100 ms on, one after the other, of which everything is known that a probe knows; and an interval a second.
pub(crate) fn slow_polls(path: &Path, count: u64, others_wait: bool) -> io::Result<()> {
    let kinds: Vec<Kind> = (0..LINES * 8).map(|nth| kind(nth, !others_wait)).collect();
    let mut random = fastrand::Rng::with_seed(7);
    let mut start_ns = S;
    let poll = move |id: u64| {
        let duration_ns = random.u64(100 * MS..250 * MS);
        let (cpu_ns, run_delay_ns) = (random.u64(10_000..90_000), random.u64(10_000..90_000));
        let waiter = Waiter {
            task_id: random.u64(1..id + 9),
            spawned_at: "src/api/router.rs:88".to_owned(),
            span: None,
            ready_ns: start_ns + 1_000,
            polled_ns: start_ns + duration_ns + 1_000,
        };
        let blame =
            Blame { tasks: 3, wait_ns: 2 * duration_ns, late_tasks: 1, wait_most_ns: 3 * duration_ns, lifo_tasks: 0 };
        let detail = Detail { blame: Some(blame), worst_waiter: Some(Box::new(waiter)), ..Detail::default() };
        let poll = SlowPoll {
            id,
            task_id: (1_000 + id).into(),
            start_ns,
            duration_ns,
            cpu_ns: cpu_ns.into(),
            run_delay_ns: run_delay_ns.into(),
            share_ns: (duration_ns - random.u64(100_000..900_000)).into(),
            looks: Some(random.u32(2..30)),
            detail: if others_wait { detail.boxed() } else { None },
            ..SlowPoll::of(kinds[random.usize(..kinds.len())].clone())
        };
        start_ns += duration_ns + 1_000;
        Update::SlowPoll(Box::new(poll))
    };
    let mut run = run();
    run.slow_polls_total = count;
    run.elapsed_ns = count * 250 * MS;
    write(path, (1..=count).map(poll).chain([Update::Known(Box::new(run))]))
}

/// An interval a second, each of so many polls.
pub(crate) fn intervals(path: &Path, seconds: u64) -> io::Result<()> {
    let mut random = fastrand::Rng::with_seed(7);
    let interval = move |at: u64| {
        let mut polls = Dist::empty(3);
        (0..200).for_each(|_| polls.record((20_000.0 * (3.0 * random.f64()).exp()) as u64));
        Update::Interval(Box::new(Interval {
            start_ns: at * S,
            busy_ns: Some(polls.sum_ns),
            polls: Some(polls),
            lag: None,
            longest_stretch_ns: Some(2 * MS),
            queued: None,
            pool: None,
            slow: Some(0),
        }))
    };
    let mut run = run();
    run.elapsed_ns = seconds * S;
    write(path, (0..seconds).map(interval).chain([Update::Known(Box::new(run))]))
}

fn write(path: &Path, updates: impl Iterator<Item = Update>) -> io::Result<()> {
    let run = run();
    let head = Head {
        environment: environment(),
        group: run.group.clone(),
        subject: run.subject.clone(),
        started_at: run.started_at.clone(),
        coverage: run.coverage.clone(),
        slow_poll_threshold_ns: run.slow_poll_threshold_ns,
        slow_polls_are: Completeness::All,
        segment: 1,
    };
    let mut file = BufWriter::new(File::create(path)?);
    let mut writer = LineWriter::default();
    file.write_all(writer.head(&head)?.as_bytes())?;
    for update in updates.chain([Update::End(Ended::Done, None)]) {
        let end_ns = if let Update::Interval(interval) = &update { interval.start_ns + S } else { 0 };
        file.write_all(writer.lines(&update, end_ns)?.as_bytes())?;
    }
    file.flush()
}

fn kind(nth: u64, nobody_waited: bool) -> Kind {
    let line = 10 + nth % LINES;
    let frame = |function: String, line: u64| Frame {
        function: Some(function.as_str().into()),
        file: Some("src/api/stock.rs".into()),
        line: Some(line),
    };
    let call = Syscall {
        name: "fsync".into(),
        fd: Some(9),
        path: Some("/var/lib/stock/journal".into()),
        peer: None,
        bytes: None,
        text: "fsync(fd 9 \"/var/lib/stock/journal\")".into(),
    };
    Kind {
        spawned_at: Some("src/api/router.rs:88".into()),
        worker: Some(nth / LINES),
        cause: Some("blocking-call".into()),
        syscall: Some(call.into()),
        blocking_line: Some(format!("src/api/stock.rs:{line}").as_str().into()),
        function: Some("stock::flush".into()),
        stack: (0..12).map(|depth| frame(format!("stock::level{depth}::{line}"), line + depth)).collect(),
        stack_complete: Some(true),
        nobody_waited,
        ..Kind::default()
    }
}

fn run() -> Run {
    let target = Target { name: "stock".to_owned(), pid: Some(7), ..Target::default() };
    Run {
        coverage: Coverage { source: "hooks".to_owned(), ..Coverage::default() },
        slow_poll_threshold_ns: 100 * MS,
        slow_polls_are: Completeness::All,
        ..Run::unknown("stock", Subject::Service(target), "2026-11-01T00:00:00Z")
    }
}

fn environment() -> Environment {
    Environment {
        pollscope: env!("CARGO_PKG_VERSION").to_owned(),
        tokio: None,
        os: "linux x86_64".to_owned(),
        kernel: None,
        cpus: None,
        clock: "tsc".to_owned(),
        tokio_unstable: None,
        console_compiled: None,
        console_on: None,
        command: Vec::new(),
    }
}
