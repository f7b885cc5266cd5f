//! What the watchdog leaves alone, and what it says while a poll still runs.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pollscope_probe::{CaptureNote, Evidence, SlowPoll};
use tokio::task::LocalSet;

use super::{THRESHOLD, must, run, slow_polls, watching};
use crate::support::{LONG, block, current_thread, eventually, multi_thread, spawn};

#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<String>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().push(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Kept {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Who wants only durations may set any threshold.
#[test]
fn the_longest_threshold_that_there_is_stops_nothing() {
    let (runtime, probe) = current_thread(watching().slow_poll_threshold(Duration::MAX));
    runtime.block_on(async { spawn(&probe, async { block(100) }).await.unwrap() });
    drop(runtime);
    let snapshot = probe.snapshot();
    assert_eq!((snapshot.slow_polls_total, snapshot.polls.count()), (0, 1));
    assert!(!snapshot.capture_notes.contains(&CaptureNote::WatchdogPanicked), "{:?}", snapshot.capture_notes);
}

#[test]
fn without_capture_nothing_is_looked_at() {
    let (runtime, probe) = current_thread(watching().capture(false));
    runtime.block_on(async { spawn(&probe, async { block(60) }).await.unwrap() });
    assert!(probe.flush(LONG));
    let polls = probe.snapshot().slow_polls;
    assert_eq!(polls.iter().map(|poll| &poll.evidence).collect::<Vec<_>>(), [&Evidence::default()]);
}

#[test]
fn what_lasts_ten_thresholds_is_said_before_it_ends() {
    eventually(|| {
        let kept = Kept::default();
        let (runtime, probe) = current_thread(watching().log_to(kept.clone()));
        let (said, writes) = (kept.clone(), THRESHOLD * 75);
        // The task itself looks, at its own end, whether it was said.
        let (before, _) = run(&runtime, &probe, async move {
            std::thread::sleep(writes);
            said.all()
        })?;
        let still = |lines: &[String]| lines.iter().filter(|line| line.contains("still runs after")).count();
        // And again with names, if there were none.
        let is_named = |line: &String| line.contains(" at tests/it/watchdog/harmless.rs:");
        let unnamed = before.iter().take_while(|line| !is_named(line)).count();
        let is_said = still(&before) == before.len() && unnamed <= 1 && before.len() == unnamed + 1;
        must(is_said && before.last().is_some_and(is_named), "said before the end, with its line", &before)?;
        let lines = kept.all();
        let is_ended = lines.len() == before.len() + 1 && lines.last().is_some_and(|line| line.contains("took"));
        must(still(&lines) == before.len() && is_ended, "no more, but its end", &lines)
    });
}

/// The first names are the slowest, and somebody has to look at other late polls meanwhile.
#[test]
fn a_stall_while_names_are_looked_up_is_seen() {
    for flavour in [current_thread, |probe| multi_thread(2, probe)] {
        eventually(|| {
            let (runtime, probe) = flavour(watching());
            runtime.block_on(async {
                for _ in 0..3 {
                    spawn(&probe, async { std::thread::sleep(THRESHOLD * 2) }).await.unwrap();
                }
            });
            let polls = slow_polls(&probe);
            must(
                polls.len() == 3 && polls.iter().all(|poll| poll.evidence.captures > 0),
                "all were looked at",
                &polls,
            )?;
            let is_late = |poll: &SlowPoll| {
                let after = poll.evidence.captured_after;
                after.is_some_and(|after| (THRESHOLD..poll.duration).contains(&after))
            };
            must(polls.iter().all(is_late), "after the threshold, before the end", &polls)
        });
    }
}

/// A LocalSet's tasks are polled within the poll of the root: only they are slow, and only of them it is said.
#[test]
fn what_a_nested_poll_does_is_its_own() {
    eventually(|| {
        let kept = Kept::default();
        let (runtime, probe) = current_thread(watching().log_to(kept.clone()));
        let local = LocalSet::new();
        runtime.block_on(probe.watch(async {
            let task = local.spawn_local(probe.watch(async { block(1_500) }).named("nested"));
            local.run_until(task).await.unwrap();
        }));
        let polls = slow_polls(&probe);
        let names: Vec<_> = polls.iter().map(|poll| poll.task_name.as_deref()).collect();
        must(names == [Some("nested")], "one slow poll", &polls)?;
        let at = polls[0].evidence.blocking_line.as_deref().unwrap_or_default();
        must(at.starts_with("tests/it/support.rs:"), "its line", &polls)?;
        let all = kept.all();
        let still: Vec<&String> = all.iter().filter(|line| line.contains("still runs")).collect();
        let is_alone = still.iter().all(|line| line.contains("nested"));
        must((1..=2).contains(&still.len()) && is_alone, "said of it alone, and once with names", &all)
    });
}

/// The thread goes on with other things at once: what it does then is not taken for what the poll did.
#[test]
fn what_follows_a_poll_is_not_taken_for_it() {
    let (runtime, probe) = multi_thread(1, watching());
    runtime.block_on(async {
        for _ in 0..20 {
            // As long as the watchdog waits with its first look.
            spawn(&probe, async { block(20) }).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    let parked = |poll: &SlowPoll| poll.evidence.call.as_ref().is_some_and(|call| call.name.contains("epoll"));
    let polls = slow_polls(&probe);
    assert!(!polls.iter().any(parked), "{polls:#?}");
}
