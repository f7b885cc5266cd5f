//! Reports: pure functions from a recording to text.

mod layout;
pub mod list;
pub mod terminal;
