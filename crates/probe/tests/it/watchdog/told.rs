//! What is told of a poll that was at several places, or that goes on for ever.

use std::sync::mpsc::channel;

use super::*;
use crate::support::Kept;

fn here(line: u32) -> String {
    format!("tests/it/watchdog/told.rs:{line}")
}

/// A lock wait and a sleep of 80 ms each were one sleep of 160 ms.
#[test]
fn each_of_two_places_with_its_own_call() {
    eventually(|| {
        let (runtime, probe) = current_thread(watching());
        let lock = Arc::new(Mutex::new(()));
        let (tell, told) = channel();
        let theirs = Arc::clone(&lock);
        let holder = thread::spawn(move || {
            let _guard = theirs.lock().unwrap();
            tell.send(()).unwrap();
            thread::sleep(BLOCK);
        });
        told.recv().unwrap();
        let task = async move {
            drop(lock.lock().unwrap());
            thread::sleep(BLOCK);
            line!()
        };
        let (after, poll) = run(&runtime, &probe, task)?;
        holder.join().unwrap();
        let (locks, sleeps) = (here(after - 2), here(after - 1));
        let seen = |line: &str| {
            let call = |place: &pollscope_probe::Place| place.call.as_ref().map(|call| call.name.clone());
            poll.evidence.places.iter().find(|place| place.line.as_deref() == Some(line)).and_then(call)
        };
        must(seen(&locks).as_deref() == Some("futex"), "the lock", &poll)?;
        must(seen(&sleeps).as_deref() == Some("clock_nanosleep"), "the sleep", &poll)?;
        let all: Duration = poll.evidence.places.iter().map(|place| place.share).sum();
        must(all <= poll.duration, "no more than the poll", &poll)?;
        let first = &poll.evidence.places[0];
        must(first.line == poll.evidence.blocking_line && first.looks > 0, "the first place is the one", &poll)
    });
}

fn query() {
    thread::sleep(BLOCK);
}

/// A helper that blocks stood for all that call it.
#[test]
fn who_calls_a_helper() {
    eventually(|| {
        let (runtime, probe) = current_thread(watching());
        let (after, poll) = run(&runtime, &probe, async { (query(), line!()).1 })?;
        let caller = poll.evidence.places.first().and_then(|place| place.caller.clone());
        must(caller == Some(here(after)), "its caller", &poll)?;
        let line = poll.evidence.blocking_line.clone().unwrap_or_default();
        must(line.contains("told.rs:") && line != here(after), "the line of the helper", &poll)
    });
}

/// A stall that never ends was told once, before it had names, and was in no count and no data.
#[test]
fn a_poll_that_never_ends_is_told_with_its_line_and_is_data_meanwhile() {
    eventually(|| {
        let kept = Kept::default();
        let (runtime, probe) = multi_thread(2, watching().log_to(kept.clone()));
        let (stop, stopped) = channel::<()>();
        let (tell, told) = channel();
        let blocks = async move {
            tell.send(line!() + 1).unwrap();
            let _ = stopped.recv();
        };
        let task = {
            let _inside = runtime.enter();
            spawn(&probe, blocks)
        };
        let line = here(told.recv().unwrap());
        let start = Instant::now();
        // What was seen stands below the line.
        let is_told =
            || kept.text().split("WARN ").any(|said| said.contains("still runs after") && said.contains(&line));
        while !is_told() && start.elapsed() < LONG {
            thread::sleep(Duration::from_millis(5));
        }
        let snapshot = probe.snapshot();
        let open = snapshot.polling.iter().find(|open| open.evidence.captures > 0);
        let evidence = open.map(|open| open.evidence.clone()).unwrap_or_default();
        drop(stop);
        runtime.block_on(task).unwrap();
        must(is_told(), "told with its line while it went on", kept.text())?;
        must((snapshot.stalls_open, snapshot.slow_polls_total) == (1, 0), "open, and not counted yet", &snapshot)?;
        must(evidence.blocking_line == Some(line.clone()), "its line meanwhile", &evidence)?;
        must(evidence.call.is_some_and(|call| call.name == "futex"), "its call meanwhile", &snapshot)?;
        slow_polls(&probe);
        let ended = probe.snapshot();
        must((ended.stalls_open, ended.slow_polls_total) == (0, 1), "counted once, at its end", &ended)
    });
}
