//! Where a slow poll was seen, and for how long.

use std::sync::Arc;
use std::time::Duration;

use crate::escape::Escaped;
use crate::{Call, Frame};

/// One of the places that a slow poll was seen at: a line of the user's code, and the system call in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
// Not `non_exhaustive`: every instrument makes them.
pub struct Place {
    /// `file:line` of the innermost frame of the user's code.
    pub line: Option<String>,
    /// `file:line` of the outermost frame of the user's code within the poll, where that is another line.
    pub caller: Option<String>,
    /// The function of `line`.
    pub function: Option<String>,
    /// The system call that it was in; `None` where it ran, or was in none.
    pub call: Option<Call>,
    /// How many looks saw it there.
    pub looks: u32,
    /// How long it was there, from look to look; what nobody saw is shared out among the places in proportion, as far as the
    /// thread's clocks say that it was time of that kind, on a CPU or off it. Those of all places add up to no more than the poll.
    pub share: Duration,
    /// The frames of one of these looks, from the innermost up to the poll; empty where it had none, and of places of small shares.
    pub stack: Arc<[Frame]>,
}

impl Place {
    /// ` at src/db.rs:12, called from src/main.rs:80`; nothing where no line is known.
    ///
    /// ```
    /// # use pollscope_base::Place;
    /// let place = Place { line: Some("src/db.rs:12".into()), caller: Some("src/main.rs:80".into()), ..Place::default() };
    /// assert_eq!(place.at(), " at src/db.rs:12, called from src/main.rs:80");
    /// ```
    pub fn at(&self) -> String {
        let Some(line) = &self.line else { return String::new() };
        let caller = self.caller.as_ref().filter(|caller| *caller != line);
        let caller = caller.map_or(String::new(), |caller| format!(", called from {}", Escaped(caller)));
        format!(" at {}{caller}", Escaped(line))
    }
}
