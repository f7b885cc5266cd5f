//! The spans of a build that keeps none: without the features `span` and `tower`.

use std::sync::Arc;

use pollscope_base::Span;

/// There is none.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Here {}

/// No poll begins anywhere.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mark {}

/// In nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inside {}

pub(crate) fn here() -> Here {
    Here {}
}

impl Here {
    #[inline]
    pub(crate) fn begin(&self) -> Mark {
        Mark {}
    }

    pub(crate) fn go_on(&self, _mark: Mark) {}

    pub(crate) fn only(&self, _mark: Mark) -> u64 {
        0
    }
}

/// Nothing is shown.
#[derive(Debug, Default)]
pub(crate) struct Shown {}

impl Shown {
    pub(crate) fn show(&self, _here: &Here) {}

    pub(crate) fn now(&self) -> Option<Inside> {
        None
    }

    pub(crate) fn span(&self, _id: u64) -> Option<Arc<Span>> {
        None
    }

    pub(crate) fn refused(&self) -> bool {
        false
    }
}

/// Nothing is seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {}

impl Seen {
    pub(crate) fn look(&mut self, _at_ns: u64, _inside: Inside, _shown: &Shown) {}

    pub(crate) fn looks(&self) -> u32 {
        0
    }

    pub(crate) fn span(&self) -> Option<Arc<Span>> {
        None
    }

    pub(crate) fn has_unknown(&self) -> bool {
        false
    }
}
