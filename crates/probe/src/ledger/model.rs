//! Rows that are made while a reader goes through them: what is counted in one is counted at its place. Of spawn sites as well.

use std::panic::Location;
use std::ptr;
use std::sync::atomic::AtomicUsize;

use std::sync::Arc;

use loom::thread;

use super::Ledger;
use crate::histogram::Sum;
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
        let sites = Sites::new();
        let row = sites.row(location);
        PLACE.store(sites.rows().position(|other| ptr::eq(other, row)).expect("a row"), Relaxed);
    });
    explore_reader("site: two tasks of a new site", move || {
        let sites = Arc::new(Sites::new());
        let reading = Arc::clone(&sites);
        let reader = thread::spawn(move || {
            let row = reading.rows().nth(PLACE.load(Relaxed)).expect("a row");
            let (slow, polls) = (row.slow.load(Relaxed), row.read());
            assert!(slow <= 1);
            let Some((polls, name)) = polls else { return };
            assert!(ptr::eq(row.location.load().expect("a place"), location));
            assert!([7, NAME_MIXED].contains(&name), "{name}");
            let mut sum = Sum::new();
            sum.add(polls);
            assert!(sum.distribution().count() <= 2);
        });
        sites.row(location).record(2, 7);
        sites.row(location).record(3, 8);
        sites.row(location).record_slow();
        let row = sites.row(location);
        assert!(row.read().is_some_and(|(polls, name)| polls.sum_ns() == 5 && name == NAME_MIXED));
        reader.join().unwrap();
    });
}
