//! The watchdog of a build without the feature `capture`: it looks at nothing, and has no thread.

use std::io;
use std::sync::Arc;

use crate::reporter::Control;
use crate::shared::Shared;
use crate::worker::Slot;

/// Whether this build can look at the thread of a late poll: not without the feature `capture`.
pub const CAPTURE: bool = false;

/// There is nothing to tell it.
#[derive(Debug, Default)]
pub(crate) struct Options {}

#[derive(Debug)]
pub(crate) struct Watchdog;

/// Starts nothing.
pub(crate) fn spawn(_shared: Arc<Shared>, _control: Arc<Control>, _options: Options) -> io::Result<Watchdog> {
    Ok(Watchdog)
}

/// Nobody looks for the thread.
pub(crate) fn show_this_thread(_slot: &Slot) {}
