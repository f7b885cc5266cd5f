//! What is still to be written, and how long to wait for it: by looks, not by the clock, so that a busy machine loses nothing.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Between two looks at whether something was written.
const LOOK: Duration = Duration::from_millis(50);

/// How many looks in a row find nothing written before it is given up.
#[derive(Debug)]
pub(super) struct Patience {
    /// Where the system says that nothing is taken.
    pub(super) refused: u32,
    /// Where it says that something would be: the writing thread has not run yet, or a disk hangs.
    pub(super) idle: u32,
}

/// Texts that threads write.
#[derive(Debug)]
pub(super) struct Pending {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    texts: BTreeSet<u64>,
    next: u64,
    /// Counts what was written, in pieces.
    moves: u64,
}

impl Pending {
    pub(super) const fn new() -> Pending {
        let state = State { texts: BTreeSet::new(), next: 0, moves: 0 };
        Pending { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more text; its number.
    pub(super) fn begin(&self) -> u64 {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.texts.insert(number);
        number
    }

    /// That a piece was written.
    pub(super) fn moved(&self) {
        self.lock().moves += 1;
        self.changed.notify_all();
    }

    /// That a text is written.
    pub(super) fn end(&self, number: u64) {
        self.lock().texts.remove(&number);
        self.moved();
    }

    /// Waits until it `is_done` with the texts that are not written; false if it was given up. `is_taking` is what the system says.
    pub(super) fn wait(
        &self,
        patience: &Patience,
        is_taking: impl Fn() -> bool,
        is_done: impl Fn(&BTreeSet<u64>) -> bool,
    ) -> bool {
        let (mut refused, mut idle) = (0, 0);
        let mut state = self.lock();
        let mut seen = state.moves;
        while !is_done(&state.texts) {
            let waited = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
            if waited.1.timed_out() && state.moves == seen {
                drop(state);
                refused = if is_taking() { 0 } else { refused + 1 };
                idle += 1;
                state = self.lock();
            }
            if state.moves != seen {
                seen = state.moves;
                (refused, idle) = (0, 0);
            } else if refused >= patience.refused || idle >= patience.idle {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const PATIENCE: Patience = Patience { refused: 3, idle: 30 };

    #[test]
    fn a_text_whose_thread_runs_late_is_waited_for() {
        let pending = Pending::new();
        let text = pending.begin();
        let looks = Cell::new(0);
        let is_taking = || {
            looks.set(looks.get() + 1);
            if looks.get() == 25 {
                pending.end(text);
            }
            true
        };
        assert!(pending.wait(&PATIENCE, is_taking, |texts| texts.is_empty()));
        assert_eq!(looks.get(), 25, "far more looks than a stderr that takes nothing is given");
    }

    #[test]
    fn a_slow_reader_is_waited_for_while_it_reads() {
        let pending = Pending::new();
        let text = pending.begin();
        let looks = Cell::new(0);
        let is_taking = || {
            looks.set(looks.get() + 1);
            match looks.get() {
                2 | 4 | 6 | 8 => pending.moved(),
                10 => pending.end(text),
                _ => {}
            }
            false
        };
        assert!(pending.wait(&PATIENCE, is_taking, |texts| !texts.contains(&text)));
        assert_eq!(looks.get(), 10);
    }

    #[test]
    fn what_takes_nothing_is_given_up() {
        for (takes, after) in [(false, PATIENCE.refused), (true, PATIENCE.idle)] {
            let pending = Pending::new();
            pending.begin();
            let looks = Cell::new(0);
            let is_taking = || {
                looks.set(looks.get() + 1);
                takes
            };
            assert!(!pending.wait(&PATIENCE, is_taking, |texts| texts.is_empty()));
            assert_eq!(looks.get(), after);
        }
    }

    #[test]
    fn another_s_text_is_not_waited_for() {
        let pending = Pending::new();
        let (first, second) = (pending.begin(), pending.begin());
        pending.end(second);
        assert!(pending.wait(&PATIENCE, || panic!("no look is needed"), |texts| !texts.contains(&second)));
        assert!(!pending.wait(&PATIENCE, || false, |texts| !texts.contains(&first)));
    }
}
