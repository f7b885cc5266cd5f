//! Reports: pure functions from a recording to text.

pub mod escape;
mod layout;
pub mod terminal;
