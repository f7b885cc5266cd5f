//! How what was recorded came to its end.

use pollscope_record::message::Message;

use crate::exit::Exit;
use crate::recording::Ended;

/// The end of what was recorded.
#[derive(Debug)]
pub(super) struct Over {
    /// The process whose runs are meant, if others recorded as well.
    pub(super) pid: Option<u64>,
    /// What that comes to for a run that breaks off.
    pub(super) told: (Ended, Option<Message>),
    /// What is said of it.
    pub(super) note: Option<String>,
    /// How this program ends if it has nothing else to say.
    pub(super) exit: Exit,
}
