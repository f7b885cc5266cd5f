//! What does not fit the counters of any of a probe's threads: long values, and counters that are full.

use std::collections::HashMap;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};

use crate::histogram::{COARSE, Coarse, FINE, Latencies, Overflow, Polls};

/// Sites that there is room for without moving the others.
const AT_FIRST: usize = 256;

/// What does not fit the counters of any of a probe's threads.
#[derive(Debug)]
pub(crate) struct Overflows {
    pub(crate) polls: Overflow<FINE>,
    pub(crate) schedule_latency: Overflow<COARSE>,
    pub(crate) busy_stretches: Overflow<COARSE>,
    pub(crate) sites: SiteOverflows,
}

impl Overflows {
    pub(crate) fn new() -> Overflows {
        Overflows {
            polls: Polls::overflow(),
            schedule_latency: Latencies::overflow(),
            busy_stretches: Coarse::overflow(),
            sites: SiteOverflows::new(),
        }
    }
}

/// What does not fit the threads' counters, by site; those without a row have one together. Asked for on a site's first poll on a
/// thread, and never after it.
#[derive(Debug)]
pub(crate) struct SiteOverflows(Mutex<HashMap<Option<usize>, Arc<Overflow<COARSE>>>>);

impl SiteOverflows {
    pub(crate) fn new() -> SiteOverflows {
        SiteOverflows(Mutex::new(HashMap::with_capacity(AT_FIRST)))
    }

    pub(crate) fn of(&self, location: Option<&'static Location<'static>>) -> Arc<Overflow<COARSE>> {
        let mut overflows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = location.map(|location| std::ptr::from_ref(location).addr());
        Arc::clone(overflows.entry(place).or_insert_with(|| Arc::new(Coarse::overflow())))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}
