//! Callbacks and lines: off the loop, complete, and harmless when they fail.

use std::io::{self, BufWriter, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pollscope_probe::{InstallError, Probe, ProbeBuilder, SlowPoll, Snapshot, ThresholdError};
use tokio::task::yield_now;

use crate::support::{Kept, LONG, current_thread, multi_thread, spawn};

/// Every poll is slow, and none is looked at while it runs: that would add lines.
fn strict() -> ProbeBuilder {
    let probe = Probe::builder().slow_poll_threshold(Duration::from_nanos(1));
    #[cfg(feature = "capture")]
    let probe = probe.capture(false);
    probe
}

/// A task of exactly this many polls.
async fn polls(probe: &Probe, polls: u32) {
    let task = async move {
        for _ in 1..polls {
            yield_now().await;
        }
    };
    spawn(probe, task).await.unwrap();
}

fn assert_all_accounted(snapshot: &Snapshot) {
    assert_eq!(snapshot.lines.printed + snapshot.lines.suppressed, snapshot.slow_polls_total);
}

/// Does with every line what it is told.
struct Does<F>(F);

impl<F: FnMut() -> io::Result<()>> Write for Does<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)().map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A writer that blocks until the sender is dropped, and says when it began to.
fn stuck() -> (impl Write + Send + 'static, Sender<()>, Receiver<()>) {
    let (release, released) = channel::<()>();
    let (began, begins) = channel();
    let writer = Does(move || {
        let _ = began.send(());
        let _ = released.recv();
        Ok(())
    });
    (writer, release, begins)
}

#[test]
fn the_callback_hears_of_every_slow_poll_once_in_order_and_off_the_loop() {
    let heard: Arc<Mutex<Vec<_>>> = Arc::default();
    let hears = Arc::clone(&heard);
    let (runtime, probe) = multi_thread(
        2,
        strict().on_slow_poll(move |poll| {
            let thread = std::thread::current().name().map(str::to_owned);
            hears.lock().unwrap().push((poll.clone(), thread));
        }),
    );
    // In the middle a pause that is longer than anybody waits for who waited: a busy machine makes such as well.
    runtime.block_on(async {
        polls(&probe, 50).await;
        let pause = async { std::thread::sleep(Duration::from_millis(300)) };
        spawn(&probe, pause).await.unwrap();
        polls(&probe, 49).await;
    });
    drop(runtime);
    assert!(probe.flush(LONG));
    let (snapshot, heard) = (probe.snapshot(), heard.lock().unwrap());
    assert_eq!(snapshot.slow_polls_total, 100);
    // Who waited is not final when a callback hears of it: a snapshot adds to it, and has nobody where not all were known in time.
    let but_for_blame = |poll: &SlowPoll| {
        let mut poll = poll.clone();
        poll.blame = None;
        poll
    };
    assert_eq!(
        heard.iter().map(|(poll, _)| but_for_blame(poll)).collect::<Vec<_>>(),
        snapshot.slow_polls.iter().map(but_for_blame).collect::<Vec<_>>()
    );
    let tasks = |poll: &SlowPoll| poll.blame.map(|blame| blame.tasks);
    for ((heard, _), listed) in heard.iter().zip(&snapshot.slow_polls) {
        assert!(tasks(listed).is_none_or(|listed| listed >= tasks(heard).unwrap_or_default()), "{heard:?} {listed:?}");
    }
    assert_eq!(heard.iter().map(|(poll, _)| poll.id).collect::<Vec<_>>(), (1..=100).collect::<Vec<_>>());
    assert!(heard.iter().all(|(_, thread)| thread.as_deref() == Some("pollscope-report")));
}

#[test]
fn a_panic_of_the_callback_is_caught_and_counted() {
    let kept = Kept::default();
    let callback = |poll: &pollscope_probe::SlowPoll| {
        if poll.id.is_multiple_of(2) {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
    };
    let (runtime, probe) = current_thread(strict().on_slow_poll(callback).log_to(kept.clone()));
    runtime.block_on(polls(&probe, 10));
    assert!(probe.flush(LONG));
    let snapshot = probe.snapshot();
    assert_eq!((snapshot.slow_polls_total, snapshot.callback_panics), (10, 5));
    let all: u64 = suppressed(&snapshot.slow_polls).into_iter().map(u64::from).sum();
    assert_eq!((snapshot.lines.printed, snapshot.lines.suppressed), (10 - all, all));
    let lines = 10 - all + u64::from(all > 0);
    assert_eq!(kept.lines().len() as u64, lines, "one for those held back, and one for each other: {:?}", kept.lines());
}

#[test]
fn a_writer_that_fails_or_panics_is_counted_and_the_next_line_is_tried() {
    for panics in [false, true] {
        let mut calls = 0;
        let writer = Does(move || {
            calls += 1;
            match (calls % 2, panics) {
                (1, true) => std::panic::resume_unwind(Box::new("on purpose")),
                (1, false) => Err(io::ErrorKind::BrokenPipe.into()),
                _ => Ok(()),
            }
        });
        let (runtime, probe) = current_thread(strict().log_to(writer));
        runtime.block_on(polls(&probe, 4));
        assert!(probe.flush(LONG));
        let snapshot = probe.snapshot();
        assert_eq!((snapshot.lines.printed, snapshot.lines.suppressed), (2, 2));
        assert_all_accounted(&snapshot);
    }
}

/// A buffer is no destination: what counts as printed has left it.
#[test]
fn a_printed_line_is_flushed() {
    let kept = Kept::default();
    let (runtime, probe) = current_thread(strict().log_to(BufWriter::with_capacity(1 << 20, kept.clone())));
    runtime.block_on(polls(&probe, 3));
    assert!(probe.flush(LONG));
    assert_eq!((kept.lines().len(), probe.snapshot().lines.printed), (3, 3));
}

#[test]
fn finishing_often_gives_a_site_no_more_lines() {
    let kept = Kept::default();
    let (runtime, probe) = current_thread(strict().log_to(kept.clone()));
    for _ in 0..4 {
        runtime.block_on(polls(&probe, 4));
        assert!(probe.flush(LONG));
    }
    let snapshot = probe.snapshot();
    let suppressed = suppressed(&snapshot.slow_polls);
    let all: u64 = suppressed.iter().map(|is| u64::from(*is)).sum();
    assert_eq!((snapshot.lines.printed, snapshot.lines.suppressed), (16 - all, all));
    let said: Vec<String> = kept.lines().into_iter().filter(|line| line.contains("suppressed")).collect();
    let counts = suppressed.chunks(4).map(|four| four.iter().filter(|is| **is).count()).filter(|count| *count > 0);
    let counts: Vec<String> =
        counts.map(|n| format!("WARN slow poll: suppressed {n} more of tasks spawned at ")).collect();
    assert_eq!(said.len(), counts.len());
    assert!(said.iter().zip(&counts).all(|(line, start)| line.starts_with(start)), "{said:?}");
}

/// Which polls of one site get no line: all but five, and those that are longer than all before.
fn suppressed(polls: &[SlowPoll]) -> Vec<bool> {
    let (mut printed, mut longest) = (0, Duration::ZERO);
    let is_suppressed = |poll: &SlowPoll| {
        let is_line = printed < 5 || poll.duration > longest;
        (printed, longest) = (printed + u32::from(is_line), longest.max(poll.duration));
        !is_line
    };
    polls.iter().map(is_suppressed).collect()
}

#[test]
fn a_writer_that_blocks_holds_up_nobody() {
    let (writer, release, began) = stuck();
    let (runtime, probe) = current_thread(strict().log_to(writer));
    runtime.block_on(polls(&probe, 10));
    began.recv().unwrap();
    let start = Instant::now();
    assert!(!probe.flush(Duration::from_millis(50)));
    assert!(start.elapsed() >= Duration::from_millis(50));
    // More than a ring holds, and then, moved out of it by snapshots, more than the queue holds.
    runtime.block_on(polls(&probe, 10_000));
    for _ in 0..50 {
        runtime.block_on(polls(&probe, 200));
        let snapshot = probe.snapshot();
        assert_eq!(snapshot.slow_polls_total, snapshot.slow_polls.len() as u64 + snapshot.slow_polls_dropped);
    }
    assert_eq!(probe.snapshot().slow_polls_total, 20_010);
    drop(release);
    assert!(probe.flush(LONG));
    let snapshot = probe.snapshot();
    assert_eq!(snapshot.slow_polls_total, 20_010);
    // And those that were longer than all before: of as many in random order, some ten.
    assert!((5..=5 + 40).contains(&snapshot.lines.printed), "{:?}", snapshot.lines);
    assert_all_accounted(&snapshot);
}

#[test]
fn dropping_a_probe_whose_writer_is_stuck_takes_its_second_and_no_more() {
    let (writer, _stuck, began) = stuck();
    let (runtime, probe) = current_thread(strict().log_to(writer));
    runtime.block_on(polls(&probe, 1));
    began.recv().unwrap();
    let start = Instant::now();
    drop(probe);
    assert!(start.elapsed() < LONG / 2);
    drop(runtime);
}

#[test]
fn dropping_a_probe_writes_the_last_lines() {
    let kept = Kept::default();
    let (runtime, probe) = current_thread(strict().log_to(kept.clone()));
    runtime.block_on(polls(&probe, 7));
    drop(runtime);
    drop(probe);
    // The last line says how many had none: two, unless one of those was longer than all before it.
    let lines = kept.lines();
    let (last, told) = lines.split_last().unwrap();
    let suppressed =
        last.strip_prefix("WARN slow poll: suppressed ").and_then(|rest| rest.split(' ').next()?.parse().ok());
    let told_in_full = suppressed.map_or(lines.len(), |_: usize| told.len());
    assert!(told_in_full >= 5 && told_in_full + suppressed.unwrap_or(0) == 7, "{lines:?}");
}

/// As one is that holds a request: in lines, in a snapshot, in the metrics.
#[test]
fn a_name_of_64_kib_is_cut_everywhere() {
    let kept = Kept::default();
    let (runtime, probe) = current_thread(strict().log_to(kept.clone()));
    runtime.block_on(probe.watch(async {}).named(&"GET / ".repeat(11_000)));
    assert!(probe.flush(LONG));
    let snapshot = probe.snapshot();
    let name = snapshot.slow_polls[0].task_name.as_deref().expect("it has one");
    assert!(name.len() <= 256 && name.starts_with("GET / GET / ") && name.ends_with('…'), "{}", name.len());
    let lines = kept.lines();
    assert!(lines.len() == 1 && lines[0].contains(name) && lines[0].len() < 512, "{}", lines[0].len());
    assert!(snapshot.to_prometheus().lines().all(|line| line.len() < 512));
}

#[test]
fn any_timeout_is_one() {
    let (runtime, probe) = current_thread(strict());
    runtime.block_on(polls(&probe, 1));
    assert!(probe.flush(Duration::MAX));
    assert_all_accounted(&probe.snapshot());
}

/// Several threads at once ask for the end, and each gets its answer.
#[test]
fn many_threads_finish_at_once() {
    let (runtime, probe) = current_thread(strict());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..20).for_each(|_| assert!(probe.flush(LONG))));
        }
        runtime.block_on(polls(&probe, 1_000));
    });
    assert!(probe.flush(LONG));
    assert_all_accounted(&probe.snapshot());
}

#[test]
fn a_threshold_of_zero_is_refused() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let refused = Probe::builder().slow_poll_threshold(Duration::ZERO).install(&mut builder).unwrap_err();
    assert!(matches!(refused, InstallError::ZeroThreshold), "{refused:?}");
    assert!(refused.to_string().contains("give at least 1 ns"));
    assert_eq!(builder.build().unwrap().block_on(async { 42 }), 42, "the runtime's builder is as it was");

    let (runtime, probe) = current_thread(strict());
    assert_eq!(probe.set_slow_poll_threshold(Duration::ZERO), Err(ThresholdError::Zero));
    assert_eq!(Probe::off().set_slow_poll_threshold(LONG), Err(ThresholdError::Off));
    runtime.block_on(polls(&probe, 3));
    assert_eq!(probe.snapshot().slow_polls_total, 3, "the threshold is what it was");
}

/// A writer of one's own gets the probe's account of itself only where that is asked for; and a probe that is not installed says nothing.
#[test]
fn status_lines_go_where_they_are_wanted() {
    for asked in [false, true] {
        let kept = Kept::default();
        let (runtime, probe) = current_thread(strict().log_to(kept.clone()).status_lines(asked));
        runtime.block_on(polls(&probe, 2));
        drop(runtime);
        drop(probe);
        let lines = kept.lines();
        let of_polls = lines.iter().filter(|line| line.starts_with("WARN slow poll: ")).count();
        let of_itself = [lines[0].contains("pollscope: on"), lines[lines.len() - 1].ends_with(" ms, 2 slow")];
        assert_eq!((of_polls, lines.len()), (2, if asked { 4 } else { 2 }), "{lines:?}");
        assert_eq!(of_itself, [asked; 2], "{lines:?}");
    }
    let kept = Kept::default();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let refused = strict().slow_poll_threshold(Duration::ZERO).log_to(kept.clone()).status_lines(true);
    assert!(refused.install(&mut builder).is_err() && kept.lines().is_empty());
}
