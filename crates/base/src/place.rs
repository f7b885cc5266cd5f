//! A place in the source, as text.

use std::panic::Location;

use serde::Serializer;

/// `file:line`, as the compiler made it.
pub fn serialize<S: Serializer>(place: &Location<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}:{}", place.file(), place.line()))
}
