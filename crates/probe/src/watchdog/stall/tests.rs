use pollscope_stacks::holder::FutexWait;

use super::super::past::Settled;
use super::*;

const MS: u64 = 1_000_000;

fn stall(before: Option<ClockReading>, noticed: ClockReading, last: ClockReading) -> Stall {
    Stall {
        before,
        noticed: Some(noticed),
        last: Some(last),
        ..Stall::new(Moment(1), 100 * MS, 0, nobody(), Past::default(), 0)
    }
}

fn reading(at: u64, cpu: u64, delay: u64) -> ClockReading {
    ClockReading { at_ns: at * MS, cpu_ns: cpu * MS, run_delay_ns: delay * MS, slices: 0 }
}

fn unsure(clocks: ClockReading) -> Settled {
    Settled { clocks, is_sure: false }
}

/// A poll from 100 to 300 ms.
const END: Measured = Measured { end_ns: 300 * MS, duration_ns: 200 * MS };

fn between(least: u64, most: u64) -> Between {
    Between { least_ns: least * MS, most_ns: most * MS }
}

fn split(stall: &Stall, after: Option<ClockReading>, end: Measured) -> TimeSplit {
    stall.split(after, None, end).unwrap()
}

#[test]
fn what_has_room_elsewhere_is_not_the_polls_for_sure() {
    // Busy for 2 of 60 ms around its beginning, of which 10 are before it.
    let blocked = stall(Some(reading(90, 10, 0)), reading(150, 12, 0), reading(290, 13, 1));
    let told = split(&blocked, Some(reading(302, 14, 1)), END);
    assert_eq!((told.cpu, told.run_delay), (between(1, 4), between(0, 1)));
    assert_eq!(told.off_cpu, between(195, 199));
    // Busy all the time, before it too: there was no room elsewhere.
    let busy = stall(Some(reading(50, 0, 0)), reading(150, 100, 0), reading(290, 240, 0));
    // But for the tick by which the first reading may be behind.
    assert_eq!(split(&busy, Some(reading(300, 250, 0)), END).cpu, between(190, 200));
    assert_eq!(busy.split(None, None, END).unwrap().cpu, between(180, 200), "its thread ended");
    // Nobody knows what it did before it was noticed.
    let unknown = stall(None, reading(150, 100, 0), reading(290, 110, 0));
    let told = split(&unknown, Some(reading(300, 110, 0)), END);
    assert_eq!((told.cpu, told.run_delay.most_ns), (between(10, 60), 50 * MS));
    assert_eq!(told.off_cpu, between(140, 190), "there were 50 ms for both");
}

/// Thirty tasks spin for 2 ms each on a busy machine: a poll that is stretched to 22 ms was told to have computed for 10.
#[test]
fn a_preempted_poll_has_no_time_on_the_cpu_that_it_cannot_have_had() {
    let end = Measured { end_ns: 122 * MS, duration_ns: 22 * MS };
    // Since the last reading the thread computed for 30 of 50 ms, all but 2 before the poll.
    let spun = stall(Some(reading(60, 0, 0)), reading(110, 30, 10), reading(120, 30, 10));
    let told = split(&spun, Some(reading(122, 30, 30)), end);
    assert_eq!(told.cpu, between(0, 10));
    assert_eq!(told.cpu.known(22 * MS), None, "it may be anything up to 10 ms");
    assert_eq!(told.run_delay.least_ns, 20 * MS, "it waited for a CPU, and that is known");
}

/// Its thread may be busy with others by the time that somebody looks.
#[test]
fn an_end_that_is_noticed_late_is_not_charged_with_what_came_after() {
    let late = stall(Some(reading(90, 0, 0)), reading(120, 0, 0), reading(160, 1, 0));
    let told = late.split(Some(reading(300, 101, 0)), None, Measured { end_ns: 161 * MS, duration_ns: 61 * MS });
    assert_eq!(told.unwrap().cpu, between(1, 2));
    let ended = late.end(|| 300 * MS, None, &Stops::new(0, 0));
    assert_eq!((ended.clocks, ended.end.end_ns), (None, 160 * MS), "when it ended nobody knows");
}

#[test]
fn time_in_the_kernel_is_told_to_within_a_tick() {
    let mut in_kernel = stall(Some(reading(95, 0, 0)), reading(110, 10, 0), reading(299, 199, 0));
    (in_kernel.kernel_ns, in_kernel.last_kernel_ns) = (Some(50 * MS), Some(210 * MS));
    let told = in_kernel.split(Some(reading(301, 201, 0)), Some(230 * MS), END).unwrap();
    assert_eq!(told.kernel, between(169, 200));
    // Whose end is noticed late: what is not sure to be before that, the last look within it tells.
    let told = in_kernel.split(Some(reading(380, 201, 0)), Some(230 * MS), END).unwrap();
    assert_eq!(told.kernel, between(150, 200));
    in_kernel.kernel_ns = None;
    assert_eq!(split(&in_kernel, Some(reading(301, 201, 0)), END).kernel, between(0, 200));
}

/// Under a quota that is used up nobody comes before it is nearly over: then all of its wait is before that.
#[test]
fn a_wait_for_a_cpu_that_was_over_when_it_was_noticed_is_the_polls_as_far_as_it_cannot_be_older() {
    let late = stall(Some(reading(90, 10, 0)), reading(290, 15, 180), reading(292, 16, 180));
    assert_eq!(split(&late, Some(reading(300, 20, 180)), END).run_delay, between(0, 180), "it may be older");
    let mut past = Past::default();
    past.add(7, unsure(reading(75, 9, 0)));
    past.add(7, unsure(reading(90, 10, 0)));
    // It ran between 75 and 90 ms: 25 ms of what was counted by 290 may be of before it, and 20 of what was by 320 of after it.
    let late = Stall { past: Some(past), ..late };
    assert_eq!(split(&late, Some(reading(320, 20, 180)), END).run_delay.least_ns, 135 * MS, "it may have been over");
    let late = Stall { has_gone_on: true, ..late };
    assert_eq!(split(&late, Some(reading(320, 20, 180)), END).run_delay.least_ns, 155 * MS);
    let told = split(&late, Some(reading(300, 20, 180)), END);
    assert_eq!((told.run_delay, told.off_cpu.most_ns), (between(155, 180), 40 * MS));
}

/// A LocalSet's tasks are polled within its own poll, and are charged themselves.
#[test]
fn time_in_nested_polls_does_not_make_a_poll_older() {
    let mut past = Past::default();
    past.add(7, unsure(reading(50, 0, 0)));
    let outer = Stall::new(Moment(1), 100 * MS, 30 * MS, nobody(), past, 140 * MS);
    assert_eq!((outer.start_ns, outer.from_ns, outer.before), (100 * MS, 130 * MS, None));
    let alone = Stall::new(Moment(1), 100 * MS, 0, nobody(), past, 140 * MS);
    assert_eq!(alone.before, Some(reading(50, 0, 0)));
    assert_eq!(outer.next_look_ns(20 * MS), 150 * MS);
}

#[test]
fn a_poll_that_goes_on_is_told_at_ten_times_and_a_hundred_and_when_it_has_names() {
    let mut told = Told::default();
    assert_eq!(told.line_at_ns(20 * MS, false), 200 * MS);
    assert_eq!(told.line_at_ns(MS, false), 100 * MS, "not as soon as that");
    told.line(false);
    assert_eq!(told.line_at_ns(20 * MS, false), 2_000 * MS);
    assert_eq!(told.line_at_ns(20 * MS, true), 0, "names came");
    told.line(true);
    assert_eq!(told.line_at_ns(20 * MS, true), 2_000 * MS);
    told.line(true);
    assert_eq!(told.line_at_ns(20 * MS, true), 20_000 * MS);
}

#[test]
fn what_is_known_is_told_anew_when_it_is_older_or_has_names() {
    let mut told = Told::default();
    assert!(told.evidence(20 * MS, false) && !told.evidence(24 * MS, false));
    assert!(told.evidence(24 * MS, true) && !told.evidence(29 * MS, true));
    assert!(told.evidence(30 * MS, true));
}

/// Asking looks at all other threads: once for each lock, and of few.
#[test]
fn who_has_a_lock_is_asked_once() {
    let mut stall = Stall::new(Moment(1), 0, 0, nobody(), Past::default(), 0);
    let mut asks = |address: Option<u64>| {
        let futex = address.map(|address| FutexWait { address, operation: 0, value: 2 });
        stall.asks_for_holder(&SharedLook::new(Look { futex, ..Look::default() }))
    };
    let asked = [None, Some(8), Some(8), Some(16), Some(8)].map(&mut asks);
    assert_eq!(asked, [false, true, false, true, false]);
    assert_eq!((1..=10).filter(|lock| asks(Some(lock * 100))).count(), MOST_ASKED - 2);
}
