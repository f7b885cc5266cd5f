//! Rows that are made while a reader goes through them: what is counted in one is counted at its place. Of spawn sites as well.

use std::panic::Location;
use std::ptr;
use std::sync::atomic::AtomicUsize;

use std::sync::Arc;

use loom::thread;

use super::Ledger;
use crate::histogram::distribution;
use crate::overflows::SiteOverflows;
use crate::site::{NAME_MIXED, Sites};
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::model::explore_reader;

#[test]
fn a_charged_row_has_its_places() {
    let places = [Location::caller(), Location::caller(), Location::caller()];
    explore_reader("ledger: three pairs in two rows and the other one", move || {
        let ledger = Arc::new(Ledger::new());
        let reading = Arc::clone(&ledger);
        let reader = thread::spawn(move || {
            for row in reading.rows() {
                let expected = match row.places() {
                    Some((culprit, waiter)) => {
                        assert!(ptr::eq(culprit, places[0]));
                        places.iter().position(|place| ptr::eq(waiter, *place)).expect("a waiter")
                    }
                    None => 2,
                };
                let (wait_ns, late_ns) = (row.wait_ns.load(Relaxed), row.late_ns.load(Relaxed));
                // The second is charged as late.
                let most = [(10, 0), (0, 20), (30, 0)][expected];
                assert!(
                    [0, most.0].contains(&wait_ns) && [0, most.1].contains(&late_ns),
                    "{expected}: {wait_ns} {late_ns}"
                );
            }
        });
        ledger.row(places[0], places[0]).charge(10);
        ledger.row(places[0], places[1]).charge_late(20);
        ledger.row(places[0], places[2]).charge(30);
        assert_eq!(ledger.rows().map(|row| row.places().is_some()).collect::<Vec<_>>(), [true, true, false]);
        reader.join().unwrap();
    });
}

#[test]
fn a_polled_site_has_its_place_and_its_name() {
    static PLACE: AtomicUsize = AtomicUsize::new(0);
    let location = Location::caller();
    // Which row it will be.
    loom::model(move || {
        PLACE.store(Sites::new().row(location).0, Relaxed);
    });
    explore_reader("site: two tasks of a new site", move || {
        let sites = Arc::new(Sites::new());
        let reading = Arc::clone(&sites);
        let reader = thread::spawn(move || {
            let Some(site) = reading.read(PLACE.load(Relaxed)) else { return };
            assert!(site.slow <= 1);
            assert!(ptr::eq(site.location.expect("a place"), location));
            assert!([7, NAME_MIXED].contains(&site.name), "{}", site.name);
            assert!(distribution([(site.polls, site.overflow)]).count() <= 2);
        });
        let overflows = SiteOverflows::new();
        sites.record(location, 2, 7, || &overflows);
        sites.record(location, 3, 8, || &overflows);
        sites.record_slow(location);
        let site = sites.read(PLACE.load(Relaxed)).expect("polled");
        assert_eq!((site.polls.sum_ns(), site.name, site.slow), (5, NAME_MIXED, 1));
        reader.join().unwrap();
    });
}
