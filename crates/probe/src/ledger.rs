//! Who waited for whom, by spawn site: bounded, with an `other` row for the pairs beyond it.

use std::panic::Location;

use crate::histogram::add_single_writer;
use crate::location::LocationCell;
use crate::sync::MODELLED;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicU64, fence};

#[cfg(all(test, pollscope_loom))]
mod model;

/// Pairs that a thread tells apart.
const CAPACITY: usize = if MODELLED { 2 } else { 64 };

/// What tasks of one site waited for slow polls of another, or of the same.
#[derive(Debug, Default)]
pub(crate) struct Row {
    waiter: LocationCell,
    /// Stored after the waiter: who sees this one sees both.
    culprit: LocationCell,
    pub(crate) tasks: AtomicU64,
    pub(crate) wait_ns: AtomicU64,
    pub(crate) late_tasks: AtomicU64,
    pub(crate) late_ns: AtomicU64,
}

impl Row {
    /// A task waited so long.
    pub(crate) fn charge(&self, wait_ns: u64) {
        add_single_writer(&self.tasks, 1);
        // A release: who reads it reads the latency as well that it is a part of.
        self.wait_ns.store(self.wait_ns.load(Relaxed).wrapping_add(wait_ns), Release);
    }

    /// A task waited at most so long.
    pub(crate) fn charge_late(&self, most_ns: u64) {
        add_single_writer(&self.late_tasks, 1);
        add_single_writer(&self.late_ns, most_ns);
    }

    /// Where the culprits and the waiters were spawned; `None` in the `other` row.
    pub(crate) fn places(&self) -> Option<(&'static Location<'static>, &'static Location<'static>)> {
        self.culprit.load().zip(self.waiter.load())
    }

    pub(crate) fn is_charged(&self) -> bool {
        self.tasks.load(Acquire) + self.late_tasks.load(Acquire) > 0
    }
}

/// Written by the thread alone, read by any.
#[derive(Debug)]
pub(crate) struct Ledger {
    rows: Box<[Row]>,
    other: Row,
}

impl Ledger {
    pub(crate) fn new() -> Ledger {
        Ledger { rows: (0..CAPACITY).map(|_| Row::default()).collect(), other: Row::default() }
    }

    /// The row of a pair, made when it is first asked for. It searches all rows, as only a poll after a slow one asks.
    pub(crate) fn row(&self, culprit: &'static Location<'static>, waiter: &'static Location<'static>) -> &Row {
        for row in &self.rows {
            if row.culprit.is_empty() {
                row.waiter.store(waiter);
                row.culprit.store(culprit);
                // Who sees what is counted there sees the places.
                fence(Release);
                return row;
            }
            if row.culprit.is(culprit) && row.waiter.is(waiter) {
                return row;
            }
        }
        &self.other
    }

    /// Every row that was charged, and last the `other` row.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().chain([&self.other]).filter(|row| row.is_charged())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_beyond_the_table_share_a_row_and_nothing_is_lost() {
        let ledger = Ledger::new();
        let places: Vec<&'static Location<'static>> =
            (0..2 * CAPACITY).map(|_| &*Box::leak(Box::new(*Location::caller()))).collect();
        for _ in 0..2 {
            places.iter().for_each(|place| ledger.row(places[0], place).charge(7));
        }
        let waited = |row: &Row| (row.places().is_some(), row.wait_ns.load(Relaxed));
        let rows: Vec<(bool, u64)> = ledger.rows().map(waited).collect();
        assert_eq!(rows.len(), CAPACITY + 1);
        assert!(rows[..CAPACITY].iter().all(|row| *row == (true, 14)));
        assert_eq!(rows[CAPACITY], (false, 14 * CAPACITY as u64));
    }
}
