//! What is read of a slow poll is that one's, and, once it is said that nobody is added any more, all of it.

use std::panic::Location;

use std::sync::Arc;

use loom::thread;
use pollscope_base::duration::to_ns;

use super::{Blames, Culprit, Culprits, Waiter};
use crate::clock::Moment;
use crate::ledger::Ledger;
use crate::sync::model::explore_reader;

/// Two slow polls, one after the other in the only cell, with so many who waited for each. One of them is asked for meanwhile.
fn read_one_of_two(waiters: [u64; 2], asked: usize) {
    let blames = Arc::new(Blames::new());
    let reading = Arc::clone(&blames);
    let reader = thread::spawn(move || check(&reading, asked, waiters[asked]));
    let (ledger, mut culprits, place) = (Ledger::new(), Culprits::new(0), Location::caller());
    for ((start_ns, unit_ns), waiters) in STARTS_NS.into_iter().zip(UNITS_NS).zip(waiters) {
        let culprit = Culprit { task: 1, spawned_at: place, start: Moment(start_ns), start_ns, end_ns: start_ns + 100 };
        culprits.begin(&blames, culprit, false);
        for n in 1..=waiters {
            let ready_ns = start_ns + 100 - unit_ns * n;
            let waiter = Waiter { task: start_ns + n, spawned_at: place, ready_ns, polled_ns: ready_ns + 1_000 };
            culprits.poll(&blames, &ledger, waiter);
        }
        culprits.park(&blames, start_ns + 200);
    }
    reader.join().unwrap();
}

const STARTS_NS: [u64; 2] = [1_000, 3_000];
/// Who waits waits for so long, the next for twice as long.
const UNITS_NS: [u64; 2] = [10, 40];

fn check(blames: &Blames, asked: usize, waiters: u64) {
    let (start_ns, unit_ns) = (STARTS_NS[asked], UNITS_NS[asked]);
    let Some((blame, is_closed)) = blames.read(Moment(start_ns), u64::MAX) else { return };
    let all_ns = (1..=waiters).map(|n| n * unit_ns).sum();
    assert!(
        blame.tasks <= waiters && blame.lifo_tasks <= 1 && to_ns(blame.wait) <= all_ns && blame.late_tasks == 0,
        "{blame:?}"
    );
    if let Some(worst) = blame.worst {
        let n = worst.task_id.wrapping_sub(start_ns);
        assert!((1..=waiters).contains(&n), "another's: {worst:?}");
        // Since the installation, which was at 1.
        let ready_ns = start_ns + 100 - unit_ns * n - 1;
        assert_eq!(
            (to_ns(worst.ready_at), to_ns(worst.polled_at)),
            (ready_ns, ready_ns + 1_000),
            "not whole: {worst:?}"
        );
    }
    if is_closed {
        assert_eq!((blame.tasks, blame.lifo_tasks, to_ns(blame.wait)), (waiters, waiters.min(1), all_ns), "closed");
        assert_eq!(blame.worst.map(|worst| worst.task_id - start_ns), (waiters > 0).then_some(waiters), "closed");
    }
}

/// Loom knows the last seven stores of each value: more would hide those of the first poll.
#[test]
fn a_cell_that_is_given_to_the_next() {
    explore_reader("blame: a cell that is given to the next, which has a victim", || read_one_of_two([0, 1], 0));
    explore_reader("blame: a cell that is given to the next, both have a victim", || read_one_of_two([1, 1], 0));
}

#[test]
fn a_cell_that_was_anothers() {
    explore_reader("blame: a cell that was another slow poll's", || read_one_of_two([2, 1], 1));
}

#[test]
fn one_who_waited_longer() {
    explore_reader("blame: one who waited longer", || read_one_of_two([2, 0], 0));
}
