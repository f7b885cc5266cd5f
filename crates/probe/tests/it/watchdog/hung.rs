//! A stderr that nobody reads, as a full pipe is: neither the loop nor the watchdog waits for it, and what could not be written is
//! counted.

use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter, pipe};

use super::*;

/// As long as a pipe is unless somebody changed it.
const FULL: usize = 64 << 10;

fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(&vec![b'\n'; FULL]).unwrap();
    (reader, writer)
}

/// Some stalls, the second long enough for a line while it still runs: names are known by then. Every one is seen.
fn stalls(runtime: &Runtime, probe: &Probe) {
    for (index, ms) in [60, 500, 60].into_iter().enumerate() {
        let lasted = runtime.block_on(async { spawn(probe, async move { block(ms) }).await.unwrap() });
        assert!(lasted >= ms * 1_000_000);
        // The watchdog has named it, or knows that it came too late, although nobody hears of it.
        let start = Instant::now();
        let is_known = |poll: &SlowPoll| poll.evidence.captures > 0 || poll.evidence.missing.is_some();
        while !probe.snapshot().slow_polls.get(index).is_some_and(is_known) {
            assert!(start.elapsed() < LONG, "{:#?}", probe.snapshot().slow_polls);
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_full_pipe_holds_up_neither_the_loop_nor_the_watchdog() {
    eventually(|| {
        let (reader, writer) = full_pipe();
        let (runtime, probe) = current_thread(watching().log_to(writer));
        stalls(&runtime, &probe);
        assert!(!probe.flush(Duration::from_millis(50)), "the writer hangs");
        let snapshot = probe.snapshot();
        assert_eq!((snapshot.slow_polls_total, snapshot.slow_polls_dropped, snapshot.lines.printed), (3, 0, 0));
        let are_seen = snapshot.slow_polls.iter().all(|poll| poll.evidence.blocking_line.is_some());
        // Somebody reads after all: everything comes, and adds up.
        let reads = thread::spawn(move || {
            BufReader::new(reader)
                .lines()
                .map_while(Result::ok)
                .filter(|line| line.starts_with("WARN"))
                .collect::<Vec<_>>()
        });
        assert!(probe.flush(LONG));
        let lines = probe.snapshot().lines;
        assert_eq!((lines.printed, lines.suppressed), (3, 0));
        drop((runtime, probe));
        let lines = reads.join().unwrap();
        let count = |what| lines.iter().filter(|line| line.contains(what)).count();
        must((count(" took "), count(" still runs ")) == (3, 1), "a line each", &lines)?;
        must(are_seen, "every one is seen", &snapshot.slow_polls)
    });
}

#[test]
fn the_last_handle_does_not_wait_for_a_full_pipe_for_ever() {
    let (_reader, writer) = full_pipe();
    let (runtime, probe) = current_thread(watching().log_to(writer));
    stalls(&runtime, &probe);
    let (tell, dropped) = channel();
    thread::spawn(move || {
        drop(probe);
        let _ = tell.send(());
    });
    assert!(dropped.recv_timeout(LONG).is_ok());
    // The runtime, whose hooks outlive the probe, goes on.
    runtime.block_on(async { tokio::spawn(async {}).await.unwrap() });
}
