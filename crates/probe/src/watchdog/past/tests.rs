use super::*;

fn reading(at_ns: u64, cpu_ns: u64, run_delay_ns: u64) -> ClockReading {
    ClockReading { at_ns, cpu_ns, run_delay_ns, slices: 0 }
}

fn unsure(clocks: ClockReading) -> Settled {
    Settled { clocks, is_sure: false }
}

fn past(readings: &[(u64, u64, u64)]) -> Past {
    let mut past = Past::default();
    readings.iter().for_each(|(at, cpu, delay)| past.add(7, unsure(reading(*at, *cpu, *delay))));
    past
}

#[test]
fn what_may_have_begun_before_is_not_waited_since_then() {
    let to = reading(600, 60, 450);
    // It ran between 70 and 90: what was counted later began after 70, and so 30 of it are before 100 at most.
    assert_eq!(past(&[(70, 10, 0), (90, 11, 0)]).waited_ns(100, &to), 420);
    // Nothing shows that it ran: it may have waited since long before.
    for unknown in [past(&[(70, 10, 0), (90, 10, 0)]), past(&[(90, 10, 0)]), past(&[])] {
        assert_eq!(unknown.waited_ns(100, &to), 0);
    }
    // All that is counted after 110 began after 100, when it ran.
    assert_eq!(past(&[(90, 10, 0), (110, 12, 20)]).waited_ns(100, &to), 430);
    // It waited for no CPU at 90.
    let mut sure = past(&[(70, 10, 0)]);
    sure.add(7, Settled { is_sure: true, ..unsure(reading(90, 10, 0)) });
    assert_eq!(sure.waited_ns(100, &to), 440);
    sure.add(7, unsure(reading(95, 10, 5)));
    assert_eq!(sure.waited_ns(100, &to), 440, "nor then");
    // One that is later than the end tells nothing.
    assert_eq!(past(&[(90, 10, 0), (610, 12, 20)]).waited_ns(100, &to), 0);
}

#[test]
fn the_readings_of_another_thread_are_not_its_own() {
    let mut past = past(&[(70, 10, 0), (90, 11, 0)]);
    past.become_of(7, &Past::default());
    assert_eq!(past.last(), Some(reading(90, 11, 0)));
    past.add(8, unsure(reading(95, 1, 0)));
    assert_eq!((past.tid(), past.first_after(0)), (8, Some(reading(95, 1, 0))));
    (0..10).for_each(|at| past.add(8, unsure(reading(100 + at, 1, 0))));
    assert_eq!(past.first_after(0), Some(reading(106, 1, 0)), "the oldest goes");
    assert_eq!((past.before(107), past.before(105)), (Some(reading(107, 1, 0)), None));
    let this = Past::of_this_thread(5);
    past.become_of(this.tid(), &this);
    assert_eq!((past.last().is_some(), past.tid()), (pollscope_stacks::SUPPORTED, this.tid()), "what is known of it");
    past.become_of(9, &this);
    assert_eq!((past.last(), past.tid()), (None, 9));
}

#[test]
fn a_thread_that_nobody_looked_at_had_done_nothing_when_it_began() {
    let young = Past { age_ns: Some((700, 650)), ..Past::default() };
    assert_eq!(young.waited_ns(100, &reading(600, 60, 450)), 300, "it was older than the clock");
    assert_eq!(Past { age_ns: Some((551, 650)), ..young }.waited_ns(100, &reading(600, 60, 450)), 449);
    let known = past(&[(90, 10, 0)]);
    let this = ThreadRef::current();
    assert_eq!(known.or_begin(&this, 100, 700).age_ns, None, "it has readings");
    for known in [known, Past::default()] {
        assert_eq!(known.or_begin(&this, 80, 700).age_ns.is_some(), pollscope_stacks::SUPPORTED);
    }
}
