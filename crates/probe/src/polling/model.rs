//! What a reader gets is what was shown at one time, whole, whatever the thread shows meanwhile.

use std::panic::Location;

use std::sync::Arc;

use loom::thread;

use super::{Frame, Polling};
use crate::clock::Moment;
use crate::sync::model::explore_reader;

/// A poll of a task, with a place of its own.
fn frame(task: u64, start: u64, location: &'static Location<'static>) -> Frame {
    Frame { start: Moment(start), task, name: task as u32 + 100, location, nested_ns: 0 }
}

/// As a thread shows one poll after the other, or one within another.
fn show(polling: &Polling, frame: &Frame) {
    polling.show_idle();
    polling.begin(frame);
}

fn same(now: &Frame, shown: &Frame) -> bool {
    (now.start, now.task, now.name, now.nested_ns) == (shown.start, shown.task, shown.name, shown.nested_ns)
        && std::ptr::eq(now.location, shown.location)
}

/// Reads twice while one after the other is shown: what is read is one of them, the second time not one before the first.
fn read_while_shown(shown: &'static [Frame]) {
    let polling = Arc::new(Polling::default());
    let reading = Arc::clone(&polling);
    let reader = thread::spawn(move || {
        let mut from = 0;
        for _ in 0..2 {
            if let Some(now) = reading.now() {
                let which = shown[from..].iter().position(|frame| same(&now, frame));
                from += which.unwrap_or_else(|| panic!("not shown, but for the {from} before: {now:?}"));
            }
        }
    });
    shown.iter().for_each(|frame| show(&polling, frame));
    assert!(polling.now().is_some_and(|now| same(&now, &shown[shown.len() - 1])), "the last, and whole");
    reader.join().unwrap();
}

fn leaked(frames: impl Into<Vec<Frame>>) -> &'static [Frame] {
    frames.into().leak()
}

#[test]
fn a_poll_that_is_shown_again_after_one_within_it() {
    let outer = frame(1, 10, Location::caller());
    let inner = frame(2, 11, Location::caller());
    let shown = leaked([outer, inner, Frame { nested_ns: 5, ..outer }]);
    explore_reader("polling: a poll that is shown again after one within it", move || read_while_shown(shown));
}

/// A clock can stand still for as long as a short poll takes.
#[test]
fn polls_that_begin_at_one_time() {
    let shown = leaked([1, 2, 3].map(|task| frame(task, 10, Location::caller())));
    explore_reader("polling: polls that begin at one time", move || read_while_shown(shown));
}

#[test]
fn nothing_is_polled_between_two() {
    let shown = leaked([frame(1, 10, Location::caller()), frame(2, 20, Location::caller())]);
    explore_reader("polling: nothing between two polls", move || {
        let polling = Arc::new(Polling::default());
        let reading = Arc::clone(&polling);
        let reader = thread::spawn(move || {
            let now = reading.now();
            assert!(now.is_none_or(|now| shown.iter().any(|frame| same(&now, frame))), "{now:?}");
        });
        for frame in shown {
            show(&polling, frame);
            polling.show_idle();
        }
        assert!(polling.now().is_none());
        reader.join().unwrap();
    });
}

#[test]
fn a_name_that_comes_later_is_that_polls() {
    let [first, next] = [frame(1, 10, Location::caller()), frame(2, 20, Location::caller())];
    let shown = leaked([first, Frame { name: 7, ..first }, next]);
    explore_reader("polling: a name that comes later", move || {
        let polling = Arc::new(Polling::default());
        let reading = Arc::clone(&polling);
        let reader = thread::spawn(move || {
            let now = reading.now();
            assert!(now.is_none_or(|now| shown.iter().any(|frame| same(&now, frame))), "{now:?}");
        });
        show(&polling, &first);
        polling.show_name(7);
        show(&polling, &next);
        reader.join().unwrap();
    });
}
