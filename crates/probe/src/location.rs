//! A source location that one thread stores and others load, without a lock.

use std::panic::Location;
use std::ptr;

use crate::sync::atomic::{AtomicPtr, Ordering};

/// An optional `&'static Location`, readable while it is being replaced.
#[derive(Debug, Default)]
pub(crate) struct LocationCell(AtomicPtr<Location<'static>>);

impl LocationCell {
    pub(crate) fn store(&self, location: &'static Location<'static>) {
        self.0.store(ptr::from_ref(location).cast_mut(), Ordering::Release);
    }

    pub(crate) fn load(&self) -> Option<&'static Location<'static>> {
        // SAFETY: the pointer is null or was made from a `&'static Location` in `store`, and is only read through.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    /// Whether it holds this very location; two copies of equal content count as different.
    #[inline]
    pub(crate) fn is(&self, location: &'static Location<'static>) -> bool {
        ptr::eq(self.0.load(Ordering::Relaxed), location)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.load(Ordering::Relaxed).is_null()
    }
}
