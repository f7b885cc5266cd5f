//! How a followed stack ends, and what was in the way of following it further.

use std::fmt;

/// How a stack ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At the thread's first function: the stack is complete.
    Root,
    /// Before it: frames further out are missing.
    Incomplete {
        /// The instruction of the frame whose caller was not found.
        at: u64,
        /// What was in the way.
        why: Obstacle,
    },
}

/// What was in the way of following a stack further.
///
/// ```
/// use pollscope_stacks::unwind::Obstacle;
/// assert_eq!(Obstacle::NotCopied(8 << 20).to_string(), "it is deeper than the 8 MiB that are copied of it");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The code has no unwinding table.
    NoTable,
    /// Its memory cannot be read.
    Unreadable,
    /// It is deeper than what is copied of a stack: so many bytes.
    NotCopied(u64),
    /// It has more frames than are followed: so many.
    TooManyFrames(usize),
    /// What should be a return address does not follow a call.
    NoCall,
    /// The call before the return address is of another function.
    OtherCall,
    /// The caller's frame would not be further up, or too far.
    Downwards,
    /// The frame depends on a register that is not known.
    UnknownRegister,
    /// The unwinding rule is not understood.
    UnknownRule,
    /// No frame pointer leads to the thread's first function.
    NoFramePointer,
    /// The thread's first function is further out.
    OldRoot,
    /// The search for the frame pointer takes too long.
    GivenUp,
}

impl Obstacle {
    /// Whether it may come from a mistake further in: what is no mistake is only the end of what can be known.
    pub(super) fn is_contradiction(self) -> bool {
        matches!(self, Obstacle::Unreadable | Obstacle::NoCall | Obstacle::OtherCall | Obstacle::Downwards)
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Obstacle::NotCopied(bytes) => {
                let (size, unit) = if *bytes < 1 << 20 { (bytes >> 10, "KiB") } else { (bytes >> 20, "MiB") };
                return write!(f, "it is deeper than the {size} {unit} that are copied of it");
            }
            Obstacle::TooManyFrames(most) => return write!(f, "it has more than the {most} frames that are followed"),
            Obstacle::NoTable => "this code has no unwinding table",
            Obstacle::Unreadable => "its memory cannot be read there",
            Obstacle::NoCall => "the return address does not follow a call",
            Obstacle::OtherCall => "the call before the return address is of another function",
            Obstacle::Downwards => "the caller's frame is not above, or too far",
            Obstacle::UnknownRegister => "the frame depends on a register that is not known",
            Obstacle::UnknownRule => "the unwinding rule is not understood",
            Obstacle::NoFramePointer => "no frame pointer leads to the thread's first function",
            Obstacle::OldRoot => "the thread's first function is further out",
            Obstacle::GivenUp => "the search for the frame pointer was given up",
        })
    }
}
