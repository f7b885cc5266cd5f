//! One thread's table of spawn sites: bounded, with an `other` row for those beyond it.

use std::panic::Location;
use std::sync::Arc;

use crate::histogram::{COARSE, Coarse, Overflow, add_single_writer};
use crate::location::LocationCell;
use crate::names::NameId;
use crate::overflows::SiteOverflows;
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
    location: LocationCell,
    name: AtomicU32,
    polls: OnceLock<Coarse>,
    slow: AtomicU64,
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

    #[inline]
    fn show_name(&self, name: NameId) {
        let known = self.name.load(Relaxed);
        if known != name && known != NAME_MIXED {
            self.name.store(if known == NAME_UNSET { name } else { NAME_MIXED }, Relaxed);
        }
    }
}

/// What a thread counted of one site.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Polled<'a> {
    /// `None` for those without a row of their own.
    pub(crate) location: Option<&'static Location<'static>>,
    /// The one that all its tasks share, or [`NAME_MIXED`].
    pub(crate) name: NameId,
    pub(crate) polls: &'a Coarse,
    pub(crate) overflow: &'a Overflow<COARSE>,
    pub(crate) slow: u64,
}

impl Polled<'_> {
    /// Its file and line; `None` for those without a row of their own.
    pub(crate) fn place(&self) -> Option<(&'static str, u32)> {
        self.location.map(|location| (location.file(), location.line()))
    }
}

#[derive(Debug)]
pub(crate) struct Sites {
    /// The last is the `other` row.
    rows: Box<[Row; CAPACITY + 1]>,
    /// By row. Only what does not fit a row's counters is counted there.
    overflows: Box<[OnceLock<Arc<Overflow<COARSE>>>; CAPACITY + 1]>,
}

impl Sites {
    pub(crate) fn new() -> Sites {
        // By way of slices, as arrays would be on the stack first.
        let rows: Box<[Row]> = (0..=CAPACITY).map(|_| Row::new()).collect();
        let overflows: Box<[_]> = (0..=CAPACITY).map(|_| OnceLock::new()).collect();
        let as_many = "there are as many";
        Sites { rows: rows.try_into().expect(as_many), overflows: overflows.try_into().expect(as_many) }
    }

    /// Counts a poll: whether it is an extreme of its site's. The first one of a site on a thread allocates its counters.
    #[inline]
    pub(crate) fn record<'a>(
        &self,
        location: &'static Location<'static>,
        ns: u64,
        name: NameId,
        overflows: impl FnOnce() -> &'a SiteOverflows,
    ) -> bool {
        let (index, row) = self.row(location);
        row.show_name(name);
        let polls = row.polls.get().unwrap_or_else(|| self.first(index, overflows()));
        polls.count(ns, || self.overflow(index));
        let is_extreme = polls.is_extreme(ns);
        if is_extreme {
            polls.widen(ns);
        }
        is_extreme
    }

    #[cold]
    #[inline(never)]
    fn first(&self, index: usize, overflows: &SiteOverflows) -> &Coarse {
        let row = &self.rows[index];
        self.overflows[index].get_or_init(|| overflows.of(row.location.load()));
        row.polls.get_or_init(Coarse::new)
    }

    #[cold]
    fn overflow(&self, index: usize) -> &Overflow<COARSE> {
        self.overflows[index].get().expect("set before the counters")
    }

    pub(crate) fn record_slow(&self, location: &'static Location<'static>) {
        add_single_writer(&self.row(location).1.slow, 1);
    }

    /// The row of a site, and which it is, made on its first poll; the `other` row when there is no place for it.
    #[inline]
    pub(crate) fn row(&self, location: &'static Location<'static>) -> (usize, &Row) {
        // Locations are 24 bytes apart at least; the multiplier is 2^64 divided by the golden ratio.
        let hash = (std::ptr::from_ref(location) as u64 >> 3).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let home = (hash >> 32) as usize % CAPACITY;
        let row = &self.rows[home];
        if row.location.is(location) { (home, row) } else { self.find(location, home) }
    }

    /// The row of a site that is not in its own place, or not there yet.
    #[cold]
    fn find(&self, location: &'static Location<'static>, home: usize) -> (usize, &Row) {
        for step in 0..REACH {
            let index = (home + step) % CAPACITY;
            let row = &self.rows[index];
            if row.location.is_empty() {
                row.location.store(location);
            }
            if row.location.is(location) {
                return (index, row);
            }
        }
        (CAPACITY, &self.rows[CAPACITY])
    }

    /// Every row that was polled, last the `other` row, which has no location.
    pub(crate) fn polled(&self) -> impl Iterator<Item = Polled<'_>> {
        (0..=CAPACITY).filter_map(|index| self.read(index))
    }

    /// `None` before the row's first poll.
    pub(crate) fn read(&self, index: usize) -> Option<Polled<'_>> {
        let row = &self.rows[index];
        // First: who sees the counters sees what was stored before them.
        let polls = row.polls.get()?;
        Some(Polled {
            location: row.location.load(),
            name: row.name.load(Relaxed),
            polls,
            overflow: self.overflows[index].get()?,
            slow: row.slow.load(Relaxed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::distribution;

    fn locations(n: usize) -> Vec<&'static Location<'static>> {
        (0..n).map(|_| &*Box::leak(Box::new(*Location::caller()))).collect()
    }

    fn record(sites: &Sites, locations: &[&'static Location<'static>]) {
        let overflows = SiteOverflows::new();
        locations.iter().for_each(|location| _ = sites.record(location, 100, 0, || &overflows));
    }

    fn count(site: &Polled<'_>) -> u64 {
        distribution([(site.polls, site.overflow)]).count()
    }

    /// All of them are of one line.
    fn is_at(site: &Polled<'_>, place: &'static Location<'static>) -> bool {
        site.location.is_some_and(|location| std::ptr::eq(location, place))
    }

    #[test]
    fn sites_beyond_the_table_share_a_row_and_no_poll_is_lost() {
        let sites = Sites::new();
        let locations = locations(4 * CAPACITY);
        (0..2).for_each(|_| record(&sites, &locations));
        assert_eq!(sites.polled().map(|site| count(&site)).sum::<u64>(), 8 * CAPACITY as u64);
        let (own, others): (Vec<_>, Vec<_>) = sites.polled().partition(|site| site.location.is_some());
        assert!(own.iter().all(|site| count(site) == 2));
        assert!(count(&others[0]) > 0);
    }

    /// As of a program with a million lines that spawn: the memory is that of the table, and every poll is counted.
    #[test]
    fn a_million_sites_take_no_more_than_the_table() {
        let (sites, overflows, total) = (Sites::new(), SiteOverflows::new(), 1_000_000);
        locations(total).iter().for_each(|location| _ = sites.record(location, 1 << 20, 0, || &overflows));
        let tables: Vec<Polled<'_>> = sites.polled().collect();
        assert_eq!(tables.len(), CAPACITY + 1, "each site with a place, and the others");
        assert_eq!(overflows.len(), CAPACITY + 1);
        let all = distribution(tables.iter().map(|site| (site.polls, site.overflow)));
        assert_eq!(all.count(), total as u64);
    }

    #[test]
    fn a_row_keeps_the_name_that_all_its_tasks_share() {
        let (sites, overflows) = (Sites::new(), SiteOverflows::new());
        let [a, b] = locations(2)[..] else { unreachable!() };
        for (location, name) in [(a, 7), (a, 7), (b, 7), (b, 8), (b, 7)] {
            sites.record(location, 1, name, || &overflows);
        }
        let name = |place| sites.polled().find(|site| is_at(site, place)).map(|site| site.name);
        assert_eq!((name(a), name(b)), (Some(7), Some(NAME_MIXED)));
    }

    /// What is long is counted together, and each thread's part once.
    #[test]
    fn threads_share_what_does_not_fit() {
        let overflows = SiteOverflows::new();
        let (first, second) = (Sites::new(), Sites::new());
        let [place, other] = locations(2)[..] else { unreachable!() };
        for (sites, location, ns) in
            [(&first, place, 1 << 30), (&second, place, 1 << 30), (&first, other, 1 << 30), (&first, place, 5)]
        {
            sites.record(location, ns, 0, || &overflows);
        }
        let of_place = first.polled().chain(second.polled()).filter(|site| is_at(site, place));
        let all = distribution(of_place.map(|site| (site.polls, site.overflow)));
        assert_eq!((all.count(), all.sum_ns, all.min_ns, all.max_ns), (3, (2 << 30) + 5, Some(5), Some(1 << 30)));
    }
}
