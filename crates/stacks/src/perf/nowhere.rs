//! Where there are no perf events.

use super::attributes::Attributes;
use super::{Hindrance, Wanted};
use crate::thread::ThreadRef;

/// An event, of which there is none here.
#[derive(Debug)]
pub(super) enum Source {}

/// Another.
#[derive(Debug)]
pub(super) enum Once {}

impl Source {
    pub(super) fn open(_: &Attributes, _: &ThreadRef, _: Wanted, _: usize) -> Result<Source, Hindrance> {
        Err(Hindrance::Unsupported)
    }

    pub(super) fn next(&mut self) -> Option<&[u8]> {
        match *self {}
    }

    pub(super) fn set_on(&self, _: bool) -> Result<(), Hindrance> {
        match *self {}
    }

    pub(super) fn set_period(&self, _: u64) -> Result<(), Hindrance> {
        match *self {}
    }

    pub(super) fn add(&self, _: &Attributes, _: &ThreadRef, _: Wanted) -> Result<Once, Hindrance> {
        match *self {}
    }
}

impl Once {
    pub(super) fn begin(&self) -> Result<(), Hindrance> {
        match *self {}
    }
}

pub(super) fn paranoid_level() -> Option<i32> {
    None
}
