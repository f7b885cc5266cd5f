//! One thread's table of spawn sites: bounded, with an `other` row for those beyond it.

use std::panic::Location;

use crate::histogram::{Coarse, add_single_writer};
use crate::location::LocationCell;
use crate::names::NameId;
use crate::sync::MODELLED;
use crate::sync::OnceLock;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Rows a thread keeps; further sites share the `other` row.
pub(crate) const CAPACITY: usize = 256;
/// How far from its own place a site may be kept, so that a look-up in a full table stays short.
const REACH: usize = 16;

/// The row's name before its first poll.
const NAME_UNSET: u32 = u32::MAX;
/// The row's name once two tasks of different names were polled.
pub(crate) const NAME_MIXED: u32 = u32::MAX - 1;

/// All but the buckets is in one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Row {
    pub(crate) location: LocationCell,
    name: AtomicU32,
    polls: OnceLock<Coarse>,
    pub(crate) slow: AtomicU64,
}

const _: () = assert!(MODELLED || size_of::<Row>() == 64);

impl Row {
    fn new() -> Row {
        Row {
            location: LocationCell::default(),
            name: AtomicU32::new(NAME_UNSET),
            polls: OnceLock::new(),
            slow: AtomicU64::new(0),
        }
    }

    /// Counts a poll: whether it is an extreme of its site's. The first one of a site allocates its buckets.
    #[inline]
    pub(crate) fn record(&self, ns: u64, name: NameId) -> bool {
        let known = self.name.load(Relaxed);
        if known != name && known != NAME_MIXED {
            self.name.store(if known == NAME_UNSET { name } else { NAME_MIXED }, Relaxed);
        }
        let polls = self.polls.get_or_init(Coarse::new);
        polls.count(ns);
        let is_extreme = polls.is_extreme(ns);
        if is_extreme {
            polls.widen(ns);
        }
        is_extreme
    }

    pub(crate) fn record_slow(&self) {
        add_single_writer(&self.slow, 1);
    }

    /// The polls, and the name that all their tasks share; `None` before the first poll.
    pub(crate) fn read(&self) -> Option<(&Coarse, NameId)> {
        self.polls.get().map(|polls| (polls, self.name.load(Relaxed)))
    }
}

#[derive(Debug)]
pub(crate) struct Sites {
    rows: Box<[Row; CAPACITY]>,
    other: Box<Row>,
}

impl Sites {
    pub(crate) fn new() -> Sites {
        // By way of a slice, as an array would be on the stack first.
        let rows: Box<[Row]> = (0..CAPACITY).map(|_| Row::new()).collect();
        Sites { rows: rows.try_into().expect("there are as many"), other: Box::new(Row::new()) }
    }

    /// The row of a site, made on its first poll; the `other` row when there is no place for it.
    #[inline]
    pub(crate) fn row(&self, location: &'static Location<'static>) -> &Row {
        // Locations are 24 bytes apart at least; the multiplier is 2^64 divided by the golden ratio.
        let hash = (std::ptr::from_ref(location) as u64 >> 3).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let home = (hash >> 32) as usize;
        let row = &self.rows[home % CAPACITY];
        if row.location.is(location) { row } else { self.find(location, home) }
    }

    /// The row of a site that is not in its own place, or not there yet.
    #[cold]
    fn find(&self, location: &'static Location<'static>, home: usize) -> &Row {
        for step in 0..REACH {
            let row = &self.rows[(home + step) % CAPACITY];
            if row.location.is(location) {
                return row;
            }
            if row.location.is_empty() {
                row.location.store(location);
                return row;
            }
        }
        &self.other
    }

    /// Every row that was polled, and last the `other` row, which has no location.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().chain([&*self.other])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locations(n: usize) -> Vec<&'static Location<'static>> {
        (0..n).map(|_| &*Box::leak(Box::new(*Location::caller()))).collect()
    }

    #[test]
    fn sites_beyond_the_table_share_a_row_and_no_poll_is_lost() {
        let sites = Sites::new();
        let locations = locations(4 * CAPACITY);
        for _ in 0..2 {
            locations.iter().for_each(|location| _ = sites.row(location).record(100, 0));
        }
        let count = |row: &Row| {
            let mut sum = crate::histogram::Sum::new();
            if let Some((polls, _)) = row.read() {
                sum.add(polls);
            }
            sum.distribution().count()
        };
        assert_eq!(sites.rows().map(count).sum::<u64>(), 8 * CAPACITY as u64);
        assert!(sites.rows().filter(|row| !row.location.is_empty()).all(|row| count(row) == 2));
        assert!(count(&sites.other) > 0);
    }

    /// As of a program with a million lines that spawn: the memory is that of the table, and every poll is counted.
    #[test]
    fn a_million_sites_take_no_more_than_the_table() {
        let (sites, total) = (Sites::new(), 1_000_000);
        locations(total).iter().for_each(|location| _ = sites.row(location).record(100, 0));
        let tables: Vec<&Coarse> = sites.rows().filter_map(|row| row.read().map(|(polls, _)| polls)).collect();
        assert_eq!(tables.len(), CAPACITY + 1, "each site with a place, and the others");
        let mut sum = crate::histogram::Sum::new();
        tables.into_iter().for_each(|polls| sum.add(polls));
        assert_eq!(sum.distribution().count(), total as u64);
    }

    #[test]
    fn a_row_keeps_the_name_that_all_its_tasks_share() {
        let sites = Sites::new();
        let [a, b] = locations(2)[..] else { unreachable!() };
        for name in [7, 7] {
            sites.row(a).record(1, name);
        }
        for name in [7, 8, 7] {
            sites.row(b).record(1, name);
        }
        assert_eq!(sites.row(a).read().map(|(_, name)| name), Some(7));
        assert_eq!(sites.row(b).read().map(|(_, name)| name), Some(NAME_MIXED));
    }
}
