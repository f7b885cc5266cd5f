//! Where merged lines go, and how they get there.

use std::fmt;

/// How the pipeline writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Blocking calls on the executor.
    Naive,
    /// A writer thread with its own event loop.
    Offloaded,
}

impl Mode {
    /// Every mode, in the order in which reports show them.
    pub const ALL: [Mode; 2] = [Mode::Naive, Mode::Offloaded];

    /// The word used on the command line, in scenarios and in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Naive => "naive",
            Mode::Offloaded => "offloaded",
        }
    }

    /// The mode of that name.
    pub fn from_name(name: &str) -> Option<Mode> {
        Mode::ALL.into_iter().find(|mode| mode.as_str() == name)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
