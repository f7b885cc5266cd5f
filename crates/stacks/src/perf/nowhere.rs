//! Where there are no perf events.

use super::attributes::Attributes;
use super::{Control, Hindrance, Wanted};
use crate::thread::ThreadRef;

/// An event, of which there is none here.
#[derive(Debug)]
pub(super) enum Event {}

impl Event {
    pub(super) fn open(_: &Attributes, _: &ThreadRef, _: Wanted, _: usize) -> Result<Event, Hindrance> {
        Err(Hindrance::Unsupported)
    }

    pub(super) fn next(&mut self) -> Option<&[u8]> {
        match *self {}
    }

    pub(super) fn control(&self, _: Control) -> Result<(), Hindrance> {
        match *self {}
    }

    pub(super) fn change(&self, _: &Attributes) -> Result<(), Hindrance> {
        match *self {}
    }
}

pub(super) fn paranoid_level() -> Option<i32> {
    None
}
