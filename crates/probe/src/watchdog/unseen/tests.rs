use super::super::past::Settled;
use super::*;

const MS: u64 = 1_000_000;

fn reading(at_ms: u64, cpu_ms: u64, run_delay_ms: u64) -> ClockReading {
    ClockReading { at_ns: at_ms * MS, cpu_ns: cpu_ms * MS, run_delay_ns: run_delay_ms * MS, slices: 0 }
}

fn past(readings: &[(u64, u64, u64)]) -> Past {
    let mut past = Past::default();
    readings
        .iter()
        .for_each(|(at, cpu, delay)| past.add(7, Settled { clocks: reading(*at, *cpu, *delay), is_sure: false }));
    past
}

/// The least and the most that a poll from 100 to 600 ms waited for a CPU, of which a reading at 605 ms is known.
fn run_delay(readings: &[(u64, u64, u64)], after: (u64, u64, u64)) -> (u64, u64) {
    let (at, cpu, delay) = after;
    let Between { least_ns, most_ns } = split(&past(readings), 100 * MS, 600 * MS, reading(at, cpu, delay)).run_delay;
    (least_ns / MS, most_ns / MS)
}

#[test]
fn what_was_counted_after_the_thread_was_seen_to_run_is_the_polls_but_for_what_has_room_outside() {
    // It ran between 70 and 90 ms: what ended after 90 ms began after 70. So 30 ms are before the poll at most, and 5 after it.
    assert_eq!(run_delay(&[(70, 10, 0), (90, 11, 0)], (605, 60, 450)), (415, 450));
    // Nothing shows that it ran: it may have waited since long before.
    assert_eq!(run_delay(&[(70, 10, 0), (90, 10, 0)], (605, 60, 450)), (0, 450));
    assert_eq!(run_delay(&[(90, 10, 0)], (605, 60, 450)), (0, 450));
    assert_eq!(run_delay(&[], (605, 60, 450)), (0, 500));
    // Within the poll, all that is counted began in it.
    assert_eq!(run_delay(&[(90, 10, 0), (110, 12, 20)], (605, 60, 470)), (445, 470));
    // What is counted after the poll is not the poll's.
    assert_eq!(run_delay(&[(70, 10, 0), (90, 11, 0), (603, 60, 450)], (605, 60, 450)), (415, 450));
    // There is no more of it than the poll was long, less its time on the CPU.
    assert_eq!(run_delay(&[(70, 10, 0), (90, 11, 0)], (600, 411, 900)), (120, 120));
}

#[test]
fn the_time_on_the_cpu_and_off_it_has_bounds() {
    let told = split(&past(&[(70, 10, 0), (90, 11, 0)]), 100 * MS, 600 * MS, reading(605, 361, 0));
    let ms = |between: Between| (between.least_ns / MS, between.most_ns / MS);
    // 350 ms, of which 10 before the poll, 5 after it and a tick may be outside.
    assert_eq!((ms(told.cpu), ms(told.run_delay), ms(told.off_cpu)), ((325, 350), (0, 0), (150, 175)));
    let unknown = split(&past(&[]), 100 * MS, 600 * MS, reading(605, 361, 0));
    assert_eq!((ms(unknown.cpu), ms(unknown.off_cpu)), ((0, 500), (0, 500)));
}

fn unseen(past: Past, after: ClockReading, check: impl FnOnce(&mut Unseen<'_>)) {
    check(&mut Unseen {
        process: Process::current(),
        threads: &HashMap::from([(0, Thread::default())]),
        stops: &Stops::new(0, 0),
        throttling: &mut Throttling::without_quotas(),
        clock: &Clock::monotonic(),
        known: HashMap::from([(0, Some((past, after)))]),
    });
}

#[test]
fn a_cause_is_told_if_the_clocks_alone_tell_it() {
    let end = Measured { end_ns: 600 * MS, duration_ns: 500 * MS };
    unseen(past(&[(70, 10, 0), (90, 11, 0)]), reading(605, 60, 450), |unseen| {
        let evidence = unseen.evidence((0, 100 * MS), end);
        assert_eq!((evidence.cause, evidence.captures), (Some(Cause::Preempted), 0));
        assert_eq!(unseen.evidence((1, 100 * MS), end).cause, None, "of that thread nothing is known");
        assert_eq!(unseen.evidence((0, 50 * MS), end).cause, None, "there were polls within it");
        assert_eq!(unseen.evidence((0, 100 * MS + 1), end).cause, Some(Cause::Preempted), "a rounded start");
    });
    // On the CPU, but where?
    unseen(past(&[(70, 10, 450), (90, 11, 450)]), reading(605, 490, 450), |unseen| {
        let evidence = unseen.evidence((0, 100 * MS), end);
        assert_eq!((evidence.cause, evidence.cpu_time.map(|time| time.as_millis())), (None, Some(454)));
    });
}
