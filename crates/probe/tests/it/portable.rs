//! What is known of a slow poll where threads cannot be looked at: there, and here with that switched off.

use std::time::Duration;

#[cfg(feature = "capture")]
use pollscope_probe::CAPTURE;
use pollscope_probe::{Cause, Probe};

use crate::support::{block, current_thread, ns, spawn};

#[test]
fn a_slow_poll_has_its_exact_duration_and_no_evidence() {
    let threshold = Duration::from_millis(20);
    let probe = Probe::builder().slow_poll_threshold(threshold);
    #[cfg(feature = "capture")]
    let probe = probe.capture(!CAPTURE);
    let (runtime, probe) = current_thread(probe);
    let took_ns = runtime.block_on(async { spawn(&probe, async { block(60) }).await.unwrap() });
    drop(runtime);
    assert!(probe.flush(Duration::from_secs(10)), "nobody waits for evidence that never comes");
    let snapshot = probe.snapshot();
    let [poll] = &snapshot.slow_polls[..] else { panic!("one slow poll: {:?}", snapshot.slow_polls) };
    assert!(ns(poll.duration) >= took_ns);
    assert_eq!(snapshot.polls.max(), Some(poll.duration), "the exact maximum");
    let evidence = &poll.evidence;
    // The watchdog itself may have found that the process was stopped.
    assert!(matches!(evidence.cause, None | Some(Cause::Suspended)), "{evidence:?}");
    assert_eq!((&evidence.call, &evidence.blocking_line, evidence.cpu_time), (&None, &None, None));
    assert_eq!((evidence.stack.len(), evidence.stack_complete, evidence.captures), (0, None, 0));
}
