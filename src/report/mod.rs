//! Reports: pure functions from a recording to text.

pub mod doctor;
pub mod explain;
pub mod folded;
mod layout;
pub mod list;
pub mod terminal;

pub(crate) use layout::cut;
