//! The settings by which inputs are read, and their bounds.

use std::num::NonZeroUsize;

use super::events::Events;

/// The default of the longest line that is not split, in bytes without its newline.
pub const MAX_LINE: NonZeroUsize = NonZeroUsize::new(1 << 20).unwrap();
/// The smallest setting of that length, in bytes.
pub const SMALLEST_MAX_LINE: usize = 16;
/// The largest setting of that length, in bytes.
pub const LARGEST_MAX_LINE: usize = 64 << 20;

/// The settings by which inputs are read.
#[derive(Debug, Clone)]
pub struct ReadSettings {
    /// Whether to go on at the inputs' ends, and with the files that take their names.
    pub follow: bool,
    /// The longest line that is not split, in bytes without its newline; at least [`SMALLEST_MAX_LINE`]. A longer one is merged in
    /// pieces.
    pub max_line: NonZeroUsize,
    /// Whether to put its input's tag before each line.
    pub tag: bool,
    /// How to notice that they changed.
    pub watch: Watch,
    /// The record of what happens to them.
    pub events: Events,
}

impl ReadSettings {
    /// Reads to the inputs' present ends.
    pub fn once() -> ReadSettings {
        ReadSettings { follow: false, max_line: MAX_LINE, tag: false, watch: Watch::Poll, events: Events::from_now() }
    }

    /// Goes on at the inputs' ends, and with the files that take their names.
    pub fn following(watch: Watch) -> ReadSettings {
        ReadSettings { follow: true, watch, ..ReadSettings::once() }
    }

    pub(super) fn longest_line(&self) -> usize {
        self.max_line.get().max(SMALLEST_MAX_LINE)
    }
}

/// How to notice that an input changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// By inotify, and by looks now and then; by more looks at an input that the kernel cannot watch.
    Inotify,
    /// By looks.
    Poll,
}
