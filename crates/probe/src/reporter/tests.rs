use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::clock::Clock;
use crate::journal::Key;
use pollscope_base::Evidence;

const LONG: Duration = Duration::from_secs(60);

struct Lines(Sender<String>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A reporter, the lines that it writes, and a slow poll of which evidence is awaited, without end by its clock.
fn reporting() -> (Arc<Shared>, Arc<Control>, Receiver<String>, Key) {
    let shared = Arc::new(Shared::new(Clock::manual(), 1, 10));
    let key = shared.slow_poll_watched(5);
    // Who waited is known by then.
    shared.clock.advance(1_000_000_000);
    let control = Arc::new(Control::default());
    let (tell, lines) = channel();
    let reporter = Reporter {
        shared: Arc::clone(&shared),
        callback: None,
        on_stall: None,
        #[cfg(feature = "tracing")]
        events: None,
        #[cfg(feature = "metrics")]
        facade: None,
        #[cfg(feature = "record")]
        recorder: None,
        writer: Some(Box::new(Lines(tell))),
        other_runtimes: None,
        status: None,
    };
    reporter.spawn(Arc::clone(&control)).unwrap();
    (shared, control, lines, key)
}

/// Has the evidence come once the reporter has waited for it for so long.
fn comes_after(wait: Duration, shared: &Arc<Shared>, control: &Arc<Control>, key: Key) {
    let (shared, control) = (Arc::clone(shared), Arc::clone(control));
    thread::spawn(move || {
        while control.lock().waited_at.is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(wait);
        let line = Some("src/main.rs:7".to_owned());
        let mut evidence = Evidence::default();
        (evidence.blocking_line, evidence.captures) = (line, 1);
        shared.seen(key, evidence);
    });
}

#[test]
fn the_last_line_waits_for_evidence_longer_than_for_a_writer() {
    let (shared, control, lines, key) = reporting();
    comes_after(Duration::from_millis(3_000), &shared, &control, key);
    assert!(control.stop(Duration::from_millis(2_000), LONG));
    let line = lines.recv().unwrap();
    assert!(line.contains("     seen at src/main.rs:7"), "{line}");
}

#[test]
fn the_last_line_does_not_wait_for_evidence_without_end() {
    let (_shared, control, lines, _) = reporting();
    assert!(control.stop(LONG, Duration::from_millis(50)));
    let line = lines.recv().unwrap();
    assert!(line.contains("     no line: "), "{line}");
}

#[test]
fn a_flush_waits_for_evidence_as_long_as_it_may() {
    let (shared, control, lines, key) = reporting();
    comes_after(Duration::from_millis(1_500), &shared, &control, key);
    assert!(control.flush(LONG));
    let line = lines.recv().unwrap();
    assert!(line.contains("     seen at src/main.rs:7"), "{line}");
    assert_eq!(shared.snapshot().coverage.missing, []);
}

#[test]
fn a_flush_in_a_short_time_tells_what_there_is() {
    let (shared, control, lines, _) = reporting();
    // Whether that is done in time is the machine's affair.
    control.flush(Duration::from_millis(1_000));
    let line = lines.recv_timeout(LONG).unwrap();
    assert!(line.contains("     no line: "), "{line}");
    assert_eq!(shared.snapshot().coverage.missing.iter().map(|of| of.polls).collect::<Vec<_>>(), [1]);
}

#[test]
fn what_is_left_of_any_timeout_is_for_writing() {
    let ms = Duration::from_millis;
    for (timeout, waits) in [(ms(0), 800), (ms(500), 800), (ms(1_000), 800), (ms(60_000), 59_800)] {
        assert_eq!(patience(timeout), ms(waits), "{timeout:?}");
    }
    assert_eq!(patience(Duration::MAX), LONGEST);
}
