//! The alarm of a build without the feature `capture`: nobody sleeps by it.

/// Wakes nobody.
#[derive(Debug, Default)]
pub(crate) struct Alarm {}

impl Alarm {
    #[inline]
    pub(crate) fn ring(&self) {}

    #[inline]
    pub(crate) fn interrupt(&self) {}
}
