//! Who has what a slow poll waited for.

use std::fmt;

use crate::escape::Escaped;

/// The thread that had the lock which a slow poll waited for, or whose end it waited for, and what that thread did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
// Not `non_exhaustive`: every instrument makes them.
pub struct Holder {
    /// The thread's name, as the kernel has it: of a longer one the first 15 bytes.
    pub thread: String,
    /// The thread's id, as the kernel counts.
    pub tid: u32,
    /// Tokio's id of the task that it polled; `None` where it polled none, or that is not known.
    pub task_id: Option<u64>,
    /// `file:line` of the user's code that it was at.
    pub line: Option<String>,
    /// That frame's function.
    pub function: Option<String>,
    /// What it did there: `computes`, `is blocked in read(fd 4 "pipe:[12]", 1 byte)`.
    pub doing: String,
    /// Whether the lock itself names its owner. Otherwise it is the one thread whose code would give the lock back next.
    pub sure: bool,
}

/// Why nobody is named who has a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum HolderUnknown {
    /// No thread that was looked at showed that it has it.
    NotSeen,
    /// More than one has it, or may have it: a lock that is held by readers, or one that changed hands meanwhile.
    Several {
        /// How many.
        threads: u64,
    },
    /// No thread that was looked at showed that it has it, and there are more.
    Bounded {
        /// How many were looked at.
        looked_at: u64,
        /// How many the process has.
        of: u64,
    },
    /// By the time that others were looked at, the wait was over.
    Late,
}

/// Who has something.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Held {
    /// This thread.
    By(Holder),
    /// Somebody, but it is not known who.
    Unknown(HolderUnknown),
}

/// What is known of a lock that was waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
// Not `non_exhaustive`: every instrument makes them.
pub struct LockWait {
    /// The function that waits for it, where that is neither the user's nor the lock's own: the runtime's, the allocator's.
    pub waits_in: Option<String>,
    /// Who has it.
    pub held: Held,
}

/// What follows `, `: `held by thread `tokio-rt-worker` (probably), which computes at src/a.rs:12`. Not escaped where it is shown:
/// it is here.
///
/// ```
/// use pollscope_base::Holder;
/// let holder = Holder {
///     thread: "db".to_owned(),
///     tid: 7,
///     task_id: Some(12),
///     line: Some("src/db.rs:96".to_owned()),
///     function: None,
///     doing: "computes".to_owned(),
///     sure: false,
/// };
/// assert_eq!(holder.to_string(), "held by task 12 on thread `db` (probably), which computes at src/db.rs:96");
/// ```
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("held by ")?;
        if let Some(task) = self.task_id {
            write!(f, "task {task} on ")?;
        }
        let probably = if self.sure { "" } else { " (probably)" };
        write!(f, "thread `{}`{probably}, which {}", Escaped(&self.thread), Escaped(&self.doing))?;
        self.line.as_ref().map_or(Ok(()), |line| write!(f, " at {}", Escaped(line)))
    }
}

/// `holder unknown`, and what there is to say of it.
///
/// ```
/// use pollscope_base::HolderUnknown;
/// assert_eq!(HolderUnknown::NotSeen.to_string(), "holder unknown");
/// let bounded = HolderUnknown::Bounded { looked_at: 64, of: 530 };
/// assert_eq!(bounded.to_string(), "holder unknown: looked at 64 of 530 threads");
/// ```
impl fmt::Display for HolderUnknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("holder unknown")?;
        match self {
            HolderUnknown::NotSeen => Ok(()),
            HolderUnknown::Several { threads } => write!(f, ": {threads} threads have it"),
            HolderUnknown::Bounded { looked_at, of } => write!(f, ": looked at {looked_at} of {of} threads"),
            HolderUnknown::Late => f.write_str(": the wait was over when other threads were looked at"),
        }
    }
}

/// Both.
///
/// ```
/// use pollscope_base::{Held, HolderUnknown, LockWait};
/// let wait = LockWait { waits_in: Some("free".to_owned()), held: Held::Unknown(HolderUnknown::NotSeen) };
/// assert_eq!(wait.to_string(), "waiting for a lock in `free`, holder unknown");
/// ```
impl fmt::Display for LockWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(function) = &self.waits_in {
            write!(f, "waiting for a lock in `{}`, ", Escaped(function))?;
        }
        match &self.held {
            Held::By(holder) => holder.fmt(f),
            Held::Unknown(unknown) => unknown.fmt(f),
        }
    }
}
