//! The watchdog of a build without the feature `capture`: it looks at nothing, and has no thread.

use std::io;
use std::path::PathBuf;
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

/// Nothing is looked at, and why.
pub(crate) fn looks(_options: Option<&Options>) -> Result<(), &'static str> {
    Err("as the feature `capture` is off")
}

/// No code is looked at.
pub(crate) fn source_roots(_options: &Options) -> Vec<PathBuf> {
    Vec::new()
}

/// Starts nothing.
pub(crate) fn spawn(_shared: Arc<Shared>, _control: Arc<Control>, _options: Options) -> io::Result<Watchdog> {
    Ok(Watchdog)
}

/// Nobody looks for the thread.
pub(crate) fn show_this_thread(_slot: &Slot) {}
