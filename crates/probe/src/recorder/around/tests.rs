use super::*;

const MS: u64 = 1_000_000;
const THRESHOLD_NS: u64 = 100 * MS;

/// A look at so many tenths of a second, of one worker that is always busy.
fn at(tenths: u64) -> Glance {
    Glance { at_ns: tenths * 100 * MS, busy_ns: tenths * 100 * MS, late: 1, ..Glance::default() }
}

/// Looks from one tenth to another; what was to be written meanwhile.
fn look(around: &mut Around, tenths: std::ops::Range<u64>) -> Vec<Fine> {
    let mut written = Vec::new();
    for tenth in tenths {
        around.look(at(tenth));
        written.extend(around.take(false));
    }
    written
}

fn tenths(fine: &[Fine]) -> (u64, u64) {
    assert!(fine.windows(2).all(|two| two[0].end_ns == two[1].start_ns), "none is missing, none comes twice");
    (fine[0].start_ns / (100 * MS), fine[fine.len() - 1].end_ns / (100 * MS))
}

#[test]
fn five_seconds_before_and_after_a_very_long_poll_are_written_once() {
    let mut around = Around::from(at(0));
    assert_eq!(look(&mut around, 1..200), []);
    // From 10 s to 11 s, told at 20 s.
    around.poll(10_000 * MS, 11_000 * MS, THRESHOLD_NS);
    let written = look(&mut around, 200..400);
    assert_eq!(tenths(&written), (50, 160));
    assert!(written.iter().all(|fine| fine.busy_ns == 100 * MS && fine.late == 1 && fine.queued.is_none()));
    assert_eq!(look(&mut around, 400..500), []);
}

#[test]
fn one_that_is_still_going_on_is_followed_and_the_next_adds_to_it() {
    let mut around = Around::from(at(0));
    look(&mut around, 1..100);
    around.poll(9_000 * MS, 9_900 * MS, THRESHOLD_NS);
    let mut written = look(&mut around, 100..120);
    around.poll(11_000 * MS, 12_000 * MS, THRESHOLD_NS);
    written.extend(look(&mut around, 120..300));
    assert_eq!(tenths(&written), (40, 170));
}

#[test]
fn at_the_end_the_rest_is_written_and_what_is_not_long_is_not() {
    let mut around = Around::from(at(0));
    look(&mut around, 1..100);
    around.poll(9_000 * MS, 9_399 * MS, THRESHOLD_NS);
    assert_eq!(around.take(true), [], "less than four times the threshold");
    around.poll(9_000 * MS, 9_400 * MS, THRESHOLD_NS);
    around.look(at(100));
    assert_eq!(tenths(&around.take(true)), (40, 100));
    assert_eq!(around.take(true), []);
}

#[test]
fn of_a_poll_that_is_older_than_what_is_remembered_there_is_what_is_left() {
    let mut around = Around::from(at(0));
    look(&mut around, 1..1_000);
    around.poll(0, 99_900 * MS, THRESHOLD_NS);
    let written = look(&mut around, 1_000..1_100);
    assert_eq!(tenths(&written), (400, 1_049));
}

#[test]
fn what_is_written_in_an_hour_is_bounded_and_that_is_said() {
    let mut around = Around::from(at(0));
    let (mut written, mut said) = (0, 0);
    for tenth in 1..80_000 {
        around.look(at(tenth));
        around.poll(tenth.saturating_sub(10) * 100 * MS, tenth * 100 * MS, THRESHOLD_NS);
        written += around.take(false).len();
        said += u64::from(around.take_too_many());
    }
    // Of two hours and a part.
    assert_eq!(written, 3 * MOST_AN_HOUR);
    assert!(said > 0);
}
