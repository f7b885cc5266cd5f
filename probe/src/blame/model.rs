//! What is read of a slow poll is that one's, and, once it is said that nobody is added any more, all of it.

use std::panic::Location;

use std::sync::Arc;

use loom::thread;

use super::{Blames, Culprit, Culprits, Waiter};
use crate::ledger::Ledger;
use crate::sync::model::explore_reader;

/// One after the other in the only cell, with so many who waited for the first: the first is asked for meanwhile.
fn read_first_of_two(waiters: u64) {
    let place = Location::caller();
    let culprit = |task, start_ns| Culprit { task, spawned_at: place, start_ns, end_ns: start_ns + 100 };
    let waiter = |task, ready_ns| Waiter { task, spawned_at: place, ready_ns, polled_ns: ready_ns + 1000 };
    let blames = Arc::new(Blames::new());
    let reading = Arc::clone(&blames);
    let reader = thread::spawn(move || {
        let Some((blame, is_closed)) = reading.read(1_000, u64::MAX) else { return };
        // They waited for 10, 20, … of it.
        let all_ns = (1..=waiters).map(|n| n * 10).sum();
        assert!(
            blame.tasks <= waiters && blame.lifo_tasks <= 1 && blame.wait_ns <= all_ns && blame.late_tasks == 0,
            "{blame:?}"
        );
        if let Some(worst) = blame.worst {
            assert!((11..=10 + waiters).contains(&worst.task_id), "{worst:?}");
            let ready_ns = 1_100 - 10 * (worst.task_id - 10) - 1;
            assert_eq!((worst.ready_ns, worst.polled_ns), (ready_ns, ready_ns + 1_000), "{worst:?}");
        }
        if is_closed {
            assert_eq!((blame.tasks, blame.lifo_tasks, blame.wait_ns), (waiters, 1, all_ns), "closed");
            assert_eq!(blame.worst.map(|worst| worst.task_id), Some(10 + waiters), "closed");
        }
    });
    let (ledger, mut culprits) = (Ledger::new(), Culprits::new());
    culprits.begin(&blames, culprit(1, 1_000), false);
    for n in 1..=waiters {
        culprits.poll(&blames, &ledger, waiter(10 + n, 1_100 - 10 * n));
    }
    culprits.park(&blames, 1_200);
    culprits.begin(&blames, culprit(2, 3_000), false);
    culprits.poll(&blames, &ledger, waiter(99, 3_030));
    reader.join().unwrap();
}

#[test]
fn a_cell_that_is_given_to_the_next() {
    explore_reader("blame: a cell that is given to the next slow poll", || read_first_of_two(1));
}

#[test]
fn one_who_waited_longer() {
    explore_reader("blame: one who waited longer", || read_first_of_two(2));
}
