//! Reports: pure functions from a recording to text.

pub mod escape;
mod layout;
pub mod list;
pub mod terminal;
