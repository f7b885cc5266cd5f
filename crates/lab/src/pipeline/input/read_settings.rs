//! How inputs are read: settings and their bounds.

use std::num::NonZeroUsize;

use super::events::Events;

/// How long a line may be to be merged whole, in bytes without its newline, unless set.
pub const MAX_LINE: NonZeroUsize = NonZeroUsize::new(1 << 20).unwrap();
/// The least that a maximum may be set to, in bytes.
pub const SMALLEST_MAX_LINE: usize = 16;
/// The most that it may be set to, in bytes.
pub const LARGEST_MAX_LINE: usize = 64 << 20;

/// How inputs are read.
#[derive(Debug, Clone)]
pub struct ReadSettings {
    /// Whether to go on at their ends, and with the files that take their places.
    pub follow: bool,
    /// The longest line that is merged whole, in bytes without its newline; at least [`SMALLEST_MAX_LINE`]. A longer one is
    /// merged in pieces.
    pub max_line: NonZeroUsize,
    /// Whether each line is given its input's tag.
    pub tag: bool,
    /// How it is noticed that they changed.
    pub watch: Watch,
    /// Where what happens to them is recorded.
    pub events: Events,
}

impl ReadSettings {
    /// To the inputs' present ends.
    pub fn once() -> ReadSettings {
        ReadSettings { follow: false, max_line: MAX_LINE, tag: false, watch: Watch::Poll, events: Events::from_now() }
    }

    /// On at the inputs' ends, and with the files that take their places.
    pub fn following(watch: Watch) -> ReadSettings {
        ReadSettings { follow: true, watch, ..ReadSettings::once() }
    }

    pub(super) fn longest_line(&self) -> usize {
        self.max_line.get().max(SMALLEST_MAX_LINE)
    }
}

/// How it is noticed that an input changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// By inotify, and by looking now and then; an input that the kernel does not watch is looked at more often.
    Inotify,
    /// By looking.
    Poll,
}
