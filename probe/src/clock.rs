//! The one `now()`: nanoseconds since the probe was installed.

use std::time::Instant;

/// A monotonic clock. It starts at 1, so that 0 can mean "not polling".
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
    #[cfg(test)]
    manual: Option<std::sync::atomic::AtomicU64>,
}

impl Clock {
    pub(crate) fn monotonic() -> Clock {
        Clock {
            origin: Instant::now(),
            #[cfg(test)]
            manual: None,
        }
    }

    /// A clock that stands still until [`Clock::advance`].
    #[cfg(test)]
    pub(crate) fn manual() -> Clock {
        Clock { origin: Instant::now(), manual: Some(1.into()) }
    }

    #[cfg(test)]
    pub(crate) fn advance(&self, ns: u64) {
        let manual = self.manual.as_ref().expect("only a manual clock is advanced");
        manual.fetch_add(ns, std::sync::atomic::Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn now_ns(&self) -> u64 {
        #[cfg(test)]
        if let Some(manual) = &self.manual {
            return manual.load(std::sync::atomic::Ordering::Relaxed);
        }
        // 2^64 ns are 584 years.
        self.origin.elapsed().as_nanos() as u64 + 1
    }
}
